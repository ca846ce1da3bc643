#include "base/alloc.h"
#include "base/poison.h"
#include "base/slab.h"
#include "base/test_cmocka.h"
#include "base/test_random.h"

#include <pthread.h>
#include <string.h>

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)

static struct slab_stats stats_of(struct slab *slab)
{
    struct slab_stats stats;
    slab_stats(slab, &stats);
    return stats;
}

static void blocks_are_aligned_and_of_the_next_class(void **state)
{
    (void)state;
    struct slab *slab = slab_host_new(64 * MB, 0);
    static const struct {
        size_t size, cap;
    } cases[] = {
        {0, 4 * KB},          {1, 4 * KB},        {4 * KB, 4 * KB},      {4 * KB + 1, 8 * KB},
        {20 * KB, 32 * KB},   {32 * KB, 32 * KB}, {33 * KB, 64 * KB},    {64 * KB, 64 * KB},
        {65 * KB, 80 * KB},   {80 * KB, 80 * KB}, {81 * KB, 96 * KB},    {113 * KB, 128 * KB},
        {129 * KB, 160 * KB}, {MB, MB},           {MB + 1, MB + MB / 4}, {33 * MB, 40 * MB},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct block *block = slab_get(slab, cases[i].size);
        assert_non_null(block);
        assert_int_equal(block->cap, cases[i].cap);
        assert_int_equal((uintptr_t)block->ptr % SLAB_ALIGN, 0);
        assert_ptr_equal(block->slab, slab);
        block->ptr[0] = block->ptr[block->cap - 1] = 1;
        block_unref(block);
    }
    slab_free(slab);
}

static void the_maximum_holds_and_refusals_are_counted(void **state)
{
    (void)state;
    struct slab *slab = slab_host_new(MB, MB);
    struct block *half = slab_get(slab, MB / 2), *other = slab_get(slab, MB / 2);
    assert_non_null(half);
    assert_non_null(other);
    assert_null(slab_get(slab, 1));
    assert_null(slab_get(slab, SIZE_MAX));
    assert_int_equal(stats_of(slab).refused, 2);
    assert_int_equal(stats_of(slab).bytes_now, MB);
    assert_int_equal(stats_of(slab).bytes_max, MB);
    block_unref(half);
    assert_int_equal(stats_of(slab).bytes_now, MB / 2);
    assert_int_equal(stats_of(slab).bytes_peak, MB);
    half = slab_get(slab, 300 * KB);
    assert_non_null(half);
    block_unref(half);
    block_unref(other);
    block_unref(NULL);
    slab_host_set_max(slab, 4 * KB, 0);
    assert_null(slab_get(slab, 5 * KB));
    slab_free(slab);
    slab_free(NULL);
}

static void out_of_memory_is_no_block_and_counted(void **state)
{
    (void)state;
    struct slab *slab = slab_host_new(MB, MB);
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_after(n, false);
        assert_null(slab_get(slab, 1));
        mem_fail_after(0, false);
        assert_int_equal(stats_of(slab).refused, n);
        assert_int_equal(stats_of(slab).bytes_now, 0);
    }
    slab_free(slab);
    mem_fail_after(1, false);
    assert_null(slab_host_new(MB, MB));
    mem_fail_after(0, false);
}

static void a_block_comes_back_with_its_last_holder_and_is_used_again(void **state)
{
    (void)state;
    struct slab *slab = slab_host_new(MB, MB);
    struct block *block = slab_get(slab, 100 * KB);
    uint8_t *ptr = block->ptr;
    assert_ptr_equal(block_ref(block), block);
    block_unref(block);
    assert_int_equal(stats_of(slab).bytes_now, 112 * KB);
    ptr[0] = 1;
    block_unref(block);
    assert_int_equal(stats_of(slab).bytes_now, 0);
    assert_int_equal(stats_of(slab).bytes_free, 112 * KB);
    mem_fail_after(1, true);
    struct block *again = slab_get(slab, 110 * KB);
    mem_fail_after(0, false);
    assert_non_null(again);
    assert_ptr_equal(again->ptr, ptr);
    assert_int_equal(ref_count(&again->ref), 1);
    assert_int_equal(stats_of(slab).bytes_free, 0);
    block_unref(again);
    slab_free(slab);
}

static void memory_comes_back_after_a_burst(void **state)
{
    (void)state;
    struct slab *slab = slab_host_new(64 * MB, 256 * KB);
    struct block *blocks[100];
    for (int i = 0; i < 100; i++)
        blocks[i] = slab_get(slab, 64 * KB);
    assert_int_equal(stats_of(slab).bytes_now, 6400 * KB);
    for (int i = 0; i < 100; i++)
        block_unref(blocks[i]);
    assert_int_equal(stats_of(slab).bytes_now, 0);
    assert_int_equal(stats_of(slab).bytes_free, 256 * KB);
    slab_free(slab);
}

