/* `weir serve` whole, in simulated worlds: it starts, is reloaded, paused, short of disk and
 * time, told to end, killed or cut from power, and starts again; and all the while it is
 * called. Its backend is the example's, which is opened as a plug-in.
 *
 * Found: the role read the configuration it started with after a reload during its load had
 * freed it (seed 26, sanitized); a reload that a stop overtook was not freed (seed 25), nor
 * were the new limits on their way to the loops (seed 4856), nor connections on their way to
 * theirs (seed 505). */
#include "base/alloc.h"
#include "io/sim/test_world.h"
#include "net/client.h"
#include "run/run_private.h"
#include "serve/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#define USERS_MAX 6
#define RUNS_MAX 3
#define RUN_LASTS (15 * IO_SEC)
#define VERSIONS_MAX 1000
#define MODEL "/tests/fixtures/models/plus.arith"
#define NO_MODEL "/tests/fixtures/models/none.arith"
#define SLACK (3 * IO_SEC)

struct state;

struct user {
    struct state *s;
    struct client *client;
    struct io_timer timer;
    bool pending;
    int number;
    io_time deadline;
    char body[100];
};

enum end { END_TERM, END_INT, END_TWICE, END_KILLED, END_POWER, ENDS };

struct state {
    struct life *life;
    struct process *server, *client; /* server: NULL between two runs */
    struct run *run;                 /* once it has started */
    /* Another over the same files, which is told the same, for a part of the time. */
    struct process *starter, *second;
    struct io_post starter_post;
    struct run *second_run;
    int second_in_force;
    struct run_role role;
    struct io_timer director;
    struct user users[USERS_MAX];
    int users_len;
    int number;                           /* of the last request */
    int version;                          /* of the file, whether it is whole or not */
    bool whole;                           /* the file */
    int in_force;                         /* the version, as last seen; 0: none yet */
    io_time lasts_until, end_at, ends_by; /* 0: it was not told to end */
    enum end end;
    io_time lost; /* in pauses and stalls */
    io_time hup_at;
    bool again;                  /* another file and another HUP follow at once */
    int hup_version;             /* of a whole file that a reload was asked for */
    bool inherits, calm, broken; /* broken: there is no such model */
    uint64_t answered;
    io_time longest; /* of the runs, until they were told to end */
};

static const struct io_address address = {.family = IO_INET, .port = 8080, .ip = {127, 0, 0, 1}};

/* ---- its file ---- */

static void path_of(const char *variable, const char *rest, char path[512])
{
    const char *root = getenv(variable);
    assert_non_null(root);
    snprintf(path, 512, "%s%s", root, rest);
}

/* Every version can be told by each of its values. One that is not whole is not YAML. */
static void write_file(struct state *s, bool whole)
{
    char backends[512], model[512], text[2000];
    path_of("WEIR_BUILD", "/tests/conformance/backends", backends);
    path_of("WEIR_SOURCE", s->broken ? NO_MODEL : MODEL, model);
    int v = s->version;
    int len = snprintf(text, sizeof(text),
                       "version: 1\n"
                       "drain_timeout: %ds\n"
                       "memory_max: %d\n"
                       "log: {path: /log/weir.log}\n"
                       "models: {path: %s, backends_path: %s, engines_path: /none, "
                       "max_batch_size: 4, max_queue_delay: 1ms}\n"
                       "server: {requests_max: %d, connections_max: %d, access_log: all}\n",
                       1 + v % 5, (64 << 20) + v, model, backends, 2 + v, 1000 + v);
    sim_file_put(s->server, "/weir.yaml", span_of(text, (size_t)(whole ? len : len - 2)));
    s->whole = whole;
    if (sim_now(s->life->world) < s->hup_at + 100 * IO_MS)
        s->hup_version = 0; /* the reload may find either */
}

static void put_files(struct state *s)
{
    char path[512];
    path_of("WEIR_BUILD", "/tests/conformance/backends/arithmetic.so", path);
    sim_file_put(s->server, path, SPAN("the real one is opened"));
    path_of("WEIR_SOURCE", MODEL, path);
    sim_file_put(s->server, path, SPAN("the real one is opened"));
    path_of("WEIR_SOURCE", NO_MODEL, path);
    sim_file_put(s->server, path, SPAN("there is no real one"));
    sim_folder_make(s->server, "/log");
}

/* ---- callers ---- */

static struct loop *client_loop(struct state *s)
{
    return process_loop(s->client, 0);
}

static void user_again(struct user *user)
{
    struct loop *loop = client_loop(user->s);
    timer_start(loop, &user->timer,
                loop_now(loop) + (io_time)(1 + life_draw(user->s->life, 200)) * IO_MS);
}

