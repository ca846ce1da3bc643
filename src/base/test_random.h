/* For tests only: a seeded generator (Marsaglia's xorshift64), so that a failure comes
 * again with the same seed. */
#pragma once

#include "base/macros.h"

/* `*state` is never 0. */
static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
