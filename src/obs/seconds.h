/* Nanoseconds as seconds in decimal, exact: for the exposition and for log lines. */
#pragma once

#include "base/macros.h"

#include <stdio.h>

#define SECONDS_TEXT_MAX 32

/* Without trailing zeros; NUL-terminated; returns `buffer`. */
static inline const char *seconds_print(bool negative, uint64_t nanoseconds,
                                        char buffer[SECONDS_TEXT_MAX])
{
    unsigned long long whole = nanoseconds / 1000000000;
    unsigned fraction = (unsigned)(nanoseconds % 1000000000);
    int len =
        snprintf(buffer, SECONDS_TEXT_MAX, "%s%llu.%09u", negative ? "-" : "", whole, fraction);
    while (buffer[len - 1] == '0')
        buffer[--len] = '\0';
    if (buffer[len - 1] == '.')
        buffer[--len] = '\0';
    return buffer;
}
