/* Many connections, large bodies, and what they cost. */
#include "base/alloc.h"
#include "base/poison.h"
#include "net/test_fixture.h"

#include <stdio.h>
#include <sys/resource.h>

#define MIB ((uint64_t)1 << 20)

/* ---- idle connections ---- */

#define IDLE_MAX 10000

/* A client that has had its answer and keeps its connection. The client's side lies in the
 * same process, so its part is taken off what is measured. */
struct idle {
    struct idle_run *run;
    struct stream *stream;
    size_t seen;
};

struct idle_run {
    struct fx *fx;
    struct idle *clients;
    int wanted, next, answered, failed;
    uint64_t resident_before, resident_after;
    struct io_timer timer;
    void (*then)(struct fx *fx);
};

static uint64_t resident(struct fx *fx)
{
    struct process_usage usage;
    process_usage(fx->process, &usage);
    return usage.resident_bytes;
}

static void idle_next(struct idle_run *run);

static void idle_end(struct io_timer *timer)
{
    struct idle_run *run = CONTAINER_OF(timer, struct idle_run, timer);
    run->resident_after = resident(run->fx);
    if (fx_counts(run->fx).connections != (uint64_t)run->answered)
        fx_fail(run->fx, "expected %d connections, got %llu", run->answered,
                (unsigned long long)fx_counts(run->fx).connections);
    for (int i = 0; i < run->next; i++)
        if (run->clients[i].stream)
            stream_close(steal(&run->clients[i].stream), STREAM_CLOSE, NULL, NULL);
    if (run->then)
        run->then(run->fx);
    fx_client_done(run->fx);
}

static void idle_step_done(struct idle_run *run)
{
    if (run->answered + run->failed == run->wanted) {
        run->timer.fired = idle_end;
        timer_start(process_loop(run->fx->process, 0), &run->timer,
                    loop_now(process_loop(run->fx->process, 0)) + 50 * IO_MS);
    } else {
        idle_next(run);
    }
}

static void idle_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct idle *idle = arg;
    if (!idle->stream)
        return;
    if (failed(r) || !bytes.len) {
        idle->run->failed++;
        stream_close(steal(&idle->stream), STREAM_CLOSE, NULL, NULL);
        idle_step_done(idle->run);
        return;
    }
    bool had = idle->seen;
    idle->seen += bytes.len;
    stream_read(stream, (struct span_mut){NULL, 0}, idle_read, idle);
    if (!had) {
        idle->run->answered++;
        idle_step_done(idle->run);
    }
}

static void idle_wrote(void *arg, struct stream *stream, result r)
{
}

static void idle_connected(void *arg, struct stream *stream, result r)
{
    static const struct span request = SPAN_INIT("GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n");
    struct idle *idle = arg;
    if (failed(r)) {
        idle->run->failed++;
        stream_close(steal(&idle->stream), STREAM_CLOSE, NULL, NULL);
        idle_step_done(idle->run);
        return;
    }
    stream_write(stream, &request, 1, idle_wrote, idle);
    stream_read(stream, (struct span_mut){NULL, 0}, idle_read, idle);
}

static void idle_next(struct idle_run *run)
{
    if (run->next == run->wanted)
        return;
    struct idle *idle = &run->clients[run->next++];
    idle->run = run;
    if (failed(stream_connect(process_loop(run->fx->process, 0), &run->fx->address, idle_connected,
                              idle, &idle->stream)))
        fx_fail(run->fx, "cannot connect");
}

static void idle_start(struct idle_run *run, struct fx *fx, int wanted)
{
    *run = (struct idle_run){.fx = fx, .wanted = wanted};
    run->clients = mem_must(mem_zalloc((size_t)wanted, sizeof(*run->clients)), (size_t)wanted);
    run->resident_before = resident(fx);
    fx->running++;
    for (int i = 0; i < 64; i++)
        idle_next(run);
}

static void an_idle_connection_holds_no_buffer(void **state)
{
    struct fx fx;
    struct idle_run run;
    fx_init(&fx, &(struct fx_options){0});
    uint64_t descriptors = process_descriptors(fx.process, 2 * IDLE_MAX + 100);
    int wanted = (int)MIN((descriptors - 100) / 2, (uint64_t)IDLE_MAX);
    fx_serve(&fx);
    idle_start(&run, &fx, wanted);
    fx_run(&fx);
    assert_int_equal(run.answered, wanted);
    uint64_t each = (run.resident_after - run.resident_before) / (uint64_t)wanted;
    print_message("%d idle connections: %llu resident bytes each, both ends\n", wanted,
                  (unsigned long long)each);
    assert_true(POISON_WORKS || each < 4096);
    mem_free(run.clients);
    fx_release(&fx);
}

static void ask_again(struct fx *fx)
{
    fx_script(fx, SEND("GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n"), EXPECT(200));
}

static void running_out_of_descriptors_passes(void **state)
{
    struct fx fx;
    struct idle_run run;
    struct rlimit before, few;
    fx_init(&fx, &(struct fx_options){0});
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 100;
    fx_serve(&fx);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    /* The client's ends count too: some of both sides fail. */
    idle_start(&run, &fx, 64);
    run.then = ask_again;
    fx_run(&fx);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(run.failed > 0);
    assert_true(run.answered > 0);
    mem_free(run.clients);
    fx_release(&fx);
}

/* ---- large bodies ---- */

#define LARGE_MIB 100
#define PIECE ((size_t)1 << 20)

static void large_collected(struct fx *fx)
{
    uint8_t *piece = mem_must(mem_alloc(PIECE + 1), PIECE + 1);
    char head[128];
    memset(piece, 'x', PIECE);
    piece[PIECE] = '\0';
    snprintf(head, sizeof(head), "POST /sum HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
             PIECE * LARGE_MIB);
    fx_script(fx, SEND(head), SEND_TIMES((const char *)piece, LARGE_MIB),
              EXPECT(200, .body = "104857600\n"));
    fx_run(fx);
    mem_free(piece);
}

/* The block that it is read into, and little else; it is only touched where bytes came. */
static void a_large_body_goes_straight_into_one_block(void **state)
{
    struct fx fx;
    struct rusage usage;
    fx_init(&fx, &(struct fx_options){0});
    fx_serve(&fx);
    uint64_t before = resident(&fx);
    large_collected(&fx);
    getrusage(RUSAGE_SELF, &usage);
    uint64_t peak = (uint64_t)usage.ru_maxrss * 1024;
    print_message("a body of %d MiB: %llu MiB resident at most, %llu before\n", LARGE_MIB,
                  (unsigned long long)(peak / MIB), (unsigned long long)(before / MIB));
    assert_true(POISON_WORKS || peak - before < (LARGE_MIB + 40) * MIB);
    fx_release(&fx);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_body_goes_straight_into_one_block),
        cmocka_unit_test(running_out_of_descriptors_passes),
        cmocka_unit_test(an_idle_connection_holds_no_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
