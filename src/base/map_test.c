#include "base/alloc.h"
#include "base/map.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

#include <stdio.h>

#define KEYS 200

/* What the map must do, done slowly. */
struct model {
    size_t count;
    int keys[KEYS]; /* in order of insertion */
    void *values[KEYS];
};

static char key_texts[KEYS][24];

static struct span key(int i)
{
    if (!key_texts[i][0])
        snprintf(key_texts[i], sizeof(key_texts[i]), "%.*s%d", i % 15, "a-long-beginning", i);
    return span_cstr(key_texts[i]);
}

static size_t model_find(const struct model *model, int k)
{
    size_t i = 0;
    while (i < model->count && model->keys[i] != k)
        i++;
    return i;
}

static void model_remove(struct model *model, int k)
{
    size_t i = model_find(model, k);
    if (i == model->count)
        return;
    model->count--;
    memmove(&model->keys[i], &model->keys[i + 1], (model->count - i) * sizeof(model->keys[0]));
    memmove(&model->values[i], &model->values[i + 1],
            (model->count - i) * sizeof(model->values[0]));
}

static void agree(const struct map *map, const struct model *model)
{
    size_t i = 0;
    MAP_EACH (map, entry) {
        assert_true(i < model->count);
        assert_true(span_eq(entry->key, key(model->keys[i])));
        assert_ptr_equal(entry->value, model->values[i]);
        i++;
    }
    assert_int_equal(i, model->count);
    assert_int_equal(map->count, model->count);
}

static void behave_alike(uint64_t seed, int keys)
{
    struct map map;
    struct model model = {0};
    map_init(&map, test_random(&seed), (size_t)keys * 3 / 4);
    for (int step = 0; step < 3000; step++) {
        int k = (int)(test_random(&seed) % (uint64_t)keys);
        size_t at = model_find(&model, k);
        void *old = at < model.count ? model.values[at] : NULL;
        assert_ptr_equal(map_get(&map, key(k)), old);
        if (test_random(&seed) % 5 < 2) {
            assert_ptr_equal(map_remove(&map, key(k)), old);
            model_remove(&model, k);
        } else {
            void *value = &key_texts[test_random(&seed) % KEYS];
            bool full = !old && model.count >= map.entries_max;
            assert_int_equal(map_set(&map, key(k), value).code, full ? ERR_EXHAUSTED : ERR_NONE);
            if (!full) {
                model.keys[at] = k;
                model.values[at] = value;
                model.count += !old;
            }
        }
        if (step % 50 == 0)
            agree(&map, &model);
    }
    agree(&map, &model);
    map_release(&map);
}

static void it_does_what_a_list_would(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        behave_alike(seed, 4);
        behave_alike(seed, 30);
        behave_alike(seed, KEYS);
    }
}

static void keys_are_bytes_of_any_kind(void **state)
{
    (void)state;
    struct map map;
    int one, two;
    map_init(&map, 5, 10);
    assert_null(map_get(&map, SPAN_NONE));
    assert_null(map_remove(&map, SPAN_NONE));
    assert_false(failed(map_set(&map, SPAN_NONE, &one)));
    assert_false(failed(map_set(&map, SPAN("\0"), &two)));
    assert_ptr_equal(map_get(&map, SPAN("")), &one);
    assert_ptr_equal(map_get(&map, SPAN("\0")), &two);
    assert_null(map_get(&map, SPAN("\0\0")));
    map_release(&map);
    struct map zeroed = {0};
    map_release(&zeroed);
}

static void entries_may_be_removed_while_they_are_visited(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, 9, KEYS);
    for (int i = 0; i < KEYS; i++)
        assert_false(failed(map_set(&map, key(i), key_texts[i])));
    int visited = 0;
    MAP_EACH (&map, entry) {
        if (visited++ % 2 == 0)
            assert_non_null(map_remove(&map, entry->key));
    }
    assert_int_equal(visited, KEYS);
    assert_int_equal(map.count, KEYS / 2);
    for (int i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&map, key(i)), i % 2 ? key_texts[i] : NULL);
    map_release(&map);
}

static void out_of_memory_leaves_the_map_as_it_was(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, 9, KEYS);
    size_t added = 0;
    for (int i = 0; i < KEYS; i++) {
        mem_fail_after(1 + (uint64_t)i % 2, false);
        result r = map_set(&map, key(i), key_texts[i]);
        mem_fail_after(0, false);
        assert_true(!failed(r) || is(r, ERR_NO_MEMORY));
        if (failed(r))
            assert_false(failed(map_set(&map, key(i), key_texts[i])));
        else
            added++;
        for (int j = 0; j <= i; j++)
            assert_ptr_equal(map_get(&map, key(j)), key_texts[j]);
    }
    assert_in_range(added, 1, KEYS - 4);
    map_release(&map);
}

static void memory_does_not_grow_with_the_number_of_changes(void **state)
{
    (void)state;
    struct map map;
    map_init(&map, 3, 10);
    for (int i = 0; i < 100000; i++) {
        assert_false(failed(map_set(&map, key(i % KEYS), &map)));
        if (i >= 9)
            assert_non_null(map_remove(&map, key((i - 9) % KEYS)));
    }
    assert_int_equal(map.count, 9);
    assert_in_range(map.cap, 9, 32);
    map_release(&map);
}

/* With the all-zero key, as another implementation of SipHash-1-3 (CPython 3.11's
 * bytes hash with PYTHONHASHSEED=0) computes them. */
static void the_hash_is_siphash_1_3(void **state)
{
    (void)state;
    uint8_t counting[63];
    for (size_t i = 0; i < sizeof(counting); i++)
        counting[i] = (uint8_t)i;
    assert_true(hash_bytes(0, SPAN("a")) == 0x407448d2b89b1813);
    assert_true(hash_bytes(0, SPAN("abcdefg")) == 0x6db12aae9070f506);
    assert_true(hash_bytes(0, SPAN("abcdefgh")) == 0x3f7b849c0b8e35ea);
    assert_true(hash_bytes(0, SPAN("the quick brown fox")) == 0x5a17575ad3449cba);
    assert_true(hash_bytes(0, span_of(counting, 63)) == 0x385d3e39e5f37359);
}

static void the_seed_changes_the_hash(void **state)
{
    (void)state;
    assert_true(hash_bytes(1, SPAN("model")) != hash_bytes(2, SPAN("model")));
    assert_true(hash_bytes(1, SPAN("model")) == hash_bytes(1, SPAN("model")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_what_a_list_would),
        cmocka_unit_test(keys_are_bytes_of_any_kind),
        cmocka_unit_test(entries_may_be_removed_while_they_are_visited),
        cmocka_unit_test(out_of_memory_leaves_the_map_as_it_was),
        cmocka_unit_test(memory_does_not_grow_with_the_number_of_changes),
        cmocka_unit_test(the_hash_is_siphash_1_3),
        cmocka_unit_test(the_seed_changes_the_hash),
    };
    return cmocka_run_group_tests_name("base/map", tests, NULL, NULL);
}
