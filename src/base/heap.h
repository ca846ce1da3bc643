/* A binary min-heap of nodes that know their place in it, so that any of them can be
 * removed in logarithmic time. For queues ordered by a key that may change.
 *
 * Nodes are intrusive (CONTAINER_OF leads back). Nodes that compare equal come in no
 * promised order, though in the same one for the same calls: where order matters, the
 * comparison takes a serial number in.
 *
 * Owner: the caller; one thread at a time. Bound: `nodes_max`.
 */
#pragma once

#include "base/result.h"

/* Zeroed: in no heap. */
struct heap_node {
    size_t place; /* from 1 */
};

/* Whether `a` comes before `b`. */
typedef bool (*heap_before_fn)(const struct heap_node *a, const struct heap_node *b);

struct heap {
    struct heap_node **nodes;
    size_t count, cap, nodes_max;
    heap_before_fn before;
};

/* Takes no memory yet. */
void heap_init(struct heap *heap, heap_before_fn before, size_t nodes_max);
/* The nodes in it are left in no heap. Takes a zeroed heap. */
void heap_release(struct heap *heap);

/* `node` is in no heap. ERR_EXHAUSTED at `nodes_max`, ERR_NO_MEMORY. */
result heap_push(struct heap *heap, struct heap_node *node);
/* Removes one. Takes one that is in no heap, too. */
void heap_remove(struct heap *heap, struct heap_node *node);
/* To be called after the key of a node in the heap has changed. */
void heap_update(struct heap *heap, struct heap_node *node);
/* The least node, which stays; NULL when the heap is empty. */
static inline struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count ? heap->nodes[0] : NULL;
}
/* Removes and returns the least node, or NULL. */
static inline struct heap_node *heap_pop(struct heap *heap)
{
    struct heap_node *node = heap_first(heap);
    if (node)
        heap_remove(heap, node);
    return node;
}
