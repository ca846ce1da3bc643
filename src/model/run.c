#include "model/run.h"

#include "base/alloc.h"

#include <stdio.h>

#define CARVE_ALIGN 16

/* ---- making ---- */

static size_t carve_size(size_t count, size_t size)
{
    return (count * size + CARVE_ALIGN - 1) / CARVE_ALIGN * CARVE_ALIGN;
}

static void *carve(uint8_t **at, size_t count, size_t size)
{
    void *part = *at;
    *at += carve_size(count, size);
    return part;
}

/* The counts are bounded: requests by the queue's rows, outputs by WEIR_PORTS_MAX. */
static struct run *run_alloc(struct servable *servable, uint32_t items)
{
    size_t outputs = (size_t)servable->info.outputs_len;
    size_t loops = (size_t)servable->set->loops_len;
    size_t views = items * outputs;
    size_t size = carve_size(1, sizeof(struct run)) +
                  carve_size(outputs, sizeof(struct run_output)) +
                  carve_size(views, sizeof(struct weir_tensor)) +
                  carve_size(views, sizeof(int64_t[WEIR_RANK_MAX])) +
                  carve_size(loops, sizeof(struct run_part));
    struct block *block = slab_get(servable->set->options.slab, size);
    if (!block)
        return NULL;
    uint8_t *at = block->ptr;
    struct run *run = carve(&at, 1, sizeof(struct run));
    *run = (struct run){.servable = servable, .block = block};
    run->outputs = carve(&at, outputs, sizeof(struct run_output));
    run->views = carve(&at, views, sizeof(struct weir_tensor));
    run->shapes = carve(&at, views, sizeof(int64_t[WEIR_RANK_MAX]));
    run->parts = carve(&at, loops, sizeof(struct run_part));
    for (size_t i = 0; i < outputs; i++)
        run->outputs[i].block = NULL;
    list_init(&run->items);
    return run;
}

static uint64_t elements_of(const struct weir_tensor *tensor)
{
    uint64_t elements = 1;
    for (int i = 0; i < tensor->rank; i++)
        elements *= (uint64_t)tensor->shape[i];
    return elements;
}

static uint64_t string_bytes(const struct weir_tensor *tensor, uint64_t elements)
{
    return tensor->offsets[elements] - tensor->offsets[0];
}

/* What gathering input `index` of all items takes: its data, or its strings' data and
 * offsets. */
struct gathered_size {
    uint64_t data, offsets;
};

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + SLAB_ALIGN - 1) / SLAB_ALIGN * SLAB_ALIGN;
}

static struct gathered_size gathered_size(const struct batch *batch, int index)
{
    struct gathered_size size = {0, 0};
    uint64_t strings = 0;
    for (struct list_node *node = list_first(&batch->items); node;
         node = list_next(&batch->items, node)) {
        const struct weir_tensor *tensor = &request_of(item_of(node))->inputs[index];
        if (tensor->type.code == WEIR_STRING) {
            uint64_t elements = elements_of(tensor);
            size.data += string_bytes(tensor, elements);
            strings += elements;
            size.offsets = (strings + 1) * sizeof(uint64_t);
        } else {
            size.data += tensor->bytes;
        }
    }
    size.data = round_up(size.data);
    size.offsets = round_up(size.offsets);
    return size;
}

static void gather_strings(const struct batch *batch, int index, uint8_t *data, uint64_t *offsets)
{
    uint64_t end = 0, filled = 0;
    offsets[0] = 0;
    for (struct list_node *node = list_first(&batch->items); node;
         node = list_next(&batch->items, node)) {
        const struct weir_tensor *from = &request_of(item_of(node))->inputs[index];
        uint64_t elements = elements_of(from), bytes = string_bytes(from, elements);
        if (bytes)
            memcpy(data + end, (const uint8_t *)from->data + from->offsets[0], bytes);
        for (uint64_t i = 1; i <= elements; i++)
            offsets[++filled] = end + from->offsets[i] - from->offsets[0];
        end += bytes;
    }
}

