#include "wire/oip.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

#include <stdio.h>

static const int64_t any_by_two[] = {-1, 2}, any[] = {-1};

#define PORT(name_, code, bits, rank_, shape_) \
    {.size = sizeof(struct weir_port), \
     .name = name_, \
     .type = {code, bits, 1}, \
     .rank = rank_, \
     .shape = shape_}

static const struct weir_port inputs[] = {PORT("x", WEIR_FLOAT, 32, 2, any_by_two),
                                          PORT("s", WEIR_STRING, 8, 1, any)};
static const struct weir_port outputs[] = {PORT("y", WEIR_FLOAT, 32, 2, any_by_two),
                                           PORT("z", WEIR_INT, 64, -1, NULL)};
static const struct oip_ports one = {inputs, outputs, 1, 2}, both = {inputs, outputs, 2, 2};

struct request {
    struct arena arena;
    struct oip_infer infer;
    struct tensor_space spaces[2];
    struct diag diag;
    result r;
};

static void request_read(struct request *q, struct span body, const struct oip_ports *ports)
{
    *q = (struct request){0};
    arena_init(&q->arena, 4096, 65536);
    q->r = oip_infer_scan(body, ports, &q->arena, &q->infer, &q->diag);
    if (failed(q->r))
        return;
    for (int i = 0; i < ports->inputs_len; i++) {
        const struct tensor_plan *plan = &q->infer.inputs[i];
        q->spaces[i].data = mem_must(mem_aligned(64, plan->bytes), plan->bytes);
        if (plan->type.code == WEIR_STRING)
            q->spaces[i].offsets = mem_must(mem_zalloc(plan->elements + 1, sizeof(uint64_t)), 8);
    }
    q->r = oip_infer_fill(&q->infer, ports->inputs, q->spaces, &q->diag);
}

static void request_release(struct request *q)
{
    for (int i = 0; i < 2; i++) {
        mem_free(q->spaces[i].data);
        mem_free(q->spaces[i].offsets);
    }
    arena_release(&q->arena);
}

static const char *request_show(const struct request *q, char *out, size_t size)
{
    const struct tensor_plan *plan = &q->infer.inputs[0];
    size_t used;

    shape_format(plan->shape, plan->rank, out, size);
    used = strlen(out);
    for (uint64_t e = 0; e < plan->elements && used < size; e++)
        used += (size_t)snprintf(out + used, size - used, " %g",
                                 (double)((const float *)q->spaces[0].data)[e]);
    return out;
}

static void requests_are_read_in_any_order_nested_or_flat(void **state)
{
    (void)state;
    static const struct {
        const char *body, *shown, *id;
        uint64_t wanted;
    } cases[] = {
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[2,2],\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}",
         "[2,2] 1 2 3 4", NULL, 0},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[2,2],\"datatype\":\"FP32\",\"data\":[[1,2],[3,4]]"
         "}]}",
         "[2,2] 1 2 3 4", NULL, 0},
        {" {\"inputs\" : [ "
         "{\"data\":[1.5,-2e0],\"datatype\":\"FP32\",\"shape\":[1,2],\"name\":\"x\"} ] } ",
         "[1,2] 1.5 -2", NULL, 0},
        {"{\"id\":\"4\\u0032\",\"outputs\":[{\"name\":\"z\",\"parameters\":{\"binary_data\":true}}]"
         ","
         "\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2],"
         "\"parameters\":{\"a\":[1]}}],\"parameters\":{\"b\":{}},\"other\":null}",
         "[1,2] 1 2", "42", 2},
        {"{\"id\":\"\",\"outputs\":[],\"inputs\":[{\"name\":\"x\",\"shape\":[0,2],\"datatype\":"
         "\"FP32\","
         "\"data\":[]}]}",
         "[0,2]", "", 0},
        {"{\"inputs\":[{\"name\":\"x\",\"shape\":[0,2],\"datatype\":\"FP32\",\"data\":[[]]}]}",
         "[0,2]", NULL, 0},
        {"{\"outputs\":[{\"name\":\"y\"},{\"name\":\"z\"}],\"inputs\":[{\"name\":\"x\",\"name\":5,"
         "\"shape\":[1,2],\"shape\":0,\"datatype\":\"FP32\",\"data\":[1,2],\"data\":{}}],"
         "\"inputs\":1}",
         "[1,2] 1 2", NULL, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request q;
        char shown[128];
        request_read(&q, span_cstr(cases[i].body), &one);
        if (failed(q.r))
            fail_msg("%s: %s", cases[i].body, q.diag.text);
        assert_string_equal(request_show(&q, shown, sizeof(shown)), cases[i].shown);
        assert_int_equal(q.infer.has_id, cases[i].id != NULL);
        assert_true(span_is(q.infer.id, cases[i].id));
        assert_int_equal(q.infer.outputs_wanted, cases[i].wanted);
        request_release(&q);
    }
}

