/* Faults that a world is told to have: each comes, and what it does not touch stays. */
#include "base/test_cmocka.h"
#include "io/sim/sim.h"

#include <signal.h>
#include <stdio.h>

/* ---- two machines and a connection ---- */

struct end {
    struct stream *stream;
    char got[200];
    int reads, writes, written;
    result last_read, last_write;
    io_time ended_at;
};

struct pair {
    struct world *world;
    struct process *a, *b;
    struct listener *listener;
    struct end left, right; /* a's, and b's */
    result connected;
    int accepted;
};

static const struct io_address address = {.family = IO_INET, .port = 80, .ip = {127, 0, 0, 1}};

static void end_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct end *end = arg;
    end->reads++;
    end->last_read = r;
    if (failed(r) || bytes.len == 0) {
        end->ended_at = loop_now(stream_loop(stream));
        return;
    }
    size_t len = strlen(end->got);
    snprintf(end->got + len, sizeof(end->got) - len, "%.*s", SPAN_FMT(bytes));
    stream_read(stream, (struct span_mut){NULL, 0}, end_read, end);
}

static void end_written(void *arg, struct stream *stream, result r)
{
    struct end *end = arg;
    end->writes++;
    end->last_write = r;
}

static void end_write(struct end *end, const char *text)
{
    struct span part = span_cstr(text);
    end->written++;
    stream_write(end->stream, &part, 1, end_written, end);
}

static void accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct pair *pair = arg;
    pair->accepted++;
    if (pair->left.stream) {
        detached_close(pair->a, detached);
        return;
    }
    ignore(stream_adopt(process_loop(pair->a, 0), detached, &pair->left.stream)); /* asserted on */
    stream_read(pair->left.stream, (struct span_mut){NULL, 0}, end_read, &pair->left);
}

static void connected(void *arg, struct stream *stream, result r)
{
    struct pair *pair = arg;
    pair->connected = r;
    if (!failed(r))
        stream_read(stream, (struct span_mut){NULL, 0}, end_read, &pair->right);
}

static void pass(struct pair *pair, io_time time)
{
    sim_run_until(pair->world, sim_now(pair->world) + time);
}

static void pair_listen(struct pair *pair)
{
    struct listen_options options = {.name = "http"};
    result r = listener_open(process_loop(pair->a, 0), &address, &options, accepted, pair,
                             &pair->listener, NULL);
    assert_int_equal(r.code, ERR_NONE);
}

static void pair_connect(struct pair *pair)
{
    result r =
        stream_connect(process_loop(pair->b, 0), &address, connected, pair, &pair->right.stream);
    assert_int_equal(r.code, ERR_NONE);
}

static void pair_make(struct pair *pair)
{
    *pair = (struct pair){.world = sim_world_new(1), .connected = {ERR_INTERNAL}};
    pair->a = sim_process_new(pair->world, "a", 1);
    pair->b = sim_process_new(pair->world, "b", 1);
    pair_listen(pair);
    pair_connect(pair);
    pass(pair, IO_SEC);
    assert_int_equal(pair->connected.code, ERR_NONE);
    assert_non_null(pair->left.stream);
}

static void pair_free(struct pair *pair)
{
    process_free(pair->a);
    process_free(pair->b);
    sim_world_free(pair->world);
}

/* ---- the network ---- */

static void a_cut_holds_back_what_is_sent_until_it_heals(void **state)
{
    struct pair pair;
    pair_make(&pair);
    sim_cut(pair.world, "a", "b", true);
    end_write(&pair.left, "one ");
    end_write(&pair.right, "there");
    pass(&pair, 60 * IO_SEC);
    end_write(&pair.left, "two");
    pass(&pair, 60 * IO_SEC);
    assert_string_equal(pair.left.got, "there"); /* the other way is open */
    assert_string_equal(pair.right.got, "");
    sim_cut(pair.world, "a", "b", false);
    pass(&pair, IO_SEC);
    assert_string_equal(pair.right.got, "one two");
    pass(&pair, 2000 * IO_SEC); /* nobody gives up any more */
    assert_int_equal(pair.left.ended_at + pair.right.ended_at, 0);
    pair_free(&pair);
}

