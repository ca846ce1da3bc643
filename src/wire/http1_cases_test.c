/* Every case of tests/conformance/http1_cases against the codec: in one piece, byte by
 * byte, and cut in two at each place. The outcome must be the expected one, and the
 * same to the last word of its record however the bytes come.
 *
 * The files are looked for under $WEIR_SOURCE, or the working directory. */
#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "wire/test_http1_feed.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#define FIELD_MAX 512
/* Above this, a case is cut at every CUT_STEP-th place only. */
#define CUT_ALL_MAX 2048
#define CUT_STEP 211

struct test_case {
    char name[FIELD_MAX];
    struct text bytes, body;
    enum h1_role role;
    enum http_method answers;
    bool eof, accept, wait, has_body;
    int refused;
    unsigned messages;
    /* "" when the case does not say */
    char method[FIELD_MAX], path[FIELD_MAX], query[FIELD_MAX], host[FIELD_MAX], port[FIELD_MAX];
    char status[FIELD_MAX], trailer[FIELD_MAX], closes[FIELD_MAX];
};

struct totals {
    unsigned cases, accepted, refused, waiting, runs;
};

static void case_clear(struct test_case *c)
{
    text_release(&c->bytes);
    text_release(&c->body);
    *c = (struct test_case){.messages = 1, .answers = METHOD_GET};
    text_init(&c->bytes, 1 << 20);
    text_init(&c->body, 1 << 20);
}

/* ---- the format (README.md there) ---- */

static int hex_digit(uint8_t c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void unescape(struct text *into, struct span text)
{
    static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '\\') {
            text_byte(into, text.ptr[i]);
            continue;
        }
        assert_true(++i < text.len);
        uint8_t c = text.ptr[i];
        if (c == 'x') {
            assert_true(i + 2 < text.len);
            int high = hex_digit(text.ptr[i + 1]), low = hex_digit(text.ptr[i + 2]);
            assert_true(high >= 0 && low >= 0);
            text_byte(into, (uint8_t)(high << 4 | low));
            i += 2;
        } else {
            const char *at = strchr(from, c);
            assert_non_null(at);
            text_byte(into, (uint8_t)to[at - from]);
        }
    }
}

static void repeat(struct text *into, struct span value)
{
    struct span count = span_cut(&value, ' ');
    unsigned long n = strtoul((const char *)count.ptr, NULL, 10);
    assert_in_range(n, 1, 100000);
    while (n--)
        unescape(into, value);
}

static void set_text(char into[FIELD_MAX], struct span value)
{
    struct text plain;
    text_init(&plain, FIELD_MAX - 1);
    unescape(&plain, value);
    assert_false(failed(text_result(&plain)));
    snprintf(into, FIELD_MAX, "%s", text_cstr(&plain));
    text_release(&plain);
}

static void set_expect(struct test_case *c, struct span value)
{
    c->accept = span_is(value, "accept");
    c->wait = span_is(value, "wait");
    if (!c->accept && !c->wait) {
        c->refused = (int)strtol((const char *)value.ptr, NULL, 10);
        assert_in_range(c->refused, 400, 599);
    }
}

static void set_field(struct test_case *c, struct span key, struct span value)
{
    const struct {
        const char *key;
        char *into;
    } plain[] = {
        {"case", c->name},     {"method", c->method},   {"path", c->path},
        {"query", c->query},   {"host", c->host},       {"port", c->port},
        {"status", c->status}, {"trailer", c->trailer}, {"closes", c->closes},
    };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (span_is(key, plain[i].key)) {
            set_text(plain[i].into, value);
            return;
        }
    }
    if (span_is(key, "send")) {
        unescape(&c->bytes, value);
    } else if (span_is(key, "repeat")) {
        repeat(&c->bytes, value);
    } else if (span_is(key, "expect")) {
        set_expect(c, value);
    } else if (span_is(key, "messages")) {
        c->messages = (unsigned)strtoul((const char *)value.ptr, NULL, 10);
    } else if (span_is(key, "body")) {
        c->has_body = true;
        unescape(&c->body, value);
    } else if (span_is(key, "role")) {
        c->role = span_is(value, "client") ? H1_CLIENT : H1_SERVER;
    } else if (span_is(key, "answers")) {
        c->answers = http_method_of(value);
    } else if (span_is(key, "eof")) {
        c->eof = span_is(value, "yes");
    } else if (!span_is(key, "section")) {
        fail_msg("%s: unknown key %.*s", c->name, SPAN_FMT(key));
    }
}

/* ---- running ---- */

static void start(struct feed *f, const struct test_case *c)
{
    feed_init(f, c->role, &h1_limits_default);
    h1_expect(&f->h1, c->answers);
}

static void check_text(const struct test_case *c, const char *what, const char *expected,
                       const char *got)
{
    if (*expected && strcmp(expected, got) != 0)
        fail_msg("%s: %s is \"%s\", expected \"%s\"", c->name, what, got, expected);
}

