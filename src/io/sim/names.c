/* DNS: the world's table of names, looked at when a lookup's seeded time has come, so that
 * an answer may change while one is on its way. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

struct sim_name {
    struct list_node node;
    char *name;
    enum lookup_kind kind;
    enum err code; /* ERR_NONE: answers */
    io_time ttl;
    size_t count;
    struct io_address addresses[LOOKUP_ANSWERS_MAX];
    struct lookup_service services[LOOKUP_ANSWERS_MAX];
};

struct sim_query {
    struct sim_event event;
    struct io_lookup *lookup;
    bool lost; /* nobody answers, however often it is asked */
};

static struct sim_name *find(struct world *world, enum lookup_kind kind, const char *name)
{
    struct list_node *node = list_first(&world->names);
    for (; node; node = list_next(&world->names, node)) {
        struct sim_name *n = CONTAINER_OF(node, struct sim_name, node);
        if (n->kind == kind && strcasecmp(n->name, name) == 0)
            return n;
    }
    return NULL;
}

static struct sim_name *put(struct world *world, enum lookup_kind kind, const char *name)
{
    struct sim_name *n = find(world, kind, name);
    if (!n) {
        n = sim_new(sizeof(*n));
        n->kind = kind;
        n->name = sim_strdup(name);
        list_push(&world->names, &n->node);
    }
    n->code = ERR_NONE;
    return n;
}

void sim_name_put(struct world *world, const char *name, const struct io_address *addresses,
                  size_t count, io_time ttl)
{
    struct sim_name *n = put(world, LOOKUP_ADDRESSES, name);
    n->count = MIN(count, (size_t)LOOKUP_ANSWERS_MAX);
    memcpy(n->addresses, addresses, n->count * sizeof(*addresses));
    n->ttl = ttl;
}

void sim_service_put(struct world *world, const char *name, const struct lookup_service *services,
                     size_t count, io_time ttl)
{
    struct sim_name *n = put(world, LOOKUP_SERVICES, name);
    n->count = MIN(count, (size_t)LOOKUP_ANSWERS_MAX);
    memcpy(n->services, services, n->count * sizeof(*services));
    n->ttl = ttl;
}

void sim_name_fail(struct world *world, const char *name, enum err code)
{
    put(world, LOOKUP_ADDRESSES, name)->code = code;
    put(world, LOOKUP_SERVICES, name)->code = code;
}

void sim_names_release(struct world *world)
{
    struct list_node *node;
    while ((node = list_pop(&world->names))) {
        struct sim_name *n = CONTAINER_OF(node, struct sim_name, node);
        mem_free(n->name);
        mem_free(n);
    }
}

static void answer(struct io_lookup *lookup, struct world *world)
{
    const struct sim_name *n = find(world, lookup->kind, lookup->name);
    if (!n || n->code == ERR_NOT_FOUND)
        lookup_failed(lookup, ERR_NOT_FOUND, "there is no such name (NXDOMAIN)");
    else if (n->code != ERR_NONE)
        lookup_failed(lookup, ERR_UNAVAILABLE, "the name server failed (SERVFAIL)");
    else if (n->count == 0)
        lookup_failed(lookup, ERR_NOT_FOUND, "the name has no such record (NODATA)");
    else
        lookup_found(lookup, &(struct lookup_answer){n->ttl, n->count, n->addresses, n->services});
}

static void answered(struct sim_event *event)
{
    struct sim_query *query = CONTAINER_OF(event, struct sim_query, event);
    struct io_lookup *lookup = query->lookup;
    struct world *world = sim_world_of(lookup->loop);
    bool lost = query->lost;
    lookup->query = NULL;
    mem_free(query);
    sim_trace(world, "lookup", lost, 0);
    if (lost)
        lookup_failed(lookup, ERR_UNAVAILABLE, "no name server answered in time");
    else if (sim_draw_below(world, 1000) < world->faults.name_fail_permille)
        lookup_failed(lookup, ERR_UNAVAILABLE, "the name server failed (SERVFAIL)");
    else
        answer(lookup, world);
}

void sim_lookup(struct io_lookup *lookup)
{
    struct world *world = sim_world_of(lookup->loop);
    const struct sim_name *n = find(world, lookup->kind, lookup->name);
    const struct dns_options *dns = &lookup->loop->process->dns;
    struct sim_query *query = sim_new(sizeof(*query));
    query->lookup = lookup;
    query->event.run = answered;
    query->lost = (n && n->code == ERR_DEADLINE) ||
                  sim_draw_below(world, 1000) < world->faults.name_lost_permille;
    io_time wait = sim_draw_delay(world) +
                   (io_time)sim_draw_below(world, (uint64_t)world->faults.name_delay_max + 1);
    for (int i = 0; query->lost && i < dns->tries; i++)
        wait += dns->timeout << i;
    lookup->query = query;
    sim_schedule(world, &query->event, world->now + wait);
}

void sim_lookup_stop(struct io_lookup *lookup)
{
    struct sim_query *query = steal(&lookup->query);
    if (!query)
        return;
    sim_cancel(sim_world_of(lookup->loop), &query->event);
    mem_free(query);
}
