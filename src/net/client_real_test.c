/* A pool against what it will meet: the net server, over libuv with names by DNS and over
 * the simulator; and nginx, where it is installed. */
#include "net/client_pool.h"

#include "base/alloc.h"
#include "io/sim/sim.h"
#include "io/test_dns_server.h"
#include "io/test_folder.h"
#include "net/test_fixture.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct client_config client_config = {
    .connections_max = 16,
    .connections_per_origin_max = 6,
    .waiting_max = 1000,
    .connection_requests_max = 1000,
    .connection_age_max = 3600 * IO_SEC,
    .idle_timeout = 60 * IO_SEC,
    .connect_timeout = 5 * IO_SEC,
    .retry = {.attempts = 1},
};
static const struct dns_config dns_config = {.timeout = 4 * IO_SEC,
                                             .entries_max = 16,
                                             .ttl_min = 50 * IO_MS,
                                             .ttl_max = 60 * IO_SEC,
                                             .negative_ttl = IO_SEC};

/* ---- requests and what they ought to get ---- */

struct want {
    enum http_method method;
    const char *target;
    enum err code, or_code;
    int status;
    const char *body; /* NULL: the pattern of `len` bytes */
    size_t len, sends;
};

static const struct want wants[] = {
    {METHOD_GET, "/fixed", ERR_NONE, ERR_NONE, 200, "fixed\n"},
    {METHOD_HEAD, "/fixed", ERR_NONE, ERR_NONE, 200, ""},
    {METHOD_POST, "/echo", ERR_NONE, ERR_NONE, 200, NULL, 100000, 100000},
    {METHOD_POST, "/stream", ERR_NONE, ERR_NONE, 200, NULL, 60000, 60000},
    {METHOD_GET, "/pieces", ERR_NONE, ERR_NONE, 200, "one two three four\n"},
    {METHOD_GET, "/pieces/length", ERR_NONE, ERR_NONE, 200, "0123456789"},
    {METHOD_GET, "/pieces/none", ERR_NONE, ERR_NONE, 200, ""},
    {METHOD_GET, "/pieces/reset", ERR_RESET, ERR_CLOSED},
    {METHOD_GET, "/timer", ERR_NONE, ERR_NONE, 200, "later\n"},
    {METHOD_GET, "/work", ERR_NONE, ERR_NONE, 200, "later\n"},
    {METHOD_GET, "/204", ERR_NONE, ERR_NONE, 204, ""},
    {METHOD_GET, "/nowhere", ERR_NONE, ERR_NONE, 404},
    {METHOD_POST, "/reset", ERR_RESET, ERR_CLOSED},
};

struct play {
    struct fx *fx;
    struct resolver *resolver;
    struct client_pool *pool;
    struct client_origin *to;
    struct io_post post;
    struct io_timer pause;
    int begun, ended, count, at_once;
    bool poor; /* memory fails: anything may come of a call, but once */
    const struct want *wants;
    size_t wants_len;
    void (*half)(struct play *play);
    io_time pause_for; /* after a quarter, so that the server ends what is idle */
};

struct one {
    struct play *play;
    const struct want *want;
    struct client_call *call;
    size_t got;
    int status, ended;
};

#define COUNT_MAX 512
static struct one ones[COUNT_MAX]; /* not from the heap, which may be made to fail */

static void more_calls(struct play *play);

static void drained(void *arg, uint64_t cut)
{
    struct play *play = arg;
    if (cut)
        fx_fail(play->fx, "%llu calls were cut", (unsigned long long)cut);
    fx_client_done(play->fx);
}

static void check_body(struct one *one, struct span body)
{
    const struct want *want = one->want;
    bool right = want->body ? span_is(body, want->body)
                            : !want->len || span_eq(body, test_pattern(want->len));
    if (!right)
        fx_fail(one->play->fx, "%s: a body of %zu bytes: %.*s", want->target, body.len,
                SPAN_FMT(span_first(body, 60)));
}

/* A reload may end a kept connection under a request that must not be sent twice. */
static bool expected(const struct one *one, result r)
{
    const struct want *want = one->want;
    bool ended = is(r, ERR_CLOSED) || is(r, ERR_RESET);
    return one->play->poor || r.code == want->code || r.code == want->or_code ||
           (one->play->half && want->method == METHOD_POST && ended);
}

