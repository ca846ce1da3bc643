/* Finding what somebody meant: the candidate nearest to a misspelt key or command.
 */
#pragma once

#include "base/span.h"

/* Longer words are nobody's misspelling. */
#define LOOKUP_WORD_MAX 64

/* The candidate that the fewest edits lead to (insert, delete, replace, or swap two
 * neighbours; ASCII case is free), the earlier one of two; NULL when even that is too
 * far: more than a third of the letters of `word`, rounded, or more than three. */
const char *text_nearest(struct span word, const char *const *candidates, size_t n);
