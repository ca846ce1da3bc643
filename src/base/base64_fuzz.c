#include "base/alloc.h"
#include "base/base64.h"
#include "base/test_fuzz.h"

/* Decodes into a block of just the size that the header promises to be enough. */
static result decode(struct span text, bool lenient, struct span_mut *out)
{
    size_t max = base64_decoded_max(text.len);
    *out = (struct span_mut){mem_must(mem_alloc(max), max), max};
    return base64_decode(text, *out, lenient, &out->len);
}

/* What is decoded over its own text is the same. */
static void check_in_place(struct span text, bool lenient, struct span expected)
{
    size_t len = 0;
    uint8_t *own = mem_must(mem_alloc(text.len), text.len);
    if (text.len)
        memcpy(own, text.ptr, text.len);
    result r =
        base64_decode(span_of(own, text.len), (struct span_mut){own, text.len}, lenient, &len);
    ASSERT(!failed(r) && span_eq(span_of(own, len), expected));
    mem_free(own);
}

static void check_text(struct span text)
{
    struct span_mut strict, lenient;
    struct text again;
    text_init(&again, 2 * text.len + 8);
    result r = decode(text, false, &strict), l = decode(text, true, &lenient);
    if (!failed(r)) {
        base64_encode(&again, span_view(strict));
        ASSERT(span_eq(text_span(&again), text));
        ASSERT(!failed(l) && span_eq(span_view(strict), span_view(lenient)));
        check_in_place(text, false, span_view(strict));
    }
    if (!failed(l))
        check_in_place(text, true, span_view(lenient));
    ASSERT(failed(r) ? is(r, ERR_SYNTAX) : true);
    ASSERT(failed(l) ? is(l, ERR_SYNTAX) : true);
    text_release(&again);
    mem_free(strict.ptr);
    mem_free(lenient.ptr);
}

static void check_bytes(struct span bytes)
{
    struct text encoded;
    struct span_mut back;
    text_init(&encoded, base64_encoded_size(bytes.len));
    base64_encode(&encoded, bytes);
    ASSERT(!failed(text_result(&encoded)) && encoded.len == base64_encoded_size(bytes.len));
    ASSERT(!failed(decode(text_span(&encoded), false, &back)));
    ASSERT(span_eq(span_view(back), bytes));
    mem_free(back.ptr);
    text_release(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    check_text(span_of(bytes, len));
    check_bytes(span_of(bytes, len));
    return 0;
}