static void inputs_go_to_their_ports_whatever_their_order(void **state)
{
    (void)state;
    struct request q;
    request_read(
        &q,
        SPAN("{\"inputs\":[{\"name\":\"s\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"a\","
             "\"\\u00e9\"]},{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}]"
             "}"),
        &both);
    assert_false(failed(q.r));
    struct weir_tensor x = tensor_of_plan(&q.infer.inputs[0], &q.spaces[0]);
    struct weir_tensor s = tensor_of_plan(&q.infer.inputs[1], &q.spaces[1]);
    assert_int_equal(x.bytes, 8);
    assert_true(((const float *)x.data)[1] == 2);
    assert_int_equal(s.bytes, 3);
    assert_int_equal(s.offsets[1], 1);
    assert_memory_equal(s.data, "a\xc3\xa9", 3);
    request_release(&q);
}

#define X(rest) "{\"inputs\":[{\"name\":\"x\"," rest "}]}"
#define X22(data) X("\"shape\":[2,2],\"datatype\":\"FP32\",\"data\":" data)

static const struct {
    const char *body;
    enum err code;
    const char *error;
} refusals[] = {
    {"", ERR_SYNTAX, "expected a value, got the end of the text"},
    {"nonsense", ERR_SYNTAX, "expected a value, got \"onsense\""},
    {"[]", ERR_TYPE, "expected an object as the request"},
    {X22("[1,2,3,4]") " x", ERR_SYNTAX, "expected the end of the document, got \"x\""},
    {"{}", ERR_ARGUMENT, "expected input 'x', got none"},
    {"{\"inputs\":[]}", ERR_ARGUMENT, "expected input 'x', got none"},
    {"{\"inputs\":{}}", ERR_TYPE, "expected an array for 'inputs'"},
    {"{\"inputs\":[1]}", ERR_TYPE, "expected objects for 'inputs'"},
    {"{\"inputs\":[{}]}", ERR_ARGUMENT, "expected 'name' in 'inputs', got none"},
    {"{\"inputs\":[{\"name\":5}]}", ERR_TYPE, "expected a string for 'name'"},
    {"{\"inputs\":[{\"name\":\"q\"}]}", ERR_ARGUMENT, "expected inputs of the model, got 'q'"},
    {"{\"inputs\":[{\"name\":\"x\",\"shape\":[0,2],\"datatype\":\"FP32\",\"data\":[]},{"
     "\"name\":\"x\"}]}",
     ERR_ARGUMENT, "expected input 'x' once, got it twice"},
    {"{\"id\":7," X22("[1,2,3,4]"), ERR_TYPE, "expected a string for 'id'"},
    {"{\"outputs\":[{\"name\":\"q\"}]}", ERR_ARGUMENT, "expected outputs of the model, got 'q'"},
    {"{\"outputs\":[{}]}", ERR_ARGUMENT, "expected 'name' in 'outputs', got none"},
    {"{\"outputs\":7}", ERR_TYPE, "expected an array for 'outputs'"},
    {X("\"shape\":[2,2],\"data\":[1,2,3,4]"), ERR_ARGUMENT,
     "input 'x': expected 'datatype', got none"},
    {X("\"datatype\":\"FP32\",\"data\":[1,2,3,4]"), ERR_ARGUMENT,
     "input 'x': expected 'shape', got none"},
    {X("\"datatype\":\"FP32\",\"shape\":[2,2]"), ERR_ARGUMENT,
     "input 'x': expected 'data', got none"},
    {X("\"datatype\":\"FP31\""), ERR_TYPE,
     "input 'x': expected a datatype of the protocol, got 'FP31'"},
    {X("\"datatype\":32"), ERR_TYPE, "input 'x': expected a string for 'datatype'"},
    {X("\"shape\":2"), ERR_TYPE, "input 'x': expected an array of extents for 'shape'"},
    {X("\"shape\":[\"2\"]"), ERR_TYPE, "input 'x': expected integers from 0 on for 'shape'"},
    {X("\"shape\":[-1,2]"), ERR_TYPE,
     "input 'x': expected integers from 0 to 2^63 - 1 for 'shape'"},
    {X("\"shape\":[2.0,2]"), ERR_TYPE,
     "input 'x': expected integers from 0 to 2^63 - 1 for 'shape'"},
    {X("\"shape\":[9223372036854775808]"), ERR_TYPE,
     "input 'x': expected integers from 0 to 2^63 - 1 for 'shape'"},
    {X("\"shape\":[1,1,1,1,1,1,1,1,1]"), ERR_SHAPE,
     "input 'x': expected at most 8 extents in 'shape', got more"},
    {X("\"data\":5"), ERR_TYPE, "input 'x': expected an array for 'data'"},
    {X("\"shape\":[2,2],\"datatype\":\"INT64\",\"data\":[1,2,3,4]"), ERR_TYPE,
     "input 'x': expected datatype FP32, got INT64"},
    {X("\"shape\":[2,3],\"datatype\":\"FP32\",\"data\":[1,2,3,4,5,6]"), ERR_SHAPE,
     "input 'x': expected shape [-1,2], got [2,3]"},
    {X("\"shape\":[4],\"datatype\":\"FP32\",\"data\":[1,2,3,4]"), ERR_SHAPE,
     "input 'x': expected shape [-1,2], got [4]"},
    {X22("[1,2,3]"), ERR_SHAPE, "input 'x': shape [2,2]: expected 4 elements in 'data', got 3"},
    {X("\"shape\":[1000000000000000000,2],\"datatype\":\"FP32\",\"data\":[1]"), ERR_SHAPE,
     "input 'x': shape [1000000000000000000,2]: expected 2000000000000000000 elements in "
     "'data', got 1"},
    {X("\"shape\":[9223372036854775807,2],\"datatype\":\"FP32\",\"data\":[1]"), ERR_TOO_LARGE,
     "input 'x': shape [9223372036854775807,2]: expected at most 2^63 - 1 elements"},
    {X22("[[1,2,3,4]]"), ERR_SHAPE,
     "input 'x': expected 'data' flat or nested as shape [2,2], got [1,4]"},
    {X22("[[1,2],[3]]"), ERR_SHAPE, "input 'x': expected 2 elements as in the first array, got 1"},
    {X22("[1,2,\"3\",4]"), ERR_TYPE, "input 'x': expected elements of type FP32, got strings"},
    {X22("[1,2,true,4]"), ERR_TYPE, "input 'x': expected elements of type FP32, got booleans"},
    {X22("[1,2,null,4]"), ERR_TYPE, "input 'x': expected an element of a tensor, got null"},
    {X22("[1,2,{\"b64\":\"\"},4]"), ERR_TYPE,
     "input 'x': expected an element of a tensor, got an object"},
    {X22("[1,2,3.5e38,4]"), ERR_RANGE, "input 'x': element 2: expected FP32, got 3.5e38"},
    {X22("[1,2,NaN,4]"), ERR_SYNTAX, "expected a value, got \"NaN,4]}]}\""},
    {X22("[1,2,03,4]"), ERR_SYNTAX,
     "input 'x': expected ',' or ']' after an element, got \"3,4]}]}\""},
};

