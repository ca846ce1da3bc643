/* TensorFlow Serving's REST API over the models (wire/tfs.h has its messages). */
#include "serve/answer.h"
#include "serve/infer.h"

#include "wire/tfs.h"

#include <stdio.h>

static void refuse(struct exchange *x, enum err code, const char *message)
{
    answer_error(x, code, 0, message, tfs_error);
}

/* ---- predict ---- */

static result predict_scan(struct infer *infer)
{
    struct tfs_predict *message = infer->message;
    TRY(tfs_predict_scan(infer->body, infer->info->inputs, infer->info->inputs_len,
                         exchange_arena(infer->x), message, &infer->diag));
    infer->plans = message->inputs;
    return OK;
}

static result predict_fill(struct infer *infer, const struct tensor_space *spaces)
{
    return tfs_predict_fill(infer->message, spaces, &infer->diag);
}

static result predict_write(struct infer *infer, struct text *out)
{
    const struct tfs_predict *message = infer->message;
    return tfs_predict_answer(out, message->rows, infer->info->outputs, infer->request.outputs,
                              infer->info->outputs_len, &infer->diag);
}

static void predict_refuse(struct infer *infer, enum err code, const char *text)
{
    refuse(infer->x, code, text);
}

static const struct infer_protocol predict_protocol = {
    .scan = predict_scan,
    .fill = predict_fill,
    .write = predict_write,
    .refuse = predict_refuse,
    .type = JSON_TYPE,
};

/* ---- which version ---- */

static struct model_version *find(struct exchange *x, struct serve *serve,
                                  const struct tfs_route *route)
{
    return catalog_find(serve->models, exchange_loop(x), route->model, route->version);
}

static void not_found(struct exchange *x, const struct tfs_route *route)
{
    char text[512];
    if (route->version < 0)
        snprintf(text, sizeof(text), "Servable not found for request: Latest(%.*s)",
                 SPAN_FMT(span_first(route->model, 256)));
    else
        snprintf(text, sizeof(text), "Servable not found for request: Specific(%.*s, %lld)",
                 SPAN_FMT(span_first(route->model, 256)), (long long)route->version);
    refuse(x, ERR_NOT_FOUND, text);
}

static void predict(struct exchange *x, struct serve *serve, const struct tfs_route *route)
{
    struct model_version *version = find(x, serve, route);
    if (!version || version_state(version) != MODEL_AVAILABLE) {
        not_found(x, route);
        return;
    }
    struct tfs_predict *message = ARENA_NEW(exchange_arena(x), struct tfs_predict);
    infer_start(x, serve, version, &predict_protocol, message);
}

/* ---- status and metadata ---- */

#define VERSIONS_MAX 256

static void status(struct exchange *x, struct serve *serve, const struct tfs_route *route)
{
    struct tfs_version versions[VERSIONS_MAX];
    size_t len = 0;
    struct loop *loop = exchange_loop(x);
    int count = catalog_count(serve->models, loop);
    for (int i = 0; i < count && len < VERSIONS_MAX; i++) {
        const struct model_version *v = catalog_at(serve->models, loop, i);
        if (!span_eq(span_cstr(version_model(v)), route->model))
            continue;
        if (route->version >= 0 && route->version != version_number(v))
            continue;
        versions[len++] = (struct tfs_version){version_number(v), (int)version_state(v),
                                               version_error(v), version_error_text(v)};
    }
    if (len == 0) {
        char text[512];
        if (route->version < 0)
            snprintf(text, sizeof(text), "Could not find any versions of model %.*s",
                     SPAN_FMT(span_first(route->model, 256)));
        else
            snprintf(text, sizeof(text), "Could not find version %lld of model %.*s",
                     (long long)route->version, SPAN_FMT(span_first(route->model, 256)));
        refuse(x, ERR_NOT_FOUND, text);
        return;
    }
    struct text text;
    text_init(&text, ANSWER_TEXT_MAX);
    tfs_status(&text, versions, len);
    answer_text(x, 200, &text);
}

static void metadata(struct exchange *x, struct serve *serve, const struct tfs_route *route)
{
    struct model_version *version = find(x, serve, route);
    if (!version || version_state(version) != MODEL_AVAILABLE) {
        not_found(x, route);
        return;
    }
    const struct weir_model_info *info = version_info(version);
    struct text text;
    text_init(&text, ANSWER_TEXT_MAX);
    tfs_metadata(&text, route->model, version_number(version), info->inputs, info->inputs_len,
                 info->outputs, info->outputs_len);
    answer_text(x, 200, &text);
}

/* ---- dispatch ---- */

void tfs_start(struct exchange *x, void *arg)
{
    struct serve *serve = arg;
    struct tfs_route route;
    struct diag diag = {0};
    result r = tfs_route(span_cstr(http_method_name(exchange_method(x))), exchange_path(x),
                         exchange_arena(x), &route, &diag);
    if (failed(r)) {
        refuse(x, (enum err)r.code, diag.text);
        return;
    }
    if (route.label.len) {
        char text[512];
        snprintf(text, sizeof(text), "Unrecognized servable version label: %.*s",
                 SPAN_FMT(span_first(route.label, 256)));
        refuse(x, ERR_ARGUMENT, text);
        return;
    }
    switch (route.kind) {
    case TFS_PREDICT:
        predict(x, serve, &route);
        return;
    case TFS_STATUS:
        status(x, serve, &route);
        return;
    case TFS_METADATA:
        metadata(x, serve, &route);
        return;
    case TFS_CLASSIFY:
    case TFS_REGRESS:
        refuse(x, ERR_UNSUPPORTED, "classify and regress are not served; use predict");
        return;
    }
}
