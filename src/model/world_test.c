/* Two models, their queues and run slots, in simulated worlds: what batcher.h, slots.h and
 * model.h promise holds after every event. The backend is this file's own, and answers at
 * once, late, out of order, or with an error. */
#include "base/alloc.h"
#include "io/sim/test_world.h"
#include "model/run.h"
#include "obs/metrics.h"

#include <stdio.h>

#define LOOPS_MAX 3
#define MODELS 2
#define ASKS_MAX 400
#define ROWS_MAX 6
#define TOLERANCE (2 * IO_MS)

struct ask {
    struct state *s;
    struct model_request request;
    struct weir_tensor input;
    int64_t shape[1], rows[ROWS_MAX];
    int loop, model, done, executed;
    bool cancelled;
    io_time decided_at; /* its outcome is known, and is to be told; 0: not yet */
};

struct state {
    struct life *life;
    struct process *process;
    struct metrics *metrics;
    struct slab *slab;
    struct model_set *set;
    struct toy {
        weir_backend backend; /* first */
        struct state *s;
    } toy;
    weir_host host;
    struct ask asks[ASKS_MAX];
    int asks_len, asks_max, open;
    int last[LOOPS_MAX][MODELS]; /* the last ask that ran of those a loop sent */
    bool settled;
    struct sender {
        struct io_timer timer;
        struct io_post start;
        struct state *s;
        int loop;
    } senders[LOOPS_MAX];
    int loops, slots, jobs;
    unsigned error_percent, cancel_percent;
    io_time idle_since[MODELS]; /* a slot, while work waits; 0: no */
    io_time job_max;
};

/* ---- the backend ---- */

/* A late answer. */
struct job {
    struct io_work work;
    struct state *s;
    weir_request *request; /* NULL: answered */
    struct job *next;
};

static const int64_t any_rows[] = {-1};
static const weir_port input_port = {sizeof(weir_port), "id", {WEIR_INT, 64, 1}, 1, any_rows};
static const weir_port output_port = {sizeof(weir_port), "y", {WEIR_INT, 64, 1}, 1, any_rows};

static int32_t model_load(weir_backend *backend, const weir_model_config *config,
                          weir_model **ret_model, weir_error *error)
{
    *ret_model = (weir_model *)backend;
    return WEIR_OK;
}

static void model_info(weir_model *model, weir_model_info *ret_info)
{
    *ret_info = (weir_model_info){.size = sizeof(*ret_info),
                                  .inputs_len = 1,
                                  .outputs_len = 1,
                                  .inputs = &input_port,
                                  .outputs = &output_port,
                                  .batchable = 1,
                                  .platform = "toy"};
}

static void model_free(weir_model *model)
{
}

static int32_t instance_new(weir_model *model, weir_instance **ret_instance, weir_error *error)
{
    *ret_instance = (weir_instance *)model;
    return WEIR_OK;
}

static void instance_free(weir_instance *instance)
{
}

/* Rows are numbered by their ask and place; those of the warm-up are small. */
#define ROW_FIRST 1000

static int64_t answer_to(int64_t row)
{
    return row * 2 + 1;
}

static void note_row(struct state *s, int64_t row)
{
    if (row < ROW_FIRST)
        return;
    int index = (int)(row / ROW_FIRST) - 1;
    struct ask *ask = &s->asks[index];
    bool first = row % ROW_FIRST == 0;
    ask->executed++;
    life_check(s->life, ask->executed <= ask->request.rows, "ask %d ran twice", index);
    life_check(s->life, !ask->done, "ask %d ran after its end", index);
    life_check(s->life, ask->request.deadline > sim_now(s->life->world),
               "ask %d ran after its deadline", index);
    if (!first)
        return;
    int *last = &s->last[ask->loop][ask->model];
    life_check(s->life, index >= *last, "ask %d ran after ask %d of the same loop", index, *last);
    *last = index;
}