static void refusals_name_the_input_and_both_sides(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct request q;
        request_read(&q, span_cstr(refusals[i].body), &one);
        if (!is(q.r, refusals[i].code) || strcmp(q.diag.text, refusals[i].error) != 0)
            fail_msg("%s:\n  expected %s\n  got      %s (%s)", refusals[i].body, refusals[i].error,
                     q.diag.text, err_name((enum err)q.r.code));
        request_release(&q);
    }
}

/* ---- answers ---- */

static void answers_hold_what_was_asked_for(void **state)
{
    (void)state;
    static const float floats[] = {1, 1.5f, 0.1f, -2};
    static const int64_t ints[] = {INT64_MIN}, two_two[] = {2, 2};
    struct weir_tensor tensors[] = {
        {.type = {WEIR_FLOAT, 32, 1},
         .rank = 2,
         .shape = two_two,
         .data = (void *)(uintptr_t)floats},
        {.type = {WEIR_INT, 64, 1}, .rank = 0, .data = (void *)(uintptr_t)ints},
    };
    struct oip_answer answer = {.model = SPAN("m\"1"),
                                .version = 3,
                                .id = SPAN("42"),
                                .has_id = true,
                                .ports = outputs,
                                .outputs = tensors,
                                .outputs_len = 2};
    struct text text;
    text_init(&text, 4096);
    assert_false(failed(oip_infer_answer(&text, &answer, NULL)));
    assert_string_equal(
        text_cstr(&text),
        "{\"model_name\":\"m\\\"1\",\"model_version\":\"3\",\"id\":\"42\",\"outputs\":[{\"name\":"
        "\"y\","
        "\"datatype\":\"FP32\",\"shape\":[2,2],\"data\":[1.0,1.5,0.1,-2.0]},{\"name\":\"z\","
        "\"datatype\":\"INT64\",\"shape\":[],\"data\":[-9223372036854775808]}]}");
    text_clear(&text);
    answer.outputs_wanted = 2;
    answer.has_id = false;
    answer.version = -1;
    assert_false(failed(oip_infer_answer(&text, &answer, NULL)));
    assert_string_equal(
        text_cstr(&text),
        "{\"model_name\":\"m\\\"1\",\"outputs\":[{\"name\":\"z\",\"datatype\":\"INT64\","
        "\"shape\":[],\"data\":[-9223372036854775808]}]}");
    text_clear(&text);
    answer.outputs_wanted = 0;
    tensors[1].data = NULL;
    tensors[0].shape = two_two;
    static const float odd[] = {1, 2, __builtin_nanf(""), 4};
    tensors[0].data = (void *)(uintptr_t)odd;
    struct diag diag = {0};
    assert_true(is(oip_infer_answer(&text, &answer, &diag), ERR_UNSUPPORTED));
    assert_string_equal(diag.text, "output 'y': element 2 is NaN, for which JSON has no number");
    text_release(&text);
}

