/* One suite over both implementations of io.h: "uv" or "sim" as the argument. With "tls"
 * behind it, the tests of streams over TLS ones, and those of TLS itself. */
#include "io/conformance_test.h"

#include "io/openssl/test_certificates.h"
#include "io/sim/sim.h"
#include "io/test_dns_server.h"
#include "io/test_folder.h"
#include "io/uv/uv.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct driver *driver;
bool fx_tls;

/* ---- drivers ------------------------------------------------------------------- */

static char folder[] = "/tmp/weir-io-XXXXXX";
static char file_path[256];

/* A short patience, the same for both. */
static void use_dns(struct process *process)
{
    struct dns_options dns = {.timeout = 100 * IO_MS, .tries = 2, .servers_len = 1};
    if (driver == &uv_driver)
        dns.servers[0] = dns_server_address();
    process_dns(process, &dns);
}

static struct process *uv_make(int loops)
{
    struct io_uv_options options = {.loops = loops, .compute_threads = 3, .connections_max = 1000};
    struct process *process = NULL;
    struct diag diag = {0};
    result r = uv_process_new(&options, &process, &diag);
    assert_int_equal(r.code, ERR_NONE);
    use_dns(process);
    return process;
}

static void uv_clean(void)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/socket", folder);
    unlink(path);
}

static void uv_raise(struct process *process, int signal_number)
{
    kill(getpid(), signal_number);
}

static const char *uv_put_file(struct process *process, const char *name, struct span bytes)
{
    snprintf(file_path, sizeof(file_path), "%s/%s", folder, name);
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    if (bytes.len > 0)
        assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
    return file_path;
}

static void uv_make_pem(const struct fx_pem_options *options, struct fx_pem *ret_pem)
{
    struct test_certificate what = {
        .name = options->name,
        .name_too = options->name_too,
        .issuer_cert = options->issuer ? options->issuer->cert : NULL,
        .issuer_key = options->issuer ? options->issuer->key : NULL,
        .expired = options->expired,
        .rsa_bits = options->slow ? 4096 : 0,
    };
    snprintf(ret_pem->name, sizeof(ret_pem->name), "%s", options->name);
    assert_true(test_certificate_make(&what, ret_pem->cert, ret_pem->key, sizeof(ret_pem->key)));
}

static void uv_put_name(struct process *process, const char *name,
                        const struct io_address *addresses, size_t count, io_time ttl)
{
    dns_server_put(name, addresses, count, ttl, DNS_PLAIN);
}

static void uv_put_services(struct process *process, const char *name,
                            const struct lookup_service *services, size_t count, io_time ttl)
{
    dns_server_put_services(name, services, count, ttl, DNS_PLAIN);
}

static void uv_fail_name(struct process *process, const char *name, enum err code)
{
    enum dns_trick trick = code == ERR_NOT_FOUND     ? DNS_NXDOMAIN
                           : code == ERR_UNAVAILABLE ? DNS_SERVFAIL
                                                     : DNS_SILENT;
    dns_server_put(name, NULL, 0, 0, trick);
}

const struct driver uv_driver = {
    "uv",        uv_make,     uv_clean,    uv_raise,        uv_put_file,  folder,
    uv_make_pem, 300 * IO_MS, uv_put_name, uv_put_services, uv_fail_name,
};

static struct world *world;
static uint64_t sim_seed;

static struct process *sim_make(int loops)
{
    world = sim_world_new(sim_seed);
    struct process *process = sim_process_new(world, "one", loops);
    use_dns(process);
    return process;
}

static void sim_clean(void)
{
    sim_world_free(world);
    world = NULL;
}

static const char *sim_put_file(struct process *process, const char *name, struct span bytes)
{
    snprintf(file_path, sizeof(file_path), "/files/%s", name);
    sim_file_put(process, file_path, bytes);
    return file_path;
}

static void sim_make_pem(const struct fx_pem_options *options, struct fx_pem *ret_pem)
{
    static int keys;
    keys++;
    snprintf(ret_pem->name, sizeof(ret_pem->name), "%s", options->name);
    snprintf(ret_pem->cert, sizeof(ret_pem->cert),
             "name: %s\nname: %s\nissuer: %s\nca: %s\nkey: %d\nnot_after: %s\n", options->name,
             options->name_too ? options->name_too : options->name,
             options->issuer ? options->issuer->name : options->name, options->name, keys,
             options->expired ? "1" : "4000000000");
    snprintf(ret_pem->key, sizeof(ret_pem->key), "key: %d\n%s", keys,
             options->slow ? "slow: yes\n" : "");
}

static void put_name(struct process *process, const char *name, const struct io_address *addresses,
                     size_t count, io_time ttl)
{
    sim_name_put(world, name, addresses, count, ttl);
}

static void put_services(struct process *process, const char *name,
                         const struct lookup_service *services, size_t count, io_time ttl)
{
    sim_service_put(world, name, services, count, ttl);
}

