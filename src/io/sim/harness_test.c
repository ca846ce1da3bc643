/* What the harness of worlds promises: every kind of failure is found, and told with the
 * seed that plays it again. Each failing world runs in a process of its own. */
#include "io/sim/test_world.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct state {
    struct process *process;
    struct io_timer timer;
    int fired;
};

static void fire(struct io_timer *timer)
{
    struct state *s = CONTAINER_OF(timer, struct state, timer);
    s->fired++;
    timer_start(process_loop(s->process, 0), timer, process_clock(s->process) + IO_SEC);
}

static bool fired_enough(struct life *life)
{
    return ((struct state *)life->state)->fired == 10;
}

static bool never(struct life *life)
{
    return false;
}

static void play_until(struct life *life, bool (*over)(struct life *life))
{
    struct state *s = life->state;
    s->process = sim_process_new(life->world, "one", 1);
    s->timer.fired = fire;
    timer_start(process_loop(s->process, 0), &s->timer, sim_now(life->world));
    life_run(life, over);
    process_free(s->process);
}

static void play(struct life *life)
{
    play_until(life, fired_enough);
}

static void play_for_ever(struct life *life)
{
    play_until(life, never);
}

static void play_and_leak(struct life *life)
{
    play(life);
    if (life->seed == 3)
        (void)!mem_alloc(1);
}

static void play_and_assert(struct life *life)
{
    play(life);
    ASSERT(life->seed != 3);
}

static void play_by_another_clock(struct life *life)
{
    static io_time played;
    sim_run_until(life->world, sim_now(life->world) + ++played * IO_SEC);
    play(life);
}

static void check(struct life *life)
{
    struct state *s = life->state;
    life_check(life, life->seed != 3 || s->fired < 5, "fired %d times", s->fired);
}

static struct world_test plan;

static void the_planned_world(void **state)
{
    world_play(&plan);
}

/* What a program prints that plays the plan, and its exit status; -1 for a signal. */
static int run_planned(const struct world_test *test, char output[16384])
{
    int ends[2], status = 0;
    size_t len = 0;
    plan = *test;
    plan.size = sizeof(struct state);
    fflush(NULL);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const struct CMUnitTest tests[] = {world_unit_test(the_planned_world)};
        char *argv[] = {NULL};
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        _exit(world_run_tests(1, argv, tests));
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], output + len, 16383 - len)) > 0;)
        len += (size_t)n;
    output[len] = '\0';
    close(ends[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_world_that_holds_says_how_many_seeds_it_played(void **state)
{
    static char output[16384];
    assert_int_equal(run_planned(&(struct world_test){5, 60 * IO_SEC, .play = play}, output), 0);
    assert_non_null(strstr(output, "# world the_planned_world: 5 seeds"));
}

static void assert_told(const struct world_test *test, const char *what, const char *seed)
{
    static char output[16384];
    int code = run_planned(test, output);
    if (code == 0 || !strstr(output, what) || !strstr(output, seed))
        fail_msg("%d: no '%s' or '%s' in: %s", code, what, seed, output);
}

static void each_kind_of_failure_is_told_with_its_seed(void **state)
{
    struct world_test test = {5, 60 * IO_SEC, .play = play, .check = check};
    assert_told(&test, "fired 5 times", "again: WEIR_SIM_SEED=3 ");
    test.check = NULL;
    test.play = play_for_ever;
    assert_told(&test, "lasts too long", "again: WEIR_SIM_SEED=1 ");
    test.play = play_and_leak;
    assert_told(&test, "1 blocks were not given back", "again: WEIR_SIM_SEED=3 ");
    test.play = play_and_assert;
    assert_told(&test, "life->seed != 3", "again: WEIR_SIM_SEED=3 ");
    test.play = play_by_another_clock;
    assert_told(&test, "two histories", "again: WEIR_SIM_SEED=1 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_world_that_holds_says_how_many_seeds_it_played),
        cmocka_unit_test(each_kind_of_failure_is_told_with_its_seed),
    };
    unsetenv("WEIR_SIM_SEED"); /* the plans' own hold */
    unsetenv("WEIR_SIM_SEEDS");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
