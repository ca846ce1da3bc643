/* The Open Inference Protocol v2 over HTTP (wire/oip.h has its messages).
 *
 *   GET  /v2                                       server metadata
 *   GET  /v2/health/live, /v2/health/ready         200 or 400, no body
 *   GET  /v2/models/NAME[/versions/N]              model metadata
 *   GET  /v2/models/NAME[/versions/N]/ready        200 or 400, no body
 *   POST /v2/models/NAME[/versions/N]/infer        inference
 *
 * A false health or readiness is a 4xx (open-inference-protocol inference_rest.md,
 * Health); Triton's is 400, a wrong verb 405 and the rest as wire/oip.h says.
 */
#include "serve/answer.h"
#include "serve/infer.h"

#include "base/number.h"
#include "wire/oip.h"
#include "wire/url.h"

#include <stdio.h>

static void refuse(struct exchange *x, enum err code, const char *message)
{
    answer_error(x, code, 0, message, oip_error);
}

/* ---- what a path asks for ---- */

enum oip_call { OIP_SERVER, OIP_LIVE, OIP_READY, OIP_MODEL, OIP_MODEL_READY, OIP_INFER, OIP_NONE };

struct oip_path {
    enum oip_call call;
    struct span model; /* decoded, in the arena */
    int64_t version;   /* -1: none was given */
};

#define SEGMENTS_MAX 8

static enum oip_call call_of_model(const struct span *rest, size_t len)
{
    if (len == 0)
        return OIP_MODEL;
    if (len == 1 && span_is(rest[0], "ready"))
        return OIP_MODEL_READY;
    if (len == 1 && span_is(rest[0], "infer"))
        return OIP_INFER;
    return OIP_NONE;
}

static bool version_of(struct span digits, int64_t *ret_version)
{
    int64_t version;
    if (failed(number_parse_i64(digits, &version)) || version < 0)
        return false;
    *ret_version = version;
    return true;
}

static result model_of(struct span segment, struct arena *arena, struct span *ret_model)
{
    uint8_t *name = arena_alloc(arena, segment.len + 1);
    size_t len;
    if (!name)
        return fail(ERR_NO_MEMORY);
    TRY(url_decode(segment, (struct span_mut){name, segment.len}, &len));
    *ret_model = span_of(name, len);
    return OK;
}

static enum oip_call call_of_server(const struct span *segments, size_t len)
{
    if (len == 1)
        return OIP_SERVER;
    if (len == 3 && span_is(segments[1], "health") && span_is(segments[2], "live"))
        return OIP_LIVE;
    if (len == 3 && span_is(segments[1], "health") && span_is(segments[2], "ready"))
        return OIP_READY;
    return OIP_NONE;
}

static struct oip_path path_of(struct span path, struct arena *arena)
{
    struct oip_path p = {.call = OIP_NONE, .version = -1};
    struct span segments[SEGMENTS_MAX], segment;
    size_t len = 0;
    while (len < SEGMENTS_MAX && url_segment_next(&path, &segment))
        segments[len++] = segment;
    if (len && segments[len - 1].len == 0) /* a slash at the end */
        len--;
    if (len < 3 || !span_is(segments[1], "models")) {
        p.call = call_of_server(segments, len);
        return p;
    }
    if (failed(model_of(segments[2], arena, &p.model)))
        return p;
    size_t rest = 3;
    if (len > 4 && span_is(segments[3], "versions")) {
        if (!version_of(segments[4], &p.version))
            return p;
        rest = 5;
    } else if (len == 4 && span_is(segments[3], "versions")) {
        return p;
    }
    p.call = call_of_model(segments + rest, len - rest);
    return p;
}

/* ---- inference ---- */

static struct oip_ports ports_of(const struct weir_model_info *info)
{
    return (struct oip_ports){info->inputs, info->outputs, info->inputs_len, info->outputs_len};
}

static result infer_scan(struct infer *infer)
{
    struct oip_infer *message = infer->message;
    struct oip_ports ports = ports_of(infer->info);
    TRY(oip_infer_scan(infer->body, &ports, exchange_arena(infer->x), message, &infer->diag));
    infer->plans = message->inputs;
    infer->request.outputs_wanted = message->outputs_wanted;
    return OK;
}

static result infer_fill(struct infer *infer, const struct tensor_space *spaces)
{
    return oip_infer_fill(infer->message, infer->info->inputs, spaces, &infer->diag);
}

static result infer_write(struct infer *infer, struct text *out)
{
    const struct oip_infer *message = infer->message;
    struct oip_answer answer = {
        .model = span_cstr(version_model(infer->version)),
        .version = version_number(infer->version),
        .id = message->id,
        .has_id = message->has_id,
        .ports = infer->info->outputs,
        .outputs = infer->request.outputs,
        .outputs_len = infer->info->outputs_len,
        .outputs_wanted = message->outputs_wanted,
    };
    return oip_infer_answer(out, &answer, &infer->diag);
}

