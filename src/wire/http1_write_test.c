#include "wire/http1_write.h"

#include "base/test_cmocka.h"
#include "wire/test_http1_feed.h"

#include <stdio.h>

static uint8_t room[4096];

static struct h1_writer fresh(size_t len)
{
    struct h1_writer w;
    memset(room, '#', sizeof(room));
    h1_writer_init(&w, (struct span_mut){room, len});
    return w;
}

static void a_response_head_is_written(void **state)
{
    struct h1_writer w = fresh(sizeof(room));
    h1_write_status(&w, 404);
    h1_write_header(&w, SPAN("Content-Type"), SPAN("text/plain"));
    h1_write_header_u64(&w, SPAN("Content-Length"), UINT64_MAX);
    h1_write_raw(&w, SPAN("Connection: close\r\n"));
    h1_write_header(&w, SPAN("X"), SPAN(""));
    h1_write_end(&w);
    assert_false(failed(h1_writer_result(&w)));
    assert_true(span_is(h1_writer_span(&w), "HTTP/1.1 404 Not Found\r\n"
                                            "Content-Type: text/plain\r\n"
                                            "Content-Length: 18446744073709551615\r\n"
                                            "Connection: close\r\n"
                                            "X: \r\n\r\n"));
}

static void a_status_without_a_phrase_is_written_with_its_space(void **state)
{
    struct h1_writer w = fresh(sizeof(room));
    h1_write_status(&w, 799);
    assert_true(span_is(h1_writer_span(&w), "HTTP/1.1 799 \r\n"));
    static const int bad[] = {-1, 0, 99, 1000, 65535};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        w = fresh(sizeof(room));
        h1_write_status(&w, bad[i]);
        assert_true(is(h1_writer_result(&w), ERR_RANGE));
        assert_int_equal(h1_writer_span(&w).len, 0);
    }
}

static void no_byte_that_ends_a_line_gets_into_a_name_or_value(void **state)
{
    for (int c = 0; c < 256; c++) {
        /* at each place of a word and of the bytes behind the last whole word */
        for (size_t at = 0; at < 19; at++) {
            uint8_t value[] = "0123456789abcdefghi";
            value[at] = (uint8_t)c;
            struct h1_writer w = fresh(sizeof(room));
            h1_write_header(&w, SPAN("X"), span_of(value, 19));
            bool clean = c == '\t' || (c >= ' ' && c != 0x7f);
            assert_int_equal(failed(h1_writer_result(&w)), !clean);
            assert_int_equal(h1_writer_span(&w).len, clean ? 24 : 0);
        }
        uint8_t name[] = {'X', (uint8_t)c};
        struct h1_writer w = fresh(sizeof(room));
        h1_write_header(&w, span_of(name, 2), SPAN("v"));
        bool token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c && strchr("!#$%&'*+-.^_`|~", c));
        assert_int_equal(is(h1_writer_result(&w), ERR_SYNTAX), !token);
    }
    struct h1_writer w = fresh(sizeof(room));
    h1_write_header(&w, SPAN_NONE, SPAN("v"));
    assert_true(is(h1_writer_result(&w), ERR_SYNTAX));
}

