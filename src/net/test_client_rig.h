/* For tests of the client's pool: a process, over libuv or the simulator, with a pool, its
 * metrics and a server that answers as the test chooses; and calls that note what came.
 *
 *     rig_init -> (change rig.config) -> rig_run -> looks at `probes` -> rig_release
 */
#pragma once

#include "net/client_pool.h"
#include "net/test_origin.h"

struct rig {
    bool sim;
    struct world *world;
    struct process *process;
    struct loop *loop;
    struct metrics *metrics;
    struct client_account *account;
    struct dns_config dns;
    struct client_config config;
    struct resolver *resolver;
    struct client_pool *pool;
    struct client_origin *to;
    struct origin origin;
    struct io_timer guard, after;
    struct io_post go_post;
    void (*go)(struct rig *rig);
    void (*then)(struct rig *rig);
    int running, ended;
    bool timed_out, drained, uncounted;
    uint64_t cut;
    int step;
};

/* One call and what came of it. */
struct probe {
    struct rig *rig;
    struct client_call *call;
    struct client_call_options options;
    int ends, heads, order;
    size_t body_len;
    result r;
    int status;
    char body[64];
    io_time took, started;
    void (*ended)(struct probe *probe);
};

extern const struct client_events rig_collecting;

void rig_init(struct rig *rig, bool sim);
/* Makes the pool and calls `go` from the loop, once that runs. */
void rig_start(struct rig *rig, void (*go)(struct rig *rig));
/* The same, runs until the pool has been drained, and checks that nothing is left. */
void rig_run(struct rig *rig, void (*go)(struct rig *rig));
void rig_release(struct rig *rig);
/* Lets the pool drain, which ends the run. A probe without `ended` that is the last one
 * does that by itself. */
void rig_finish(struct rig *rig);
void rig_drained(void *arg, uint64_t cut);
void rig_after(struct rig *rig, io_time wait, void (*then)(struct rig *rig));
/* A metric's value; 0 when it is not there. */
double rig_metric(struct rig *rig, const char *prefix);

/* Sends the probe's request, with 10 s to go unless it says otherwise. */
result rig_send(struct rig *rig, struct probe *probe, enum http_method method, const char *target,
                const struct client_events *events);
void rig_get(struct rig *rig, struct probe *probe, const char *target);
/* The `end` of every probe. */
void rig_ended(void *arg, result r, const struct client_response *response);

/* The probes of a test; a rig runs one at a time. */
extern struct probe probes[32];
#define EACH_IO(sim) for (int sim = 0; sim < 2; sim++, memset(probes, 0, sizeof(probes)))