static void infer_refuse(struct infer *infer, enum err code, const char *text)
{
    refuse(infer->x, code, text);
}

static const struct infer_protocol infer_protocol = {
    .scan = infer_scan,
    .fill = infer_fill,
    .write = infer_write,
    .refuse = infer_refuse,
    .type = JSON_TYPE,
};

/* ---- models ---- */

#define VERSIONS_MAX 256

static void model_metadata(struct exchange *x, struct serve *serve, struct model_version *version)
{
    int64_t versions[VERSIONS_MAX];
    size_t len = 0;
    struct loop *loop = exchange_loop(x);
    struct span name = span_cstr(version_model(version));
    int count = catalog_count(serve->models, loop);
    for (int i = 0; i < count && len < VERSIONS_MAX; i++) {
        const struct model_version *v = catalog_at(serve->models, loop, i);
        if (span_is(name, version_model(v)) && version_state(v) == MODEL_AVAILABLE)
            versions[len++] = version_number(v);
    }
    struct oip_ports ports = ports_of(version_info(version));
    struct text text;
    text_init(&text, ANSWER_TEXT_MAX);
    oip_model(&text, name, versions, len, version_platform(version), &ports);
    answer_text(x, 200, &text);
}

static void model_unknown(struct exchange *x, const struct oip_path *p)
{
    char text[512];
    struct span name = span_first(p->model, 256);
    if (p->version < 0)
        snprintf(text, sizeof(text), "Request for unknown model: '%.*s' is not found",
                 SPAN_FMT(name));
    else
        snprintf(text, sizeof(text), "Request for unknown model: '%.*s' version %lld is not found",
                 SPAN_FMT(name), (long long)p->version);
    refuse(x, ERR_NOT_FOUND, text);
}

static void model_not_ready(struct exchange *x, const struct model_version *version)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "Request for unknown model: '%s' version %lld is not at ready "
             "state: %s",
             version_model(version), (long long)version_number(version),
             version_error(version) == ERR_NONE ? "it is loading" : version_error_text(version));
    refuse(x, ERR_UNAVAILABLE, text);
}

static void model_call(struct exchange *x, struct serve *serve, const struct oip_path *p)
{
    struct model_version *version =
        catalog_find(serve->models, exchange_loop(x), p->model, p->version);
    bool available = version && version_state(version) == MODEL_AVAILABLE;
    if (p->call == OIP_MODEL_READY)
        exchange_respond(x, available ? 200 : 400, NULL, SPAN_NONE);
    else if (!version)
        model_unknown(x, p);
    else if (!available)
        model_not_ready(x, version);
    else if (p->call == OIP_MODEL)
        model_metadata(x, serve, version);
    else
        infer_start(x, serve, version, &infer_protocol,
                    ARENA_NEW(exchange_arena(x), struct oip_infer));
}

/* ---- dispatch ---- */

static void server_metadata(struct exchange *x)
{
    struct text text;
    text_init(&text, ANSWER_TEXT_MAX);
    oip_server(&text, WEIR_VERSION);
    answer_text(x, 200, &text);
}

static bool all_settled(struct serve *serve, struct loop *loop)
{
    int count = catalog_count(serve->models, loop);
    for (int i = 0; i < count; i++) {
        enum model_state state = version_state(catalog_at(serve->models, loop, i));
        if (state == MODEL_START || state == MODEL_LOADING)
            return false;
    }
    return true;
}

void oip_start(struct exchange *x, void *arg)
{
    struct serve *serve = arg;
    struct oip_path p = path_of(exchange_path(x), exchange_arena(x));
    if (p.call == OIP_NONE) {
        refuse(x, ERR_NOT_FOUND, "no such call of the Open Inference Protocol");
        return;
    }
    enum http_method method = exchange_method(x);
    bool fits =
        p.call == OIP_INFER ? method == METHOD_POST : method == METHOD_GET || method == METHOD_HEAD;
    if (!fits) {
        exchange_add_header(x, "Allow", p.call == OIP_INFER ? SPAN("POST") : SPAN("GET"));
        answer_error(x, ERR_ARGUMENT, 405, "the call takes another method; see Allow", oip_error);
        return;
    }
    switch (p.call) {
    case OIP_SERVER:
        server_metadata(x);
        return;
    case OIP_LIVE:
        exchange_respond(x, 200, NULL, SPAN_NONE);
        return;
    case OIP_READY:
        exchange_respond(x, all_settled(serve, exchange_loop(x)) ? 200 : 400, NULL, SPAN_NONE);
        return;
    default:
        model_call(x, serve, &p);
    }
}
