/* TLS of a server: its keys in the configuration, the context that they make, reload.
 *
 * Certificates are read where blocking is allowed: at boot and by the job of a reload
 * (`server_tls_load`). The context made there waits until the reload's transaction commits
 * it; from then on what is accepted gets it. Connections keep the one they began with, so a
 * reload drops none, and sessions are resumed across it, as the tickets' keys stay.
 *
 * Each HUP reads the files anew, whether or not their names have changed.
 *
 * Threads: `server_tls_load` at boot or in one job at a time; all else on loop 0.
 */
#pragma once

#include "config/schema.h"
#include "io/tls.h"
#include "obs/metrics.h"

struct log;
struct server_tls;

struct server_tls_pair {
    const char *certificate, *key;
};

struct server_tls_config {
    const char *certificate, *key;   /* for one certificate: the default */
    struct config_list certificates; /* of server_tls_pair: more, by SNI */
    const char *client_ca;
    int client_auth; /* enum tls_client_auth */
    int min_version; /* enum tls_version */
    io_time handshake_timeout;
};
/* Its reload acts on a `struct server_tls`. */
extern const struct config_module server_tls_module;
extern const struct metric_def server_tls_metrics[];
extern const size_t server_tls_metrics_len;

/* NULL without memory. */
struct server_tls *server_tls_new(struct process *process);
/* NULL is allowed. */
void server_tls_free(struct server_tls *tls);
/* Told of what is odd, but valid. `fn` may be NULL. */
struct server_tls_warn {
    void (*fn)(void *arg, const char *text);
    void *arg;
};
/* Reads the certificates, or notes that there are none. On failure nothing has changed. */
result server_tls_load(struct server_tls *tls, const struct server_tls_config *config,
                       const struct server_tls_warn *warn, struct diag *diag);
/* Boot, after the first load, which it commits. Afterwards, certificates that are about to
 * expire are logged once a day. */
void server_tls_begin(struct server_tls *tls, struct log *log, struct metrics *metrics);

/* A reference of the context for a connection that comes now; NULL: no TLS. */
struct tls_context *server_tls_context(struct server_tls *tls);
io_time server_tls_timeout(const struct server_tls *tls);
