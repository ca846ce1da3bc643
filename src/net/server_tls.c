#include "net/server_tls.h"

#include "base/alloc.h"
#include "obs/log.h"

/* From here on before its end, a certificate is warned of once a day. */
#define EXPIRY_NEAR (14 * 24 * 3600 * IO_SEC)
#define EXPIRY_LOOK (24 * 3600 * IO_SEC)

/* What a load has made: all that a commit changes. */
struct loaded {
    struct tls_context *context; /* NULL: no TLS */
    io_time timeout;
};

struct server_tls {
    struct process *process;
    struct tls_tickets *tickets;
    struct log *log; /* NULL until `server_tls_begin` */
    struct metrics *metrics;
    struct loaded *loaded; /* not committed */
    struct tls_context *context;
    io_time timeout;
    struct io_timer timer;
    struct series *expiry[TLS_CERTIFICATES_MAX];
};

static const char *const expiry_labels[] = {"certificate", "name", NULL};

const struct metric_def server_tls_metrics[] = {
    {"weir_tls_certificate_expiry_timestamp_seconds", "When the certificate expires, since 1970.",
     METRIC_GAUGE, UNIT_SECONDS, expiry_labels},
};
const size_t server_tls_metrics_len = ARRAY_LEN(server_tls_metrics);

static void loaded_free(struct loaded *loaded)
{
    if (!loaded)
        return;
    tls_context_unref(loaded->context);
    mem_free(loaded);
}

/* ---- life ---- */

struct server_tls *server_tls_new(struct process *process)
{
    struct server_tls *tls = MEM_NEW(struct server_tls);
    if (!tls)
        return NULL;
    tls->process = process;
    tls->tickets = tls_tickets_new(process);
    if (!tls->tickets) {
        mem_free(tls);
        return NULL;
    }
    return tls;
}

static void expiry_put(struct server_tls *tls)
{
    for (size_t i = 0; i < ARRAY_LEN(tls->expiry); i++) {
        series_put(tls->expiry[i]);
        tls->expiry[i] = NULL;
    }
}

void server_tls_free(struct server_tls *tls)
{
    if (!tls)
        return;
    timer_stop(process_loop(tls->process, 0), &tls->timer);
    expiry_put(tls);
    loaded_free(tls->loaded);
    tls_context_unref(tls->context);
    tls_tickets_unref(tls->tickets);
    mem_free(tls);
}

struct tls_context *server_tls_context(struct server_tls *tls)
{
    return tls && tls->context ? tls_context_ref(tls->context) : NULL;
}

io_time server_tls_timeout(const struct server_tls *tls)
{
    return tls->timeout;
}

/* ---- load ---- */

/* All certificates, the single one first. */
static result pairs_of(const struct server_tls_config *config, struct tls_certificate *pairs,
                       size_t *ret_len, struct diag *diag)
{
    const struct server_tls_pair *more = config->certificates.items;
    size_t len = 0;
    if (!config->certificate != !config->key)
        return diag_fail(diag, ERR_ARGUMENT, "expected %s, got none",
                         config->key ? "a certificate for the key" : "a key for the certificate");
    if (config->certificate)
        pairs[len++] =
            (struct tls_certificate){{.path = config->certificate}, {.path = config->key}};
    for (size_t i = 0; i < config->certificates.count && len < TLS_CERTIFICATES_MAX; i++)
        pairs[len++] =
            (struct tls_certificate){{.path = more[i].certificate}, {.path = more[i].key}};
    *ret_len = len;
    return OK;
}

static result context_load(struct server_tls *tls, const struct server_tls_config *config,
                           const struct server_tls_warn *warn, struct loaded *loaded,
                           struct diag *diag)
{
    static const char *const alpn[] = {"http/1.1", NULL};
    struct tls_certificate pairs[TLS_CERTIFICATES_MAX];
    struct tls_options options = {
        .certificates = pairs,
        .ca.path = config->client_ca,
        .client_auth = (enum tls_client_auth)config->client_auth,
        .min_version = (enum tls_version)config->min_version,
        .alpn = alpn,
        .tickets = tls->tickets,
        .warn = warn->fn,
        .warn_arg = warn->arg,
    };
    TRY(pairs_of(config, pairs, &options.certificates_len, diag));
    if (options.certificates_len == 0 && options.client_auth != TLS_CLIENT_OFF)
        return diag_fail(diag, ERR_ARGUMENT,
                         "client_auth: expected a certificate of the server, too");
    if (options.certificates_len == 0)
        return OK;
    if (config->client_ca && options.client_auth == TLS_CLIENT_OFF && warn->fn)
        warn->fn(warn->arg, "client_ca has no effect while client_auth is off");
    return tls_server_new(tls->process, &options, &loaded->context, diag);
}

result server_tls_load(struct server_tls *tls, const struct server_tls_config *config,
                       const struct server_tls_warn *warn, struct diag *diag)
{
    struct loaded *loaded = MEM_NEW(struct loaded);
    if (!loaded)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for certificates");
    loaded->timeout = config->handshake_timeout;
    result r = context_load(tls, config, warn, loaded, diag);
    if (failed(r)) {
        loaded_free(loaded);
        return r;
    }
    loaded_free(tls->loaded);
    tls->loaded = loaded;
    return OK;
}

/* ---- what is committed ---- */

