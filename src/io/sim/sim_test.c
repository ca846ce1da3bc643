/* What only the simulator promises: one seed gives one history, and faults come. */
#include "io/sim/test_world.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a small service and its callers --------------------------------------------------- */

#define SEEDS_MAX 2000

static uint64_t seeds(void)
{
    return MIN(world_seeds(20), (uint64_t)SEEDS_MAX);
}

#define CALLERS 12
#define ROUNDS 20

struct peer {
    struct service *service;
    struct stream *stream;
    struct io_work work;
    struct io_post post;
    struct io_detached detached;
    struct loop *loop;
    uint8_t bytes[300];
    size_t len, received;
    int rounds;
    result connected;
};

struct service {
    struct process *server, *client;
    struct listener *listener;
    struct peer served[CALLERS * 2], callers[CALLERS];
    size_t served_count;
    int finished, wrong, resets, refused;
};

static void peer_closed(void *arg)
{
    ((struct peer *)arg)->stream = NULL;
}

static void hang_up(struct peer *peer)
{
    stream_close(peer->stream, STREAM_CLOSE, peer_closed, peer);
}

static void serve_read(void *arg, struct stream *stream, result r, struct span bytes);

static void serve_written(void *arg, struct stream *stream, result r)
{
    struct peer *peer = arg;
    if (failed(r))
        hang_up(peer);
    else
        stream_read(stream, (struct span_mut){NULL, 0}, serve_read, peer);
}

static void serve_computed(struct io_work *work)
{
    struct peer *peer = CONTAINER_OF(work, struct peer, work);
    struct span answer = span_of(peer->bytes, peer->len);
    stream_write(peer->stream, &answer, 1, serve_written, peer);
}

static void compute(struct io_work *work)
{
    struct peer *peer = CONTAINER_OF(work, struct peer, work);
    for (size_t i = 0; i < peer->len; i++)
        peer->bytes[i] ^= 0x55;
}

static void serve_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct peer *peer = arg;
    if (failed(r) || bytes.len == 0) {
        if (!is(r, ERR_CANCELLED))
            hang_up(peer);
        return;
    }
    peer->len = MIN(bytes.len, sizeof(peer->bytes));
    memcpy(peer->bytes, bytes.ptr, peer->len);
    peer->work.run = compute;
    peer->work.done = serve_computed;
    peer->work.home = peer->loop;
    work_submit(peer->service->server, WORK_COMPUTE, &peer->work);
}

static void serve_adopt(struct io_post *post)
{
    struct peer *peer = CONTAINER_OF(post, struct peer, post);
    result r = stream_adopt(peer->loop, peer->detached, &peer->stream);
    ASSERT(is(r, ERR_NONE));
    stream_read(peer->stream, (struct span_mut){NULL, 0}, serve_read, peer);
}

static void serve_accept(void *arg, struct listener *listener, struct io_detached detached)
{
    struct service *service = arg;
    struct peer *peer = &service->served[service->served_count];
    int loops = process_loop_count(service->server);
    *peer = (struct peer){
        .service = service,
        .detached = detached,
        .loop = process_loop(service->server, (int)service->served_count % loops),
        .post.run = serve_adopt,
    };
    service->served_count++;
    loop_post(peer->loop, &peer->post);
}

static void call_again(struct peer *peer);

static void call_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct peer *peer = arg;
    if (failed(r) || bytes.len == 0) {
        peer->service->resets += is(r, ERR_RESET);
        peer->service->finished++;
        hang_up(peer);
        return;
    }
    for (size_t i = 0; i < bytes.len; i++)
        peer->service->wrong += bytes.ptr[i] != (peer->bytes[peer->received + i] ^ 0x55);
    peer->received += bytes.len;
    if (peer->received < peer->len)
        stream_read(stream, (struct span_mut){NULL, 0}, call_read, peer);
    else
        call_again(peer);
}

static void call_written(void *arg, struct stream *stream, result r)
{
}

