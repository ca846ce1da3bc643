/* A hierarchical timer wheel: start and stop in constant time, whatever the number
 * of timers (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987).
 *
 * Knows ticks, not clocks: whoever owns it says what a tick is and advances it.
 * Nodes are intrusive; the wheel never allocates. One thread.
 */
#pragma once

#include "base/macros.h"

#define WHEEL_LEVELS 6
#define WHEEL_SLOTS 64
/* Farther due times are clamped to this many ticks from now. */
#define WHEEL_SPAN ((uint64_t)1 << (6 * WHEEL_LEVELS))

/* Zeroed: not linked. */
struct wheel_node {
    struct wheel_node *next, *prev;
    uint64_t due; /* tick */
};

struct wheel {
    uint64_t now;                                       /* tick */
    uint64_t occupied[WHEEL_LEVELS];                    /* a bit per non-empty slot */
    struct wheel_node slots[WHEEL_LEVELS][WHEEL_SLOTS]; /* list heads */
};

void wheel_init(struct wheel *wheel, uint64_t now);
static inline bool wheel_node_linked(const struct wheel_node *node)
{
    return node->next != NULL;
}
/* Links `node`, or moves it; a due tick not after `now` is due at `now + 1`. */
void wheel_add(struct wheel *wheel, struct wheel_node *node, uint64_t due);
/* Takes one that is not linked, too. */
void wheel_remove(struct wheel *wheel, struct wheel_node *node);
/* Moves to `now` and unlinks and returns one node that is due, or NULL when none is
 * left: call until NULL. Nodes come in order of their due tick. Nodes may be added
 * and removed between calls. */
struct wheel_node *wheel_expire(struct wheel *wheel, uint64_t now);
/* A tick by which the wheel must be asked again: the next due tick or, when that is
 * far, an earlier one. UINT64_MAX when it is empty. */
uint64_t wheel_next(const struct wheel *wheel);
