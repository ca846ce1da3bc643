/* What the files of the io conformance suite share: the implementation under test, and
 * a fixture with a process, a log of what happened in which order, and a connected pair
 * of streams. The log and the fixture's streams belong to loop 0. */
#pragma once

#include "base/test_cmocka.h"
#include "io/lookup.h"
#include "io/tls.h"

/* A certificate and its key, made for a test, in the engine's own form. */
struct fx_pem {
    char name[64], cert[4096], key[4096];
};
struct fx_pem_options {
    const char *name;            /* a DNS name, also the subject's */
    const char *name_too;        /* another DNS name, or NULL */
    const struct fx_pem *issuer; /* NULL: its own, an authority */
    bool expired, slow;          /* slow: a key whose step goes to a worker */
};

struct driver {
    const char *name;
    struct process *(*make)(int loops);
    /* After the process was freed. */
    void (*clean)(void);
    /* Lets the signal come. Boot or loop 0. */
    void (*raise)(struct process *process, int signal_number);
    /* A file of that name with these bytes; its path. */
    const char *(*put_file)(struct process *process, const char *name, struct span bytes);
    const char *folder;
    void (*make_pem)(const struct fx_pem_options *options, struct fx_pem *ret_pem);
    /* How late a timer may be. */
    io_time late_max;
    /* What lookups are answered; the codes are those of sim_name_fail. */
    void (*put_name)(struct process *process, const char *name, const struct io_address *addresses,
                     size_t count, io_time ttl);
    void (*put_services)(struct process *process, const char *name,
                         const struct lookup_service *services, size_t count, io_time ttl);
    void (*fail_name)(struct process *process, const char *name, enum err code);
};
extern const struct driver *driver;
extern const struct driver uv_driver, sim_driver;
/* Pairs of streams are made over TLS. */
extern bool fx_tls;

struct fx_after {
    struct io_timer timer;
    struct fx *fx;
    void (*fn)(struct fx *fx);
};

struct fx {
    struct process *process;
    struct loop *loop;
    char log[2048];
    size_t log_len;
    bool timed_out;
    struct io_timer guard;
    struct io_address address;
    struct listener *listener;
    struct stream *client, *server;              /* of fx_pair; NULL until they are there */
    struct tls_context *server_tls, *client_tls; /* unrefed by fx_release */
    void (*go)(struct fx *fx);
    void *arg; /* the test's own */
    struct fx_after afters[8];
    size_t afters_count;
};

void fx_init(struct fx *fx, int loops);
/* Runs the process until `fx_stop`; fails after 20 s. */
void fx_run(struct fx *fx);
void fx_stop(struct fx *fx);
void fx_release(struct fx *fx);
void fx_note(struct fx *fx, const char *format, ...) PRINTF_LIKE(2, 3);
/* Calls `go` from loop 0 with a connected pair. */
void fx_pair(struct fx *fx, enum io_family family, void (*go)(struct fx *fx));
/* A context from these, with or without; asserts that there is one. */
struct tls_context *fx_server_tls(struct fx *fx, const struct fx_pem *pem, const struct fx_pem *ca,
                                  enum tls_client_auth auth);
struct tls_context *fx_client_tls(struct fx *fx, const struct fx_pem *pem, const struct fx_pem *ca);
/* Opens `fx->listener` on a free address of that family; `fx->address` is the real one. */
void fx_listen(struct fx *fx, enum io_family family, listener_fn fn);
struct span_mut fx_scratch(void);

/* A process with one loop, a pair, and a run. */
void fx_run_pair(struct fx *fx, enum io_family family, void (*go)(struct fx *fx));
/* Writes and notes. */
void fx_write_text(struct fx *fx, struct stream *stream, const char *text);

/* Completions that note what they got: "read=OK:5", "write=OK", "closed". */
void fx_on_read(void *arg, struct stream *stream, result r, struct span bytes);
void fx_on_write(void *arg, struct stream *stream, result r);
void fx_on_closed(void *arg);
/* The same, with the bytes, and then the end. */
void fx_read_and_stop(void *arg, struct stream *stream, result r, struct span bytes);
/* The same, and the end a little later, so that anything that comes after is seen. */
void fx_closed_and_stop(void *arg);
void fx_on_connected(void *arg, struct stream *stream, result r);

/* Calls `fn(fx)` once, `delay` from now. */
void fx_after(struct fx *fx, io_time delay, void (*fn)(struct fx *fx));

#define assert_log(fx, text) assert_string_equal((fx)->log, text)

extern const struct CMUnitTest stream_tests[], listener_tests[], loop_tests[], file_tests[],
    tls_tests[], name_tests[];
extern const size_t stream_tests_count, listener_tests_count, loop_tests_count, file_tests_count,
    tls_tests_count, name_tests_count;
