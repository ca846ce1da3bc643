/* Paths, and bodies of predict requests for several models. The inputs of a request that
 * was taken, given back as outputs, are an answer whose values read as the same request. */
#include "base/alloc.h"
#include "base/test_fuzz.h"
#include "base/utf8.h"
#include "wire/tfs.h"

#include <math.h>
#include <stdio.h>
#include <yyjson.h>

#define PORTS_MAX 3

static const int64_t any_shape[] = {-1};
#define PORT(name_, code, bits) \
    {.size = sizeof(struct weir_port), \
     .name = name_, \
     .type = {code, bits, 1}, \
     .rank = -1, \
     .shape = any_shape}

static const struct weir_port float_port[] = {PORT("x", WEIR_FLOAT, 32)};
static const struct weir_port bytes_port[] = {PORT("x_bytes", WEIR_STRING, 8)};
static const struct weir_port three_ports[] = {PORT("n", WEIR_INT, 32), PORT("s", WEIR_STRING, 8),
                                               PORT("x", WEIR_FLOAT, 64)};
static const struct weir_port half_ports[] = {PORT("h", WEIR_FLOAT, 16), PORT("b", WEIR_BOOL, 8)};

static const struct {
    const struct weir_port *ports;
    int len;
} models[] = {{float_port, 1}, {bytes_port, 1}, {three_ports, 3}, {half_ports, 2}};

struct request {
    struct arena arena;
    struct tfs_predict predict;
    struct tensor_space spaces[PORTS_MAX];
    struct diag diag;
    result r;
};

static void request_read(struct request *q, struct span body, const struct weir_port *ports, int n)
{
    *q = (struct request){0};
    arena_init(&q->arena, 4096, (size_t)1 << 20);
    q->r = tfs_predict_scan(body, ports, n, &q->arena, &q->predict, &q->diag);
    for (int i = 0; i < n && !failed(q->r); i++) {
        const struct tensor_plan *plan = &q->predict.inputs[i];
        /* An empty tensor of any shape costs nothing to claim; memory does. */
        ASSERT(plan->bytes <= 8 * body.len && plan->elements <= body.len);
        q->spaces[i].data = mem_must(mem_aligned(64, plan->bytes), plan->bytes);
        if (plan->type.code == WEIR_STRING)
            q->spaces[i].offsets = mem_must(mem_zalloc(plan->elements + 1, sizeof(uint64_t)), 8);
    }
    if (!failed(q->r))
        q->r = tfs_predict_fill(&q->predict, q->spaces, &q->diag);
    ASSERT(!failed(q->r) || q->diag.text[0]);
}

static void request_release(struct request *q)
{
    for (int i = 0; i < PORTS_MAX; i++) {
        mem_free(q->spaces[i].data);
        mem_free(q->spaces[i].offsets);
    }
    arena_release(&q->arena);
}

/* Text keeps one form of NaN, and repairs what is no UTF-8. */
static bool kept_by_text(const struct weir_tensor *tensor)
{
    if (tensor->type.code == WEIR_STRING) {
        uint64_t elements = 0;
        ASSERT(!failed(shape_elements(tensor->shape, tensor->rank, UINT64_MAX, &elements)));
        for (uint64_t i = 0; i < elements; i++)
            if (!utf8_valid(span_of((const uint8_t *)tensor->data + tensor->offsets[i],
                                    tensor->offsets[i + 1] - tensor->offsets[i])))
                return false;
    }
    for (uint64_t i = 0;
         tensor->type.code == WEIR_FLOAT && i < 8 * tensor->bytes / tensor->type.bits; i++)
        if (tensor->type.bits == 64
                ? isnan(((const double *)tensor->data)[i])
                : tensor->type.bits == 32 && isnan(((const float *)tensor->data)[i]))
            return false;
    return true;
}

static bool same(const struct weir_tensor *a, const struct weir_tensor *b)
{
    if (a->rank != b->rank || a->bytes != b->bytes)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return !a->bytes || memcmp(a->data, b->data, a->bytes) == 0;
}

