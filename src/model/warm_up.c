/* The first runs of a version, before any request: they make later ones quick, give the
 * inline rule its data, and prove that batching changes no answer.
 *
 * The proof: PROBE_ROWS rows of different small numbers run alone and then stacked.
 * Answers must be equal; floating point within a tolerance, as a kernel may add in
 * another order. Where they are not, or where the rows cannot be run at all, the
 * version is served unbatched and the log says why.
 *
 * A backend that answers late is neither warmed nor proved: nothing here may wait.
 */
#include "base/alloc.h"
#include "base/arena.h"
#include "base/number.h"
#include "model/run.h"

#include <math.h>

#define PROBE_ROWS 4
#define PROBE_BYTES_MAX ((size_t)256 << 20)
/* The first ones are slow for reasons that do not come back. */
#define COLD_RUNS 3
#define WARM_RUNS 40
#define WARM_TIME (500 * IO_MS)

struct probe {
    struct servable *servable;
    struct arena arena;
    struct model_version view; /* for the requests: only its servable is read */
    struct model_request requests[PROBE_ROWS];
};

/* ---- inputs ---- */

static uint64_t bits_of_float(weir_type type, double value)
{
    float single = (float)value;
    uint64_t bits = 0;
    if (type.code == WEIR_BFLOAT)
        return number_bf16_of_f64(value);
    if (type.bits == 16)
        return number_f16_of_f64(value);
    if (type.bits == 32)
        memcpy(&bits, &single, sizeof(single));
    else
        memcpy(&bits, &value, sizeof(value));
    return bits;
}

/* Element `i` of row `row`: rows differ in size and sign, integers stay within what an
 * index may be. Little-endian, as the tensors are. */
static uint64_t element_bits(weir_type type, uint64_t i, int row, bool zero)
{
    if (zero)
        return 0;
    switch (type.code) {
    case WEIR_FLOAT:
    case WEIR_BFLOAT:
        return bits_of_float(type,
                             ((double)((i * 7 + (uint64_t)row * 3) % 11) - 5) * (1 + row) / 4);
    default:
        return (i + (uint64_t)row) % 2;
    }
}

static bool fill(struct probe *probe, const struct weir_port *port, int row, bool zero,
                 struct weir_tensor *ret_tensor)
{
    int64_t *shape = arena_zalloc(&probe->arena, WEIR_RANK_MAX, sizeof(*shape));
    int rank = MAX(port->rank, 0);
    uint64_t elements;
    if (!shape)
        return false;
    for (int d = 0; d < rank; d++)
        shape[d] = port->shape[d] < 0 ? 1 : port->shape[d];
    if (failed(shape_elements(shape, rank, PROBE_BYTES_MAX / 16, &elements)))
        return false;
    size_t size = type_size(port->type);
    uint8_t *data = arena_zalloc(&probe->arena, elements + 1, MAX(size, (size_t)1));
    uint64_t *offsets = NULL;
    if (!data)
        return false;
    if (port->type.code == WEIR_STRING) {
        offsets = arena_zalloc(&probe->arena, elements + 1, sizeof(*offsets));
        if (!offsets)
            return false;
        for (uint64_t i = 0; i < elements; i++)
            data[i] = (uint8_t)('0' + element_bits(port->type, i, row, zero));
        for (uint64_t i = 0; i <= elements; i++)
            offsets[i] = i;
        size = 1;
    }
    for (uint64_t i = 0; !offsets && i < elements; i++) {
        uint64_t bits = element_bits(port->type, i, row, zero);
        memcpy(data + i * size, &bits, size);
    }
    *ret_tensor = (struct weir_tensor){.size = sizeof(*ret_tensor),
                                       .type = port->type,
                                       .device_type = WEIR_CPU,
                                       .rank = rank,
                                       .shape = shape,
                                       .data = data,
                                       .bytes = elements * size,
                                       .offsets = offsets};
    return true;
}

