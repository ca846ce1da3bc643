#include "wire/json.h"

#include "base/number.h"
#include "base/utf8.h"

#include <float.h>
#include <math.h>
#include <yyjson.h>

/* ---- faults ---- */

struct fault_text {
    const char *expected, *rapidjson;
};

static const struct fault_text fault_texts[] = {{"", ""},
#define X(name, expected, rapidjson) {expected, rapidjson},
                                                JSON_FAULTS(X)
#undef X
};

result json_fault(struct json_reader *r, enum json_fault fault, size_t at)
{
    r->fault = fault;
    r->fault_at = at;
    return fail(ERR_SYNTAX);
}

const char *json_fault_rapidjson(enum json_fault fault)
{
    return fault_texts[fault].rapidjson;
}

void json_place(struct span text, size_t at, int *ret_line, int *ret_column)
{
    int line = 1, column = 1;

    for (size_t i = 0; i < at && i < text.len; i++) {
        column++;
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

result json_report(const struct json_reader *r, struct diag *diag)
{
    const char *expected = fault_texts[r->fault].expected;
    char quote[24];
    int line, column;

    if (!diag)
        return fail(ERR_SYNTAX);
    json_place(r->text, r->fault_at, &line, &column);
    if (r->fault_at >= r->text.len)
        return diag_fail_at(diag, ERR_SYNTAX, NULL, line, column,
                            "expected %s, got the end of the text", expected);
    diag_quote(span_from(r->text, r->fault_at), quote, sizeof(quote));
    return diag_fail_at(diag, ERR_SYNTAX, NULL, line, column, "expected %s, got \"%s\"", expected,
                        quote);
}

/* ---- places ---- */

struct json_reader json_reader_of(struct span text, uint8_t dialect)
{
    return (struct json_reader){.text = text, .dialect = dialect};
}

static void skip_space(struct json_reader *r)
{
    const uint8_t *p = r->text.ptr;
    size_t at = r->at;

    while (at < r->text.len && (p[at] == ' ' || p[at] == '\n' || p[at] == '\r' || p[at] == '\t'))
        at++;
    r->at = at;
}

/* The byte at the place; 0 at the end, which begins nothing. */
static uint8_t byte_at(const struct json_reader *r)
{
    return r->at < r->text.len ? r->text.ptr[r->at] : 0;
}

enum json_kind json_peek(struct json_reader *r)
{
    skip_space(r);
    switch (byte_at(r)) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    case '-':
    case '0' ... '9':
        return JSON_NUMBER;
    case 'N':
    case 'I':
        return r->dialect & JSON_NONFINITE ? JSON_NUMBER : JSON_NOTHING;
    default:
        return JSON_NOTHING;
    }
}

void json_enter(struct json_reader *r)
{
    r->at++;
}

result json_element(struct json_reader *r, bool *first, bool *ret_more)
{
    skip_space(r);
    uint8_t c = byte_at(r);
    if (c == ']') {
        r->at++;
        *ret_more = false;
    } else if (*first) {
        *ret_more = true;
    } else if (c == ',') {
        r->at++;
        *ret_more = true;
    } else {
        return json_fault(r, JSON_FAULT_ARRAY_COMMA, r->at);
    }
    *first = false;
    return OK;
}

result json_member(struct json_reader *r, bool *first, struct json_string *ret_name, bool *ret_more)
{
    skip_space(r);
    uint8_t c = byte_at(r);
    if (c == '}') {
        r->at++;
        *first = false;
        *ret_more = false;
        return OK;
    }
    if (!*first) {
        if (c != ',')
            return json_fault(r, JSON_FAULT_OBJECT_COMMA, r->at);
        r->at++;
        skip_space(r);
    }
    if (byte_at(r) != '"')
        return json_fault(r, JSON_FAULT_NAME, r->at);
    struct json_string name;
    TRY(json_read_string(r, &name));
    skip_space(r);
    if (byte_at(r) != ':')
        return json_fault(r, JSON_FAULT_COLON, r->at);
    r->at++;
    *first = false;
    *ret_name = name;
    *ret_more = true;
    return OK;
}

result json_end(struct json_reader *r)
{
    skip_space(r);
    return r->at < r->text.len ? json_fault(r, JSON_FAULT_TRAILING, r->at) : OK;
}

/* ---- strings ---- */

/* The value of four hex digits, or -1. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
    int32_t value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i], letter = c | 0x20;
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (letter >= 'a' && letter <= 'f')
            value = value * 16 + (letter - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* What the escape at `p`, a backslash, stands for, and its length in the text. Lone
 * surrogates are refused: they have no form in UTF-8 (RFC 3629 §3). */
static enum json_fault escape(const uint8_t *p, const uint8_t *end, uint32_t *ret_code,
                              size_t *ret_used)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

    if (end - p < 2)
        return JSON_FAULT_ESCAPE;
    *ret_used = 2;
    const char *found = p[1] ? strchr(from, p[1]) : NULL;
    if (found) {
        *ret_code = (uint8_t)to[found - from];
        return JSON_FAULT_NONE;
    }
    if (p[1] != 'u')
        return JSON_FAULT_ESCAPE;
    int32_t code = hex4(p + 2, end);
    if (code < 0)
        return JSON_FAULT_HEX;
    *ret_used = 6;
    if (code >= 0xd800 && code <= 0xdfff) {
        if (code > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u')
            return JSON_FAULT_SURROGATE;
        int32_t low = hex4(p + 8, end);
        if (low < 0)
            return JSON_FAULT_HEX;
        if (low < 0xdc00 || low > 0xdfff)
            return JSON_FAULT_SURROGATE;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        *ret_used = 12;
    }
    *ret_code = (uint32_t)code;
    return JSON_FAULT_NONE;
}

static size_t utf8_size(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

/* The first byte from `p` that is a quote, a backslash or a control character. Adds to
 * `high` the bits of those passed over. */
static const uint8_t *plain(const uint8_t *p, const uint8_t *end, uint64_t *high)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;

    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof(v));
        uint64_t quote = v ^ ones * '"', slash = v ^ ones * '\\';
        uint64_t found =
            ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((v - ones * 0x20) & ~v);
        if (found & tops)
            break;
        *high |= v;
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20)
        *high |= *p++;
    return p;
}

