#include "model/backend.h"

#include "base/alloc.h"
#include "model/run.h"

#include <dlfcn.h>
#include <stdio.h>

#define BACKENDS_MAX 32
#define PATH_LEN_MAX 4096

/* Weir's own plug-ins, so that none has to be opened to know what it loads. */
static const struct {
    const char *name, *suffixes;
} known[] = {
    {"onnxruntime", ".onnx"},
};

struct backends {
    weir_host host; /* first: what plug-ins see */
    struct process *process;
    struct log *log;
    char *engines_path;
    struct backend all[BACKENDS_MAX];
    size_t count;
};

enum err backend_err(int32_t status)
{
    switch (status) {
    case GRPC_OK:
        return ERR_NONE;
    case GRPC_CANCELLED:
        return ERR_CANCELLED;
    case GRPC_INVALID_ARGUMENT:
    case GRPC_OUT_OF_RANGE:
        return ERR_ARGUMENT;
    case GRPC_DEADLINE_EXCEEDED:
        return ERR_DEADLINE;
    case GRPC_NOT_FOUND:
        return ERR_NOT_FOUND;
    case GRPC_FAILED_PRECONDITION:
        return ERR_PRECONDITION;
    case GRPC_RESOURCE_EXHAUSTED:
        return ERR_EXHAUSTED;
    case GRPC_UNIMPLEMENTED:
        return ERR_UNSUPPORTED;
    case GRPC_UNAVAILABLE:
        return ERR_UNAVAILABLE;
    case GRPC_DATA_LOSS:
        return ERR_CORRUPT;
    default:
        return ERR_BACKEND;
    }
}

/* Repeating an identical line is the log's to bound. */
static void host_log(const weir_host *host, int32_t level, const char *text)
{
    const struct backends *backends = (const struct backends *)(const void *)host;
    log_event(backends->log, level >= 2 ? EVENT_BACKEND_WARNING : EVENT_BACKEND_MESSAGE,
              LOG_NO_FIELDS, "%s", text);
}

/* ---- opening ---- */

static result abi_check(const struct backend *backend, const weir_backend *abi, struct diag *diag)
{
    if (abi->abi != WEIR_BACKEND_ABI || abi->size < sizeof(*abi))
        return diag_fail(diag, ERR_UNSUPPORTED,
                         "%s is of another ABI: expected version %d with %zu bytes, got version %u "
                         "with %u bytes",
                         backend->path, WEIR_BACKEND_ABI, sizeof(*abi), abi->abi, abi->size);
    if (!abi->name || !abi->version || !abi->suffixes || !abi->model_load || !abi->model_info ||
        !abi->model_free || !abi->instance_new || !abi->instance_free || !abi->execute)
        return diag_fail(diag, ERR_UNSUPPORTED, "%s leaves out a part that every backend must have",
                         backend->path);
    if (abi->flags & (WEIR_BACKEND_SELF_SCHEDULING | WEIR_BACKEND_STATEFUL | WEIR_BACKEND_STREAMS))
        return diag_fail(diag, ERR_UNSUPPORTED,
                         "%s schedules itself, keeps state or streams, which this version cannot "
                         "serve",
                         backend->path);
    return OK;
}

