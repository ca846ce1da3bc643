/* From the first turn of loop 0 to the exit.
 *
 *   LOADING --run_ready--> READY --TERM--> LAME --lame_duck--> DRAINING --> ENDING
 *      \------- TERM, INT, run_fail: at once or by DRAINING --------------/
 */
#include "run/run_private.h"

#include <signal.h>
#include <stdio.h>

/* From the end of the loops to the end of the process. */
#define EXIT_PATIENCE (2 * IO_SEC)
/* After the drain's own deadline: for connections to close. */
#define DRAIN_GRACE (1 * IO_SEC)

/* What is cut may be in a job that does not come back, and a log's pipe may be stalled. */
static void end(struct run *run)
{
    run->phase = RUN_ENDING;
    if (run->kind->stop)
        run->kind->stop(run->role);
    process_exit_after(run->process, EXIT_PATIENCE, run->exit_code);
    process_stop(run->process);
}

/* ---- ready ---- */

void run_ready(struct run *run)
{
    if (run->phase != RUN_LOADING)
        return;
    run->phase = RUN_READY;
    run_publish_ready(run, true);
    run_notify(run, "READY=1\nSTATUS=ready\n");
    log_event(run->log, EVENT_SERVER_READY,
              LOG_FIELDS(log_str("address", run->address),
                         log_time("after", process_wall(run->process) - run->started_at)),
              "ready on %s", run->address);
}

void run_fail(struct run *run, enum err code, const char *text)
{
    log_event(run->log, EVENT_SERVER_FAILED, LOG_FIELDS(log_str("error", err_name(code))), "%s",
              text);
    run->exit_code = exit_code_of(code);
    end(run);
}

void run_begin(struct io_post *boot)
{
    struct run *run = CONTAINER_OF(boot, struct run, boot);
    run->kind->load(run->role);
}

/* ---- drain ---- */

static void finished(struct run *run)
{
    if (run->cut && !run->exit_code)
        run->exit_code = RUN_EXIT_CUT;
    log_event(run->log, EVENT_SERVER_STOPPED, LOG_FIELDS(log_uint("cut", run->cut)),
              run->cut ? "stopped; work was cut" : "stopped; all work was finished");
    end(run);
}

static void drained(void *arg, uint64_t cut)
{
    struct run *run = arg;
    run->cut += cut;
    if (--run->draining == 0 && run->phase == RUN_DRAINING)
        finished(run);
}

/* Handlers that do not come back would hold the drain for ever. */
static void drain_overdue(struct io_timer *timer)
{
    struct run *run = CONTAINER_OF(timer, struct run, timer);
    struct server_counts counts;
    server_counts(run->server, &counts);
    run->cut += MAX(counts.requests, (uint64_t)1);
    finished(run);
}

static const struct run_config *config_of_run(struct run *run)
{
    return run_config(run, &run_module);
}

static void drain(struct run *run)
{
    struct loop *loop = process_loop(run->process, 0);
    io_time deadline = loop_now(loop) + config_of_run(run)->drain_timeout;
    run->phase = RUN_DRAINING;
    run->timer.fired = drain_overdue;
    timer_start(loop, &run->timer, deadline + DRAIN_GRACE);
    run->draining = run->admin ? 2 : 1;
    server_drain(run->server, deadline, drained, run);
    /* The admin listener shows the drain until it is over; its own work is short. */
    if (run->admin)
        server_drain(run->admin, deadline, drained, run);
}

static void lame_duck_over(struct io_timer *timer)
{
    drain(CONTAINER_OF(timer, struct run, timer));
}

static void begin_drain(struct run *run, io_time lame_duck)
{
    struct loop *loop = process_loop(run->process, 0);
    run->phase = RUN_LAME;
    run_publish_ready(run, false);
    run_notify(run, "STOPPING=1\nSTATUS=draining\n");
    log_event(run->log, EVENT_SERVER_DRAINING,
              LOG_FIELDS(log_time("lame_duck", lame_duck),
                         log_time("drain_timeout", config_of_run(run)->drain_timeout)),
              "draining");
    if (lame_duck == 0) {
        drain(run);
        return;
    }
    run->timer.fired = lame_duck_over;
    timer_start(loop, &run->timer, loop_now(loop) + lame_duck);
}

/* ---- signals ---- */

static void on_stop(void *arg, int signal_number)
{
    struct run *run = arg;
    log_event(run->log, EVENT_SIGNAL_RECEIVED, LOG_FIELDS(log_int("signal", signal_number)), "%s",
              signal_number == SIGTERM ? "SIGTERM" : "SIGINT");
    if (run->phase <= RUN_READY) {
        begin_drain(run, signal_number == SIGTERM ? config_of_run(run)->lame_duck : 0);
        return;
    }
    struct server_counts counts;
    server_counts(run->server, &counts);
    run->cut += counts.requests;
    finished(run);
}

static void on_hup(void *arg, int signal_number)
{
    run_reload(arg);
}

static void on_usr1(void *arg, int signal_number)
{
    struct run *run = arg;
    log_reopen(run->log);
}

result run_signals(struct run *run, struct diag *diag)
{
    static const struct {
        int number;
        void (*fn)(void *arg, int number);
    } table[] = {{SIGTERM, on_stop}, {SIGINT, on_stop}, {SIGHUP, on_hup}, {SIGUSR1, on_usr1}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (failed(process_signal(run->process, table[i].number, table[i].fn, run)))
            return diag_fail(diag, ERR_IO, "cannot handle signal %d", table[i].number);
    return OK;
}