static void errors_and_metadata_have_the_members_of_the_protocol(void **state)
{
    (void)state;
    static const int64_t versions[] = {1, 12};
    struct text text;
    text_init(&text, 4096);
    oip_error(&text, SPAN("no \"such\" model"));
    assert_string_equal(text_cstr(&text), "{\"error\":\"no \\\"such\\\" model\"}");
    text_clear(&text);
    oip_server(&text, "0.1.0");
    assert_string_equal(text_cstr(&text),
                        "{\"name\":\"weir\",\"version\":\"0.1.0\",\"extensions\":[]}");
    text_clear(&text);
    oip_model(&text, SPAN("m"), versions, 2, "onnxruntime_onnx", &both);
    assert_string_equal(text_cstr(&text), "{\"name\":\"m\",\"versions\":[\"1\",\"12\"],"
                                          "\"platform\":\"onnxruntime_onnx\",\"inputs\":[{\"name\":"
                                          "\"x\",\"datatype\":\"FP32\",\"shape\":[-1,2]},{\"name\":"
                                          "\"s\",\"datatype\":\"BYTES\",\"shape\":[-1]}],"
                                          "\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\","
                                          "\"shape\":[-1,2]},{\"name\":\"z\",\"datatype\":"
                                          "\"INT64\",\"shape\":[-1]}]}");
    text_release(&text);
}