result json_read_string(struct json_reader *r, struct json_string *ret_string)
{
    skip_space(r);
    const uint8_t *begin = r->text.ptr + r->at + 1, *p = begin, *end = r->text.ptr + r->text.len;
    uint64_t high = 0;
    size_t saved = 0; /* bytes that escapes take beyond their values */

    for (;;) {
        p = plain(p, end, &high);
        size_t at = (size_t)(p - r->text.ptr);
        if (p == end)
            return json_fault(r, JSON_FAULT_QUOTE, at);
        if (*p == '"')
            break;
        if (*p != '\\')
            return json_fault(r, JSON_FAULT_ENCODING, at);
        uint32_t code;
        size_t used;
        enum json_fault fault = escape(p, end, &code, &used);
        if (fault)
            return json_fault(r, fault, at);
        saved += used - utf8_size(code);
        p += used;
    }
    struct span raw = span_of(begin, (size_t)(p - begin));
    if ((high & 0x8080808080808080) && !(r->dialect & JSON_ANY_BYTES) && !utf8_valid(raw))
        return json_fault(r, JSON_FAULT_ENCODING, r->at + 1);
    r->at = (size_t)(p + 1 - r->text.ptr);
    *ret_string = (struct json_string){raw, raw.len - saved};
    return OK;
}

void json_string_copy(const struct json_string *string, uint8_t *out)
{
    struct span rest = string->raw;

    if (rest.len == string->len) {
        if (rest.len)
            memcpy(out, rest.ptr, rest.len);
        return;
    }
    while (rest.len) {
        size_t run = span_find(rest, '\\');
        memcpy(out, rest.ptr, run);
        out += run;
        rest = span_from(rest, run);
        if (!rest.len)
            break;
        uint32_t code = 0;
        size_t used = rest.len;
        enum json_fault fault = escape(rest.ptr, rest.ptr + rest.len, &code, &used);
        ASSERT(!fault); /* json_read_string has seen it */
        out += utf8_encode(code, out);
        rest = span_from(rest, used);
    }
}

