/* How long a small request waits while something else goes on.
 *
 *   bench-ping PORT PATH EVERY_US
 *
 * Sends `GET PATH` over one keep-alive connection to 127.0.0.1:PORT every EVERY_US
 * microseconds (or at once, when the last answer took longer), until its standard input
 * ends. Then prints one line: how many were answered, and the median, the 99th percentile
 * and the longest time from sending to the answer's first byte, in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PINGS_MAX 1000000

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void die(const char *what)
{
    fprintf(stderr, "bench-ping: %s: %s\n", what, errno ? strerror(errno) : "the server closed");
    exit(1);
}

static int connected(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static double ping(int fd, const char *request, size_t len)
{
    char answer[65536];
    double begin = now_us();
    errno = 0;
    if (send(fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
        die("send");
    if (recv(fd, answer, sizeof(answer), 0) <= 0)
        die("receive");
    if (memcmp(answer, "HTTP/1.1 200", 12) != 0) {
        errno = EPROTO;
        die("expected an answer of 200");
    }
    return now_us() - begin;
}

/* Waits until `until`; true once standard input has ended. */
static int wait_until(double until)
{
    double left = until - now_us();
    struct timespec pause = {0, left > 0 ? (long)(left * 1e3) : 0};
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return ppoll(&input, 1, &pause, NULL) > 0;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static float took[PINGS_MAX];
    char request[512];
    size_t len = 0;
    if (argc != 4) {
        fprintf(stderr, "usage: bench-ping PORT PATH EVERY_US\n");
        return 2;
    }
    double every = strtod(argv[3], NULL);
    int fd = connected((uint16_t)strtoul(argv[1], NULL, 10));
    int size =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", argv[2]);
    prctl(PR_SET_TIMERSLACK, 1000);
    double next = now_us();
    do {
        took[len++] = (float)ping(fd, request, (size_t)size);
        next = next + every > now_us() ? next + every : now_us();
    } while (len < PINGS_MAX && !wait_until(next));
    qsort(took, len, sizeof(took[0]), by_value);
    printf("%zu %.1f %.1f %.1f\n", len, (double)took[len / 2],
           (double)took[(len - 1) - (len - 1) / 100], (double)took[len - 1]);
    return 0;
}
