#include "base/list.h"
#include "base/test_cmocka.h"

struct item {
    int value;
    struct list_node node;
};

static int value_of(struct list_node *node)
{
    return node ? CONTAINER_OF(node, struct item, node)->value : -1;
}

static void nodes_come_in_the_order_they_were_pushed(void **state)
{
    (void)state;
    struct list list;
    struct item items[4] = {{1}, {2}, {3}, {4}};
    list_init(&list);
    assert_true(list_empty(&list));
    assert_null(list_pop(&list));
    list_push(&list, &items[1].node);
    list_push(&list, &items[2].node);
    list_push_front(&list, &items[0].node);
    list_insert_after(&items[2].node, &items[3].node);
    assert_false(list_empty(&list));
    assert_int_equal(value_of(list_first(&list)), 1);
    int expected = 1;
    for (struct list_node *n = list_first(&list); n; n = list_next(&list, n))
        assert_int_equal(value_of(n), expected++);
    assert_int_equal(expected, 5);
    for (int i = 1; i <= 4; i++)
        assert_int_equal(value_of(list_pop(&list)), i);
    assert_true(list_empty(&list));
}

static void any_node_can_be_removed_and_pushed_again(void **state)
{
    (void)state;
    struct list list;
    struct item items[3] = {{0}, {1}, {2}};
    list_init(&list);
    for (int i = 0; i < 3; i++)
        list_push(&list, &items[i].node);
    list_remove(&items[1].node);
    assert_false(list_node_linked(&items[1].node));
    list_remove(&items[1].node);
    assert_int_equal(value_of(list_next(&list, &items[0].node)), 2);
    assert_null(list_next(&list, &items[2].node));
    list_push(&list, &items[1].node);
    assert_true(list_node_linked(&items[1].node));
    assert_int_equal(value_of(list_pop(&list)), 0);
    assert_int_equal(value_of(list_pop(&list)), 2);
    assert_int_equal(value_of(list_pop(&list)), 1);
    assert_null(list_first(&list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_come_in_the_order_they_were_pushed),
        cmocka_unit_test(any_node_can_be_removed_and_pushed_again),
    };
    return cmocka_run_group_tests_name("base/list", tests, NULL, NULL);
}
