/* What can be configured of every process, and what a reload of it changes. */
#include "run/run_private.h"

#include <stdio.h>

static const struct config_key run_keys[] = {
    {.path = "listen",
     .flag = "--listen",
     .common = true,
     .help = "where callers reach it",
     .fallback = "127.0.0.1:8080",
     .type = CONFIG_ADDRESS,
     CONFIG_FIELD(struct run_config, listen)},
    {.flag = "--port",
     .common = true,
     .help = "the port of `listen`; 0 takes any free one",
     .fallback = "keep",
     .word = "keep",
     .word_value = -1,
     .max = 65535,
     .type = CONFIG_INT,
     CONFIG_FIELD(struct run_config, port)},
    {.path = "admin_socket",
     .flag = "--admin-socket",
     .help = "UNIX socket of the admin listener; \"off\" for none",
     .fallback = "auto",
     .type = CONFIG_TEXT,
     CONFIG_FIELD(struct run_config, admin_socket)},
    {.path = "lame_duck",
     .flag = "--lame-duck",
     .help = "after TERM: accept for so long while not ready",
     .fallback = "0s",
     .type = CONFIG_TIME,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct run_config, lame_duck)},
    {.path = "drain_timeout",
     .flag = "--drain-timeout",
     .common = true,
     .help = "then wait so long for open work",
     .fallback = "30s",
     .type = CONFIG_TIME,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct run_config, drain_timeout)},
    {.path = "memory_max",
     .help = "memory for bodies, tensors and batches",
     .fallback = "2GiB",
     .type = CONFIG_SIZE,
     .min = 1 << 20,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct run_config, memory_max)},
};

/* As much as is kept free of what memory_max allows. */
static uint64_t keep_of(uint64_t memory_max)
{
    return MIN(memory_max / 8, (uint64_t)64 << 20);
}

static result run_prepare(void *module, const void *old, const void *new_, void **ret_plan,
                          struct diag *diag)
{
    *ret_plan = (void *)new_;
    return OK;
}

static void run_commit(void *module, void *plan)
{
    struct run *run = module;
    const struct run_config *config = plan;
    slab_host_set_max(run->slab, config->memory_max, keep_of(config->memory_max));
}

const struct config_module run_module = {
    .name = "process",
    .section = CONFIG_SECTION(struct run_config, run_keys),
    .prepare = run_prepare,
    .commit = run_commit,
};

static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const formats[] = {"auto", "text", "json", NULL};

static const struct config_key log_keys[] = {
    {.path = "log.level",
     .flag = "--log-level",
     .common = true,
     .help = "what is logged",
     .fallback = "info",
     .type = CONFIG_ENUM,
     .choices = levels,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct log_config, level)},
    {.path = "log.format",
     .flag = "--log-format",
     .help = "\"auto\" is text on a terminal, else JSON",
     .fallback = "auto",
     .type = CONFIG_ENUM,
     .choices = formats,
     CONFIG_FIELD(struct log_config, format)},
    {.path = "log.path",
     .flag = "--log-file",
     .help = "a file instead of standard error",
     .type = CONFIG_PATH,
     CONFIG_FIELD(struct log_config, path)},
    {.path = "log.crash_folder",
     .help = "a folder for crash reports, beside standard error",
     .type = CONFIG_PATH,
     CONFIG_FIELD(struct log_config, crash_folder)},
};

static void log_commit(void *module, void *plan)
{
    struct run *run = module;
    const struct log_config *config = plan;
    log_set_level(run->log, (enum log_level)config->level);
}

const struct config_module log_module = {
    .name = "log",
    .section = CONFIG_SECTION(struct log_config, log_keys),
    .prepare = run_prepare,
    .commit = log_commit,
};

/* Modules that every role has. */
static const struct config_module *const run_modules[] = {&run_module, &log_module, &server_module,
                                                          &server_tls_module};

struct slab *run_slab_new(const struct run_config *config)
{
    return slab_host_new(config->memory_max, keep_of(config->memory_max));
}

void run_modules_of(const struct run_role *role, struct run_modules *ret_modules)
{
    size_t len = 0;
    ASSERT(role->modules_len + ARRAY_LEN(run_modules) <= ARRAY_LEN(ret_modules->items));
    for (size_t i = 0; i < ARRAY_LEN(run_modules); i++)
        ret_modules->items[len++] = run_modules[i];
    for (size_t i = 0; i < role->modules_len; i++)
        ret_modules->items[len++] = role->modules[i];
    ret_modules->len = len;
}

result run_config_load(const struct run_options *options, const struct run_modules *modules,
                       struct config **ret_config, struct config_errors *errors)
{
    struct text yaml;
    text_init(&yaml, CONFIG_FILE_BYTES_MAX);
    result r = OK;
    errors->count = 0;
    errors->more = false;
    errors->items[0] = (struct diag){0};
    if (options->config_path)
        r = file_read(options->process, options->config_path, &yaml, &errors->items[0]);
    if (failed(r)) {
        r = diag_fail(&errors->items[0], (enum err)r.code, "cannot read %s", options->config_path);
        errors->count = 1;
    } else {
        struct config_source source = {
            .modules = modules->items,
            .module_count = modules->len,
            .file = options->config_path,
            .yaml = text_span(&yaml),
            .settings = options->settings,
            .setting_count = options->settings_len,
            .process = options->process,
            .release = WEIR_VERSION,
            .allow_deprecated = options->allow_deprecated,
            .strict = options->strict,
        };
        r = config_load(&source, ret_config, errors);
    }
    text_release(&yaml);
    return r;
}

/* The files that this key names are read with the configuration. */
static void about_tls(struct diag *diag)
{
    snprintf(diag->key, sizeof(diag->key), "server.tls");
}

static void tls_is_odd(void *config, const char *text)
{
    struct diag warning = {.code = ERR_ARGUMENT};
    about_tls(&warning);
    snprintf(warning.text, sizeof(warning.text), "%s", text);
    config_warn(config, &warning);
}

result run_config_read(struct run *run, struct config **ret_config, struct config_errors *errors)
{
    struct config *config;
    struct diag *diag = &errors->items[0];
    TRY(run_config_load(run->options, &run->modules, &config, errors));
    *diag = (struct diag){0};
    result r = server_tls_load(run->tls, config_of(config, &server_tls_module),
                               &(struct server_tls_warn){tls_is_odd, config}, diag);
    if (failed(r)) {
        about_tls(diag);
        errors->count = 1;
        config_unref(config);
        return r;
    }
    *ret_config = config;
    return OK;
}
