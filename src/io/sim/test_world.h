/* For tests only: worlds that many seeds play.
 *
 *     struct state { struct process *server; int answered; };
 *
 *     static void play(struct life *life)
 *     {
 *         struct state *s = life->state;
 *         sim_faults_draw(life->world);
 *         s->server = sim_process_new(life->world, "server", 1 + (int)life_draw(life, 3));
 *         ...
 *         life_run(life, over);
 *         process_free(s->server);
 *     }
 *     static void check(struct life *life)
 *     {
 *         struct state *s = life->state;
 *         life_check(life, s->answered <= s->asked, "%d answers", s->answered);
 *     }
 *     static void every_call_is_answered_once(void **state)
 *     {
 *         world_play(&(struct world_test){.seeds = 200, .limit = 600 * IO_SEC,
 *                                         .size = sizeof(struct state),
 *                                         .play = play, .check = check});
 *     }
 *     int main(int argc, char **argv)
 *     {
 *         const struct CMUnitTest tests[] = {world_unit_test(every_call_is_answered_once)};
 *         return world_run_tests(argc, argv, tests);
 *     }
 *
 * Each seed is a life: a world, a zeroed state, and `play`, which makes processes, runs and
 * frees them. `check` runs after every event of the world. Whatever fails (a check, an
 * assertion of cmocka's or of Weir's, a sanitizer), the seed, the commit, the last that
 * happened and the command that plays it again are printed. Some seeds are played twice,
 * and have to give one history. What a life took from the heap it gives back.
 *
 * WEIR_SIM_SEEDS=N plays N seeds instead of the test's own number; WEIR_SIM_SEED=S begins
 * with S and, alone, plays just that one. An argument picks tests by name, with `*`.
 *
 * Threads: one.
 */
#pragma once

#include "base/test_cmocka.h"
#include "io/sim/sim.h"

struct life;

struct world_test {
    unsigned seeds;
    io_time limit; /* of virtual time: a life that lasts longer has failed */
    size_t size;   /* of the state */
    void (*play)(struct life *life);
    void (*check)(struct life *life); /* may be NULL */
};

struct life {
    const struct world_test *test;
    struct world *world;
    void *state;
    uint64_t seed, random;
    io_time began_at;
    bool may_leak, leaks;
};

#define world_play(...) world_play_named(__func__, __VA_ARGS__)
void world_play_named(const char *name, const struct world_test *test);

/* From 0 to `below` - 1, and whether it happens: of the seed, but not of the world, whose
 * own history goes on as it would. */
uint64_t life_draw(struct life *life, uint64_t below);
bool life_chance(struct life *life, unsigned percent);
/* Steps until `over`; fails when nothing happens any more or the limit is reached. */
void life_run(struct life *life, bool (*over)(struct life *life));
/* At the beginning: a process of this life may crash, or have its work cut. */
void life_may_leak(struct life *life);
/* It has: what it used is lost. */
void life_leaks(struct life *life);

#define life_check(life, x, ...) \
    (LIKELY(x) ? (void)0 : life_failed((life), #x, __FILE__, __LINE__, __VA_ARGS__))
void life_failed(struct life *life, const char *what, const char *file, int line,
                 const char *format, ...) PRINTF_LIKE(5, 6);

/* For tests that make their worlds by other means: how many seeds are wanted. */
uint64_t world_seeds(uint64_t fallback);

int world_test_teardown(void **state);
#define world_unit_test(f) {#f, f, NULL, world_test_teardown, NULL}
#define world_run_tests(argc, argv, tests) \
    (world_pick_tests((argc), (argv)), cmocka_run_group_tests((tests), NULL, NULL))
void world_pick_tests(int argc, char **argv);
