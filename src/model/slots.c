#include "model/slots.h"

#include "base/alloc.h"

#define LINE 64

enum { SLOT_FREE, SLOT_TAKEN };

/* Orderings. Taking acquires and freeing releases, so that a slot's plain fields move
 * with it. Beyond that, S1 rests on both being sequentially consistent together with
 * `ready_len`: of a thread that frees a slot and then reads the length, and one that
 * raises the length and then reads the slot, one at least sees the other's write. */
struct slot {
    _Alignas(LINE) atomic_uint word;
    struct slots *slots;
    int index;
    struct io_work work;
};

struct slots {
    struct process *process;
    int count;
    struct slot *slots;
    _Alignas(LINE) atomic_uint_fast32_t ready_len;
    atomic_bool stopped;
    struct io_lock lock;
    struct list ready;
};

static bool slot_try(struct slot *slot)
{
    unsigned expected = SLOT_FREE;
    return atomic_load_explicit(&slot->word, memory_order_relaxed) == SLOT_FREE &&
           atomic_compare_exchange_strong(&slot->word, &expected, SLOT_TAKEN);
}

/* Any free slot, `core`'s first; NULL when all are taken. */
static struct slot *slot_find(struct slots *slots, int core)
{
    int start = core < 0 ? 0 : core % slots->count;
    for (int i = 0; i < slots->count; i++) {
        struct slot *slot = &slots->slots[(start + i) % slots->count];
        if (slot_try(slot))
            return slot;
    }
    return NULL;
}

/* Sends a slot that is held to a worker. */
static void slot_send(struct slot *slot)
{
    work_submit(slot->slots->process, WORK_COMPUTE, &slot->work);
}

/* While somebody waits and a slot is free: brings them together. The first load may
 * not be weaker, see S1. */
static void kick(struct slots *slots, int core)
{
    if (atomic_load(&slots->ready_len) == 0 || atomic_load(&slots->stopped))
        return;
    struct slot *slot = slot_find(slots, core);
    if (slot)
        slot_send(slot);
}

/* Gives a slot back; whoever was listed meanwhile gets it or another one. */
static void slot_give(struct slot *slot)
{
    struct slots *slots = slot->slots;
    atomic_store(&slot->word, SLOT_FREE);
    kick(slots, slot->index);
}

/* ---- the ready list ---- */

static void ready_push(struct slots *slots, struct slots_member *member)
{
    io_lock_take(&slots->lock);
    if (!list_node_linked(&member->node)) {
        list_push(&slots->ready, &member->node);
        atomic_fetch_add(&slots->ready_len, 1);
    }
    io_lock_give(&slots->lock);
}

static struct slots_member *ready_pop(struct slots *slots)
{
    if (atomic_load(&slots->ready_len) == 0 || atomic_load(&slots->stopped))
        return NULL;
    io_lock_take(&slots->lock);
    struct list_node *node = list_pop(&slots->ready);
    if (node)
        atomic_fetch_sub(&slots->ready_len, 1);
    io_lock_give(&slots->lock);
    return node ? CONTAINER_OF(node, struct slots_member, node) : NULL;
}

void slots_dispatch(struct slots *slots, struct slots_member *member, int core)
{
    ready_push(slots, member);
    kick(slots, core);
}

static struct slot_task *ready_task(struct slots *slots, int core)
{
    for (;;) {
        struct slots_member *member = ready_pop(slots);
        if (!member)
            return NULL;
        bool more = false;
        struct slot_task *task = member->ops->next(member, &more);
        if (more)
            slots_dispatch(slots, member, core);
        if (task) {
            task->member = member;
            return task;
        }
    }
}

/* ---- runs ---- */

bool slot_task_run(struct slots *slots, int core, struct slots_member *member,
                   struct slot_task *task)
{
    task->slots = slots;
    task->member = member;
    task->slot = core % slots->count;
    ref_init(&task->open);
    ref_get(&task->open);
    member->ops->execute(task);
    return ref_put(&task->open);
}

void slot_task_answered(struct slot_task *task)
{
    if (!ref_put(&task->open))
        return;
    struct slot *slot = &task->slots->slots[task->slot];
    task->member->ops->finish(task);
    if (!atomic_load(&slot->slots->stopped))
        slot_send(slot);
}

/* On a worker, with the slot held. */
static void slot_work(struct io_work *work)
{
    struct slot *slot = CONTAINER_OF(work, struct slot, work);
    for (;;) {
        struct slot_task *task = ready_task(slot->slots, slot->index);
        if (!task) {
            slot_give(slot);
            return;
        }
        struct slots_member *member = task->member;
        if (!slot_task_run(slot->slots, slot->index, member, task))
            return;
        member->ops->finish(task);
    }
}

/* ---- inline ---- */

void slots_member_waiting(struct slots_member *member, uint32_t waiting)
{
    atomic_store_explicit(&member->waiting, waiting, memory_order_relaxed);
}

/* Relaxed: a stale answer lets one request pass another or take the longer way. */
bool slots_calm(const struct slots *slots, const struct slots_member *member)
{
    return atomic_load_explicit(&slots->ready_len, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&member->waiting, memory_order_relaxed) == 0;
}

bool slots_spare(const struct slots *slots)
{
    for (int i = 0; i < slots->count; i++)
        if (atomic_load_explicit(&slots->slots[i].word, memory_order_relaxed) == SLOT_FREE)
            return true;
    return false;
}

bool slots_take(struct slots *slots, int core)
{
    return slot_try(&slots->slots[core % slots->count]);
}

void slots_leave(struct slots *slots, int core)
{
    slot_give(&slots->slots[core % slots->count]);
}

/* ---- life ---- */

result slots_new(struct process *process, int count, struct slots **ret_slots)
{
    ASSERT(count >= 1);
    struct slots *slots = mem_aligned(LINE, sizeof(*slots));
    struct slot *all = mem_aligned(LINE, (size_t)count * sizeof(*all));
    if (!slots || !all) {
        mem_free(slots);
        mem_free(all);
        return fail(ERR_NO_MEMORY);
    }
    memset(slots, 0, sizeof(*slots));
    memset(all, 0, (size_t)count * sizeof(*all));
    slots->process = process;
    slots->count = count;
    slots->slots = all;
    io_lock_init(&slots->lock, process);
    list_init(&slots->ready);
    for (int i = 0; i < count; i++) {
        all[i].slots = slots;
        all[i].index = i;
        all[i].work.run = slot_work;
    }
    *ret_slots = slots;
    return OK;
}

void slots_stop(struct slots *slots)
{
    atomic_store(&slots->stopped, true);
}

void slots_free(struct slots *slots)
{
    if (!slots)
        return;
    mem_free(slots->slots);
    mem_free(slots);
}
