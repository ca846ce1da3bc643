/* What the sources of the serve role share. */
#pragma once

#include "model/model.h"
#include "serve/serve.h"

struct serve_config {
    const char *path, *name;
    const char *backends_path, *engines_path;
    int64_t batch_rows_max;
    io_time batch_delay_max;
    int64_t queue_rows_max;
    uint64_t queue_bytes_max;
    int64_t slots;
};

struct serve {
    struct run *run;
    struct model_set *models;
    struct text backends, engines; /* folders */
    struct text path;              /* that was scanned: a reload's may be another */
    bool path_is_file;
};

/* Above this, a body is decoded and an answer encoded by a worker, so that no other
 * connection of the loop waits for it. */
#define INLINE_BYTES_MAX 65536

/* Handlers of the routes, each in its protocol's file. */
void tfs_start(struct exchange *x, void *arg);
void oip_start(struct exchange *x, void *arg);
void page_start(struct exchange *x, void *arg);
