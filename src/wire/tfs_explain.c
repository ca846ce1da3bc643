/* Upstream's text for a predict request that was refused.
 *
 * The walk follows util/json_tensor.cc from check to check: the whole document's syntax,
 * signature, keys, then element by element. It is slow where upstream is (arrays are
 * counted before they are entered), takes no memory, and runs once for a request that
 * has failed already.
 */
#include "wire/tfs_private.h"

#include "base/alloc.h"
#include "base/base64.h"
#include "base/number.h"

#include <stdio.h>

struct explain {
    struct span body;
    const struct weir_port *ports;
    int ports_len;
    struct diag *diag;
};

/* A value: a place in a text whose syntax has been checked. Readers are copied freely. */
static struct json_reader value_at(const struct explain *x, size_t at)
{
    struct json_reader r = json_reader_of(x->body, TFS_DIALECT);

    r.at = at;
    json_peek(&r);
    return r;
}

/* Steps over a value of checked syntax. */
static void step(struct json_reader *r)
{
    result skipped = json_skip_value(r);
    ASSERT(!failed(skipped));
}

/* ---- values in messages ---- */

/* Upstream cuts values at this length. */
#define ECHO_MAX 256

struct echo {
    char text[ECHO_MAX + 1];
    size_t len;
};

static void echo_put(struct echo *e, struct span bytes)
{
    size_t n = MIN(bytes.len, ECHO_MAX - e->len);

    if (n)
        memcpy(e->text + e->len, bytes.ptr, n);
    e->len += n;
}

static void echo_break(struct echo *e, int level)
{
    echo_put(e, SPAN("\n"));
    for (int i = 0; i < level && e->len < ECHO_MAX; i++)
        echo_put(e, SPAN("    "));
}

/* Integers and names as they are written, doubles as upstream prints them again. */
static void echo_number(struct echo *e, struct span token)
{
    char printed[NUMBER_F64_MAX];
    double value;
    size_t used;
    bool negative;
    uint64_t magnitude;

    if (!failed(number_read_integer(token, &used, &negative, &magnitude)) ||
        failed(number_parse_f64(token, &used, &value)))
        echo_put(e, token);
    else
        echo_put(e, span_of(printed, number_print_f64(value, printed)));
}

/* rapidjson's pretty form of one value, until there is no more room. */
static const char *echo(struct json_reader r, struct echo *e)
{
    int level = 0;

    e->len = 0;
    do {
        enum json_kind kind = json_peek(&r);
        uint8_t c = r.at < r.text.len ? r.text.ptr[r.at] : 0;
        size_t at = r.at;
        if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
            json_enter(&r);
            json_peek(&r);
            echo_put(e, span_of(&c, 1));
            if (r.text.ptr[r.at] == c + 2) { /* ']' and '}' come two behind their openers */
                echo_put(e, span_of(&r.text.ptr[r.at++], 1));
            } else {
                echo_break(e, ++level);
            }
        } else if (c == ']' || c == '}') {
            r.at++;
            echo_break(e, --level);
            echo_put(e, span_of(&c, 1));
        } else if (c == ',') {
            r.at++;
            echo_put(e, SPAN(","));
            echo_break(e, level);
        } else if (c == ':') {
            r.at++;
            echo_put(e, SPAN(": "));
        } else {
            step(&r);
            struct span token = span_of(r.text.ptr + at, r.at - at);
            if (kind == JSON_NUMBER)
                echo_number(e, token);
            else
                echo_put(e, token);
        }
    } while (level > 0 && e->len < ECHO_MAX);
    e->text[e->len] = '\0';
    return e->text;
}

static const char *kind_name(enum json_kind kind)
{
    static const char *const names[] = {"",       "Null",   "False", "True",
                                        "Number", "String", "Array", "Object"};

    return names[kind];
}