/* ---- broken bodies ---- */

static const char whole_body[] =
    "{\"id\":\"a\\u00e9\",\"inputs\":[{\"data\":[[1,-2.5e0],[3,4]],\"name\":\"x\",\"datatype\":"
    "\"FP32\","
    "\"shape\":[2,2],\"parameters\":{\"p\":[1,{}]}},{\"name\":\"s\",\"shape\":[2],\"datatype\":"
    "\"BYTES\","
    "\"data\":[\"one\",\"\\ud83d\\ude00\"]}],\"outputs\":[{\"name\":\"y\"}]}";

static void every_truncation_is_a_fault_of_the_grammar(void **state)
{
    (void)state;
    size_t whole = strlen(whole_body);
    for (size_t len = 0; len <= whole; len++) {
        struct request q;
        uint8_t *copy = mem_alloc(len);
        memcpy(copy, whole_body, len);
        request_read(&q, span_of(copy, len), &both);
        if (!is(q.r, len < whole ? ERR_SYNTAX : ERR_NONE))
            fail_msg("%.*s: %s", (int)len, whole_body, q.diag.text);
        assert_int_equal(q.diag.line, len < whole ? 1 : 0);
        request_release(&q);
        mem_free(copy);
    }
}

static void changed_bodies_do_no_harm(void **state)
{
    (void)state;
    static const char alphabet[] = "[]{},:\"\\0123456789.eE-NaIFP32xs \n\xff";
    uint64_t random = 271828;
    int read = 0, refused = 0;
    for (int round = 0; round < 40000; round++) {
        size_t len = strlen(whole_body);
        uint8_t *copy = mem_must(mem_alloc(len), len);
        memcpy(copy, whole_body, len);
        for (uint64_t n = 1 + test_random(&random) % 3; n > 0; n--)
            copy[test_random(&random) % len] =
                (uint8_t)alphabet[test_random(&random) % (sizeof(alphabet) - 1)];
        struct request q;
        request_read(&q, span_of(copy, len), &both);
        if (failed(q.r)) {
            refused++;
            assert_true(q.diag.code == q.r.code && q.diag.text[0] != '\0');
        } else {
            read++;
        }
        request_release(&q);
        mem_free(copy);
    }
    assert_true(read > 100 && refused > 100);
}

static void running_out_of_memory_is_told_apart(void **state)
{
    (void)state;
    struct arena arena;
    struct oip_infer infer;
    arena_init(&arena, 16, 64);
    assert_true(
        is(oip_infer_scan(span_cstr(whole_body), &both, &arena, &infer, NULL), ERR_NO_MEMORY));
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read_in_any_order_nested_or_flat),
        cmocka_unit_test(inputs_go_to_their_ports_whatever_their_order),
        cmocka_unit_test(refusals_name_the_input_and_both_sides),
        cmocka_unit_test(answers_hold_what_was_asked_for),
        cmocka_unit_test(errors_and_metadata_have_the_members_of_the_protocol),
        cmocka_unit_test(every_truncation_is_a_fault_of_the_grammar),
        cmocka_unit_test(changed_bodies_do_no_harm),
        cmocka_unit_test(running_out_of_memory_is_told_apart),
    };
    return cmocka_run_group_tests_name("wire/oip", tests, NULL, NULL);
}
