/* The fixture's TLS: certificates in files, of the engine that the process has. */
#include "net/test_fixture.h"

#include "io/openssl/test_certificates.h"
#include "io/sim/sim.h"
#include "io/test_folder.h"

#include <stdlib.h>

struct pem {
    char cert[4096], key[4096];
};

static void put(struct fx *fx, const char *name, const char *text, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/%s", fx->folder, name);
    if (fx->options.sim) {
        sim_file_put(fx->process, ret_path, span_cstr(text));
        return;
    }
    FILE *file = fopen(ret_path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

/* One for the server and one that has signed it. */
static void make(struct fx *fx, struct pem *authority, struct pem *server)
{
    if (fx->options.sim) {
        snprintf(authority->cert, sizeof(authority->cert), "ca: authority\n");
        snprintf(server->cert, sizeof(server->cert),
                 "name: server.test\nissuer: authority\nkey: 1\n");
        snprintf(server->key, sizeof(server->key), "key: 1\n%s",
                 fx->options.seed % 2 ? "slow: yes\n" : "");
        return;
    }
    struct test_certificate what = {.name = "authority"};
    assert_true(
        test_certificate_make(&what, authority->cert, authority->key, sizeof(authority->key)));
    what = (struct test_certificate){
        .name = "server.test", .issuer_cert = authority->cert, .issuer_key = authority->key};
    assert_true(test_certificate_make(&what, server->cert, server->key, sizeof(server->key)));
}

void fx_tls_make(struct fx *fx)
{
    struct pem authority, server;
    char cert[64], key[64];
    struct diag diag = {0};
    snprintf(fx->folder, sizeof(fx->folder), "/tmp/weir-net-XXXXXX");
    if (!fx->options.sim)
        assert_non_null(mkdtemp(fx->folder));
    make(fx, &authority, &server);
    put(fx, "cert", server.cert, cert, sizeof(cert));
    put(fx, "key", server.key, key, sizeof(key));
    struct server_tls_config config = {
        .certificate = cert, .key = key, .handshake_timeout = 10 * IO_SEC};
    fx->server_tls = server_tls_new(fx->process);
    assert_non_null(fx->server_tls);
    if (failed(server_tls_load(fx->server_tls, &config, &(struct server_tls_warn){0}, &diag)))
        fail_msg("%s", diag.text);
    assert_int_equal(
        metrics_define(fx->metrics, server_tls_metrics, server_tls_metrics_len, NULL).code,
        ERR_NONE);
    server_tls_begin(fx->server_tls, NULL, fx->metrics);
    struct tls_options options = {.ca.text = span_cstr(authority.cert)};
    if (failed(tls_client_new(fx->process, &options, &fx->client_tls, &diag)))
        fail_msg("%s", diag.text);
}

void fx_tls_release(struct fx *fx)
{
    server_tls_free(fx->server_tls);
    tls_context_unref(fx->client_tls);
    if (fx->folder[0] && !fx->options.sim)
        assert_int_equal(test_folder_remove(fx->folder), 0);
}
