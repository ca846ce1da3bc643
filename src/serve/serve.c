#include "serve/serve.h"

#include "base/alloc.h"
#include "serve/serve_private.h"

#include <stdio.h>

/* ---- configuration ---- */

static const struct config_key keys[] = {
    {.path = "models.path",
     .help = "a model file, a folder of NAME.onnx, or of MODEL/VERSION/model.onnx",
     .type = CONFIG_PATH,
     CONFIG_FIELD(struct serve_config, path)},
    {.path = "models.name",
     .flag = "--name",
     .common = true,
     .help = "the model's name, where the path is a single file",
     .type = CONFIG_NAME,
     CONFIG_FIELD(struct serve_config, name)},
    {.path = "models.max_batch_size",
     .flag = "--max-batch-size",
     .common = true,
     .help = "rows that may run together; 1 is no batching",
     .fallback = "1",
     .min = 1,
     .max = 4096,
     .type = CONFIG_INT,
     CONFIG_FIELD(struct serve_config, batch_rows_max)},
    {.path = "models.max_queue_delay",
     .flag = "--max-queue-delay",
     .common = true,
     .help = "how long a row may wait for others to run with",
     .fallback = "0s",
     .max = 10 * IO_SEC,
     .type = CONFIG_TIME,
     CONFIG_FIELD(struct serve_config, batch_delay_max)},
    {.path = "models.queue_depth_max",
     .flag = "--queue-depth-max",
     .help = "rows that may wait for one version; beyond, 429",
     .fallback = "1024",
     .min = 1,
     .max = 1000000,
     .type = CONFIG_INT,
     CONFIG_FIELD(struct serve_config, queue_rows_max)},
    {.path = "models.queue_bytes_max",
     .help = "bytes that may wait for one version; beyond, 429",
     .fallback = "512MiB",
     .min = 4096,
     .type = CONFIG_SIZE,
     CONFIG_FIELD(struct serve_config, queue_bytes_max)},
    {.path = "models.slots",
     .flag = "--slots",
     .help = "models running at once; \"auto\" is one a core",
     .fallback = "auto",
     .word = "auto",
     .max = 256,
     .type = CONFIG_INT,
     CONFIG_FIELD(struct serve_config, slots)},
    {.path = "models.backends_path",
     .flag = "--backends-path",
     .help = "where backend plug-ins lie; default: with the program",
     .type = CONFIG_PATH,
     CONFIG_FIELD(struct serve_config, backends_path)},
    {.path = "models.engines_path",
     .flag = "--engines-path",
     .help = "where the engines' own libraries lie; default: the same",
     .type = CONFIG_PATH,
     CONFIG_FIELD(struct serve_config, engines_path)},
};

const struct config_key *const serve_path_key = &keys[0];

static const struct config_module serve_module = {
    .name = "models",
    .section = CONFIG_SECTION(struct serve_config, keys),
};

/* ---- life ---- */

static const struct route routes[] = {
    {ROUTE_METHOD(METHOD_GET), ROUTE_EXACT, "/", "page", page_start},
    {ROUTE_ANY, ROUTE_EXACT, "/v2", "v2", oip_start},
    {ROUTE_ANY, ROUTE_PREFIX, "/v2/", "v2", oip_start},
    {ROUTE_ANY, ROUTE_PREFIX_NOCASE, "/v1/", "v1", tfs_start},
};

static bool is_there(struct serve *serve, const struct text *path)
{
    struct file_info info;
    return !failed(text_result(path)) &&
           !failed(file_stat(run_process(serve->run), text_cstr(path), &info, NULL));
}

/* What was configured, else `name` beside the program (a build's folder), else where an
 * installation has it, seen from the program, so that it may be moved. */
static result plug_ins(struct serve *serve, const char *configured, const char *name,
                       struct text *path)
{
    text_init(path, 4096);
    if (configured) {
        text_str(path, configured);
        return text_result(path);
    }
    TRY(process_program_folder(run_process(serve->run), path));
    size_t folder = path->len;
    text_printf(path, "/%s", name);
    if (is_there(serve, path))
        return OK;
    struct text installed;
    text_init(&installed, 4096);
    text_append(&installed, span_first(text_span(path), folder));
    text_printf(&installed, "/../" WEIR_LIBDIR "/weir/%s", name);
    text_release(path);
    *path = installed;
    return text_result(path);
}

