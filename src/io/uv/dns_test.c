/* c-ares on our loop against a name server that loses, cuts, forges and delays. */
#include "base/alloc.h"
#include "base/test_cmocka.h"
#include "io/test_dns_server.h"
#include "io/test_folder.h"
#include "io/uv/uv.h"
#include "io/uv/uv_private.h"

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>

struct ask {
    struct io_lookup lookup;
    struct process *process;
    result r;
    size_t count;
    struct io_address addresses[LOOKUP_ANSWERS_MAX];
    struct lookup_service services[LOOKUP_ANSWERS_MAX];
    io_time ttl, took;
    char why[384];
};

static struct io_address v4(uint8_t last)
{
    return (struct io_address){.family = IO_INET, .ip = {192, 0, 2, last}};
}

static void answered(struct io_lookup *lookup, result r, const struct lookup_answer *answer,
                     const char *why)
{
    struct ask *ask = CONTAINER_OF(lookup, struct ask, lookup);
    ask->r = r;
    snprintf(ask->why, sizeof(ask->why), "%s", why);
    if (answer) {
        ask->count = answer->count;
        ask->ttl = answer->ttl;
        if (lookup->kind == LOOKUP_ADDRESSES)
            memcpy(ask->addresses, answer->addresses, answer->count * sizeof(*ask->addresses));
        else
            memcpy(ask->services, answer->services, answer->count * sizeof(*ask->services));
    }
    process_stop(ask->process);
}

/* Of the allocations of a lookup, the one that fails; 0: none. */
static uint64_t fails_at;

/* One process, one question. */
static struct ask *ask_with(const struct dns_options *dns, enum lookup_kind kind, const char *name)
{
    static struct ask ask;
    ask = (struct ask){0};
    struct io_uv_options options = {.loops = 1, .compute_threads = 1, .file_threads = 1};
    assert_int_equal(uv_process_new(&options, &ask.process, NULL).code, ERR_NONE);
    process_dns(ask.process, dns);
    struct loop *loop = process_loop(ask.process, 0);
    io_time start = process_clock(ask.process);
    mem_fail_after(fails_at, false);
    lookup_start(loop, &ask.lookup, kind, span_cstr(name), start + 5 * IO_SEC, answered);
    process_run(ask.process);
    mem_fail_after(0, false);
    ask.took = process_clock(ask.process) - start;
    process_free(ask.process);
    return &ask;
}

static struct ask *ask_for(enum lookup_kind kind, const char *name)
{
    struct dns_options dns = {.timeout = 100 * IO_MS, .tries = 3, .servers_len = 1};
    dns.servers[0] = dns_server_address();
    return ask_with(&dns, kind, name);
}

static void put_one(const char *name, enum dns_trick trick)
{
    dns_server_put(name, (struct io_address[]){v4(1)}, 1, 9 * IO_SEC, trick);
}

static void assert_one(const struct ask *ask)
{
    assert_int_equal(ask->r.code, ERR_NONE);
    assert_int_equal(ask->count, 1);
    assert_memory_equal(ask->addresses[0].ip, v4(1).ip, 4);
}

static void a_truncated_answer_is_asked_for_over_tcp(void **state)
{
    put_one("cut.test", DNS_TRUNCATES);
    assert_one(ask_for(LOOKUP_ADDRESSES, "cut.test"));
    assert_true(dns_server_asked_tcp("cut.test") > 0);
}

static void an_answer_too_big_for_a_datagram_comes_whole(void **state)
{
    struct lookup_service services[30];
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        services[i] = (struct lookup_service){(uint16_t)(i / 10), 1, (uint16_t)(1000 + i), ""};
        snprintf(services[i].target, sizeof(services[i].target),
                 "a-rather-long-name-of-a-pod-%zu.web.namespace.svc.cluster.test", 29 - i);
    }
    dns_server_put_services("_big._tcp.test", services, ARRAY_LEN(services), IO_SEC, DNS_PLAIN);
    struct ask *ask = ask_for(LOOKUP_SERVICES, "_big._tcp.test");
    assert_int_equal(ask->count, ARRAY_LEN(services));
    for (size_t i = 1; i < ask->count; i++)
        assert_true(ask->services[i].priority >= ask->services[i - 1].priority);
    assert_true(dns_server_asked_tcp("_big._tcp.test") > 0);
}