static void sizes_no_longer_asked_for_make_room(void **state)
{
    (void)state;
    struct slab *slab = slab_host_new(64 * MB, 256 * KB);
    struct block *blocks[4];
    for (int i = 0; i < 4; i++)
        blocks[i] = slab_get(slab, 64 * KB);
    for (int i = 0; i < 4; i++)
        block_unref(blocks[i]);
    struct block *large = slab_get(slab, 200 * KB);
    uint8_t *ptr = large->ptr;
    block_unref(large);
    assert_int_equal(stats_of(slab).bytes_free, 224 * KB);
    large = slab_get(slab, 200 * KB);
    assert_ptr_equal(large->ptr, ptr);
    block_unref(large);
    /* Larger than what may be kept at all: nothing gives way to it. */
    block_unref(slab_get(slab, MB));
    assert_int_equal(stats_of(slab).bytes_free, 224 * KB);
    slab_free(slab);
}

static void a_slab_goes_with_its_last_block(void **state)
{
    (void)state;
    /* What is too early is a use after free, what never comes is a leak: both for ASan. */
    struct slab *slab = slab_host_new(MB, MB);
    struct block *kept = slab_get(slab, 1), *block = slab_get(slab, 1);
    block_unref(kept);
    slab_free(slab);
    block->ptr[4 * KB - 1] = 1;
    assert_int_equal(stats_of(block->slab).bytes_free, 0);
    assert_int_equal(stats_of(block->slab).bytes_now, 4 * KB);
    block_unref(block);
}

static void a_free_block_is_poisoned(void **state)
{
    (void)state;
#if POISON_WORKS
    struct slab *slab = slab_host_new(MB, MB);
    struct block *block = slab_get(slab, 1);
    uint8_t *ptr = block->ptr;
    block_unref(block);
    assert_true(__asan_address_is_poisoned(ptr));
    assert_true(__asan_address_is_poisoned(block));
    block = slab_get(slab, 1);
    assert_ptr_equal(block->ptr, ptr);
    assert_false(__asan_address_is_poisoned(ptr + 4 * KB - 1));
    block_unref(block);
    slab_free(slab);
#else
    skip();
#endif
}

struct worker {
    struct slab *slab;
    uint8_t mark;
    uint64_t seed, got;
    pthread_t thread;
};

static void *get_and_put(void *arg)
{
    struct worker *worker = arg;
    struct block *held[8] = {0};
    for (int i = 0; i < 5000; i++) {
        struct block **place = &held[test_random(&worker->seed) % 8];
        if (*place && (*place)->ptr[0] != worker->mark)
            fail_msg("a block in use was handed out twice");
        block_unref(steal(place));
        *place = slab_get(worker->slab, test_random(&worker->seed) % (200 * KB));
        if (*place) {
            (*place)->ptr[0] = worker->mark;
            worker->got++;
        }
    }
    for (int i = 0; i < 8; i++)
        block_unref(held[i]);
    return NULL;
}

static void many_threads_share_a_slab(void **state)
{
    (void)state;
    struct slab *slab = slab_host_new(2 * MB, MB / 2);
    struct worker workers[4];
    uint64_t got = 0;
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){slab, (uint8_t)i, (uint64_t)i + 1, 0, 0};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, get_and_put, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        got += workers[i].got;
    }
    struct slab_stats stats = stats_of(slab);
    assert_int_equal(got + stats.refused, 4 * 5000);
    assert_int_equal(stats.bytes_now, 0);
    assert_true(stats.bytes_peak <= 2 * MB);
    assert_true(stats.bytes_free <= MB / 2);
    slab_free(slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_of_the_next_class),
        cmocka_unit_test(the_maximum_holds_and_refusals_are_counted),
        cmocka_unit_test(out_of_memory_is_no_block_and_counted),
        cmocka_unit_test(a_block_comes_back_with_its_last_holder_and_is_used_again),
        cmocka_unit_test(memory_comes_back_after_a_burst),
        cmocka_unit_test(sizes_no_longer_asked_for_make_room),
        cmocka_unit_test(a_slab_goes_with_its_last_block),
        cmocka_unit_test(a_free_block_is_poisoned),
        cmocka_unit_test(many_threads_share_a_slab),
    };
    return cmocka_run_group_tests_name("base/slab", tests, NULL, NULL);
}