static void a_sender_gives_up_when_nothing_gets_through(void **state)
{
    struct pair pair;
    pair_make(&pair);
    sim_cut(pair.world, "a", "b", true);
    io_time sent_at = sim_now(pair.world);
    end_write(&pair.left, "lost");
    pass(&pair, 2000 * IO_SEC);
    assert_int_equal(pair.left.last_read.code, ERR_DEADLINE);
    assert_in_range(pair.left.ended_at - sent_at, 900 * IO_SEC, 1000 * IO_SEC);
    assert_int_equal(pair.right.reads, 0); /* it sent nothing, and knows nothing */
    pair_free(&pair);
}

static void nobody_connects_through_a_cut(void **state)
{
    for (int way = 0; way < 2; way++) {
        struct pair pair;
        pair_make(&pair);
        sim_cut(pair.world, way ? "a" : "b", way ? "b" : "a", true);
        pair_connect(&pair);
        pass(&pair, 100 * IO_SEC);
        assert_int_equal(pair.connected.code, ERR_DEADLINE);
        pair_connect(&pair);
        pass(&pair, 2 * IO_SEC);
        sim_cut(pair.world, way ? "a" : "b", way ? "b" : "a", false);
        pass(&pair, 10 * IO_SEC);
        assert_int_equal(pair.connected.code, ERR_NONE);
        pair_free(&pair);
    }
}

static void a_connection_that_vanished_tells_neither_end(void **state)
{
    struct pair pair;
    pair_make(&pair);
    sim_world_faults(pair.world, &(struct sim_faults){.vanish_permille = 1000});
    end_write(&pair.left, "lost");
    pass(&pair, 10 * IO_SEC);
    assert_int_equal(pair.left.last_write.code, ERR_NONE);
    stream_close(pair.left.stream, STREAM_CLOSE, NULL, NULL);
    pass(&pair, 500 * IO_SEC);
    assert_int_equal(pair.right.reads, 0);
    end_write(&pair.right, "anybody?");
    pass(&pair, 1000 * IO_SEC);
    assert_int_equal(pair.right.last_read.code, ERR_DEADLINE);
    pair_free(&pair);
}

static void an_accept_without_a_descriptor_drops_the_caller(void **state)
{
    struct pair pair;
    pair_make(&pair);
    sim_world_faults(pair.world, &(struct sim_faults){.accept_permille = 1000});
    pair_connect(&pair);
    pass(&pair, IO_SEC);
    assert_int_equal(listener_dropped(pair.listener), 1);
    assert_int_equal(pair.accepted, 1);
    assert_true(pair.right.ended_at > 0);
    pair_free(&pair);
}

/* ---- processes ---- */

struct ticker {
    struct io_timer timer;
    struct process *process;
    io_time fired_at;
};

static void ticked(struct io_timer *timer)
{
    struct ticker *t = CONTAINER_OF(timer, struct ticker, timer);
    t->fired_at = process_clock(t->process);
}

static void a_paused_process_gets_everything_afterwards(void **state)
{
    struct pair pair;
    pair_make(&pair);
    io_time now = sim_now(pair.world);
    struct ticker ticker = {{.fired = ticked}, pair.a, 0};
    timer_start(process_loop(pair.a, 0), &ticker.timer, now + IO_SEC);
    sim_pause(pair.a, now + 5 * IO_SEC);
    end_write(&pair.right, "meanwhile");
    pass(&pair, 5 * IO_SEC - 1);
    assert_int_equal(pair.right.last_write.code, ERR_NONE);
    assert_string_equal(pair.left.got, "");
    assert_int_equal(ticker.fired_at, 0);
    pass(&pair, 10 * IO_MS);
    assert_string_equal(pair.left.got, "meanwhile");
    assert_in_range(ticker.fired_at, now + 5 * IO_SEC, now + 5 * IO_SEC + 10 * IO_MS);
    pair_free(&pair);
}

static void a_process_that_was_killed_ends_its_connections_and_its_port_is_free(void **state)
{
    struct pair pair;
    pair_make(&pair);
    sim_crash(pair.a, SIM_KILLED);
    pass(&pair, IO_SEC);
    assert_int_equal(pair.right.last_read.code, ERR_NONE);
    assert_true(pair.right.ended_at > 0);
    pair_connect(&pair);
    pass(&pair, IO_SEC);
    assert_int_equal(pair.connected.code, ERR_REFUSED);
    process_run(pair.a); /* is over */
    listener_close(pair.listener);
    process_free(pair.a);
    pair.a = sim_process_new(pair.world, "a", 1);
    pair_listen(&pair);
    pair_connect(&pair);
    pass(&pair, IO_SEC);
    assert_int_equal(pair.connected.code, ERR_NONE);
    pair_free(&pair);
}