static void gather_data(const struct batch *batch, int index, uint8_t *data)
{
    for (struct list_node *node = list_first(&batch->items); node;
         node = list_next(&batch->items, node)) {
        const struct weir_tensor *from = &request_of(item_of(node))->inputs[index];
        if (from->bytes)
            memcpy(data, from->data, from->bytes);
        data += from->bytes;
    }
}

/* All requests' inputs one behind the other, in one block that begins with their
 * descriptions. */
static result run_gather(struct run *run, const struct batch *batch)
{
    int inputs = run->servable->info.inputs_len;
    struct gathered_size sizes[WEIR_PORTS_MAX] UNINITIALIZED;
    uint64_t head =
        round_up((uint64_t)inputs * (sizeof(struct weir_tensor) + sizeof(int64_t[WEIR_RANK_MAX])));
    uint64_t total = head;
    for (int i = 0; i < inputs; i++) {
        sizes[i] = gathered_size(batch, i);
        total += sizes[i].data + sizes[i].offsets;
    }
    run->gathered = slab_get(run->servable->set->options.slab, total);
    if (!run->gathered)
        return fail(ERR_NO_MEMORY);
    struct weir_tensor *tensors = (struct weir_tensor *)(void *)run->gathered->ptr;
    int64_t(*shapes)[WEIR_RANK_MAX] = (void *)&tensors[inputs];
    uint8_t *at = run->gathered->ptr + head;
    const struct model_request *first = request_of(item_of(list_first(&batch->items)));
    for (int i = 0; i < inputs; i++) {
        tensors[i] = first->inputs[i];
        memcpy(shapes[i], first->inputs[i].shape, (size_t)first->inputs[i].rank * sizeof(int64_t));
        shapes[i][0] = batch->rows;
        tensors[i].shape = shapes[i];
        tensors[i].data = at;
        if (tensors[i].type.code == WEIR_STRING) {
            uint64_t *offsets = (uint64_t *)(void *)(at + sizes[i].data);
            gather_strings(batch, i, at, offsets);
            tensors[i].offsets = offsets;
            tensors[i].bytes = offsets[elements_of(&tensors[i])];
        } else {
            gather_data(batch, i, at);
            tensors[i].bytes = 0;
            for (struct list_node *node = list_first(&batch->items); node;
                 node = list_next(&batch->items, node))
                tensors[i].bytes += request_of(item_of(node))->inputs[i].bytes;
        }
        at += sizes[i].data + sizes[i].offsets;
    }
    run->inputs = tensors;
    return OK;
}

result run_new(struct servable *servable, struct batch *batch, struct run **ret_run)
{
    struct run *run = run_alloc(servable, batch->items_len);
    if (!run)
        return fail(ERR_NO_MEMORY);
    if (batch->items_len == 1) {
        run->inputs = request_of(item_of(list_first(&batch->items)))->inputs;
    } else if (failed(run_gather(run, batch))) {
        block_unref(run->block);
        return fail(ERR_NO_MEMORY);
    }
    run->items_len = batch->items_len;
    run->rows = batch->rows;
    ref_init(&run->ref);
    for (struct list_node *node; (node = list_pop(&batch->items));) {
        struct model_request *request = request_of(item_of(node));
        run->wanted |= request->outputs_wanted ? request->outputs_wanted : UINT64_MAX;
        ref_get(&run->ref);
        list_push(&run->items, node);
    }
    *ret_run = run;
    return OK;
}

void run_unref(struct run *run)
{
    if (!ref_put(&run->ref))
        return;
    for (int i = 0; i < run->servable->info.outputs_len; i++)
        block_unref(run->outputs[i].block);
    block_unref(run->gathered);
    block_unref(run->block);
}

void run_drop(struct run *run)
{
    for (uint32_t i = run->items_len; i > 0; i--)
        run_unref(run);
    run_unref(run);
}

