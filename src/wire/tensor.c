#include "wire/tensor.h"

#include <stdio.h>

struct type_name {
    const char *oip, *tf;
    weir_type type;
};

static const struct type_name type_names[] = {
#define X(oip, tf, code, bits) {oip, tf, {code, bits, 1}},
    TENSOR_TYPES(X)
#undef X
};

static const struct type_name *type_find(weir_type type)
{
    for (size_t i = 0; i < ARRAY_LEN(type_names); i++)
        if (type_eq(type_names[i].type, type))
            return &type_names[i];
    return NULL;
}

const char *type_oip_name(weir_type type)
{
    const struct type_name *name = type_find(type);
    return name ? name->oip : "UNKNOWN";
}

const char *type_tf_name(weir_type type)
{
    const struct type_name *name = type_find(type);
    return name ? name->tf : "UNKNOWN";
}

result type_of_oip_name(struct span name, weir_type *ret_type)
{
    for (size_t i = 0; i < ARRAY_LEN(type_names); i++)
        if (span_is(name, type_names[i].oip)) {
            *ret_type = type_names[i].type;
            return OK;
        }
    return fail(ERR_NOT_FOUND);
}

size_t type_size(weir_type type)
{
    return type.code == WEIR_STRING ? 0 : type.bits / 8u;
}

result shape_elements(const int64_t *shape, int rank, uint64_t elements_max, uint64_t *ret_elements)
{
    uint64_t elements = 1;
    bool empty = false;

    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return fail(ERR_RANGE);
        empty |= shape[i] == 0;
    }
    for (int i = 0; i < rank && !empty; i++)
        if (__builtin_mul_overflow(elements, (uint64_t)shape[i], &elements) ||
            elements > elements_max)
            return fail(ERR_TOO_LARGE);
    if (!empty && elements > elements_max)
        return fail(ERR_TOO_LARGE);
    *ret_elements = empty ? 0 : elements;
    return OK;
}

bool shape_fits(const struct weir_port *port, const int64_t *shape, int rank)
{
    if (port->rank < 0)
        return true;
    if (port->rank != rank)
        return false;
    for (int i = 0; i < rank; i++)
        if (port->shape[i] >= 0 && port->shape[i] != shape[i])
            return false;
    return true;
}

const char *shape_format(const int64_t *shape, int rank, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "[");

    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%lld", i ? "," : "",
                                 (long long)shape[i]);
    if (used < size)
        snprintf(buffer + used, size - used, "]");
    return buffer;
}

struct weir_tensor tensor_of_plan(const struct tensor_plan *plan, const struct tensor_space *space)
{
    bool strings = plan->type.code == WEIR_STRING;

    return (struct weir_tensor){
        .size = sizeof(struct weir_tensor),
        .type = plan->type,
        .device_type = WEIR_CPU,
        .rank = plan->rank,
        .shape = plan->shape,
        .data = space->data,
        .bytes = strings ? space->offsets[plan->elements] : plan->bytes,
        .offsets = strings ? space->offsets : NULL,
    };
}

static result check_shape(const struct weir_port *port, const struct weir_tensor *tensor,
                          struct diag *diag)
{
    char expected[WEIR_RANK_MAX * 21 + 3], got[WEIR_RANK_MAX * 21 + 3];

    if (shape_fits(port, tensor->shape, tensor->rank))
        return OK;
    return diag_fail(diag, ERR_SHAPE, "input '%s': expected shape %s, got %s", port->name,
                     shape_format(port->shape, port->rank, expected, sizeof(expected)),
                     shape_format(tensor->shape, tensor->rank, got, sizeof(got)));
}

result tensor_check_inputs(const struct weir_port *ports, int ports_len,
                           const struct weir_tensor *tensors, bool batchable, int64_t *ret_rows,
                           struct diag *diag)
{
    int64_t rows = 1;

    for (int i = 0; i < ports_len; i++) {
        const struct weir_tensor *tensor = &tensors[i];
        if (!type_eq(ports[i].type, tensor->type))
            return diag_fail(diag, ERR_TYPE, "input '%s': expected type %s, got %s", ports[i].name,
                             type_oip_name(ports[i].type), type_oip_name(tensor->type));
        TRY(check_shape(&ports[i], tensor, diag));
        if (!batchable)
            continue;
        if (tensor->rank == 0)
            return diag_fail(
                diag, ERR_SHAPE,
                "input '%s': expected a first dimension that counts rows, got a scalar",
                ports[i].name);
        if (i > 0 && tensor->shape[0] != rows)
            return diag_fail(
                diag, ERR_SHAPE, "input '%s': expected %lld rows as in input '%s', got %lld",
                ports[i].name, (long long)rows, ports[0].name, (long long)tensor->shape[0]);
        rows = tensor->shape[0];
    }
    *ret_rows = rows;
    return OK;
}
