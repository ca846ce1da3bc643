/* What the sources of run share. */
#pragma once

#include "run/run.h"

struct run_config {
    struct config_address listen;
    int64_t port; /* the flag; -1: as `listen` says */
    const char *admin_socket;
    io_time lame_duck, drain_timeout;
    uint64_t memory_max; /* of blocks: bodies, tensors, batches */
};

struct log_config {
    int level, format;
    const char *path;
    const char *crash_folder;
};

extern const struct config_module run_module;
extern const struct config_module log_module;

/* What one loop knows of the whole; published to it by post. */
struct run_loop {
    struct run *run;
    struct loop *loop;
    struct io_post ready_post, unready_post;
    bool ready;
    uint64_t turns[64]; /* of each loop, when last seen to move */
    io_time moved_at[64];
};
#define RUN_LOOPS_MAX 64

enum run_phase { RUN_LOADING, RUN_READY, RUN_LAME, RUN_DRAINING, RUN_ENDING };

struct run_check {
    const char *name;
    run_check_fn check;
    void *arg;
};

struct reload;

/* What came of all reloads. */
struct reload_state {
    uint64_t generation; /* of the newest snapshot, from 1 */
    struct text waiting; /* the keys that wait for a restart: "log.format, listen" */
    struct series *good, *bad, *succeeded_at, *generations, *waiting_keys, *deprecated_keys;
};

struct run {
    struct process *process;
    const struct run_role *kind;
    void *role;
    const struct run_options *options;
    struct config *config;  /* the newest snapshot */
    struct config *started; /* the first: what holds of keys that wait for a restart */
    struct run_modules modules;
    struct log *log;
    struct metrics *metrics;
    struct process_metrics *process_metrics;
    struct slab *slab;
    struct server *server, *admin;
    struct route_table tables[2], admin_tables[2];
    char address[160];
    char admin_path[108];
    struct run_loop *loops;
    int loops_len;
    struct run_check checks[RUN_CHECKS_MAX];
    size_t checks_len;
    enum run_phase phase;
    int exit_code;
    int draining; /* servers that still drain */
    uint64_t cut;
    struct io_timer timer;
    struct io_post boot;
    struct reload *reload; /* under way */
    bool reload_again;     /* HUP came meanwhile */
    struct reload_state reloads;
    const char *notify_path;
    io_time started_at; /* wall clock */
};

/* Health: routes of every listener, and of the admin one. */
extern const struct route health_routes[];
extern const size_t health_routes_len;

/* Tells each loop whether the process is ready. */
void run_publish_ready(struct run *run, bool ready);
/* Signals and phases (lifecycle.c). */
result run_signals(struct run *run, struct diag *diag);
void run_begin(struct io_post *boot);
/* Reads the configuration's file and flags (boot, or inside a work job). On failure
 * `errors` holds what was wrong. */
result run_config_read(struct run *run, struct config **ret_config, struct config_errors *errors);
void run_reload(struct run *run);
/* Boot: defines the metrics of reloads and shows the first snapshot. */
result run_reload_boot(struct run *run, struct diag *diag);
/* Says each warning of the newest snapshot in the log. */
void run_log_warnings(struct run *run);
/* Of the admin listener: the configuration, as a file. */
extern const struct route config_routes[];
extern const size_t config_routes_len;
/* What a module's reload acts on. */
void *run_context(struct run *run, const struct config_module *module);
struct slab *run_slab_new(const struct run_config *config);
/* sd_notify(3): sends `state` where systemd asked for it; nothing otherwise. */
void run_notify(struct run *run, const char *state);