static void user_close(struct user *user)
{
    client_close(steal(&user->client));
    user->pending = false;
}

static void answered(void *arg, struct client *client, result r,
                     const struct client_response *response)
{
    struct user *user = arg;
    struct state *s = user->s;
    char wanted[40];
    life_check(s->life, user->pending && user->client == client, "answered twice");
    user->pending = false;
    if (!failed(r) && response->status == 200) {
        snprintf(wanted, sizeof(wanted), "%d.5", user->number);
        life_check(s->life, span_search(response->body, span_cstr(wanted)) < response->body.len,
                   "%s is answered by %.*s", wanted, SPAN_FMT(response->body));
        s->answered++;
    } else if (!failed(r)) {
        int status = response->status;
        life_check(s->life, status == 429 || status == 503 || status == 504 || status == 404,
                   "status %d: %.*s", status, SPAN_FMT(response->body));
    }
    if (failed(r) || !response->keep_alive || life_chance(s->life, 20))
        user_close(user);
    user_again(user);
}

static void connected(void *arg, struct client *client, result r)
{
    struct user *user = arg;
    if (failed(r))
        user_close(user);
    user_again(user);
}

static void user_due(struct io_timer *timer)
{
    struct user *user = CONTAINER_OF(timer, struct user, timer);
    struct state *s = user->s;
    if (user->pending)
        return;
    if (!user->client) {
        if (failed(client_connect(client_loop(s), &address, connected, user, &user->client)))
            user_again(user);
        return;
    }
    user->number = ++s->number;
    user->deadline = loop_now(client_loop(s)) + 5 * IO_SEC;
    int len = snprintf(user->body, sizeof(user->body), "{\"inputs\": {\"a\": [%d], \"b\": [0.5]}}",
                       user->number);
    struct client_request request = {
        .method = METHOD_POST,
        .target = SPAN("/v1/models/plus:predict"),
        .body = span_of(user->body, (size_t)len),
        .bytes_max = 100000,
        .deadline = user->deadline,
    };
    user->pending = true;
    if (!failed(client_send(user->client, &request, answered, user)))
        return;
    user_close(user); /* it has ended meanwhile */
    user_again(user);
}

/* ---- what happens to it ---- */

static void tell(struct state *s, int signal_number)
{
    sim_signal(s->server, signal_number);
    if (s->second)
        sim_signal(s->second, signal_number);
}

static void crash(struct state *s, enum sim_crash how)
{
    life_leaks(s->life);
    s->run = s->second_run = NULL;
    sim_crash(s->server, how);
    if (s->second)
        sim_crash(s->second, how);
}

static void tell_to_end(struct state *s)
{
    struct life *life = s->life;
    const struct run_config *config = run_config(s->run, &run_module);
    s->end_at = sim_now(life->world);
    if (s->calm && s->whole && s->end_at > s->hup_at + IO_SEC)
        life_check(life, s->in_force >= s->hup_version, "version %d, not %d", s->in_force,
                   s->hup_version);
    s->end = (enum end)life_draw(life, s->calm ? END_TWICE : ENDS);
    switch (s->end) {
    case END_TERM:
    case END_INT:
        /* A reload under way may yet bring a longer one. */
        s->ends_by = s->end_at + MAX(config->drain_timeout, 5 * IO_SEC) + SLACK;
        tell(s, s->end == END_TERM ? SIGTERM : SIGINT);
        break;
    case END_TWICE:
        s->ends_by = s->end_at + 2 * IO_SEC + SLACK;
        tell(s, SIGTERM);
        break;
    case END_KILLED:
    case END_POWER:
        crash(s, s->end == END_KILLED ? SIM_KILLED : SIM_POWER_LOST);
        break;
    default:
        break;
    }
}

static void happen(struct state *s)
{
    struct life *life = s->life;
    io_time now = sim_now(life->world), a_while = (io_time)life_draw(life, 2000) * IO_MS;
    switch (s->again ? 1 : life_draw(life, s->calm ? 3 : 8)) {
    case 0: /* a new file, in one go or not */
        s->version++;
        write_file(s, life_chance(life, 60));
        break;
    case 1:
        s->version += s->again;
        if (s->again || (!s->whole && life_chance(life, 70)))
            write_file(s, true);
        s->again = life_chance(life, 40);
        tell(s, SIGHUP);
        s->hup_at = now;
        s->hup_version = s->whole ? s->version : s->hup_version;
        break;
    case 2: /* the log is rotated; it may not be there yet */
        sim_file_put(s->server, "/log/weir.log", SPAN_NONE);
        sim_file_rename(s->server, "/log/weir.log", "/log/weir.log.1");
        tell(s, SIGUSR1);
        break;
    case 3:
        sim_pause(s->server, now + a_while);
        s->lost += a_while;
        break;
    case 4:
        sim_stall(s->server, life_chance(life, 50) ? WORK_LOG : WORK_FILE, now + a_while);
        s->lost += a_while;
        break;
    case 5:
        sim_wall_jump(s->server, (io_time)life_draw(life, 7200) * IO_SEC - 3600 * IO_SEC);
        break;
    case 6:
        sim_disk_room(s->server, life_chance(life, 50) ? life_draw(life, 3000) : UINT64_MAX);
        break;
    default:
        sim_cut(life->world, "client", "serve", life_chance(life, 40));
        break;
    }
}