static bool probe_fill(struct probe *probe, bool zero)
{
    const struct weir_model_info *info = &probe->servable->info;
    arena_clear(&probe->arena);
    for (int row = 0; row < PROBE_ROWS; row++) {
        struct weir_tensor *inputs =
            arena_zalloc(&probe->arena, (size_t)info->inputs_len + 1, sizeof(*inputs));
        if (!inputs)
            return false;
        for (int i = 0; i < info->inputs_len; i++)
            if (!fill(probe, &info->inputs[i], row, zero, &inputs[i]))
                return false;
        probe->requests[row] =
            (struct model_request){.version = &probe->view, .inputs = inputs, .rows = 1};
        probe->requests[row].state.item.rows = 1;
    }
    return true;
}

/* ---- runs ---- */

/* Runs `count` rows from `first` on as one. NULL when it fails, with the reason. The
 * answer came during the call, or never will be looked at: the task is held open once
 * more than anybody closes it. */
static struct run *probe_run(struct probe *probe, int first, int count, struct diag *diag)
{
    struct servable *servable = probe->servable;
    struct batch batch = {.items_len = (uint32_t)count, .rows = count};
    list_init(&batch.items);
    for (int i = first; i < first + count; i++)
        list_push(&batch.items, &probe->requests[i].state.item.node);
    struct run *run;
    bool out_of_memory = failed(run_new(servable, &batch, &run));
    struct list *items = out_of_memory ? &batch.items : &run->items;
    while (list_pop(items))
        continue;
    if (out_of_memory) {
        ignore(diag_fail(diag, ERR_NO_MEMORY, "no memory for a warm-up run"));
        return NULL;
    }
    ref_init(&run->task.open);
    ref_get(&run->task.open);
    ref_get(&run->task.open);
    run_execute(run, process_clock(servable->set->process), true);
    if (ref_count(&run->task.open) != 2) {
        servable->synchronous = false;
        ignore(diag_fail(diag, ERR_BACKEND,
                         "the backend says that it answers before execute returns, and did not"));
        return NULL;
    }
    if (run->status)
        ignore(diag_fail(diag, backend_err(run->status), "%s", run->text));
    for (int i = 0; i < count; i++)
        run_unref(run);
    if (!run->status)
        return run;
    run_unref(run);
    return NULL;
}

/* ---- comparing ---- */

static double float_at(weir_type type, const uint8_t *at)
{
    uint16_t half;
    float single;
    double value;
    if (type.bits == 16) {
        memcpy(&half, at, sizeof(half));
        return type.code == WEIR_BFLOAT ? number_f32_of_bf16(half) : number_f32_of_f16(half);
    }
    if (type.bits == 32) {
        memcpy(&single, at, sizeof(single));
        return single;
    }
    memcpy(&value, at, sizeof(value));
    return value;
}

static bool float_close(weir_type type, double a, double b)
{
    double relative = type.bits == 64 ? 1e-9 : type.bits == 32 ? 1e-4 : 2e-2;
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= relative * (fabs(a) + fabs(b)) / 2 + relative / 10;
}

static bool strings_equal(const struct weir_tensor *lone, const struct weir_tensor *stacked,
                          uint64_t from, uint64_t elements)
{
    for (uint64_t i = 0; i < elements; i++) {
        const uint64_t *a = &lone->offsets[i], *b = &stacked->offsets[from + i];
        if (!span_eq(span_of((const uint8_t *)lone->data + a[0], a[1] - a[0]),
                     span_of((const uint8_t *)stacked->data + b[0], b[1] - b[0])))
            return false;
    }
    return true;
}

/* Whether row `row` of `stacked` is the one row of `lone`. */
static bool row_equal(const struct weir_tensor *lone, const struct weir_tensor *stacked, int row)
{
    uint64_t elements;
    if (lone->rank != stacked->rank || lone->shape[0] != 1 || stacked->shape[0] <= row)
        return false;
    for (int d = 1; d < lone->rank; d++)
        if (lone->shape[d] != stacked->shape[d])
            return false;
    if (failed(shape_elements(lone->shape, lone->rank, UINT64_MAX, &elements)))
        return false;
    uint64_t from = elements * (uint64_t)row;
    if (lone->offsets)
        return strings_equal(lone, stacked, from, elements);
    size_t size = type_size(lone->type);
    const uint8_t *a = lone->data, *b = (const uint8_t *)stacked->data + from * size;
    if (lone->type.code != WEIR_FLOAT && lone->type.code != WEIR_BFLOAT)
        return memcmp(a, b, elements * size) == 0;
    for (uint64_t i = 0; i < elements; i++)
        if (!float_close(lone->type, float_at(lone->type, a + i * size),
                         float_at(lone->type, b + i * size)))
            return false;
    return true;
}