/* ---- the host's functions ---- */

static struct run *run_of(weir_request *request)
{
    return (struct run *)(void *)request;
}

static weir_request *handle_of(struct run *run)
{
    return (weir_request *)(void *)run;
}

static void host_input(weir_request *request, int32_t index, weir_tensor *ret_tensor)
{
    const struct run *run = run_of(request);
    if (index >= 0 && index < run->servable->info.inputs_len)
        *ret_tensor = run->inputs[index];
}

static int32_t host_wants(weir_request *request, int32_t index)
{
    const struct run *run = run_of(request);
    return index >= 0 && index < run->servable->info.outputs_len && (run->wanted >> index & 1);
}

static int32_t host_cancelled(weir_request *request)
{
    struct run *run = run_of(request);
    io_lock_take(&run->servable->lock);
    bool unwanted = run->cancelled == run->items_len;
    io_lock_give(&run->servable->lock);
    return unwanted;
}

/* A new block for output `index` with room for `bytes`, described but for its data. */
static int32_t output_make(struct run *run, int32_t index, weir_type type, int32_t rank,
                           const int64_t *shape, uint64_t bytes)
{
    struct run_output *output = &run->outputs[index];
    struct block *block = slab_get(run->servable->set->options.slab, MAX(bytes, (uint64_t)1));
    if (!block)
        return GRPC_RESOURCE_EXHAUSTED;
    block_unref(output->block);
    output->block = block;
    if (rank)
        memcpy(output->shape, shape, (size_t)rank * sizeof(int64_t));
    output->tensor = (struct weir_tensor){.size = sizeof(struct weir_tensor),
                                          .type = type,
                                          .device_type = WEIR_CPU,
                                          .rank = rank,
                                          .shape = output->shape,
                                          .data = block->ptr,
                                          .bytes = bytes};
    return GRPC_OK;
}

static int32_t output_check(const struct run *run, int32_t index, weir_type type, int32_t rank,
                            const int64_t *shape, uint64_t *ret_elements)
{
    const struct weir_model_info *info = &run->servable->info;
    if (index < 0 || index >= info->outputs_len || rank < 0 || rank > WEIR_RANK_MAX ||
        !type_eq(type, info->outputs[index].type) ||
        failed(shape_elements(shape, rank, SLAB_BLOCK_MAX / 8, ret_elements)))
        return GRPC_INVALID_ARGUMENT;
    return GRPC_OK;
}

static int32_t host_alloc(weir_request *request, int32_t index, weir_type type, int32_t rank,
                          const int64_t *shape, int32_t device_type, void **ret_data)
{
    struct run *run = run_of(request);
    uint64_t elements;
    int32_t status = output_check(run, index, type, rank, shape, &elements);
    if (status || type.code == WEIR_STRING)
        return GRPC_INVALID_ARGUMENT;
    if (device_type != WEIR_CPU)
        return GRPC_UNIMPLEMENTED;
    status = output_make(run, index, type, rank, shape, elements * type_size(type));
    if (!status)
        *ret_data = run->outputs[index].tensor.data;
    return status;
}

static int32_t host_strings(weir_request *request, int32_t index, int32_t rank,
                            const int64_t *shape, const void *data, const uint64_t *offsets)
{
    struct run *run = run_of(request);
    weir_type type = {WEIR_STRING, 8, 1};
    uint64_t elements;
    int32_t status = output_check(run, index, type, rank, shape, &elements);
    if (status)
        return status;
    for (uint64_t i = 0; i < elements; i++)
        if (offsets[i] > offsets[i + 1])
            return GRPC_INVALID_ARGUMENT;
    uint64_t bytes = offsets[elements] - offsets[0];
    if (bytes > SLAB_BLOCK_MAX)
        return GRPC_RESOURCE_EXHAUSTED;
    uint64_t at = round_up(bytes);
    status = output_make(run, index, type, rank, shape, at + (elements + 1) * sizeof(uint64_t));
    if (status)
        return status;
    struct run_output *output = &run->outputs[index];
    uint64_t *copied = (uint64_t *)(void *)(output->block->ptr + at);
    if (bytes)
        memcpy(output->block->ptr, (const uint8_t *)data + offsets[0], bytes);
    for (uint64_t i = 0; i <= elements; i++)
        copied[i] = offsets[i] - offsets[0];
    output->tensor.offsets = copied;
    output->tensor.bytes = bytes;
    return GRPC_OK;
}

