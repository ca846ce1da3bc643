/* HUP: the configuration is read by a worker, then goes over on loop 0, all or nothing. */
#include "run/run_private.h"

#include "base/alloc.h"
#include "config/reload.h"

#include <stdio.h>

#define WAITING_BYTES_MAX 4096

struct reload {
    struct io_work work;
    struct run *run;
    struct config *config;
    struct config_errors errors;
    result r;
    int changes;
};

/* ---- what is shown of reloads ---- */

static const char *const result_labels[] = {"result", NULL};

enum { RELOADS, SUCCEEDED_AT, GENERATION, WAITING_KEYS, DEPRECATED_KEYS, DEF_COUNT };
static const struct metric_def defs[DEF_COUNT] = {
    [RELOADS] = {"weir_config_reloads_total", "Reloads of the configuration.", METRIC_COUNTER,
                 UNIT_NONE, result_labels},
    [SUCCEEDED_AT] = {"weir_config_last_success_timestamp_seconds",
                      "When the present configuration was taken, in seconds since 1970.",
                      METRIC_GAUGE, UNIT_SECONDS, NULL},
    [GENERATION] = {"weir_config_generation",
                    "Number of the present configuration: 1 at the start, one more a reload.",
                    METRIC_GAUGE, UNIT_NONE, NULL},
    [WAITING_KEYS] = {"weir_config_restart_keys",
                      "Keys whose new value takes effect after a restart.", METRIC_GAUGE, UNIT_NONE,
                      NULL},
    [DEPRECATED_KEYS] = {"weir_config_deprecated_keys", "Deprecated keys in the file.",
                         METRIC_GAUGE, UNIT_NONE, NULL},
};

static struct series *reloads_of(struct run *run, const char *outcome)
{
    struct span value = span_cstr(outcome);
    return metrics_series(run->metrics, &defs[RELOADS], &value, 1);
}

/* A snapshot has come into force. */
static void show(struct run *run, int waiting)
{
    struct reload_state *state = &run->reloads;
    state->generation++;
    gauge_set(state->generations, (double)state->generation);
    gauge_set(state->succeeded_at, (double)process_wall(run->process) / (double)IO_SEC);
    gauge_set(state->waiting_keys, waiting);
    gauge_set(state->deprecated_keys, (double)config_deprecated_count(run->config));
}

result run_reload_boot(struct run *run, struct diag *diag)
{
    struct reload_state *state = &run->reloads;
    TRY(metrics_define(run->metrics, defs, DEF_COUNT, diag));
    text_init(&state->waiting, WAITING_BYTES_MAX);
    state->good = reloads_of(run, "success");
    state->bad = reloads_of(run, "failure");
    state->succeeded_at = metrics_series(run->metrics, &defs[SUCCEEDED_AT], NULL, 0);
    state->generations = metrics_series(run->metrics, &defs[GENERATION], NULL, 0);
    state->waiting_keys = metrics_series(run->metrics, &defs[WAITING_KEYS], NULL, 0);
    state->deprecated_keys = metrics_series(run->metrics, &defs[DEPRECATED_KEYS], NULL, 0);
    show(run, 0);
    return OK;
}

void run_log_warnings(struct run *run)
{
    for (size_t i = 0; i < config_warning_count(run->config); i++) {
        const struct diag *warning = config_warning(run->config, i);
        char text[DIAG_TEXT_MAX + 512];
        diag_format(warning, text, sizeof(text));
        log_event(run->log, EVENT_CONFIG_WARNING, LOG_FIELDS(log_str("key", warning->key)), "%s",
                  text);
    }
}

/* ---- one reload ---- */

static void reload_run(struct io_work *work)
{
    struct reload *reload = CONTAINER_OF(work, struct reload, work);
    reload->r = run_config_read(reload->run, &reload->config, &reload->errors);
}

static void count_change(void *arg, const struct config_change *change)
{
    struct reload *reload = arg;
    reload->changes++;
}

/* Against the snapshot of the start: only a restart makes that go away. */
struct waiting {
    struct run *run;
    int count;
};

static void note_waiting(void *arg, const struct config_change *change)
{
    struct waiting *waiting = arg;
    struct text *names = &waiting->run->reloads.waiting;
    if (change->key->reload != CONFIG_RESTART)
        return;
    text_printf(names, "%s%s", waiting->count++ > 0 ? ", " : "", change->path);
    log_event(waiting->run->log, EVENT_CONFIG_WARNING, LOG_FIELDS(log_str("key", change->path)),
              "%s has changed from %s to %s and takes effect after a restart", change->path,
              change->old_value ? change->old_value : "(none)",
              change->new_value ? change->new_value : "(none)");
}

static void refused(struct reload *reload, const struct diag *diag)
{
    char text[DIAG_TEXT_MAX + 512];
    diag_format(diag, text, sizeof(text));
    log_event(reload->run->log, EVENT_CONFIG_REFUSED, LOG_NO_FIELDS,
              "the configuration stays as it was: %s", text);
}

static result go_over(struct reload *reload, struct diag *diag)
{
    struct run *run = reload->run;
    void *contexts[ARRAY_LEN(run->modules.items)];
    for (size_t i = 0; i < run->modules.len; i++)
        contexts[i] = run_context(run, run->modules.items[i]);
    return config_transaction(run->config, reload->config, contexts, diag);
}

static void taken(struct reload *reload)
{
    struct run *run = reload->run;
    struct waiting waiting = {.run = run};
    text_clear(&run->reloads.waiting);
    /* Both are for people only: a difference that is too long to tell is left out. */
    ignore(config_diff(run->config, reload->config, count_change, reload));
    ignore(config_diff(run->started, reload->config, note_waiting, &waiting));
    config_unref(run->config);
    run->config = reload->config;
    run_log_warnings(run);
    show(run, waiting.count);
    log_event(run->log, EVENT_CONFIG_RELOADED,
              LOG_FIELDS(log_int("changes", reload->changes),
                         log_int("after_restart", waiting.count),
                         log_uint("generation", run->reloads.generation)),
              "the configuration was reloaded");
}

static void reload_done(struct io_work *work)
{
    struct reload *reload = CONTAINER_OF(work, struct reload, work);
    struct run *run = reload->run;
    struct diag diag = {0};
    run->reload = NULL;
    bool good = false;
    if (failed(reload->r)) {
        for (size_t i = 0; i < reload->errors.count; i++)
            refused(reload, &reload->errors.items[i]);
    } else if (failed(go_over(reload, &diag))) {
        refused(reload, &diag);
        config_unref(reload->config);
    } else {
        good = true;
        taken(reload);
    }
    counter_add(metrics_shard(run->metrics, 0), good ? run->reloads.good : run->reloads.bad, 1);
    mem_free(reload);
    run_notify(run, "READY=1\n");
    if (run->reload_again)
        run_reload(run);
}

void run_reload(struct run *run)
{
    run->reload_again = run->reload != NULL;
    if (run->reload)
        return;
    struct reload *reload = MEM_NEW(struct reload);
    if (!reload) {
        log_event(run->log, EVENT_CONFIG_REFUSED, LOG_NO_FIELDS, "no memory to reload");
        return;
    }
    char state[64];
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld\n",
             (long long)(process_clock(run->process) / IO_US));
    run_notify(run, state);
    reload->run = run;
    reload->work = (struct io_work){
        .run = reload_run,
        .done = reload_done,
        .home = process_loop(run->process, 0),
    };
    run->reload = reload;
    work_submit(run->process, WORK_FILE, &reload->work);
}
