/* What can be configured of clients and of name lookups. */
#include "net/client_pool.h"

/* ---- client ---- */

#define KEY(member_, path_, type_, help_, fallback_, min_, max_) \
    {.path = "client." path_, \
     .type = (type_), \
     .help = (help_), \
     .fallback = (fallback_), \
     .min = (min_), \
     .max = (max_), \
     .reload = CONFIG_RESTART, \
     CONFIG_FIELD(struct client_config, member_)}

static const struct config_key client_keys[] = {
    KEY(connections_max, "connections_max", CONFIG_INT, "connections to others, of one loop",
        "1024", 1, 1000000),
    KEY(connections_per_origin_max, "connections_per_origin_max", CONFIG_INT,
        "connections to one host and port, of one loop", "128", 1, 1000000),
    KEY(waiting_max, "waiting_max", CONFIG_INT, "requests of one loop that wait for a connection",
        "1024", 1, 1000000),
    KEY(connection_requests_max, "connection_requests_max", CONFIG_INT,
        "requests that one connection carries before it is ended", "100000", 1, 0),
    KEY(connection_age_max, "connection_age_max", CONFIG_TIME,
        "how old a connection may become before it is ended", "1h", IO_MS, 0),
    KEY(idle_timeout, "idle_timeout", CONFIG_TIME, "a kept connection without a request", "60s",
        IO_MS, 0),
    KEY(connect_timeout, "connect_timeout", CONFIG_TIME,
        "to find a name's addresses and connect to one", "5s", IO_MS, 0),
    KEY(retry.attempts, "retry.attempts", CONFIG_INT,
        "times a request is sent in all; 1: never again", "1", 1, 10),
    KEY(retry.backoff, "retry.backoff", CONFIG_TIME,
        "bound of the first wait, which doubles each time; drawn below it", "25ms", 0, 0),
    KEY(retry.backoff_max, "retry.backoff_max", CONFIG_TIME, "bound of every wait", "1s", 0, 0),
    KEY(retry.budget_percent, "retry.budget_percent", CONFIG_INT,
        "retries for each 100 requests of the last 10 seconds, per host and port", "20", 0, 100),
    KEY(retry.any_method, "retry.any_method", CONFIG_BOOL,
        "also send again what is not idempotent, such as POST", "false", 0, 0),
};

const struct config_module client_module = {
    .name = "client",
    .section = CONFIG_SECTION(struct client_config, client_keys),
};

/* ---- dns ---- */

#define DNS_KEY(member_, type_, help_, fallback_, min_, max_) \
    {.path = "dns." #member_, \
     .type = (type_), \
     .help = (help_), \
     .fallback = (fallback_), \
     .min = (min_), \
     .max = (max_), \
     .reload = CONFIG_RESTART, \
     CONFIG_FIELD(struct dns_config, member_)}

static const struct config_key dns_keys[] = {
    DNS_KEY(servers, CONFIG_TEXTS,
            "name servers, such as 10.0.0.2 or [::1]:53, instead of those of /etc/resolv.conf",
            NULL, 0, DNS_SERVERS_MAX),
    DNS_KEY(timeout, CONFIG_TIME, "of a lookup in all", "10s", IO_MS, 0),
    DNS_KEY(try_timeout, CONFIG_TIME, "of its first try; doubles with each", "2s", IO_MS,
            60 * IO_SEC),
    DNS_KEY(tries, CONFIG_INT, "tries at each name server", "2", 1, 10),
    DNS_KEY(entries_max, CONFIG_INT, "names that one loop keeps", "1024", 1, 1000000),
    DNS_KEY(ttl_min, CONFIG_TIME, "how long an answer is kept at least", "1s", 0, 0),
    DNS_KEY(ttl_max, CONFIG_TIME, "how long an answer is kept at most", "5m", 0, 0),
    DNS_KEY(negative_ttl, CONFIG_TIME, "how long it is kept that a name is not there", "5s", 0, 0),
    DNS_KEY(stale_max, CONFIG_TIME, "how long an old answer is used when no new one is to be had",
            "1h", 0, 0),
};

const struct config_module dns_module = {
    .name = "dns",
    .section = CONFIG_SECTION(struct dns_config, dns_keys),
};

/* With or without a port; an IPv6 address without one needs no brackets. */
static result server_parse(struct span text, struct io_address *ret_server, struct diag *diag)
{
    struct io_address server;
    char with_port[80];
    if (failed(io_address_parse(text, &server, NULL)) || server.port == 0) {
        bool bare = span_find(text, ':') < text.len && text.len && text.ptr[0] != '[';
        struct span open = bare ? SPAN("[") : SPAN_NONE, close = bare ? SPAN("]") : SPAN_NONE;
        struct span parts[] = {open, text, close, SPAN(":53")};
        size_t len = 0;
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            if (len + parts[i].len > sizeof(with_port))
                return diag_fail(diag, ERR_SYNTAX, "expected a name server's IP address");
            if (parts[i].len)
                memcpy(with_port + len, parts[i].ptr, parts[i].len);
            len += parts[i].len;
        }
        TRY(io_address_parse(span_of(with_port, len), &server, diag));
    }
    static const uint8_t any[sizeof(server.ip)];
    if (server.family == IO_UNIX || memcmp(server.ip, any, sizeof(any)) == 0)
        return diag_fail(diag, ERR_SYNTAX, "expected a name server's IP address");
    *ret_server = server;
    return OK;
}

result dns_apply(struct process *process, const struct dns_config *config, struct diag *diag)
{
    struct dns_options options = {.timeout = config->try_timeout, .tries = (int)config->tries};
    for (size_t i = 0; i < config->servers.count && i < DNS_SERVERS_MAX; i++) {
        result r = server_parse(span_cstr(config->servers.items[i]),
                                &options.servers[options.servers_len++], diag);
        if (failed(r)) {
            diag_prefix(diag, "dns.servers[%zu]", i);
            return r;
        }
    }
    process_dns(process, &options);
    return OK;
}