static void a_power_loss_is_told_to_nobody(void **state)
{
    struct pair pair;
    pair_make(&pair);
    sim_crash(pair.a, SIM_POWER_LOST);
    pass(&pair, 500 * IO_SEC);
    assert_int_equal(pair.right.reads, 0);
    pair_free(&pair);
}

static void callers_of_an_inherited_listener_wait_for_the_next_process(void **state)
{
    struct pair pair = {.world = sim_world_new(1), .connected = {ERR_INTERNAL}};
    pair.a = sim_process_new(pair.world, "a", 1);
    pair.b = sim_process_new(pair.world, "b", 1);
    sim_inherit(pair.a, "http", &address);
    pair_connect(&pair);
    pass(&pair, IO_SEC);
    assert_int_equal(pair.connected.code, ERR_NONE);
    pair_listen(&pair);
    pass(&pair, IO_SEC);
    assert_int_equal(pair.accepted, 1);
    sim_crash(pair.a, SIM_KILLED);
    process_free(pair.a);
    pair_connect(&pair);
    pass(&pair, IO_SEC);
    assert_int_equal(pair.connected.code, ERR_NONE);
    pair.left.stream = NULL;
    pair.a = sim_process_new(pair.world, "a", 1);
    pair_listen(&pair);
    struct listener *second;
    struct listen_options options = {.name = "http"};
    result r =
        listener_open(process_loop(pair.a, 0), &address, &options, accepted, &pair, &second, NULL);
    assert_int_equal(r.code, ERR_ADDRESS_IN_USE);
    pass(&pair, IO_SEC);
    assert_int_equal(pair.accepted, 2);
    pair_free(&pair);
}

/* ---- clocks ---- */

static void the_wall_clock_jumps_and_the_other_does_not(void **state)
{
    struct pair pair;
    pair_make(&pair);
    io_time wall = process_wall(pair.a), clock = process_clock(pair.a);
    sim_wall_jump(pair.a, -3600 * IO_SEC);
    assert_int_equal(process_wall(pair.a), wall - 3600 * IO_SEC);
    sim_wall_jump(pair.a, 7200 * IO_SEC);
    assert_int_equal(process_wall(pair.a), wall + 3600 * IO_SEC);
    assert_int_equal(process_clock(pair.a), clock);
    assert_int_equal(process_wall(pair.b), wall); /* another machine */
    pair_free(&pair);
}

struct job {
    struct io_work work;
    struct process *process;
    io_time ran_at;
};

static void job_run(struct io_work *work)
{
    struct job *job = CONTAINER_OF(work, struct job, work);
    job->ran_at = process_clock(job->process);
}

static void jobs_of_a_stalled_kind_end_afterwards_and_slow_ones_late(void **state)
{
    struct pair pair;
    pair_make(&pair);
    struct job jobs[3] = {0};
    io_time now = sim_now(pair.world);
    sim_stall(pair.a, WORK_LOG, now + 3 * IO_SEC);
    for (int kind = 0; kind < WORK_KINDS; kind++) {
        jobs[kind] = (struct job){{.run = job_run}, pair.a, 0};
        work_submit(pair.a, (enum io_work_kind)kind, &jobs[kind].work);
    }
    pass(&pair, 10 * IO_SEC);
    assert_in_range(jobs[WORK_LOG].ran_at, now + 3 * IO_SEC, now + 3 * IO_SEC + 10 * IO_MS);
    assert_in_range(jobs[WORK_FILE].ran_at, now, now + 10 * IO_MS);
    sim_world_faults(pair.world,
                     &(struct sim_faults){.slow_permille = 1000, .slow_max = 100 * IO_SEC});
    now = sim_now(pair.world);
    work_submit(pair.a, WORK_FILE, &jobs[WORK_FILE].work);
    work_submit(pair.a, WORK_COMPUTE, &jobs[WORK_COMPUTE].work);
    pass(&pair, 101 * IO_SEC);
    assert_in_range(jobs[WORK_FILE].ran_at, now + 10 * IO_MS, now + 101 * IO_SEC);
    assert_in_range(jobs[WORK_COMPUTE].ran_at, now, now + 10 * IO_MS);
    pair_free(&pair);
}

/* ---- files ---- */