static void direct(struct io_timer *timer)
{
    struct state *s = CONTAINER_OF(timer, struct state, director);
    struct loop *loop = client_loop(s);
    bool lives = s->server && s->run && s->run->phase != RUN_ENDING;
    if (lives && s->end_at) {
        if (s->end == END_TWICE && sim_now(s->life->world) > s->end_at + IO_SEC)
            tell(s, SIGINT);
    } else if (lives && (life_draw(s->life, 25) == 0 || sim_now(s->life->world) > s->lasts_until)) {
        tell_to_end(s);
    } else if (lives) {
        happen(s);
    }
    io_time soon = (io_time)life_draw(s->life, 2 * IO_MS), later = 50 * IO_MS + 350 * soon;
    timer_start(loop, timer, loop_now(loop) + (s->broken || s->again ? soon : later));
}

/* ---- invariants ---- */

/* Reload: what holds is one version as a whole, and no version comes back. */
static void check_config(struct state *s, const struct run *run, int *in_force)
{
    if (!run || !run->config || run->phase == RUN_ENDING)
        return;
    const struct run_config *process = run_config(run, &run_module);
    const struct server_config *server = run_config(run, &server_module);
    int version = (int)(server->requests_max - 2);
    life_check(s->life,
               server->connections_max == 1000 + version &&
                   process->drain_timeout == (1 + version % 5) * IO_SEC &&
                   process->memory_max == (64u << 20) + (uint64_t)version,
               "a version %d of parts: %lld connections, %lld s", version,
               (long long)server->connections_max, (long long)(process->drain_timeout / IO_SEC));
    life_check(s->life, version >= *in_force && version <= s->version, "version %d after %d, of %d",
               version, *in_force, s->version);
    *in_force = version;
}

static void check(struct life *life)
{
    struct state *s = life->state;
    io_time now = sim_now(life->world);
    if (s->server)
        check_config(s, s->run, &s->in_force);
    if (s->second)
        check_config(s, s->second_run, &s->second_in_force);
    if (s->server && s->ends_by)
        life_check(life, now <= s->ends_by + s->lost, "it was told to end %.3f s ago",
                   (double)(now - s->end_at) / 1e9);
    for (int i = 0; i < s->users_len; i++)
        if (s->users[i].pending)
            life_check(life, now <= s->users[i].deadline + 10 * IO_MS, "a call without an outcome");
}

/* ---- runs ---- */

/* Found by its process: a role gets no argument of the test's. */
static struct state *playing;

static result role_start(struct run *run, void **ret_role, struct route_table *ret_routes,
                         struct diag *diag)
{
    TRY(serve_role.start(run, ret_role, ret_routes, diag));
    if (run_process(run) == playing->second)
        playing->second_run = run;
    else
        playing->run = run;
    return OK;
}

/* The second steps the world by itself, inside of an event: of a loop that has no other. */
static void second_runs(struct io_post *post)
{
    struct state *s = CONTAINER_OF(post, struct state, starter_post);
    if (s->end_at)
        return;
    s->second = sim_process_new(s->life->world, "serve", 1);
    struct config_setting port = {.key = &run_module.section.keys[1], .text = "8081"};
    struct run_options options = {.process = s->second,
                                  .role = &s->role,
                                  .config_path = "/weir.yaml",
                                  .settings = &port,
                                  .settings_len = 1};
    s->second_in_force = 0;
    bool whole = s->whole;
    int code = run_role(&options);
    s->second_run = NULL;
    if (code == RUN_EXIT_CUT)
        life_leaks(s->life);
    if (s->calm)
        life_check(s->life, code == (whole ? EX_OK : EX_CONFIG), "the second ended with %d", code);
    process_free(steal(&s->second));
}

