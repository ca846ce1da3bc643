#include "base/base64.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The place in the alphabet + 1; 0: not in it. */
static const uint8_t places[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

size_t base64_encoded_size(size_t len)
{
    size_t groups = len / 3 + (len % 3 != 0);
    return groups <= SIZE_MAX / 4 ? groups * 4 : SIZE_MAX;
}

size_t base64_decoded_max(size_t len)
{
    return len / 4 * 3 + len % 4 * 3 / 4;
}

void base64_encode(struct text *text, struct span bytes)
{
    size_t size = base64_encoded_size(bytes.len);
    uint8_t *to = text_reserve(text, size);
    if (!to)
        return;
    const uint8_t *from = bytes.ptr;
    size_t left = bytes.len;
    for (; left >= 3; left -= 3, from += 3, to += 4) {
        uint32_t bits = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        to[0] = (uint8_t)alphabet[bits >> 18];
        to[1] = (uint8_t)alphabet[bits >> 12 & 63];
        to[2] = (uint8_t)alphabet[bits >> 6 & 63];
        to[3] = (uint8_t)alphabet[bits & 63];
    }
    if (left) {
        uint32_t bits = (uint32_t)from[0] << 16 | (left == 2 ? (uint32_t)from[1] << 8 : 0);
        to[0] = (uint8_t)alphabet[bits >> 18];
        to[1] = (uint8_t)alphabet[bits >> 12 & 63];
        to[2] = left == 2 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
        to[3] = '=';
    }
    text_wrote(text, size);
}

struct decoder {
    struct span rest;
    struct span_mut out; /* what is free of it */
    uint32_t bits;       /* of the present group */
    unsigned digits;     /* 0 to 3: how many of its digits were read */
};

/* Writes the upper `len` bytes of a group of 24 bits. */
static bool put_group(struct decoder *d, uint32_t bits, size_t len)
{
    if (d->out.len < len)
        return false;
    for (size_t i = 0; i < len; i++, bits <<= 8)
        d->out.ptr[i] = (uint8_t)(bits >> 16);
    d->out.ptr += len;
    d->out.len -= len;
    return true;
}

/* Whole groups of four digits, as long as there are and as there is room. */
static void decode_groups(struct decoder *d)
{
    const uint8_t *from = d->rest.ptr;
    uint8_t *to = d->out.ptr;
    size_t count = MIN(d->rest.len / 4, d->out.len / 3), done = 0;
    for (; done < count; done++, from += 4, to += 3) {
        uint32_t a = places[from[0]], b = places[from[1]], c = places[from[2]], e = places[from[3]];
        if (!a || !b || !c || !e)
            break;
        uint32_t bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (e - 1);
        to[0] = (uint8_t)(bits >> 16);
        to[1] = (uint8_t)(bits >> 8);
        to[2] = (uint8_t)bits;
    }
    d->rest = span_from(d->rest, done * 4);
    if (done) {
        d->out.ptr += done * 3;
        d->out.len -= done * 3;
    }
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Takes the padding behind the last digit and all that may follow; false when something
 * else does. */
static bool take_padding(struct decoder *d, bool lenient)
{
    unsigned pads = 0;
    for (; d->rest.len; d->rest = span_from(d->rest, 1)) {
        uint8_t byte = d->rest.ptr[0];
        if (byte == '=' || (lenient && byte == '.'))
            pads++;
        else if (!lenient || !is_space(byte))
            return false;
    }
    unsigned wanted = d->digits ? 4 - d->digits : 0;
    return pads == wanted || (lenient && pads == 0);
}

static result finish(struct decoder *d, bool lenient)
{
    if (d->digits == 1 || !take_padding(d, lenient))
        return fail(ERR_SYNTAX);
    if (d->digits == 0)
        return OK;
    size_t len = d->digits - 1;
    uint32_t bits = d->bits << (6 * (4 - d->digits));
    if (!lenient && bits & ((uint32_t)0xffffff >> 8 * len))
        return fail(ERR_SYNTAX);
    return put_group(d, bits, len) ? OK : fail(ERR_TOO_LARGE);
}

result base64_decode(struct span text, struct span_mut out, bool lenient, size_t *ret_len)
{
    struct decoder d = {.rest = text, .out = out};
    for (;;) {
        if (d.digits == 0)
            decode_groups(&d);
        if (d.rest.len == 0)
            break;
        uint8_t byte = d.rest.ptr[0];
        bool skipped = lenient && is_space(byte);
        if (!skipped && !places[byte])
            break;
        d.rest = span_from(d.rest, 1);
        if (skipped)
            continue;
        d.bits = d.bits << 6 | (places[byte] - 1u);
        if (++d.digits == 4) {
            if (!put_group(&d, d.bits, 3))
                return fail(ERR_TOO_LARGE);
            d.digits = 0;
            d.bits = 0;
        }
    }
    TRY(finish(&d, lenient));
    *ret_len = out.len - d.out.len;
    return OK;
}