static void assert_file(struct process *process, const char *path, const char *expected)
{
    struct text text;
    text_init(&text, 1000);
    result r = file_read(process, path, &text, NULL);
    if (expected)
        assert_string_equal(text_cstr(&text), expected);
    assert_int_equal(r.code, expected ? ERR_NONE : ERR_NOT_FOUND);
    text_release(&text);
}

static void note_name(void *arg, const char *name)
{
    char *all = arg;
    snprintf(all + strlen(all), 100 - strlen(all), "%s ", name);
}

static void files_lie_in_folders_and_can_be_renamed_and_removed(void **state)
{
    struct pair pair;
    struct file_info info;
    char names[100] = "";
    pair_make(&pair);
    sim_folder_make(pair.a, "/var/log/empty");
    sim_file_put(pair.a, "/var/log/x", SPAN("1"));
    assert_int_equal(file_stat(pair.a, "/var/log/empty", &info, NULL).code, ERR_NONE);
    assert_int_equal(info.kind, FILE_DIRECTORY);
    sim_file_rename(pair.a, "/var/log/x", "/var/log/y");
    sim_file_put(pair.a, "/var/log/z", SPAN("2"));
    sim_file_rename(pair.a, "/var/log/z", "/var/log/y");
    assert_int_equal(file_list(pair.a, "/var/log", note_name, names, NULL).code, ERR_NONE);
    assert_string_equal(names, "empty y ");
    assert_file(pair.a, "/var/log/y", "2");
    assert_file(pair.a, "/var/log/x", NULL);
    assert_file(pair.b, "/var/log/y", NULL); /* another machine */
    sim_file_remove(pair.a, "/var");
    sim_file_remove(pair.a, "/var");
    assert_file(pair.a, "/var/log/y", NULL);
    pair_free(&pair);
}

static void an_open_file_is_written_wherever_it_was_moved(void **state)
{
    struct pair pair;
    struct file *file;
    pair_make(&pair);
    sim_folder_make(pair.a, "/log");
    assert_int_equal(file_append_open(pair.a, "/log/now", &file, NULL).code, ERR_NONE);
    sim_file_rename(pair.a, "/log/now", "/log/before");
    assert_int_equal(file_append(file, SPAN("line")).code, ERR_NONE);
    assert_file(pair.a, "/log/now", NULL);
    assert_file(pair.a, "/log/before", "line");
    sim_file_remove(pair.a, "/log/before");
    assert_int_equal(file_append(file, SPAN("line")).code, ERR_NONE);
    file_close(file);
    pair_free(&pair);
}

static void a_full_disk_takes_what_fits(void **state)
{
    struct pair pair;
    struct file *file;
    pair_make(&pair);
    sim_file_put(pair.a, "/f", SPAN("0"));
    assert_int_equal(file_append_open(pair.a, "/f", &file, NULL).code, ERR_NONE);
    sim_disk_room(pair.a, 5);
    assert_int_equal(file_append(file, SPAN("123")).code, ERR_NONE);
    assert_int_equal(file_append(file, SPAN("456")).code, ERR_NO_SPACE);
    assert_int_equal(file_append(file, SPAN("7")).code, ERR_NO_SPACE);
    assert_int_equal(file_append(file_standard(pair.a, 2), SPAN("told")).code, ERR_NONE);
    assert_file(pair.a, "/f", "012345");
    sim_disk_room(pair.a, UINT64_MAX);
    assert_int_equal(file_append(file, SPAN("8")).code, ERR_NONE);
    assert_file(pair.a, "/f", "0123458");
    file_close(file);
    pair_free(&pair);
}

static void a_power_loss_loses_what_was_written_last(void **state)
{
    struct pair pair;
    struct file *file;
    struct file_info info;
    pair_make(&pair);
    sim_file_put(pair.a, "/f", SPAN("old "));
    assert_int_equal(file_append_open(pair.a, "/f", &file, NULL).code, ERR_NONE);
    assert_int_equal(file_append(file, SPAN("safe ")).code, ERR_NONE);
    pass(&pair, 31 * IO_SEC);
    for (int i = 0; i < 100; i++)
        assert_int_equal(file_append(file, SPAN("unsafe ")).code, ERR_NONE);
    sim_crash(pair.a, SIM_POWER_LOST);
    assert_int_equal(file_append(file, SPAN("of the dead")).code, ERR_NONE);
    file_close(file);
    process_free(pair.a);
    pair.a = sim_process_new(pair.world, "a", 1);
    assert_int_equal(file_stat(pair.a, "/f", &info, NULL).code, ERR_NONE);
    assert_in_range(info.size, 9, 9 + 699); /* of 700, by this seed */
    pair_free(&pair);
}

