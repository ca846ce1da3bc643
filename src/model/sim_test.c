/* A model set in the simulator: one thread, virtual time, and a seed that decides what
 * comes before what. WEIR_SIM_SEEDS says how many seeds, WEIR_SIM_SEED which one first. */
#include "model/test_rig.h"

#include "io/sim/sim.h"

#include <stdlib.h>

#define LOOPS 3
#define TOTAL 200

static struct driver drivers[LOOPS];
static uint64_t done_in_all;

static uint64_t number_of(const char *variable, uint64_t fallback)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : fallback;
}

/* What may have happened: an answer, or an end on the way that was asked for. */
static bool right(struct driver *driver, struct call *call)
{
    const struct model_request *request = &call->request;
    if (request->error == ERR_CANCELLED)
        return call->tag % 5 == 0;
    if (request->error == ERR_DEADLINE)
        return request->deadline != TIME_NEVER && request->ended_at >= request->deadline;
    if (request->error)
        return false;
    const float *y = request->outputs[0].data;
    for (int64_t i = 0; i < call->rows; i++)
        if (y[i] != call->data.plus.a[i] + call->data.plus.b[i])
            return false;
    return request->outputs[0].shape[0] == call->rows;
}

static void fill(struct driver *driver, struct call *call)
{
    uint64_t random = random_next(&driver->random);
    call_plus(call, 1 + (int64_t)(random % 4), (float)(random >> 8 & 255), (float)call->tag);
    if (call->tag % 3 == 0)
        call->request.deadline =
            loop_now(driver->loop) + 1 + (io_time)(random >> 16 & 1023) * IO_US;
}

/* Cancels what is under way, now and then. */
static struct io_timer cancel_timers[LOOPS];

static void cancel_some(struct io_timer *timer)
{
    struct driver *driver = &drivers[timer - cancel_timers];
    for (int i = 0; i < DRIVER_CALLS; i++)
        if (driver->calls[i].busy && driver->calls[i].tag % 5 == 0)
            model_cancel(driver->rig->set, &driver->calls[i].request);
    if (driver->total >= 0)
        timer_start(driver->loop, timer, loop_now(driver->loop) + 2 * IO_MS);
}

static void start(struct rig *rig)
{
    drivers_start(rig, drivers, LOOPS);
    /* Loop 0 only: timers belong to the loop that calls. */
    cancel_timers[0] = (struct io_timer){.fired = cancel_some};
    timer_start(process_loop(rig->process, 0), &cancel_timers[0],
                loop_now(process_loop(rig->process, 0)) + IO_MS);
}

static void put_file(struct process *process, const char *variable, const char *file)
{
    char path[512];
    path_of(variable, file, path);
    sim_file_put(process, path, SPAN("it is the real file that is opened"));
}

static uint64_t history(uint64_t seed)
{
    struct rig rig;
    uint64_t random = seed;
    struct world *world = sim_world_new(seed);
    struct process *process = sim_process_new(world, "serve", LOOPS);
    struct model_set_options options = options_of(TEST_BACKENDS);
    options.slots = 1 + (int)(random_next(&random) % 3);
    options.batch_rows_max = 1 + (uint32_t)(random_next(&random) % 8);
    options.batch_delay_max = (io_time)(random_next(&random) % 3) * 200 * IO_US;
    options.queue_rows_max = 40;
    put_file(process, "WEIR_BUILD", TEST_BACKENDS "/arithmetic.so");
    put_file(process, "WEIR_SOURCE", "/tests/fixtures/models/plus.arith");
    memset(drivers, 0, sizeof(drivers));
    for (int i = 0; i < LOOPS; i++)
        drivers[i] = (struct driver){
            .model = "plus", .total = TOTAL, .outstanding_max = 8, .fill = fill, .right = right};
    rig_make_in(&rig, process, &options);
    rig_scan(&rig, "plus.arith");
    rig_run(&rig, start);
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(drivers[i].wrong, 0);
        assert_int_equal(drivers[i].completed + drivers[i].refused, TOTAL);
    }
    done_in_all += (uint64_t)(drivers[0].completed + drivers[1].completed + drivers[2].completed);
    uint64_t hash = sim_trace_hash(world);
    rig_free(&rig);
    sim_world_free(world);
    return hash;
}

static void every_history_completes_each_request_once(void **state)
{
    uint64_t first = number_of("WEIR_SIM_SEED", 1), count = number_of("WEIR_SIM_SEEDS", 60);
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        history(seed);
    }
    print_message("%llu requests done\n", (unsigned long long)done_in_all);
    assert_true(done_in_all > count * TOTAL);
}

static void a_seed_has_one_history(void **state)
{
    assert_int_equal(history(5), history(5));
    assert_int_not_equal(history(5), history(6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_history_completes_each_request_once),
        cmocka_unit_test(a_seed_has_one_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
