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

bool sim_chance(struct world *world, uint64_t per, uint64_t of)
{
    return per > 0 && sim_draw_below(world, of) < per;
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
    world->tail[world->happenings++ % SIM_TRACE_TAIL] =
        (struct sim_happening){world->now, what, a, b};
}

void sim_trace_tail(const struct world *world,
                    void (*fn)(void *arg, io_time at, const char *what, uint64_t a, uint64_t b),
                    void *arg)
{
    uint64_t count = MIN(world->happenings, (uint64_t)SIM_TRACE_TAIL);
    for (uint64_t i = world->happenings - count; i < world->happenings; i++) {
        const struct sim_happening *h = &world->tail[i % SIM_TRACE_TAIL];
        fn(arg, h->at, h->what, h->a, h->b);
    }
}

void sim_world_watch(struct world *world, void (*fn)(void *arg), void *arg)
{
    world->watch = fn;
    world->watch_arg = arg;
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

/* One of the kinds: in half of the worlds, and then between 1 and `max`. */
static unsigned draw_kind(struct world *world, unsigned max)
{
    uint64_t strength = 1 + sim_draw_below(world, max);
    return sim_draw(world) & 1 ? (unsigned)strength : 0;
}

struct sim_faults sim_faults_draw(struct world *world)
{
    static const io_time delays[] = {50 * IO_US, 500 * IO_US, 5 * IO_MS, 100 * IO_MS};
    static const size_t buffers[] = {0, 1000, 5000, 40000};
    struct sim_faults faults = {
        .delay_min = 1 * IO_US,
        .delay_max = delays[sim_draw_below(world, ARRAY_LEN(delays))],
        .short_read_percent = draw_kind(world, 60),
        .short_write_percent = draw_kind(world, 60),
        .reset_permille = draw_kind(world, 20),
        .vanish_permille = draw_kind(world, 10),
        .refuse_permille = draw_kind(world, 200),
        .accept_permille = draw_kind(world, 200),
        .job_min = 1 * IO_US,
        .job_max = (io_time)draw_kind(world, 20) * IO_MS,
        .slow_permille = draw_kind(world, 300),
        .slow_max = 2 * IO_SEC,
        .buffer_bytes = buffers[sim_draw_below(world, ARRAY_LEN(buffers))],
    };
    if (faults.delay_max > 5 * IO_MS)
        faults.buffer_bytes = 0; /* a small one would make a connection of a few kB a second */
    sim_world_faults(world, &faults);
    return faults;
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
    list_init(&world->sockets);
    list_init(&world->cuts);
    list_init(&world->held);
    list_init(&world->datagrams);
    list_init(&world->names);
    sim_world_faults(world, &(struct sim_faults){0});
    return world;
}

static void host_free(struct sim_host *host)
{
    struct list_node *node;
    while ((node = list_pop(&host->env))) {
        struct sim_env *env = CONTAINER_OF(node, struct sim_env, node);
        mem_free(env->name);
        mem_free(env->value);
        mem_free(env);
    }
    sim_node_unref(host->root);
    mem_free(host->name);
    mem_free(host);
}

void sim_world_free(struct world *world)
{
    if (!world)
        return;
    ASSERT(list_empty(&world->processes));
    world->watch = NULL;
    sim_sockets_release(world);
    while (!list_empty(&world->cuts)) {
        const struct sim_cut *cut = CONTAINER_OF(list_first(&world->cuts), struct sim_cut, node);
        sim_cut(world, cut->from->name, cut->to->name, false);
    }
    /* Bytes on their way between ends that nobody holds any more. */
    while (sim_step(world)) {
    }
    struct list_node *node;
    while ((node = list_pop(&world->hosts)))
        host_free(CONTAINER_OF(node, struct sim_host, node));
    while ((node = list_pop(&world->datagrams))) {
        struct datagram *d = CONTAINER_OF(node, struct datagram, node);
        text_release(&d->bytes);
        mem_free(d->path);
        mem_free(d);
    }
    sim_names_release(world);
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
    list_init(&host->env);
    host->root = sim_folder_new();
    host->disk_room = UINT64_MAX;
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
    if (world->watch)
        world->watch(world->watch_arg);
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
