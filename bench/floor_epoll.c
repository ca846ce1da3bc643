/* The floor under an HTTP server's cost: epoll, one read and one write a request.
 *
 *   bench-floor-epoll PORT ANSWER BODY_BYTES [BUSY_NS]
 *
 * Listens on 127.0.0.1:PORT. A request is a head, which ends at an empty line, and then
 * BODY_BYTES bytes; each is answered with the bytes of the file ANSWER as they stand, after
 * BUSY_NS nanoseconds of doing nothing useful, where a model would run.
 * Nothing is parsed beyond that, nothing is checked, no time is kept: whatever a server
 * costs above this, it pays for being one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 20000
#define READ_MAX 65536
#define ANSWER_MAX 65536
#define EVENTS_MAX 256

/* What a connection has to remember between two reads. */
struct connection {
    unsigned matched; /* bytes of "\r\n\r\n" at the end of what came of a head */
    bool in_body;
    size_t body_left;
};

struct floor {
    int epoll, listener;
    size_t body_bytes, answer_len;
    int64_t busy_ns;
    char answer[ANSWER_MAX];
    char read[READ_MAX];
    struct connection connections[CONNECTIONS_MAX];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static const char *after_head(struct connection *c, const char *at, const char *end)
{
    static const char mark[] = "\r\n\r\n";
    if (c->matched == 0) {
        const char *found = memmem(at, (size_t)(end - at), mark, 4);
        if (found)
            return found + 4;
        at = end - at > 3 ? end - 3 : at;
    }
    for (; at < end; at++) {
        c->matched = *at == mark[c->matched] ? c->matched + 1 : *at == '\r';
        if (c->matched == 4) {
            c->matched = 0;
            return at + 1;
        }
    }
    return NULL;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void busy(int64_t ns)
{
    if (ns == 0)
        return;
    for (int64_t end = now_ns() + ns; now_ns() < end;)
        continue;
}

static void serve(struct floor *f, int fd)
{
    struct connection *c = &f->connections[fd];
    ssize_t n = read(fd, f->read, READ_MAX);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(fd);
        return;
    }
    const char *at = f->read, *end = f->read + n;
    while (at < end) {
        if (!c->in_body) {
            at = after_head(c, at, end);
            if (!at)
                return;
            c->in_body = true;
            c->body_left = f->body_bytes;
        }
        size_t here = (size_t)(end - at) < c->body_left ? (size_t)(end - at) : c->body_left;
        at += here;
        c->body_left -= here;
        if (c->body_left)
            return;
        c->in_body = false;
        busy(f->busy_ns);
        if (write(fd, f->answer, f->answer_len) != (ssize_t)f->answer_len) {
            close(fd);
            return;
        }
    }
}

static void accept_all(struct floor *f)
{
    int fd, on = 1;
    while ((fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        f->connections[fd] = (struct connection){0};
        if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

static void answer_read(struct floor *f, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    f->answer_len = fread(f->answer, 1, ANSWER_MAX, file);
    fclose(file);
}

static void start(struct floor *f, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN};
    int on = 1;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (f->listener < 0 || f->epoll < 0)
        die("socket");
    setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(f->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(f->listener, SOMAXCONN) < 0)
        die("listen");
    event.data.fd = f->listener;
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, f->listener, &event) < 0)
        die("epoll_ctl");
}

int main(int argc, char **argv)
{
    static struct floor f;
    struct epoll_event events[EVENTS_MAX];
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: bench-floor-epoll PORT ANSWER BODY_BYTES [BUSY_NS]\n");
        return 2;
    }
    answer_read(&f, argv[2]);
    f.body_bytes = strtoul(argv[3], NULL, 10);
    f.busy_ns = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
    start(&f, (uint16_t)strtoul(argv[1], NULL, 10));
    for (;;) {
        int n = epoll_wait(f.epoll, events, EVENTS_MAX, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == f.listener)
                accept_all(&f);
            else
                serve(&f, events[i].data.fd);
        }
    }
}