/* "float" for DT_FLOAT. */
static const char *type_word(weir_type type, char buffer[16])
{
    const char *name = type_tf_name(type) + 3;
    size_t i = 0;

    for (; name[i] && i < 15; i++)
        buffer[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
    buffer[i] = '\0';
    return buffer;
}

static result type_error(const struct explain *x, struct json_reader r, weir_type type)
{
    struct echo e;
    char word[16];

    return diag_fail(x->diag, ERR_TYPE, "JSON Value: %s Type: %s is not of expected type: %s",
                     echo(r, &e), kind_name(json_peek(&r)), type_word(type, word));
}

/* ---- one tensor ---- */

/* Elements of the array at the place. */
static int64_t count(struct json_reader r)
{
    bool first = true, more = true;
    int64_t n = 0;

    json_enter(&r);
    for (;; n++) {
        result found = json_element(&r, &first, &more);
        ASSERT(!failed(found));
        if (!more)
            return n;
        step(&r);
    }
}

struct shape {
    int rank;
    int64_t extents[JSON_DEPTH_MAX];
};

/* By the first elements alone; the others are then held against it. */
static struct shape shape_of(struct json_reader r)
{
    struct shape shape = {0};

    while (json_peek(&r) == JSON_ARRAY) {
        int64_t n = count(r);
        shape.extents[shape.rank++] = n;
        json_enter(&r);
        if (n == 0)
            break;
    }
    return shape;
}

/* {"b64": "..."}: its form, then its text. */
static result explain_base64(const struct explain *x, struct json_reader r)
{
    struct json_reader at = r;
    struct json_string name, value;
    bool first = true, more;
    struct echo e;

    json_enter(&r);
    TRY(json_member(&r, &first, &name, &more));
    bool good = more && json_string_is(&name, SPAN("b64")) && json_peek(&r) == JSON_STRING;
    if (good) {
        TRY(json_read_string(&r, &value));
        TRY(json_member(&r, &first, &name, &more));
        good = !more;
    }
    if (!good)
        return diag_fail(x->diag, ERR_TYPE,
                         "JSON Value: %s not formatted correctly for base64 data", echo(at, &e));
    CLEANUP(mem_cleanup) uint8_t *bytes = mem_alloc(value.len);
    struct span_mut out = {bytes, value.len};
    size_t len;
    if (!bytes)
        return diag_fail(x->diag, ERR_NO_MEMORY, "no memory for %zu bytes of base64", value.len);
    json_string_copy(&value, bytes);
    if (value.len && failed(base64_decode(span_view(out), out, true, &len)))
        return diag_fail(x->diag, ERR_TYPE, "Unable to base64 decode");
    return OK;
}

/* The reading of the second pass, of one number. */
static result read_element(struct json_reader r, weir_type type)
{
    uint64_t value;
    struct tensor_plan plan = {.type = type, .elements = 1, .bytes = type_size(type)};
    struct tensor_space space = {&value, NULL};
    struct json_sink sink = json_sink_of(&plan, &space, true);

    return json_tensor_fill(&r, 0, NULL, &sink, NULL);
}

static result explain_number(const struct explain *x, struct json_reader r, weir_type type)
{
    struct echo e;
    char word[16];

    if (!failed(read_element(r, type)))
        return OK;
    if (type.code != WEIR_FLOAT && type.code != WEIR_BFLOAT)
        return type_error(x, r, type);
    return diag_fail(x->diag, ERR_RANGE,
                     "Cannot convert JSON value: %s to %s without loss of precision.", echo(r, &e),
                     type_word(type, word));
}

static result explain_scalar(const struct explain *x, struct json_reader r, weir_type type)
{
    enum json_kind kind = json_peek(&r);
    bool strings = type.code == WEIR_STRING, bools = type.code == WEIR_BOOL;

    if (kind == JSON_OBJECT && strings)
        return explain_base64(x, r);
    if (kind == JSON_NUMBER && !strings && !bools)
        return explain_number(x, r, type);
    if ((kind == JSON_STRING && strings) || ((kind == JSON_TRUE || kind == JSON_FALSE) && bools))
        return OK;
    return type_error(x, r, type);
}

/* Recursion is bounded: the syntax check has let no more than JSON_DEPTH_MAX arrays in. */
static result explain_values(const struct explain *x, struct json_reader r, weir_type type,
                             const struct shape *shape, int level)
{
    struct echo e;
    bool first = true, more;

    if (json_peek(&r) != JSON_ARRAY) {
        if (level != shape->rank)
            return diag_fail(x->diag, ERR_SHAPE,
                             "JSON Value: %s found at incorrect level: %d in the JSON DOM. "
                             "Expected at level: %d",
                             echo(r, &e), level + 1, shape->rank);
        return explain_scalar(x, r, type);
    }
    if (level >= shape->rank)
        return diag_fail(x->diag, ERR_SHAPE,
                         "Encountered list at unexpected level: %d expected < %d", level,
                         shape->rank);
    int64_t n = count(r);
    if (n != shape->extents[level])
        return diag_fail(x->diag, ERR_SHAPE,
                         "Encountered list at unexpected size: %lld at level: %d expected size: "
                         "%lld",
                         (long long)n, level, (long long)shape->extents[level]);
    json_enter(&r);
    for (;;) {
        TRY(json_element(&r, &first, &more));
        if (!more)
            return OK;
        TRY(explain_values(x, r, type, shape, level + 1));
        step(&r);
    }
}

static result explain_tensor(const struct explain *x, struct json_reader r, int port,
                             struct shape *ret_shape)
{
    struct shape shape = shape_of(r);

    TRY(explain_values(x, r, x->ports[port].type, &shape, 0));
    if (ret_shape)
        *ret_shape = shape;
    return OK;
}

/* ---- instances ---- */

static int64_t shape_size(const struct shape *shape)
{
    int64_t size = 1;

    for (int i = 0; i < shape->rank; i++)
        size *= shape->extents[i];
    return size;
}

static const char *shape_text(const struct shape *shape, char *buffer, size_t size)
{
    return shape_format(shape->extents, MIN(shape->rank, WEIR_RANK_MAX), buffer, size);
}

/* One input of one instance, held against that of the first, which lies at `first_at`. */
static result explain_item(const struct explain *x, struct json_reader r, int port,
                           struct json_reader first_at)
{
    struct shape shape, first = shape_of(first_at);
    char expected[WEIR_RANK_MAX * 21 + 3], got[WEIR_RANK_MAX * 21 + 3];

    TRY(explain_tensor(x, r, port, &shape));
    if (shape_size(&shape) != shape_size(&first))
        return diag_fail(x->diag, ERR_SHAPE, "Expecting tensor size: %lld but got: %lld",
                         (long long)shape_size(&first), (long long)shape_size(&shape));
    if (shape.rank != first.rank ||
        memcmp(shape.extents, first.extents, (size_t)shape.rank * sizeof(first.extents[0])) != 0)
        return diag_fail(x->diag, ERR_SHAPE, "Expecting shape %s but got: %s",
                         shape_text(&first, expected, sizeof(expected)),
                         shape_text(&shape, got, sizeof(got)));
    return OK;
}

/* Steps to the member of that name, the first one; false when the object has none. */
static bool find(struct json_reader *object, struct span name)
{
    struct json_reader r = *object;
    struct json_string found;
    bool first = true, more;

    json_enter(&r);
    while (!failed(json_member(&r, &first, &found, &more)) && more) {
        json_peek(&r);
        if (json_string_is(&found, name)) {
            *object = r;
            return true;
        }
        step(&r);
    }
    return false;
}

static int port_of(const struct explain *x, const struct json_string *name)
{
    for (int i = 0; i < x->ports_len; i++)
        if (json_string_is(name, span_cstr(x->ports[i].name)))
            return i;
    return -1;
}

/* The port whose name comes next behind that of `last`; -1 asks for the first, and is the
 * answer behind the last. */
static int next_name(const struct explain *x, int last)
{
    int next = -1;

    for (int i = 0; i < x->ports_len; i++) {
        struct span name = span_cstr(x->ports[i].name);
        if (last >= 0 && span_cmp(name, span_cstr(x->ports[last].name)) <= 0)
            continue;
        if (next < 0 || span_cmp(name, span_cstr(x->ports[next].name)) < 0)
            next = i;
    }
    return next;
}

/* The names of all inputs in order, as upstream's set has them. */
static void join_names(const struct explain *x, char *buffer, size_t size)
{
    size_t used = 0;

    buffer[0] = '\0';
    for (int i = next_name(x, -1); i >= 0 && used < size; i = next_name(x, i))
        used +=
            (size_t)snprintf(buffer + used, size - used, "%s%s", used ? "," : "", x->ports[i].name);
}

static result explain_keys(const struct explain *x, struct json_reader object, int64_t item)
{
    struct json_reader r = object;
    struct json_string name;
    bool first = true, more;
    uint64_t seen = 0;
    int n = 0;
    char names[512];
    struct echo e;

    json_enter(&r);
    for (;; n++) {
        TRY(json_member(&r, &first, &name, &more));
        if (!more)
            break;
        step(&r);
        int port = port_of(x, &name);
        seen |= port >= 0 ? (uint64_t)1 << port : 0;
    }
    if (n == x->ports_len && __builtin_popcountll(seen) == n)
        return OK;
    join_names(x, names, sizeof(names));
    return diag_fail(x->diag, ERR_ARGUMENT,
                     "Failed to process element: %lld of 'instances' list. JSON object: %s keys "
                     "must be equal to: %s",
                     (long long)item, echo(object, &e), names);
}

/* An instance with its inputs by name. `first_object` is the one at the front. */
static result explain_object(const struct explain *x, struct json_reader object,
                             struct json_reader first_object, int64_t item)
{
    struct json_reader r = object;
    struct json_string name;
    bool first = true, more;

    json_enter(&r);
    for (;;) {
        TRY(json_member(&r, &first, &name, &more));
        if (!more)
            return explain_keys(x, object, item);
        json_peek(&r);
        int port = port_of(x, &name);
        struct json_reader other = first_object;
        result reason = OK;
        if (port < 0)
            reason = diag_fail(x->diag, ERR_ARGUMENT,
                               "JSON object: does not have named input: %.*s", SPAN_FMT(name.raw));
        else if (find(&other, span_cstr(x->ports[port].name)))
            reason = explain_item(x, r, port, other);
        if (failed(reason)) {
            diag_prefix(x->diag,
                        "Failed to process element: %lld key: %.*s of 'instances' list. Error: "
                        "INVALID_ARGUMENT",
                        (long long)item, SPAN_FMT(name.raw));
            return reason;
        }
        step(&r);
    }
}

static result explain_instance(const struct explain *x, struct json_reader r,
                               struct json_reader first, bool objects, int64_t item)
{
    bool object = json_peek(&r) == JSON_OBJECT && !tfs_is_bytes(r);

    if (objects && !object)
        return diag_fail(x->diag, ERR_TYPE,
                         "Expecting object but got list at item %lld of input list",
                         (long long)item);
    if (objects)
        return explain_object(x, r, first, item);
    if (object)
        return diag_fail(x->diag, ERR_TYPE,
                         "Expecting value/list but got object at item %lld of input list",
                         (long long)item);
    result reason = explain_item(x, r, 0, first);
    if (failed(reason))
        diag_prefix(x->diag,
                    "Failed to process element: %lld of 'instances' list. Error: "
                    "INVALID_ARGUMENT",
                    (long long)item);
    return reason;
}

/* Text that begins with the whole document. */
static result document_error(const struct explain *x, const char *what)
{
    struct echo e;

    return diag_fail(x->diag, ERR_ARGUMENT, "JSON Value: %s %s", echo(value_at(x, 0), &e), what);
}

static result explain_instances(const struct explain *x, struct json_reader r)
{
    bool begin = true, more;
    struct json_reader first;

    if (json_peek(&r) != JSON_ARRAY)
        return document_error(x, "Excepting 'instances' to be an list/array");
    if (count(r) == 0)
        return document_error(x, "No values in 'instances' array");
    json_enter(&r);
    json_peek(&r);
    first = r;
    bool objects = json_peek(&first) == JSON_OBJECT && !tfs_is_bytes(first);
    if (!objects && x->ports_len > 1)
        return diag_fail(x->diag, ERR_ARGUMENT,
                         "instances is a plain list, but expecting list of objects as multiple "
                         "input tensors required as per tensorinfo_map");
    for (int64_t item = 0;; item++) {
        TRY(json_element(&r, &begin, &more));
        if (!more)
            return OK;
        json_peek(&r);
        TRY(explain_instance(x, r, first, objects, item));
        step(&r);
    }
}

static result explain_inputs(const struct explain *x, struct json_reader r)
{
    if (json_peek(&r) != JSON_OBJECT || tfs_is_bytes(r)) {
        if (x->ports_len > 1)
            return diag_fail(x->diag, ERR_ARGUMENT,
                             "inputs is a plain value/list, but expecting an object as multiple "
                             "input tensors required as per tensorinfo_map");
        return explain_tensor(x, r, 0, NULL);
    }
    for (int i = 0; i < x->ports_len; i++) {
        struct json_reader item = r;
        if (!find(&item, span_cstr(x->ports[i].name)))
            return diag_fail(x->diag, ERR_ARGUMENT, "Missing named input: %s in 'inputs' object.",
                             x->ports[i].name);
        TRY(explain_tensor(x, item, i, NULL));
    }
    return OK;
}

/* ---- the document ---- */

static result explain_syntax(const struct explain *x)
{
    struct json_reader r = json_reader_of(x->body, TFS_DIALECT);

    if (!x->body.len)
        return diag_fail(x->diag, ERR_SYNTAX, "JSON Parse error: The document is empty");
    json_peek(&r);
    result parsed =
        r.at == x->body.len ? json_fault(&r, JSON_FAULT_EMPTY, r.at) : json_skip_value(&r);
    if (failed(parsed))
        return diag_fail(x->diag, ERR_SYNTAX, "JSON Parse error: %s at offset: %zu",
                         json_fault_rapidjson(r.fault), r.fault_at);
    return OK;
}

static result explain_signature(const struct explain *x, struct json_reader document)
{
    struct json_reader r = document;
    struct json_string name;
    char quote[128];

    if (!find(&r, SPAN("signature_name")))
        return OK;
    if (json_peek(&r) != JSON_STRING)
        return document_error(x, "not formatted correctly. 'signature_name' key must be a string "
                                 "value.");
    TRY(json_read_string(&r, &name));
    if (!name.len || json_string_is(&name, SPAN(TFS_SIGNATURE)))
        return OK;
    return diag_fail(x->diag, ERR_ARGUMENT,
                     "Serving signature name: \"%s\" not found in signature def",
                     diag_quote(name.raw, quote, sizeof(quote)));
}

static result explain_all(const struct explain *x)
{
    struct json_reader document = value_at(x, 0);

    TRY(explain_syntax(x));
    if (json_peek(&document) != JSON_OBJECT)
        return document_error(x, "Is not object");
    TRY(explain_signature(x, document));
    struct json_reader instances = document, inputs = document;
    bool rows = find(&instances, SPAN("instances")), columns = find(&inputs, SPAN("inputs"));
    if (rows && columns)
        return document_error(x, "Not formatted correctly expecting only one of 'inputs' or "
                                 "'instances' keys to exist ");
    if (rows)
        return explain_instances(x, instances);
    if (columns)
        return explain_inputs(x, inputs);
    return diag_fail(x->diag, ERR_ARGUMENT, "Missing 'inputs' or 'instances' key");
}

result tfs_explain(struct span body, const struct weir_port *ports, int ports_len, result failure,
                   struct diag *diag)
{
    struct explain x = {body, ports, ports_len, diag};

    if (is(failure, ERR_NO_MEMORY))
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the inputs of a request");
    TRY(explain_all(&x));
    if (is(failure, ERR_SHAPE))
        return diag_fail(diag, ERR_SHAPE, "expected tensors of at most %d dimensions, got more",
                         WEIR_RANK_MAX);
    return diag_fail(diag, (enum err)failure.code, "%s", err_text((enum err)failure.code));
}
