#include "model/test_rig.h"

#include <stdlib.h>

void path_of(const char *variable, const char *rest, char buffer[512])
{
    const char *root = getenv(variable);
    assert_non_null(root);
    snprintf(buffer, 512, "%s%s", root, rest);
}

struct model_set_options options_of(const char *backends)
{
    static char path[512];
    path_of("WEIR_BUILD", backends, path);
    return (struct model_set_options){
        .backends_path = path,
        .engines_path = ENGINES_PATH,
        .batch_rows_max = 1,
        .queue_rows_max = 100000,
        .queue_bytes_max = 64 << 20,
        .slots = 2,
    };
}

void rig_make_in(struct rig *rig, struct process *process, const struct model_set_options *options)
{
    struct diag diag = {.code = ERR_NONE};
    struct metrics_options metrics = {.loops = process_loop_count(process)};
    *rig = (struct rig){.process = process, .options = *options};
    assert_false(failed(metrics_new(process, &metrics, &rig->metrics, &diag)));
    rig->slab = slab_host_new((uint64_t)1 << 30, 64 << 20);
    assert_non_null(rig->slab);
    rig->options.process = process;
    rig->options.metrics = rig->metrics;
    rig->options.slab = rig->slab;
    if (failed(model_set_new(&rig->options, &rig->set, &diag)))
        fail_msg("%s", diag.text);
}

void rig_make(struct rig *rig, int loops, const struct model_set_options *options)
{
    struct diag diag = {.code = ERR_NONE};
    struct io_uv_options uv = {.loops = loops, .compute_threads = 2, .file_threads = 2};
    struct process *process;
    if (failed(uv_process_new(&uv, &process, &diag)))
        fail_msg("%s", diag.text);
    rig_make_in(rig, process, options);
}

void rig_scan(struct rig *rig, const char *model)
{
    struct diag diag = {.code = ERR_NONE};
    char path[512], file[256];
    snprintf(file, sizeof(file), "/tests/fixtures/models/%s", model);
    path_of("WEIR_SOURCE", file, path);
    if (failed(model_set_scan(rig->set, path, NULL, &diag)))
        fail_msg("%s", diag.text);
}

static void settled(void *arg)
{
    struct rig *rig = arg;
    rig->settled++;
    if (rig->ready)
        rig->ready(rig);
    else
        process_stop(rig->process);
}

void rig_run(struct rig *rig, void (*ready)(struct rig *rig))
{
    rig->ready = ready;
    model_set_load(rig->set, settled, rig);
    process_run(rig->process);
    assert_int_equal(rig->settled, 1);
}

void rig_free(struct rig *rig)
{
    struct slab_stats stats;
    model_set_free(rig->set);
    slab_stats(rig->slab, &stats);
    assert_int_equal(stats.bytes_now, 0);
    slab_free(rig->slab);
    metrics_free(rig->metrics);
    process_free(rig->process);
}

/* ---- calls ---- */

static struct weir_tensor tensor(weir_type type, const int64_t *shape, int rank, void *data,
                                 size_t bytes)
{
    return (struct weir_tensor){.size = sizeof(struct weir_tensor),
                                .type = type,
                                .device_type = WEIR_CPU,
                                .rank = rank,
                                .shape = shape,
                                .data = data,
                                .bytes = bytes};
}

static const weir_type f32 = {WEIR_FLOAT, 32, 1};
static const weir_type i32 = {WEIR_INT, 32, 1};
static const weir_type i64 = {WEIR_INT, 64, 1};

void call_init(struct call *call, struct rig *rig, struct loop *loop, const char *model)
{
    *call = (struct call){.rig = rig};
    call->request.version = catalog_find(rig->set, loop, span_cstr(model), -1);
    call->request.home = loop;
    call->request.deadline = TIME_NEVER;
    call->request.inputs = call->inputs;
    call->request.arg = call;
}

static void call_rows(struct call *call, int64_t rows)
{
    call->rows = rows;
    call->shape[0] = rows;
    call->request.rows = rows;
}