static void check_answer(struct one *one, const struct client_response *response)
{
    const struct want *want = one->want;
    size_t len = want->body ? strlen(want->body) : want->len;
    if (response->status != want->status)
        fx_fail(one->play->fx, "%s: got %d", want->target, response->status);
    else if (!one->status)
        check_body(one, response->body);
    else if (one->got != len && want->status == 200)
        fx_fail(one->play->fx, "%s: got %zu bytes", want->target, one->got);
}

static void one_end(void *arg, result r, const struct client_response *response)
{
    struct one *one = arg;
    struct play *play = one->play;
    if (!expected(one, r))
        fx_fail(play->fx, "%s: expected %s, got %s", one->want->target, err_name(one->want->code),
                err_name((enum err)r.code));
    if (response && !one->play->poor)
        check_answer(one, response);
    if (one->ended++)
        fx_fail(play->fx, "%s: ended twice", one->want->target);
    play->ended++;
    if (play->half && play->ended == play->count / 2)
        play->half(play);
    more_calls(play);
}

static void one_head(void *arg, const struct client_response *response)
{
    struct one *one = arg;
    one->status = response->status;
    client_call_more(one->call);
}

static void one_body(void *arg, struct span bytes)
{
    struct one *one = arg;
    one->got += bytes.len;
    client_call_more(one->call);
}

static const struct client_events collected = {.end = one_end};
static const struct client_events streamed = {one_head, one_body, one_end};

static void call_one(struct play *play)
{
    assert_true(play->begun < COUNT_MAX);
    struct one *one = &ones[play->begun];
    *one = (struct one){.play = play};
    one->want = &play->wants[(size_t)play->begun % play->wants_len];
    struct client_call_options options = {
        .origin = play->to,
        .request = {.method = one->want->method,
                    .target = span_cstr(one->want->target),
                    .body = test_pattern(one->want->sends),
                    .bytes_max = 8u << 20,
                    .deadline = loop_now(process_loop(play->fx->process, 0)) + 20 * IO_SEC}};
    bool by_credit = play->begun++ / (int)play->wants_len % 2;
    result r =
        client_pool_send(play->pool, &options, by_credit ? &streamed : &collected, one, &one->call);
    if (failed(r) && play->poor)
        play->ended++;
    else if (failed(r))
        fx_fail(play->fx, "not taken: %s", err_name((enum err)r.code));
}

static void paused(struct io_timer *timer)
{
    struct play *play = CONTAINER_OF(timer, struct play, pause);
    play->pause_for = 0;
    more_calls(play);
}

static void more_calls(struct play *play)
{
    struct loop *loop = process_loop(play->fx->process, 0);
    if (play->pause_for && play->begun >= play->count / 4) {
        if (play->begun == play->ended)
            timer_start(loop, &play->pause, loop_now(loop) + play->pause_for);
        return;
    }
    while (play->begun < play->count && play->begun - play->ended < play->at_once)
        call_one(play);
    if (play->ended == play->count) {
        client_origin_put(steal(&play->to));
        client_pool_drain(play->pool, TIME_NEVER, drained, play);
    }
}

static void begin(struct io_post *post)
{
    more_calls(CONTAINER_OF(post, struct play, post));
}

static void play_start(struct play *play, struct fx *fx, const struct io_endpoint *endpoint)
{
    struct loop *loop = process_loop(fx->process, 0);
    play->fx = fx;
    assert_false(failed(resolver_new(loop, &dns_config, NULL, &play->resolver)));
    struct client_pool_options options = {
        .loop = loop, .config = &client_config, .resolver = play->resolver, .tls = fx->client_tls};
    assert_false(failed(client_pool_new(&options, &play->pool)));
    assert_false(failed(client_origin_get(play->pool, endpoint, fx->client_tls, &play->to)));
    play->post.run = begin;
    play->pause.fired = paused;
    fx->running++;
    loop_post(loop, &play->post);
}

static void play_release(struct play *play)
{
    client_pool_free(play->pool);
    resolver_free(play->resolver);
}

