/* Timers, posts, work, the lock, signals, and the process as a whole. */
#include "io/conformance_test.h"

#include <pthread.h>
#include <signal.h>

/* ---- timers -------------------------------------------------------------------------- */

#define TIMERS 40

struct timing {
    struct fx *fx;
    struct io_timer timers[TIMERS];
    io_time at[TIMERS];
    io_time latest;
    int fired, last;
    bool early, out_of_order, late, running;
};
static struct timing *timing;

static void timing_fired(struct io_timer *timer)
{
    struct timing *t = timing;
    int i = (int)(timer - t->timers);
    io_time now = process_clock(t->fx->process);
    t->early = t->early || now < t->at[i] || loop_now(t->fx->loop) < t->at[i];
    t->late = t->late || now > t->at[i] + driver->late_max;
    /* Due times that share a tick may come in the order of their start. */
    t->out_of_order = t->out_of_order || t->at[i] < t->latest - IO_MS;
    t->running = t->running || timer_running(timer);
    t->latest = MAX(t->latest, t->at[i]);
    if (++t->fired == TIMERS)
        fx_stop(t->fx);
}

static void timers_fire_in_order_and_never_early(void **state)
{
    struct fx fx;
    struct timing t = {.fx = &fx};
    timing = &t;
    fx_init(&fx, 1);
    io_time now = process_clock(fx.process);
    for (int i = 0; i < TIMERS; i++) {
        t.timers[i].fired = timing_fired;
        t.at[i] = now + 5 * IO_MS + (i * 7 % TIMERS) * (3 * IO_MS + 123457);
        timer_start(fx.loop, &t.timers[i], t.at[i]);
        assert_true(timer_running(&t.timers[i]));
    }
    fx_run(&fx);
    assert_int_equal(t.fired, TIMERS);
    assert_false(t.early);
    assert_false(t.late);
    assert_false(t.out_of_order);
    assert_false(t.running);
    fx_release(&fx);
}

struct named_timer {
    struct io_timer timer;
    struct fx *fx;
    const char *name;
};

static void named_fired(struct io_timer *timer)
{
    struct named_timer *t = CONTAINER_OF(timer, struct named_timer, timer);
    fx_note(t->fx, "%s", t->name);
}

static void a_timer_that_was_stopped_never_fires_and_a_moved_one_fires_once(void **state)
{
    struct fx fx;
    fx_init(&fx, 1);
    struct named_timer stopped = {{.fired = named_fired}, &fx, "stopped"};
    struct named_timer moved = {{.fired = named_fired}, &fx, "moved"};
    struct named_timer past = {{.fired = named_fired}, &fx, "past"};
    struct named_timer nearer = {{.fired = named_fired}, &fx, "nearer"};
    io_time now = process_clock(fx.process);
    timer_stop(fx.loop, &stopped.timer);
    timer_start(fx.loop, &stopped.timer, now + 5 * IO_MS);
    timer_stop(fx.loop, &stopped.timer);
    assert_false(timer_running(&stopped.timer));
    timer_start(fx.loop, &moved.timer, now + 5 * IO_MS);
    timer_start(fx.loop, &moved.timer, now + 30 * IO_MS);
    timer_start(fx.loop, &nearer.timer, now + 3600 * IO_SEC);
    timer_start(fx.loop, &nearer.timer, now + 15 * IO_MS);
    timer_start(fx.loop, &past.timer, 0);
    fx_after(&fx, 60 * IO_MS, fx_stop);
    fx_run(&fx);
    assert_log(&fx, "past nearer moved");
    fx_release(&fx);
}

struct ticking {
    struct io_timer timer;
    struct fx *fx;
    int count;
};

static void tick(struct io_timer *timer)
{
    struct ticking *t = CONTAINER_OF(timer, struct ticking, timer);
    if (++t->count == 10)
        fx_stop(t->fx);
    else
        timer_start(t->fx->loop, timer, loop_now(t->fx->loop) + 2 * IO_MS);
}

static void a_timer_may_be_started_again_in_its_callback(void **state)
{
    struct fx fx;
    fx_init(&fx, 1);
    struct ticking t = {{.fired = tick}, &fx, 0};
    io_time start = process_clock(fx.process);
    timer_start(fx.loop, &t.timer, start);
    fx_run(&fx);
    assert_int_equal(t.count, 10);
    assert_true(process_clock(fx.process) - start >= 18 * IO_MS);
    fx_release(&fx);
}

static void stay_idle(struct fx *fx)
{
    uint64_t *turns = fx->arg;
    turns[1] = loop_turns(process_loop(fx->process, 1));
    fx_stop(fx);
}

