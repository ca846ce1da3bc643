/* A backend for tests, that does what real engines do at their worst: answers late, from
 * a thread of its own, out of order, with errors, with too little, or only when it is
 * cancelled. Its inputs say which.
 *
 * A model is a text file that begins with "late 1"; further lines: "load_ms N" (loading
 * takes so long), "load_fails 1" (and fails then), "batchable 0".
 *
 * Inputs, one row each:  delay_ms INT32 [-1]; mode INT32 [-1]; value INT64 [-1]
 * Outputs:               value INT64 [-1]: the input, again
 *                        seen INT64 [-1]: how many requests the instance had by then
 *                        text BYTES [-1]: "value N after M ms"
 * A request that was gathered from several takes the longest delay and the greatest mode
 * of its rows.
 *
 * Compiled with SERIAL it is a backend that may run one request at a time only, and ends
 * the process when that is not kept.
 */
#include <weir/backend.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef SERIAL
#define NAME "serial"
#define FLAGS 0
#else
#define NAME "late"
#define FLAGS WEIR_BACKEND_THREAD_SAFE
#endif

enum mode {
    MODE_ECHO = 0,
    MODE_FAIL = 1,       /* ends with INVALID_ARGUMENT "asked to fail" */
    MODE_FORGET = 2,     /* responds without making the last output */
    MODE_CANCELLED = 3,  /* answers only when cancelled */
    MODE_AT_ONCE = 4,    /* answers before execute returns */
    MODE_WRONG_ROWS = 5, /* one row too many in every output */
    MODE_CRASH = 6,      /* writes through a null pointer, on the caller's thread */
    MODE_OVERFLOW = 7,   /* uses up that thread's stack */
    MODE_ABORT = 8,
};

struct late {
    weir_backend backend;
    const weir_host *host;
};

struct weir_model {
    struct late *late;
    int32_t batchable;
};

struct pending {
    struct pending *next;
    weir_request *request;
    struct timespec due;
    int32_t delay_ms, mode;
    int64_t seen;
    bool cancelled;
};

struct weir_instance {
    struct weir_model *model;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct pending *first; /* by due time */
    int64_t seen;
    bool ending;
};

static const int64_t any[] = {-1};
#define INT32_TYPE {WEIR_INT, 32, 1}
#define INT64_TYPE {WEIR_INT, 64, 1}
#define STRING_TYPE {WEIR_STRING, 8, 1}
static const weir_type int64_type = INT64_TYPE;
static const weir_port inputs[] = {
    {sizeof(weir_port), "delay_ms", INT32_TYPE, 1, any},
    {sizeof(weir_port), "mode", INT32_TYPE, 1, any},
    {sizeof(weir_port), "value", INT64_TYPE, 1, any},
};
static const weir_port outputs[] = {
    {sizeof(weir_port), "value", INT64_TYPE, 1, any},
    {sizeof(weir_port), "seen", INT64_TYPE, 1, any},
    {sizeof(weir_port), "text", STRING_TYPE, 1, any},
};

/* ---- answers ---- */

static int32_t numbers(const weir_host *host, weir_request *request, int32_t index, int64_t rows,
                       const int64_t *values, int64_t constant)
{
    void *memory;
    int32_t status = host->tensor_alloc(request, index, int64_type, 1, &rows, WEIR_CPU, &memory);
    for (int64_t i = 0; !status && i < rows; i++)
        ((int64_t *)memory)[i] = values ? values[i] : constant;
    return status;
}

static int32_t texts(const weir_host *host, weir_request *request, int64_t rows,
                     const int64_t *values, int32_t delay_ms)
{
    char *data = malloc((size_t)rows * 64 + 1);
    uint64_t *offsets = malloc(((size_t)rows + 1) * sizeof(*offsets));
    int32_t status = data && offsets ? WEIR_OK : WEIR_RESOURCE_EXHAUSTED;
    if (!status) {
        offsets[0] = 0;
        for (int64_t i = 0; i < rows; i++)
            offsets[i + 1] =
                offsets[i] + (uint64_t)snprintf(data + offsets[i], 64, "value %lld after %d ms",
                                                (long long)values[i], delay_ms);
        status = host->tensor_strings(request, 2, 1, &rows, data, offsets);
    }
    free(data);
    free(offsets);
    return status;
}

