#include "run/run.h"

#include "base/alloc.h"
#include "obs/process_metrics.h"
#include "run/run_private.h"

#include <stdio.h>
#include <sysexits.h>

/* ---- getters ---- */

struct process *run_process(const struct run *run)
{
    return run->process;
}

struct metrics *run_metrics(const struct run *run)
{
    return run->metrics;
}

struct log *run_log(const struct run *run)
{
    return run->log;
}

struct slab *run_slab(const struct run *run)
{
    return run->slab;
}

const void *run_config(const struct run *run, const struct config_module *module)
{
    return config_of(run->config, module);
}

const char *run_address(const struct run *run)
{
    return run->address;
}

void run_add_check(struct run *run, const char *name, run_check_fn check, void *arg)
{
    ASSERT(run->checks_len < RUN_CHECKS_MAX);
    run->checks[run->checks_len++] = (struct run_check){name, check, arg};
}

void *run_context(struct run *run, const struct config_module *module)
{
    if (module == &server_module)
        return run->server;
    if (module == &server_tls_module)
        return run->tls;
    for (size_t i = 0; i < run->kind->modules_len; i++)
        if (run->kind->modules[i] == module)
            return run->role;
    return run;
}

int exit_code_of(enum err code)
{
    switch (code) {
    case ERR_NONE:
        return EX_OK;
    case ERR_NOT_FOUND:
        return EX_NOINPUT;
    case ERR_CORRUPT:
    case ERR_BACKEND:
    case ERR_UNSUPPORTED:
        return EX_DATAERR;
    case ERR_ADDRESS_IN_USE:
    case ERR_UNAVAILABLE:
        return EX_UNAVAILABLE;
    case ERR_PERMISSION:
        return EX_NOPERM;
    case ERR_NO_MEMORY:
    case ERR_NO_DESCRIPTORS:
        return EX_OSERR;
    case ERR_IO:
    case ERR_NO_SPACE:
        return EX_IOERR;
    case ERR_ARGUMENT:
        return EX_USAGE;
    default:
        return EX_SOFTWARE;
    }
}

/* ---- boot, stage by stage: each may use what those before it made ---- */

static void say(const char *severity, const struct diag *diag)
{
    char text[DIAG_TEXT_MAX + 512];
    diag_format(diag, text, sizeof(text));
    fprintf(stderr, "weir: %s%s\n", severity, text);
}

void run_say(const char *severity, const struct config_errors *list)
{
    for (size_t i = 0; i < list->count; i++)
        say(severity, &list->items[i]);
    if (list->more)
        fputs("weir: and more\n", stderr);
}

static int boot_config(struct run *run, struct run_findings *findings)
{
    if (failed(run_config_read(run, &run->config, &findings->errors)))
        return EX_CONFIG;
    run->started = config_ref(run->config);
    findings->warnings.count = config_warning_count(run->config);
    for (size_t i = 0; i < findings->warnings.count; i++)
        findings->warnings.items[i] = *config_warning(run->config, i);
    return EX_OK;
}

static result boot_obs(struct run *run, struct diag *diag)
{
    const struct log_config *log = run_config(run, &log_module);
    struct log_options options = {
        .role = run->kind->name,
        .path = log->path,
        .format = (enum log_format)log->format,
        .level = (enum log_level)log->level,
    };
    TRY(log_new(run->process, &options, &run->log, diag));
    process_crash_report(run->process, &(struct crash_report){
                                           .program = "weir " WEIR_VERSION,
                                           .folder = log->crash_folder,
                                           .tail = log_tail,
                                           .arg = run->log,
                                       });
    struct metrics_options metrics = {.loops = run->loops_len};
    TRY(metrics_new(run->process, &metrics, &run->metrics, diag));
    TRY(process_metrics_new(run->metrics, run->process, run->log, WEIR_VERSION,
                            &run->process_metrics, diag));
    TRY(metrics_define(run->metrics, server_tls_metrics, server_tls_metrics_len, diag));
    TRY(run_reload_boot(run, diag));
    return metrics_define(run->metrics, server_metrics, server_metrics_len, diag);
}

