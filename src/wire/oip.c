#include "wire/oip.h"

#include "base/number.h"
#include "wire/json_tensor.h"

static void append_i64(struct text *text, int64_t value)
{
    char digits[NUMBER_I64_MAX];
    text_append(text, span_of(digits, number_print_i64(value, digits)));
}

static void append_shape(struct text *text, const int64_t *shape, int rank)
{
    text_byte(text, '[');
    for (int i = 0; i < rank; i++) {
        if (i)
            text_byte(text, ',');
        append_i64(text, shape[i]);
    }
    text_byte(text, ']');
}

/* The members that tensors and their metadata share, from behind '{'. */
static void append_tensor(struct text *text, const char *name, weir_type type, const int64_t *shape,
                          int rank)
{
    text_str(text, "{\"name\":");
    json_append_string(text, span_cstr(name));
    text_str(text, ",\"datatype\":\"");
    text_str(text, type_oip_name(type));
    text_str(text, "\",\"shape\":");
    append_shape(text, shape, rank);
}

static result append_output(struct text *text, const struct weir_port *port,
                            const struct weir_tensor *tensor, struct diag *diag)
{
    static const struct json_style flat = {.layout = JSON_COMPACT, .level = 3, .flat = true};

    append_tensor(text, port->name, tensor->type, tensor->shape, tensor->rank);
    text_str(text, ",\"data\":");
    result r = json_tensor_write(text, tensor, &flat, diag);
    if (failed(r)) {
        diag_prefix(diag, "output '%s'", port->name);
        return r;
    }
    text_byte(text, '}');
    return OK;
}

result oip_infer_answer(struct text *text, const struct oip_answer *answer, struct diag *diag)
{
    bool first = true;

    text_str(text, "{\"model_name\":");
    json_append_string(text, answer->model);
    if (answer->version >= 0) {
        text_str(text, ",\"model_version\":\"");
        append_i64(text, answer->version);
        text_byte(text, '"');
    }
    if (answer->has_id) {
        text_str(text, ",\"id\":");
        json_append_string(text, answer->id);
    }
    text_str(text, ",\"outputs\":[");
    for (int i = 0; i < answer->outputs_len; i++) {
        if (!answer->outputs[i].data ||
            (answer->outputs_wanted && !(answer->outputs_wanted >> i & 1)))
            continue;
        if (!first)
            text_byte(text, ',');
        first = false;
        TRY(append_output(text, &answer->ports[i], &answer->outputs[i], diag));
    }
    text_str(text, "]}");
    return OK;
}

void oip_error(struct text *text, struct span message)
{
    text_str(text, "{\"error\":");
    json_append_string(text, message);
    text_byte(text, '}');
}

void oip_server(struct text *text, const char *version)
{
    text_str(text, "{\"name\":\"weir\",\"version\":");
    json_append_string(text, span_cstr(version));
    text_str(text, ",\"extensions\":[]}");
}

static void append_ports(struct text *text, const char *which, const struct weir_port *ports, int n)
{
    static const int64_t any = -1;

    text_printf(text, ",\"%s\":[", which);
    for (int i = 0; i < n; i++) {
        bool known = ports[i].rank >= 0;
        if (i > 0)
            text_byte(text, ',');
        /* The protocol has no word for an unknown rank. */
        append_tensor(text, ports[i].name, ports[i].type, known ? ports[i].shape : &any,
                      known ? ports[i].rank : 1);
        text_byte(text, '}');
    }
    text_byte(text, ']');
}

void oip_model(struct text *text, struct span name, const int64_t *versions, size_t versions_len,
               const char *platform, const struct oip_ports *ports)
{
    text_str(text, "{\"name\":");
    json_append_string(text, name);
    text_str(text, ",\"versions\":[");
    for (size_t i = 0; i < versions_len; i++)
        text_printf(text, i ? ",\"%lld\"" : "\"%lld\"", (long long)versions[i]);
    text_str(text, "],\"platform\":");
    json_append_string(text, span_cstr(platform));
    append_ports(text, "inputs", ports->inputs, ports->inputs_len);
    append_ports(text, "outputs", ports->outputs, ports->outputs_len);
    text_byte(text, '}');
}
