/* Lookups by c-ares, one channel a loop.
 *
 *   D1  c-ares calls back from inside its own functions, also from the one that asks.
 *       Nothing is told from there: `lookup_found` and `lookup_failed` complete at the
 *       end of the turn, so nobody calls into a channel that is at work.
 *   D2  A query that nobody waits for any more (cancelled, past its deadline) cannot be
 *       taken back from c-ares 1.18. It stays until its tries are used up, without a
 *       lookup.
 *   D3  A channel goes only when no query is under way, or with its loop.
 *
 * Sockets are c-ares' own, watched by uv_poll; its next time-out is a timer of ours.
 */
#include "base/alloc.h"
#include "io/uv/uv_private.h"

/* Newer releases would have their own event thread and record types used instead. */
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/inet.h>
#include <stdio.h>

/* EDNS (RFC 6891): what fits every path without fragments (DNS Flag Day 2020). */
#define UDP_BYTES_MAX 1232
#define CHANNEL_AGE_MAX (60 * IO_SEC)

struct iouv_dns {
    struct iouv_loop *loop;
    ares_channel channel;
    struct io_timer timer;
    io_time made_at;
    int queries; /* under way */
    struct list sockets;
};

struct dns_socket {
    struct list_node node;
    uv_poll_t poll;
    struct iouv_dns *dns;
    int fd;
};

struct dns_query {
    struct iouv_dns *dns;
    struct io_lookup *lookup; /* NULL: D2 */
};

/* ---- sockets and time -------------------------------------------------------------------- */

static void arm(struct iouv_dns *dns)
{
    struct loop *loop = &dns->loop->base;
    struct timeval tv;
    if (ares_timeout(dns->channel, NULL, &tv))
        timer_start(loop, &dns->timer,
                    iouv_clock(loop->process) + tv.tv_sec * IO_SEC + tv.tv_usec * IO_US);
    else
        timer_stop(loop, &dns->timer);
}

static void work(struct iouv_dns *dns, int readable, int writable)
{
    ares_process_fd(dns->channel, readable, writable);
    arm(dns);
}

