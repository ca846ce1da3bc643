#include "net/resolver.h"

#include "base/alloc.h"
#include "base/map.h"
#include "net/client_account.h"

#include <stdio.h>

#define FAILURE_KEPT_MAX IO_SEC

struct resolver_entry {
    struct list_node node; /* of all, the one asked for last at the end */
    struct resolver *resolver;
    struct span key;
    enum lookup_kind kind;
    struct lookup_answer *answer; /* on the heap, with what it points to */
    enum err code;                /* why there is no answer */
    bool failing;                 /* the last lookup failed, the answer is old */
    io_time fresh_until, stale_until, retry_at;
    struct io_lookup lookup;
    struct io_timer stale_timer;
    struct list waiting; /* for the lookup */
    int users;           /* waits that have not completed */
    char why[sizeof(((struct io_lookup *)0)->why)];
    char name[]; /* the key: the kind, then the name in lower case */
};

struct resolver {
    struct loop *loop;
    const struct dns_config *config;
    struct client_account_loop *account;
    struct map entries;
    struct list order;
};

/* ---- waits ------------------------------------------------------------------------------- */

static void deliver(struct io_post *post)
{
    struct resolver_wait *wait = CONTAINER_OF(post, struct resolver_wait, post);
    struct resolver_entry *entry = steal(&wait->entry);
    enum err code = (enum err)wait->code;
    wait->finished = false;
    if (!entry) {
        wait->fn(wait, fail(code), NULL, err_text(code));
        return;
    }
    if (code == ERR_NONE && !entry->answer) /* has gone meanwhile */
        code = entry->code;
    const char *why = code == entry->code ? entry->why : err_text(code);
    /* `fn` may ask for others, and the entry must not make room for them. */
    wait->fn(wait, fail(code), code == ERR_NONE ? entry->answer : NULL, why);
    entry->users--;
}

static void finish(struct resolver_wait *wait, enum err code)
{
    timer_stop(wait->resolver->loop, &wait->timer);
    list_remove(&wait->node);
    wait->waiting = false;
    wait->finished = true;
    wait->code = (uint16_t)code;
    wait->post.run = deliver;
    loop_defer(wait->resolver->loop, &wait->post);
}

static void finish_all(struct resolver_entry *entry, enum err code)
{
    struct list_node *node;
    while ((node = list_first(&entry->waiting)))
        finish(CONTAINER_OF(node, struct resolver_wait, node), code);
}

static void deadline_passed(struct io_timer *timer)
{
    finish(CONTAINER_OF(timer, struct resolver_wait, timer), ERR_DEADLINE);
}

void resolver_cancel(struct resolver_wait *wait)
{
    if (wait->waiting)
        finish(wait, ERR_CANCELLED);
    else if (wait->finished)
        wait->code = ERR_CANCELLED;
}

/* ---- answers ------------------------------------------------------------------------------- */

static struct lookup_answer *copy_of(const struct lookup_answer *answer, enum lookup_kind kind)
{
    bool addresses = kind == LOOKUP_ADDRESSES;
    const void *from = addresses ? (const void *)answer->addresses : answer->services;
    size_t size =
        answer->count * (addresses ? sizeof(*answer->addresses) : sizeof(*answer->services));
    struct lookup_answer *copy = mem_alloc(sizeof(*copy) + size);
    if (!copy)
        return NULL;
    memcpy(copy + 1, from, size);
    *copy = (struct lookup_answer){.ttl = answer->ttl, .count = answer->count};
    if (addresses)
        copy->addresses = (const struct io_address *)(copy + 1);
    else
        copy->services = (const struct lookup_service *)(copy + 1);
    return copy;
}

static void take_answer(struct resolver_entry *entry, struct lookup_answer *answer, io_time now)
{
    const struct dns_config *config = entry->resolver->config;
    mem_free(entry->answer);
    entry->answer = answer;
    entry->code = ERR_NONE;
    entry->failing = false;
    entry->fresh_until = now + MIN(MAX(answer->ttl, config->ttl_min), config->ttl_max);
    entry->stale_until = entry->fresh_until + config->stale_max;
    finish_all(entry, ERR_NONE);
}

static bool give_stale(struct resolver_entry *entry, io_time now)
{
    if (!entry->answer || now >= entry->stale_until)
        return false;
    entry->failing = true;
    entry->retry_at = now + entry->resolver->config->negative_ttl;
    if (!list_empty(&entry->waiting))
        client_account_name(entry->resolver->account, ACCOUNT_NAME_STALE);
    finish_all(entry, ERR_NONE);
    return true;
}

static void take_failure(struct resolver_entry *entry, enum err code, const char *why, io_time now)
{
    io_time keep = entry->resolver->config->negative_ttl;
    if (code != ERR_NOT_FOUND) {
        if (give_stale(entry, now))
            return;
        keep = MIN(keep, FAILURE_KEPT_MAX);
    }
    mem_free(steal(&entry->answer));
    entry->code = code;
    entry->failing = false;
    entry->fresh_until = code == ERR_NO_MEMORY ? now : now + keep;
    snprintf(entry->why, sizeof(entry->why), "%s", why);
    finish_all(entry, code);
}

static void looked_up(struct io_lookup *lookup, result r, const struct lookup_answer *answer,
                      const char *why)
{
    struct resolver_entry *entry = CONTAINER_OF(lookup, struct resolver_entry, lookup);
    io_time now = loop_now(entry->resolver->loop);
    timer_stop(entry->resolver->loop, &entry->stale_timer);
    client_account_lookup(entry->resolver->account, r);
    struct lookup_answer *copy = answer ? copy_of(answer, entry->kind) : NULL;
    if (copy)
        take_answer(entry, copy, now);
    else if (failed(r))
        take_failure(entry, (enum err)r.code, why, now);
    else
        take_failure(entry, ERR_NO_MEMORY, err_text(ERR_NO_MEMORY), now);
}