/* The output that shows that stacking changes answers, or NULL. */
static const char *rows_differ(const struct servable *servable, const struct run *lone,
                               const struct run *stacked, int row)
{
    for (int i = 0; i < servable->info.outputs_len; i++)
        if (!row_equal(&lone->outputs[i].tensor, &stacked->outputs[i].tensor, row))
            return servable->info.outputs[i].name;
    return NULL;
}

/* ---- the proof ---- */

static bool proved(struct probe *probe, bool zero, struct diag *diag)
{
    struct servable *servable = probe->servable;
    int rows = (int)MIN(servable->limits.batch_rows_max, (int64_t)PROBE_ROWS);
    if (!probe_fill(probe, zero)) {
        ignore(diag_fail(diag, ERR_NO_MEMORY, "no memory for rows to try"));
        return false;
    }
    struct run *stacked = probe_run(probe, 0, rows, diag);
    bool same = stacked != NULL;
    for (int row = 0; same && row < rows; row++) {
        struct run *lone = probe_run(probe, row, 1, diag);
        if (!lone) {
            same = false;
            break;
        }
        const char *output = rows_differ(servable, lone, stacked, row);
        if (output) {
            ignore(diag_fail(diag, ERR_PRECONDITION,
                             "output '%.100s' of a row depends on the rows it runs with", output));
            same = false;
        }
        run_unref(lone);
    }
    if (stacked)
        run_unref(stacked);
    return same;
}

/* Numbers that a model refuses say nothing about batching: then with zeros. */
static void batching_prove(struct probe *probe)
{
    struct servable *servable = probe->servable;
    struct diag diag = {.code = ERR_NONE};
    bool same = proved(probe, false, &diag);
    if (!same && diag.code != ERR_PRECONDITION) {
        diag = (struct diag){.code = ERR_NONE};
        same = proved(probe, true, &diag);
    }
    if (same)
        return;
    servable->limits.batch_rows_max = 1;
    log_event(servable->set->options.log, EVENT_MODEL_UNBATCHED,
              LOG_FIELDS(log_str("model", servable->name), log_int("version", servable->number)),
              "%s is served unbatched: %s", servable->name, diag.text);
}

/* ---- warming ---- */

static void warm(struct probe *probe)
{
    struct servable *servable = probe->servable;
    struct process *process = servable->set->process;
    struct diag diag = {.code = ERR_NONE};
    io_time until = process_clock(process) + WARM_TIME;
    bool works = probe_fill(probe, true);
    for (int i = 0; works && i < COLD_RUNS + WARM_RUNS; i++) {
        struct run *run = probe_run(probe, 0, 1, &diag);
        works = run != NULL;
        if (run && i >= COLD_RUNS) {
            servable->warm_runs++;
            servable->warm_slow += run->took >= INLINE_SLOW;
        }
        if (run)
            run_unref(run);
        if (process_clock(process) > until)
            break;
    }
    if (!works)
        log_event(servable->set->options.log, EVENT_BACKEND_MESSAGE,
                  LOG_FIELDS(log_str("model", servable->name)),
                  "%s cannot be warmed up with zeros: %s", servable->name, diag.text);
}

void servable_warm_up(struct servable *servable)
{
    if (!servable->synchronous)
        return;
    struct probe *probe = MEM_NEW(struct probe);
    if (!probe)
        return;
    probe->servable = servable;
    probe->view.servable = servable;
    arena_init(&probe->arena, 4096, PROBE_BYTES_MAX);
    warm(probe);
    if (servable->synchronous && servable->limits.batch_rows_max > 1)
        batching_prove(probe);
    arena_release(&probe->arena);
    mem_free(probe);
}
