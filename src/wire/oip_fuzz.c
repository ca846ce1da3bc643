/* Infer requests for several models. The inputs of a request that was taken, given back as
 * outputs, are an answer whose values read as the same request. */
#include "base/alloc.h"
#include "base/test_fuzz.h"
#include "wire/oip.h"

#include <yyjson.h>

#define PORTS_MAX 3

static const int64_t any_by_two[] = {-1, 2}, any_extent[] = {-1};

#define PORT(name_, code, bits, rank_, shape_) \
    {.size = sizeof(struct weir_port), \
     .name = name_, \
     .type = {code, bits, 1}, \
     .rank = rank_, \
     .shape = shape_}

static const struct weir_port row_ports[] = {PORT("x", WEIR_FLOAT, 32, 2, any_by_two)};
static const struct weir_port mixed_ports[] = {PORT("n", WEIR_INT, 64, -1, NULL),
                                               PORT("s", WEIR_STRING, 8, 1, any_extent),
                                               PORT("h", WEIR_FLOAT, 16, -1, NULL)};
static const struct weir_port bit_ports[] = {PORT("b", WEIR_BOOL, 8, -1, NULL),
                                             PORT("u", WEIR_UINT, 8, -1, NULL)};

static const struct oip_ports served[] = {
    {row_ports, row_ports, 1, 1},
    {mixed_ports, mixed_ports, 3, 3},
    {bit_ports, bit_ports, 2, 2},
};

struct request {
    struct arena arena;
    struct oip_infer infer;
    struct tensor_space spaces[PORTS_MAX];
    struct diag diag;
    result r;
};

static void request_read(struct request *q, struct span body, const struct oip_ports *ports)
{
    *q = (struct request){0};
    arena_init(&q->arena, 4096, (size_t)1 << 20);
    q->r = oip_infer_scan(body, ports, &q->arena, &q->infer, &q->diag);
    for (int i = 0; i < ports->inputs_len && !failed(q->r); i++) {
        const struct tensor_plan *plan = &q->infer.inputs[i];
        ASSERT(plan->bytes <= 8 * body.len && plan->elements <= body.len);
        ASSERT(shape_fits(&ports->inputs[i], plan->shape, plan->rank));
        q->spaces[i].data = mem_must(mem_aligned(64, plan->bytes), plan->bytes);
        if (plan->type.code == WEIR_STRING)
            q->spaces[i].offsets = mem_must(mem_zalloc(plan->elements + 1, sizeof(uint64_t)), 8);
    }
    if (!failed(q->r))
        q->r = oip_infer_fill(&q->infer, ports->inputs, q->spaces, &q->diag);
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

static void check_same(const struct request *q, const struct request *again, int n)
{
    for (int i = 0; i < n; i++) {
        struct weir_tensor a = tensor_of_plan(&q->infer.inputs[i], &q->spaces[i]);
        struct weir_tensor b = tensor_of_plan(&again->infer.inputs[i], &again->spaces[i]);
        ASSERT(a.rank == b.rank && a.bytes == b.bytes);
        ASSERT(memcmp(q->infer.inputs[i].shape, again->infer.inputs[i].shape,
                      (size_t)a.rank * sizeof(int64_t)) == 0);
        ASSERT(!a.bytes || memcmp(a.data, b.data, a.bytes) == 0);
    }
}

static void check_answer(const struct request *q, const struct oip_ports *ports)
{
    struct weir_tensor tensors[PORTS_MAX];
    struct text answer, body;
    struct diag diag = {0};
    struct request again;
    for (int i = 0; i < ports->inputs_len; i++)
        tensors[i] = tensor_of_plan(&q->infer.inputs[i], &q->spaces[i]);
    struct oip_answer all = {
        .model = SPAN("m"),
        .version = -1,
        .id = q->infer.id,
        .has_id = q->infer.has_id,
        .ports = ports->outputs,
        .outputs = tensors,
        .outputs_len = ports->outputs_len,
    };
    text_init(&answer, (size_t)1 << 20);
    text_init(&body, (size_t)1 << 20);
    ASSERT(!failed(oip_infer_answer(&answer, &all, &diag)) && !failed(text_result(&answer)));
    yyjson_doc *doc = yyjson_read((const char *)answer.ptr, answer.len, 0);
    ASSERT(doc);
    yyjson_doc_free(doc);
    /* The last "outputs" outside a string: behind it stand the tensors, whose names have none. */
    size_t at = 0, next;
    struct span text = text_span(&answer), key = SPAN("\"outputs\":[{\"name\":\"");
    next = span_search(text, key);
    ASSERT(next < text.len);
    at = next;
    text_append(&body, span_first(text, at));
    text_str(&body, "\"inputs\":");
    text_append(&body, span_from(text, at + 10));
    request_read(&again, text_span(&body), ports);
    ASSERT(!failed(again.r));
    ASSERT(again.infer.has_id == q->infer.has_id && span_eq(again.infer.id, q->infer.id));
    check_same(q, &again, ports->inputs_len);
    request_release(&again);
    text_release(&answer);
    text_release(&body);
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
    static const int64_t versions[] = {1, INT64_MAX};
    struct text text;
    text_init(&text, (size_t)1 << 20);
    oip_error(&text, any);
    check_json(&text);
    oip_server(&text, "1.2.3");
    check_json(&text);
    oip_model(&text, any, versions, any.len % 3, "onnx", &served[any.len % ARRAY_LEN(served)]);
    check_json(&text);
    text_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    check_answers(span_of(bytes, len));
    for (size_t i = 0; i < ARRAY_LEN(served); i++) {
        struct request q;
        request_read(&q, span_of(bytes, len), &served[i]);
        if (!failed(q.r))
            check_answer(&q, &served[i]);
        request_release(&q);
    }
    return 0;
}
