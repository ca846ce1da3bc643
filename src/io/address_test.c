#include "base/test_cmocka.h"
#include "io/lookup.h"

static void addresses_are_parsed_and_written_back(void **state)
{
    static const struct {
        const char *text, *written;
        enum io_family family;
        uint16_t port;
        uint8_t first, last; /* bytes of the address */
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", IO_INET, 8080, 127, 1},
        {"10.1.2.3:0", "10.1.2.3:0", IO_INET, 0, 10, 3},
        {"255.255.255.255:65535", "255.255.255.255:65535", IO_INET, 65535, 255, 255},
        {"localhost:1", "127.0.0.1:1", IO_INET, 1, 127, 1},
        {"[::1]:8080", "[::1]:8080", IO_INET6, 8080, 0, 1},
        {"[::]:80", "[::]:80", IO_INET6, 80, 0, 0},
        {"[fe80::0:1]:80", "[fe80::1]:80", IO_INET6, 80, 0xfe, 1},
        {":8501", "[::]:8501", IO_INET6, 8501, 0, 0},
        {"unix:/run/x.sock", "unix:/run/x.sock", IO_UNIX, 0, 0, 0},
        {"unix:a:b", "unix:a:b", IO_UNIX, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct io_address address, again;
        char buffer[160];
        result r = io_address_parse(span_cstr(cases[i].text), &address, NULL);
        assert_int_equal(r.code, ERR_NONE);
        assert_int_equal(address.family, cases[i].family);
        assert_int_equal(address.port, cases[i].port);
        assert_int_equal(address.ip[0], cases[i].first);
        assert_int_equal(address.ip[address.family == IO_INET ? 3 : 15], cases[i].last);
        size_t len = io_address_format(&address, buffer, sizeof(buffer));
        assert_string_equal(buffer, cases[i].written);
        assert_int_equal(len, strlen(buffer));
        assert_int_equal(io_address_parse(span_cstr(buffer), &again, NULL).code, ERR_NONE);
        assert_memory_equal(&address, &again, sizeof(address));
    }
}

static void what_is_no_address_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *text;
        enum err code;
        const char *says;
    } cases[] = {
        {"", ERR_SYNTAX, "HOST:PORT"},
        {"8080", ERR_SYNTAX, "HOST:PORT"},
        {"127.0.0.1", ERR_SYNTAX, "HOST:PORT"},
        {"127.0.0.1:", ERR_RANGE, "port"},
        {"127.0.0.1:65536", ERR_RANGE, "65536"},
        {"127.0.0.1:100000", ERR_RANGE, "port"},
        {"127.0.0.1:-1", ERR_RANGE, "port"},
        {"127.0.0.1: 80", ERR_RANGE, "port"},
        {"127.0.0.1:8o", ERR_RANGE, "8o"},
        {"127.0.0:80", ERR_UNSUPPORTED, "127.0.0"},
        {"1.2.3.4.5:80", ERR_UNSUPPORTED, "1.2.3.4.5"},
        {"example.org:80", ERR_UNSUPPORTED, "not looked up"},
        {"::1:80", ERR_SYNTAX, "brackets"},
        {"[::1:80", ERR_SYNTAX, "HOST:PORT"},
        {"[]:80", ERR_SYNTAX, "HOST:PORT"},
        {"[:80", ERR_SYNTAX, "HOST:PORT"},
        {"[1.2.3.4]:80", ERR_SYNTAX, "HOST:PORT"},
        {"[::1%lo]:80", ERR_SYNTAX, "HOST:PORT"},
        {"[0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0]:80", ERR_SYNTAX, "HOST:PORT"},
        {"unix:", ERR_SYNTAX, "path"},
        {"unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         ERR_TOO_LARGE, "107"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct io_address address = {.port = 4711};
        struct diag diag = {0};
        result r = io_address_parse(span_cstr(cases[i].text), &address, &diag);
        assert_int_equal(r.code, cases[i].code);
        assert_non_null(strstr(diag.text, cases[i].says));
        assert_int_equal(address.port, 4711);
    }
    struct io_address address;
    assert_int_equal(io_address_parse(SPAN("1.2.3.4\0:80"), &address, NULL).code, ERR_UNSUPPORTED);
    assert_int_equal(io_address_parse(SPAN("unix:/a\0b"), &address, NULL).code, ERR_SYNTAX);
}

static void a_buffer_that_is_too_small_gets_a_cut_address(void **state)
{
    struct io_address address;
    char buffer[6];
    assert_int_equal(io_address_parse(SPAN("127.0.0.1:80"), &address, NULL).code, ERR_NONE);
    assert_int_equal(io_address_format(&address, buffer, sizeof(buffer)), 5);
    assert_string_equal(buffer, "127.0");
}

static void an_endpoint_is_an_address_or_a_name(void **state)
{
    static const struct {
        const char *text;
        enum err code;
        bool named;
        const char *back; /* NULL: the same */
    } cases[] = {
        {"db.example:5432", ERR_NONE, true},
        {"Web.SPACE.svc.:80", ERR_NONE, true, "web.space.svc.:80"},
        {"a_b-c:1", ERR_NONE, true},
        {"localhost:80", ERR_NONE, false, "127.0.0.1:80"},
        {"LocalHost:80", ERR_NONE, false, "127.0.0.1:80"},
        {"192.0.2.1:80", ERR_NONE, false},
        {"[::1]:80", ERR_NONE, false},
        {"unix:/run/x.sock", ERR_NONE, false},
        {"unix:80", ERR_NONE, false},
        {"1.2.3:80", ERR_UNSUPPORTED},
        {"UNIX:80", ERR_UNSUPPORTED},
        {":80", ERR_SYNTAX},
        {"db.example", ERR_SYNTAX},
        {"db..example:80", ERR_UNSUPPORTED},
        {"db example:80", ERR_UNSUPPORTED},
        {"db.example:", ERR_RANGE},
        {"db.example:0", ERR_RANGE},
        {"192.0.2.1:0", ERR_RANGE},
        {"db.example:65536", ERR_RANGE},
        {"::1:80", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct io_endpoint endpoint;
        struct diag diag = {0};
        char buffer[300];
        result r = io_endpoint_parse(span_cstr(cases[i].text), &endpoint, &diag);
        assert_int_equal(r.code, cases[i].code);
        if (failed(r)) {
            assert_true(diag.text[0]);
            continue;
        }
        assert_int_equal(endpoint.named, cases[i].named);
        size_t len = io_endpoint_format(&endpoint, buffer, sizeof(buffer));
        assert_int_equal(len, strlen(buffer));
        assert_string_equal(buffer, cases[i].back ? cases[i].back : cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_parsed_and_written_back),
        cmocka_unit_test(what_is_no_address_is_refused_with_a_reason),
        cmocka_unit_test(a_buffer_that_is_too_small_gets_a_cut_address),
        cmocka_unit_test(an_endpoint_is_an_address_or_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