static void fail_name(struct process *process, const char *name, enum err code)
{
    sim_name_fail(world, name, code);
}

const struct driver sim_driver = {
    "sim",        sim_make,  sim_clean, sim_signal,   sim_put_file, "/files",
    sim_make_pem, 2 * IO_MS, put_name,  put_services, fail_name,
};

/* ---- fixture --------------------------------------------------------------------- */

static void guard_fired(struct io_timer *timer)
{
    struct fx *fx = CONTAINER_OF(timer, struct fx, guard);
    fx->timed_out = true;
    process_stop(fx->process);
}

void fx_init(struct fx *fx, int loops)
{
    *fx = (struct fx){0};
    fx->process = driver->make(loops);
    fx->loop = process_loop(fx->process, 0);
    fx->guard.fired = guard_fired;
}

void fx_run(struct fx *fx)
{
    timer_start(fx->loop, &fx->guard, process_clock(fx->process) + 20 * IO_SEC);
    process_run(fx->process);
    assert_false(fx->timed_out);
}

void fx_stop(struct fx *fx)
{
    process_stop(fx->process);
}

void fx_release(struct fx *fx)
{
    process_free(fx->process);
    tls_context_unref(fx->server_tls);
    tls_context_unref(fx->client_tls);
    driver->clean();
}

void fx_note(struct fx *fx, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (fx->log_len > 0 && fx->log_len + 1 < sizeof(fx->log))
        fx->log[fx->log_len++] = ' ';
    int len = vsnprintf(fx->log + fx->log_len, sizeof(fx->log) - fx->log_len, format, args);
    fx->log_len = MIN(fx->log_len + (size_t)len, sizeof(fx->log) - 1);
    va_end(args);
}

static struct tls_certificate pair_of(const struct fx_pem *pem)
{
    return (struct tls_certificate){.chain.text = span_cstr(pem->cert),
                                    .key.text = span_cstr(pem->key)};
}

struct tls_context *fx_server_tls(struct fx *fx, const struct fx_pem *pem, const struct fx_pem *ca,
                                  enum tls_client_auth auth)
{
    struct tls_certificate pair = pair_of(pem);
    struct tls_context *context = NULL;
    struct diag diag = {0};
    struct tls_options options = {
        .certificates = &pair, .certificates_len = 1, .client_auth = auth};
    if (ca)
        options.ca.text = span_cstr(ca->cert);
    assert_int_equal(tls_server_new(fx->process, &options, &context, &diag).code, ERR_NONE);
    return context;
}

struct tls_context *fx_client_tls(struct fx *fx, const struct fx_pem *pem, const struct fx_pem *ca)
{
    struct tls_certificate pair = {0};
    struct tls_context *context = NULL;
    struct diag diag = {0};
    struct tls_options options = {.certificates = &pair, .ca.text = span_cstr(ca->cert)};
    if (pem)
        pair = pair_of(pem);
    options.certificates_len = pem != NULL;
    assert_int_equal(tls_client_new(fx->process, &options, &context, &diag).code, ERR_NONE);
    return context;
}

static void tls_prepare(struct fx *fx)
{
    static struct fx_pem authority, server;
    if (!authority.name[0]) {
        driver->make_pem(&(struct fx_pem_options){.name = "authority"}, &authority);
        driver->make_pem(&(struct fx_pem_options){.name = "server.test", .issuer = &authority},
                         &server);
    }
    fx->server_tls = fx_server_tls(fx, &server, NULL, TLS_CLIENT_OFF);
    fx->client_tls = fx_client_tls(fx, NULL, &authority);
}

static void pair_ready(struct fx *fx, struct stream **side, struct stream *stream)
{
    *side = stream;
    if (fx->client && fx->server)
        fx->go(fx);
}

static void server_ready(void *arg, struct stream *stream, result r)
{
    struct fx *fx = arg;
    assert_int_equal(r.code, ERR_NONE);
    pair_ready(fx, &fx->server, stream);
}

static void client_ready(void *arg, struct stream *stream, result r)
{
    struct fx *fx = arg;
    assert_int_equal(r.code, ERR_NONE);
    pair_ready(fx, &fx->client, stream);
}

static void accepted(void *arg, struct listener *listener, struct io_detached detached)
{
    struct fx *fx = arg;
    struct stream *stream;
    assert_int_equal(stream_adopt(fx->loop, detached, &stream).code, ERR_NONE);
    if (!fx_tls)
        server_ready(fx, stream, OK);
    else
        assert_int_equal(
            tls_accept(fx->server_tls, stream, TIME_NEVER, server_ready, fx, &stream).code,
            ERR_NONE);
}

static void pair_connected(void *arg, struct stream *stream, result r)
{
    struct fx *fx = arg;
    if (!fx_tls || failed(r))
        client_ready(fx, stream, r);
    else
        assert_int_equal(tls_connect(fx->client_tls, stream, "server.test", TIME_NEVER,
                                     client_ready, fx, &stream)
                             .code,
                         ERR_NONE);
}