bool json_string_is(const struct json_string *string, struct span text)
{
    struct span rest = string->raw;

    if (string->len != text.len)
        return false;
    if (rest.len == string->len)
        return span_eq(rest, text);
    while (rest.len) {
        uint8_t bytes[4] = {rest.ptr[0]};
        size_t used = 1, len = 1;
        if (rest.ptr[0] == '\\') {
            uint32_t code = 0;
            enum json_fault fault = escape(rest.ptr, rest.ptr + rest.len, &code, &used);
            ASSERT(!fault);
            len = utf8_encode(code, bytes);
        }
        if (!span_eq(span_first(text, len), span_of(bytes, len)))
            return false;
        text = span_from(text, len);
        rest = span_from(rest, used);
    }
    return true;
}

result json_string_take(const struct json_string *string, struct arena *arena,
                        struct span *ret_text)
{
    uint8_t *out = arena_alloc(arena, string->len + 1);

    if (!out)
        return fail(ERR_NO_MEMORY);
    json_string_copy(string, out);
    out[string->len] = '\0';
    *ret_text = span_of(out, string->len);
    return OK;
}

/* ---- other scalars ---- */

size_t json_nonfinite(const struct json_reader *r, double *ret_value)
{
    /* The longer of two that begin alike stands first. */
    static const struct {
        struct span name;
        double value;
    } names[] = {
        {SPAN_INIT("NaN"), NAN},        {SPAN_INIT("Infinity"), INFINITY},
        {SPAN_INIT("Inf"), INFINITY},   {SPAN_INIT("-Infinity"), -INFINITY},
        {SPAN_INIT("-Inf"), -INFINITY},
    };
    struct span rest = span_from(r->text, r->at);

    if (!(r->dialect & JSON_NONFINITE))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_starts(rest, names[i].name)) {
            *ret_value = names[i].value;
            return names[i].name.len;
        }
    return 0;
}

static size_t skip_digits(const struct json_reader *r, size_t at)
{
    while (at < r->text.len && (uint8_t)(r->text.ptr[at] - '0') < 10)
        at++;
    return at;
}

/* An optional fraction and exponent from `at` on. */
static result skip_rest_of_number(struct json_reader *r, size_t at, size_t *ret_end)
{
    size_t end;

    if (at < r->text.len && r->text.ptr[at] == '.') {
        end = skip_digits(r, at + 1);
        if (end == at + 1)
            return json_fault(r, JSON_FAULT_FRACTION, end);
        at = end;
    }
    if (at < r->text.len && (r->text.ptr[at] | 0x20) == 'e') {
        at++;
        if (at < r->text.len && (r->text.ptr[at] == '+' || r->text.ptr[at] == '-'))
            at++;
        end = skip_digits(r, at);
        if (end == at)
            return json_fault(r, JSON_FAULT_EXPONENT, at);
        at = end;
    }
    *ret_end = at;
    return OK;
}

static result skip_number(struct json_reader *r)
{
    double unused;
    size_t named = json_nonfinite(r, &unused);
    size_t at = r->at + (byte_at(r) == '-'), end, used;

    if (named) {
        r->at += named;
        return OK;
    }
    size_t whole = skip_digits(r, at);
    if (whole == at)
        return json_fault(r, JSON_FAULT_VALUE, at);
    if (r->text.ptr[at] == '0')
        whole = at + 1; /* a digit behind it is then found to be no comma */
    TRY(skip_rest_of_number(r, whole, &end));
    /* Those that are short and whole are in range. */
    if (end > whole || whole - r->at > DBL_MAX_10_EXP) {
        struct span token = span_of(r->text.ptr + r->at, end - r->at);
        if (is(number_parse_f64(token, &used, &unused), ERR_RANGE))
            return json_fault(r, JSON_FAULT_NUMBER_BIG, r->at);
    }
    r->at = end;
    return OK;
}

static result skip_word(struct json_reader *r, const char *word)
{
    size_t at = r->at;

    for (; *word; word++, at++)
        if (at >= r->text.len || r->text.ptr[at] != (uint8_t)*word)
            return json_fault(r, JSON_FAULT_VALUE, at);
    r->at = at;
    return OK;
}

