/* HUP: the configuration is read by a worker, then goes over on loop 0, all or nothing. */
#include "run/run_private.h"

#include "base/alloc.h"
#include "config/reload.h"

#include <stdio.h>

struct reload {
    struct io_work work;
    struct run *run;
    struct config *config;
    struct config_errors errors;
    result r;
    int changes, waiting;
};

static void reload_run(struct io_work *work)
{
    struct reload *reload = CONTAINER_OF(work, struct reload, work);
    reload->r = run_config_read(reload->run, &reload->config, &reload->errors);
}

static void log_change(void *arg, const struct config_change *change)
{
    struct reload *reload = arg;
    reload->changes++;
    if (change->key->reload == CONFIG_LIVE)
        return;
    reload->waiting++;
    log_event(reload->run->log, EVENT_CONFIG_WARNING, LOG_FIELDS(log_str("key", change->path)),
              "%s has changed from %s to %s and takes effect after a restart", change->path,
              change->old_value ? change->old_value : "(none)",
              change->new_value ? change->new_value : "(none)");
}

static void refused(struct reload *reload, const struct diag *diag)
{
    char text[DIAG_TEXT_MAX];
    diag_format(diag, text, sizeof(text));
    log_event(reload->run->log, EVENT_CONFIG_REFUSED, LOG_NO_FIELDS,
              "the configuration stays as it was: %s", text);
}

static result go_over(struct reload *reload, struct diag *diag)
{
    struct run *run = reload->run;
    void *contexts[ARRAY_LEN(run->modules)];
    for (size_t i = 0; i < run->modules_len; i++)
        contexts[i] = run_context(run, run->modules[i]);
    TRY(config_transaction(run->config, reload->config, contexts, diag));
    ignore(config_diff(run->config, reload->config, log_change, reload)); /* for the log only */
    return OK;
}

static void reload_done(struct io_work *work)
{
    struct reload *reload = CONTAINER_OF(work, struct reload, work);
    struct run *run = reload->run;
    struct diag diag = {0};
    run->reload = NULL;
    if (failed(reload->r)) {
        for (size_t i = 0; i < reload->errors.count; i++)
            refused(reload, &reload->errors.items[i]);
    } else if (failed(go_over(reload, &diag))) {
        refused(reload, &diag);
        config_unref(reload->config);
    } else {
        config_unref(run->config);
        run->config = reload->config;
        log_event(run->log, EVENT_CONFIG_RELOADED,
                  LOG_FIELDS(log_int("changes", reload->changes),
                             log_int("after_restart", reload->waiting)),
                  "the configuration was reloaded");
    }
    mem_free(reload);
    run_notify(run, "READY=1\n");
    if (run->reload_again)
        run_reload(run);
}

void run_reload_drop(struct run *run)
{
    struct reload *reload = steal(&run->reload);
    if (reload && !failed(reload->r))
        config_unref(reload->config);
    mem_free(reload);
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
