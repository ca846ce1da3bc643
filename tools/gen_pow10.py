#!/usr/bin/env python3
"""Writes src/base/number_pow10.c: the powers of ten behind base/number.

Entry i holds the 128 leading bits of 10^(i + MIN), cut off (not rounded), the
highest bit always set. Run from the root of the repository; the result is
committed, and the unit test of base/number recomputes some entries.
"""

MIN, MAX = -342, 324
BITS = 128


def leading_bits(power):
    """floor(10^power / 2^r) with r such that the result has exactly BITS bits."""
    if power >= 0:
        value = 10**power
        shift = value.bit_length() - BITS
        return value >> shift if shift >= 0 else value << -shift
    divisor = 10**-power
    shift = divisor.bit_length() + BITS
    quotient = (1 << shift) // divisor
    return quotient >> (quotient.bit_length() - BITS)


def main():
    lines = [
        "/* Made by tools/gen_pow10.py: the 128 leading bits of 10^-342 to 10^324, cut off. */",
        '#include "base/number_private.h"',
        "",
        "/* clang-format off */",
        "const struct number_pow10 number_pow10[NUMBER_POW10_MAX - NUMBER_POW10_MIN + 1] = {",
    ]
    for power in range(MIN, MAX + 1):
        bits = leading_bits(power)
        assert bits >> (BITS - 1) == 1
        lines.append(f"    {{0x{bits >> 64:016x}, 0x{bits & (2**64 - 1):016x}}}, /* {power} */")
    lines += ["};", "/* clang-format on */", ""]
    with open("src/base/number_pow10.c", "w", encoding="ascii") as out:
        out.write("\n".join(lines))


if __name__ == "__main__":
    main()