static void answer(const weir_host *host, const struct pending *pending)
{
    weir_request *request = pending->request;
    if (pending->cancelled) {
        host->respond_error(request, WEIR_CANCELLED, "cancelled while it waited");
        return;
    }
    if (pending->mode == MODE_FAIL) {
        host->respond_error(request, WEIR_INVALID_ARGUMENT, "asked to fail");
        return;
    }
    weir_tensor value = {.size = sizeof(value)};
    host->request_input(request, 2, &value);
    int64_t rows = value.shape[0] + (pending->mode == MODE_WRONG_ROWS);
    int64_t *values = calloc((size_t)rows + 1, sizeof(*values));
    int32_t status = values ? WEIR_OK : WEIR_RESOURCE_EXHAUSTED;
    if (!status && value.bytes)
        memcpy(values, value.data, value.bytes);
    if (!status && host->request_wants(request, 0))
        status = numbers(host, request, 0, rows, values, 0);
    if (!status && host->request_wants(request, 1))
        status = numbers(host, request, 1, rows, NULL, pending->seen);
    if (!status && host->request_wants(request, 2) && pending->mode != MODE_FORGET)
        status = texts(host, request, rows, values, pending->delay_ms);
    free(values);
    if (status)
        host->respond_error(request, status, "no memory for an output");
    else
        host->respond(request, 1);
}

/* ---- the thread ---- */