static result boot_loops(struct run *run, struct diag *diag)
{
    run->loops_len = process_loop_count(run->process);
    if (run->loops_len > RUN_LOOPS_MAX)
        return diag_fail(diag, ERR_RANGE, "expected at most %d loops, got %d", RUN_LOOPS_MAX,
                         run->loops_len);
    run->loops = mem_zalloc((size_t)run->loops_len, sizeof(*run->loops));
    if (!run->loops)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the loops");
    for (int i = 0; i < run->loops_len; i++) {
        run->loops[i].run = run;
        run->loops[i].loop = process_loop(run->process, i);
    }
    return OK;
}

/* $RUNTIME_DIRECTORY/admin.sock, else $XDG_RUNTIME_DIR/weir-PORT.sock, else none. */
static bool admin_path(struct run *run, uint16_t port)
{
    const struct run_config *config = run_config(run, &run_module);
    const char *dir;
    int len;
    if (!config->admin_socket || span_is(span_cstr(config->admin_socket), "off"))
        return false;
    if (!span_is(span_cstr(config->admin_socket), "auto"))
        len = snprintf(run->admin_path, sizeof(run->admin_path), "%s", config->admin_socket);
    else if ((dir = process_env(run->process, "RUNTIME_DIRECTORY")))
        len = snprintf(run->admin_path, sizeof(run->admin_path), "%s/admin.sock", dir);
    else if ((dir = process_env(run->process, "XDG_RUNTIME_DIR")))
        len = snprintf(run->admin_path, sizeof(run->admin_path), "%s/weir-%u.sock", dir, port);
    else
        return false;
    return len > 0 && (size_t)len < sizeof(run->admin_path);
}

static result boot_admin(struct run *run, struct diag *diag)
{
    struct io_address main_address = {0};
    const struct run_config *config = run_config(run, &run_module);
    server_address(run->server, 0, &main_address);
    if (!admin_path(run, main_address.port)) {
        if (!config->admin_socket || !span_is(span_cstr(config->admin_socket), "off"))
            log_event(run->log, EVENT_ADMIN_OFF, LOG_NO_FIELDS,
                      "no admin listener: neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR is set");
        return OK;
    }
    struct server_options options = {
        .name = "admin",
        .process = run->process,
        .metrics = run->metrics,
        .log = run->log,
        .slab = run->slab,
        .config = run_config(run, &server_module),
        .routes = run->admin_tables,
        .routes_len = ARRAY_LEN(run->admin_tables),
    };
    TRY(server_new(&options, &run->admin, diag));
    struct io_address address = {.family = IO_UNIX};
    memcpy(address.path, run->admin_path, sizeof(address.path));
    struct diag why = {0};
    if (failed(server_listen(run->admin, &address, "admin", &why))) {
        char text[DIAG_TEXT_MAX];
        diag_format(&why, text, sizeof(text));
        log_event(run->log, EVENT_ADMIN_OFF, LOG_NO_FIELDS, "no admin listener: %s", text);
        server_free(run->admin);
        run->admin = NULL;
    }
    return OK;
}

/* Descriptors beside those of connections: listeners, files, loops. */
#define DESCRIPTORS_OTHER 256

/* As many as connections_max needs; where the hard limit is lower, that is told once. */
static void raise_descriptors(struct run *run)
{
    const struct server_config *server = run_config(run, &server_module);
    uint64_t wanted = (uint64_t)server->connections_max + DESCRIPTORS_OTHER;
    uint64_t have = process_descriptors(run->process, wanted);
    if (have < wanted)
        log_event(run->log, EVENT_CONFIG_WARNING,
                  LOG_FIELDS(log_uint("wanted", wanted), log_uint("limit", have)),
                  "server.connections_max needs %llu descriptors, the hard limit is %llu",
                  (unsigned long long)wanted, (unsigned long long)have);
}

static result boot_server(struct run *run, struct diag *diag)
{
    raise_descriptors(run);
    server_tls_begin(run->tls, run->log, run->metrics);
    struct server_options options = {
        .name = "http",
        .process = run->process,
        .metrics = run->metrics,
        .log = run->log,
        .slab = run->slab,
        .config = run_config(run, &server_module),
        .routes = run->tables,
        .routes_len = ARRAY_LEN(run->tables),
        .tls = run->tls,
    };
    TRY(server_new(&options, &run->server, diag));
    const struct run_config *config = run_config(run, &run_module);
    struct io_address address = config->listen.address;
    if (config->port >= 0)
        address.port = (uint16_t)config->port;
    result r = server_listen(run->server, &address, "http", diag);
    if (is(r, ERR_ADDRESS_IN_USE))
        diag_prefix(diag, "another program has the port; choose one with --port");
    TRY(r);
    server_address(run->server, 0, &address);
    io_address_format(&address, run->address, sizeof(run->address));
    log_event(run->log, EVENT_SERVER_LISTENING, LOG_FIELDS(log_str("address", run->address)),
              "listening on %s", run->address);
    return OK;
}

