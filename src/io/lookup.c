/* What a lookup is in both implementations: its name, its deadline, and the one place
 * where it completes.
 *
 *         lookup_start            found, failed, deadline, cancel
 *   IDLE --------------> ASKED -----------------------------------> ANSWERED --+
 *     ^ |                                                              ^       |
 *     | +--- a literal, no name ---------------------------------------+       |
 *     +---------------------------- end of turn: `deliver` --------------------+
 */
#include "base/alloc.h"
#include "io/ops.h"

#include <stdio.h>

enum { STATE_IDLE, STATE_ASKED, STATE_ANSWERED };

static void deliver(struct io_post *post)
{
    struct io_lookup *lookup = CONTAINER_OF(post, struct io_lookup, post);
    struct lookup_answer *answer = steal(&lookup->answer);
    enum err code = (enum err)lookup->code;
    lookup->state = STATE_IDLE;
    list_remove(&lookup->node);
    char why[sizeof(lookup->why)];
    memcpy(why, lookup->why, sizeof(why)); /* the struct may be used again at once */
    lookup->fn(lookup, fail(code), code == ERR_NONE ? answer : NULL, why);
    mem_free(answer);
}

static void finish(struct io_lookup *lookup, enum err code)
{
    timer_stop(lookup->loop, &lookup->timer);
    lookup->code = (uint16_t)code;
    lookup->state = STATE_ANSWERED;
    lookup->post.run = deliver;
    loop_defer(lookup->loop, &lookup->post);
}

void lookup_failed(struct io_lookup *lookup, enum err code, const char *why)
{
    ASSERT(lookup->state == STATE_ASKED && code != ERR_NONE);
    snprintf(lookup->why, sizeof(lookup->why), "cannot look up \"%s\": %s", lookup->name, why);
    finish(lookup, code);
}

void lookup_found(struct io_lookup *lookup, const struct lookup_answer *answer)
{
    ASSERT(lookup->state == STATE_ASKED);
    size_t count = MIN(answer->count, (size_t)LOOKUP_ANSWERS_MAX);
    bool addresses = lookup->kind == LOOKUP_ADDRESSES;
    size_t size = count * (addresses ? sizeof(*answer->addresses) : sizeof(*answer->services));
    struct lookup_answer *copy = mem_alloc(sizeof(*copy) + size);
    if (!copy) {
        lookup_failed(lookup, ERR_NO_MEMORY, err_text(ERR_NO_MEMORY));
        return;
    }
    const void *from = addresses ? (const void *)answer->addresses : answer->services;
    memcpy(copy + 1, from, size);
    *copy = (struct lookup_answer){.ttl = answer->ttl, .count = count};
    if (addresses)
        copy->addresses = (const struct io_address *)(copy + 1);
    else
        copy->services = (const struct lookup_service *)(copy + 1);
    lookup->answer = copy;
    finish(lookup, ERR_NONE);
}

static void end_early(struct io_lookup *lookup, enum err code, const char *why)
{
    if (lookup->state == STATE_ASKED) {
        lookup->loop->process->ops->lookup_stop(lookup);
        lookup_failed(lookup, code, why);
    }
}

static void deadline_passed(struct io_timer *timer)
{
    end_early(CONTAINER_OF(timer, struct io_lookup, timer), ERR_DEADLINE, err_text(ERR_DEADLINE));
}

void lookup_cancel(struct io_lookup *lookup)
{
    end_early(lookup, ERR_CANCELLED, err_text(ERR_CANCELLED));
    if (lookup->state == STATE_ANSWERED)
        lookup->code = ERR_CANCELLED;
}

bool lookup_running(const struct io_lookup *lookup)
{
    return lookup->state != STATE_IDLE;
}

static bool answer_literal(struct io_lookup *lookup)
{
    struct io_endpoint endpoint;
    char text[sizeof(lookup->name) + 8];
    bool v6 = strchr(lookup->name, ':') && lookup->name[0] != '[';
    snprintf(text, sizeof(text), v6 ? "[%s]:1" : "%s:1", lookup->name);
    if (lookup->kind != LOOKUP_ADDRESSES ||
        failed(io_endpoint_parse(span_cstr(text), &endpoint, NULL)) || endpoint.named ||
        endpoint.address.family == IO_UNIX)
        return false;
    endpoint.address.port = 0;
    lookup_found(lookup, &(struct lookup_answer){.count = 1, .addresses = &endpoint.address});
    return true;
}

void lookup_start(struct loop *loop, struct io_lookup *lookup, enum lookup_kind kind,
                  struct span name, io_time deadline, lookup_fn fn)
{
    ASSERT(lookup->state == STATE_IDLE);
    lookup->loop = loop;
    lookup->kind = kind;
    lookup->fn = fn;
    lookup->state = STATE_ASKED;
    lookup->timer.fired = deadline_passed;
    lookup->why[0] = '\0';
    list_push(&loop->lookups, &lookup->node);
    bool fits = name.len < sizeof(lookup->name);
    diag_quote(name, lookup->name, sizeof(lookup->name));
    if (fits && answer_literal(lookup))
        return;
    if (!io_name_valid(name)) {
        lookup_failed(lookup, ERR_SYNTAX, "expected a host name");
        return;
    }
    if (deadline != TIME_NEVER)
        timer_start(loop, &lookup->timer, deadline);
    loop->process->ops->lookup(lookup);
}

void lookup_drop(struct io_lookup *lookup)
{
    if (lookup->state == STATE_IDLE)
        return;
    if (lookup->state == STATE_ASKED)
        lookup->loop->process->ops->lookup_stop(lookup);
    timer_stop(lookup->loop, &lookup->timer);
    list_remove(&lookup->node);
    mem_free(steal(&lookup->answer));
    lookup->state = STATE_IDLE;
}

void lookups_release(struct loop *loop)
{
    struct list_node *node;
    while ((node = list_first(&loop->lookups)))
        lookup_drop(CONTAINER_OF(node, struct io_lookup, node));
}

void process_dns(struct process *process, const struct dns_options *options)
{
    process->dns = *options;
    if (process->dns.timeout == 0)
        process->dns.timeout = 2 * IO_SEC;
    if (process->dns.tries == 0)
        process->dns.tries = 2;
}