static void a_killed_process_loses_no_file_data(void **state)
{
    struct pair pair;
    struct file *file;
    pair_make(&pair);
    sim_file_put(pair.a, "/f", SPAN("old "));
    assert_int_equal(file_append_open(pair.a, "/f", &file, NULL).code, ERR_NONE);
    assert_int_equal(file_append(file, SPAN("new")).code, ERR_NONE);
    sim_crash(pair.a, SIM_KILLED);
    file_close(file);
    process_free(pair.a);
    pair.a = sim_process_new(pair.world, "a", 1);
    assert_file(pair.a, "/f", "old new");
    pair_free(&pair);
}

/* ---- the world itself ---- */

static void each_kind_of_fault_is_drawn_for_some_seeds_and_not_for_others(void **state)
{
    unsigned on[7] = {0}, seeds = 200;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct world *world = sim_world_new(seed);
        struct sim_faults f = sim_faults_draw(world), again;
        sim_world_free(world);
        world = sim_world_new(seed);
        again = sim_faults_draw(world);
        sim_world_free(world);
        assert_int_equal(f.reset_permille, again.reset_permille);
        assert_int_equal(f.delay_max, again.delay_max);
        on[0] += f.short_read_percent > 0;
        on[1] += f.short_write_percent > 0;
        on[2] += f.reset_permille > 0;
        on[3] += f.vanish_permille > 0;
        on[4] += f.refuse_permille > 0;
        on[5] += f.accept_permille > 0;
        on[6] += f.slow_permille > 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(on); i++)
        assert_in_range(on[i], seeds / 4, seeds * 3 / 4);
}

static void count_one(void *arg)
{
    ++*(int *)arg;
}

static void count_happening(void *arg, io_time at, const char *what, uint64_t a, uint64_t b)
{
    ++*(int *)arg;
    assert_non_null(what);
}

static void a_watch_sees_each_event_and_the_tail_the_last(void **state)
{
    struct pair pair;
    int events = 0, steps = 0, tail = 0;
    pair_make(&pair);
    sim_world_watch(pair.world, count_one, &events);
    end_write(&pair.left, "x");
    while (sim_step(pair.world))
        steps++;
    assert_true(steps > 0);
    assert_int_equal(events, steps);
    sim_world_watch(pair.world, NULL, NULL);
    for (int i = 0; i < SIM_TRACE_TAIL; i++) {
        pair_connect(&pair);
        pass(&pair, IO_MS);
    }
    assert_int_equal(events, steps);
    sim_trace_tail(pair.world, count_happening, &tail);
    assert_int_equal(tail, SIM_TRACE_TAIL);
    pair_free(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_holds_back_what_is_sent_until_it_heals),
        cmocka_unit_test(a_sender_gives_up_when_nothing_gets_through),
        cmocka_unit_test(nobody_connects_through_a_cut),
        cmocka_unit_test(a_connection_that_vanished_tells_neither_end),
        cmocka_unit_test(an_accept_without_a_descriptor_drops_the_caller),
        cmocka_unit_test(a_paused_process_gets_everything_afterwards),
        cmocka_unit_test(a_process_that_was_killed_ends_its_connections_and_its_port_is_free),
        cmocka_unit_test(a_power_loss_is_told_to_nobody),
        cmocka_unit_test(callers_of_an_inherited_listener_wait_for_the_next_process),
        cmocka_unit_test(the_wall_clock_jumps_and_the_other_does_not),
        cmocka_unit_test(jobs_of_a_stalled_kind_end_afterwards_and_slow_ones_late),
        cmocka_unit_test(files_lie_in_folders_and_can_be_renamed_and_removed),
        cmocka_unit_test(an_open_file_is_written_wherever_it_was_moved),
        cmocka_unit_test(a_full_disk_takes_what_fits),
        cmocka_unit_test(a_power_loss_loses_what_was_written_last),
        cmocka_unit_test(a_killed_process_loses_no_file_data),
        cmocka_unit_test(each_kind_of_fault_is_drawn_for_some_seeds_and_not_for_others),
        cmocka_unit_test(a_watch_sees_each_event_and_the_tail_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