/* The log's lines are whole, unless a full disk or a loss of power has torn one. */
static void check_log(struct state *s)
{
    struct text log;
    text_init(&log, 64 << 20);
    if (s->calm && !failed(file_read(s->server, "/log/weir.log", &log, NULL)) && log.len > 0) {
        struct span rest = text_span(&log);
        life_check(s->life, rest.ptr[rest.len - 1] == '\n', "a torn last line");
        while (rest.len > 0) {
            struct span line = span_cut(&rest, '\n');
            life_check(s->life, line.len > 2 && line.ptr[0] == '{' && line.ptr[line.len - 1] == '}',
                       "a torn line: %.*s", SPAN_FMT(line));
        }
    }
    text_release(&log);
}

/* How the run ended, and why. `whole`: its file was one. */
static void check_code(struct state *s, bool whole, int code)
{
    bool done = code == EX_OK, cut = code == RUN_EXIT_CUT;
    bool asked = s->end == END_TERM || s->end == END_INT || s->end == END_TWICE;
    if (cut)
        life_leaks(s->life);
    if (!whole)
        life_check(s->life, code == EX_CONFIG, "started from half a file, ended with %d", code);
    else if (!s->end_at)
        life_check(s->life, s->broken && code == EX_NOINPUT, "ended by itself with %d", code);
    else if (asked && !s->broken)
        life_check(s->life, done || (!s->calm && cut), "ended with %d", code);
}

static void one_run(struct state *s)
{
    struct life *life = s->life;
    s->server = sim_process_new(life->world, "serve", 1 + (int)life_draw(life, 3));
    put_files(s);
    s->broken = !s->calm && life_chance(life, 20);
    if (!s->version || s->broken || life_chance(life, 80)) {
        s->version++;
        write_file(s, s->broken || life_chance(life, 90));
    }
    sim_disk_room(s->server, UINT64_MAX);
    s->end_at = s->ends_by = s->lost = 0;
    s->in_force = s->hup_version = 0;
    s->again = false;
    io_time began_at = sim_now(life->world);
    s->lasts_until = began_at + RUN_LASTS;
    bool whole = s->whole;
    struct run_options options = {
        .process = s->server, .role = &s->role, .config_path = "/weir.yaml"};
    s->starter_post.run = second_runs;
    if (whole && !s->broken && life_chance(life, 40))
        loop_post(process_loop(s->starter, 0), &s->starter_post);
    int code = run_role(&options);
    s->run = NULL;
    s->ends_by = 0;
    s->longest = MAX(s->longest, s->end_at - began_at);
    check_code(s, whole, code);
    s->broken = false;
    write_file(s, true);
    check_log(s);
    process_free(steal(&s->server));
}

static void play(struct life *life)
{
    struct state *s = life->state;
    playing = s;
    s->life = life;
    s->calm = life_chance(life, 30);
    if (!s->calm) {
        life_may_leak(life);
        sim_faults_draw(life->world);
    }
    s->role = serve_role;
    s->role.start = role_start;
    s->client = sim_process_new(life->world, "client", 1);
    s->starter = sim_process_new(life->world, "starter", 1);
    struct process *machine = sim_process_new(life->world, "serve", 1);
    s->inherits = life_chance(life, 50);
    if (s->inherits)
        sim_inherit(machine, "http", &address);
    process_free(machine);
    s->users_len = 1 + (int)life_draw(life, USERS_MAX);
    for (int i = 0; i < s->users_len; i++) {
        s->users[i] = (struct user){.s = s, .timer.fired = user_due};
        user_again(&s->users[i]);
    }
    s->director.fired = direct;
    timer_start(client_loop(s), &s->director, sim_now(life->world));
    uint64_t runs = 1 + life_draw(life, RUNS_MAX);
    for (uint64_t i = 0; i < runs; i++) {
        one_run(s);
        sim_run_until(life->world, sim_now(life->world) + (io_time)life_draw(life, 3000) * IO_MS);
    }
    if (s->calm && s->longest > 3 * IO_SEC)
        life_check(life, s->answered > 0, "nobody was answered");
    for (int i = 0; i < s->users_len; i++) {
        timer_stop(client_loop(s), &s->users[i].timer);
        user_close(&s->users[i]);
    }
    sim_run_until(life->world, sim_now(life->world) + IO_SEC);
    process_free(s->client);
    process_free(s->starter);
}

static void a_role_lives_through_reloads_faults_crashes_and_restarts(void **state)
{
    world_play(&(struct world_test){
        .seeds = 250,
        .limit = 600 * IO_SEC,
        .size = sizeof(struct state),
        .play = play,
        .check = check,
    });
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        world_unit_test(a_role_lives_through_reloads_faults_crashes_and_restarts),
    };
    return world_run_tests(argc, argv, tests);
}
