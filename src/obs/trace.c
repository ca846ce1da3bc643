#include "obs/trace.h"

static bool hex_take(struct span *rest, uint8_t *into, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned value = 0;
        for (size_t j = 0; j < 2; j++) {
            uint8_t c = rest->ptr[2 * i + j];
            if (c >= '0' && c <= '9')
                value = value * 16 + (unsigned)(c - '0');
            else if (c >= 'a' && c <= 'f')
                value = value * 16 + (unsigned)(c - 'a' + 10);
            else
                return false;
        }
        into[i] = (uint8_t)value;
    }
    *rest = span_from(*rest, 2 * count);
    return true;
}

static char *hex_put(char *at, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        *at++ = digits[bytes[i] >> 4];
        *at++ = digits[bytes[i] & 15];
    }
    return at;
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

static bool dash_take(struct span *rest)
{
    bool dash = rest->ptr[0] == '-';
    *rest = span_from(*rest, 1);
    return dash;
}

bool trace_parse(struct span traceparent, struct trace_context *ret_context)
{
    struct trace_context context;
    struct span rest = traceparent;
    uint8_t version;
    if (rest.len < TRACEPARENT_LEN)
        return false;
    if (!hex_take(&rest, &version, 1) || version == 0xFF || !dash_take(&rest) ||
        !hex_take(&rest, context.trace_id, sizeof(context.trace_id)) || !dash_take(&rest) ||
        !hex_take(&rest, context.span_id, sizeof(context.span_id)) || !dash_take(&rest) ||
        !hex_take(&rest, &context.flags, 1))
        return false;
    if (rest.len > 0 && (version == 0 || rest.ptr[0] != '-'))
        return false;
    if (all_zero(context.trace_id, sizeof(context.trace_id)) ||
        all_zero(context.span_id, sizeof(context.span_id)))
        return false;
    context.flags &= TRACE_SAMPLED | TRACE_RANDOM;
    *ret_context = context;
    return true;
}

void trace_format(const struct trace_context *context, char buffer[TRACEPARENT_LEN + 1])
{
    char *at = buffer;
    *at++ = '0';
    *at++ = '0';
    *at++ = '-';
    at = hex_put(at, context->trace_id, sizeof(context->trace_id));
    *at++ = '-';
    at = hex_put(at, context->span_id, sizeof(context->span_id));
    *at++ = '-';
    at = hex_put(at, &context->flags, 1);
    *at = '\0';
}

void trace_id_format(const struct trace_context *context, char buffer[TRACE_ID_LEN + 1])
{
    *hex_put(buffer, context->trace_id, sizeof(context->trace_id)) = '\0';
}

struct span tracestate_carry(struct span tracestate)
{
    struct span trimmed = span_trim(tracestate);
    if (trimmed.len == 0 || trimmed.len > TRACESTATE_MAX)
        return SPAN_NONE;
    size_t members = 1;
    for (size_t i = 0; i < trimmed.len; i++) {
        uint8_t c = trimmed.ptr[i];
        if (c != '\t' && (c < 0x20 || c > 0x7E))
            return SPAN_NONE;
        members += c == ',';
    }
    return members > TRACESTATE_MEMBERS_MAX ? SPAN_NONE : trimmed;
}

static uint64_t rotate(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static uint64_t ids_next(struct trace_ids *ids)
{
    uint64_t *s = ids->state;
    uint64_t value = rotate(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return value;
}

void trace_ids_init(struct trace_ids *ids, struct process *process)
{
    process_random(process, (struct span_mut){(uint8_t *)ids->state, sizeof(ids->state)});
    /* The one state that would yield zeros for ever. */
    if (all_zero((const uint8_t *)ids->state, sizeof(ids->state)))
        ids->state[0] = 1;
}

static void id_fill(struct trace_ids *ids, uint8_t *bytes, size_t size)
{
    do {
        for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
            uint64_t value = ids_next(ids);
            memcpy(bytes + i, &value, sizeof(value));
        }
    } while (all_zero(bytes, size));
}

void trace_root(struct trace_ids *ids, struct trace_context *ret_context)
{
    id_fill(ids, ret_context->trace_id, sizeof(ret_context->trace_id));
    id_fill(ids, ret_context->span_id, sizeof(ret_context->span_id));
    ret_context->flags = TRACE_RANDOM;
}

void trace_child(struct trace_ids *ids, const struct trace_context *parent,
                 struct trace_context *ret_context)
{
    *ret_context = *parent;
    id_fill(ids, ret_context->span_id, sizeof(ret_context->span_id));
}

bool request_id_valid(struct span id)
{
    if (id.len == 0 || id.len > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        uint8_t c = id.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (c == '\0' || !memchr("-_.~:+/=@", c, 9)))
            return false;
    }
    return true;
}

void request_id_new(struct trace_ids *ids, char buffer[REQUEST_ID_LEN + 1])
{
    uint8_t bytes[REQUEST_ID_LEN / 2];
    id_fill(ids, bytes, sizeof(bytes));
    *hex_put(buffer, bytes, sizeof(bytes)) = '\0';
}