static void understood(bool tls)
{
    for (int sim = 0; sim < 2; sim++) {
        for (uint64_t seed = 0; seed < (sim ? 10 : 1); seed++) {
            struct fx fx;
            struct play play = {
                .wants = wants, .wants_len = ARRAY_LEN(wants), .count = 300, .at_once = 12};
            struct io_address good = {.family = IO_INET, .ip = {127, 0, 0, 1}};
            struct io_endpoint endpoint = {.named = true, .name = "server.test"};
            fx_init(&fx, &(struct fx_options){.sim = sim,
                                              .tls = tls,
                                              .faults = seed > 0,
                                              .seed = seed,
                                              .loops = sim ? 1 : 2});
            struct dns_options dns = {.servers_len = 1};
            if (sim) {
                sim_name_put(fx.world, "server.test", &good, 1, IO_SEC);
            } else {
                dns.servers[0] = dns_server_address();
                dns_server_put("server.test", &good, 1, IO_SEC, DNS_PLAIN);
                process_dns(fx.process, &dns);
            }
            fx_serve(&fx);
            endpoint.address.port = fx.address.port;
            play_start(&play, &fx, &endpoint);
            fx_run(&fx);
            play_release(&play);
            fx_release(&fx);
        }
    }
}

static void every_kind_of_answer_of_a_net_server_is_understood(void **state)
{
    understood(false);
}

static void and_so_it_is_over_tls(void **state)
{
    understood(true);
}

static void untrusted(void *arg, result r, const struct client_response *response)
{
    struct play *play = arg;
    if (!is(r, ERR_PERMISSION))
        fx_fail(play->fx, "expected PERMISSION, got %s", err_name((enum err)r.code));
    if (!strstr(client_origin_failure(play->to), "another.test"))
        fx_fail(play->fx, "the reason names nobody: %s", client_origin_failure(play->to));
    client_origin_put(steal(&play->to));
    client_pool_drain(play->pool, TIME_NEVER, drained, play);
}

static void ask_untrusted(struct io_post *post)
{
    static const struct client_events events = {.end = untrusted};
    struct play *play = CONTAINER_OF(post, struct play, post);
    struct client_call *call;
    struct client_call_options options = {
        .origin = play->to, .request = {.target = SPAN("/fixed"), .deadline = TIME_NEVER}};
    if (failed(client_pool_send(play->pool, &options, &events, play, &call)))
        fx_fail(play->fx, "not taken");
}

static void a_server_with_another_name_is_not_asked(void **state)
{
    for (int sim = 0; sim < 2; sim++) {
        struct fx fx;
        struct play play = {0};
        struct io_address good = {.family = IO_INET, .ip = {127, 0, 0, 1}};
        struct io_endpoint endpoint = {.named = true, .name = "another.test"};
        fx_init(&fx, &(struct fx_options){.sim = sim, .tls = true});
        struct dns_options dns = {.servers_len = 1};
        if (sim) {
            sim_name_put(fx.world, "another.test", &good, 1, IO_SEC);
        } else {
            dns.servers[0] = dns_server_address();
            dns_server_put("another.test", &good, 1, IO_SEC, DNS_PLAIN);
            process_dns(fx.process, &dns);
        }
        fx_serve(&fx);
        endpoint.address.port = fx.address.port;
        play_start(&play, &fx, &endpoint);
        play.post.run = ask_untrusted;
        fx_run(&fx);
        play_release(&play);
        fx_release(&fx);
    }
}

/* Server and client share the heap: either may be hit. */
static void without_memory_every_call_still_ends_once_and_soon(void **state)
{
    int hit = 0;
    for (uint64_t fails_at = 1; fails_at < 150; fails_at++) {
        struct fx fx;
        struct play play = {
            .wants = wants, .wants_len = 2, .count = 12, .at_once = 3, .poor = true};
        fx_init(&fx, &(struct fx_options){.loops = 1});
        fx_serve(&fx);
        struct io_endpoint endpoint = {.address = fx.address};
        play_start(&play, &fx, &endpoint);
        mem_fail_after(fails_at, false);
        io_time begun = process_clock(fx.process);
        fx_run_loosely(&fx);
        hit += mem_fail_after(0, false) >= fails_at;
        /* Soon, and not for want of time. */
        assert_true(process_clock(fx.process) - begun < 10 * IO_SEC);
        play_release(&play);
        if (fx.failure[0])
            fail_msg("allocation %d: %s", (int)fails_at, fx.failure);
        assert_int_equal(play.ended, play.count);
        fx_release(&fx);
    }
    assert_true(hit > 20);
}

