#include "base/result.h"
#include "base/test_cmocka.h"

#include <errno.h>
#include <string.h>

static result passes_on(result r, bool *ret_reached)
{
    TRY(r);
    *ret_reached = true;
    return OK;
}

static void try_returns_a_failure_and_goes_on_after_success(void **state)
{
    (void)state;
    bool reached = false;
    assert_true(is(passes_on(fail(ERR_SHAPE), &reached), ERR_SHAPE));
    assert_false(reached);
    assert_false(failed(passes_on(OK, &reached)));
    assert_true(reached);
}

static void every_code_has_its_own_name_and_a_text(void **state)
{
    (void)state;
    for (int a = 0; a < ERR_COUNT; a++) {
        assert_true(strlen(err_name((enum err)a)) > 0);
        assert_true(strlen(err_text((enum err)a)) > 0);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(err_name((enum err)a), err_name((enum err)b));
    }
    assert_string_equal(err_name(ERR_EXHAUSTED), "EXHAUSTED");
    assert_string_equal(err_name((enum err)ERR_COUNT), "UNKNOWN");
    assert_int_equal(err_grpc((enum err)ERR_COUNT), GRPC_UNKNOWN);
}

static void http_follows_the_grpc_status(void **state)
{
    (void)state;
    assert_int_equal(err_http(ERR_NONE), 200);
    assert_int_equal(err_http(ERR_SYNTAX), 400);
    assert_int_equal(err_http(ERR_NOT_FOUND), 404);
    assert_int_equal(err_http(ERR_EXHAUSTED), 429);
    assert_int_equal(err_http(ERR_INTERNAL), 500);
    assert_int_equal(err_http(ERR_UNSUPPORTED), 501);
    assert_int_equal(err_http(ERR_DRAINING), 503);
    assert_int_equal(err_http(ERR_DEADLINE), 504);
    for (int status = 0; status <= 16; status++)
        assert_in_range(grpc_http((enum grpc_status)status), status ? 400 : 200, 599);
    assert_int_equal(grpc_http((enum grpc_status)99), 500);
}

static void what_may_succeed_later_is_marked_so(void **state)
{
    (void)state;
    assert_true(err_retryable(ERR_EXHAUSTED));
    assert_true(err_retryable(ERR_DRAINING));
    assert_false(err_retryable(ERR_SYNTAX));
    assert_false(err_retryable(ERR_DEADLINE));
}

static void system_errors_have_their_codes(void **state)
{
    (void)state;
    assert_int_equal(err_of_errno(0), ERR_NONE);
    assert_int_equal(err_of_errno(EMFILE), ERR_NO_DESCRIPTORS);
    assert_int_equal(err_of_errno(ECONNREFUSED), ERR_REFUSED);
    assert_int_equal(err_of_errno(EADDRINUSE), ERR_ADDRESS_IN_USE);
    assert_int_equal(err_of_errno(EXDEV), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_returns_a_failure_and_goes_on_after_success),
        cmocka_unit_test(every_code_has_its_own_name_and_a_text),
        cmocka_unit_test(http_follows_the_grpc_status),
        cmocka_unit_test(what_may_succeed_later_is_marked_so),
        cmocka_unit_test(system_errors_have_their_codes),
    };
    return cmocka_run_group_tests_name("base/result", tests, NULL, NULL);
}
