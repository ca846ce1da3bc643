#include "wire/tensor.h"

#include "base/test_cmocka.h"

static const weir_type fp32 = {WEIR_FLOAT, 32, 1}, int64 = {WEIR_INT, 64, 1};

static void every_type_is_found_by_its_name_and_named_again(void **state)
{
    (void)state;
    static const struct {
        const char *oip, *tf;
        weir_type type;
        size_t size;
    } types[] = {
        {"BOOL", "DT_BOOL", {WEIR_BOOL, 8, 1}, 1},
        {"UINT8", "DT_UINT8", {WEIR_UINT, 8, 1}, 1},
        {"UINT16", "DT_UINT16", {WEIR_UINT, 16, 1}, 2},
        {"UINT32", "DT_UINT32", {WEIR_UINT, 32, 1}, 4},
        {"UINT64", "DT_UINT64", {WEIR_UINT, 64, 1}, 8},
        {"INT8", "DT_INT8", {WEIR_INT, 8, 1}, 1},
        {"INT16", "DT_INT16", {WEIR_INT, 16, 1}, 2},
        {"INT32", "DT_INT32", {WEIR_INT, 32, 1}, 4},
        {"INT64", "DT_INT64", {WEIR_INT, 64, 1}, 8},
        {"FP16", "DT_HALF", {WEIR_FLOAT, 16, 1}, 2},
        {"BF16", "DT_BFLOAT16", {WEIR_BFLOAT, 16, 1}, 2},
        {"FP32", "DT_FLOAT", {WEIR_FLOAT, 32, 1}, 4},
        {"FP64", "DT_DOUBLE", {WEIR_FLOAT, 64, 1}, 8},
        {"BYTES", "DT_STRING", {WEIR_STRING, 8, 1}, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        weir_type found = {0};
        assert_false(failed(type_of_oip_name(span_cstr(types[i].oip), &found)));
        assert_true(type_eq(found, types[i].type));
        assert_string_equal(type_oip_name(found), types[i].oip);
        assert_string_equal(type_tf_name(found), types[i].tf);
        assert_int_equal(type_size(found), types[i].size);
    }
    weir_type kept = fp32;
    assert_true(is(type_of_oip_name(SPAN("FP8"), &kept), ERR_NOT_FOUND));
    assert_true(is(type_of_oip_name(SPAN("fp32"), &kept), ERR_NOT_FOUND));
    assert_true(type_eq(kept, fp32));
    assert_string_equal(type_oip_name((weir_type){WEIR_FLOAT, 128, 1}), "UNKNOWN");
    assert_string_equal(type_tf_name((weir_type){WEIR_INT, 64, 2}), "UNKNOWN");
}

static void products_of_extents_never_overflow(void **state)
{
    (void)state;
    static const struct {
        int rank;
        int64_t shape[WEIR_RANK_MAX];
        uint64_t max;
        enum err code;
        uint64_t elements;
    } cases[] = {
        {0, {0}, 10, ERR_NONE, 1},
        {0, {0}, 0, ERR_TOO_LARGE, 0},
        {2, {3, 4}, 12, ERR_NONE, 12},
        {2, {3, 4}, 11, ERR_TOO_LARGE, 0},
        {3, {INT64_MAX, INT64_MAX, 0}, 10, ERR_NONE, 0},
        {3, {INT64_MAX, INT64_MAX, 2}, UINT64_MAX, ERR_TOO_LARGE, 0},
        {2, {1LL << 32, 1LL << 32}, UINT64_MAX, ERR_TOO_LARGE, 0},
        {2, {0, -1}, 10, ERR_RANGE, 0},
        {1, {-1}, 10, ERR_RANGE, 0},
        {1, {0}, 0, ERR_NONE, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t elements = 0;
        result r = shape_elements(cases[i].shape, cases[i].rank, cases[i].max, &elements);
        if (!is(r, cases[i].code) || elements != cases[i].elements)
            fail_msg("case %zu: %s, %llu", i, err_name(r.code), (unsigned long long)elements);
    }
}

static void a_shape_fits_where_the_port_leaves_it_open(void **state)
{
    (void)state;
    static const int64_t want[] = {-1, 4};
    struct weir_port port = {.rank = 2, .shape = want};
    assert_true(shape_fits(&port, (const int64_t[]){7, 4}, 2));
    assert_true(shape_fits(&port, (const int64_t[]){0, 4}, 2));
    assert_false(shape_fits(&port, (const int64_t[]){7, 5}, 2));
    assert_false(shape_fits(&port, (const int64_t[]){4}, 1));
    port.rank = -1;
    assert_true(shape_fits(&port, (const int64_t[]){1, 2, 3}, 3));
    assert_true(shape_fits(&port, NULL, 0));
}

static void shapes_are_written_and_cut_within_the_buffer(void **state)
{
    (void)state;
    char buffer[64];
    assert_string_equal(shape_format((const int64_t[]){-1, 64}, 2, buffer, sizeof(buffer)),
                        "[-1,64]");
    assert_string_equal(shape_format(NULL, 0, buffer, sizeof(buffer)), "[]");
    for (size_t size = 1; size < 9; size++) {
        memset(buffer, 'x', sizeof(buffer));
        shape_format((const int64_t[]){-1, 64}, 2, buffer, size);
        assert_int_equal(strlen(buffer), size < 8 ? size - 1 : 7);
        assert_int_equal(buffer[size], 'x');
    }
}

static struct weir_tensor tensor(weir_type type, int rank, const int64_t *shape)
{
    return (struct weir_tensor){
        .size = sizeof(struct weir_tensor), .type = type, .rank = rank, .shape = shape};
}

static void inputs_are_held_against_the_ports_and_each_other(void **state)
{
    (void)state;
    static const int64_t open[] = {-1, 2}, flat[] = {-1}, s32[] = {3, 2}, s33[] = {3, 3},
                         s3[] = {3}, s4[] = {4};
    const struct weir_port ports[] = {
        {.name = "x", .type = {WEIR_FLOAT, 32, 1}, .rank = 2, .shape = open},
        {.name = "y", .type = {WEIR_INT, 64, 1}, .rank = 1, .shape = flat},
    };
    const struct weir_port scalar = {.name = "s", .type = {WEIR_FLOAT, 32, 1}, .rank = 0};
    const struct {
        struct weir_tensor x, y;
        bool batchable;
        enum err code;
        int64_t rows;
        const char *text;
    } cases[] = {
        {tensor(fp32, 2, s32), tensor(int64, 1, s3), true, ERR_NONE, 3, ""},
        {tensor(fp32, 2, s32), tensor(int64, 1, s4), false, ERR_NONE, 1, ""},
        {tensor(fp32, 2, s32), tensor(int64, 1, s4), true, ERR_SHAPE, 0,
         "input 'y': expected 3 rows as in input 'x', got 4"},
        {tensor(fp32, 2, s33), tensor(int64, 1, s3), true, ERR_SHAPE, 0,
         "input 'x': expected shape [-1,2], got [3,3]"},
        {tensor(int64, 2, s32), tensor(int64, 1, s3), true, ERR_TYPE, 0,
         "input 'x': expected type FP32, got INT64"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct weir_tensor inputs[] = {cases[i].x, cases[i].y};
        struct diag diag = {0};
        int64_t rows = 0;
        result r = tensor_check_inputs(ports, 2, inputs, cases[i].batchable, &rows, &diag);
        assert_true(is(r, cases[i].code));
        assert_int_equal(rows, cases[i].rows);
        assert_string_equal(diag.text, cases[i].text);
    }
    struct weir_tensor none = tensor(fp32, 0, NULL);
    struct diag diag = {0};
    int64_t rows = 0;
    assert_true(is(tensor_check_inputs(&scalar, 1, &none, true, &rows, &diag), ERR_SHAPE));
    assert_non_null(strstr(diag.text, "'s'"));
    assert_false(failed(tensor_check_inputs(&scalar, 1, &none, false, &rows, NULL)));
}

static void a_planned_tensor_has_the_bytes_that_were_used(void **state)
{
    (void)state;
    float floats[6];
    uint64_t offsets[3] = {0, 2, 5};
    struct tensor_plan plan = {.type = {WEIR_FLOAT, 32, 1},
                               .rank = 2,
                               .shape = {2, 3},
                               .elements = 6,
                               .bytes = sizeof(floats)};
    struct tensor_space space = {floats, NULL};
    struct weir_tensor t = tensor_of_plan(&plan, &space);
    assert_int_equal(t.size, sizeof(t));
    assert_int_equal(t.bytes, sizeof(floats));
    assert_int_equal(t.shape[1], 3);
    assert_null(t.offsets);
    plan.type = (weir_type){WEIR_STRING, 8, 1};
    plan.elements = 2;
    plan.bytes = 100;
    space = (struct tensor_space){floats, offsets};
    t = tensor_of_plan(&plan, &space);
    assert_int_equal(t.bytes, 5);
    assert_ptr_equal(t.offsets, offsets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_found_by_its_name_and_named_again),
        cmocka_unit_test(products_of_extents_never_overflow),
        cmocka_unit_test(a_shape_fits_where_the_port_leaves_it_open),
        cmocka_unit_test(shapes_are_written_and_cut_within_the_buffer),
        cmocka_unit_test(inputs_are_held_against_the_ports_and_each_other),
        cmocka_unit_test(a_planned_tensor_has_the_bytes_that_were_used),
    };
    return cmocka_run_group_tests_name("wire/tensor", tests, NULL, NULL);
}