static void run_answer(struct run *run, int32_t status, const char *text)
{
    run->status = status;
    size_t len = strnlen(text, sizeof(run->text) - 1);
    memcpy(run->text, text, len);
    run->text[len] = '\0';
}

/* Whether the answer is whole: every wanted output is there, and rows that were
 * gathered can be told apart again. */
static void run_check(struct run *run)
{
    const struct weir_model_info *info = &run->servable->info;
    for (int i = 0; i < info->outputs_len; i++) {
        const struct run_output *output = &run->outputs[i];
        if (!(run->wanted >> i & 1))
            continue;
        char text[256] UNINITIALIZED;
        if (!output->block)
            snprintf(text, sizeof(text), "the backend answered without output '%.100s'",
                     info->outputs[i].name);
        else if (run->items_len > 1 && (output->tensor.rank < 1 || output->shape[0] != run->rows))
            snprintf(text, sizeof(text), "output '%.100s' has %lld rows for %lld of the batch",
                     info->outputs[i].name,
                     output->tensor.rank < 1 ? -1LL : (long long)output->shape[0],
                     (long long)run->rows);
        else
            continue;
        run_answer(run, GRPC_INTERNAL, text);
        return;
    }
    run_answer(run, GRPC_OK, "");
}

/* Without WEIR_BACKEND_STREAMS every answer is the final one. */
static void host_respond(weir_request *request, int32_t final)
{
    struct run *run = run_of(request);
    run_check(run);
    slot_task_answered(&run->task);
}

static void host_respond_error(weir_request *request, int32_t status, const char *text)
{
    struct run *run = run_of(request);
    run_answer(run, status == GRPC_OK ? GRPC_INTERNAL : status, text ? text : "");
    slot_task_answered(&run->task);
}

void run_host_init(struct weir_host *host)
{
    *host = (struct weir_host){
        .size = sizeof(*host),
        .abi = WEIR_BACKEND_ABI,
        .request_input = host_input,
        .request_wants = host_wants,
        .request_cancelled = host_cancelled,
        .tensor_alloc = host_alloc,
        .tensor_strings = host_strings,
        .respond = host_respond,
        .respond_error = host_respond_error,
    };
}

/* ---- running ---- */

void run_publish(struct run *run)
{
    for (struct list_node *node = list_first(&run->items); node;
         node = list_next(&run->items, node)) {
        struct model_request *request = request_of(item_of(node));
        request->state.run = run;
        run->cancelled += request->state.cancelled;
    }
    run->unwanted = run->cancelled == run->items_len;
}

void run_cancel(struct run *run)
{
    if (run->servable->backend->abi->cancel)
        run->servable->backend->abi->cancel(run->servable->instance, handle_of(run));
}

void run_execute(struct run *run, io_time now, bool cpu)
{
    struct servable *servable = run->servable;
    struct process *process = servable->set->process;
    weir_request *handle = handle_of(run);
    run->exact = cpu;
    io_time cpu_started = cpu ? process_thread_cpu(process) : 0;
    run->started_at = now;
    if (run->unwanted) {
        host_respond_error(handle, GRPC_CANCELLED, "the caller has gone");
        return;
    }
    servable->backend->abi->execute(servable->instance, &handle, 1);
    if (cpu)
        run->took = process_thread_cpu(process) - cpu_started;
}

/* ---- answering ---- */

