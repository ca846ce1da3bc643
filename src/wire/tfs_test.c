#include "wire/tfs.h"

#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

#include <stdio.h>

/* ---- routes ---- */

struct route_case {
    const char *method, *path;
    enum tfs_kind kind;
    const char *model;
    int64_t version;
    const char *label;
    const char *error; /* NULL: none */
};

static const struct route_case route_cases[] = {
    {"POST", "/v1/models/half_plus_two:predict", TFS_PREDICT, "half_plus_two", -1, "", NULL},
    {"POST", "/v1/models/m:classify", TFS_CLASSIFY, "m", -1, "", NULL},
    {"POST", "/v1/models/m:regress", TFS_REGRESS, "m", -1, "", NULL},
    {"POST", "/V1/MODELS/M:Predict", TFS_PREDICT, "M", -1, "", NULL},
    {"POST", "/v1/models/m/versions/12:predict", TFS_PREDICT, "m", 12, "", NULL},
    {"POST", "/v1/models/m/labels/canary:predict", TFS_PREDICT, "m", -1, "canary", NULL},
    {"POST", "/v1/models/a%20b%2Fc/labels/x%3Ay:predict", TFS_PREDICT, "a b/c", -1, "x:y", NULL},
    {"POST", "/v1/models/100%:predict", TFS_PREDICT, "100%", -1, "", NULL},
    {"POST", "/v1/models/a%4:predict", TFS_PREDICT, "a%4", -1, "", NULL},
    {"POST", "/v1/models/a%zz%41:predict", TFS_PREDICT, "a%zzA", -1, "", NULL},
    {"GET", "/v1/models/m", TFS_STATUS, "m", -1, "", NULL},
    {"GET", "/v1/models/m/versions/007", TFS_STATUS, "m", 7, "", NULL},
    {"GET", "/v1/models/m/labels/stable", TFS_STATUS, "m", -1, "stable", NULL},
    {"GET", "/v1/models/m/metadata", TFS_METADATA, "m", -1, "", NULL},
    {"GET", "/v1/models/m/versions/3/Metadata", TFS_METADATA, "m", 3, "", NULL},
    {"GET", "/v1/models/m/labels/l/metadata", TFS_METADATA, "m", -1, "l", NULL},
    {"GET", "/v1/models/metadata", TFS_STATUS, "metadata", -1, "", NULL},
    {"GET", "/v1/models/metadata/metadata", TFS_METADATA, "metadata", -1, "", NULL},
    {"GET", "/v1/models/versions", TFS_STATUS, "versions", -1, "", NULL},
    {"GET", "/v1/models/m/versions/9223372036854775807", TFS_STATUS, "m", INT64_MAX, "", NULL},
    /* refused */
    {"GET", "/v1/models", 0, "", 0, "", "Missing model name in request."},
    {"GET", "/v1/models/versions/1", 0, "", 0, "", "Missing model name in request."},
    {"GET", "/v1/models/labels/x/metadata", 0, "", 0, "", "Missing model name in request."},
    {"GET", "/v1/models/", 0, "", 0, "", "Malformed request: GET /v1/models/"},
    {"GET", "/v1/models/m:predict", 0, "", 0, "", "Malformed request: GET /v1/models/m:predict"},
    {"GET", "/v1/models/m/", 0, "", 0, "", "Malformed request: GET /v1/models/m/"},
    {"GET", "/v1/models/m/versions/x", 0, "", 0, "",
     "Malformed request: GET /v1/models/m/versions/x"},
    {"GET", "/v1/models/m/versions/1x", 0, "", 0, "",
     "Malformed request: GET /v1/models/m/versions/1x"},
    {"GET", "/v1/models/m/labels/", 0, "", 0, "", "Malformed request: GET /v1/models/m/labels/"},
    {"GET", "/v1/models/m/metadata/x", 0, "", 0, "",
     "Malformed request: GET /v1/models/m/metadata/x"},
    {"GET", "/v1/", 0, "", 0, "", "Malformed request: GET /v1/"},
    {"POST", "/v1/models/m", 0, "", 0, "", "Malformed request: POST /v1/models/m"},
    {"POST", "/v1/models/m:explain", 0, "", 0, "", "Malformed request: POST /v1/models/m:explain"},
    {"POST", "/v1/models/m:predict/", 0, "", 0, "",
     "Malformed request: POST /v1/models/m:predict/"},
    {"POST", "/v1/models/:predict", 0, "", 0, "", "Malformed request: POST /v1/models/:predict"},
    {"POST", "/v1/models/m/versions/:predict", 0, "", 0, "",
     "Malformed request: POST /v1/models/m/versions/:predict"},
    {"PUT", "/v1/models/m", 0, "", 0, "", "Malformed request: PUT /v1/models/m"},
    {"GET", "/v1/models/m/versions/9223372036854775808", 0, "", 0, "",
     "Failed to convert version: 9223372036854775808 to numeric."},
};