static void take_turns(struct fx *fx)
{
    uint64_t *turns = fx->arg;
    turns[0] = loop_turns(process_loop(fx->process, 1));
    fx_after(fx, 2500 * IO_MS, stay_idle);
}

static void a_loop_with_nothing_to_do_still_turns_every_second(void **state)
{
    struct fx fx;
    uint64_t turns[2];
    fx_init(&fx, 2);
    fx.arg = turns;
    fx_after(&fx, 10 * IO_MS, take_turns);
    fx_run(&fx);
    assert_true(turns[1] >= turns[0] + 2);
    assert_true(turns[1] <= turns[0] + 10);
    fx_release(&fx);
}

/* ---- posts ------------------------------------------------------------------------------- */

#define SENDERS 3
#define POSTS 2000

struct numbered {
    struct io_post post;
    struct sender *sender;
    int number;
};

struct sender {
    struct io_work work;
    struct fx *fx;
    struct numbered posts[POSTS];
    int received, done;
    bool out_of_order;
};
static struct sender senders[SENDERS];
static int posts_left;

static void numbered_run(struct io_post *post)
{
    struct numbered *n = CONTAINER_OF(post, struct numbered, post);
    n->sender->out_of_order = n->sender->out_of_order || n->number != n->sender->received;
    n->sender->received++;
    if (--posts_left == 0)
        fx_stop(n->sender->fx);
}

static void send_all(struct io_work *work)
{
    struct sender *s = CONTAINER_OF(work, struct sender, work);
    for (int i = 0; i < POSTS; i++) {
        s->posts[i] = (struct numbered){{.run = numbered_run}, s, i};
        loop_post(s->fx->loop, &s->posts[i].post);
    }
}

static void posts_of_one_thread_keep_their_order_and_none_is_lost(void **state)
{
    struct fx fx;
    fx_init(&fx, 1);
    posts_left = SENDERS * POSTS;
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.work.run = send_all, .fx = &fx};
        work_submit(fx.process, WORK_COMPUTE, &senders[i].work);
    }
    fx_run(&fx);
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(senders[i].received, POSTS);
        assert_false(senders[i].out_of_order);
    }
    fx_release(&fx);
}

struct posting {
    struct io_post post, defer;
    struct fx *fx;
    uint64_t turn;
    int count;
    bool same_turn;
};

static void post_again(struct io_post *post)
{
    struct posting *p = CONTAINER_OF(post, struct posting, post);
    if (++p->count < 100)
        loop_post(p->fx->loop, post);
    else
        fx_stop(p->fx);
}

static void a_post_may_be_sent_again_once_it_runs(void **state)
{
    struct fx fx;
    fx_init(&fx, 1);
    struct posting p = {.post.run = post_again, .fx = &fx};
    loop_post(fx.loop, &p.post);
    assert_int_equal(p.count, 0);
    fx_run(&fx);
    assert_int_equal(p.count, 100);
    fx_release(&fx);
}

static void deferred_run(struct io_post *post)
{
    struct posting *p = CONTAINER_OF(post, struct posting, defer);
    p->same_turn = loop_turns(p->fx->loop) == p->turn;
    fx_note(p->fx, "deferred");
    fx_stop(p->fx);
}

static void defer_it(struct io_post *post)
{
    struct posting *p = CONTAINER_OF(post, struct posting, post);
    p->turn = loop_turns(p->fx->loop);
    loop_defer(p->fx->loop, &p->defer);
    fx_note(p->fx, "callback");
}

static void deferred_runs_at_the_end_of_the_same_turn(void **state)
{
    struct fx fx;
    fx_init(&fx, 1);
    struct posting p = {.post.run = defer_it, .defer.run = deferred_run, .fx = &fx};
    loop_post(fx.loop, &p.post);
    fx_run(&fx);
    assert_log(&fx, "callback deferred");
    assert_true(p.same_turn);
    fx_release(&fx);
}

struct bounce {
    struct io_post post;
    struct process *process;
    int at, hops;
};

static void bounce(struct io_post *post)
{
    struct bounce *b = CONTAINER_OF(post, struct bounce, post);
    b->at = !b->at;
    if (++b->hops == 1000)
        process_stop(b->process);
    else
        loop_post(process_loop(b->process, b->at), post);
}

static void a_post_bounces_between_two_loops(void **state)
{
    struct fx fx;
    fx_init(&fx, 2);
    struct bounce b = {{.run = bounce}, fx.process, 0, 0};
    loop_post(fx.loop, &b.post);
    fx_run(&fx);
    assert_int_equal(b.hops, 1000);
    fx_release(&fx);
}

