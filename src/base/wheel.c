/* A node lies on the level of the highest 6-bit digit in which its due tick and
 * `now` differ, in the slot of that digit of its due tick; beyond the top level, on
 * the top level. When `now` enters a slot above level 0, its nodes are dealt out to
 * the levels below. So
 *
 *   W1  the level and slot of a node follow from (now, due) alone: nodes with one due
 *       tick lie together and in the order in which they were added;
 *   W2  level 0 holds ticks of the present run of 64 only, one a slot;
 *   W3  below the top level, no occupied slot lies at or before `now`'s digit, save
 *       level 0's own slot of `now` while it is being emptied. On the top level such
 *       a slot belongs to the next lap;
 *   W4  everything on one level is due before anything on the levels above.
 */
#include "base/wheel.h"

#define DIGIT_BITS 6
#define DIGIT_MASK ((uint64_t)WHEEL_SLOTS - 1)
#define TOP (WHEEL_LEVELS - 1)
_Static_assert(WHEEL_SLOTS == 1 << DIGIT_BITS, "a bit of `occupied` per slot");

static unsigned digit(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> (DIGIT_BITS * level) & DIGIT_MASK);
}

void wheel_init(struct wheel *wheel, uint64_t now)
{
    wheel->now = now;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++) {
            struct wheel_node *head = &wheel->slots[level][slot];
            *head = (struct wheel_node){head, head, 0};
        }
    }
}

/* Puts a node that is not linked where its due tick belongs. */
static void link_node(struct wheel *wheel, struct wheel_node *node)
{
    uint64_t differs = wheel->now ^ node->due;
    unsigned level = differs ? (63 - (unsigned)__builtin_clzll(differs)) / DIGIT_BITS : 0;
    level = MIN(level, (unsigned)TOP);
    unsigned slot = digit(node->due, level);
    struct wheel_node *head = &wheel->slots[level][slot];
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
    wheel->occupied[level] |= (uint64_t)1 << slot;
}

void wheel_remove(struct wheel *wheel, struct wheel_node *node)
{
    if (!wheel_node_linked(node))
        return;
    struct wheel_node *next = node->next;
    node->prev->next = next;
    next->prev = node->prev;
    node->next = node->prev = NULL;
    if (next->next == next) { /* only a head is its own neighbour */
        size_t index = (size_t)(next - &wheel->slots[0][0]);
        wheel->occupied[index / WHEEL_SLOTS] &= ~((uint64_t)1 << index % WHEEL_SLOTS);
    }
}

void wheel_add(struct wheel *wheel, struct wheel_node *node, uint64_t due)
{
    wheel_remove(wheel, node);
    if (due <= wheel->now)
        due = wheel->now + 1;
    node->due = wheel->now + MIN(due - wheel->now, WHEEL_SPAN);
    link_node(wheel, node);
}

/* The next tick after `now` at which a slot is entered that holds something, and its
 * level; UINT64_MAX when nothing is left. */
static uint64_t next_entry(const struct wheel *wheel, unsigned *ret_level)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        unsigned shift = DIGIT_BITS * level, here = digit(wheel->now, level);
        uint64_t lap = wheel->now >> shift & ~DIGIT_MASK;
        uint64_t ahead = wheel->occupied[level] & (~(uint64_t)1 << here);
        if (level == TOP && !ahead && wheel->occupied[level]) { /* W3 */
            ahead = wheel->occupied[level];
            lap += WHEEL_SLOTS;
        }
        if (ahead) {
            *ret_level = level;
            return (lap | (uint64_t)__builtin_ctzll(ahead)) << shift;
        }
    }
    return UINT64_MAX;
}

/* Moves everything in the slot of `now` on `level` to the levels below. */
static void deal_out(struct wheel *wheel, unsigned level)
{
    struct wheel_node *head = &wheel->slots[level][digit(wheel->now, level)];
    while (head->next != head) {
        struct wheel_node *node = head->next;
        wheel_remove(wheel, node);
        link_node(wheel, node);
    }
}

struct wheel_node *wheel_expire(struct wheel *wheel, uint64_t now)
{
    for (;;) {
        struct wheel_node *head = &wheel->slots[0][digit(wheel->now, 0)];
        if (head->next != head) {
            struct wheel_node *node = head->next;
            wheel_remove(wheel, node);
            return node;
        }
        if (wheel->now >= now)
            return NULL;
        unsigned level = 0;
        uint64_t entry = next_entry(wheel, &level);
        if (entry > now) {
            wheel->now = now;
            return NULL;
        }
        wheel->now = entry;
        if (level > 0)
            deal_out(wheel, level);
    }
}

uint64_t wheel_next(const struct wheel *wheel)
{
    if (wheel->occupied[0] >> digit(wheel->now, 0) & 1)
        return wheel->now;
    unsigned level;
    return next_entry(wheel, &level);
}
