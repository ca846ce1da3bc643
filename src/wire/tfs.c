#include "wire/tfs.h"

#include "base/number.h"
#include "wire/json_tensor.h"

/* ---- paths ---- */

/* Takes a prefix off, in any case. */
static bool cut(struct span *rest, struct span prefix)
{
    if (!span_eq_nocase(span_first(*rest, prefix.len), prefix))
        return false;
    *rest = span_from(*rest, prefix.len);
    return true;
}

/* Takes one or more bytes up to a '/' or ':'. */
static bool cut_segment(struct span *rest, struct span *ret_segment)
{
    size_t len = 0;

    while (len < rest->len && rest->ptr[len] != '/' && rest->ptr[len] != ':')
        len++;
    if (!len)
        return false;
    *ret_segment = span_first(*rest, len);
    *rest = span_from(*rest, len);
    return true;
}

struct path {
    struct span model, version, label, verb;
};

/* An optional "/versions/N" or "/labels/L". */
static void cut_version(struct span *rest, struct path *path)
{
    struct span behind = *rest;

    if (cut(&behind, SPAN("/versions/"))) {
        size_t len = 0;
        while (len < behind.len && (uint8_t)(behind.ptr[len] - '0') < 10)
            len++;
        if (!len)
            return;
        path->version = span_first(behind, len);
        *rest = span_from(behind, len);
    } else if (cut(&behind, SPAN("/labels/")) && cut_segment(&behind, &path->label)) {
        *rest = behind;
    }
}

static bool match_post(struct span rest, struct path *path)
{
    if (!cut(&rest, SPAN("/v1/models/")) || !cut_segment(&rest, &path->model))
        return false;
    cut_version(&rest, path);
    path->verb = rest;
    return true;
}

/* From behind "/v1/models" and a name, if there was one. */
static bool match_get_tail(struct span rest, struct path *path)
{
    cut_version(&rest, path);
    if (cut(&rest, SPAN("/metadata")))
        path->verb = SPAN("metadata");
    return rest.len == 0;
}

static bool match_get(struct span rest, struct path *path)
{
    struct path named = {0};

    if (!cut(&rest, SPAN("/v1/models")))
        return false;
    struct span behind = rest;
    if (cut(&behind, SPAN("/")) && cut_segment(&behind, &named.model) &&
        match_get_tail(behind, &named)) {
        *path = named;
        return true;
    }
    return match_get_tail(rest, path);
}

