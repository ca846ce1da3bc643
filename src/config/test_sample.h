/* Two modules with a key of every type, for config's own tests. */
#pragma once

#include "config/config.h"

#include "base/test_cmocka.h"

#include <stdio.h>

enum sample_format { SAMPLE_AUTO, SAMPLE_TEXT, SAMPLE_JSON };

struct sample_server {
    struct config_address listen, admin;
    int64_t connections_max, threads;
    uint64_t body_max;
    io_time idle_max;
    bool batching;
    double tolerance;
    int format;
    const char *title, *root, *token;
    struct config_texts labels;
};

struct sample_model {
    const char *name, *path;
    int64_t rows;
};

struct sample_target {
    const char *url;
    int64_t weight;
};

struct sample_route {
    const char *name;
    io_time deadline;
    struct config_list targets;
};

struct sample_models {
    struct config_list models, routes;
};

static const char *const sample_formats[] = {"auto", "text", "json", NULL};

static const struct config_key sample_server_keys[] = {
    {.path = "server.listen",
     .flag = "--listen",
     .help = "where requests are taken",
     .fallback = "127.0.0.1:8501",
     .type = CONFIG_ADDRESS,
     .reload = CONFIG_RESTART,
     CONFIG_FIELD(struct sample_server, listen)},
    {.path = "server.admin",
     .help = "where control calls are taken",
     .word = "off",
     .fallback = "off",
     .type = CONFIG_ADDRESS,
     CONFIG_FIELD(struct sample_server, admin)},
    {.path = "server.connections_max",
     .flag = "--connections-max",
     .help = "how many connections may be open at the same time before further ones wait",
     .fallback = "10000",
     .type = CONFIG_INT,
     .min = 1,
     .max = 1000000,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_server, connections_max)},
    {.path = "server.threads",
     .flag = "--threads",
     .help = "event loops",
     .word = "auto",
     .fallback = "auto",
     .type = CONFIG_INT,
     .min = 1,
     .max = 64,
     CONFIG_FIELD(struct sample_server, threads)},
    {.path = "server.body_max",
     .flag = "--body-max",
     .help = "the largest body that is read",
     .fallback = "64MiB",
     .type = CONFIG_SIZE,
     .min = 1024,
     .max = (int64_t)1 << 30,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_server, body_max)},
    {.path = "server.idle_max",
     .help = "how long a connection may be idle",
     .fallback = "1m",
     .word = "never",
     .word_value = TIME_NEVER,
     .type = CONFIG_TIME,
     .reload = CONFIG_DRAIN,
     CONFIG_FIELD(struct sample_server, idle_max)},
    {.path = "batching.enabled",
     .flag = "--batching",
     .help = "whether requests are batched",
     .fallback = "true",
     .type = CONFIG_BOOL,
     CONFIG_FIELD(struct sample_server, batching)},
    {.path = "batching.tolerance",
     .help = "how far batched answers may differ",
     .fallback = "1e-5",
     .type = CONFIG_REAL,
     .max = 1,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_server, tolerance)},
    {.path = "log.format",
     .flag = "--log-format",
     .help = "the form of log lines",
     .fallback = "auto",
     .type = CONFIG_ENUM,
     .choices = sample_formats,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_server, format)},
    {.path = "title",
     .help = "a name for people",
     .type = CONFIG_TEXT,
     .max = 40,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_server, title)},
    {.path = "root",
     .flag = "--a-flag-that-is-long",
     .help = "the folder of all files",
     .type = CONFIG_PATH,
     CONFIG_FIELD(struct sample_server, root)},
    {.path = "token",
     .help = "what callers have to show",
     .type = CONFIG_TEXT,
     .secret = true,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_server, token)},
    {.path = "labels",
     .flag = "--label",
     .help = "a label of this process; may be repeated",
     .type = CONFIG_TEXTS,
     .max = 3,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_server, labels)},
};