static void check_number(const struct test_case *c, const char *what, const char *expected, int got)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", got);
    check_text(c, what, expected, text);
}

static void check_accepted(const struct test_case *c, const struct feed *f)
{
    if (!feed_quiet(f) || f->messages != c->messages)
        fail_msg("%s: %u messages, expected %u; status %d (%s)", c->name, f->messages, c->messages,
                 f->error, f->reason ? f->reason : "none");
    check_text(c, "method", c->method, f->method);
    check_text(c, "path", c->path, f->path);
    check_text(c, "query", c->query, f->query);
    check_text(c, "host", c->host, f->host);
    check_number(c, "port", c->port, f->port);
    check_number(c, "status", c->status, f->status);
    check_text(c, "closes", c->closes, f->keep_alive ? "no" : "yes");
    if (*c->trailer && span_search(text_span(&f->trailers), span_cstr(c->trailer)) != 0)
        fail_msg("%s: trailers are \"%s\"", c->name, text_cstr(&f->trailers));
    if (c->has_body && !span_eq(text_span(&f->bodies), text_span(&c->body)))
        fail_msg("%s: body is \"%s\"", c->name, text_cstr(&f->bodies));
}

static void check(const struct test_case *c, const struct feed *f)
{
    if (c->accept) {
        check_accepted(c, f);
    } else if (c->wait) {
        if (f->error || feed_quiet(f))
            fail_msg("%s: does not wait; status %d (%s)", c->name, f->error,
                     f->reason ? f->reason : "none");
    } else if (f->error != c->refused) {
        fail_msg("%s: status %d (%s), expected %d", c->name, f->error,
                 f->reason ? f->reason : "none", c->refused);
    }
}

static void check_same(const struct test_case *c, const struct feed *whole, const struct feed *cut,
                       const char *how, size_t at)
{
    if (!span_eq(text_span(&whole->record), text_span(&cut->record)))
        fail_msg("%s, %s %zu:\n%s\nin one piece:\n%s", c->name, how, at, text_cstr(&cut->record),
                 text_cstr(&whole->record));
}

static void run_case(const struct test_case *c, struct totals *totals)
{
    struct feed whole, cut;
    struct span bytes = text_span(&c->bytes);
    assert_false(failed(text_result(&c->bytes)));
    if (c->accept + c->wait + (c->refused != 0) != 1)
        fail_msg("%s: no expectation", c->name);
    start(&whole, c);
    feed_bytes(&whole, bytes);
    if (c->eof)
        feed_eof(&whole);
    check(c, &whole);
    size_t step = bytes.len <= CUT_ALL_MAX ? 1 : CUT_STEP;
    for (size_t at = 0; at < bytes.len; at += step) {
        start(&cut, c);
        if (at == 0) {
            feed_pieces(&cut, bytes, 1);
        } else {
            feed_bytes(&cut, span_first(bytes, at));
            feed_bytes(&cut, span_from(bytes, at));
        }
        if (c->eof)
            feed_eof(&cut);
        check_same(c, &whole, &cut, at ? "cut at" : "byte by byte", at);
        feed_release(&cut);
        totals->runs++;
    }
    feed_release(&whole);
    totals->cases++;
    totals->accepted += c->accept;
    totals->waiting += c->wait;
    totals->refused += c->refused != 0;
}

static void run_file(const char *path, struct totals *totals)
{
    char line[4096];
    struct test_case c = {0};
    case_clear(&c);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        struct span rest = span_cstr(line);
        rest = span_first(rest, span_find(rest, '\n'));
        if (rest.len == 0 && *c.name) {
            run_case(&c, totals);
            case_clear(&c);
        }
        if (rest.len == 0 || rest.ptr[0] == '#')
            continue;
        struct span key = span_cut(&rest, ':');
        set_field(&c, key, span_from(rest, 1));
    }
    fclose(file);
    if (*c.name)
        run_case(&c, totals);
    case_clear(&c);
}

static void every_case_comes_out_as_its_section_says_however_it_is_cut(void **state)
{
    char pattern[1024];
    const char *source = getenv("WEIR_SOURCE");
    glob_t files;
    struct totals totals = {0};
    snprintf(pattern, sizeof(pattern), "%s/tests/conformance/http1_cases/*.cases",
             source ? source : ".");
    if (glob(pattern, 0, NULL, &files) != 0)
        fail_msg("no files %s: set WEIR_SOURCE", pattern);
    for (size_t i = 0; i < files.gl_pathc; i++)
        run_file(files.gl_pathv[i], &totals);
    globfree(&files);
    print_message("# %u cases (%u accepted, %u refused, %u waiting), %u runs in pieces\n",
                  totals.cases, totals.accepted, totals.refused, totals.waiting, totals.runs);
    assert_true(totals.cases > 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_comes_out_as_its_section_says_however_it_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