static void timed_out(struct io_timer *timer)
{
    work(CONTAINER_OF(timer, struct iouv_dns, timer), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void polled(uv_poll_t *poll, int status, int events)
{
    struct dns_socket *s = poll->data;
    /* An error is found out by reading. */
    bool readable = status < 0 || (events & UV_READABLE);
    bool writable = status < 0 || (events & UV_WRITABLE);
    work(s->dns, readable ? s->fd : ARES_SOCKET_BAD, writable ? s->fd : ARES_SOCKET_BAD);
}

static void socket_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static struct dns_socket *find_socket(struct iouv_dns *dns, int fd)
{
    struct list_node *node = list_first(&dns->sockets);
    for (; node; node = list_next(&dns->sockets, node)) {
        struct dns_socket *s = CONTAINER_OF(node, struct dns_socket, node);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* One that cannot be watched for want of memory is as good as one whose answers are lost. */
static struct dns_socket *watch_socket(struct iouv_dns *dns, int fd)
{
    struct dns_socket *s = MEM_NEW(struct dns_socket);
    if (!s)
        return NULL;
    s->dns = dns;
    s->fd = fd;
    s->poll.data = s;
    if (uv_poll_init(&dns->loop->uv, &s->poll, fd) < 0) {
        mem_free(s);
        return NULL;
    }
    list_push(&dns->sockets, &s->node);
    return s;
}

/* c-ares wants other events of a socket; none: it closes it when this returns. */
static void socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct iouv_dns *dns = arg;
    struct dns_socket *s = find_socket(dns, fd);
    if (!readable && !writable) {
        if (!s)
            return;
        list_remove(&s->node);
        uv_poll_stop(&s->poll);
        uv_close((uv_handle_t *)&s->poll, socket_closed);
        return;
    }
    if (!s)
        s = watch_socket(dns, fd);
    if (s)
        uv_poll_start(&s->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
                      polled);
}

/* ---- the channel ----------------------------------------------------------------------------- */

static int set_servers(struct iouv_dns *dns, const struct dns_options *options)
{
    struct ares_addr_port_node nodes[DNS_SERVERS_MAX] = {0};
    for (size_t i = 0; i < options->servers_len; i++) {
        const struct io_address *from = &options->servers[i];
        bool v6 = from->family == IO_INET6;
        nodes[i].next = i + 1 < options->servers_len ? &nodes[i + 1] : NULL;
        nodes[i].family = v6 ? AF_INET6 : AF_INET;
        memcpy(&nodes[i].addr, from->ip, v6 ? 16 : 4);
        nodes[i].udp_port = nodes[i].tcp_port = from->port ? from->port : 53;
    }
    return options->servers_len ? ares_set_servers_ports(dns->channel, nodes) : ARES_SUCCESS;
}

static int open_channel(struct iouv_dns *dns)
{
    const struct dns_options *from = &dns->loop->base.process->dns;
    struct ares_options options = {
        .flags = ARES_FLAG_EDNS,
        .ednspsz = UDP_BYTES_MAX,
        .timeout = (int)(from->timeout / IO_MS),
        .tries = from->tries,
        .sock_state_cb = socket_state,
        .sock_state_cb_data = dns,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
               ARES_OPT_SOCK_STATE_CB;
    if (from->resolv_conf) {
        options.resolvconf_path = (char *)from->resolv_conf; /* copied */
        mask |= ARES_OPT_RESOLVCONF;
    }
#ifdef ARES_OPT_QUERY_CACHE /* from 1.31 on; the cache is ours */
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    int status = ares_init_options(&dns->channel, &options, mask);
    if (status != ARES_SUCCESS)
        return status;
    status = set_servers(dns, from);
    if (status != ARES_SUCCESS)
        ares_destroy(dns->channel);
    return status;
}

static void close_channel(struct iouv_dns *dns)
{
    struct iouv_loop *loop = dns->loop;
    ares_destroy(dns->channel);
    ASSERT(list_empty(&dns->sockets));
    timer_stop(&loop->base, &dns->timer);
    loop->dns = NULL;
    mem_free(dns);
}

/* The loop's channel; an ARES_ status when there is none to be had. */
static int channel_of(struct iouv_loop *loop, struct iouv_dns **ret_dns)
{
    struct iouv_dns *dns = loop->dns;
    io_time now = loop_now(&loop->base);
    if (dns && dns->queries == 0 && now - dns->made_at > CHANNEL_AGE_MAX) {
        close_channel(dns); /* D3 */
        dns = NULL;
    }
    if (!dns) {
        dns = MEM_NEW(struct iouv_dns);
        if (!dns)
            return ARES_ENOMEM;
        dns->loop = loop;
        dns->made_at = now;
        dns->timer.fired = timed_out;
        list_init(&dns->sockets);
        int status = open_channel(dns);
        if (status != ARES_SUCCESS) {
            mem_free(dns);
            return status;
        }
        loop->dns = dns;
    }
    *ret_dns = dns;
    return ARES_SUCCESS;
}

void iouv_dns_release(struct iouv_loop *loop)
{
    lookups_release(&loop->base);
    if (loop->dns)
        close_channel(loop->dns);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static enum err err_of_ares(int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_ENONAME:
        return ERR_NOT_FOUND;
    case ARES_EBADNAME:
    case ARES_EBADQUERY:
        return ERR_SYNTAX;
    case ARES_ENOMEM:
        return ERR_NO_MEMORY;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
        return ERR_CANCELLED;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* The server's answer in its own words (RFC 1035 §4.1.1). */
static const char *answer_words(int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENONAME:
        return "there is no such name (NXDOMAIN)";
    case ARES_ENODATA:
        return "the name has no such record (NODATA)";
    case ARES_EFORMERR:
        return "the name server did not understand (FORMERR)";
    case ARES_EBADRESP:
        return "the name server's answer is damaged";
    case ARES_ETIMEOUT:
        return "no name server answered in time";
    case ARES_ECONNREFUSED: /* after it went on to the next server, c-ares knows no more */
        return "every name server failed (SERVFAIL, REFUSED) or cannot be reached";
    default:
        return ares_strerror(status);
    }
}

static void fail_query(struct io_lookup *lookup, int status)
{
    lookup_failed(lookup, err_of_ares(status), answer_words(status));
}

/* Ends the query; NULL when nobody waits for it. */
static struct io_lookup *end_query(struct dns_query *query)
{
    struct io_lookup *lookup = query->lookup;
    query->dns->queries--;
    mem_free(query);
    if (lookup)
        lookup->query = NULL;
    return lookup;
}

static io_time least_ttl(const struct ares_addrinfo *info)
{
    int ttl = INT32_MAX;
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next)
        ttl = MIN(ttl, node->ai_ttl);
    for (const struct ares_addrinfo_cname *cname = info->cnames; cname; cname = cname->next)
        ttl = MIN(ttl, cname->ttl);
    return MAX(ttl, 0) * IO_SEC;
}

static void addresses_came(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct io_lookup *lookup = end_query(arg);
    struct io_address addresses[LOOKUP_ANSWERS_MAX];
    struct lookup_answer answer = {.addresses = addresses};
    if (lookup && status == ARES_SUCCESS) {
        const struct ares_addrinfo_node *node = info->nodes;
        for (; node && answer.count < LOOKUP_ANSWERS_MAX; node = node->ai_next) {
            struct sockaddr_storage sockaddr = {0};
            memcpy(&sockaddr, node->ai_addr, MIN((size_t)node->ai_addrlen, sizeof(sockaddr)));
            iouv_address_of(&sockaddr, (socklen_t)node->ai_addrlen, &addresses[answer.count++]);
        }
        answer.ttl = least_ttl(info);
        if (answer.count)
            lookup_found(lookup, &answer);
        else
            fail_query(lookup, ARES_ENODATA);
    } else if (lookup) {
        fail_query(lookup, status);
    }
    if (info)
        ares_freeaddrinfo(info);
}

static void services_came(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct io_lookup *lookup = end_query(arg);
    struct lookup_service services[LOOKUP_ANSWERS_MAX];
    struct lookup_answer answer = {.services = services};
    if (!lookup)
        return;
    if (status == ARES_SUCCESS)
        status = iouv_services_parse(span_of(bytes, (size_t)len), services, &answer);
    if (status == ARES_SUCCESS)
        lookup_found(lookup, &answer);
    else
        fail_query(lookup, status);
}

/* ---- ops
 * ----------------------------------------------------------------------------------------- */

void iouv_lookup(struct io_lookup *lookup)
{
    struct iouv_dns *dns;
    int status = channel_of(iouv_loop(lookup->loop), &dns);
    struct dns_query *query = status == ARES_SUCCESS ? MEM_NEW(struct dns_query) : NULL;
    if (!query) {
        fail_query(lookup, status == ARES_SUCCESS ? ARES_ENOMEM : status);
        return;
    }
    *query = (struct dns_query){dns, lookup};
    lookup->query = query;
    dns->queries++;
    if (lookup->kind == LOOKUP_ADDRESSES) {
        /* SOCK_STREAM: one entry an address. CARES_HOSTS may name another hosts file. */
        struct ares_addrinfo_hints hints = {
            .ai_flags = ARES_AI_ENVHOSTS, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        ares_getaddrinfo(dns->channel, lookup->name, NULL, &hints, addresses_came, query);
    } else {
        ares_search(dns->channel, lookup->name, 1 /* IN */, 33 /* SRV */, services_came, query);
    }
    arm(dns);
}

void iouv_lookup_stop(struct io_lookup *lookup)
{
    struct dns_query *query = steal(&lookup->query);
    if (query)
        query->lookup = NULL;
}