/* ---- work ----------------------------------------------------------------------------------- */

struct job {
    struct io_work work;
    struct fx *fx;
    enum io_work_kind kind;
    int index;
    bool ran, done_on_home, on_worker_in_done;
    pthread_t home;
};

static void job_run(struct io_work *work)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    job->ran = true;
    job->index = work_index(job->fx->process);
}

static void job_done(struct io_work *work)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    job->done_on_home = pthread_equal(job->home, pthread_self());
    job->on_worker_in_done = work_index(job->fx->process) != -1;
    process_stop(job->fx->process);
}

static void submit_from_home(struct io_post *post)
{
    struct job *job = CONTAINER_OF(post, struct job, work.post);
    job->home = pthread_self();
    work_submit(job->fx->process, job->kind, &job->work);
}

static void work_runs_on_a_worker_and_ends_on_its_home_loop(void **state)
{
    for (int kind = 0; kind < WORK_KINDS; kind++) {
        struct fx fx;
        fx_init(&fx, 2);
        struct job job = {.fx = &fx, .kind = (enum io_work_kind)kind, .index = -2};
        job.work.run = job_run;
        job.work.done = job_done;
        job.work.home = process_loop(fx.process, 1);
        job.work.post.run = submit_from_home;
        loop_post(job.work.home, &job.work.post);
        fx_run(&fx);
        assert_true(job.ran);
        assert_in_range(job.index, 0, work_threads(fx.process, job.kind) - 1);
        assert_true(job.done_on_home);
        assert_false(job.on_worker_in_done);
        assert_int_equal(work_index(fx.process), -1);
        fx_release(&fx);
    }
}

#define JOBS 50

struct counted {
    struct io_work work;
    struct locked *locked;
    bool done;
};

struct locked {
    struct fx *fx;
    struct io_lock lock;
    uint64_t count; /* under the lock */
    struct counted jobs[JOBS];
};

static void count_locked(struct io_work *work)
{
    struct locked *l = CONTAINER_OF(work, struct counted, work)->locked;
    for (int i = 0; i < 2000; i++) {
        io_lock_take(&l->lock);
        l->count++;
        io_lock_give(&l->lock);
    }
}

static void done_late(struct io_work *work)
{
    CONTAINER_OF(work, struct counted, work)->done = true;
}

static void every_job_ends_before_run_returns_and_the_lock_admits_one_at_a_time(void **state)
{
    struct fx fx;
    static struct locked l;
    fx_init(&fx, 1);
    l = (struct locked){.fx = &fx};
    io_lock_init(&l.lock, fx.process);
    for (int i = 0; i < JOBS; i++) {
        l.jobs[i] = (struct counted){{.run = count_locked}, &l, false};
        l.jobs[i].work.done = i % 2 ? done_late : NULL;
        l.jobs[i].work.home = i % 2 ? fx.loop : NULL;
        work_submit(fx.process, i % 3 ? WORK_COMPUTE : WORK_FILE, &l.jobs[i].work);
    }
    process_stop(fx.process);
    fx_run(&fx);
    assert_int_equal(l.count, JOBS * 2000);
    /* The loop had ended before it began: posts were dropped. */
    for (int i = 0; i < JOBS; i++)
        assert_false(l.jobs[i].done);
    fx_release(&fx);
}

/* ---- process ----------------------------------------------------------------------------------
 */

static void never(struct io_post *post)
{
    struct posting *p = CONTAINER_OF(post, struct posting, post);
    p->count++;
}

static void a_process_that_was_never_run_can_be_freed(void **state)
{
    struct fx fx;
    struct stream *stream;
    fx_init(&fx, 3);
    struct posting p = {.post.run = never, .fx = &fx};
    struct named_timer timer = {{.fired = named_fired}, &fx, "timer"};
    loop_post(fx.loop, &p.post);
    timer_start(fx.loop, &timer.timer, 0);
    fx_listen(&fx, IO_INET, NULL);
    result r = stream_connect(fx.loop, &fx.address, fx_on_connected, &fx, &stream);
    assert_int_equal(r.code, ERR_NONE);
    fx_release(&fx);
    process_free(NULL);
    assert_int_equal(p.count, 0);
    assert_log(&fx, "");
}

static void stop_from_worker(struct io_work *work)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    process_stop(job->fx->process);
}

static void stop_from_a_worker_ends_all_loops(void **state)
{
    struct fx fx;
    fx_init(&fx, 3);
    struct job job = {.fx = &fx, .work.run = stop_from_worker};
    work_submit(fx.process, WORK_FILE, &job.work);
    fx_run(&fx);
    fx_release(&fx);
}