static void respond(struct state *s, weir_request *request)
{
    weir_tensor in = {.size = sizeof(in)};
    void *memory;
    s->host.request_input(request, 0, &in);
    if (life_chance(s->life, s->error_percent)) {
        s->host.respond_error(request, WEIR_INTERNAL, "a bad day");
        return;
    }
    int32_t status =
        s->host.tensor_alloc(request, 0, output_port.type, 1, in.shape, WEIR_CPU, &memory);
    if (status) {
        s->host.respond_error(request, status, "no memory");
        return;
    }
    for (int64_t i = 0; i < in.shape[0]; i++)
        ((int64_t *)memory)[i] = answer_to(((const int64_t *)in.data)[i]);
    s->host.respond(request, 1);
}

static void job_run(struct io_work *work)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    if (job->request)
        respond(job->s, job->request);
    job->s->jobs--;
    mem_free(job);
}

static void execute(weir_instance *instance, weir_request *const *requests, int32_t n)
{
    struct state *s = ((struct toy *)instance)->s;
    for (int32_t r = 0; r < n; r++) {
        weir_tensor in = {.size = sizeof(in)};
        s->host.request_input(requests[r], 0, &in);
        const int64_t *rows = in.data;
        for (int64_t i = 0; i < in.shape[0]; i++)
            note_row(s, rows[i]);
        if (s->toy.backend.flags & WEIR_BACKEND_SYNCHRONOUS || rows[0] < ROW_FIRST) {
            respond(s, requests[r]);
            continue;
        }
        struct job *job = mem_must(MEM_NEW(struct job), sizeof(*job));
        *job = (struct job){.work.run = job_run, .s = s, .request = requests[r]};
        s->jobs++;
        work_submit(s->process, WORK_FILE, &job->work);
    }
}

/* ---- asks ---- */

static void ask_done(struct model_request *request)
{
    struct ask *ask = request->arg;
    struct state *s = ask->s;
    io_time now = sim_now(s->life->world);
    life_check(s->life, ++ask->done == 1, "done %d times", ask->done);
    switch (request->error) {
    case ERR_NONE:
        life_check(s->life, ask->executed == request->rows, "%d of %d rows ran", ask->executed,
                   (int)request->rows);
        life_check(s->life, request->outputs[0].shape[0] == request->rows, "other rows");
        for (int64_t i = 0; i < request->rows; i++)
            life_check(s->life,
                       ((const int64_t *)request->outputs[0].data)[i] == answer_to(ask->rows[i]),
                       "another's answer");
        break;
    case ERR_DEADLINE:
        life_check(s->life, now >= request->deadline && !ask->executed, "a deadline too early");
        break;
    case ERR_CANCELLED:
        life_check(s->life, ask->cancelled, "cancelled by nobody");
        break;
    default:
        life_check(s->life, s->error_percent > 0 || ask->executed == 0, "%s: %s",
                   err_name(request->error), request->error_text);
        break;
    }
    model_request_release(request);
    s->open--;
}

static void ask(struct state *s, int loop_number)
{
    struct loop *loop = process_loop(s->process, loop_number);
    int index = s->asks_len++;
    struct ask *ask = &s->asks[index];
    ask->s = s;
    ask->loop = loop_number;
    ask->model = (int)life_draw(s->life, MODELS);
    int64_t rows = 1 + (int64_t)life_draw(s->life, life_chance(s->life, 70) ? 1 : ROWS_MAX);
    for (int64_t i = 0; i < rows; i++)
        ask->rows[i] = (index + 1) * ROW_FIRST + i;
    ask->shape[0] = rows;
    ask->input = (struct weir_tensor){.size = sizeof(ask->input),
                                      .type = input_port.type,
                                      .device_type = WEIR_CPU,
                                      .rank = 1,
                                      .shape = ask->shape,
                                      .data = ask->rows,
                                      .bytes = (uint64_t)rows * sizeof(int64_t)};
    ask->request = (struct model_request){
        .version = catalog_find(s->set, loop, ask->model ? SPAN("b") : SPAN("a"), -1),
        .home = loop,
        .deadline = TIME_NEVER,
        .inputs = &ask->input,
        .rows = rows,
        .done = ask_done,
        .arg = ask,
    };
    if (life_chance(s->life, 40))
        ask->request.deadline = loop_now(loop) + 1 + (io_time)life_draw(s->life, 20 * IO_MS);
    s->open++;
    result r = model_submit(s->set, &ask->request);
    if (!failed(r))
        return;
    life_check(s->life, is(r, ERR_EXHAUSTED), "%s", err_name((enum err)r.code));
    s->open--;
    ask->done = 1;
}

