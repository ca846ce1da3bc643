#include "io/test_dns_server.h"

#include "base/test_cmocka.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAMES_MAX 256
#define ALIASES_MAX 8
#define MESSAGE_MAX 16384
#define UDP_MAX 1232

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, TYPE_SRV = 33 };

struct record {
    char name[260], alias[260];
    struct io_address addresses[40];
    struct lookup_service services[40];
    size_t addresses_len, services_len;
    unsigned ttl;
    enum dns_trick trick;
    int asked, asked_tcp, asked_udp_of[2];
};

static struct {
    pthread_mutex_t mutex;
    bool started;
    int udp, tcp;
    uint16_t port;
    struct record records[NAMES_MAX];
    size_t records_len;
} server = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- messages ------------------------------------------------------------------------- */

struct message {
    uint8_t bytes[MESSAGE_MAX];
    size_t len;
};

static void put(struct message *m, unsigned value, int len)
{
    for (int i = len - 1; i >= 0 && m->len < MESSAGE_MAX; i--)
        m->bytes[m->len++] = (uint8_t)(value >> (8 * i));
}

static void put_name(struct message *m, const char *name)
{
    while (*name) {
        size_t label = strcspn(name, ".");
        put(m, (unsigned)label, 1);
        for (size_t i = 0; i < label; i++)
            put(m, (uint8_t)name[i], 1);
        name += label + (name[label] == '.');
    }
    put(m, 0, 1);
}

static void put_record(struct message *m, const char *owner, unsigned type, unsigned ttl,
                       const struct message *data)
{
    put_name(m, owner);
    put(m, type, 2);
    put(m, 1, 2);
    put(m, ttl, 4);
    put(m, (unsigned)data->len, 2);
    for (size_t i = 0; i < data->len; i++)
        put(m, data->bytes[i], 1);
}

static struct record *find(const char *name)
{
    for (size_t i = 0; i < server.records_len; i++) {
        if (strcasecmp(server.records[i].name, name) == 0)
            return &server.records[i];
    }
    return NULL;
}

/* Reads the question: its name, its type, and where it ends. */
static size_t read_question(const uint8_t *bytes, size_t len, char *name, unsigned *ret_type)
{
    size_t at = 12, n = 0;
    while (at < len && bytes[at] && n + bytes[at] + 1 < 256) {
        for (size_t i = 1; i <= bytes[at] && at + i < len; i++)
            name[n++] = (char)bytes[at + i];
        name[n++] = '.';
        at += bytes[at] + 1u;
    }
    name[n ? n - 1 : 0] = '\0';
    if (at + 5 > len)
        return 0;
    *ret_type = (unsigned)bytes[at + 1] << 8 | bytes[at + 2];
    return at + 5;
}

static bool is_asked_for(const struct io_address *address, unsigned type)
{
    return type == (address->family == IO_INET ? TYPE_A : TYPE_AAAA);
}

/* Follows aliases and puts the records; how many. */
static unsigned put_answers(struct message *m, const struct record *r, unsigned type, bool other)
{
    unsigned count = 0;
    for (int i = 0; i < ALIASES_MAX && r && r->alias[0]; i++) {
        struct message data = {.len = 0};
        put_name(&data, r->alias);
        put_record(m, r->name, TYPE_CNAME, r->ttl, &data);
        count++;
        r = find(r->alias);
    }
    for (size_t i = 0; r && i < r->addresses_len; i++) {
        const struct io_address *a = &r->addresses[i];
        if (!is_asked_for(a, type))
            continue;
        struct message data = {.len = 0};
        for (int b = 0; b < (type == TYPE_A ? 4 : 16); b++)
            put(&data, other ? 66 : a->ip[b], 1);
        put_record(m, r->name, type, r->ttl, &data);
        count++;
    }
    for (size_t i = 0; r && type == TYPE_SRV && i < r->services_len; i++) {
        const struct lookup_service *s = &r->services[i];
        struct message data = {.len = 0};
        put(&data, s->priority, 2);
        put(&data, s->weight, 2);
        put(&data, s->port, 2);
        put_name(&data, s->target);
        put_record(m, r->name, TYPE_SRV, r->ttl, &data);
        count++;
    }
    return count;
}