static void paths_mean_what_they_mean_upstream(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(route_cases); i++) {
        const struct route_case *c = &route_cases[i];
        struct arena arena;
        struct tfs_route route = {0};
        struct diag diag = {0};
        arena_init(&arena, 1024, 4096);
        result r = tfs_route(span_cstr(c->method), span_cstr(c->path), &arena, &route, &diag);
        assert_true(tfs_claims(span_cstr(c->path)));
        if (is(r, ERR_ARGUMENT) != (c->error != NULL) ||
            (c->error && strcmp(diag.text, c->error) != 0))
            fail_msg("%s %s: %s", c->method, c->path, diag.text);
        if (!c->error && (route.kind != c->kind || !span_is(route.model, c->model) ||
                          route.version != c->version || !span_is(route.label, c->label)))
            fail_msg("%s %s: kind %d, model %.*s, version %lld, label %.*s", c->method, c->path,
                     route.kind, SPAN_FMT(route.model), (long long)route.version,
                     SPAN_FMT(route.label));
        arena_release(&arena);
    }
    assert_false(tfs_claims(SPAN("/v2/models/m")));
    assert_false(tfs_claims(SPAN("/v1")));
}

/* ---- requests ---- */

static const int64_t any_shape[] = {-1};
#define PORT(name_, code, bits) \
    {.size = sizeof(struct weir_port), \
     .name = name_, \
     .type = {code, bits, 1}, \
     .rank = -1, \
     .shape = any_shape}

static const struct weir_port float_port[] = {PORT("x", WEIR_FLOAT, 32)};
static const struct weir_port double_port[] = {PORT("x", WEIR_FLOAT, 64)};
static const struct weir_port int_port[] = {PORT("x", WEIR_INT, 32)};
static const struct weir_port byte_port[] = {PORT("x", WEIR_UINT, 8)};
static const struct weir_port bool_port[] = {PORT("x", WEIR_BOOL, 8)};
static const struct weir_port string_port[] = {PORT("x", WEIR_STRING, 8)};
static const struct weir_port two_ports[] = {PORT("n", WEIR_INT, 32), PORT("s", WEIR_STRING, 8)};

struct request {
    struct arena arena;
    struct tfs_predict predict;
    struct tensor_space spaces[2];
    struct diag diag;
    result r;
};

static void request_read(struct request *q, struct span body, const struct weir_port *ports, int n)
{
    *q = (struct request){0};
    arena_init(&q->arena, 4096, 65536);
    q->r = tfs_predict_scan(body, ports, n, &q->arena, &q->predict, &q->diag);
    if (failed(q->r))
        return;
    for (int i = 0; i < n; i++) {
        const struct tensor_plan *plan = &q->predict.inputs[i];
        q->spaces[i].data = mem_must(mem_aligned(64, plan->bytes), plan->bytes);
        if (plan->type.code == WEIR_STRING)
            q->spaces[i].offsets = mem_must(mem_zalloc(plan->elements + 1, sizeof(uint64_t)), 8);
    }
    q->r = tfs_predict_fill(&q->predict, q->spaces, &q->diag);
}

static void request_release(struct request *q)
{
    for (int i = 0; i < 2; i++) {
        mem_free(q->spaces[i].data);
        mem_free(q->spaces[i].offsets);
    }
    arena_release(&q->arena);
}