static const struct config_key sample_model_keys[] = {
    {.path = "name",
     .help = "its name in requests",
     .type = CONFIG_NAME,
     .required = true,
     CONFIG_FIELD(struct sample_model, name)},
    {.path = "path",
     .help = "where its files lie",
     .type = CONFIG_PATH,
     .required = true,
     .reload = CONFIG_DRAIN,
     CONFIG_FIELD(struct sample_model, path)},
    {.path = "batch.rows",
     .help = "the most rows in a batch",
     .type = CONFIG_INT,
     .min = 1,
     .fallback = "1",
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_model, rows)},
};
static const struct config_section sample_model_section =
    CONFIG_SECTION(struct sample_model, sample_model_keys);

static const struct config_key sample_target_keys[] = {
    {.path = "url",
     .help = "where it is",
     .type = CONFIG_TEXT,
     .required = true,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_target, url)},
    {.path = "weight",
     .help = "its share",
     .type = CONFIG_INT,
     .fallback = "1",
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_target, weight)},
};
static const struct config_section sample_target_section =
    CONFIG_SECTION(struct sample_target, sample_target_keys);

static const struct config_key sample_route_keys[] = {
    {.path = "name",
     .help = "its name",
     .type = CONFIG_NAME,
     CONFIG_FIELD(struct sample_route, name)},
    {.path = "deadline",
     .help = "how long a call may take",
     .type = CONFIG_TIME,
     .fallback = "30s",
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_route, deadline)},
    {.path = "targets",
     .help = "where calls go",
     .type = CONFIG_LIST,
     .section = &sample_target_section,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_route, targets)},
};
static const struct config_section sample_route_section =
    CONFIG_SECTION(struct sample_route, sample_route_keys);

static const struct config_key sample_models_keys[] = {
    {.path = "models",
     .help = "the models to serve",
     .type = CONFIG_LIST,
     .max = 3,
     .section = &sample_model_section,
     .reload = CONFIG_DRAIN,
     CONFIG_FIELD(struct sample_models, models)},
    {.path = "routes",
     .help = "the routes by name",
     .type = CONFIG_MAP,
     .section = &sample_route_section,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct sample_models, routes)},
};

static const struct config_module sample_server_module = {
    .name = "Server", .section = CONFIG_SECTION(struct sample_server, sample_server_keys)};
static const struct config_module sample_models_module = {
    .name = "Models", .section = CONFIG_SECTION(struct sample_models, sample_models_keys)};
static const struct config_module *const sample_modules[] = {&sample_server_module,
                                                             &sample_models_module};

/* A file that sets every key. */
#define SAMPLE_FILE \
    "# a sample\n" \
    "version: 1\n" \
    "server:\n" \
    "  listen: 127.0.0.1:9000\n" \
    "  admin: \"127.0.0.1:9001\"\n" \
    "  connections_max: 0x10\n" \
    "  threads: 2\n" \
    "  body_max: 1MiB\n" \
    "  idle_max: 1500ms\n" \
    "batching: {enabled: false, tolerance: 0.25}\n" \
    "log:\n" \
    "  format: json\n" \
    "title: 'caf\xc3\xa9: open'\n" \
    "root: /srv/weir\n" \
    "token: |\n" \
    "  open sesame\n" \
    "labels: [a, \"b c\"]\n" \
    "models:\n" \
    "  - name: cats\n" \
    "    path: /m/cats\n" \
    "    batch:\n" \
    "      rows: 32\n" \
    "  - {path: /m/dogs, name: dogs}\n" \
    "routes:\n" \
    "  api:\n" \
    "    deadline: 2s\n" \
    "    targets:\n" \
    "      - url: http://a\n" \
    "        weight: 9\n" \
    "      - url: http://b\n" \
    "  web:\n"

static inline result sample_load(const char *yaml, struct config **ret_config,
                                 struct config_errors *errors)
{
    const struct config_source source = {
        .modules = sample_modules,
        .module_count = ARRAY_LEN(sample_modules),
        .file = yaml ? "weir.yaml" : NULL,
        .yaml = span_cstr(yaml),
    };
    return config_load(&source, ret_config, errors);
}