void fx_listen(struct fx *fx, enum io_family family, listener_fn fn)
{
    struct diag diag = {0};
    struct io_address any = {.family = family};
    if (family == IO_UNIX)
        snprintf(any.path, sizeof(any.path), "%s/socket", folder);
    else
        assert_int_equal(io_address_parse(SPAN("127.0.0.1:0"), &any, NULL).code, ERR_NONE);
    result r = listener_open(fx->loop, &any, NULL, fn, fx, &fx->listener, &diag);
    assert_int_equal(r.code, ERR_NONE);
    listener_address(fx->listener, &fx->address);
}

void fx_pair(struct fx *fx, enum io_family family, void (*go)(struct fx *fx))
{
    struct stream *stream;
    fx->go = go;
    if (fx_tls)
        tls_prepare(fx);
    fx_listen(fx, family, accepted);
    result r = stream_connect(fx->loop, &fx->address, pair_connected, fx, &stream);
    assert_int_equal(r.code, ERR_NONE);
}

struct span_mut fx_scratch(void)
{
    return (struct span_mut){NULL, 0};
}

static const char *name_of(result r)
{
    return is(r, ERR_NONE) ? "OK" : err_name((enum err)r.code);
}

void fx_on_read(void *arg, struct stream *stream, result r, struct span bytes)
{
    fx_note(arg, "read=%s:%zu", name_of(r), bytes.len);
}

void fx_on_write(void *arg, struct stream *stream, result r)
{
    fx_note(arg, "write=%s", name_of(r));
}

void fx_on_closed(void *arg)
{
    fx_note(arg, "closed");
}

void fx_on_connected(void *arg, struct stream *stream, result r)
{
    fx_note(arg, "connect=%s", name_of(r));
}

void fx_run_pair(struct fx *fx, enum io_family family, void (*go)(struct fx *fx))
{
    fx_init(fx, 1);
    fx_pair(fx, family, go);
    fx_run(fx);
}

void fx_write_text(struct fx *fx, struct stream *stream, const char *text)
{
    struct span part = span_cstr(text);
    stream_write(stream, &part, 1, fx_on_write, fx);
}

void fx_read_and_stop(void *arg, struct stream *stream, result r, struct span bytes)
{
    struct fx *fx = arg;
    fx_on_read(arg, stream, r, bytes);
    fx_note(fx, "\"%.*s\"", SPAN_FMT(bytes));
    fx_stop(fx);
}

void fx_closed_and_stop(void *arg)
{
    fx_on_closed(arg);
    fx_after(arg, 10 * IO_MS, fx_stop); /* anything that comes later would be seen */
}

static void after_fired(struct io_timer *timer)
{
    struct fx_after *after = CONTAINER_OF(timer, struct fx_after, timer);
    after->fn(after->fx);
}

void fx_after(struct fx *fx, io_time delay, void (*fn)(struct fx *fx))
{
    ASSERT(fx->afters_count < ARRAY_LEN(fx->afters));
    struct fx_after *after = &fx->afters[fx->afters_count++];
    *after = (struct fx_after){{.fired = after_fired}, fx, fn};
    timer_start(fx->loop, &after->timer, process_clock(fx->process) + delay);
}

/* Runs the test of which the state is the function once, or in the simulator with many
 * seeds. */
static void play(void **state)
{
    CMUnitTestFunction test = *(CMUnitTestFunction *)*state;
    const char *wanted = getenv("WEIR_SIM_SEEDS");
    uint64_t seeds = wanted ? strtoull(wanted, NULL, 10) : 0;
    uint64_t count = driver == &uv_driver ? 1 : seeds > 0 ? seeds : 4;
    for (sim_seed = 0; sim_seed < count; sim_seed++)
        test(NULL);
}

int main(int argc, char **argv)
{
    driver = argc > 1 && strcmp(argv[1], "sim") == 0 ? &sim_driver : &uv_driver;
    if (!mkdtemp(folder))
        return 1;
    struct CMUnitTest tests[128];
    CMUnitTestFunction functions[128];
    size_t count = 0;
    fx_tls = argc > 2 && strcmp(argv[2], "tls") == 0;
    const struct CMUnitTest *groups[] = {stream_tests, tls_tests,  listener_tests,
                                         loop_tests,   file_tests, name_tests};
    const size_t counts[] = {stream_tests_count, tls_tests_count,  listener_tests_count,
                             loop_tests_count,   file_tests_count, name_tests_count};
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        if (g > 0 && (groups[g] == tls_tests) != fx_tls)
            continue;
        for (size_t i = 0; i < counts[g]; i++) {
            ASSERT(count < ARRAY_LEN(tests));
            functions[count] = groups[g][i].test_func;
            tests[count] = (struct CMUnitTest){
                .name = groups[g][i].name, .test_func = play, .initial_state = &functions[count]};
            count++;
        }
    }
    int failures = _cmocka_run_group_tests(driver->name, tests, count, NULL, NULL);
    return test_folder_remove(folder) == 0 ? failures : 1;
}
