/* A loop is a uv_loop_t. Its end of turn is the prepare phase, which is the last thing
 * before the wait, also after a turn in which only close callbacks or timers ran. An
 * idle handle, whose presence makes the library poll instead of wait, is active only
 * while the end of turn left something behind. */
#include "io/uv/uv_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HEARTBEAT_MS 1000

_Thread_local struct iouv_thread iouv_thread;

static void nothing(uv_idle_t *idle)
{
}

static void heartbeat(uv_timer_t *timer)
{
}

static void timer_due(uv_timer_t *timer)
{
    struct iouv_loop *loop = timer->data;
    loop->tick_armed = UINT64_MAX;
    loop->base.now = iouv_clock(loop->base.process);
    loop->base.now_known = true;
    loop_fire_timers(&loop->base, loop->base.now);
}

/* Sets the library's timer for the wheel's next tick. It counts whole milliseconds of
 * the same clock and waits from wherever in a millisecond it is. So it is first set for
 * the millisecond in which the tick lies, and, should that be too early, from there for
 * the rest, rounded up: less than a millisecond late in all, and never early. */
static void arm_timer(struct iouv_loop *loop)
{
    if (loop->base.tick_next >= loop->tick_armed)
        return;
    loop->tick_armed = loop->base.tick_next;
    io_time due = (io_time)(loop->tick_armed << LOOP_TICK_SHIFT);
    io_time wait = due / IO_MS - (io_time)uv_now(&loop->uv);
    if (wait <= 0) {
        io_time left = due - iouv_clock(loop->base.process);
        wait = left > 0 ? (left + IO_MS - 1) / IO_MS : 0;
    }
    uv_timer_start(&loop->timer, timer_due, (uint64_t)wait, 0);
}

static void before_wait(uv_prepare_t *prepare)
{
    struct iouv_loop *loop = prepare->data;
    loop_turn_end(&loop->base);
    if (loop->base.tick_next != UINT64_MAX || loop->tick_armed != UINT64_MAX) {
        /* The wait is counted from the library's idea of now, which what has just run
         * made old. */
        uv_update_time(&loop->uv);
        arm_timer(loop);
    }
    bool more = loop_has_more(&loop->base);
    if (more && !loop->idling)
        uv_idle_start(&loop->idle, nothing);
    else if (!more && loop->idling)
        uv_idle_stop(&loop->idle);
    loop->idling = more;
    loop_turn_begin(&loop->base);
}

static void woken(uv_async_t *async)
{
    struct iouv_loop *loop = async->data;
    /* Relaxed: whoever stops shares nothing by it; the threads are joined afterwards. */
    if (atomic_load_explicit(&iouv_process(loop->base.process)->stopping, memory_order_relaxed))
        uv_stop(&loop->uv);
}

void iouv_wake(struct loop *loop)
{
    /* In its own thread the end of turn is still to come, or looks again. */
    if (iouv_thread.loop != loop)
        uv_async_send(&iouv_loop(loop)->wake);
}

uint64_t iouv_turns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->turns, memory_order_relaxed);
}

result iouv_loop_init(struct iouv_loop *loop, struct process *process, int index, struct diag *diag)
{
    loop_init(&loop->base, process, index, iouv_clock(process));
    loop->tick_armed = UINT64_MAX;
    pool_init(&loop->streams, iouv_stream_size, IOUV_STREAMS_MAX);
    int r = uv_loop_init(&loop->uv);
    if (r < 0)
        return diag_fail_errno(diag, -r, "make an event loop");
    loop->uv_ready = true;
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_timer_init(&loop->uv, &loop->timer);
    uv_timer_init(&loop->uv, &loop->heartbeat);
    loop->prepare.data = loop->timer.data = loop->wake.data = loop;
    r = uv_async_init(&loop->uv, &loop->wake, woken);
    if (r < 0)
        return diag_fail_errno(diag, -r, "make an event loop's wake-up");
    uv_prepare_start(&loop->prepare, before_wait);
    uv_timer_start(&loop->heartbeat, heartbeat, HEARTBEAT_MS, HEARTBEAT_MS);
    return OK;
}

result iouv_loop_grow(struct iouv_loop *loop, int descriptors, struct diag *diag)
{
    int low = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int high = low >= 0 ? fcntl(low, F_DUPFD_CLOEXEC, descriptors - 1) : -1;
    if (low >= 0)
        close(low);
    if (high < 0)
        return OK; /* none so high to be had: then none so high will come either */
    int r = uv_poll_init(&loop->uv, &loop->grow, high);
    if (r >= 0) {
        uv_poll_start(&loop->grow, UV_READABLE, NULL);
        uv_poll_stop(&loop->grow);
        uv_close((uv_handle_t *)&loop->grow, NULL);
    }
    close(high);
    if (r < 0)
        return diag_fail_errno(diag, -r, "prepare an event loop for %d descriptors", descriptors);
    return OK;
}

int iouv_watch(struct iouv_loop *loop, int fd)
{
    struct epoll_event none = {.data.fd = fd}; /* as the library has it */
    int r = epoll_ctl(uv_backend_fd(&loop->uv), EPOLL_CTL_ADD, fd, &none);
    return r == 0 || errno == EEXIST ? 0 : errno;
}

void iouv_loop_run(struct iouv_loop *loop)
{
    if (atomic_load_explicit(&iouv_process(loop->base.process)->stopping, memory_order_relaxed))
        return;
    iouv_thread.loop = &loop->base;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    iouv_thread.loop = NULL;
}

static void abandon(uv_handle_t *handle, void *arg)
{
    struct iouv_loop *loop = arg;
    if (uv_is_closing(handle))
        return;
    switch (uv_handle_get_type(handle)) {
    case UV_TCP:
    case UV_NAMED_PIPE:
        iouv_stream_abandon(handle);
        break;
    case UV_POLL:
        ASSERT(handle != (uv_handle_t *)&loop->grow); /* closed by whoever opened it */
        iouv_listener_abandon(handle);
        break;
    default:
        uv_close(handle, NULL);
        break;
    }
}

void iouv_loop_release(struct iouv_loop *loop)
{
    iouv_dns_release(loop);
    loop_release(&loop->base);
    if (loop->uv_ready) {
        uv_walk(&loop->uv, abandon, loop);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        int r = uv_loop_close(&loop->uv);
        ASSERT(r == 0);
    }
    pool_release(&loop->streams);
}