static bool before(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

static void insert(struct weir_instance *instance, struct pending *pending)
{
    struct pending **at = &instance->first;
    while (*at && !before(&pending->due, &(*at)->due))
        at = &(*at)->next;
    pending->next = *at;
    *at = pending;
}

static void *serve(void *arg)
{
    struct weir_instance *instance = arg;
    pthread_mutex_lock(&instance->mutex);
    while (!instance->ending || instance->first) {
        struct pending *pending = instance->first;
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (!pending) {
            pthread_cond_wait(&instance->changed, &instance->mutex);
        } else if (before(&now, &pending->due)) {
            pthread_cond_timedwait(&instance->changed, &instance->mutex, &pending->due);
        } else {
            instance->first = pending->next;
            pthread_mutex_unlock(&instance->mutex);
            answer(instance->model->late->host, pending);
            free(pending);
            pthread_mutex_lock(&instance->mutex);
        }
    }
    pthread_mutex_unlock(&instance->mutex);
    return NULL;
}

static int32_t greatest(const weir_tensor *tensor)
{
    int32_t most = 0;
    const int32_t *values = tensor->data;
    for (int64_t i = 0; i < tensor->shape[0]; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

/* Deeper and deeper; the volatile bytes keep it from becoming a loop. */
static int32_t deeper(int32_t depth)
{
    volatile char bytes[4096];
    bytes[depth % 4096] = (char)depth;
    return depth < 0 ? 0 : deeper(depth + 1) + bytes[depth % 4096];
}

static void crash(int32_t mode)
{
    static volatile int *volatile nowhere;
    if (mode == MODE_CRASH)
        *nowhere = 1;
    if (mode == MODE_OVERFLOW)
        deeper(1);
    if (mode == MODE_ABORT)
        abort();
}

static void take(struct weir_instance *instance, weir_request *request)
{
    const weir_host *host = instance->model->late->host;
    weir_tensor delay = {.size = sizeof(delay)}, mode = {.size = sizeof(mode)};
    host->request_input(request, 0, &delay);
    host->request_input(request, 1, &mode);
    crash(greatest(&mode));
    struct pending *pending = calloc(1, sizeof(*pending));
    if (!pending) {
        host->respond_error(request, WEIR_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    pending->request = request;
    pending->delay_ms = greatest(&delay);
    pending->mode = greatest(&mode);
    clock_gettime(CLOCK_MONOTONIC, &pending->due);
    int64_t due_ms = pending->mode == MODE_CANCELLED ? 3600 * 1000 : pending->delay_ms;
    pending->due.tv_sec += due_ms / 1000;
    pending->due.tv_nsec += due_ms % 1000 * 1000000;
    if (pending->due.tv_nsec >= 1000000000) {
        pending->due.tv_sec++;
        pending->due.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&instance->mutex);
    if (!(FLAGS & WEIR_BACKEND_THREAD_SAFE) && instance->first)
        abort();
    pending->seen = ++instance->seen;
    bool at_once = pending->mode == MODE_AT_ONCE;
    if (!at_once)
        insert(instance, pending);
    pthread_cond_signal(&instance->changed);
    pthread_mutex_unlock(&instance->mutex);
    if (at_once) {
        answer(host, pending);
        free(pending);
    }
}

static void execute(weir_instance *instance, weir_request *const *requests, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        take(instance, requests[i]);
}

static void cancel(weir_instance *instance, weir_request *request)
{
    pthread_mutex_lock(&instance->mutex);
    for (struct pending **at = &instance->first; *at; at = &(*at)->next) {
        struct pending *pending = *at;
        if (pending->request != request)
            continue;
        *at = pending->next;
        pending->cancelled = true;
        pending->due = (struct timespec){0, 0};
        insert(instance, pending);
        pthread_cond_signal(&instance->changed);
        break;
    }
    pthread_mutex_unlock(&instance->mutex);
}

/* ---- life ---- */

static int32_t model_load(weir_backend *backend, const weir_model_config *config,
                          weir_model **ret_model, weir_error *error)
{
    FILE *file = fopen(config->path, "r");
    if (!file) {
        snprintf(error->text, sizeof(error->text), "cannot open %.400s", config->path);
        return WEIR_NOT_FOUND;
    }
    char line[64] = "";
    int load_ms = 0, load_fails = 0, batchable = 1;
    bool good = fgets(line, sizeof(line), file) && strcmp(line, "late 1\n") == 0;
    while (good && fgets(line, sizeof(line), file))
        good = sscanf(line, "load_ms %d", &load_ms) == 1 ||
               sscanf(line, "load_fails %d", &load_fails) == 1 ||
               sscanf(line, "batchable %d", &batchable) == 1;
    fclose(file);
    if (!good) {
        snprintf(error->text, sizeof(error->text),
                 "%.300s: \"%.40s\" is not a line of a late model", config->path, line);
        return WEIR_DATA_LOSS;
    }
    if (load_ms)
        nanosleep(&(struct timespec){load_ms / 1000, load_ms % 1000 * 1000000}, NULL);
    if (load_fails) {
        snprintf(error->text, sizeof(error->text), "asked to fail");
        return WEIR_DATA_LOSS;
    }
    weir_model *model = malloc(sizeof(*model));
    if (!model)
        return WEIR_RESOURCE_EXHAUSTED;
    *model = (weir_model){(struct late *)backend, batchable};
    *ret_model = model;
    return WEIR_OK;
}

static void model_info(weir_model *model, weir_model_info *ret_info)
{
    *ret_info = (weir_model_info){.size = sizeof(*ret_info),
                                  .inputs_len = 3,
                                  .outputs_len = 3,
                                  .inputs = inputs,
                                  .outputs = outputs,
                                  .batchable = model->batchable,
                                  .platform = NAME};
}

static void model_free(weir_model *model)
{
    free(model);
}

static int32_t instance_new(weir_model *model, weir_instance **ret_instance, weir_error *error)
{
    weir_instance *instance = calloc(1, sizeof(*instance));
    if (!instance)
        return WEIR_RESOURCE_EXHAUSTED;
    instance->model = model;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&instance->mutex, NULL);
    pthread_cond_init(&instance->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int failure = pthread_create(&instance->thread, NULL, serve, instance);
    if (failure) {
        snprintf(error->text, sizeof(error->text), "cannot start a thread: %s", strerror(failure));
        free(instance);
        return WEIR_RESOURCE_EXHAUSTED;
    }
    *ret_instance = instance;
    return WEIR_OK;
}

static void instance_free(weir_instance *instance)
{
    pthread_mutex_lock(&instance->mutex);
    instance->ending = true;
    pthread_cond_signal(&instance->changed);
    pthread_mutex_unlock(&instance->mutex);
    pthread_join(instance->thread, NULL);
    pthread_cond_destroy(&instance->changed);
    pthread_mutex_destroy(&instance->mutex);
    free(instance);
}

static void release(weir_backend *backend)
{
    free(backend);
}

WEIR_EXPORT weir_backend *weir_backend_get(const weir_host *host, weir_error *error)
{
    struct late *late = host->abi == WEIR_BACKEND_ABI ? malloc(sizeof(*late)) : NULL;
    if (!late) {
        snprintf(error->text, sizeof(error->text), "expected a host of ABI version %d",
                 WEIR_BACKEND_ABI);
        return NULL;
    }
    *late = (struct late){
        .host = host,
        .backend = {.size = sizeof(weir_backend),
                    .abi = WEIR_BACKEND_ABI,
                    .name = NAME,
                    .version = "1",
                    .flags = FLAGS,
                    .suffixes = "." NAME,
                    .release = release,
                    .model_load = model_load,
                    .model_info = model_info,
                    .model_free = model_free,
                    .instance_new = instance_new,
                    .instance_free = instance_free,
                    .execute = execute,
                    .cancel = cancel},
    };
    return &late->backend;
}
