/* For tests only: a real process. */
#pragma once

#include "io/uv/uv.h"

static inline struct process *test_process_new(int loops)
{
    struct io_uv_options options = {.loops = loops, .compute_threads = 1, .file_threads = 1};
    struct process *process = NULL;
    ASSERT(!failed(uv_process_new(&options, &process, NULL)));
    return process;
}
