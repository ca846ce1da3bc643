/* What can be configured of a server, and how a reload reaches its loops. */
#include "base/alloc.h"
#include "net/server_private.h"

void server_loop_configure(struct server_loop *sl, const struct server_config *config)
{
    sl->config = *config;
    sl->http1 = h1_limits_default;
    sl->http1.line_bytes_max = (uint32_t)config->head_bytes_max;
    sl->http1.header_bytes_max = (uint32_t)config->head_bytes_max;
    sl->http1.headers_max = (uint32_t)config->headers_max;
    sl->http1.body_bytes_max = config->body_bytes_max;
}

void server_quotas_set(struct server *server)
{
    quota_set_max(&server->connections, (uint64_t)server->config.connections_max);
    quota_set_max(&server->requests, (uint64_t)server->config.requests_max);
    quota_set_max(&server->request_bytes, server->config.request_bytes_max);
}

/* New limits on their way to a loop, and home again, where it is freed. */
struct config_message {
    struct list_node node; /* of the server's, on loop 0 */
    struct io_post post;
    struct server_loop *sl;
    struct server_config config;
};

/* All of a reload's messages, made before anything is committed. */
struct server_plan {
    struct server_config config;
    struct config_message *messages[];
};

static void config_came_home(struct io_post *post)
{
    struct config_message *message = CONTAINER_OF(post, struct config_message, post);
    list_remove(&message->node);
    mem_free(message);
}

static void config_arrived(struct io_post *post)
{
    struct config_message *message = CONTAINER_OF(post, struct config_message, post);
    server_loop_configure(message->sl, &message->config);
    message->post.run = config_came_home;
    loop_post(process_loop(message->sl->server->process, 0), &message->post);
}

void server_config_messages_free(struct server *server)
{
    struct list_node *node;
    while ((node = list_pop(&server->config_messages)))
        mem_free(CONTAINER_OF(node, struct config_message, node));
}

static void plan_free(struct server *server, struct server_plan *plan)
{
    for (int i = 0; plan && i < server->loops_len; i++)
        mem_free(plan->messages[i]);
    mem_free(plan);
}

static result prepare(void *module, const void *old, const void *new_, void **ret_plan,
                      struct diag *diag)
{
    struct server *server = module;
    size_t slots = (size_t)server->loops_len * sizeof(struct config_message *);
    struct server_plan *plan = mem_zalloc(1, sizeof(*plan) + slots);
    if (!plan)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for new limits");
    plan->config = *(const struct server_config *)new_;
    for (int i = 0; i < server->loops_len; i++) {
        struct config_message *message = MEM_NEW(struct config_message);
        if (!message) {
            plan_free(server, plan);
            return diag_fail(diag, ERR_NO_MEMORY, "no memory for new limits");
        }
        message->post.run = config_arrived;
        message->sl = &server->loops[i];
        message->config = plan->config;
        plan->messages[i] = message;
    }
    *ret_plan = plan;
    return OK;
}

static void commit(void *module, void *planned)
{
    struct server *server = module;
    struct server_plan *plan = planned;
    server->config = plan->config;
    server_quotas_set(server);
    for (int i = 0; i < server->loops_len; i++) {
        struct config_message *message = steal(&plan->messages[i]);
        list_push(&server->config_messages, &message->node);
        loop_post(server->loops[i].loop, &message->post);
    }
    plan_free(server, plan);
}

static void abort_plan(void *module, void *planned)
{
    plan_free(module, planned);
}

#define KEY(member_, type_, help_, fallback_, min_, max_) \
    {.path = "server." #member_, \
     .type = (type_), \
     .help = (help_), \
     .fallback = (fallback_), \
     .min = (min_), \
     .max = (max_), \
     .reload = CONFIG_LIVE, \
     CONFIG_FIELD(struct server_config, member_)}

#define MIB ((int64_t)1 << 20)

static const char *const access_choices[] = {
    [ACCESS_OFF] = "off", [ACCESS_ERRORS] = "errors", [ACCESS_ALL] = "all", NULL};

static const struct config_key keys[] = {
    KEY(connections_max, CONFIG_INT, "open connections", "16384", 1, 1000000),
    KEY(requests_max, CONFIG_INT, "requests in flight over all connections", "4096", 1, 1000000),
    KEY(request_bytes_max, CONFIG_SIZE, "body bytes of all requests in flight", "1GiB", 65536, 0),
    KEY(body_bytes_max, CONFIG_SIZE, "body of one request", "256MiB", 0, 0),
    KEY(head_bytes_max, CONFIG_SIZE, "request line, and headers, of one request", "32KiB", 512,
        MIB),
    KEY(headers_max, CONFIG_INT, "header fields of one request", "100", 1, SERVER_HEADERS_MAX),
    KEY(head_timeout, CONFIG_TIME, "from the first byte of a head to its end", "10s", IO_MS, 0),
    KEY(body_timeout, CONFIG_TIME, "between two reads or writes of a body", "30s", IO_MS, 0),
    KEY(idle_timeout, CONFIG_TIME, "a connection without a request", "75s", IO_MS, 0),
    KEY(half_close, CONFIG_BOOL, "a client may send FIN and still get its answer", "false", 0, 0),
    {.path = "server.access_log",
     .help = "which exchanges are logged: those answered 5xx, or all",
     .fallback = "errors",
     .type = CONFIG_ENUM,
     .choices = access_choices,
     .reload = CONFIG_LIVE,
     CONFIG_FIELD(struct server_config, access_log)},
};

const struct config_module server_module = {
    .name = "server",
    .section = CONFIG_SECTION(struct server_config, keys),
    .prepare = prepare,
    .commit = commit,
    .abort = abort_plan,
};
