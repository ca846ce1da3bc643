#include "serve/infer.h"

#include "wire/json_tensor.h"

/* Inputs up to this many bytes lie in the exchange's arena. */
#define ARENA_INPUTS_MAX 16384
#define ALIGN 64
/* An answer's text may grow to this. */
#define ANSWER_MAX ((size_t)2 << 30)

static void refuse(struct infer *infer, result r)
{
    enum err code = (enum err)r.code;
    infer->protocol->refuse(infer, code, infer->diag.text[0] ? infer->diag.text : err_text(code));
}

/* ---- the answer ---- */

static void infer_release(void *arg)
{
    struct infer *infer = arg;
    text_release(&infer->out);
    if (infer->done)
        model_request_release(&infer->request);
}

static void encoded(struct io_work *work)
{
    struct infer *infer = CONTAINER_OF(work, struct infer, work);
    if (failed(infer->r))
        refuse(infer, infer->r);
    else
        exchange_respond(infer->x, 200, infer->protocol->type, text_span(&infer->out));
}

static void encode(struct io_work *work)
{
    struct infer *infer = CONTAINER_OF(work, struct infer, work);
    infer->r = infer->protocol->write(infer, &infer->out);
    if (!failed(infer->r))
        infer->r = text_result(&infer->out);
}

/* Here and now, or by a worker when it is long. */
static void run_step(struct infer *infer, uint64_t bytes, void (*run)(struct io_work *work),
                     void (*done)(struct io_work *work))
{
    if (bytes <= INLINE_BYTES_MAX) {
        run(&infer->work);
        done(&infer->work);
        return;
    }
    infer->work = (struct io_work){.run = run, .done = done, .home = exchange_loop(infer->x)};
    work_submit(run_process(infer->serve->run), WORK_COMPUTE, &infer->work);
}

static uint64_t answer_estimate(const struct infer *infer)
{
    uint64_t bytes = 0;
    for (int i = 0; i < infer->info->outputs_len; i++)
        if (infer->request.outputs[i].data)
            bytes += json_tensor_estimate(&infer->request.outputs[i]);
    return bytes;
}

static void model_done(struct model_request *request)
{
    struct infer *infer = request->arg;
    infer->done = true;
    if (request->error != ERR_NONE) {
        const char *text = request->error_text;
        infer->protocol->refuse(infer, request->error,
                                text && *text ? text : err_text(request->error));
        return;
    }
    run_step(infer, answer_estimate(infer), encode, encoded);
}

/* ---- the request ---- */

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
}

/* One piece of memory for all inputs, each aligned for the backend; strings take their
 * offsets in front of their bytes. */
static result inputs_memory(struct infer *infer, uint8_t **ret_memory)
{
    uint64_t total = 0;
    for (int i = 0; i < infer->info->inputs_len; i++) {
        const struct tensor_plan *plan = &infer->plans[i];
        if (plan->type.code == WEIR_STRING)
            total += aligned((plan->elements + 1) * sizeof(uint64_t));
        total += aligned(plan->bytes);
    }
    if (total <= ARENA_INPUTS_MAX) {
        uint8_t *memory = arena_alloc(exchange_arena(infer->x), total + ALIGN);
        if (!memory)
            return fail(ERR_NO_MEMORY);
        *ret_memory = (uint8_t *)aligned((uintptr_t)memory);
        return OK;
    }
    struct block *block = slab_get(run_slab(infer->serve->run), total);
    if (!block)
        return diag_fail(&infer->diag, ERR_EXHAUSTED,
                         "no memory for %llu bytes of input tensors; memory_max is reached",
                         (unsigned long long)total);
    *ret_memory = block->ptr;
    return exchange_keep(infer->x, block);
}

static result inputs_fill(struct infer *infer, uint8_t *memory)
{
    for (int i = 0; i < infer->info->inputs_len; i++) {
        const struct tensor_plan *plan = &infer->plans[i];
        if (plan->type.code == WEIR_STRING) {
            infer->spaces[i].offsets = (uint64_t *)(void *)memory;
            memory += aligned((plan->elements + 1) * sizeof(uint64_t));
        }
        infer->spaces[i].data = memory;
        memory += aligned(plan->bytes);
    }
    TRY(infer->protocol->fill(infer, infer->spaces));
    for (int i = 0; i < infer->info->inputs_len; i++)
        infer->inputs[i] = tensor_of_plan(&infer->plans[i], &infer->spaces[i]);
    return OK;
}

static result decode_all(struct infer *infer)
{
    uint8_t *memory = NULL;
    TRY(infer->protocol->scan(infer));
    TRY(inputs_memory(infer, &memory));
    TRY(inputs_fill(infer, memory));
    return tensor_check_inputs(infer->info->inputs, infer->info->inputs_len, infer->inputs,
                               infer->info->batchable, &infer->request.rows, &infer->diag);
}

static void decode(struct io_work *work)
{
    struct infer *infer = CONTAINER_OF(work, struct infer, work);
    infer->r = decode_all(infer);
}

static void decoded(struct io_work *work)
{
    struct infer *infer = CONTAINER_OF(work, struct infer, work);
    result r = infer->r;
    if (!failed(r) && exchange_is_gone(infer->x))
        r = fail(ERR_CANCELLED);
    if (!failed(r)) {
        infer->request.version = infer->version;
        infer->request.home = exchange_loop(infer->x);
        infer->request.deadline = TIME_NEVER;
        infer->request.inputs = infer->inputs;
        infer->request.done = model_done;
        infer->request.arg = infer;
        r = model_submit(infer->serve->models, &infer->request);
        if (is(r, ERR_EXHAUSTED))
            r = diag_fail(&infer->diag, ERR_EXHAUSTED,
                          "the queue of model '%s' is full: queue_depth_max or queue_bytes_max is "
                          "reached",
                          version_model(infer->version));
    }
    if (failed(r))
        refuse(infer, r);
    else
        infer->submitted = true;
}

static void gone(struct exchange *x)
{
    struct infer *infer = exchange_data(x);
    if (infer->submitted && !infer->done)
        model_cancel(infer->serve->models, &infer->request);
}

static void got_body(struct exchange *x, result r, struct span body)
{
    struct infer *infer = exchange_data(x);
    if (failed(r)) {
        /* What went wrong is HTTP's, not the protocol's. */
        exchange_fail(x, (enum err)r.code, NULL);
        return;
    }
    infer->body = body;
    exchange_on_gone(x, gone);
    run_step(infer, body.len, decode, decoded);
}

void infer_start(struct exchange *x, struct serve *serve, struct model_version *version,
                 const struct infer_protocol *protocol, void *message)
{
    struct arena *arena = exchange_arena(x);
    const struct weir_model_info *info = version_info(version);
    size_t inputs = (size_t)info->inputs_len;
    struct infer *infer = ARENA_NEW(arena, struct infer);
    struct tensor_space *spaces = arena_zalloc(arena, inputs + 1, sizeof(*spaces));
    struct weir_tensor *tensors = arena_zalloc(arena, inputs + 1, sizeof(*tensors));
    if (!message || !infer || !spaces || !tensors ||
        failed(arena_on_clear(arena, infer_release, infer))) {
        exchange_fail(x, ERR_NO_MEMORY, NULL);
        return;
    }
    infer->x = x;
    infer->serve = serve;
    infer->protocol = protocol;
    infer->version = version;
    infer->info = info;
    infer->message = message;
    infer->spaces = spaces;
    infer->inputs = tensors;
    text_init(&infer->out, ANSWER_MAX);
    exchange_set_data(x, infer);
    exchange_collect(x, UINT64_MAX, got_body);
}