static void a_lost_datagram_is_asked_for_again(void **state)
{
    put_one("lost.test", DNS_LOSES_FIRST);
    struct ask *ask = ask_for(LOOKUP_ADDRESSES, "lost.test");
    assert_one(ask);
    assert_true(ask->took >= 100 * IO_MS);
    assert_true(dns_server_asked("lost.test") >= 3);
}

static void rubbish_does_not_end_a_lookup(void **state)
{
    put_one("rubbish.test", DNS_GARBAGE);
    assert_one(ask_for(LOOKUP_ADDRESSES, "rubbish.test"));
}

static void an_answer_with_another_id_is_not_taken(void **state)
{
    put_one("forged.test", DNS_WRONG_ID);
    assert_one(ask_for(LOOKUP_ADDRESSES, "forged.test"));
}

static void a_slow_answer_is_waited_for(void **state)
{
    put_one("slow.test", DNS_SLOW);
    struct ask *ask = ask_for(LOOKUP_ADDRESSES, "slow.test");
    assert_one(ask);
    assert_true(ask->took >= 150 * IO_MS);
}

static void aliases_are_followed_and_their_ttl_counts(void **state)
{
    dns_server_put_alias("a.test", "b.test", 60 * IO_SEC);
    dns_server_put_alias("b.test", "c.test", 3 * IO_SEC);
    put_one("c.test", DNS_PLAIN);
    struct ask *ask = ask_for(LOOKUP_ADDRESSES, "a.test");
    assert_one(ask);
    assert_int_equal(ask->ttl, 3 * IO_SEC);
}

static void a_damaged_answer_is_a_failure(void **state)
{
    struct lookup_service service = {1, 1, 80, "pod.test"};
    dns_server_put_services("_cut._tcp.test", &service, 1, IO_SEC, DNS_DAMAGED);
    struct ask *ask = ask_for(LOOKUP_SERVICES, "_cut._tcp.test");
    assert_int_equal(ask->r.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(ask->why, "damaged"));
}

static void a_server_that_refuses_is_not_the_last(void **state)
{
    put_one("second.test", DNS_PLAIN);
    struct dns_options dns = {.timeout = 100 * IO_MS, .tries = 2, .servers_len = 2};
    dns.servers[1] = dns.servers[0] = dns_server_address();
    dns.servers[0].ip[3] = 9; /* nobody listens there */
    assert_one(ask_with(&dns, LOOKUP_ADDRESSES, "second.test"));
    put_one("refused.test", DNS_REFUSED);
    struct ask *ask = ask_for(LOOKUP_ADDRESSES, "refused.test");
    assert_int_equal(ask->r.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(ask->why, "REFUSED"));
}

static void without_memory_a_lookup_still_ends(void **state)
{
    struct lookup_service service = {1, 1, 80, "pod.test"};
    put_one("poor.test", DNS_PLAIN);
    dns_server_put_services("_poor._tcp.test", &service, 1, IO_SEC, DNS_PLAIN);
    int answers = 0;
    for (fails_at = 1; fails_at < 60; fails_at++) {
        bool services = fails_at % 2;
        struct ask *ask = services ? ask_for(LOOKUP_SERVICES, "_poor._tcp.test")
                                   : ask_for(LOOKUP_ADDRESSES, "poor.test");
        assert_int_not_equal(ask->r.code, ERR_DEADLINE);
        answers += !failed(ask->r);
    }
    fails_at = 0;
    assert_true(answers > 0 && answers < 59);
}

static char folder[] = "/tmp/weir-dns-XXXXXX";

static const char *write_file(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    return path;
}

static void search_domains_and_ndots_hold(void **state)
{
    put_one("web.space.cluster.test", DNS_PLAIN);
    struct lookup_service service = {1, 1, 80, "pod.test"};
    dns_server_put_services("_http._tcp.web.space.cluster.test", &service, 1, IO_SEC, DNS_PLAIN);
    struct dns_options dns = {.timeout = 100 * IO_MS, .servers_len = 1};
    dns.servers[0] = dns_server_address();
    dns.resolv_conf = write_file(
        "resolv.conf", "nameserver 127.0.0.1\nsearch other.test cluster.test\noptions ndots:5\n");
    assert_one(ask_with(&dns, LOOKUP_ADDRESSES, "web.space"));
    assert_int_equal(ask_with(&dns, LOOKUP_ADDRESSES, "web.space.")->r.code, ERR_NOT_FOUND);
    assert_int_equal(ask_with(&dns, LOOKUP_SERVICES, "_http._tcp.web.space")->count, 1);
}

