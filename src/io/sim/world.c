/* Time, chance, and the queue of events. */
#include "base/alloc.h"
#include "io/sim/sim_private.h"

#define EVENTS_MAX ((size_t)1 << 24)

struct datagram {
    struct list_node node;
    char *path;
    struct text bytes;
};

void *sim_new(size_t size)
{
    bool held = mem_fail_hold(true);
    void *ptr = mem_must(mem_zalloc(1, size), size);
    mem_fail_hold(held);
    return ptr;
}

char *sim_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(sim_new(size), text, size);
}

/* SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
 * 2014): a counter, and a mixing function of it. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_draw(struct world *world)
{
    world->random += 0x9e3779b97f4a7c15u;
    return mix(world->random);
}

uint64_t sim_draw_below(struct world *world, uint64_t bound)
{
    return bound > 0 ? sim_draw(world) % bound : 0;
}

io_time sim_draw_delay(struct world *world)
{
    const struct sim_faults *f = &world->faults;
    io_time spread = MAX(f->delay_max - f->delay_min, (io_time)0);
    return f->delay_min + (io_time)sim_draw_below(world, (uint64_t)spread + 1);
}

void sim_trace(struct world *world, const char *what, uint64_t a, uint64_t b)
{
    uint64_t h = world->trace ^ (uint64_t)world->now;
    for (const char *c = what; *c; c++)
        h = h * 31 + (uint8_t)*c;
    world->trace = mix(mix(h + a * 0x9e3779b97f4a7c15u) + b);
}

uint64_t sim_trace_hash(const struct world *world)
{
    return world->trace;
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    const struct sim_event *x = CONTAINER_OF(a, struct sim_event, node);
    const struct sim_event *y = CONTAINER_OF(b, struct sim_event, node);
    if (x->at != y->at)
        return x->at < y->at;
    return x->tie != y->tie ? x->tie < y->tie : x->serial < y->serial;
}

void sim_world_faults(struct world *world, const struct sim_faults *faults)
{
    struct sim_faults *f = &world->faults;
    *f = *faults;
    if (f->delay_max == 0) {
        f->delay_min = 5 * IO_US;
        f->delay_max = 50 * IO_US;
    }
    if (f->job_max == 0) {
        f->job_min = 10 * IO_US;
        f->job_max = IO_MS;
    }
    if (f->buffer_bytes == 0)
        f->buffer_bytes = (size_t)128 << 10;
}

struct world *sim_world_new(uint64_t seed)
{
    struct world *world = sim_new(sizeof(*world));
    world->now = IO_SEC;
    world->random = mix(seed + 1);
    world->port_last = 39999;
    heap_init(&world->events, before, EVENTS_MAX);
    list_init(&world->hosts);
    list_init(&world->processes);
    list_init(&world->listeners);
    list_init(&world->datagrams);
    sim_world_faults(world, &(struct sim_faults){0});
    return world;
}

void sim_world_free(struct world *world)
{
    if (!world)
        return;
    ASSERT(list_empty(&world->processes));
    /* Bytes on their way between ends that nobody holds any more. */
    while (sim_step(world)) {
    }
    struct list_node *node;
    while ((node = list_pop(&world->hosts)))
        sim_host_free(CONTAINER_OF(node, struct sim_host, node));
    while ((node = list_pop(&world->datagrams))) {
        struct datagram *d = CONTAINER_OF(node, struct datagram, node);
        text_release(&d->bytes);
        mem_free(d->path);
        mem_free(d);
    }
    heap_release(&world->events);
    mem_free(world);
}

struct sim_host *sim_host(struct world *world, const char *name)
{
    struct list_node *node = list_first(&world->hosts);
    for (; node; node = list_next(&world->hosts, node)) {
        struct sim_host *host = CONTAINER_OF(node, struct sim_host, node);
        if (strcmp(host->name, name) == 0)
            return host;
    }
    struct sim_host *host = sim_new(sizeof(*host));
    host->name = sim_strdup(name);
    list_init(&host->files);
    list_init(&host->env);
    list_push(&world->hosts, &host->node);
    return host;
}

/* ---- events ------------------------------------------------------------------------ */

void sim_schedule(struct world *world, struct sim_event *event, io_time at)
{
    ASSERT(!sim_scheduled(event));
    event->at = MAX(at, world->now);
    event->tie = sim_draw(world);
    event->serial = world->serial++;
    bool held = mem_fail_hold(true);
    result r = heap_push(&world->events, &event->node);
    mem_fail_hold(held);
    mem_must(failed(r) ? NULL : event, sizeof(*event));
}

void sim_cancel(struct world *world, struct sim_event *event)
{
    heap_remove(&world->events, &event->node);
}

io_time sim_now(const struct world *world)
{
    return world->now;
}

bool sim_step(struct world *world)
{
    sim_loops_plan(world);
    struct heap_node *node = heap_pop(&world->events);
    if (!node)
        return false;
    struct sim_event *event = CONTAINER_OF(node, struct sim_event, node);
    world->now = event->at;
    event->run(event);
    return true;
}

static bool next_by(struct world *world, io_time until)
{
    sim_loops_plan(world);
    struct heap_node *node = heap_first(&world->events);
    return node && CONTAINER_OF(node, struct sim_event, node)->at <= until;
}

void sim_run_until(struct world *world, io_time until)
{
    while (next_by(world, until))
        sim_step(world);
    world->now = MAX(world->now, until);
}

bool sim_run_idle(struct world *world, io_time limit)
{
    while (next_by(world, limit))
        sim_step(world);
    return heap_first(&world->events) == NULL;
}

/* ---- datagrams ---------------------------------------------------------------------- */

static void text_must(const struct text *text)
{
    result r = text_result(text);
    mem_must(failed(r) ? NULL : (void *)text, text->len);
}

void sim_datagram_record(struct world *world, const char *path, struct span bytes)
{
    struct datagram *d = sim_new(sizeof(*d));
    d->path = sim_strdup(path);
    text_init(&d->bytes, bytes.len);
    bool held = mem_fail_hold(true);
    text_append(&d->bytes, bytes);
    mem_fail_hold(held);
    text_must(&d->bytes);
    list_push(&world->datagrams, &d->node);
    sim_trace(world, "datagram", bytes.len, 0);
}

void sim_datagrams(struct world *world, void (*fn)(void *arg, const char *path, struct span bytes),
                   void *arg)
{
    struct list_node *node = list_first(&world->datagrams);
    for (; node; node = list_next(&world->datagrams, node)) {
        struct datagram *d = CONTAINER_OF(node, struct datagram, node);
        fn(arg, d->path, text_span(&d->bytes));
    }
}