static void waited_enough(struct io_timer *timer)
{
    struct resolver_entry *entry = CONTAINER_OF(timer, struct resolver_entry, stale_timer);
    give_stale(entry, loop_now(entry->resolver->loop));
}

static void look_up(struct resolver_entry *entry, io_time now)
{
    struct resolver *resolver = entry->resolver;
    if (lookup_running(&entry->lookup))
        return;
    lookup_start(resolver->loop, &entry->lookup, entry->kind, span_from(entry->key, 1),
                 now + resolver->config->timeout, looked_up);
    if (entry->answer && now < entry->stale_until)
        timer_start(resolver->loop, &entry->stale_timer, now + RESOLVER_STALE_AFTER);
}

/* ---- entries --------------------------------------------------------------------------------- */

static void entry_free(struct resolver_entry *entry)
{
    map_remove(&entry->resolver->entries, entry->key);
    list_remove(&entry->node);
    mem_free(entry->answer);
    mem_free(entry);
}

/* N2 */
static bool make_room(struct resolver *resolver)
{
    struct list_node *node = list_first(&resolver->order);
    for (; node; node = list_next(&resolver->order, node)) {
        struct resolver_entry *entry = CONTAINER_OF(node, struct resolver_entry, node);
        if (entry->users == 0 && !lookup_running(&entry->lookup)) {
            entry_free(entry);
            return true;
        }
    }
    return false;
}

static struct resolver_entry *entry_new(struct resolver *resolver, enum lookup_kind kind,
                                        const char *key, size_t len)
{
    struct resolver_entry *entry = mem_zalloc(1, sizeof(*entry) + len + 1);
    if (!entry)
        return NULL;
    memcpy(entry->name, key, len);
    entry->resolver = resolver;
    entry->kind = kind;
    entry->key = span_of(entry->name, len);
    entry->stale_timer.fired = waited_enough;
    list_init(&entry->waiting);
    if (failed(map_set(&resolver->entries, entry->key, entry))) {
        mem_free(entry);
        return NULL;
    }
    list_push(&resolver->order, &entry->node);
    return entry;
}

static enum err find_entry(struct resolver *resolver, enum lookup_kind kind, struct span name,
                           struct resolver_entry **ret_entry)
{
    char key[IO_NAME_MAX + 3];
    if (name.len > IO_NAME_MAX + 1)
        return ERR_SYNTAX;
    key[0] = kind == LOOKUP_ADDRESSES ? 'a' : 's';
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        key[i + 1] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    struct resolver_entry *entry = map_get(&resolver->entries, span_of(key, name.len + 1));
    if (entry) {
        list_remove(&entry->node);
        list_push(&resolver->order, &entry->node);
    } else {
        if (resolver->entries.count >= (size_t)resolver->config->entries_max &&
            !make_room(resolver))
            return ERR_EXHAUSTED;
        entry = entry_new(resolver, kind, key, name.len + 1);
    }
    *ret_entry = entry;
    return entry ? ERR_NONE : ERR_NO_MEMORY;
}

/* ---- asking ------------------------------------------------------------------------------------
 */

void resolver_ask(struct resolver *resolver, struct resolver_wait *wait, enum lookup_kind kind,
                  struct span name, io_time deadline, resolver_fn fn)
{
    ASSERT(!wait->waiting && !wait->finished);
    wait->resolver = resolver;
    wait->fn = fn;
    wait->timer.fired = deadline_passed;
    enum err code = find_entry(resolver, kind, name, &wait->entry);
    if (code != ERR_NONE) {
        finish(wait, code);
        return;
    }
    struct resolver_entry *entry = wait->entry;
    io_time now = loop_now(resolver->loop);
    entry->users++;
    if (now < entry->fresh_until) {
        client_account_name(resolver->account, ACCOUNT_NAME_CACHED);
        finish(wait, entry->answer ? ERR_NONE : entry->code);
        return;
    }
    if (entry->failing && entry->answer && now < entry->stale_until) {
        client_account_name(resolver->account, ACCOUNT_NAME_STALE);
        finish(wait, ERR_NONE);
        if (now >= entry->retry_at)
            look_up(entry, now);
        return;
    }
    wait->waiting = true;
    list_push(&entry->waiting, &wait->node);
    if (deadline != TIME_NEVER)
        timer_start(resolver->loop, &wait->timer, deadline);
    look_up(entry, now);
}

result resolver_new(struct loop *loop, const struct dns_config *config,
                    struct client_account_loop *account, struct resolver **ret_resolver)
{
    struct resolver *resolver = MEM_NEW(struct resolver);
    if (!resolver)
        return fail(ERR_NO_MEMORY);
    resolver->loop = loop;
    resolver->config = config;
    resolver->account = account;
    map_init(&resolver->entries, process_random_u64(loop_process(loop)),
             (size_t)config->entries_max);
    list_init(&resolver->order);
    *ret_resolver = resolver;
    return OK;
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver)
        return;
    struct list_node *node;
    while ((node = list_first(&resolver->order))) {
        struct resolver_entry *entry = CONTAINER_OF(node, struct resolver_entry, node);
        lookup_drop(&entry->lookup);
        timer_stop(resolver->loop, &entry->stale_timer);
        entry_free(entry);
    }
    map_release(&resolver->entries);
    mem_free(resolver);
}
