/* An intrusive doubly-linked list: the queues of everything that waits.
 *
 * The link lies in its owner's struct (CONTAINER_OF leads back), so that nothing is
 * allocated and removal takes constant time. A list is a ring through its own head:
 * once initialised it may not be moved. One thread, or the owner's lock.
 */
#pragma once

#include "base/macros.h"

/* Zeroed: not in a list. */
struct list_node {
    struct list_node *next, *prev;
};

struct list {
    struct list_node head;
};

static inline void list_init(struct list *list)
{
    list->head = (struct list_node){&list->head, &list->head};
}
static inline bool list_empty(const struct list *list)
{
    return list->head.next == &list->head;
}
static inline bool list_node_linked(const struct list_node *node)
{
    return node->next != NULL;
}
/* Puts `node`, which is in no list, behind `where`. */
static inline void list_insert_after(struct list_node *where, struct list_node *node)
{
    ASSERT(!node->next);
    node->prev = where;
    node->next = where->next;
    where->next->prev = node;
    where->next = node;
}
/* At the end. */
static inline void list_push(struct list *list, struct list_node *node)
{
    list_insert_after(list->head.prev, node);
}
static inline void list_push_front(struct list *list, struct list_node *node)
{
    list_insert_after(&list->head, node);
}
/* Takes one that is in no list, too. */
static inline void list_remove(struct list_node *node)
{
    if (!node->next)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}
/* The first one, which stays; NULL when the list is empty. */
static inline struct list_node *list_first(const struct list *list)
{
    return list_empty(list) ? NULL : list->head.next;
}
/* The one behind `node`, or NULL. */
static inline struct list_node *list_next(const struct list *list, const struct list_node *node)
{
    return node->next == &list->head ? NULL : node->next;
}
/* Removes and returns the first one, or NULL. */
static inline struct list_node *list_pop(struct list *list)
{
    struct list_node *node = list_first(list);
    if (node)
        list_remove(node);
    return node;
}
