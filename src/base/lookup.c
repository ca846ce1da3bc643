#include "base/lookup.h"

#define EDITS_MAX ((size_t)3)

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static bool same(struct span a, size_t i, struct span b, size_t j)
{
    return lower(a.ptr[i]) == lower(b.ptr[j]);
}

/* The optimal string alignment distance: Levenshtein's, with swaps of neighbours, no
 * part being edited twice. Row i holds the distances of the first i bytes of `a` from
 * all beginnings of `b`; three rows suffice. */
static size_t edits(struct span a, struct span b)
{
    size_t rows[3][LOOKUP_WORD_MAX + 1];
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = above[j - 1] + !same(a, i - 1, b, j - 1);
            size_t added = MIN(above[j], row[j - 1]) + 1;
            row[j] = MIN(replaced, added);
            if (i > 1 && j > 1 && same(a, i - 1, b, j - 2) && same(a, i - 2, b, j - 1)) {
                size_t swapped = rows[(i - 2) % 3][j - 2] + 1;
                row[j] = MIN(row[j], swapped);
            }
        }
    }
    return rows[a.len % 3][b.len];
}

const char *text_nearest(struct span word, const char *const *candidates, size_t n)
{
    if (word.len > LOOKUP_WORD_MAX)
        return NULL;
    const char *nearest = NULL;
    size_t best = MIN(word.len / 3 + (word.len % 3 == 2), EDITS_MAX) + 1;
    for (size_t i = 0; i < n; i++) {
        struct span candidate = span_cstr(candidates[i]);
        if (candidate.len > LOOKUP_WORD_MAX)
            continue;
        size_t distance = edits(word, candidate);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