static int hex_value(uint8_t c)
{
    uint8_t letter = c | 0x20;

    if (c >= '0' && c <= '9')
        return c - '0';
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* As libcurl does: a '%' without two hex digits stands for itself. */
static result decode(struct span s, struct arena *arena, struct span *ret_text)
{
    uint8_t *out = arena_alloc(arena, s.len + 1);
    size_t n = 0;

    if (!out)
        return fail(ERR_NO_MEMORY);
    for (size_t i = 0; i < s.len; i++) {
        int high = i + 2 < s.len && s.ptr[i] == '%' ? hex_value(s.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex_value(s.ptr[i + 2]) : -1;
        if (low >= 0) {
            out[n++] = (uint8_t)(high * 16 + low);
            i += 2;
        } else {
            out[n++] = s.ptr[i];
        }
    }
    out[n] = '\0';
    *ret_text = span_of(out, n);
    return OK;
}

static bool verb_kind(bool post, struct span verb, enum tfs_kind *ret_kind)
{
    static const struct {
        struct span name;
        enum tfs_kind kind;
    } verbs[] = {
        {SPAN_INIT(":classify"), TFS_CLASSIFY},
        {SPAN_INIT(":regress"), TFS_REGRESS},
        {SPAN_INIT(":predict"), TFS_PREDICT},
    };

    if (!post) {
        *ret_kind = verb.len ? TFS_METADATA : TFS_STATUS;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (span_eq_nocase(verb, verbs[i].name)) {
            *ret_kind = verbs[i].kind;
            return true;
        }
    return false;
}

bool tfs_claims(struct span path)
{
    return cut(&path, SPAN("/v1/"));
}

result tfs_route(struct span method, struct span path, struct arena *arena,
                 struct tfs_route *ret_route, struct diag *diag)
{
    struct path found = {0};
    struct tfs_route route = {.version = -1};
    bool post = span_is(method, "POST");
    bool matched =
        post ? match_post(path, &found) : span_is(method, "GET") && match_get(path, &found);

    if (!matched || !verb_kind(post, found.verb, &route.kind))
        return diag_fail(diag, ERR_ARGUMENT, "Malformed request: %.*s %.*s", SPAN_FMT(method),
                         SPAN_FMT(path));
    TRY(decode(found.model, arena, &route.model));
    if (found.version.len && failed(number_parse_i64(found.version, &route.version)))
        return diag_fail(diag, ERR_ARGUMENT, "Failed to convert version: %.*s to numeric.",
                         SPAN_FMT(found.version));
    TRY(decode(found.label, arena, &route.label));
    if (!route.model.len)
        return diag_fail(diag, ERR_ARGUMENT, "Missing model name in request.");
    *ret_route = route;
    return OK;
}

/* ---- predict answers ---- */

/* Row `i` of a batch, as a tensor of its own; `shape` is that of the whole. */
static struct weir_tensor row_of(const struct weir_tensor *tensor, int64_t i)
{
    struct weir_tensor row = *tensor;
    uint64_t elements = 1;

    row.rank--;
    row.shape++;
    for (int d = 0; d < row.rank; d++)
        elements *= (uint64_t)row.shape[d];
    if (row.offsets)
        row.offsets += elements * (uint64_t)i;
    else
        row.data = (uint8_t *)tensor->data + elements * (uint64_t)i * type_size(tensor->type);
    return row;
}

static struct json_style style_of(const struct weir_port *port, enum json_layout layout, int level)
{
    bool bytes = port->type.code == WEIR_STRING && span_ends(span_cstr(port->name), SPAN("_bytes"));

    return (struct json_style){.layout = layout, .level = level, .b64 = bytes, .nonfinite = true};
}

static result check_rows(const struct weir_port *ports, const struct weir_tensor *outputs, int n,
                         int64_t *ret_rows, struct diag *diag)
{
    int64_t rows = 0;

    for (int i = 0; i < n; i++) {
        if (outputs[i].rank == 0)
            return diag_fail(diag, ERR_SHAPE, "Tensor name: %s has no shape information ",
                             ports[i].name);
        int64_t now = outputs[i].shape[0];
        if (now < 1)
            return diag_fail(diag, ERR_SHAPE, "Tensor name: %s has invalid batch size: %lld",
                             ports[i].name, (long long)now);
        if (rows != 0 && rows != now)
            return diag_fail(diag, ERR_SHAPE,
                             "Tensor name: %s has inconsistent batch size: %lld expecting: %lld",
                             ports[i].name, (long long)now, (long long)rows);
        rows = now;
    }
    *ret_rows = rows;
    return OK;
}

static void append_name(struct text *text, const char *name, int level)
{
    text_byte(text, '\n');
    for (int i = 0; i < level; i++)
        text_append(text, SPAN("    "));
    json_append_string(text, span_cstr(name));
    text_str(text, ": ");
}

/* Behind "[": all rows, each an object. */
static result answer_objects(struct text *text, const struct weir_port *ports,
                             const struct weir_tensor *outputs, int n, int64_t rows,
                             struct diag *diag)
{
    for (int64_t i = 0; i < rows; i++) {
        text_str(text, i ? ",\n        {" : "\n        {");
        for (int j = 0; j < n; j++) {
            struct weir_tensor row = row_of(&outputs[j], i);
            struct json_style style = style_of(&ports[j], JSON_LINE, 3);
            if (j > 0)
                text_byte(text, ',');
            append_name(text, ports[j].name, 3);
            TRY(json_tensor_write(text, &row, &style, diag));
        }
        text_str(text, "\n        }");
    }
    return OK;
}

/* The layout is rapidjson's: its option for arrays on one line is on while the values of
 * a row are written, and off when the list of rows ends. */
static result answer_rows(struct text *text, const struct weir_port *ports,
                          const struct weir_tensor *outputs, int n, struct diag *diag)
{
    int64_t rows = 0;

    TRY(check_rows(ports, outputs, n, &rows, diag));
    text_str(text, "{\n    \"predictions\": [");
    if (n > 1) {
        TRY(answer_objects(text, ports, outputs, n, rows, diag));
    } else {
        struct json_style style = style_of(&ports[0], JSON_LINE, 1);
        style.bare = true;
        TRY(json_tensor_write(text, &outputs[0], &style, diag));
    }
    text_str(text, "\n    ]\n}");
    return OK;
}

static result answer_columns(struct text *text, const struct weir_port *ports,
                             const struct weir_tensor *outputs, int n, struct diag *diag)
{
    text_str(text, "{\n    \"outputs\": ");
    if (n > 1)
        text_byte(text, '{');
    for (int i = 0; i < n; i++) {
        struct json_style style = style_of(&ports[i], JSON_PRETTY, n > 1 ? 2 : 1);
        if (i > 0)
            text_byte(text, ',');
        if (n > 1)
            append_name(text, ports[i].name, 2);
        TRY(json_tensor_write(text, &outputs[i], &style, diag));
    }
    text_str(text, n > 1 ? "\n    }\n}" : "\n}");
    return OK;
}

result tfs_predict_answer(struct text *text, bool rows, const struct weir_port *ports,
                          const struct weir_tensor *outputs, int outputs_len, struct diag *diag)
{
    if (outputs_len < 1)
        return diag_fail(diag, ERR_ARGUMENT, "Cannot convert empty tensor map to JSON");
    return rows ? answer_rows(text, ports, outputs, outputs_len, diag)
                : answer_columns(text, ports, outputs, outputs_len, diag);
}

/* ---- other answers ---- */

void tfs_error(struct text *text, struct span message)
{
    text_str(text, "{\n    \"error\": ");
    json_append_string(text, message);
    text_str(text, "\n}");
}

static const char *state_name(int state)
{
    static const char *const names[] = {"UNKNOWN",   "START",     "LOADING",
                                        "AVAILABLE", "UNLOADING", "END"};

    return state % 10 == 0 && state >= 0 && state <= 50 ? names[state / 10] : "UNKNOWN";
}

/* tensorflow.error.Code: the canonical codes by their names. */
static const char *code_name(enum grpc_status status)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };

    return names[status];
}

void tfs_status(struct text *text, const struct tfs_version *versions, size_t n)
{
    text_str(text, "{\n \"model_version_status\": [");
    for (size_t i = 0; i < n; i++) {
        const struct tfs_version *v = &versions[i];
        text_printf(text,
                    "%s\n  {\n   \"version\": \"%lld\",\n   \"state\": \"%s\",\n"
                    "   \"status\": {\n    \"error_code\": \"%s\",\n    \"error_message\": ",
                    i ? "," : "", (long long)v->version, state_name(v->state),
                    code_name(err_grpc(v->error)));
        json_append_string(text, span_cstr(v->error_text));
        text_str(text, "\n   }\n  }");
    }
    text_str(text, n ? "\n ]\n}\n" : "]\n}\n");
}

/* The dimensions of a TensorShapeProto, at its place in the metadata. */
static void metadata_shape(struct text *text, const struct weir_port *port)
{
    text_str(text, "     \"tensor_shape\": {\n      \"dim\": [");
    for (int d = 0; d < port->rank; d++)
        text_printf(text,
                    "%s\n       {\n        \"size\": \"%lld\",\n        \"name\": \"\"\n       }",
                    d ? "," : "", (long long)port->shape[d]);
    text_printf(text, "%s],\n      \"unknown_rank\": %s\n     },\n",
                port->rank > 0 ? "\n      " : "", port->rank < 0 ? "true" : "false");
}

static void metadata_ports(struct text *text, const char *which, const struct weir_port *ports,
                           int n)
{
    text_printf(text, "   \"%s\": {", which);
    for (int i = 0; i < n; i++) {
        struct span name = span_cstr(ports[i].name);
        text_str(text, i ? ",\n    " : "\n    ");
        json_append_string(text, name);
        text_printf(text, ": {\n     \"dtype\": \"%s\",\n", type_tf_name(ports[i].type));
        metadata_shape(text, &ports[i]);
        text_str(text, "     \"name\": ");
        json_append_string(text, name);
        text_str(text, "\n    }");
    }
    text_str(text, n > 0 ? "\n   },\n" : "},\n");
}

void tfs_metadata(struct text *text, struct span model, int64_t version,
                  const struct weir_port *inputs, int inputs_len, const struct weir_port *outputs,
                  int outputs_len)
{
    text_str(text, "{\n\"model_spec\":{\n \"name\": ");
    json_append_string(text, model);
    text_printf(text,
                ",\n \"signature_name\": \"\",\n \"version\": \"%lld\"\n}\n,\n\"metadata\": "
                "{\"signature_def\": {\n \"signature_def\": {\n  \"" TFS_SIGNATURE "\": {\n",
                (long long)version);
    metadata_ports(text, "inputs", inputs, inputs_len);
    metadata_ports(text, "outputs", outputs, outputs_len);
    text_str(text, "   \"method_name\": \"tensorflow/serving/predict\",\n   \"defaults\": {}\n"
                   "  }\n }\n}\n}\n}\n");
}
