/* A server's answer to a question for SRV records: what is taken from it is sound, and the
 * same when it is written as a plain answer and read again. */
#include "base/test_fuzz.h"
#include "base/text.h"
#include "io/uv/uv_private.h"

#include <ares.h>

static void put(struct text *into, uint64_t value, int len)
{
    while (len-- > 0)
        text_byte(into, (uint8_t)(value >> (8 * len)));
}

static void put_name(struct text *into, struct span name)
{
    while (name.len > 0) {
        struct span label = span_cut(&name, '.');
        text_byte(into, (uint8_t)label.len);
        text_append(into, label);
    }
    text_byte(into, 0);
}

static void put_service(struct text *into, const struct lookup_service *service, io_time ttl)
{
    struct span target = span_cstr(service->target);
    put_name(into, SPAN("_http._tcp.test"));
    put(into, 33, 2);
    put(into, 1, 2);
    put(into, (uint64_t)(ttl / IO_SEC), 4);
    put(into, target.len + 2 + 6, 2);
    put(into, service->priority, 2);
    put(into, service->weight, 2);
    put(into, service->port, 2);
    put_name(into, target);
}

static void check_answer(const struct lookup_service *services, const struct lookup_answer *answer)
{
    ASSERT(answer->count > 0 && answer->count <= LOOKUP_ANSWERS_MAX);
    ASSERT(answer->ttl >= 0 && answer->ttl <= INT32_MAX * IO_SEC);
    for (size_t i = 0; i < answer->count; i++) {
        const struct lookup_service *one = &services[i], *next = one + 1;
        ASSERT(io_name_valid(span_cstr(one->target)));
        ASSERT(i + 1 == answer->count || one->priority < next->priority ||
               (one->priority == next->priority && one->weight >= next->weight));
    }
}

static void check_again(const struct lookup_service *services, const struct lookup_answer *answer)
{
    struct lookup_service again[LOOKUP_ANSWERS_MAX];
    struct lookup_answer second = {0};
    struct text message;
    text_init(&message, (size_t)1 << 16);
    put(&message, 0x1234, 2);
    put(&message, 0x8180, 2);
    put(&message, 1, 2);
    put(&message, answer->count, 2);
    put(&message, 0, 4);
    put_name(&message, SPAN("_http._tcp.test"));
    put(&message, (33 << 16) + 1, 4);
    for (size_t i = answer->count; i-- > 0;)
        put_service(&message, &services[i], answer->ttl);
    ASSERT(!failed(text_result(&message)));
    ASSERT(iouv_services_parse(text_span(&message), again, &second) == ARES_SUCCESS);
    ASSERT(second.count == answer->count && second.ttl == answer->ttl);
    for (size_t i = 0; i < second.count; i++) {
        ASSERT(again[i].priority == services[i].priority && again[i].weight == services[i].weight);
        ASSERT(again[i].port == services[i].port);
        ASSERT(strcmp(again[i].target, services[i].target) == 0);
    }
    text_release(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct lookup_service services[LOOKUP_ANSWERS_MAX];
    struct lookup_answer answer = {0};
    int status = iouv_services_parse(span_of(bytes, len), services, &answer);
    ASSERT(status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_EBADRESP);
    if (status == ARES_SUCCESS) {
        check_answer(services, &answer);
        check_again(services, &answer);
    }
    return 0;
}