static void warn_of_expiry(struct server_tls *tls, const struct tls_certificate_info *info)
{
    io_time left = info->not_after - process_wall(tls->process);
    if (left > EXPIRY_NEAR)
        return;
    log_event(tls->log, EVENT_TLS_CERTIFICATE_EXPIRES,
              LOG_FIELDS(log_str("certificate", info->path), log_str("name", info->name),
                         log_int("days", left / (24 * 3600 * IO_SEC))),
              left > 0 ? "the certificate %s expires soon" : "the certificate %s has expired",
              info->path);
}

static void look_at_expiry(struct server_tls *tls)
{
    for (size_t i = 0; tls->context && i < tls_context_certificates(tls->context); i++) {
        struct tls_certificate_info info;
        tls_context_certificate(tls->context, i, &info);
        warn_of_expiry(tls, &info);
    }
}

static void expiry_set(struct server_tls *tls)
{
    expiry_put(tls);
    for (size_t i = 0; tls->context && i < tls_context_certificates(tls->context); i++) {
        struct tls_certificate_info info;
        tls_context_certificate(tls->context, i, &info);
        struct span values[] = {span_cstr(info.path), span_cstr(info.name)};
        tls->expiry[i] = metrics_series(tls->metrics, &server_tls_metrics[0], values, 2);
        gauge_set(tls->expiry[i], (double)info.not_after / (double)IO_SEC);
    }
}

static void take_over(struct server_tls *tls, struct loaded *loaded)
{
    tls_context_unref(tls->context);
    tls->context = steal(&loaded->context);
    tls->timeout = loaded->timeout;
    loaded_free(loaded);
    expiry_set(tls);
    look_at_expiry(tls);
}

static void on_timer(struct io_timer *timer)
{
    struct server_tls *tls = CONTAINER_OF(timer, struct server_tls, timer);
    struct loop *loop = process_loop(tls->process, 0);
    look_at_expiry(tls);
    timer_start(loop, timer, loop_now(loop) + EXPIRY_LOOK);
}

void server_tls_begin(struct server_tls *tls, struct log *log, struct metrics *metrics)
{
    tls->log = log;
    tls->metrics = metrics;
    if (tls->loaded)
        take_over(tls, steal(&tls->loaded));
    tls->timer.fired = on_timer;
    timer_start(process_loop(tls->process, 0), &tls->timer,
                process_clock(tls->process) + EXPIRY_LOOK);
}

static result prepare(void *module, const void *old, const void *new_, void **ret_plan,
                      struct diag *diag)
{
    struct server_tls *tls = module;
    ASSERT(tls->loaded); /* by whoever has read the configuration */
    *ret_plan = steal(&tls->loaded);
    return OK;
}

static void commit(void *module, void *plan)
{
    take_over(module, plan);
}

static void abort_plan(void *module, void *plan)
{
    loaded_free(plan);
}

/* ---- keys ---- */

static const char *const auth_choices[] = {[TLS_CLIENT_OFF] = "off",
                                           [TLS_CLIENT_OPTIONAL] = "optional",
                                           [TLS_CLIENT_REQUIRED] = "required",
                                           NULL};
static const char *const version_choices[] = {[TLS_1_2] = "1.2", [TLS_1_3] = "1.3", NULL};

static const struct config_key pair_keys[] = {
    {.path = "certificate",
     .help = "a PEM file: the certificate and its chain, leaf first",
     .type = CONFIG_PATH,
     .required = true,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_pair, certificate)},
    {.path = "key",
     .help = "a PEM file: its private key, without a passphrase",
     .type = CONFIG_PATH,
     .required = true,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_pair, key)},
};
static const struct config_section pair_section = CONFIG_SECTION(struct server_tls_pair, pair_keys);

static const struct config_key keys[] = {
    {.path = "server.tls.certificate",
     .flag = "--tls-certificate",
     .help = "serve over TLS: a PEM file of the certificate and its chain",
     .type = CONFIG_PATH,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_config, certificate)},
    {.path = "server.tls.key",
     .flag = "--tls-key",
     .help = "its private key, a PEM file without a passphrase",
     .type = CONFIG_PATH,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_config, key)},
    {.path = "server.tls.certificates",
     .help = "more certificates with their keys, chosen by SNI",
     .max = TLS_CERTIFICATES_MAX - 1,
     .type = CONFIG_LIST,
     .section = &pair_section,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_config, certificates)},
    {.path = "server.tls.client_ca",
     .help = "a PEM file of those who may sign clients' certificates",
     .type = CONFIG_PATH,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_config, client_ca)},
    {.path = "server.tls.client_auth",
     .help = "whether clients have to prove who they are",
     .fallback = "off",
     .type = CONFIG_ENUM,
     .choices = auth_choices,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_config, client_auth)},
    {.path = "server.tls.min_version",
     .help = "the oldest TLS that is spoken",
     .fallback = "1.2",
     .type = CONFIG_ENUM,
     .choices = version_choices,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_config, min_version)},
    {.path = "server.tls.handshake_timeout",
     .help = "from the connection to the end of its handshake",
     .fallback = "10s",
     .min = IO_MS,
     .type = CONFIG_TIME,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_tls_config, handshake_timeout)},
};

const struct config_module server_tls_module = {
    .name = "tls",
    .section = CONFIG_SECTION(struct server_tls_config, keys),
    .prepare = prepare,
    .commit = commit,
    .abort = abort_plan,
};