result backend_open(struct backend *backend, struct diag *diag)
{
    if (backend->abi)
        return OK;
    void *library = dlopen(backend->path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return diag_fail(diag, ERR_NOT_FOUND, "cannot open the backend %s: %s", backend->name,
                         dlerror());
    weir_backend_get_fn get = NULL;
    void *symbol = dlsym(library, "weir_backend_get");
    memcpy(&get, &symbol, sizeof(symbol));
    if (!get)
        return diag_fail(diag, ERR_UNSUPPORTED, "%s exports no weir_backend_get", backend->path);
    weir_error error = {.size = sizeof(error)};
    weir_backend *abi = get(&backend->backends->host, &error);
    if (!abi)
        return diag_fail(diag, ERR_UNAVAILABLE, "the backend %s cannot start: %s", backend->name,
                         error.text[0] ? error.text : "it gives no reason");
    result r = abi_check(backend, abi, diag);
    if (failed(r)) {
        if (abi->size >= sizeof(*abi) && abi->abi == WEIR_BACKEND_ABI && abi->release)
            abi->release(abi);
        return r;
    }
    backend->abi = abi;
    log_event(backend->backends->log, EVENT_BACKEND_LOADED,
              LOG_FIELDS(log_str("backend", abi->name), log_str("version", abi->version)),
              "opened the backend %s %s", abi->name, abi->version);
    return OK;
}

/* ---- finding ---- */

static bool path_join(char *buffer, size_t size, const char *folder, const char *name,
                      const char *ending)
{
    return snprintf(buffer, size, "%s/%s%s", folder, name, ending) < (int)size;
}

static struct backend *backend_add(struct backends *backends, const char *folder, struct span name,
                                   const char *suffixes)
{
    char path[PATH_LEN_MAX], short_name[256];
    if (backends->count == BACKENDS_MAX || name.len >= sizeof(short_name))
        return NULL;
    if (name.len)
        memcpy(short_name, name.ptr, name.len);
    short_name[name.len] = '\0';
    if (!path_join(path, sizeof(path), folder, short_name, ".so"))
        return NULL;
    struct backend *backend = &backends->all[backends->count];
    *backend = (struct backend){.backends = backends,
                                .name = mem_strdup(short_name),
                                .path = mem_strdup(path),
                                .suffixes = mem_strdup(suffixes)};
    backends->count++;
    return backend->name && backend->path && backend->suffixes ? backend : NULL;
}

static bool is_known(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (span_is(name, known[i].name))
            return true;
    return false;
}

struct lister {
    struct backends *backends;
    const char *folder;
};

/* A plug-in that is not Weir's own: opened to learn its suffixes. */
static void lister_add(void *arg, const char *file)
{
    struct lister *lister = arg;
    struct backends *backends = lister->backends;
    struct span name = span_cstr(file);
    if (!span_ends(name, SPAN(".so")))
        return;
    name = span_first(name, name.len - 3);
    if (is_known(name))
        return;
    struct diag diag = {.code = ERR_NONE};
    size_t count = backends->count;
    struct backend *backend = backend_add(backends, lister->folder, name, "");
    result r = backend ? backend_open(backend, &diag)
                       : diag_fail(&diag, ERR_EXHAUSTED, "no room for another backend");
    char *suffixes = failed(r) ? NULL : mem_strdup(backend->abi->suffixes);
    if (suffixes) {
        mem_free(backend->suffixes);
        backend->suffixes = suffixes;
        return;
    }
    log_event(backends->log, EVENT_BACKEND_FAILED, LOG_FIELDS(log_str("file", file)), "%s",
              diag.text[0] ? diag.text : "out of memory");
    if (backends->count > count && failed(r)) {
        backends->count = count;
        mem_free(backends->all[count].name);
        mem_free(backends->all[count].path);
        mem_free(backends->all[count].suffixes);
    }
}

result backends_new(struct process *process, struct log *log, const char *path,
                    const char *engines_path, struct backends **ret_backends, struct diag *diag)
{
    struct backends *backends = MEM_NEW(struct backends);
    if (!backends)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory");
    backends->process = process;
    backends->log = log;
    run_host_init(&backends->host);
    backends->host.log = host_log;
    if (engines_path) {
        backends->engines_path = mem_strdup(engines_path);
        backends->host.engines_path = backends->engines_path;
    }
    result r = engines_path && !backends->engines_path ? fail(ERR_NO_MEMORY) : OK;
    for (size_t i = 0; !failed(r) && path && i < ARRAY_LEN(known); i++)
        if (!backend_add(backends, path, span_cstr(known[i].name), known[i].suffixes))
            r = diag_fail(diag, ERR_TOO_LARGE, "cannot name the backends in %s", path);
    struct file_info info;
    if (!failed(r) && path && !failed(file_stat(process, path, &info, NULL)) &&
        info.kind == FILE_DIRECTORY)
        r = file_list(process, path, lister_add, &(struct lister){backends, path}, diag);
    if (failed(r)) {
        backends_free(backends);
        return r;
    }
    *ret_backends = backends;
    return OK;
}

void backends_free(struct backends *backends)
{
    if (!backends)
        return;
    for (size_t i = 0; i < backends->count; i++) {
        struct backend *backend = &backends->all[i];
        if (backend->abi && backend->abi->release)
            backend->abi->release(backend->abi);
        mem_free(backend->name);
        mem_free(backend->path);
        mem_free(backend->suffixes);
    }
    mem_free(backends->engines_path);
    mem_free(backends);
}

bool backends_suffix(const struct backends *backends, size_t place, struct span *ret_suffixes)
{
    if (place >= backends->count)
        return false;
    *ret_suffixes = span_cstr(backends->all[place].suffixes);
    return true;
}

struct backend *backends_find(struct backends *backends, struct span file_name)
{
    for (size_t i = 0; i < backends->count; i++) {
        struct span rest = span_cstr(backends->all[i].suffixes);
        while (rest.ptr) {
            struct span suffix = span_cut(&rest, ' ');
            if (suffix.len && file_name.len > suffix.len && span_ends(file_name, suffix))
                return &backends->all[i];
        }
    }
    return NULL;
}
