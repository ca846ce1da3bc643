#include "base/heap.h"

#include "base/alloc.h"

#define NODES_MIN ((size_t)16)

void heap_init(struct heap *heap, heap_before_fn before, size_t nodes_max)
{
    *heap = (struct heap){.before = before, .nodes_max = nodes_max};
}

void heap_release(struct heap *heap)
{
    for (size_t i = 0; i < heap->count; i++)
        heap->nodes[i]->place = 0;
    mem_free(heap->nodes);
    heap_init(heap, heap->before, heap->nodes_max);
}

static void place(struct heap *heap, size_t i, struct heap_node *node)
{
    heap->nodes[i] = node;
    node->place = i + 1;
}

/* Moves `node` from the free place `i` towards the root, as far as it belongs. */
static size_t sift_up(struct heap *heap, size_t i, const struct heap_node *node)
{
    while (i > 0 && heap->before(node, heap->nodes[(i - 1) / 2])) {
        place(heap, i, heap->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    return i;
}

static size_t sift_down(struct heap *heap, size_t i, const struct heap_node *node)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->count)
            return i;
        if (child + 1 < heap->count && heap->before(heap->nodes[child + 1], heap->nodes[child]))
            child++;
        if (!heap->before(heap->nodes[child], node))
            return i;
        place(heap, i, heap->nodes[child]);
        i = child;
    }
}

static void settle(struct heap *heap, size_t i, struct heap_node *node)
{
    size_t up = sift_up(heap, i, node);
    place(heap, up != i ? up : sift_down(heap, i, node), node);
}

result heap_push(struct heap *heap, struct heap_node *node)
{
    ASSERT(node->place == 0);
    if (heap->count >= heap->nodes_max)
        return fail(ERR_EXHAUSTED);
    if (heap->count == heap->cap) {
        size_t cap = MAX(heap->cap * 2, NODES_MIN);
        if (cap > PTRDIFF_MAX / sizeof(struct heap_node *))
            return fail(ERR_NO_MEMORY);
        struct heap_node **nodes = mem_realloc(heap->nodes, cap * sizeof(*nodes));
        if (!nodes)
            return fail(ERR_NO_MEMORY);
        heap->nodes = nodes;
        heap->cap = cap;
    }
    heap->count++;
    settle(heap, heap->count - 1, node);
    return OK;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->place == 0)
        return;
    size_t i = node->place - 1;
    ASSERT(i < heap->count && heap->nodes[i] == node);
    node->place = 0;
    struct heap_node *last = heap->nodes[--heap->count];
    if (last != node)
        settle(heap, i, last);
}

void heap_update(struct heap *heap, struct heap_node *node)
{
    ASSERT(node->place > 0 && node->place <= heap->count);
    settle(heap, node->place - 1, node);
}