static result skip_scalar(struct json_reader *r, enum json_kind kind)
{
    struct json_string unused;

    switch (kind) {
    case JSON_STRING:
        return json_read_string(r, &unused);
    case JSON_NUMBER:
        return skip_number(r);
    case JSON_TRUE:
        return skip_word(r, "true");
    case JSON_FALSE:
        return skip_word(r, "false");
    case JSON_NULL:
        return skip_word(r, "null");
    default:
        return json_fault(r, JSON_FAULT_VALUE, r->at);
    }
}

result json_skip_value(struct json_reader *r)
{
    uint64_t objects = 0; /* bit d: the one opened d-th is an object */
    int depth = 0;

    for (;;) {
        bool first = false;
        enum json_kind kind = json_peek(r);
        if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
            if (depth == JSON_DEPTH_MAX)
                return json_fault(r, JSON_FAULT_DEPTH, r->at);
            uint64_t bit = (uint64_t)1 << depth++;
            objects = kind == JSON_OBJECT ? objects | bit : objects & ~bit;
            json_enter(r);
            first = true;
        } else {
            TRY(skip_scalar(r, kind));
        }
        for (bool more = false; !more; depth -= !more) {
            struct json_string unused;
            if (depth == 0)
                return OK;
            if (objects >> (depth - 1) & 1)
                TRY(json_member(r, &first, &unused, &more));
            else
                TRY(json_element(r, &first, &more));
        }
    }
}

/* ---- writing ---- */

static void append_escape(struct text *text, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *found = c ? strchr(from, c) : NULL;

    if (found) {
        text_byte(text, '\\');
        text_byte(text, (uint8_t)to[found - from]);
    } else {
        text_printf(text, "\\u%04X", c);
    }
}

/* The length of the character at the front, 0 when it is none of UTF-8. */
static size_t character(struct span s)
{
    for (size_t len = 1; len <= 4 && len <= s.len; len++)
        if (utf8_valid(span_first(s, len)))
            return len;
    return 0;
}

void json_append_string(struct text *text, struct span value)
{
    if (value.len == 0)
        value = SPAN(""); /* nothing may be added to NULL, not even 0 */
    bool valid = utf8_valid(value);
    const uint8_t *p = value.ptr, *end = p + value.len;

    text_byte(text, '"');
    while (p < end) {
        uint64_t unused = 0;
        const uint8_t *stop = valid ? plain(p, end, &unused) : p;
        text_append(text, span_of(p, (size_t)(stop - p)));
        p = stop;
        if (p == end)
            break;
        if (*p == '"' || *p == '\\' || *p < 0x20) {
            append_escape(text, *p++);
            continue;
        }
        size_t len = character(span_of(p, (size_t)(end - p)));
        text_append(text, len ? span_of(p, len) : SPAN("\xef\xbf\xbd"));
        p += len ? len : 1;
    }
    text_byte(text, '"');
}

/* ---- documents ---- */

static void *document_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void *document_realloc(void *arena, void *old, size_t old_size, size_t size)
{
    void *grown = arena_alloc(arena, size);

    if (grown && old)
        memcpy(grown, old, MIN(old_size, size));
    return grown;
}

static void document_free(void *arena, void *ptr)
{
    (void)arena; /* frees all at once */
    (void)ptr;
}

result json_document(struct span text, size_t size_max, struct arena *arena,
                     struct yyjson_val **ret_root, struct diag *diag)
{
    struct json_reader r = json_reader_of(text, 0);
    yyjson_alc allocator = {document_alloc, document_realloc, document_free, arena};
    yyjson_read_err error = {0};

    if (text.len > size_max)
        return diag_fail(diag, ERR_TOO_LARGE, "expected at most %zu bytes of JSON, got %zu",
                         size_max, text.len);
    if (json_peek(&r) == JSON_NOTHING && r.at == text.len) {
        ignore(json_fault(&r, JSON_FAULT_EMPTY, r.at)); /* reported by the next line */
        return json_report(&r, diag);
    }
    if (failed(json_skip_value(&r)) || failed(json_end(&r)))
        return json_report(&r, diag);
    /* Without the in-place flag it only reads the text. */
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, 0, &allocator, &error);
    if (!doc && error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for %zu bytes of JSON", text.len);
    if (!doc)
        return diag_fail(diag, ERR_SYNTAX, "expected JSON, got an error at byte %zu: %s", error.pos,
                         error.msg);
    *ret_root = yyjson_doc_get_root(doc);
    return OK;
}
