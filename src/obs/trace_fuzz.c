#include "base/test_fuzz.h"
#include "obs/trace.h"

static bool hex(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!memchr("0123456789abcdef", s.ptr[i], 16))
            return false;
    return true;
}

static bool zeros(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '0')
            return false;
    return true;
}

/* The rule of https://www.w3.org/TR/trace-context/ §3.2.2 and §4.3, by its fields. */
static bool valid(struct span text)
{
    if (text.len < TRACEPARENT_LEN)
        return false;
    struct span fields = span_first(text, TRACEPARENT_LEN);
    struct span version = span_cut(&fields, '-'), trace = span_cut(&fields, '-');
    struct span parent = span_cut(&fields, '-'), flags = fields;
    if (version.len != 2 || trace.len != 32 || parent.len != 16 || flags.len != 2)
        return false;
    if (!hex(version) || !hex(trace) || !hex(parent) || !hex(flags))
        return false;
    if (zeros(trace) || zeros(parent) || span_is(version, "ff"))
        return false;
    struct span behind = span_from(text, TRACEPARENT_LEN);
    return behind.len == 0 || (!span_is(version, "00") && behind.ptr[0] == '-');
}

static void check_traceparent(struct span text)
{
    struct trace_context context, again;
    char written[TRACEPARENT_LEN + 1];
    bool good = trace_parse(text, &context);
    ASSERT(good == valid(text));
    if (!good)
        return;
    trace_format(&context, written);
    ASSERT(strlen(written) == TRACEPARENT_LEN);
    ASSERT(trace_parse(span_cstr(written), &again));
    ASSERT(memcmp(&context, &again, sizeof(again)) == 0);
    /* Ids are carried as they came. */
    ASSERT(memcmp(written + 2, text.ptr + 2, TRACEPARENT_LEN - 4) == 0);
}

static void check_tracestate(struct span text)
{
    struct span carried = tracestate_carry(text);
    if (!carried.ptr)
        return;
    ASSERT(carried.ptr >= text.ptr && carried.ptr + carried.len <= text.ptr + text.len);
    ASSERT(span_eq(carried, span_trim(carried)) && carried.len <= TRACESTATE_MAX);
    for (size_t i = 0; i < carried.len; i++)
        ASSERT((carried.ptr[i] >= ' ' || carried.ptr[i] == '\t') && carried.ptr[i] < 0x7f);
    ASSERT(span_eq(tracestate_carry(carried), carried));
}

/* From any state the ids are valid ones, and a child stays in its trace. */
static void check_ids(struct span seed)
{
    struct trace_ids ids = {{1, 2, 3, 4}};
    struct trace_context root, child;
    char written[TRACEPARENT_LEN + 1], id[REQUEST_ID_LEN + 1];
    if (seed.len)
        memcpy(ids.state, seed.ptr, MIN(seed.len, sizeof(ids.state)));
    ids.state[3] |= 1; /* the one state it cannot leave is all zeros */
    trace_root(&ids, &root);
    trace_child(&ids, &root, &child);
    ASSERT(memcmp(root.trace_id, child.trace_id, sizeof(root.trace_id)) == 0);
    trace_format(&child, written);
    ASSERT(trace_parse(span_cstr(written), &root));
    trace_id_format(&child, id);
    ASSERT(span_starts(span_from(span_cstr(written), 3), span_cstr(id)));
    request_id_new(&ids, id);
    ASSERT(request_id_valid(span_cstr(id)) && strlen(id) == REQUEST_ID_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span text = span_of(bytes, len);
    check_traceparent(text);
    check_tracestate(text);
    check_ids(text);
    if (request_id_valid(text))
        for (size_t i = 0; i < len; i++)
            ASSERT(bytes[i] > ' ' && bytes[i] < 0x7f && bytes[i] != '"' && bytes[i] != '\\');
    ASSERT(!request_id_valid(text) || (len >= 1 && len <= REQUEST_ID_MAX));
    return 0;
}