/* Shape and elements of an input, as text: "[2,2] 1 2 3 4". */
static const char *request_show(const struct request *q, int i, char *out, size_t size)
{
    const struct tensor_plan *plan = &q->predict.inputs[i];
    const struct tensor_space *space = &q->spaces[i];
    size_t used;

    shape_format(plan->shape, plan->rank, out, size);
    used = strlen(out);
    for (uint64_t e = 0; e < plan->elements && used < size; e++) {
        char *at = out + used;
        if (plan->type.code == WEIR_STRING)
            used += (size_t)snprintf(at, size - used, " %.*s",
                                     (int)(space->offsets[e + 1] - space->offsets[e]),
                                     (const char *)space->data + space->offsets[e]);
        else if (plan->type.code == WEIR_FLOAT)
            used += (size_t)snprintf(at, size - used, " %g",
                                     plan->type.bits == 32 ? (double)((float *)space->data)[e]
                                                           : ((double *)space->data)[e]);
        else if (plan->type.bits == 8)
            used += (size_t)snprintf(at, size - used, " %d", ((uint8_t *)space->data)[e]);
        else
            used += (size_t)snprintf(at, size - used, " %d", ((int32_t *)space->data)[e]);
    }
    return out;
}

static void requests_in_both_forms_are_read(void **state)
{
    (void)state;
    static const struct {
        const struct weir_port *ports;
        int n;
        const char *body;
        bool rows;
        const char *first, *second;
    } cases[] = {
        {float_port, 1, "{\"instances\": [1.0, 2.0, 5.0]}", true, "[3] 1 2 5", NULL},
        {float_port, 1, "{\"instances\":[[1,2],[3,4]]}", true, "[2,2] 1 2 3 4", NULL},
        {float_port, 1, "{\"instances\":[{\"x\":[1,2]},{\"x\":[3,4]}]}", true, "[2,2] 1 2 3 4",
         NULL},
        {float_port, 1, "{\"instances\":[{\"x\":1},{\"x\":2}]}", true, "[2] 1 2", NULL},
        {float_port, 1, "{\"instances\": [ {\"x\": 1} , \n {\"x\": 2} ] }", true, "[2] 1 2", NULL},
        {float_port, 1, "{\"instances\":[NaN,Infinity,-Inf]}", true, "[3] nan inf -inf", NULL},
        {float_port, 1, "{\"instances\":[[]]}", true, "[1,0]", NULL},
        {float_port, 1, "{\"inputs\":[[1],[2]]}", false, "[2,1] 1 2", NULL},
        {float_port, 1, "{\"inputs\":7}", false, "[] 7", NULL},
        {float_port, 1, "{\"inputs\":[]}", false, "[0]", NULL},
        {float_port, 1, "{\"inputs\":{\"x\":[5,6]}}", false, "[2] 5 6", NULL},
        {float_port, 1, "{\"inputs\":{\"y\":null,\"x\":5,\"z\":[1,{}]}}", false, "[] 5", NULL},
        {float_port, 1, "{\"signature_name\":\"serving_default\",\"instances\":[1]}", true, "[1] 1",
         NULL},
        {float_port, 1, "{\"instances\":[1],\"signature_name\":\"\",\"x\":[[{\"y\":1}]]}", true,
         "[1] 1", NULL},
        /* the first of two keys counts; what follows the document does not */
        {float_port, 1, "{\"instances\":[1],\"instances\":[2,3]}", true, "[1] 1", NULL},
        {float_port, 1, "{\"inputs\":{\"x\":1,\"x\":[2]}}", false, "[] 1", NULL},
        {float_port, 1, "{\"instances\":[1]} and more", true, "[1] 1", NULL},
        {float_port, 1, " \n{\"inst\\u0061nces\":[1]}", true, "[1] 1", NULL},
        {int_port, 1, "{\"instances\":[[-2147483648,2147483647]]}", true,
         "[1,2] -2147483648 2147483647", NULL},
        {bool_port, 1, "{\"instances\":[true,false]}", true, "[2] 1 0", NULL},
        {string_port, 1, "{\"instances\":[\"a\",{\"b64\":\"aGVsbG8=\"}]}", true, "[2] a hello",
         NULL},
        {string_port, 1, "{\"instances\":[{\"b64\":\"aGVsbG8=\"},{\"b64\":\"d29ybGQ\"}]}", true,
         "[2] hello world", NULL},
        {string_port, 1, "{\"inputs\":{\"b64\":\"aGVsbG8=\"}}", false, "[] hello", NULL},
        {string_port, 1, "{\"instances\":[{\"x\":[[{\"b64\":\"aGVsbG8=\"}],[\"w\"]]}]}", true,
         "[1,2,1] hello w", NULL},
        {two_ports, 2,
         "{\"instances\":[{\"n\":[[1,2],[3,4]],\"s\":[\"foo\",\"bar\"]},"
         "{\"s\":[\"baz\",\"bat\"],\"n\":[[5,6],[7,8]]}]}",
         true, "[2,2,2] 1 2 3 4 5 6 7 8", "[2,2] foo bar baz bat"},
        {two_ports, 2, "{\"inputs\":{\"s\":\"one\",\"n\":[1,2,3]}}", false, "[3] 1 2 3", "[] one"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request q;
        char shown[256];
        request_read(&q, span_cstr(cases[i].body), cases[i].ports, cases[i].n);
        if (failed(q.r))
            fail_msg("%s: %s", cases[i].body, q.diag.text);
        assert_int_equal(q.predict.rows, cases[i].rows);
        assert_string_equal(request_show(&q, 0, shown, sizeof(shown)), cases[i].first);
        if (cases[i].second)
            assert_string_equal(request_show(&q, 1, shown, sizeof(shown)), cases[i].second);
        request_release(&q);
    }
}

static const struct {
    const struct weir_port *ports;
    int n;
    const char *body, *error;
} refusals[] = {
    /* the document */
    {float_port, 1, "", "JSON Parse error: The document is empty"},
    {float_port, 1, "  ", "JSON Parse error: The document is empty. at offset: 2"},
    {float_port, 1, "instances = [1, 2]", "JSON Parse error: Invalid value. at offset: 0"},
    {float_port, 1, "{\"instances\": [1, 2}",
     "JSON Parse error: Missing a comma or ']' after an array element. at offset: 19"},
    {float_port, 1, "{\"instances\": [1 2]}",
     "JSON Parse error: Missing a comma or ']' after an array element. at offset: 17"},
    {float_port, 1, "{\"instances\": [1, 2]",
     "JSON Parse error: Missing a comma or '}' after an object member. at offset: 20"},
    {float_port, 1, "{\"instances\" [1]}",
     "JSON Parse error: Missing a colon after a name of object member. at offset: 13"},
    {float_port, 1, "{instances:[1]}",
     "JSON Parse error: Missing a name for object member. at offset: 1"},
    {float_port, 1, "{\"instances\":[1.]}",
     "JSON Parse error: Miss fraction part in number. at offset: 16"},
    {float_port, 1, "{\"instances\":[1e400]}",
     "JSON Parse error: Number too big to be stored in double. at offset: 14"},
    {float_port, 1, "{\"instances\":[1],\"x\":-1e309}",
     "JSON Parse error: Number too big to be stored in double. at offset: 21"},
    {float_port, 1, "[1]", "JSON Value: [\n    1\n] Is not object"},
    {float_port, 1, "5", "JSON Value: 5 Is not object"},
    {float_port, 1, "{}", "Missing 'inputs' or 'instances' key"},
    {float_port, 1, "{\"Instances\":[1]}", "Missing 'inputs' or 'instances' key"},
    {float_port, 1, "{\"inputs\":1,\"instances\":[1.50]}",
     "JSON Value: {\n    \"inputs\": 1,\n    \"instances\": [\n        1.5\n    ]\n} Not "
     "formatted "
     "correctly expecting only one of 'inputs' or 'instances' keys to exist "},
    {float_port, 1, "{\"instances\":5}",
     "JSON Value: {\n    \"instances\": 5\n} Excepting 'instances' to be an list/array"},
    {float_port, 1, "{\"instances\":[]}",
     "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"},
    {float_port, 1, "{\"signature_name\":5,\"instances\":[1]}",
     "JSON Value: {\n    \"signature_name\": 5,\n    \"instances\": [\n        1\n    ]\n} not "
     "formatted correctly. 'signature_name' key must be a string value."},
    {float_port, 1, "{\"signature_name\":\"other\",\"instances\":[1]}",
     "Serving signature name: \"other\" not found in signature def"},
    /* rows */
    {float_port, 1, "{\"instances\":[\"x\"]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "\"x\" Type: String is not of expected type: float"},
    {float_port, 1, "{\"instances\":[1,null]}",
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "null Type: Null is not of expected type: float"},
    {int_port, 1, "{\"instances\":[1,2.5]}",
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "2.5 Type: Number is not of expected type: int32"},
    {int_port, 1, "{\"instances\":[1e2]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "100.0 Type: Number is not of expected type: int32"},
    {int_port, 1, "{\"instances\":[2147483648]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "2147483648 Type: Number is not of expected type: int32"},
    {byte_port, 1, "{\"instances\":[256]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "256 Type: Number is not of expected type: uint8"},
    {bool_port, 1, "{\"instances\":[1]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "1 Type: Number is not of expected type: bool"},
    {float_port, 1, "{\"instances\":[16777217]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Cannot "
     "convert JSON value: 16777217 to float without loss of precision."},
    {float_port, 1, "{\"instances\":[1.7976931348623157e308]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Cannot "
     "convert JSON value: 1.7976931348623157e308 to float without loss of precision."},
    {double_port, 1, "{\"instances\":[9007199254740993]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Cannot "
     "convert JSON value: 9007199254740993 to double without loss of precision."},
    {int_port, 1, "{\"instances\":[[1,2],[3,4],[5,6,7]]}",
     "Failed to process element: 2 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
     "tensor size: 2 but got: 3"},
    {int_port, 1, "{\"instances\":[[1,2],[3,4],[[5,6]]]}",
     "Failed to process element: 2 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
     "shape [2] but got: [1,2]"},
    {int_port, 1, "{\"instances\":[1,[1]]}",
     "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
     "shape [] but got: [1]"},
    {int_port, 1, "{\"instances\":[[1,[2]]]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Encountered "
     "list at unexpected level: 1 expected < 1"},
    {int_port, 1, "{\"instances\":[[[1],2]]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 2 "
     "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"},
    {int_port, 1, "{\"instances\":[[[1,2],[3]]]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Encountered "
     "list at unexpected size: 1 at level: 1 expected size: 2"},
    {int_port, 1, "{\"instances\":[1,{\"x\":2}]}",
     "Expecting value/list but got object at item 1 of input list"},
    {int_port, 1, "{\"instances\":[{\"x\":2},1]}",
     "Expecting object but got list at item 1 of input list"},
    {float_port, 1, "{\"instances\":[{\"x\":1,\"y\":2}]}",
     "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON "
     "object: does not have named input: y"},
    {float_port, 1, "{\"instances\":[{\"x\":1,\"x\":2}]}",
     "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"x\": 1,\n    "
     "\"x\": 2\n} keys must be equal to: x"},
    {two_ports, 2, "{\"instances\":[1]}",
     "instances is a plain list, but expecting list of objects as multiple input tensors "
     "required as per tensorinfo_map"},
    {two_ports, 2, "{\"instances\":[{\"n\":1,\"s\":\"a\"},{\"s\":\"b\"}]}",
     "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"s\": \"b\"\n} "
     "keys "
     "must be equal to: n,s"},
    {two_ports, 2, "{\"instances\":[{\"n\":[1],\"s\":\"a\"},{\"n\":[1,2],\"s\":\"b\"}]}",
     "Failed to process element: 1 key: n of 'instances' list. Error: INVALID_ARGUMENT: "
     "Expecting tensor size: 1 but got: 2"},
    {string_port, 1, "{\"instances\":[[{\"b64\":5}]]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
     "{\n    \"b64\": 5\n} not formatted correctly for base64 data"},
    {string_port, 1, "{\"instances\":[{\"b64\":\"*\"}]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Unable to "
     "base64 decode"},
    {string_port, 1, "{\"instances\":[1]}",
     "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 1 "
     "Type: Number is not of expected type: string"},
    /* columns */
    {two_ports, 2, "{\"inputs\":[1]}",
     "inputs is a plain value/list, but expecting an object as multiple input tensors required "
     "as per tensorinfo_map"},
    {two_ports, 2, "{\"inputs\":{\"n\":1}}", "Missing named input: s in 'inputs' object."},
    {float_port, 1, "{\"inputs\":{}}", "Missing named input: x in 'inputs' object."},
    {float_port, 1, "{\"inputs\":{\"x\":[1,[2]]}}",
     "Encountered list at unexpected level: 1 expected < 1"},
    {float_port, 1, "{\"inputs\":[{\"b64\":\"aGVsbG8=\"}]}",
     "JSON Value: {\n    \"b64\": \"aGVsbG8=\"\n} Type: Object is not of expected type: float"},
    {float_port, 1, "{\"inputs\":true}",
     "JSON Value: true Type: True is not of expected type: float"},
    /* limits of our own */
    {float_port, 1, "{\"instances\":[[[[[[[[[1]]]]]]]]]}",
     "expected tensors of at most 8 dimensions, got more"},
};

static void refusals_have_the_words_of_upstream(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct request q;
        request_read(&q, span_cstr(refusals[i].body), refusals[i].ports, refusals[i].n);
        if (!failed(q.r) || strcmp(q.diag.text, refusals[i].error) != 0)
            fail_msg("%s:\n  expected %s\n  got      %s", refusals[i].body, refusals[i].error,
                     q.diag.text);
        assert_int_equal(err_http((enum err)q.r.code), 400);
        request_release(&q);
    }
}

static void echoed_values_are_cut(void **state)
{
    (void)state;
    char body[2048];
    size_t n = (size_t)snprintf(body, sizeof(body), "{\"instances\":[\"");
    memset(body + n, 'a', 1000);
    snprintf(body + n + 1000, sizeof(body) - n - 1000, "\"]}");
    struct request q;
    request_read(&q, span_cstr(body), float_port, 1);
    assert_true(is(q.r, ERR_TYPE));
    const char *echoed = strstr(q.diag.text, "\"a");
    const char *behind = strstr(q.diag.text, " Type: String");
    assert_non_null(echoed);
    assert_non_null(behind);
    assert_int_equal(behind - echoed, 256);
    request_release(&q);
}

/* ---- answers ---- */

static struct weir_tensor tensor(const struct weir_port *port, int rank, const int64_t *shape,
                                 const void *data, const uint64_t *offsets)
{
    return (struct weir_tensor){.size = sizeof(struct weir_tensor),
                                .type = port->type,
                                .rank = rank,
                                .shape = shape,
                                .data = (void *)(uintptr_t)data,
                                .offsets = offsets};
}

static void answers(bool rows, const struct weir_port *ports, const struct weir_tensor *outputs,
                    int n, const char *expected)
{
    struct text text;
    struct diag diag = {0};
    text_init(&text, 65536);
    result r = tfs_predict_answer(&text, rows, ports, outputs, n, &diag);
    assert_string_equal(failed(r) ? diag.text : text_cstr(&text), expected);
    text_release(&text);
}

static void answers_have_the_layout_of_upstream(void **state)
{
    (void)state;
    static const float floats[] = {2.5f, 3, 4.5f, 1};
    static const int32_t ints[] = {1, 2, 3, 4};
    static const uint64_t offsets[] = {0, 5, 10};
    static const int64_t three[] = {3}, two[] = {2}, two_two[] = {2, 2}, two_one[] = {2, 1};
    static const struct weir_port ports[] = {PORT("f", WEIR_FLOAT, 32), PORT("n", WEIR_INT, 32)};
    static const struct weir_port bytes[] = {PORT("out_bytes", WEIR_STRING, 8)};
    static const struct weir_port texts[] = {PORT("out", WEIR_STRING, 8)};
    struct weir_tensor outputs[2];

    outputs[0] = tensor(&ports[0], 1, three, floats, NULL);
    answers(true, ports, outputs, 1, "{\n    \"predictions\": [2.5, 3.0, 4.5\n    ]\n}");
    answers(false, ports, outputs, 1,
            "{\n    \"outputs\": [\n        2.5,\n        3.0,\n        4.5\n    ]\n}");
    outputs[0] = tensor(&ports[0], 2, two_two, floats, NULL);
    answers(true, ports, outputs, 1, "{\n    \"predictions\": [[2.5, 3.0], [4.5, 1.0]\n    ]\n}");
    answers(false, ports, outputs, 1,
            "{\n    \"outputs\": [\n        [\n            2.5,\n            3.0\n        ],\n"
            "        [\n            4.5,\n            1.0\n        ]\n    ]\n}");
    outputs[0] = tensor(&ports[0], 1, two, floats, NULL);
    outputs[1] = tensor(&ports[1], 2, two_two, ints, NULL);
    answers(
        true, ports, outputs, 2,
        "{\n    \"predictions\": [\n        {\n            \"f\": 2.5,\n            \"n\": [1, 2]\n"
        "        },\n        {\n            \"f\": 3.0,\n            \"n\": [3, 4]\n        }\n"
        "    ]\n}");
    answers(
        false, ports, outputs, 2,
        "{\n    \"outputs\": {\n        \"f\": [\n            2.5,\n            3.0\n        ],\n"
        "        \"n\": [\n            [\n                1,\n                2\n            ],\n"
        "            [\n                3,\n                4\n            ]\n        ]\n    }\n}");
    outputs[0] = tensor(&ports[0], 0, NULL, floats, NULL);
    answers(false, ports, outputs, 1, "{\n    \"outputs\": 2.5\n}");
    outputs[0] = tensor(&bytes[0], 1, two, "helloworld", offsets);
    answers(true, bytes, outputs, 1,
            "{\n    \"predictions\": [{\n            \"b64\": \"aGVsbG8=\"\n        }, {\n"
            "            \"b64\": \"d29ybGQ=\"\n        }\n    ]\n}");
    outputs[0] = tensor(&texts[0], 2, two_one, "helloworld", offsets);
    answers(true, texts, outputs, 1, "{\n    \"predictions\": [[\"hello\"], [\"world\"]\n    ]\n}");
}

static void rows_that_do_not_agree_are_refused(void **state)
{
    (void)state;
    static const float floats[6] = {0};
    static const int64_t none[] = {0, 3}, two[] = {2, 3}, one[] = {1, 3};
    static const struct weir_port ports[] = {PORT("a", WEIR_FLOAT, 32), PORT("b", WEIR_FLOAT, 32)};
    struct weir_tensor outputs[] = {tensor(&ports[0], 2, two, floats, NULL),
                                    tensor(&ports[1], 2, one, floats, NULL)};

    answers(true, ports, outputs, 2, "Tensor name: b has inconsistent batch size: 1 expecting: 2");
    outputs[1].shape = none;
    answers(true, ports, outputs, 2, "Tensor name: b has invalid batch size: 0");
    outputs[1].rank = 0;
    answers(true, ports, outputs, 2, "Tensor name: b has no shape information ");
    answers(true, ports, outputs, 0, "Cannot convert empty tensor map to JSON");
}

static void errors_status_and_metadata_look_as_upstream(void **state)
{
    (void)state;
    struct text text;
    text_init(&text, 65536);
    tfs_error(&text, SPAN("no \"such\" thing\n"));
    assert_string_equal(text_cstr(&text), "{\n    \"error\": \"no \\\"such\\\" thing\\n\"\n}");
    text_clear(&text);
    const struct tfs_version versions[] = {
        {.version = 1, .state = 30, .error = ERR_NONE, .error_text = ""},
        {.version = 2, .state = 50, .error = ERR_BACKEND, .error_text = "no luck"},
    };
    tfs_status(&text, versions, 2);
    assert_string_equal(
        text_cstr(&text),
        "{\n \"model_version_status\": [\n  {\n   \"version\": \"1\",\n"
        "   \"state\": \"AVAILABLE\",\n   \"status\": {\n    \"error_code\": \"OK\",\n"
        "    \"error_message\": \"\"\n   }\n  },\n  {\n   \"version\": \"2\",\n"
        "   \"state\": \"END\",\n   \"status\": {\n    \"error_code\": \"INTERNAL\",\n"
        "    \"error_message\": \"no luck\"\n   }\n  }\n ]\n}\n");
    text_clear(&text);
    tfs_status(&text, NULL, 0);
    assert_string_equal(text_cstr(&text), "{\n \"model_version_status\": []\n}\n");
    text_clear(&text);
    static const int64_t shape[] = {-1, 4};
    const struct weir_port in = {
        .name = "x", .type = {WEIR_FLOAT, 32, 1}, .rank = 2, .shape = shape};
    tfs_metadata(&text, SPAN("m"), 3, &in, 1, int_port, 1);
    assert_string_equal(
        text_cstr(&text),
        "{\n\"model_spec\":{\n \"name\": \"m\",\n \"signature_name\": \"\",\n \"version\": "
        "\"3\"\n}\n,\n"
        "\"metadata\": {\"signature_def\": {\n \"signature_def\": {\n  \"serving_default\": {\n"
        "   \"inputs\": {\n    \"x\": {\n     \"dtype\": \"DT_FLOAT\",\n     \"tensor_shape\": {\n"
        "      \"dim\": [\n       {\n        \"size\": \"-1\",\n        \"name\": \"\"\n       },\n"
        "       {\n        \"size\": \"4\",\n        \"name\": \"\"\n       }\n      ],\n"
        "      \"unknown_rank\": false\n     },\n     \"name\": \"x\"\n    }\n   },\n"
        "   \"outputs\": {\n    \"x\": {\n     \"dtype\": \"DT_INT32\",\n     \"tensor_shape\": {\n"
        "      \"dim\": [],\n      \"unknown_rank\": true\n     },\n     \"name\": \"x\"\n    }\n  "
        " },\n"
        "   \"method_name\": \"tensorflow/serving/predict\",\n   \"defaults\": {}\n  }\n "
        "}\n}\n}\n}\n");
    text_release(&text);
}

/* ---- broken bodies ---- */

static const char *const whole_bodies[] = {
    "{\"signature_name\":\"serving_default\",\"instances\":[{\"n\":[1,2],\"s\":\"a\\u00e9\"},"
    "{\"s\":{\"b64\":\"aGVsbG8=\"},\"n\":[-3,4]}],\"more\":[[],{},1e5,null]}",
    "{\"inputs\":{\"n\":[[1,2],[3,4]],\"extra\":{\"n\":1},\"s\":[\"x\",{\"b64\":\"/w==\"}]}}",
};

static void every_truncation_is_an_error_with_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(whole_bodies); i++) {
        size_t whole = strlen(whole_bodies[i]);
        for (size_t len = 0; len <= whole; len++) {
            struct request q;
            uint8_t *copy = mem_alloc(len);
            memcpy(copy, whole_bodies[i], len);
            request_read(&q, span_of(copy, len), two_ports, 2);
            if (failed(q.r) != (len < whole))
                fail_msg("%.*s: %s", (int)len, whole_bodies[i], q.diag.text);
            if (len < whole)
                assert_true(strncmp(q.diag.text, "JSON Parse error: ", 18) == 0);
            request_release(&q);
            mem_free(copy);
        }
    }
}

static void changed_bodies_do_no_harm(void **state)
{
    (void)state;
    static const char alphabet[] = "[]{},:\"\\0123456789.eE-NaIbns64u \n\xff";
    uint64_t random = 31337;
    int read = 0, refused = 0;
    for (int round = 0; round < 40000; round++) {
        const char *seed = whole_bodies[round & 1];
        size_t len = strlen(seed);
        uint8_t *copy = mem_must(mem_alloc(len), len);
        memcpy(copy, seed, len);
        for (uint64_t n = 1 + test_random(&random) % 3; n > 0; n--)
            copy[test_random(&random) % len] =
                (uint8_t)alphabet[test_random(&random) % (sizeof(alphabet) - 1)];
        struct request q;
        request_read(&q, span_of(copy, len), two_ports, 2);
        if (failed(q.r)) {
            refused++;
            assert_true(q.diag.code == q.r.code && q.diag.text[0] != '\0');
            /* err_text's lines would mean that no reason was found */
            assert_string_not_equal(q.diag.text, err_text((enum err)q.r.code));
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
    struct tfs_predict predict;
    struct diag diag = {0};
    arena_init(&arena, 16, 64);
    assert_true(
        is(tfs_predict_scan(SPAN("{\"instances\":[1]}"), float_port, 1, &arena, &predict, &diag),
           ERR_NO_MEMORY));
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_mean_what_they_mean_upstream),
        cmocka_unit_test(requests_in_both_forms_are_read),
        cmocka_unit_test(refusals_have_the_words_of_upstream),
        cmocka_unit_test(echoed_values_are_cut),
        cmocka_unit_test(answers_have_the_layout_of_upstream),
        cmocka_unit_test(rows_that_do_not_agree_are_refused),
        cmocka_unit_test(errors_status_and_metadata_look_as_upstream),
        cmocka_unit_test(every_truncation_is_an_error_with_words),
        cmocka_unit_test(changed_bodies_do_no_harm),
        cmocka_unit_test(running_out_of_memory_is_told_apart),
    };
    return cmocka_run_group_tests_name("wire/tfs", tests, NULL, NULL);
}
