#include "wire/json_tensor.h"
#include "wire/oip.h"

#include "base/number.h"

/* One element of `inputs`, as far as it has been read. */
struct oip_input {
    struct json_string name;
    bool has_name, has_type, has_shape, has_data;
    weir_type type;
    int rank;
    int64_t shape[WEIR_RANK_MAX];
    struct json_tensor data;
};

struct scan {
    struct json_reader r;
    const struct oip_ports *ports;
    struct oip_infer *infer;
    struct diag *diag;
    uint64_t seen; /* inputs of the model that have come */
};

#define NAME_QUOTE 96

static const char *quoted(const struct json_string *name, char buffer[NAME_QUOTE])
{
    return diag_quote(name->raw, buffer, NAME_QUOTE);
}

/* A member of another kind than the protocol has it, or a fault of the grammar there. */
static result wrong_kind(struct scan *s, const char *member, const char *expected)
{
    size_t at = s->r.at;
    int line, column;

    TRY(json_skip_value(&s->r));
    json_place(s->r.text, at, &line, &column);
    return diag_fail_at(s->diag, ERR_TYPE, NULL, line, column, "expected %s for '%s'", expected,
                        member);
}

static result read_text(struct scan *s, const char *member, struct json_string *ret_text)
{
    if (json_peek(&s->r) != JSON_STRING)
        return wrong_kind(s, member, "a string");
    return json_read_string(&s->r, ret_text);
}

static result read_type(struct scan *s, struct oip_input *input)
{
    struct json_string text = {0};
    char quote[NAME_QUOTE];

    TRY(read_text(s, "datatype", &text));
    if (failed(type_of_oip_name(text.raw, &input->type)))
        return diag_fail(s->diag, ERR_TYPE, "expected a datatype of the protocol, got '%s'",
                         quoted(&text, quote));
    input->has_type = true;
    return OK;
}

static result read_shape(struct scan *s, struct oip_input *input)
{
    bool first = true, more;
    int64_t shape[WEIR_RANK_MAX];
    int rank = 0;

    if (json_peek(&s->r) != JSON_ARRAY)
        return wrong_kind(s, "shape", "an array of extents");
    json_enter(&s->r);
    for (;; rank++) {
        bool negative;
        uint64_t extent;
        size_t used;
        TRY(json_element(&s->r, &first, &more));
        if (!more)
            break;
        if (rank == WEIR_RANK_MAX)
            return diag_fail(s->diag, ERR_SHAPE, "expected at most %d extents in 'shape', got more",
                             WEIR_RANK_MAX);
        if (json_peek(&s->r) != JSON_NUMBER)
            return wrong_kind(s, "shape", "integers from 0 on");
        result r = number_read_integer(span_from(s->r.text, s->r.at), &used, &negative, &extent);
        if (failed(r) || negative || extent > INT64_MAX)
            return wrong_kind(s, "shape", "integers from 0 to 2^63 - 1");
        s->r.at += used;
        shape[rank] = (int64_t)extent;
    }
    memcpy(input->shape, shape, sizeof(shape[0]) * (size_t)rank);
    input->rank = rank;
    input->has_shape = true;
    return OK;
}

static result read_data(struct scan *s, struct oip_input *input)
{
    if (json_peek(&s->r) != JSON_ARRAY)
        return wrong_kind(s, "data", "an array");
    TRY(json_tensor_scan(&s->r, &input->data, s->diag));
    input->has_data = true;
    return OK;
}

static result read_member(struct scan *s, const struct json_string *name, struct oip_input *input)
{
    if (!input->has_name && json_string_is(name, SPAN("name"))) {
        TRY(read_text(s, "name", &input->name));
        input->has_name = true;
        return OK;
    }
    if (!input->has_type && json_string_is(name, SPAN("datatype")))
        return read_type(s, input);
    if (!input->has_shape && json_string_is(name, SPAN("shape")))
        return read_shape(s, input);
    if (!input->has_data && json_string_is(name, SPAN("data")))
        return read_data(s, input);
    return json_skip_value(&s->r);
}

/* ---- an input against the model ---- */

static result require(struct scan *s, bool there, const char *member)
{
    return there ? OK : diag_fail(s->diag, ERR_ARGUMENT, "expected '%s', got none", member);
}

/* Nested as the shape says, or flat with as many elements. */
static result check_extents(struct scan *s, const struct oip_input *input, uint64_t elements)
{
    const struct json_tensor *data = &input->data;
    char expected[WEIR_RANK_MAX * 21 + 3], got[WEIR_RANK_MAX * 21 + 3];

    shape_format(input->shape, input->rank, expected, sizeof(expected));
    if (data->elements != elements)
        return diag_fail(s->diag, ERR_SHAPE, "shape %s: expected %llu elements in 'data', got %llu",
                         expected, (unsigned long long)elements,
                         (unsigned long long)data->elements);
    if (data->rank == 1 || elements == 0 ||
        (data->rank == input->rank &&
         memcmp(data->shape, input->shape, sizeof(data->shape[0]) * (size_t)data->rank) == 0))
        return OK;
    return diag_fail(s->diag, ERR_SHAPE, "expected 'data' flat or nested as shape %s, got %s",
                     expected, shape_format(data->shape, data->rank, got, sizeof(got)));
}

