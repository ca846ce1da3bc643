/* A whole backend in one small file: y = scale * (a + b) + offset.
 *
 * A model is a text file NAME.arith with lines "scale NUMBER" and "offset NUMBER", both
 * optional. Build it as a shared object that exports weir_backend_get:
 *
 *   cc -shared -fPIC -fvisibility=hidden -I include arithmetic.c -o arithmetic.so
 *
 * and put it into the folder that `weir serve --backends` names.
 */
#include <weir/backend.h>

#include <stdio.h>
#include <stdlib.h>

/* The backend's own struct begins with the host's view of it. */
struct arithmetic {
    weir_backend backend;
    const weir_host *host;
};

struct weir_model {
    const weir_host *host;
    float scale, offset;
};

static const int64_t any_rows[] = {-1};
static const weir_type f32 = {WEIR_FLOAT, 32, 1};
static const weir_port inputs[] = {
    {sizeof(weir_port), "a", {WEIR_FLOAT, 32, 1}, 1, any_rows},
    {sizeof(weir_port), "b", {WEIR_FLOAT, 32, 1}, 1, any_rows},
};
static const weir_port outputs[] = {{sizeof(weir_port), "y", {WEIR_FLOAT, 32, 1}, 1, any_rows}};

static int32_t model_load(weir_backend *backend, const weir_model_config *config,
                          weir_model **ret_model, weir_error *error)
{
    FILE *file = fopen(config->path, "r");
    if (!file) {
        snprintf(error->text, sizeof(error->text), "cannot open %.400s", config->path);
        return WEIR_NOT_FOUND;
    }
    float scale = 1, offset = 0;
    char line[128];
    int32_t status = WEIR_OK;
    while (!status && fgets(line, sizeof(line), file))
        if (sscanf(line, "scale %f", &scale) != 1 && sscanf(line, "offset %f", &offset) != 1) {
            snprintf(error->text, sizeof(error->text),
                     "%.300s: expected \"scale NUMBER\" or \"offset NUMBER\", got \"%.*s\"",
                     config->path, 40, line);
            status = WEIR_DATA_LOSS;
        }
    fclose(file);
    weir_model *model = status ? NULL : malloc(sizeof(*model));
    if (!model)
        return status ? status : WEIR_RESOURCE_EXHAUSTED;
    *model = (weir_model){((struct arithmetic *)backend)->host, scale, offset};
    *ret_model = model;
    return WEIR_OK;
}

static void model_info(weir_model *model, weir_model_info *ret_info)
{
    (void)model;
    *ret_info = (weir_model_info){.size = sizeof(*ret_info),
                                  .inputs_len = 2,
                                  .outputs_len = 1,
                                  .inputs = inputs,
                                  .outputs = outputs,
                                  .batchable = 1, /* each row by itself */
                                  .platform = "arithmetic"};
}

static void model_free(weir_model *model)
{
    free(model);
}

/* Nothing changes while it runs, so the model is its own instance. */
static int32_t instance_new(weir_model *model, weir_instance **ret_instance, weir_error *error)
{
    (void)error;
    *ret_instance = (weir_instance *)model;
    return WEIR_OK;
}

static void instance_free(weir_instance *instance)
{
    (void)instance;
}

static void answer(const weir_model *model, weir_request *request)
{
    const weir_host *host = model->host;
    weir_tensor a = {.size = sizeof(a)}, b = {.size = sizeof(b)};
    host->request_input(request, 0, &a);
    host->request_input(request, 1, &b);
    if (a.shape[0] != b.shape[0]) {
        host->respond_error(request, WEIR_INVALID_ARGUMENT, "a and b differ in length");
        return;
    }
    if (host->request_wants(request, 0)) {
        void *memory;
        int32_t status = host->tensor_alloc(request, 0, f32, 1, a.shape, WEIR_CPU, &memory);
        if (status) {
            host->respond_error(request, status, "no memory for y");
            return;
        }
        const float *left = a.data, *right = b.data;
        for (int64_t i = 0; i < a.shape[0]; i++)
            ((float *)memory)[i] = model->scale * (left[i] + right[i]) + model->offset;
    }
    host->respond(request, 1);
}

static void execute(weir_instance *instance, weir_request *const *requests, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        answer((const weir_model *)instance, requests[i]);
}

static void release(weir_backend *backend)
{
    free(backend);
}

WEIR_EXPORT weir_backend *weir_backend_get(const weir_host *host, weir_error *error)
{
    struct arithmetic *self = host->abi == WEIR_BACKEND_ABI ? malloc(sizeof(*self)) : NULL;
    if (!self) {
        snprintf(error->text, sizeof(error->text), "expected a host of ABI version %d",
                 WEIR_BACKEND_ABI);
        return NULL;
    }
    *self = (struct arithmetic){
        .host = host,
        .backend = {.size = sizeof(weir_backend),
                    .abi = WEIR_BACKEND_ABI,
                    .name = "arithmetic",
                    .version = "1",
                    .flags = WEIR_BACKEND_THREAD_SAFE | WEIR_BACKEND_SYNCHRONOUS,
                    .suffixes = ".arith",
                    .release = release,
                    .model_load = model_load,
                    .model_info = model_info,
                    .model_free = model_free,
                    .instance_new = instance_new,
                    .instance_free = instance_free,
                    .execute = execute},
    };
    return &self->backend;
}
