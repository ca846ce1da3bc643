/* For fuzz targets (`*_fuzz.c`) only: their one entry, and what several of them use.
 *
 * A target takes any bytes and states with ASSERT what its module promises about them;
 * that it does not crash is the least of it. libFuzzer calls it (`make fuzz`), and
 * tests/support/fuzz_main.c with the inputs of tests/corpus, in every build of the unit
 * tests. docs/fuzzing.md says how to add one.
 */
#pragma once

#include "base/macros.h"
#include "base/span.h"

#include <stdint.h>

/* The bytes lie in a heap block of exactly `len`. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* A seed for test_random that depends on the input alone (FNV-1a), so that a choice made
 * by chance comes again with the same input. */
static inline uint64_t fuzz_seed(struct span input)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < input.len; i++)
        hash = (hash ^ input.ptr[i]) * 0x100000001b3;
    return hash | 1;
}