static result check_input(struct scan *s, const struct oip_input *input,
                          const struct weir_port *port, struct tensor_plan *plan)
{
    char expected[WEIR_RANK_MAX * 21 + 3], got[WEIR_RANK_MAX * 21 + 3];
    uint64_t elements;

    TRY(require(s, input->has_type, "datatype"));
    TRY(require(s, input->has_shape, "shape"));
    TRY(require(s, input->has_data, "data"));
    if (!type_eq(input->type, port->type))
        return diag_fail(s->diag, ERR_TYPE, "expected datatype %s, got %s",
                         type_oip_name(port->type), type_oip_name(input->type));
    if (!shape_fits(port, input->shape, input->rank))
        return diag_fail(s->diag, ERR_SHAPE, "expected shape %s, got %s",
                         shape_format(port->shape, port->rank, expected, sizeof(expected)),
                         shape_format(input->shape, input->rank, got, sizeof(got)));
    if (failed(shape_elements(input->shape, input->rank, INT64_MAX, &elements)))
        return diag_fail(s->diag, ERR_TOO_LARGE, "shape %s: expected at most 2^63 - 1 elements",
                         shape_format(input->shape, input->rank, got, sizeof(got)));
    TRY(check_extents(s, input, elements));
    TRY(json_tensor_type(&input->data, port->type, s->diag));
    plan->type = port->type;
    plan->rank = input->rank;
    memcpy(plan->shape, input->shape, sizeof(plan->shape));
    plan->elements = elements;
    return json_tensor_bytes(&input->data, port->type, &plan->bytes);
}

static int port_of(const struct weir_port *ports, int n, const struct json_string *name)
{
    for (int i = 0; i < n; i++)
        if (json_string_is(name, span_cstr(ports[i].name)))
            return i;
    return -1;
}

static result place_input(struct scan *s, const struct oip_input *input)
{
    char quote[NAME_QUOTE];

    if (!input->has_name)
        return diag_fail(s->diag, ERR_ARGUMENT, "expected 'name' in 'inputs', got none");
    int port = port_of(s->ports->inputs, s->ports->inputs_len, &input->name);
    if (port < 0)
        return diag_fail(s->diag, ERR_ARGUMENT, "expected inputs of the model, got '%s'",
                         quoted(&input->name, quote));
    if (s->seen >> port & 1)
        return diag_fail(s->diag, ERR_ARGUMENT, "expected input '%s' once, got it twice",
                         s->ports->inputs[port].name);
    s->seen |= (uint64_t)1 << port;
    result r = check_input(s, input, &s->ports->inputs[port], &s->infer->inputs[port]);
    if (failed(r))
        diag_prefix(s->diag, "input '%s'", s->ports->inputs[port].name);
    else
        s->infer->found[port] = *input;
    return r;
}

/* ---- the request ---- */

static result read_input(struct scan *s)
{
    struct oip_input input = {0};
    struct json_string name;
    bool first = true, more;

    if (json_peek(&s->r) != JSON_OBJECT)
        return wrong_kind(s, "inputs", "objects");
    json_enter(&s->r);
    for (;;) {
        TRY(json_member(&s->r, &first, &name, &more));
        if (!more)
            return place_input(s, &input);
        result r = read_member(s, &name, &input);
        if (failed(r) && input.has_name && !is(r, ERR_SYNTAX)) {
            char quote[NAME_QUOTE];
            diag_prefix(s->diag, "input '%s'", quoted(&input.name, quote));
        }
        TRY(r);
    }
}

static result read_inputs(struct scan *s)
{
    bool first = true, more;

    if (json_peek(&s->r) != JSON_ARRAY)
        return wrong_kind(s, "inputs", "an array");
    json_enter(&s->r);
    for (;;) {
        TRY(json_element(&s->r, &first, &more));
        if (!more)
            return OK;
        TRY(read_input(s));
    }
}

