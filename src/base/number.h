/* Numbers as text, in both directions, and the 16-bit floats.
 *
 * Reading follows the grammar of RFC 8259 §6 (no leading zeros, no plus sign, digits
 * on both sides of a point) and rounds correctly, to nearest, ties to even: small
 * decimals by exact floating point arithmetic (Clinger, "How to read floating point
 * numbers accurately", 1990), others by one or two 64-bit products with a table of
 * powers of ten (Lemire, "Number parsing at a gigabyte per second", 2021), and what
 * that cannot decide by the C library. Floats are read directly, not through doubles.
 *
 * Writing gives the shortest digits that read back as the same value, and of those the
 * nearest (Giulietti, "The Schubfach way to render doubles", 2021).
 *
 * No locale, no memory, no state: any thread.
 */
#pragma once

#include "base/result.h"
#include "base/span.h"

/* Bytes that the printers may write over, more than they return; none writes a NUL. */
#define NUMBER_U64_MAX 20
#define NUMBER_I64_MAX 20
#define NUMBER_F32_MAX 48
#define NUMBER_F64_MAX 48

/* The whole text, decimal digits only (and a leading '-' for the second).
 * ERR_SYNTAX: anything else. ERR_RANGE: it does not fit. */
result number_parse_u64(struct span text, uint64_t *ret_value);
result number_parse_i64(struct span text, int64_t *ret_value);
/* Both return the number of bytes written. */
size_t number_print_u64(uint64_t value, char *out) NONNULL(2);
size_t number_print_i64(int64_t value, char *out) NONNULL(2);

/* An integer at the front of `text` with the grammar of a JSON number: no leading
 * zeros. `ret_used`: its length. ERR_SYNTAX: none is there. ERR_TYPE: a number with a
 * point or an exponent. ERR_RANGE: its magnitude needs more than 64 bits. */
result number_read_integer(struct span text, size_t *ret_used, bool *ret_negative,
                           uint64_t *ret_magnitude);

/* A number at the front of `text`; what follows it is not looked at. `ret_used`: its
 * length. ERR_SYNTAX: none is there. ERR_RANGE: it rounds to infinity; what is too
 * small becomes a zero of its sign. */
result number_parse_f32(struct span text, size_t *ret_used, float *ret_value);
result number_parse_f64(struct span text, size_t *ret_used, double *ret_value);

/* The same for up to `n` numbers with commas and JSON's white space between them, from
 * the front of `text`. A number that cannot be read, that rounds to infinity or whose
 * magnitude is above `limit` ends the run before its comma. Returns how many were read;
 * `ret_used`: where the last of them ends, 0 for none. */
size_t number_read_f32s(struct span text, size_t n, float limit, float *out, size_t *ret_used);
size_t number_read_f64s(struct span text, size_t n, double limit, double *out, size_t *ret_used);

/* Writes a finite value; NaN and infinities are the caller's business. Returns the
 * number of bytes. A whole number keeps ".0", so that a reader without a schema still
 * takes it for a float. Values from 1e-5 up to 1e17 (double) or 1e9 (float) are
 * written in full, others with an exponent: 1.5e-7, 1e17. All digits written are
 * significant, except zeros that end a whole number. */
size_t number_print_f32(float value, char *out) NONNULL(2);
size_t number_print_f64(double value, char *out) NONNULL(2);

/* IEEE 754 binary16 and bfloat16 (the upper half of a binary32), to nearest, ties to
 * even; what is too large becomes infinity, a NaN stays one. From a double, with one
 * rounding. The way back is exact. */
uint16_t number_f16_of_f64(double value);
float number_f32_of_f16(uint16_t half);
uint16_t number_bf16_of_f64(double value);
float number_f32_of_bf16(uint16_t half);