/* All that `weir check` tries. */
static result boot_unheard(struct run *run, struct diag *diag)
{
    const struct run_config *config = run_config(run, &run_module);
    TRY(boot_loops(run, diag));
    TRY(boot_obs(run, diag));
    run->slab = run_slab_new(config);
    if (!run->slab)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the slab");
    run->tables[0] = (struct route_table){health_routes, health_routes_len, run, NULL};
    run->admin_tables[0] = run->tables[0];
    run->admin_tables[1] = (struct route_table){config_routes, config_routes_len, run, NULL};
    return run->kind->start(run, &run->role, &run->tables[1], diag);
}

static result boot_heard(struct run *run, struct diag *diag)
{
    run_log_warnings(run);
    TRY(boot_server(run, diag));
    TRY(boot_admin(run, diag));
    return run_signals(run, diag);
}

static void release(struct run *run)
{
    run_reload_drop(run);
    server_free(run->server);
    server_free(run->admin);
    server_tls_free(run->tls);
    if (run->role)
        run->kind->free(run->role);
    process_metrics_free(run->process_metrics);
    metrics_free(run->metrics);
    process_crash_report(run->process, NULL);
    log_free(run->log);
    slab_free(run->slab);
    config_unref(run->config);
    config_unref(run->started);
    text_release(&run->reloads.waiting);
    mem_free(run->loops);
    mem_free(run);
}

static struct run *run_new(const struct run_options *options)
{
    struct run *run = MEM_NEW(struct run);
    mem_must(run, sizeof(*run));
    run->process = options->process;
    run->kind = options->role;
    run->tls = server_tls_new(run->process);
    mem_must(run->tls, 1);
    run->options = options;
    run->started_at = process_wall(run->process);
    run->notify_path = process_env(run->process, "NOTIFY_SOCKET");
    run_modules_of(options->role, &run->modules);
    return run;
}

/* The first part of the start, which `weir check` and `weir serve` have in common.
 * Returns the exit code, EX_OK to go on. */
static int prepare(struct run *run, struct run_findings *findings)
{
    *findings = (struct run_findings){0};
    int code = boot_config(run, findings);
    if (code != EX_OK)
        return code;
    struct diag *diag = &findings->errors.items[0];
    *diag = (struct diag){0};
    result r = boot_unheard(run, diag);
    if (!failed(r))
        return EX_OK;
    diag->code = diag->code ? diag->code : r.code; /* where nobody had more to say */
    findings->errors.count = 1;
    return exit_code_of((enum err)r.code);
}

int run_check(const struct run_options *options, struct run_findings *ret_findings)
{
    struct run *run = run_new(options);
    int code = prepare(run, ret_findings);
    release(run);
    return code;
}

static int begin(struct run *run)
{
    CLEANUP(mem_cleanup) struct run_findings *findings = MEM_NEW(struct run_findings);
    mem_must(findings, sizeof(*findings));
    int code = prepare(run, findings);
    run_say("", &findings->errors);
    if (code != EX_OK)
        return code;
    struct diag diag = {0};
    result r = boot_heard(run, &diag);
    if (!failed(r))
        return EX_OK;
    diag.code = diag.code ? diag.code : r.code; /* where nobody had more to say */
    say("", &diag);
    return exit_code_of((enum err)r.code);
}

int run_role(const struct run_options *options)
{
    struct run *run = run_new(options);
    run->exit_code = begin(run);
    if (run->exit_code == EX_OK) {
        run->boot.run = run_begin;
        loop_post(process_loop(run->process, 0), &run->boot);
        log_start(run->log);
        process_run(run->process);
        log_stop(run->log);
    }
    int code = run->exit_code;
    if (!run->cut)
        release(run);
    return code;
}
