#include "wire/url.h"

#include "base/test_cmocka.h"

#include <stdio.h>

static void an_authority_is_split_into_host_and_port(void **state)
{
    static const struct {
        const char *text, *host;
        int32_t port;
    } good[] = {
        {"a", "a", -1},
        {"a:80", "a", 80},
        {"a:", "a", -1},
        {"", "", -1},
        {"a.example:65535", "a.example", 65535},
        {"127.0.0.1:0", "127.0.0.1", 0},
        {"[::1]", "[::1]", -1},
        {"[::1]:8080", "[::1]", 8080},
        {"[2001:db8:0:0:1:0:0:1]:1", "[2001:db8:0:0:1:0:0:1]", 1},
        {"[1:2:3:4:5:6:1.2.3.4]", "[1:2:3:4:5:6:1.2.3.4]", -1},
        {"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", -1},
        {"a%2Db", "a%2Db", -1},
        {"under_score~!$&'()*+,;=", "under_score~!$&'()*+,;=", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct url_authority a;
        assert_false(failed(url_authority_parse(span_cstr(good[i].text), &a)));
        assert_true(span_is(a.host, good[i].host));
        assert_int_equal(a.port, good[i].port);
    }
}

static void an_authority_outside_the_grammar_is_refused(void **state)
{
    static const char *const bad[] = {
        "a:b",
        "a:-1",
        "a:+1",
        "a:65536",
        "a:99999999999999999999",
        "a:80:80",
        ":80",
        "a b",
        "a/b",
        "a@b",
        "user@a:1",
        "a#b",
        "a?b",
        "a\\b",
        "a,b c",
        "a%",
        "a%4",
        "a%zz",
        "[::1",
        "[]",
        "[:]",
        "[1]",
        "[::1]x",
        "[::1]x:80",
        "[fe80::1%eth0]",
        "[v1.a]",
        "[12345::]",
        "[1:2:3:4:5:6:7]8",
        "[::1::2]",
        "[1:2:3:4:5:6:7:8:9]",
        "a\x80",
        "a\"b",
        "a<b",
        "\x7f",
        "[1.2.3.4:1::]",
        "[1:2:3:4:5:6:7]",
        "[1:2:3:4:5:6:7:1.2.3.4]",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct url_authority a = {.port = 7};
        if (!is(url_authority_parse(span_cstr(bad[i]), &a), ERR_SYNTAX))
            fail_msg("accepted \"%s\"", bad[i]);
        assert_int_equal(a.port, 7);
    }
}

static void an_absolute_uri_is_split(void **state)
{
    static const struct {
        const char *text, *host, *path, *query;
        int32_t port;
    } good[] = {
        {"http://a/b?c", "a", "/b", "c", -1},
        {"HTTPS://a:1", "a", "/", NULL, 1},
        {"http://a?x=1?2", "a", "/", "x=1?2", -1},
        {"http://[::1]:2/?", "[::1]", "/", "", 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct url url;
        assert_false(failed(url_parse(span_cstr(good[i].text), &url)));
        assert_true(span_is(url.authority.host, good[i].host));
        assert_int_equal(url.authority.port, good[i].port);
        assert_true(span_is(url.path, good[i].path));
        assert_int_equal(url.query.ptr != NULL, good[i].query != NULL);
        assert_true(span_eq(url.query, span_cstr(good[i].query)));
    }
}

static void an_absolute_uri_that_http_does_not_have_is_refused(void **state)
{
    static const struct {
        const char *text;
        enum err err;
    } bad[] = {
        {"", ERR_SYNTAX},
        {"a", ERR_SYNTAX},
        {"http:/a", ERR_SYNTAX},
        {"http://", ERR_SYNTAX},
        {"http:///a", ERR_SYNTAX},
        {"http://:80/", ERR_SYNTAX},
        {"://a", ERR_UNSUPPORTED},
        {"ftp://a/", ERR_UNSUPPORTED},
        {"http://u@a/", ERR_SYNTAX},
        {"http://u:p@a/", ERR_SYNTAX},
        {"http://a/#f", ERR_SYNTAX},
        {"http://a/ b", ERR_SYNTAX},
        {"http://a/\x80", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct url url;
        if (!is(url_parse(span_cstr(bad[i].text), &url), bad[i].err))
            fail_msg("\"%s\"", bad[i].text);
    }
}

static void a_target_holds_printable_ascii_only(void **state)
{
    for (int c = 0; c < 256; c++) {
        uint8_t text[] = {'/', (uint8_t)c, 'x'};
        bool refused = c <= ' ' || c >= 0x7f || strchr("\"#<>", c) != NULL;
        assert_int_equal(url_target_valid(span_of(text, 3)), !refused);
    }
}

static void dots_are_seen_in_every_disguise(void **state)
{
    static const char *const dotted[] = {
        "/.",     "/..",     "/a/../b", "/a/./b", "/%2e",   "/%2E%2e/x",
        "/.%2e/", "/%2e./a", "..",      "/a/..",  "//..//",
    };
    static const char *const plain[] = {
        "/", "/a", "/...", "/a..", "/..a", "/.well-known/x", "/%2e%2e%2e", "/a.b", "/%2f..%2f", "",
    };
    for (size_t i = 0; i < ARRAY_LEN(dotted); i++)
        if (!url_path_has_dots(span_cstr(dotted[i])))
            fail_msg("missed in \"%s\"", dotted[i]);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (url_path_has_dots(span_cstr(plain[i])))
            fail_msg("seen in \"%s\"", plain[i]);
}

/* Appends `part` and a '|'. */
static void join(char joined[64], struct span part)
{
    size_t len = strlen(joined);
    snprintf(joined + len, 64 - len, "%.*s|", SPAN_FMT(part));
}

static void segments_come_from_the_left_with_the_empty_ones(void **state)
{
    static const char *const cases[][2] = {
        {"/a//b/", "a||b||"},
        {"/", "|"},
        {"", ""},
        {"a/b", "a|b|"},
        {"/v1/models/m:predict", "v1|models|m:predict|"},
        {"/a%2Fb/c", "a%2Fb|c|"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char joined[64] = "";
        struct span rest = span_cstr(cases[i][0]), segment;
        while (url_segment_next(&rest, &segment))
            join(joined, segment);
        assert_string_equal(joined, cases[i][1]);
    }
}

static void query_pairs_follow_the_form_rule(void **state)
{
    static const char *const cases[][2] = {
        {"a=1&b=2", "a|1|b|2|"},
        {"a", "a||"},
        {"&&a=&=b&", "a|||b|"},
        {"", ""},
        {"a=b=c", "a|b=c|"},
        {"a+b=%26", "a+b|%26|"},
        {"=", "||"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char joined[64] = "";
        struct span rest = span_cstr(cases[i][0]), key, value;
        while (url_query_next(&rest, &key, &value)) {
            join(joined, key);
            join(joined, value);
        }
        assert_string_equal(joined, cases[i][1]);
    }
}

static void decoding_is_strict_and_bounded(void **state)
{
    uint8_t room[8];
    size_t len = 99;
    struct span_mut into = {room, sizeof(room)};
    assert_false(failed(url_decode(SPAN("a%2Fb+%41"), into, &len)));
    assert_true(span_eq(span_of(room, len), SPAN("a/b+A")));
    assert_false(failed(url_decode_form(SPAN("a+%2b"), into, &len)));
    assert_true(span_eq(span_of(room, len), SPAN("a +")));
    assert_false(failed(url_decode(SPAN("%fF%c3"), into, &len)));
    assert_true(span_eq(span_of(room, len), SPAN("\xff\xc3")));
    assert_false(failed(url_decode(SPAN_NONE, into, &len)));
    assert_int_equal(len, 0);
    len = 99;
    static const char *const bad[] = {"%", "%4", "%4g", "%g4", "a%", "%%41", "%00", "% 1", "%+1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(is(url_decode(span_cstr(bad[i]), into, &len), ERR_SYNTAX));
    assert_true(is(url_decode(span_of("a\0b", 3), into, &len), ERR_SYNTAX));
    assert_true(is(url_decode(SPAN("123456789"), into, &len), ERR_TOO_LARGE));
    assert_int_equal(len, 99);
    assert_false(failed(url_decode(SPAN("%31%32%33%34%35%36%37%38"), into, &len)));
    assert_int_equal(len, 8);
}

static void decoding_may_overwrite_its_input(void **state)
{
    uint8_t text[] = "%41%42c";
    size_t len;
    assert_false(failed(url_decode(span_of(text, 7), (struct span_mut){text, 7}, &len)));
    assert_true(span_eq(span_of(text, len), SPAN("ABc")));
}

static void what_is_encoded_decodes_to_itself(void **state)
{
    uint8_t all[255], encoded[3 * 255], back[255];
    for (int c = 1; c < 256; c++)
        all[c - 1] = (uint8_t)c;
    for (int part = URL_SEGMENT; part <= URL_COMPONENT; part++) {
        size_t len, back_len;
        assert_false(failed(url_encode(span_of(all, sizeof(all)), (enum url_part)part,
                                       (struct span_mut){encoded, sizeof(encoded)}, &len)));
        assert_true(url_target_valid(span_of(encoded, len)));
        assert_int_equal(span_find(span_of(encoded, len), '/'), len);
        assert_false(failed(
            url_decode(span_of(encoded, len), (struct span_mut){back, sizeof(back)}, &back_len)));
        assert_true(span_eq(span_of(back, back_len), span_of(all, sizeof(all))));
    }
    size_t len;
    assert_true(is(url_encode(SPAN("a b"), URL_SEGMENT, (struct span_mut){encoded, 4}, &len),
                   ERR_TOO_LARGE));
    assert_false(
        failed(url_encode(SPAN("a:b c&d"), URL_COMPONENT, (struct span_mut){encoded, 64}, &len)));
    assert_true(span_eq(span_of(encoded, len), SPAN("a%3Ab%20c%26d")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_authority_is_split_into_host_and_port),
        cmocka_unit_test(an_authority_outside_the_grammar_is_refused),
        cmocka_unit_test(an_absolute_uri_is_split),
        cmocka_unit_test(an_absolute_uri_that_http_does_not_have_is_refused),
        cmocka_unit_test(a_target_holds_printable_ascii_only),
        cmocka_unit_test(dots_are_seen_in_every_disguise),
        cmocka_unit_test(segments_come_from_the_left_with_the_empty_ones),
        cmocka_unit_test(query_pairs_follow_the_form_rule),
        cmocka_unit_test(decoding_is_strict_and_bounded),
        cmocka_unit_test(decoding_may_overwrite_its_input),
        cmocka_unit_test(what_is_encoded_decodes_to_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