static void answer(struct message *m, const uint8_t *asked, size_t question_end,
                   const struct record *r, unsigned type, bool other)
{
    static const unsigned rcodes[] = {
        [DNS_NXDOMAIN] = 3, [DNS_SERVFAIL] = 2, [DNS_REFUSED] = 5, [DNS_DAMAGED] = 0};
    m->len = 0;
    put(m, (unsigned)asked[0] << 8 | asked[1], 2);
    put(m, 0x8180 | (r ? rcodes[r->trick] : 3), 2);
    put(m, 1, 2);
    put(m, 0, 4); /* ANCOUNT is set below */
    put(m, 0, 2);
    for (size_t i = 12; i < question_end; i++)
        put(m, asked[i], 1);
    unsigned count = r && !rcodes[r->trick] ? put_answers(m, r, type, other) : 0;
    m->bytes[6] = (uint8_t)(count >> 8);
    m->bytes[7] = (uint8_t)count;
}

/* ---- UDP --------------------------------------------------------------------------------- */

static void send_to(const struct message *m, const struct sockaddr_in *to)
{
    sendto(server.udp, m->bytes, m->len, 0, (const struct sockaddr *)to, sizeof(*to));
}

static void play(struct record *r, unsigned type, const uint8_t *asked, size_t question_end,
                 const struct sockaddr_in *from)
{
    struct message m;
    answer(&m, asked, question_end, r, type, false);
    int before = r ? r->asked_udp_of[type == TYPE_AAAA]++ : 0;
    enum dns_trick trick = r ? r->trick : DNS_PLAIN;
    if (trick == DNS_SILENT || (trick == DNS_LOSES_FIRST && before == 0))
        return;
    if (trick == DNS_GARBAGE && before == 0) {
        send_to(&(struct message){.bytes = {1, 2, 3}, .len = 3}, from);
        memset(m.bytes + 2, 0xff, m.len - 2);
    }
    if (trick == DNS_WRONG_ID) {
        struct message wrong;
        answer(&wrong, asked, question_end, r, type, true);
        wrong.bytes[1] ^= 1;
        send_to(&wrong, from);
    }
    if (trick == DNS_DAMAGED)
        m.len -= MIN(m.len - question_end, (size_t)5);
    if (trick == DNS_SLOW)
        usleep(150000);
    if (trick == DNS_TRUNCATES || m.len > UDP_MAX) {
        m.bytes[2] |= 2; /* TC */
        m.len = question_end;
        m.bytes[6] = m.bytes[7] = 0;
    }
    send_to(&m, from);
}

static void on_udp(void)
{
    uint8_t asked[2048];
    char name[260] = "";
    unsigned type;
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    ssize_t len =
        recvfrom(server.udp, asked, sizeof(asked), 0, (struct sockaddr *)&from, &from_len);
    size_t end = len > 12 ? read_question(asked, (size_t)len, name, &type) : 0;
    if (end == 0)
        return;
    struct record *r = find(name);
    if (r)
        r->asked++;
    play(r, type, asked, end, &from);
}

/* ---- TCP --------------------------------------------------------------------------------- */

static bool read_all(int fd, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, bytes, len, 0);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static void on_tcp(void)
{
    int fd = accept(server.tcp, NULL, NULL);
    struct timeval patience = {.tv_usec = 300000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    uint8_t size[2], asked[2048];
    while (read_all(fd, size, 2)) {
        size_t len = (size_t)size[0] << 8 | size[1];
        char name[260] = "";
        unsigned type;
        if (len > sizeof(asked) || !read_all(fd, asked, len))
            break;
        size_t end = read_question(asked, len, name, &type);
        struct record *r = find(name);
        if (r)
            r->asked++, r->asked_tcp++;
        struct message m;
        answer(&m, asked, end, r, type, false);
        uint8_t head[2] = {(uint8_t)(m.len >> 8), (uint8_t)m.len};
        send(fd, head, 2, MSG_NOSIGNAL | MSG_MORE);
        send(fd, m.bytes, m.len, MSG_NOSIGNAL);
    }
    close(fd);
}

static void *serve(void *arg)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = server.udp, .events = POLLIN},
                               {.fd = server.tcp, .events = POLLIN}};
        poll(fds, 2, -1);
        pthread_mutex_lock(&server.mutex);
        if (fds[0].revents)
            on_udp();
        if (fds[1].revents)
            on_tcp();
        pthread_mutex_unlock(&server.mutex);
    }
    return NULL;
}