/* The rows [first, first + rows) of an output of a batch. */
static void view_rows(struct weir_tensor *view, int64_t shape[WEIR_RANK_MAX],
                      const struct weir_tensor *whole, int64_t first, int64_t rows)
{
    uint64_t row_elements = 1;
    for (int i = 1; i < whole->rank; i++)
        row_elements *= (uint64_t)whole->shape[i];
    *view = *whole;
    memcpy(shape, whole->shape, (size_t)whole->rank * sizeof(int64_t));
    shape[0] = rows;
    view->shape = shape;
    if (whole->offsets) {
        view->offsets = whole->offsets + (uint64_t)first * row_elements;
        return;
    }
    uint64_t row_bytes = row_elements * type_size(whole->type);
    view->data = (uint8_t *)whole->data + (uint64_t)first * row_bytes;
    view->bytes = (uint64_t)rows * row_bytes;
}

static void request_answer(struct run *run, struct model_request *request, size_t place,
                           int64_t first_row)
{
    const struct weir_model_info *info = &run->servable->info;
    struct weir_tensor *views = run->views + place * (size_t)info->outputs_len;
    uint64_t wanted = request->outputs_wanted ? request->outputs_wanted : UINT64_MAX;
    for (int i = 0; i < info->outputs_len; i++) {
        const struct run_output *output = &run->outputs[i];
        if (!(wanted >> i & 1))
            views[i] = (struct weir_tensor){.size = sizeof(struct weir_tensor)};
        else if (run->items_len == 1)
            views[i] = output->tensor;
        else
            view_rows(&views[i], run->shapes[place * (size_t)info->outputs_len + (size_t)i],
                      &output->tensor, first_row, request->rows);
    }
    request->outputs = views;
}

void run_split(struct run *run)
{
    io_time ended_at = process_clock(run->servable->set->process);
    run->ended_at = ended_at;
    run->counting_loop = request_of(item_of(list_first(&run->items)))->version->loop->index;
    if (!run->exact)
        run->took = ended_at - run->started_at;
    enum err error = backend_err(run->status);
    size_t place = 0;
    int64_t first_row = 0;
    for (struct list_node *node = list_first(&run->items); node;
         node = list_next(&run->items, node)) {
        struct model_request *request = request_of(item_of(node));
        request->error = error;
        request->error_text = run->text;
        request->started_at = run->started_at;
        request->ended_at = ended_at;
        if (!error)
            request_answer(run, request, place, first_row);
        place++;
        first_row += request->rows;
    }
    block_unref(steal(&run->gathered));
}

static void part_home(struct io_post *post)
{
    struct run_part *part = CONTAINER_OF(post, struct run_part, post);
    run_complete(part->run, &part->items);
}

/* At one of the loops that the run's requests came from. */
static void run_count(struct run *run, struct model_version *view)
{
    version_count_run(&view->series, view->loop->shard, run->rows, run->ended_at - run->started_at);
    if (run->servable->synchronous && !run->status)
        inline_rule_record(&view->rule, run->took, run->exact, run->ended_at);
}

void run_complete(struct run *run, struct list *items)
{
    struct model_version *view = request_of(item_of(list_first(items)))->version;
    if (view->loop->index == run->counting_loop)
        run_count(run, view);
    for (bool last = false; !last;) {
        struct model_request *request = request_of(item_of(list_pop(items)));
        last = list_empty(items);
        request_complete(request);
    }
}

void run_post(struct run *run)
{
    int loops = run->servable->set->loops_len;
    for (int i = 0; i < loops; i++) {
        run->parts[i] = (struct run_part){.run = run, .post = {.run = part_home}};
        list_init(&run->parts[i].items);
    }
    for (struct list_node *node; (node = list_pop(&run->items));)
        list_push(&run->parts[loop_index(request_of(item_of(node))->home)].items, node);
    for (int i = 0; i < loops; i++)
        if (!list_empty(&run->parts[i].items))
            loop_post(run->servable->set->loops[i].loop, &run->parts[i].post);
    run_unref(run);
}
