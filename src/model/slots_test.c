/* Run slots under load, with members that only count. */
#include "model/slots.h"

#include "base/test_cmocka.h"
#include "io/uv/uv.h"

#define LOOPS 2
#define MEMBERS 5
#define TASKS 3000 /* of each member and loop */
#define SLOTS 2

struct member {
    struct slots_member member;
    struct io_lock lock;
    int waiting; /* lock */
    atomic_int started, finished;
    struct slot_task tasks[SLOTS + 1]; /* one per slot, and one for inline */
    bool used[SLOTS + 1];              /* lock */
    bool late;
};

struct owed {
    struct io_work work;
    struct slot_task *task;
};

static struct process *process;
static struct slots *slots;
static struct member members[MEMBERS];
static struct owed owed[SLOTS];
static atomic_int running, running_peak, overlaps, left;
static atomic_int slot_busy[SLOTS];

static struct member *member_of(struct slots_member *member)
{
    return CONTAINER_OF(member, struct member, member);
}

static void count_running(int change)
{
    int now = atomic_fetch_add(&running, change) + change;
    int peak = atomic_load(&running_peak);
    while (now > peak && !atomic_compare_exchange_weak(&running_peak, &peak, now))
        ;
}

static struct slot_task *member_next(struct slots_member *slots_member, bool *ret_more)
{
    struct member *member = member_of(slots_member);
    struct slot_task *task = NULL;
    io_lock_take(&member->lock);
    if (member->waiting > 0) {
        member->waiting--;
        /* As many runs as slots, so one of the first is free. */
        for (int i = 0; i < SLOTS && !task; i++)
            if (!member->used[i]) {
                member->used[i] = true;
                task = &member->tasks[i];
            }
    }
    *ret_more = member->waiting > 0;
    slots_member_waiting(&member->member, (uint32_t)member->waiting);
    io_lock_give(&member->lock);
    return task;
}

static void answer_late(struct io_work *work)
{
    struct owed *one = CONTAINER_OF(work, struct owed, work);
    slot_task_answered(one->task);
}

static void member_execute(struct slot_task *task)
{
    struct member *member = member_of(task->member);
    atomic_fetch_add(&member->started, 1);
    count_running(1);
    if (atomic_fetch_add(&slot_busy[task->slot], 1) != 0)
        atomic_fetch_add(&overlaps, 1);
    if (!member->late) {
        slot_task_answered(task);
        return;
    }
    struct owed *one = &owed[task->slot];
    *one = (struct owed){.work = {.run = answer_late}, .task = task};
    work_submit(process, WORK_FILE, &one->work);
}

static void member_finish(struct slot_task *task)
{
    struct member *member = member_of(task->member);
    count_running(-1);
    atomic_fetch_sub(&slot_busy[task->slot], 1);
    atomic_fetch_add(&member->finished, 1);
    io_lock_take(&member->lock);
    member->used[task - member->tasks] = false;
    io_lock_give(&member->lock);
    if (atomic_fetch_sub(&left, 1) == 1)
        process_stop(process);
}

static const struct slots_ops member_ops = {member_next, member_execute, member_finish};

/* Hands one task to each member, then again in the next turn: slots run dry and are
 * woken over and over. Every seventh runs inline where that is possible. */
struct feeder {
    struct io_post post;
    struct loop *loop;
    int core, fed;
};

static bool run_inline(struct feeder *feeder, struct member *member)
{
    struct slot_task *task = &member->tasks[SLOTS];
    if (member->late || !slots_calm(slots, &member->member) || !slots_take(slots, feeder->core))
        return false;
    /* One inline task a member: the other loop may be using it. */
    io_lock_take(&member->lock);
    bool mine = !member->used[SLOTS];
    member->used[SLOTS] = true;
    io_lock_give(&member->lock);
    if (mine) {
        if (!slot_task_run(slots, feeder->core, &member->member, task))
            atomic_fetch_add(&overlaps, 1);
        member_finish(task);
    }
    slots_leave(slots, feeder->core);
    return mine;
}

static void feed(struct io_post *post)
{
    struct feeder *feeder = CONTAINER_OF(post, struct feeder, post);
    for (int i = 0; i < MEMBERS; i++) {
        struct member *member = &members[i];
        if (feeder->fed % 7 == 0 && run_inline(feeder, member))
            continue;
        io_lock_take(&member->lock);
        member->waiting++;
        slots_member_waiting(&member->member, (uint32_t)member->waiting);
        io_lock_give(&member->lock);
        slots_dispatch(slots, &member->member, feeder->core);
    }
    if (++feeder->fed < TASKS)
        loop_post(feeder->loop, &feeder->post);
}

static void every_task_runs_once_and_no_slot_runs_two(void **state)
{
    static struct feeder feeders[LOOPS];
    assert_false(failed(uv_process_new(
        &(struct io_uv_options){.loops = LOOPS, .compute_threads = SLOTS}, &process, NULL)));
    assert_false(failed(slots_new(process, SLOTS, &slots)));
    for (int i = 0; i < MEMBERS; i++) {
        members[i].member.ops = &member_ops;
        members[i].late = i % 2;
        io_lock_init(&members[i].lock, process);
    }
    atomic_store(&left, LOOPS * MEMBERS * TASKS);
    for (int i = 0; i < LOOPS; i++) {
        feeders[i] =
            (struct feeder){.post = {.run = feed}, .loop = process_loop(process, i), .core = i};
        loop_post(feeders[i].loop, &feeders[i].post);
    }
    process_run(process); /* ends only when no task was lost */
    for (int i = 0; i < MEMBERS; i++) {
        assert_int_equal(atomic_load(&members[i].started), LOOPS * TASKS);
        assert_int_equal(atomic_load(&members[i].finished), LOOPS * TASKS);
        assert_int_equal(members[i].waiting, 0);
    }
    assert_int_equal(atomic_load(&overlaps), 0);
    assert_true(atomic_load(&running_peak) <= SLOTS);
    assert_int_equal(atomic_load(&running), 0);
    for (int i = 0; i < SLOTS; i++)
        assert_true(slots_take(slots, i));
    slots_free(slots);
    process_free(process);
}

static void a_stopped_set_of_slots_begins_nothing(void **state)
{
    memset(members, 0, sizeof(members));
    assert_false(failed(uv_process_new(&(struct io_uv_options){.loops = 1}, &process, NULL)));
    assert_false(failed(slots_new(process, SLOTS, &slots)));
    members[0].member.ops = &member_ops;
    io_lock_init(&members[0].lock, process);
    members[0].waiting = 1;
    slots_stop(slots);
    slots_dispatch(slots, &members[0].member, 0);
    assert_false(slots_calm(slots, &members[1].member));
    process_free(process); /* joins the workers */
    assert_int_equal(atomic_load(&members[0].started), 0);
    slots_free(slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once_and_no_slot_runs_two),
        cmocka_unit_test(a_stopped_set_of_slots_begins_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