static void the_hosts_file_comes_first(void **state)
{
    dns_server_put("by-file.test", (struct io_address[]){v4(8)}, 1, IO_SEC, DNS_PLAIN);
    setenv("CARES_HOSTS", write_file("hosts", "192.0.2.1 by-file.test\n"), 1);
    assert_one(ask_for(LOOKUP_ADDRESSES, "by-file.test"));
    unsetenv("CARES_HOSTS");
    assert_int_equal(dns_server_asked("by-file.test"), 0);
}

/* ---- raw answers -------------------------------------------------------------------------- */

static const uint8_t raw[] = {
    0,    1,   0x81, 0x80, 0,  1, 0, 2, 0, 0, 0,  0,            /* head */
    1,    'a', 0,    0,    33, 0, 1,                            /* question */
    0xc0, 12,  0,    5,    0,  1, 0, 0, 0, 9, 0,  3, 1, 'b', 0, /* a is b, for 9 s */
    1,    'b', 0,    0,    33, 0, 1, 0, 0, 0, 60, 0, 9, 0,   1, 0, 2, 0, 80, 1, 'c', 0, /* */
};

static void services_are_read_with_the_least_ttl(void **state)
{
    struct lookup_service services[LOOKUP_ANSWERS_MAX];
    struct lookup_answer answer = {0};
    assert_int_equal(iouv_services_parse(span_of(raw, sizeof(raw)), services, &answer),
                     ARES_SUCCESS);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.ttl, 9 * IO_SEC);
    assert_int_equal(services[0].priority, 1);
    assert_int_equal(services[0].weight, 2);
    assert_int_equal(services[0].port, 80);
    assert_string_equal(services[0].target, "c");
}

static void answers_cut_or_changed_anywhere_do_no_harm(void **state)
{
    struct lookup_service services[LOOKUP_ANSWERS_MAX];
    struct lookup_answer answer;
    for (size_t len = 0; len < sizeof(raw); len++) {
        uint8_t *copy = malloc(len + 1); /* so that a read beyond is seen */
        memcpy(copy, raw, len);
        assert_int_not_equal(iouv_services_parse(span_of(copy, len), services, &answer),
                             ARES_SUCCESS);
        free(copy);
    }
    for (size_t at = 0; at < sizeof(raw); at++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t *copy = malloc(sizeof(raw));
            memcpy(copy, raw, sizeof(raw));
            copy[at] ^= (uint8_t)(1 << bit);
            int status = iouv_services_parse(span_of(copy, sizeof(raw)), services, &answer);
            assert_true(status != ARES_SUCCESS || answer.count <= LOOKUP_ANSWERS_MAX);
            free(copy);
        }
    }
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_truncated_answer_is_asked_for_over_tcp),
        cmocka_unit_test(an_answer_too_big_for_a_datagram_comes_whole),
        cmocka_unit_test(a_lost_datagram_is_asked_for_again),
        cmocka_unit_test(rubbish_does_not_end_a_lookup),
        cmocka_unit_test(an_answer_with_another_id_is_not_taken),
        cmocka_unit_test(a_slow_answer_is_waited_for),
        cmocka_unit_test(aliases_are_followed_and_their_ttl_counts),
        cmocka_unit_test(a_damaged_answer_is_a_failure),
        cmocka_unit_test(a_server_that_refuses_is_not_the_last),
        cmocka_unit_test(without_memory_a_lookup_still_ends),
        cmocka_unit_test(search_domains_and_ndots_hold),
        cmocka_unit_test(the_hosts_file_comes_first),
        cmocka_unit_test(services_are_read_with_the_least_ttl),
        cmocka_unit_test(answers_cut_or_changed_anywhere_do_no_harm),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    return test_folder_remove(folder) == 0 ? failures : 1;
}
