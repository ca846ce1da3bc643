#include "base/alloc.h"
#include "base/heap.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

#define ITEMS 100

struct item {
    struct heap_node node;
    uint64_t key;
};

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return CONTAINER_OF(a, struct item, node)->key < CONTAINER_OF(b, struct item, node)->key;
}

/* The first node's key must be the least of all that are in the heap. */
static void check_first(const struct heap *heap, const struct item *items)
{
    size_t count = 0;
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < ITEMS; i++)
        if (items[i].node.place) {
            count++;
            least = MIN(least, items[i].key);
        }
    assert_int_equal(heap->count, count);
    struct heap_node *first = heap_first(heap);
    if (count == 0)
        assert_null(first);
    else
        assert_true(CONTAINER_OF(first, struct item, node)->key == least);
}

static void the_least_comes_first_whatever_is_changed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t random = seed;
        struct heap heap;
        struct item items[ITEMS] = {0};
        heap_init(&heap, before, ITEMS);
        for (int step = 0; step < 3000; step++) {
            struct item *item = &items[test_random(&random) % ITEMS];
            uint64_t choice = test_random(&random) % 4;
            if (choice == 0) {
                heap_remove(&heap, &item->node);
                assert_int_equal(item->node.place, 0);
            } else if (choice == 1 && step % 3 == 0) {
                heap_pop(&heap);
            } else {
                item->key = test_random(&random) % 50;
                if (item->node.place)
                    heap_update(&heap, &item->node);
                else
                    assert_false(failed(heap_push(&heap, &item->node)));
            }
            check_first(&heap, items);
        }
        uint64_t last = 0;
        for (struct heap_node *node; (node = heap_pop(&heap));) {
            assert_true(CONTAINER_OF(node, struct item, node)->key >= last);
            last = CONTAINER_OF(node, struct item, node)->key;
        }
        assert_int_equal(heap.count, 0);
        heap_release(&heap);
    }
}

static void the_limit_holds(void **state)
{
    (void)state;
    struct heap heap;
    struct item items[3] = {0};
    heap_init(&heap, before, 2);
    assert_false(failed(heap_push(&heap, &items[0].node)));
    assert_false(failed(heap_push(&heap, &items[1].node)));
    assert_true(is(heap_push(&heap, &items[2].node), ERR_EXHAUSTED));
    assert_int_equal(items[2].node.place, 0);
    heap_remove(&heap, &items[0].node);
    assert_false(failed(heap_push(&heap, &items[2].node)));
    heap_release(&heap);
    assert_int_equal(items[1].node.place, 0);
    assert_int_equal(items[2].node.place, 0);
}

static void out_of_memory_leaves_the_heap_as_it_was(void **state)
{
    (void)state;
    struct heap heap;
    struct item items[17] = {0};
    heap_init(&heap, before, 100);
    for (size_t i = 0; i < 16; i++)
        assert_false(failed(heap_push(&heap, &items[i].node)));
    mem_fail_after(1, false);
    assert_true(is(heap_push(&heap, &items[16].node), ERR_NO_MEMORY));
    mem_fail_after(0, false);
    assert_int_equal(heap.count, 16);
    assert_int_equal(items[16].node.place, 0);
    assert_false(failed(heap_push(&heap, &items[16].node)));
    heap_release(&heap);
    struct heap zeroed = {0};
    heap_release(&zeroed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_comes_first_whatever_is_changed),
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(out_of_memory_leaves_the_heap_as_it_was),
    };
    return cmocka_run_group_tests_name("base/heap", tests, NULL, NULL);
}