void call_late(struct call *call, int64_t rows, int32_t delay_ms, int32_t mode, int64_t value)
{
    call_rows(call, rows);
    for (int64_t i = 0; i < rows; i++) {
        call->data.late.delay_ms[i] = delay_ms;
        call->data.late.mode[i] = mode;
        call->data.late.value[i] = value;
    }
    call->inputs[0] = tensor(i32, call->shape, 1, call->data.late.delay_ms, (size_t)rows * 4);
    call->inputs[1] = tensor(i32, call->shape, 1, call->data.late.mode, (size_t)rows * 4);
    call->inputs[2] = tensor(i64, call->shape, 1, call->data.late.value, (size_t)rows * 8);
}

void call_plus(struct call *call, int64_t rows, float a, float b)
{
    call_rows(call, rows);
    for (int64_t i = 0; i < rows; i++) {
        call->data.plus.a[i] = a + (float)i;
        call->data.plus.b[i] = b;
    }
    call->inputs[0] = tensor(f32, call->shape, 1, call->data.plus.a, (size_t)rows * 4);
    call->inputs[1] = tensor(f32, call->shape, 1, call->data.plus.b, (size_t)rows * 4);
}

void call_f32(struct call *call, int64_t rows, int64_t columns)
{
    call_rows(call, rows);
    call->shape[1] = columns;
    call->inputs[0] = tensor(f32, call->shape, columns ? 2 : 1, call->data.f32,
                             (size_t)(rows * MAX(columns, (int64_t)1)) * 4);
}

result call_submit(struct call *call, void (*done)(struct model_request *request))
{
    call->request.done = done;
    return model_submit(call->rig->set, &call->request);
}

/* ---- drivers ---- */

uint64_t random_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void driver_go_on(struct driver *driver);

static void driver_done(struct model_request *request)
{
    struct call *call = request->arg;
    struct driver *driver = call->driver;
    call->done++;
    if (call->done != 1 || !call->busy || !driver->right(driver, call))
        driver->wrong++;
    model_request_release(request);
    call->busy = false;
    driver->outstanding--;
    driver->completed++;
    driver_go_on(driver);
}

static void driver_go_on(struct driver *driver)
{
    for (int i = 0; i < DRIVER_CALLS && driver->submitted < driver->total &&
                    driver->outstanding < driver->outstanding_max;
         i++) {
        struct call *call = &driver->calls[i];
        if (call->busy)
            continue;
        call_init(call, driver->rig, driver->loop, driver->model);
        call->driver = driver;
        call->tag = (uint64_t)driver->submitted;
        driver->fill(driver, call);
        driver->submitted++;
        if (failed(call_submit(call, driver_done))) {
            driver->refused++;
            continue;
        }
        call->busy = true;
        driver->outstanding++;
        driver->outstanding_peak = MAX(driver->outstanding_peak, driver->outstanding);
    }
    if (driver->outstanding == 0 && driver->submitted < driver->total)
        timer_start(driver->loop, &driver->again, loop_now(driver->loop) + IO_MS);
    if (driver->outstanding == 0 && driver->submitted == driver->total) {
        driver->total = -1;
        if (atomic_fetch_sub(&driver->rig->busy, 1) == 1)
            process_stop(driver->rig->process);
    }
}

static void driver_again(struct io_timer *timer)
{
    driver_go_on(CONTAINER_OF(timer, struct driver, again));
}

static void driver_start(struct io_post *post)
{
    driver_go_on(CONTAINER_OF(post, struct driver, start));
}

void drivers_start(struct rig *rig, struct driver *drivers, int count)
{
    atomic_store(&rig->busy, count);
    for (int i = 0; i < count; i++) {
        struct driver *driver = &drivers[i];
        driver->rig = rig;
        driver->loop = process_loop(rig->process, i % process_loop_count(rig->process));
        driver->random = (uint64_t)i + 1;
        driver->start.run = driver_start;
        driver->again.fired = driver_again;
        loop_post(driver->loop, &driver->start);
    }
}
