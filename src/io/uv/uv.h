/* The production implementation of io.h, on libuv.
 *
 * Costs: a message on a connection that is kept open takes one read, one write, and its
 * share of one epoll_wait; no allocation. A connection takes one object from its
 * loop's pool and no buffer.
 *
 * Process-wide effects of `uv_process_new`: SIGPIPE is ignored; the descriptor limit is
 * raised to what `connections_max` needs; LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES are
 * read and removed from the environment (sd_listen_fds(3)). One such process at a time
 * is meant, several (in tests) work.
 */
#pragma once

#include "io/io.h"

struct io_uv_options {
    int loops;                         /* 0: one a core */
    int compute_threads, file_threads; /* 0: one a core; 4 */
    /* Descriptors to be ready for, over all loops. libuv 1.44 aborts when memory is
     * short as its table of descriptors grows, so it is grown now, up to a bound. 0: no
     * preparation. */
    uint64_t connections_max;
};

/* The threads of loops 1 and on exist afterwards and wait for `process_run`; so do the
 * workers, for jobs. */
result uv_process_new(const struct io_uv_options *options, struct process **ret_process,
                      struct diag *diag);