/* ---- nginx ---- */

#define NGINX "/usr/sbin/nginx"

static char folder[] = "/tmp/weir-nginx-XXXXXX";
static pid_t nginx;

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    close(fd);
    return ntohs(at.sin_port);
}

static void put_file(const char *name, struct span bytes)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
}

static bool is_up(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool up = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
    return up;
}

static void nginx_start(uint16_t port)
{
    char config[1024], prefix[64], file[64];
    snprintf(config, sizeof(config),
             "daemon off; worker_processes 1; pid nginx.pid; error_log error.log;\n"
             "events { worker_connections 64; }\n"
             "http { access_log off; client_body_temp_path t1; proxy_temp_path t2;\n"
             "  fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n"
             "  keepalive_requests 7; keepalive_timeout 100ms;\n"
             "  server { listen 127.0.0.1:%u; root .;\n"
             "    location /fixed { return 200 \"fixed\\n\"; }\n"
             "    location /busy { return 503 \"busy\"; }\n"
             "    location /refuse { return 444; } } }\n",
             port);
    assert_int_equal(chmod(folder, 0755), 0); /* its worker may be nobody */
    put_file("nginx.conf", span_cstr(config));
    put_file("large", test_pattern(1u << 20));
    snprintf(prefix, sizeof(prefix), "%s/", folder);
    snprintf(file, sizeof(file), "%s/nginx.conf", folder);
    nginx = fork();
    if (nginx == 0) {
        execl(NGINX, "nginx", "-p", prefix, "-c", file, "-e", "/dev/null", (char *)NULL);
        _exit(1);
    }
    for (int i = 0; i < 200 && !is_up(port); i++)
        usleep(20000);
    assert_true(is_up(port));
}

/* Workers are replaced: their kept connections end. */
static void nginx_reload(struct play *play)
{
    kill(nginx, SIGHUP);
}

static const struct want nginx_wants[] = {
    {METHOD_GET, "/fixed", ERR_NONE, ERR_NONE, 200, "fixed\n"},
    {METHOD_GET, "/large", ERR_NONE, ERR_NONE, 200, NULL, 1u << 20},
    {METHOD_HEAD, "/large", ERR_NONE, ERR_NONE, 200, ""},
    {METHOD_GET, "/none", ERR_NONE, ERR_NONE, 404},
    {METHOD_GET, "/busy", ERR_NONE, ERR_NONE, 503, "busy"},
    {METHOD_POST, "/fixed", ERR_NONE, ERR_NONE, 200, "fixed\n", 0, 1000},
    {METHOD_POST, "/refuse", ERR_CLOSED, ERR_RESET},
};

static void nginx_is_understood_also_while_it_reloads(void **state)
{
    if (access(NGINX, X_OK) != 0)
        skip();
    uint16_t port = free_port();
    nginx_start(port);
    struct fx fx;
    struct play play = {.wants = nginx_wants,
                        .wants_len = ARRAY_LEN(nginx_wants),
                        .count = 400,
                        .at_once = 5,
                        .half = nginx_reload,
                        .pause_for = 200 * IO_MS};
    struct io_endpoint endpoint = {
        .address = {.family = IO_INET, .ip = {127, 0, 0, 1}, .port = port}};
    fx_init(&fx, &(struct fx_options){.loops = 1});
    fx_serve(&fx);
    play_start(&play, &fx, &endpoint);
    fx_run_loosely(&fx);
    play_release(&play);
    kill(nginx, SIGTERM);
    waitpid(nginx, NULL, 0);
    if (fx.failure[0])
        fail_msg("%s", fx.failure);
    assert_int_equal(play.ended, play.count);
    fx_release(&fx);
}

int main(void)
{
    test_pattern(1);
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_answer_of_a_net_server_is_understood),
        cmocka_unit_test(and_so_it_is_over_tls),
        cmocka_unit_test(a_server_with_another_name_is_not_asked),
        cmocka_unit_test(without_memory_every_call_still_ends_once_and_soon),
        cmocka_unit_test(nginx_is_understood_also_while_it_reloads),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    return test_folder_remove(folder) == 0 ? failures : 1;
}