/* One port that both protocols have free. */
static void open_sockets(void)
{
    for (int tries = 0; tries < 200; tries++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(at);
        int on = 1;
        server.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        server.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(server.tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        assert_int_equal(bind(server.udp, (struct sockaddr *)&at, len), 0);
        getsockname(server.udp, (struct sockaddr *)&at, &len);
        server.port = ntohs(at.sin_port);
        if (bind(server.tcp, (struct sockaddr *)&at, len) == 0 && listen(server.tcp, 16) == 0)
            return;
        close(server.udp);
        close(server.tcp);
    }
    fail_msg("no port is free for a name server");
}

struct io_address dns_server_address(void)
{
    if (!server.started) {
        server.started = true;
        pthread_t thread;
        open_sockets();
        assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
        pthread_detach(thread);
    }
    return (struct io_address){.family = IO_INET, .port = server.port, .ip = {127, 0, 0, 1}};
}

/* ---- the table --------------------------------------------------------------------------- */

static struct record *record_of(const char *name, io_time ttl, enum dns_trick trick)
{
    struct record *r = find(name);
    if (!r) {
        assert_true(server.records_len < NAMES_MAX);
        r = &server.records[server.records_len++];
        *r = (struct record){0};
        snprintf(r->name, sizeof(r->name), "%s", name);
    }
    r->alias[0] = '\0';
    r->ttl = (unsigned)(ttl / IO_SEC);
    r->trick = trick;
    return r;
}

void dns_server_put(const char *name, const struct io_address *addresses, size_t count, io_time ttl,
                    enum dns_trick trick)
{
    pthread_mutex_lock(&server.mutex);
    struct record *r = record_of(name, ttl, trick);
    r->addresses_len = MIN(count, ARRAY_LEN(r->addresses));
    for (size_t i = 0; i < r->addresses_len; i++)
        r->addresses[i] = addresses[i];
    pthread_mutex_unlock(&server.mutex);
}

void dns_server_put_services(const char *name, const struct lookup_service *services, size_t count,
                             io_time ttl, enum dns_trick trick)
{
    pthread_mutex_lock(&server.mutex);
    struct record *r = record_of(name, ttl, trick);
    r->services_len = MIN(count, ARRAY_LEN(r->services));
    for (size_t i = 0; i < r->services_len; i++)
        r->services[i] = services[i];
    pthread_mutex_unlock(&server.mutex);
}

void dns_server_put_alias(const char *name, const char *target, io_time ttl)
{
    pthread_mutex_lock(&server.mutex);
    snprintf(record_of(name, ttl, DNS_PLAIN)->alias, 260, "%s", target);
    pthread_mutex_unlock(&server.mutex);
}

int dns_server_asked(const char *name)
{
    pthread_mutex_lock(&server.mutex);
    struct record *r = find(name);
    int asked = r ? r->asked : 0;
    pthread_mutex_unlock(&server.mutex);
    return asked;
}

int dns_server_asked_tcp(const char *name)
{
    pthread_mutex_lock(&server.mutex);
    struct record *r = find(name);
    int asked = r ? r->asked_tcp : 0;
    pthread_mutex_unlock(&server.mutex);
    return asked;
}

void dns_server_clear(void)
{
    pthread_mutex_lock(&server.mutex);
    server.records_len = 0;
    pthread_mutex_unlock(&server.mutex);
}