static result new_models(struct serve *serve, struct diag *diag)
{
    const struct serve_config *config = run_config(serve->run, &serve_module);
    result r = plug_ins(serve, config->backends_path, "backends", &serve->backends);
    if (!failed(r))
        r = plug_ins(serve, config->engines_path, "engines", &serve->engines);
    if (failed(r))
        return diag_fail(diag, (enum err)r.code, "cannot tell where the plug-ins are: %s",
                         err_text((enum err)r.code));
    struct model_set_options options = {
        .process = run_process(serve->run),
        .metrics = run_metrics(serve->run),
        .log = run_log(serve->run),
        .slab = run_slab(serve->run),
        .backends_path = text_cstr(&serve->backends),
        .engines_path = text_cstr(&serve->engines),
        .batch_rows_max = (uint32_t)config->batch_rows_max,
        .batch_delay_max = config->batch_delay_max,
        .queue_rows_max = (uint32_t)config->queue_rows_max,
        .queue_bytes_max = config->queue_bytes_max,
        .slots = (int)config->slots,
    };
    struct file_info info;
    text_init(&serve->path, 4096);
    text_str(&serve->path, config->path);
    TRY(text_result(&serve->path));
    TRY(file_stat(options.process, config->path, &info, diag));
    serve->path_is_file = info.kind == FILE_REGULAR;
    TRY(model_set_new(&options, &serve->models, diag));
    return model_set_scan(serve->models, config->path, config->name, diag);
}

static void serve_free(void *role)
{
    struct serve *serve = role;
    if (!serve)
        return;
    model_set_free(serve->models);
    text_release(&serve->backends);
    text_release(&serve->engines);
    text_release(&serve->path);
    mem_free(serve);
}

static void serve_stop(void *role)
{
    struct serve *serve = role;
    model_set_stop(serve->models);
}

/* For `?verbose` only: a model that cannot be loaded keeps no other from being served. */
static bool check_models(void *arg, struct loop *loop, struct text *text)
{
    struct serve *serve = arg;
    int count = catalog_count(serve->models, loop), available = 0;
    for (int i = 0; i < count; i++)
        available += version_state(catalog_at(serve->models, loop, i)) == MODEL_AVAILABLE;
    text_printf(text, "%d of %d available", available, count);
    return true;
}

static result serve_start(struct run *run, void **ret_role, struct route_table *ret_routes,
                          struct diag *diag)
{
    struct serve *serve = MEM_NEW(struct serve);
    if (!serve)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the role");
    serve->run = run;
    const struct serve_config *config = run_config(run, &serve_module);
    result r = config->path
                   ? new_models(serve, diag)
                   : diag_fail(diag, ERR_ARGUMENT,
                               "no model is named: expected `weir serve PATH`, or `models: "
                               "{path: ...}` in the file");
    if (failed(r)) {
        serve_free(serve);
        return r;
    }
    run_add_check(run, "models", check_models, serve);
    *ret_role = serve;
    *ret_routes = (struct route_table){routes, ARRAY_LEN(routes), serve, NULL};
    return OK;
}

/* A single file that was named and cannot be loaded ends the start; of a folder, the
 * other models are served. */
static void settled(void *arg)
{
    struct serve *serve = arg;
    struct loop *loop = process_loop(run_process(serve->run), 0);
    struct model_version *only = serve->path_is_file ? catalog_at(serve->models, loop, 0) : NULL;
    if (!only || version_state(only) == MODEL_AVAILABLE) {
        run_ready(serve->run);
        return;
    }
    struct span why = span_cstr(version_error_text(only)), path = text_span(&serve->path);
    char text[1024];
    if (span_search(why, path) < why.len) /* it names the file already */
        path = SPAN("the model");
    snprintf(text, sizeof(text), "cannot load %.*s: %.*s", SPAN_FMT(path), SPAN_FMT(why));
    run_fail(serve->run, version_error(only), text);
}

static void serve_load(void *role)
{
    struct serve *serve = role;
    model_set_load(serve->models, settled, serve);
}

static const struct config_module *const modules[] = {&serve_module};

const struct run_role serve_role = {
    .name = "serve",
    .modules = modules,
    .modules_len = ARRAY_LEN(modules),
    .start = serve_start,
    .load = serve_load,
    .stop = serve_stop,
    .free = serve_free,
};