/* {"predictions": ...} as {"instances": ...}, {"outputs": ...} as {"inputs": ...} */
static void as_request(struct text *into, struct span answer, bool rows)
{
    struct span old = rows ? SPAN("\"predictions\"") : SPAN("\"outputs\"");
    size_t at = span_search(answer, old);
    ASSERT(at < answer.len);
    text_append(into, span_first(answer, at));
    text_append(into, rows ? SPAN("\"instances\"") : SPAN("\"inputs\""));
    text_append(into, span_from(answer, at + old.len));
}

static void check_answer(const struct request *q, const struct weir_port *ports, int n)
{
    struct weir_tensor tensors[PORTS_MAX];
    struct text answer, body;
    struct diag diag = {0};
    bool kept = true, rows = q->predict.rows;
    text_init(&answer, (size_t)1 << 20);
    text_init(&body, (size_t)1 << 20);
    for (int i = 0; i < n; i++) {
        tensors[i] = tensor_of_plan(&q->predict.inputs[i], &q->spaces[i]);
        kept = kept && kept_by_text(&tensors[i]);
        /* An array of nothing ends its shape in text. */
        kept = kept && q->predict.inputs[i].elements > 0;
    }
    result r = tfs_predict_answer(&answer, rows, ports, tensors, n, &diag);
    ASSERT(!failed(text_result(&answer)) && (!failed(r) || diag.text[0]));
    if (!failed(r) && kept) {
        struct request again;
        as_request(&body, text_span(&answer), rows);
        request_read(&again, text_span(&body), ports, n);
        ASSERT(!failed(again.r) && again.predict.rows == rows);
        for (int i = 0; i < n; i++) {
            struct weir_tensor back = tensor_of_plan(&again.predict.inputs[i], &again.spaces[i]);
            ASSERT(same(&tensors[i], &back));
        }
        request_release(&again);
    }
    text_release(&answer);
    text_release(&body);
}

static void check_route(struct span path)
{
    static const char *const methods[] = {"GET", "POST", "PUT"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct arena arena;
        struct tfs_route route;
        struct diag diag = {0};
        arena_init(&arena, 4096, (size_t)1 << 20);
        result r = tfs_route(span_cstr(methods[i]), path, &arena, &route, &diag);
        if (failed(r)) {
            ASSERT(is(r, ERR_ARGUMENT) && diag.text[0]);
        } else {
            ASSERT(tfs_claims(path) && route.model.len > 0 && route.version >= -1);
            ASSERT(route.model.len <= path.len && !(route.version >= 0 && route.label.len > 0));
            ASSERT((i == 0) == (route.kind == TFS_STATUS || route.kind == TFS_METADATA));
        }
        arena_release(&arena);
    }
}

static void check_json(struct text *text)
{
    ASSERT(!failed(text_result(text)));
    yyjson_doc *doc = yyjson_read((const char *)text->ptr, text->len, 0);
    ASSERT(doc);
    yyjson_doc_free(doc);
    text_clear(text);
}

/* Whatever text stands in it, an answer is JSON. */
static void check_answers(struct span any)
{
    struct text text;
    char reason[64];
    const struct tfs_version versions[] = {
        {.version = (int64_t)any.len, .state = any.len > 0 ? any.ptr[0] : 0, .error = ERR_NONE},
        {.version = 1, .state = 50, .error = ERR_BACKEND, .error_text = reason},
    };
    snprintf(reason, sizeof(reason), "%.*s", SPAN_FMT(span_first(any, 60)));
    text_init(&text, (size_t)1 << 20);
    tfs_error(&text, any);
    check_json(&text);
    tfs_status(&text, versions, any.len % 3);
    check_json(&text);
    tfs_metadata(&text, any, 7, three_ports, 3, bytes_port, 1);
    check_json(&text);
    text_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span input = span_of(bytes, len);
    check_answers(input);
    if (len > 0 && bytes[0] == '/') {
        check_route(input);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        struct request q;
        request_read(&q, input, models[i].ports, models[i].len);
        if (!failed(q.r))
            check_answer(&q, models[i].ports, models[i].len);
        request_release(&q);
    }
    return 0;
}