static result read_output(struct scan *s)
{
    struct json_string member, name = {0};
    bool first = true, more, named = false;
    char quote[NAME_QUOTE];

    if (json_peek(&s->r) != JSON_OBJECT)
        return wrong_kind(s, "outputs", "objects");
    json_enter(&s->r);
    for (;;) {
        TRY(json_member(&s->r, &first, &member, &more));
        if (!more)
            break;
        if (!named && json_string_is(&member, SPAN("name"))) {
            TRY(read_text(s, "name", &name));
            named = true;
        } else {
            TRY(json_skip_value(&s->r));
        }
    }
    if (!named)
        return diag_fail(s->diag, ERR_ARGUMENT, "expected 'name' in 'outputs', got none");
    int port = port_of(s->ports->outputs, s->ports->outputs_len, &name);
    if (port < 0)
        return diag_fail(s->diag, ERR_ARGUMENT, "expected outputs of the model, got '%s'",
                         quoted(&name, quote));
    s->infer->outputs_wanted |= (uint64_t)1 << port;
    return OK;
}

static result read_outputs(struct scan *s)
{
    bool first = true, more;

    if (json_peek(&s->r) != JSON_ARRAY)
        return wrong_kind(s, "outputs", "an array");
    json_enter(&s->r);
    for (;;) {
        TRY(json_element(&s->r, &first, &more));
        if (!more)
            return OK;
        TRY(read_output(s));
    }
}

static result read_id(struct scan *s, struct arena *arena)
{
    struct json_string id;

    TRY(read_text(s, "id", &id));
    if (failed(json_string_take(&id, arena, &s->infer->id)))
        return diag_fail(s->diag, ERR_NO_MEMORY, "no memory for 'id'");
    s->infer->has_id = true;
    return OK;
}

static result read_request(struct scan *s, struct arena *arena)
{
    struct json_string name;
    bool first = true, more, inputs = false, outputs = false;

    if (json_peek(&s->r) != JSON_OBJECT) {
        TRY(json_skip_value(&s->r));
        return diag_fail(s->diag, ERR_TYPE, "expected an object as the request");
    }
    json_enter(&s->r);
    for (;;) {
        TRY(json_member(&s->r, &first, &name, &more));
        if (!more)
            break;
        if (!inputs && json_string_is(&name, SPAN("inputs"))) {
            inputs = true;
            TRY(read_inputs(s));
        } else if (!outputs && json_string_is(&name, SPAN("outputs"))) {
            outputs = true;
            TRY(read_outputs(s));
        } else if (!s->infer->has_id && json_string_is(&name, SPAN("id"))) {
            TRY(read_id(s, arena));
        } else {
            TRY(json_skip_value(&s->r));
        }
    }
    TRY(json_end(&s->r));
    for (int i = 0; i < s->ports->inputs_len; i++)
        if (!(s->seen >> i & 1))
            return diag_fail(s->diag, ERR_ARGUMENT, "expected input '%s', got none",
                             s->ports->inputs[i].name);
    return OK;
}

result oip_infer_scan(struct span body, const struct oip_ports *ports, struct arena *arena,
                      struct oip_infer *ret_infer, struct diag *diag)
{
    struct oip_infer infer = {.body = body, .inputs_len = ports->inputs_len};
    struct scan s = {.r = json_reader_of(body, 0), .ports = ports, .infer = &infer, .diag = diag};

    if (ports->inputs_len > OIP_PORTS_MAX || ports->outputs_len > OIP_PORTS_MAX)
        return diag_fail(diag, ERR_UNSUPPORTED,
                         "expected a model with at most %d inputs and outputs", OIP_PORTS_MAX);
    infer.inputs =
        arena_zalloc(arena, MAX((size_t)ports->inputs_len, (size_t)1), sizeof(*infer.inputs));
    infer.found =
        arena_zalloc(arena, MAX((size_t)ports->inputs_len, (size_t)1), sizeof(*infer.found));
    if (!infer.inputs || !infer.found)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the plan of a request");
    result r = read_request(&s, arena);
    if (is(r, ERR_SYNTAX) && s.r.fault)
        return json_report(&s.r, diag);
    TRY(r);
    *ret_infer = infer;
    return OK;
}

static result fill_input(const struct oip_infer *infer, int i, const struct tensor_space *space,
                         struct diag *diag)
{
    const struct tensor_plan *plan = &infer->inputs[i];
    const struct json_tensor *data = &infer->found[i].data;
    struct json_reader r = json_reader_of(infer->body, 0);
    struct json_sink sink = json_sink_of(plan, space, false);

    r.at = data->at;
    result filled = json_tensor_fill(&r, data->rank, data->shape, &sink, diag);
    if (is(filled, ERR_SYNTAX) && r.fault)
        return json_report(&r, diag);
    return filled;
}

result oip_infer_fill(const struct oip_infer *infer, const struct weir_port *inputs,
                      const struct tensor_space *spaces, struct diag *diag)
{
    for (int i = 0; i < infer->inputs_len; i++) {
        result r = fill_input(infer, i, &spaces[i], diag);
        if (failed(r)) {
            diag_prefix(diag, "input '%s'", inputs[i].name);
            return r;
        }
    }
    return OK;
}