static void call_again(struct peer *peer)
{
    if (peer->rounds++ == ROUNDS) {
        peer->service->finished++;
        hang_up(peer);
        return;
    }
    struct process *client = peer->service->client;
    peer->len = 1 + process_random_u64(client) % sizeof(peer->bytes);
    peer->received = 0;
    process_random(client, (struct span_mut){peer->bytes, peer->len});
    struct span request = span_of(peer->bytes, peer->len);
    stream_write(peer->stream, &request, 1, call_written, peer);
    stream_read(peer->stream, (struct span_mut){NULL, 0}, call_read, peer);
}

static void call_connected(void *arg, struct stream *stream, result r)
{
    struct peer *peer = arg;
    peer->connected = r;
    if (failed(r)) {
        peer->service->refused++;
        peer->service->finished++;
        hang_up(peer);
    } else {
        call_again(peer);
    }
}

static void start(struct service *service, struct world *world)
{
    *service = (struct service){.server = sim_process_new(world, "server", 3),
                                .client = sim_process_new(world, "client", 2)};
    struct io_address address;
    assert_int_equal(io_address_parse(SPAN("127.0.0.1:80"), &address, NULL).code, ERR_NONE);
    result r = listener_open(process_loop(service->server, 0), &address, NULL, serve_accept,
                             service, &service->listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
    for (int i = 0; i < CALLERS; i++) {
        struct peer *peer = &service->callers[i];
        peer->service = service;
        r = stream_connect(process_loop(service->client, i % 2), &address, call_connected, peer,
                           &peer->stream);
        assert_int_equal(r.code, ERR_NONE);
    }
}

static uint64_t play(uint64_t seed, const struct sim_faults *faults, struct service *service)
{
    struct world *world = sim_world_new(seed);
    if (faults)
        sim_world_faults(world, faults);
    start(service, world);
    assert_true(sim_run_idle(world, 3600 * IO_SEC));
    uint64_t hash = sim_trace_hash(world);
    process_free(service->server);
    process_free(service->client);
    sim_world_free(world);
    return hash;
}

static struct service service;

static void one_seed_gives_one_history_and_another_seed_another(void **state)
{
    struct sim_faults rough = {.delay_max = IO_MS,
                               .short_read_percent = 30,
                               .short_write_percent = 30,
                               .reset_permille = 5,
                               .refuse_permille = 20};
    static uint64_t hashes[SEEDS_MAX];
    for (uint64_t i = 0; i < seeds(); i++) {
        hashes[i] = play(i, &rough, &service);
        assert_int_equal(service.finished, CALLERS);
        assert_int_equal(service.wrong, 0);
        assert_true(hashes[i] == play(i, &rough, &service));
        for (uint64_t j = 0; j < i; j++)
            assert_true(hashes[i] != hashes[j]);
    }
}

static void without_faults_every_call_is_answered(void **state)
{
    for (uint64_t seed = 0; seed < seeds(); seed++) {
        play(seed, NULL, &service);
        assert_int_equal(service.finished, CALLERS);
        assert_int_equal(service.wrong + service.resets + service.refused, 0);
        for (int i = 0; i < CALLERS; i++)
            assert_int_equal(service.callers[i].rounds, ROUNDS + 1);
    }
}

static void faults_that_are_asked_for_come(void **state)
{
    play(1, &(struct sim_faults){.refuse_permille = 1000}, &service);
    assert_int_equal(service.refused, CALLERS);
    play(1, &(struct sim_faults){.reset_permille = 1000}, &service);
    assert_int_equal(service.resets, CALLERS);
    play(1, &(struct sim_faults){.short_read_percent = 100, .short_write_percent = 100}, &service);
    assert_int_equal(service.wrong + service.resets + service.refused, 0);
    assert_true(service.callers[0].rounds == ROUNDS + 1);
}

/* ---- time --------------------------------------------------------------------------------- */

struct waiting {
    struct io_timer timer;
    struct process *process;
    io_time fired_at;
};

static void waited(struct io_timer *timer)
{
    struct waiting *w = CONTAINER_OF(timer, struct waiting, timer);
    w->fired_at = process_clock(w->process);
}

static void time_jumps_to_what_happens_next(void **state)
{
    struct world *world = sim_world_new(7);
    struct waiting w = {{.fired = waited}, sim_process_new(world, "one", 1), 0};
    io_time at = sim_now(world) + 86400 * IO_SEC;
    timer_start(process_loop(w.process, 0), &w.timer, at);
    sim_run_until(world, at - 1);
    assert_int_equal(sim_now(world), at - 1);
    assert_int_equal(w.fired_at, 0);
    assert_true(sim_run_idle(world, at + IO_SEC));
    assert_in_range(w.fired_at, at, at + IO_MS);
    timer_start(process_loop(w.process, 0), &w.timer, at + 100 * IO_SEC);
    assert_false(sim_run_idle(world, at + IO_SEC));
    process_free(w.process);
    assert_false(sim_step(world));
    sim_world_free(world);
    sim_world_free(NULL);
}

/* ---- ends of processes ---------------------------------------------------------------------- */

static void a_process_that_is_freed_ends_its_connections(void **state)
{
    struct world *world = sim_world_new(3);
    start(&service, world);
    sim_run_until(world, sim_now(world) + 2 * IO_MS);
    assert_true(service.finished < CALLERS);
    process_free(service.server);
    assert_true(sim_run_idle(world, 3600 * IO_SEC));
    assert_int_equal(service.finished, CALLERS);
    process_free(service.client);
    sim_world_free(world);
}

static void note_connected(void *arg, struct stream *stream, result r)
{
    ((struct peer *)arg)->connected = r;
}

struct keeper {
    uint64_t kept;
};

static void keep(void *arg, struct listener *listener, struct io_detached detached)
{
    ((struct keeper *)arg)->kept++;
}

static void nothing_connected(void *arg, struct stream *stream, result r)
{
}

static void when_descriptors_run_out_callers_are_dropped(void **state)
{
    struct world *world = sim_world_new(3);
    struct process *server = sim_process_new(world, "server", 1);
    struct process *client = sim_process_new(world, "client", 1);
    struct keeper keeper = {0};
    struct listener *listener;
    struct io_address address;
    struct process_usage usage;
    struct stream *stream;
    assert_int_equal(io_address_parse(SPAN("127.0.0.1:80"), &address, NULL).code, ERR_NONE);
    result r =
        listener_open(process_loop(server, 0), &address, NULL, keep, &keeper, &listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
    process_usage(server, &usage);
    uint64_t room = usage.descriptors_max - usage.descriptors_now;
    assert_int_equal(process_descriptors(client, 4000), 4000);
    int callers = 0;
    for (; callers < 3000; callers++) {
        r = stream_connect(process_loop(client, 0), &address, nothing_connected, NULL, &stream);
        assert_int_equal(r.code, ERR_NONE);
    }
    assert_true(sim_run_idle(world, sim_now(world) + IO_SEC));
    assert_int_equal(keeper.kept, room);
    assert_int_equal(listener_dropped(listener), 3000 - room);
    while (callers < 4000 && is(r, ERR_NONE)) {
        r = stream_connect(process_loop(client, 0), &address, nothing_connected, NULL, &stream);
        callers++;
    }
    assert_int_equal(r.code, ERR_NO_DESCRIPTORS);
    process_free(client);
    process_free(server);
    sim_world_free(world);
}

static void a_full_backlog_makes_callers_wait_and_then_give_up(void **state)
{
    struct world *world = sim_world_new(5);
    struct process *process = sim_process_new(world, "one", 1);
    struct peer peers[2] = {0};
    struct listen_options options = {.backlog = 1};
    struct listener *listener;
    struct io_address address;
    assert_int_equal(io_address_parse(SPAN("127.0.0.1:80"), &address, NULL).code, ERR_NONE);
    result r =
        listener_open(process_loop(process, 0), &address, &options, NULL, NULL, &listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
    listener_pause(listener);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        peers[i].connected = (result){ERR_INTERNAL};
        r = stream_connect(process_loop(process, 0), &address, note_connected, &peers[i],
                           &peers[i].stream);
        assert_int_equal(r.code, ERR_NONE);
    }
    io_time start_at = sim_now(world);
    assert_true(sim_run_idle(world, start_at + 100 * IO_SEC));
    assert_true(sim_now(world) - start_at > 4 * IO_SEC);
    bool first_waits = is(peers[0].connected, ERR_DEADLINE);
    assert_int_equal(peers[first_waits].connected.code, ERR_NONE);
    assert_int_equal(peers[!first_waits].connected.code, ERR_DEADLINE);
    process_free(process);
    sim_world_free(world);
}

/* ---- files, environment, datagrams, signals ---------------------------------------------------
 */

static void a_process_finds_the_files_of_its_predecessor(void **state)
{
    struct world *world = sim_world_new(1);
    struct process *first = sim_process_new(world, "a", 1), *other = sim_process_new(world, "b", 1);
    struct text text;
    sim_file_put(first, "/etc/weir.yaml", SPAN("x: 1"));
    sim_env_put(first, "HOME", "/root");
    sim_env_put(first, "HOME", "/home");
    process_free(first);
    struct process *second = sim_process_new(world, "a", 1);
    text_init(&text, 100);
    assert_int_equal(file_read(second, "/etc/weir.yaml", &text, NULL).code, ERR_NONE);
    assert_string_equal(text_cstr(&text), "x: 1");
    assert_string_equal(process_env(second, "HOME"), "/home");
    assert_int_equal(file_read(other, "/etc/weir.yaml", &text, NULL).code, ERR_NOT_FOUND);
    assert_null(process_env(other, "HOME"));
    assert_int_equal(file_append(file_standard(second, 1), SPAN("hello")).code, ERR_NONE);
    text_clear(&text);
    assert_int_equal(file_read(second, "/dev/stdout", &text, NULL).code, ERR_NONE);
    assert_string_equal(text_cstr(&text), "hello");
    text_release(&text);
    process_free(second);
    process_free(other);
    sim_world_free(world);
}

static void join(void *arg, const char *path, struct span bytes)
{
    char *all = arg;
    snprintf(all + strlen(all), 100 - strlen(all), "%s=%.*s;", path, SPAN_FMT(bytes));
}

static void datagrams_are_recorded_in_order(void **state)
{
    struct world *world = sim_world_new(1);
    struct process *process = sim_process_new(world, "a", 1);
    char all[100] = "";
    assert_int_equal(process_datagram(process, "/run/notify", SPAN("READY=1")).code, ERR_NONE);
    assert_int_equal(process_datagram(process, "@x", SPAN("STOPPING=1")).code, ERR_NONE);
    sim_datagrams(world, join, all);
    assert_string_equal(all, "/run/notify=READY=1;@x=STOPPING=1;");
    process_free(process);
    sim_world_free(world);
}

static void stop_on_signal(void *arg, int signal_number)
{
    process_stop(arg);
}

static void a_signal_nobody_watches_does_nothing(void **state)
{
    struct world *world = sim_world_new(1);
    struct process *process = sim_process_new(world, "a", 2);
    sim_signal(process, SIGTERM);
    assert_false(sim_step(world));
    result r = process_signal(process, SIGTERM, stop_on_signal, process);
    assert_int_equal(r.code, ERR_NONE);
    sim_signal(process, SIGTERM);
    process_run(process);
    process_free(process);
    sim_world_free(world);
}

static void a_lock_that_is_held_may_not_be_taken(void **state)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct world *world = sim_world_new(1);
        struct process *process = sim_process_new(world, "a", 1);
        struct io_lock lock;
        io_lock_init(&lock, process);
        io_lock_take(&lock);
        io_lock_give(&lock);
        io_lock_take(&lock);
        signal(SIGABRT, SIG_DFL);
        close(2);
        io_lock_take(&lock);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_gives_one_history_and_another_seed_another),
        cmocka_unit_test(without_faults_every_call_is_answered),
        cmocka_unit_test(faults_that_are_asked_for_come),
        cmocka_unit_test(time_jumps_to_what_happens_next),
        cmocka_unit_test(a_process_that_is_freed_ends_its_connections),
        cmocka_unit_test(when_descriptors_run_out_callers_are_dropped),
        cmocka_unit_test(a_full_backlog_makes_callers_wait_and_then_give_up),
        cmocka_unit_test(a_process_finds_the_files_of_its_predecessor),
        cmocka_unit_test(datagrams_are_recorded_in_order),
        cmocka_unit_test(a_signal_nobody_watches_does_nothing),
        cmocka_unit_test(a_lock_that_is_held_may_not_be_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