/* A burst from one loop, at a drawn time; and some are cancelled. */
static void burst(struct io_timer *timer)
{
    struct sender *sender = CONTAINER_OF(timer, struct sender, timer);
    struct state *s = sender->s;
    int loop_number = sender->loop;
    struct loop *loop = process_loop(s->process, loop_number);
    uint64_t count = 1 + life_draw(s->life, life_chance(s->life, 30) ? 30 : 3);
    for (uint64_t i = 0; i < count && s->asks_len < s->asks_max; i++)
        ask(s, loop_number);
    for (int i = 0; i < s->asks_len; i++) {
        struct ask *one = &s->asks[i];
        if (one->done || one->loop != loop_number || !life_chance(s->life, s->cancel_percent))
            continue;
        one->cancelled = true;
        model_cancel(s->set, &one->request);
    }
    if (s->asks_len < s->asks_max)
        timer_start(loop, timer, loop_now(loop) + (io_time)life_draw(s->life, 8 * IO_MS));
}

static void sender_start(struct io_post *post)
{
    burst(&CONTAINER_OF(post, struct sender, start)->timer);
}

/* ---- invariants ---- */

static void check_queue(struct state *s, struct servable *servable, int index)
{
    struct life *life = s->life;
    struct batcher *batcher = &servable->batcher;
    const struct batcher_limits *limits = &batcher->limits;
    uint64_t rows = 0, bytes = 0;
    uint32_t items = 0;
    struct list_node *node = list_first(&batcher->queue);
    for (; node; node = list_next(&batcher->queue, node), items++) {
        struct batch_item *item = item_of(node);
        rows += (uint64_t)item->rows;
        bytes += item->bytes;
        life_check(life, request_of(item)->state.phase == PHASE_QUEUED, "in the queue in phase %d",
                   request_of(item)->state.phase);
        if (item->deadline != TIME_NEVER)
            life_check(life, sim_now(life->world) <= item->deadline + TOLERANCE,
                       "expired and still queued");
    }
    life_check(life, rows == batcher->rows && bytes == batcher->bytes && items == batcher->items,
               "B1: %llu rows, counted as %llu", (unsigned long long)rows,
               (unsigned long long)batcher->rows);
    life_check(life, rows <= limits->queue_rows_max || items == 1, "B1: %llu rows",
               (unsigned long long)rows);
    life_check(life, bytes <= limits->queue_bytes_max, "B1: bytes");
    life_check(life, atomic_load(&servable->member.waiting) == items, "the glance is wrong");
    life_check(life, servable->runs_now >= 0 && servable->runs_now <= servable->runs_max, "%d runs",
               servable->runs_now);
    io_time wake_at;
    bool idle = servable->runs_now < servable->runs_max && slots_spare(s->set->slots) &&
                batcher_ready(batcher, sim_now(life->world), &wake_at);
    if (!idle)
        s->idle_since[index] = 0;
    else if (!s->idle_since[index])
        s->idle_since[index] = sim_now(life->world);
    else
        /* A slot that was sent has a job's time to come, behind others that were. */
        life_check(life, sim_now(life->world) <= s->idle_since[index] + TOLERANCE + 4 * s->job_max,
                   "a slot idles while work waits");
}

static void check(struct life *life)
{
    struct state *s = life->state;
    if (!s->settled || !s->set)
        return;
    for (int i = 0; i < MODELS; i++)
        check_queue(s, s->set->servables[i], i);
    for (int i = 0; i < s->asks_len; i++) {
        struct ask *one = &s->asks[i];
        if (one->done || one->request.state.phase != PHASE_DONE)
            continue;
        if (!one->decided_at)
            one->decided_at = sim_now(life->world);
        life_check(life, sim_now(life->world) <= one->decided_at + TOLERANCE,
                   "ask %d is not told its outcome", i);
    }
}

/* ---- the world ---- */

static void settled(void *arg)
{
    struct state *s = arg;
    s->settled = true;
    for (int i = 0; i < s->loops; i++) {
        s->senders[i] = (struct sender){.timer.fired = burst, .s = s, .loop = i};
        s->senders[i].start.run = sender_start;
        loop_post(process_loop(s->process, i), &s->senders[i].start);
    }
}