static void a_request_line_cannot_be_split_either(void **state)
{
    struct h1_writer w = fresh(sizeof(room));
    h1_write_request(&w, SPAN("GET"), SPAN("/a?b"));
    assert_true(span_is(h1_writer_span(&w), "GET /a?b HTTP/1.1\r\n"));
    static const char *const bad[][2] = {
        {"GET", "/a b"}, {"GET", "/a\r\nX: y"}, {"GET", ""},          {"GET", "/\t"}, {"G T", "/"},
        {"", "/"},       {"GET\r", "/"},        {"GET", "/\xc3\xa9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        w = fresh(sizeof(room));
        h1_write_request(&w, span_cstr(bad[i][0]), span_cstr(bad[i][1]));
        assert_true(is(h1_writer_result(&w), ERR_SYNTAX));
        assert_int_equal(h1_writer_span(&w).len, 0);
    }
}

static void write_all(struct h1_writer *w)
{
    h1_write_status(w, 200);
    h1_write_header(w, SPAN("A"), SPAN("b"));
    h1_write_header_u64(w, SPAN("C"), 10);
    h1_write_end(w);
    h1_write_chunk_head(w, 0xabc);
    h1_write_last_chunk(w);
    h1_write_request(w, SPAN("GET"), SPAN("/"));
}

static void a_short_buffer_is_never_overrun_and_the_failure_sticks(void **state)
{
    struct h1_writer w = fresh(sizeof(room));
    write_all(&w);
    assert_false(failed(h1_writer_result(&w)));
    size_t whole = h1_writer_span(&w).len;
    for (size_t len = 0; len < whole; len++) {
        w = fresh(len);
        write_all(&w);
        assert_true(is(h1_writer_result(&w), ERR_TOO_LARGE));
        assert_true(h1_writer_span(&w).len <= len);
        assert_int_equal(room[len], '#');
    }
    w = fresh(sizeof(room));
    h1_write_header(&w, SPAN("A"), SPAN("b\n"));
    h1_write_status(&w, 200);
    assert_true(is(h1_writer_result(&w), ERR_SYNTAX));
    assert_int_equal(h1_writer_span(&w).len, 0);
}

static void chunk_heads_are_as_short_as_they_can_be(void **state)
{
    static const struct {
        uint64_t size;
        const char *text;
    } cases[] = {
        {1, "1\r\n"},       {15, "f\r\n"},          {16, "10\r\n"},
        {0xfff, "fff\r\n"}, {0x10000, "10000\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct h1_writer w = fresh(H1_CHUNK_HEAD_MAX);
        h1_write_chunk_head(&w, cases[i].size);
        assert_true(span_is(h1_writer_span(&w), cases[i].text));
    }
}

static void what_is_written_is_read_again(void **state)
{
    struct h1_writer w = fresh(sizeof(room));
    h1_write_request(&w, SPAN("POST"), SPAN("/x?y=1"));
    h1_write_header(&w, SPAN("Host"), SPAN("a:1"));
    h1_write_header(&w, SPAN("X"), SPAN("caf\xc3\xa9\tb"));
    h1_write_header(&w, SPAN("Transfer-Encoding"), SPAN("chunked"));
    h1_write_end(&w);
    h1_write_chunk_head(&w, 11);
    h1_write_raw(&w, SPAN("hello world"));
    h1_write_raw(&w, H1_CHUNK_TAIL);
    h1_write_last_chunk(&w);
    h1_write_header(&w, SPAN("Sum"), SPAN("7"));
    h1_write_end(&w);
    assert_false(failed(h1_writer_result(&w)));
    struct feed f;
    feed_init(&f, H1_SERVER, &h1_limits_default);
    feed_bytes(&f, h1_writer_span(&w));
    assert_true(feed_quiet(&f));
    assert_string_equal(f.path, "/x");
    assert_string_equal(text_cstr(&f.bodies), "hello world");
    assert_string_equal(text_cstr(&f.trailers), "Sum=7\n");
    feed_release(&f);

    w = fresh(sizeof(room));
    h1_write_status(&w, 200);
    h1_write_header_u64(&w, SPAN("Content-Length"), 2);
    h1_write_end(&w);
    h1_write_raw(&w, SPAN("ok"));
    feed_init(&f, H1_CLIENT, &h1_limits_default);
    feed_bytes(&f, h1_writer_span(&w));
    assert_true(feed_quiet(&f));
    assert_int_equal(f.status, 200);
    assert_string_equal(text_cstr(&f.bodies), "ok");
    feed_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response_head_is_written),
        cmocka_unit_test(a_status_without_a_phrase_is_written_with_its_space),
        cmocka_unit_test(no_byte_that_ends_a_line_gets_into_a_name_or_value),
        cmocka_unit_test(a_request_line_cannot_be_split_either),
        cmocka_unit_test(a_short_buffer_is_never_overrun_and_the_failure_sticks),
        cmocka_unit_test(chunk_heads_are_as_short_as_they_can_be),
        cmocka_unit_test(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
