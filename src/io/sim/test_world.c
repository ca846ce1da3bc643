#include "io/sim/test_world.h"

#include "base/alloc.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#define on_sanitizer(fn) __sanitizer_set_death_callback(fn)
#else
static void __lsan_disable(void)
{
}
static void __lsan_enable(void)
{
}
#define on_sanitizer(fn) ((void)(fn))
#endif

/* Every so many seeds, one is played twice. */
#define TWICE_EVERY 25

/* What is being played, for whoever reports a failure from outside. */
static struct {
    struct life life;
    bool playing;
    const char *test;
} now;

/* ---- chance ---- */

uint64_t life_draw(struct life *life, uint64_t below)
{
    /* SplitMix64, see io/sim/world.c. */
    life->random += 0x9e3779b97f4a7c15u;
    uint64_t z = life->random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return below > 0 ? z % below : 0;
}

bool life_chance(struct life *life, unsigned percent)
{
    return life_draw(life, 100) < percent;
}

/* ---- failure ---- */

static void tell_happening(void *arg, io_time at, const char *what, uint64_t a, uint64_t b)
{
    fprintf(stderr, "  %14.9f  %-10s %llu %llu\n", (double)(at - *(io_time *)arg) / 1e9, what,
            (unsigned long long)a, (unsigned long long)b);
}

static void tell_commit(void)
{
    char line[128] = "unknown";
    const char *source = getenv("WEIR_SOURCE");
    char command[600];
    snprintf(command, sizeof(command), "git -C '%s' describe --always --dirty 2>/dev/null",
             source ? source : ".");
    /* NOLINTNEXTLINE(cert-env33-c): a failed test's report, with a path of the build's own */
    FILE *git = popen(command, "r");
    if (git && fgets(line, sizeof(line), git))
        line[strcspn(line, "\n")] = '\0';
    if (git)
        pclose(git);
    fprintf(stderr, "commit %s\n", line);
}

static void tell_command(uint64_t seed)
{
    char program[400] = "";
    const char *build = getenv("WEIR_BUILD"), *source = getenv("WEIR_SOURCE");
    if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
        program[0] = '\0';
    fprintf(stderr, "again: WEIR_SIM_SEED=%llu WEIR_BUILD=%s WEIR_SOURCE=%s %s %s\n",
            (unsigned long long)seed, build ? build : "", source ? source : "", program,
            now.test ? now.test : "");
}

/* Once for each life. */
static void tell(void)
{
    struct life *life = &now.life;
    if (!now.playing)
        return;
    now.playing = false;
    fflush(stdout);
    fprintf(stderr, "\nseed %llu failed after %.9f virtual seconds; the last that happened:\n",
            (unsigned long long)life->seed, (double)(sim_now(life->world) - life->began_at) / 1e9);
    sim_trace_tail(life->world, tell_happening, &life->began_at);
    tell_commit();
    tell_command(life->seed);
}

static void on_abort(int signal_number)
{
    tell();
}

void life_failed(struct life *life, const char *what, const char *file, int line,
                 const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fprintf(stderr, "%s:%d: not so: %s: ", file, line, what);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    tell();
    _fail(file, line);
}

int world_test_teardown(void **state)
{
    tell();
    mem_count(false);
    return 0;
}

void world_pick_tests(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGABRT, &action, NULL); /* returns, and the process aborts */
    on_sanitizer(tell);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
}

/* ---- lives ---- */

static void after_each_event(void *arg)
{
    struct life *life = arg;
    life_check(life, sim_now(life->world) - life->began_at <= life->test->limit,
               "the world lasts too long");
    if (life->test->check)
        life->test->check(life);
}

void life_run(struct life *life, bool (*over)(struct life *life))
{
    while (!over(life))
        life_check(life, sim_step(life->world), "nothing happens any more");
}

void life_may_leak(struct life *life)
{
    if (!life->may_leak)
        __lsan_disable();
    life->may_leak = true;
}

void life_leaks(struct life *life)
{
    ASSERT(life->may_leak);
    life->leaks = true;
}

/* Plays a seed; its history's hash. */
static uint64_t live(const struct world_test *test, uint64_t seed, io_time *ret_lasted)
{
    struct life *life = &now.life;
    mem_count(true);
    *life = (struct life){.test = test, .seed = seed, .random = seed * 0x2545f4914f6cdd1du};
    life->world = sim_world_new(seed);
    life->state = mem_must(mem_zalloc(1, test->size), test->size);
    life->began_at = sim_now(life->world);
    sim_world_watch(life->world, after_each_event, life);
    now.playing = true;
    test->play(life);
    now.playing = false;
    uint64_t hash = sim_trace_hash(life->world);
    *ret_lasted = sim_now(life->world) - life->began_at;
    if (life->may_leak)
        __lsan_enable();
    mem_free(life->state);
    sim_world_free(life->world);
    int64_t left = mem_count(false);
    if (left != 0 && !life->leaks) {
        tell_command(seed);
        fail_msg("seed %llu: %lld blocks were not given back", (unsigned long long)seed,
                 (long long)left);
    }
    return hash;
}

static uint64_t number_of(const char *variable, uint64_t fallback)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : fallback;
}

uint64_t world_seeds(uint64_t fallback)
{
    return MAX(number_of("WEIR_SIM_SEEDS", fallback), (uint64_t)1);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void world_play_named(const char *name, const struct world_test *test)
{
    now.test = name;
    uint64_t first = number_of("WEIR_SIM_SEED", 1);
    uint64_t count = world_seeds(getenv("WEIR_SIM_SEED") ? 1 : test->seeds);
    io_time lasted, in_all = 0;
    double began = seconds();
    for (uint64_t seed = first; seed < first + count; seed++) {
        uint64_t hash = live(test, seed, &lasted);
        in_all += lasted;
        if ((seed - first) % TWICE_EVERY != 0)
            continue;
        if (live(test, seed, &lasted) != hash) {
            tell_command(seed);
            fail_msg("seed %llu has two histories", (unsigned long long)seed);
        }
        in_all += lasted;
    }
    double took = MAX(seconds() - began, 1e-6);
    print_message("# world %s: %llu seeds in %.1f s, %.0f seeds/s, %.0f virtual s, %.0f times "
                  "real time\n",
                  name, (unsigned long long)count, took, (double)count / took, (double)in_all / 1e9,
                  (double)in_all / 1e9 / took);
}