static void loops_know_their_place(void **state)
{
    struct fx fx;
    fx_init(&fx, 3);
    assert_int_equal(process_loop_count(fx.process), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(loop_index(process_loop(fx.process, i)), i);
        assert_ptr_equal(loop_process(process_loop(fx.process, i)), fx.process);
    }
    fx_release(&fx);
}

static void on_signal(void *arg, int signal_number)
{
    struct fx *fx = arg;
    fx_note(fx, "%s", signal_number == SIGUSR1 ? "USR1" : "HUP");
    if (signal_number == SIGHUP)
        fx_stop(fx);
    else
        driver->raise(fx->process, SIGHUP);
}

static void signals_come_to_loop_0(void **state)
{
    struct fx fx;
    fx_init(&fx, 2);
    assert_int_equal(process_signal(fx.process, SIGUSR1, on_signal, &fx).code, ERR_NONE);
    assert_int_equal(process_signal(fx.process, SIGHUP, on_signal, &fx).code, ERR_NONE);
    assert_int_equal(process_signal(fx.process, SIGHUP, on_signal, &fx).code, ERR_EXISTS);
    driver->raise(fx.process, SIGUSR1);
    fx_run(&fx);
    assert_log(&fx, "USR1 HUP");
    fx_release(&fx);
}

static void clocks_advance_and_chance_does_not_repeat(void **state)
{
    struct fx fx;
    uint8_t a[100] = {0}, b[100] = {0};
    fx_init(&fx, 1);
    assert_true(process_clock(fx.process) <= process_clock(fx.process));
    assert_true(process_wall(fx.process) > 1600000000 * IO_SEC);
    assert_true(process_thread_cpu(fx.process) <= process_thread_cpu(fx.process));
    assert_true(process_random_u64(fx.process) != process_random_u64(fx.process));
    process_random(fx.process, (struct span_mut){a, sizeof(a)});
    process_random(fx.process, (struct span_mut){b, sizeof(b)});
    assert_memory_not_equal(a, b, sizeof(a));
    process_random(fx.process, (struct span_mut){NULL, 0});
    fx_release(&fx);
}

static void the_process_knows_its_means(void **state)
{
    struct fx fx;
    struct process_usage usage;
    fx_init(&fx, 1);
    assert_true(process_cores(fx.process) >= 1);
    assert_true(process_memory(fx.process) >= (uint64_t)1 << 20);
    assert_true(process_id(fx.process) > 0);
    assert_true(process_descriptors(fx.process, 1) > 1);
    assert_null(process_env(fx.process, "WEIR_IO_NOT_SET"));
    process_usage(fx.process, &usage);
    assert_true(usage.resident_bytes > 100000);
    assert_true(usage.descriptors_now >= 3);
    assert_true(usage.descriptors_max >= usage.descriptors_now);
    assert_true(usage.cpu_user >= 0 && usage.cpu_system >= 0);
    assert_true(usage.started_at <= process_wall(fx.process));
    assert_true(usage.started_at > process_wall(fx.process) - 3600 * IO_SEC);
    fx_release(&fx);
}

const struct CMUnitTest loop_tests[] = {
    cmocka_unit_test(timers_fire_in_order_and_never_early),
    cmocka_unit_test(a_timer_that_was_stopped_never_fires_and_a_moved_one_fires_once),
    cmocka_unit_test(a_timer_may_be_started_again_in_its_callback),
    cmocka_unit_test(a_loop_with_nothing_to_do_still_turns_every_second),
    cmocka_unit_test(posts_of_one_thread_keep_their_order_and_none_is_lost),
    cmocka_unit_test(a_post_may_be_sent_again_once_it_runs),
    cmocka_unit_test(deferred_runs_at_the_end_of_the_same_turn),
    cmocka_unit_test(a_post_bounces_between_two_loops),
    cmocka_unit_test(work_runs_on_a_worker_and_ends_on_its_home_loop),
    cmocka_unit_test(every_job_ends_before_run_returns_and_the_lock_admits_one_at_a_time),
    cmocka_unit_test(a_process_that_was_never_run_can_be_freed),
    cmocka_unit_test(stop_from_a_worker_ends_all_loops),
    cmocka_unit_test(loops_know_their_place),
    cmocka_unit_test(signals_come_to_loop_0),
    cmocka_unit_test(clocks_advance_and_chance_does_not_repeat),
    cmocka_unit_test(the_process_knows_its_means),
};
const size_t loop_tests_count = ARRAY_LEN(loop_tests);