static bool over(struct life *life)
{
    struct state *s = life->state;
    return s->settled && s->asks_len == s->asks_max && s->open == 0 && s->jobs == 0;
}

static void make(struct state *s)
{
    static const uint64_t flags[] = {WEIR_BACKEND_THREAD_SAFE | WEIR_BACKEND_SYNCHRONOUS,
                                     WEIR_BACKEND_SYNCHRONOUS, WEIR_BACKEND_THREAD_SAFE, 0};
    struct life *life = s->life;
    s->loops = 1 + (int)life_draw(life, LOOPS_MAX);
    s->process = sim_process_new(life->world, "serve", s->loops);
    sim_file_put(s->process, "/models/a.onnx", SPAN("toy"));
    sim_file_put(s->process, "/models/b.onnx", SPAN("toy"));
    sim_folder_make(s->process, "/backends");
    struct metrics_options metrics = {.loops = s->loops};
    assert_int_equal(metrics_new(s->process, &metrics, &s->metrics, NULL).code, ERR_NONE);
    s->slab = slab_host_new(256 << 20, 1 << 20);
    s->slots = 1 + (int)life_draw(life, 3);
    struct model_set_options options = {
        .process = s->process,
        .metrics = s->metrics,
        .slab = s->slab,
        .backends_path = "/backends",
        .batch_rows_max = 1 + (uint32_t)life_draw(life, 8),
        .batch_delay_max = life_chance(life, 50) ? 0 : (io_time)life_draw(life, 5 * IO_MS),
        .queue_rows_max = 1 + (uint32_t)life_draw(life, 40),
        .queue_bytes_max = 100 + life_draw(life, 400),
        .slots = s->slots,
    };
    assert_int_equal(model_set_new(&options, &s->set, NULL).code, ERR_NONE);
    assert_int_equal(model_set_scan(s->set, "/models", NULL, NULL).code, ERR_NONE);
    run_host_init(&s->host);
    s->toy.s = s;
    s->toy.backend = (weir_backend){.size = sizeof(weir_backend),
                                    .abi = WEIR_BACKEND_ABI,
                                    .name = "toy",
                                    .version = "1",
                                    .flags = flags[life_draw(life, ARRAY_LEN(flags))],
                                    .suffixes = ".onnx",
                                    .model_load = model_load,
                                    .model_info = model_info,
                                    .model_free = model_free,
                                    .instance_new = instance_new,
                                    .instance_free = instance_free,
                                    .execute = execute};
    backends_find(s->set->backends, SPAN("a.onnx"))->abi = &s->toy.backend;
}

static void play(struct life *life)
{
    struct state *s = life->state;
    struct slab_stats stats;
    s->life = life;
    s->job_max = MAX(sim_faults_draw(life->world).job_max, IO_MS);
    make(s);
    s->asks_max = 50 + (int)life_draw(life, ASKS_MAX - 50);
    s->error_percent = 0;
    s->cancel_percent = life_chance(life, 50) ? 0 : 5;
    model_set_load(s->set, settled, s);
    while (!s->settled)
        life_check(life, sim_step(life->world), "the load stands still");
    s->error_percent = life_chance(life, 30) ? 10 : 0;
    life_run(life, over);
    sim_run_until(life->world, sim_now(life->world) + 100 * IO_MS);
    for (int i = 0; i < s->slots; i++)
        life_check(life, slots_take(s->set->slots, i), "slot %d was not given back", i);
    process_stop(s->process);
    model_set_free(steal(&s->set));
    slab_stats(s->slab, &stats);
    life_check(life, stats.bytes_now == 0, "%llu bytes in blocks",
               (unsigned long long)stats.bytes_now);
    slab_free(s->slab);
    metrics_free(s->metrics);
    process_free(s->process);
}

static void queues_and_slots_keep_their_promises(void **state)
{
    world_play(&(struct world_test){
        .seeds = 300,
        .limit = 600 * IO_SEC,
        .size = sizeof(struct state),
        .play = play,
        .check = check,
    });
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        world_unit_test(queues_and_slots_keep_their_promises),
    };
    return world_run_tests(argc, argv, tests);
}
