/* JSON text (RFC 8259): a reader that walks over bytes where they lie, a writer onto
 * base/text, and small documents through yyjson.
 *
 * The reader holds a place in a text and takes no memory. It is for messages whose bulk
 * is numbers (wire/json_tensor.h) and whose members matter only here and there: each is
 * asked for or skipped. A failure is a fault of the grammar at a byte; the reader
 * remembers both, and stays where it failed.
 *
 * Dialect: strict by default. TensorFlow Serving's differs in three ways, each a flag of
 * its own.
 *
 * Limits: JSON_DEPTH_MAX open arrays and objects. Threads: a reader is one thread's.
 */
#pragma once

#include "base/arena.h"
#include "base/diag.h"
#include "base/result.h"
#include "base/span.h"
#include "base/text.h"

#define JSON_DEPTH_MAX 64

enum {
    /* NaN, Inf, Infinity, -Inf and -Infinity are numbers. */
    JSON_NONFINITE = 1 << 0,
    /* Strings need not be UTF-8; their bytes are passed on as they are. */
    JSON_ANY_BYTES = 1 << 1,
    /* {"b64": "..."} stands for the bytes of that base64 text, in a tensor. */
    JSON_B64 = 1 << 2,
};

/* X(name, what was expected, the text that rapidjson has for it, which is part of
 * TensorFlow Serving's answers: rapidjson include/rapidjson/error/en.h). */
#define JSON_FAULTS(X) \
    X(EMPTY, "a value", "The document is empty.") \
    X(TRAILING, "the end of the document", \
      "The document root must not be followed by other values.") \
    X(VALUE, "a value", "Invalid value.") \
    X(NAME, "a name in quotes", "Missing a name for object member.") \
    X(COLON, "':' after a name", "Missing a colon after a name of object member.") \
    X(OBJECT_COMMA, "',' or '}' after a member", "Missing a comma or '}' after an object member.") \
    X(ARRAY_COMMA, "',' or ']' after an element", \
      "Missing a comma or ']' after an array element.") \
    X(HEX, "four hex digits after \\u", "Incorrect hex digit after \\u escape in string.") \
    X(SURROGATE, "a whole surrogate pair", "The surrogate pair in string is invalid.") \
    X(ESCAPE, "one of \"\\/bfnrtu after a backslash", "Invalid escape character in string.") \
    X(QUOTE, "a closing quotation mark", "Missing a closing quotation mark in string.") \
    X(ENCODING, "UTF-8 without control characters in a string", "Invalid encoding in string.") \
    X(FRACTION, "a digit after the point", "Miss fraction part in number.") \
    X(EXPONENT, "a digit in the exponent", "Miss exponent in number.") \
    X(NUMBER_BIG, "a number that a double can hold", "Number too big to be stored in double.") \
    X(DEPTH, "no more than 64 open arrays and objects", "Too many nested arrays and objects.")

enum json_fault {
    JSON_FAULT_NONE,
#define X(name, expected, rapidjson) JSON_FAULT_##name,
    JSON_FAULTS(X)
#undef X
};

struct json_reader {
    struct span text;
    size_t at;
    uint8_t dialect;
    enum json_fault fault;
    size_t fault_at;
};

enum json_kind {
    JSON_NOTHING, /* no value begins here */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* A string as it stands in the text. */
struct json_string {
    struct span raw; /* between the quotes */
    size_t len;      /* of its value: less than raw.len when there are escapes */
};

struct json_reader json_reader_of(struct span text, uint8_t dialect);

/* Skips white space and says what begins there, by its first byte alone. */
enum json_kind json_peek(struct json_reader *r);
/* The functions below skip white space first, and fail with ERR_SYNTAX; see `fault`. */

/* Enters the array or object that json_peek has announced. */
void json_enter(struct json_reader *r);
/* Steps to the next element of an array, or takes its ']' and gives false. `first` is
 * true before the first step, and false from then on. The element is then read or
 * skipped. */
result json_element(struct json_reader *r, bool *first, bool *ret_more);
/* The same for members of an object: reads a name and its colon. */
result json_member(struct json_reader *r, bool *first, struct json_string *ret_name,
                   bool *ret_more);
result json_read_string(struct json_reader *r, struct json_string *ret_string);
/* Passes over one value of any kind and checks all of its grammar. */
result json_skip_value(struct json_reader *r);
/* Nothing but white space follows. */
result json_end(struct json_reader *r);
/* Records a fault at a byte; returns ERR_SYNTAX. */
result json_fault(struct json_reader *r, enum json_fault fault, size_t at);
/* The length of NaN, Infinity and so on at the place, 0 when none is there or the
 * dialect has none. */
size_t json_nonfinite(const struct json_reader *r, double *ret_value);

/* Whether the value of `string` is `text`, which needs no escapes. */
bool json_string_is(const struct json_string *string, struct span text);
/* Writes its value, `string->len` bytes, to `out`. */
void json_string_copy(const struct json_string *string, uint8_t *out);
/* The same into an arena; NUL-terminated. ERR_NO_MEMORY. */
result json_string_take(const struct json_string *string, struct arena *arena,
                        struct span *ret_text);

/* Puts the fault into `diag` with its line and column, "expected ..., got ...", and
 * returns ERR_SYNTAX. */
result json_report(const struct json_reader *r, struct diag *diag);
/* Line and column of a byte, both from 1; columns count bytes. */
void json_place(struct span text, size_t at, int *ret_line, int *ret_column);
/* rapidjson's text for a fault. */
const char *json_fault_rapidjson(enum json_fault fault);

/* ---- writing ---- */

/* Appends a string with its quotes. What RFC 8259 §7 asks for is escaped, nothing else;
 * each byte that is no UTF-8 becomes U+FFFD. */
void json_append_string(struct text *text, struct span value);

/* ---- documents ---- */

struct yyjson_val;

/* Reads a small document, strictly and whole, into memory of the arena, and gives its
 * root for yyjson's accessors. ERR_SYNTAX: what json_report says. ERR_TOO_LARGE: more than
 * `size_max` bytes. ERR_NO_MEMORY: the arena is full. Lives as long as the arena. */
result json_document(struct span text, size_t size_max, struct arena *arena,
                     struct yyjson_val **ret_root, struct diag *diag);
