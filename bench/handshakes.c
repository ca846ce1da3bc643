/* Makes TLS 1.3 connections to 127.0.0.1:PORT, one after the other, for so many seconds:
 * connect, handshake, one GET that asks for PATH and for the connection's end, read to the
 * end. With "resumed", each but the first takes up the session of the one before.
 *
 *   bench-handshakes PORT PATH SECONDS full|resumed
 *
 * Prints how many connections it made and how many resumed a session. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static SSL_SESSION *kept;

static int keep(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* 0 or 1: whether a session was resumed; -1: it failed. */
static int once(SSL_CTX *ctx, int port, const char *request, int resume)
{
    char answer[16384];
    int fd = dial(port), n, total = 0, resumed = -1;
    SSL *ssl = SSL_new(ctx);
    if (fd >= 0 && ssl && SSL_set_fd(ssl, fd) == 1) {
        if (resume && kept)
            SSL_set_session(ssl, kept);
        if (SSL_connect(ssl) == 1 && SSL_write(ssl, request, (int)strlen(request)) > 0) {
            while ((n = SSL_read(ssl, answer, sizeof(answer))) > 0)
                total += n;
            SSL_shutdown(ssl);
            resumed = total > 0 ? SSL_session_reused(ssl) : -1;
        }
    }
    SSL_free(ssl);
    if (fd >= 0)
        close(fd);
    return resumed;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    char request[1024];
    if (argc != 5) {
        fprintf(stderr, "usage: bench-handshakes PORT PATH SECONDS full|resumed\n");
        return 64;
    }
    snprintf(request, sizeof(request),
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", argv[2]);
    int port = (int)strtol(argv[1], NULL, 10), resume = strcmp(argv[4], "resumed") == 0;
    double seconds = strtod(argv[3], NULL), from = now();
    long count = 0, resumed = 0;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep);
    while (now() - from < seconds) {
        int r = once(ctx, port, request, resume);
        if (r < 0) {
            fprintf(stderr, "bench-handshakes: connection %ld failed\n", count);
            return 1;
        }
        count++;
        resumed += r;
    }
    printf("%ld connections, %ld resumed, %.3f seconds\n", count, resumed, now() - from);
    return 0;
}
