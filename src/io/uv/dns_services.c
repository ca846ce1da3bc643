/* SRV records out of a raw answer (RFC 1035 §4.1, RFC 2782): c-ares 1.18 reads them too,
 * but not their TTL. What the bytes say is not trusted; names are read by c-ares. */
#include "io/uv/uv_private.h"

#include <ares.h>
#include <stdlib.h>

#define TYPE_CNAME 5
#define TYPE_SRV 33

struct reader {
    struct span bytes;
    size_t at;
    bool bad;
};

static unsigned take(struct reader *r, size_t len)
{
    unsigned value = 0;
    if (r->bad || r->bytes.len - r->at < len) {
        r->bad = true;
        return 0;
    }
    for (size_t i = 0; i < len; i++)
        value = value << 8 | r->bytes.ptr[r->at++];
    return value;
}

/* `into` may be NULL: passes over it. */
static void take_name(struct reader *r, char *into, size_t size)
{
    char *name;
    long len;
    if (r->bad)
        return;
    int status =
        ares_expand_name(r->bytes.ptr + r->at, r->bytes.ptr, (int)r->bytes.len, &name, &len);
    if (status != ARES_SUCCESS) {
        r->bad = true;
        return;
    }
    r->at += (size_t)len;
    size_t name_len = strlen(name);
    if (into && name_len < size)
        memcpy(into, name, name_len + 1);
    else if (into)
        r->bad = true;
    ares_free_string(name);
}

static int by_priority(const void *a, const void *b)
{
    const struct lookup_service *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    int names = strcmp(x->target, y->target);
    return names ? names : (int)x->port - (int)y->port;
}

static void take_record(struct reader *r, struct lookup_service *services,
                        struct lookup_answer *answer, uint32_t *ttl)
{
    take_name(r, NULL, 0);
    unsigned type = take(r, 2);
    take(r, 2);
    uint32_t record_ttl = take(r, 4);
    unsigned len = take(r, 2);
    size_t end = r->at + len;
    if (r->bad || end > r->bytes.len) {
        r->bad = true;
        return;
    }
    if (type == TYPE_CNAME || type == TYPE_SRV) /* RFC 2181 §8: its top bit means 0 */
        *ttl = MIN(*ttl, record_ttl > INT32_MAX ? 0 : record_ttl);
    if (type == TYPE_SRV && answer->count < LOOKUP_ANSWERS_MAX) {
        struct lookup_service *service = &services[answer->count];
        service->priority = (uint16_t)take(r, 2);
        service->weight = (uint16_t)take(r, 2);
        service->port = (uint16_t)take(r, 2);
        take_name(r, service->target, sizeof(service->target));
        r->bad |= r->at > end;
        if (r->bad) /* there is no target */
            return;
        /* "." as the only target: the service is decidedly not there. Behind a dot at the
         * end there was a label of one zero byte, which c-ares does not escape. */
        struct span target = span_cstr(service->target);
        answer->count += io_name_valid(target) && !span_ends(target, SPAN("."));
    }
    r->at = end;
}

int iouv_services_parse(struct span bytes, struct lookup_service *services,
                        struct lookup_answer *answer)
{
    struct reader r = {.bytes = bytes};
    uint32_t ttl = INT32_MAX;
    take(&r, 4);
    unsigned questions = take(&r, 2), records = take(&r, 2);
    take(&r, 4);
    for (unsigned i = 0; i < questions && !r.bad; i++) {
        take_name(&r, NULL, 0);
        take(&r, 4);
    }
    answer->count = 0;
    for (unsigned i = 0; i < records && !r.bad; i++)
        take_record(&r, services, answer, &ttl);
    if (r.bad)
        return ARES_EBADRESP;
    if (answer->count == 0)
        return ARES_ENODATA;
    qsort(services, answer->count, sizeof(*services), by_priority);
    answer->ttl = (io_time)ttl * IO_SEC;
    return ARES_SUCCESS;
}
