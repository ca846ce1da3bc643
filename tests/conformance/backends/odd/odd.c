/* Plug-ins that a host must not take, one for each value of ODD. */
#include <weir/backend.h>

#include <stdio.h>
#include <string.h>

enum { ODD_ABI = 1, ODD_STREAMS, ODD_INCOMPLETE, ODD_REFUSES };

static int32_t load(weir_backend *backend, const weir_model_config *config, weir_model **ret_model,
                    weir_error *error)
{
    return WEIR_UNIMPLEMENTED;
}
static void info(weir_model *model, weir_model_info *ret_info)
{
}
static void model_free(weir_model *model)
{
}
static int32_t instance_new(weir_model *model, weir_instance **ret_instance, weir_error *error)
{
    return WEIR_UNIMPLEMENTED;
}
static void instance_free(weir_instance *instance)
{
}
static void execute(weir_instance *instance, weir_request *const *requests, int32_t n)
{
}

static const weir_backend odd = {
    .size = sizeof(weir_backend),
    .abi = ODD == ODD_ABI ? 99 : WEIR_BACKEND_ABI,
    .name = "odd",
    .version = "1",
    .flags = ODD == ODD_STREAMS ? WEIR_BACKEND_STREAMS : 0,
    .suffixes = ".odd",
    .model_load = load,
    .model_info = info,
    .model_free = model_free,
    .instance_new = instance_new,
    .instance_free = instance_free,
    .execute = ODD == ODD_INCOMPLETE ? NULL : execute,
};

WEIR_EXPORT weir_backend *weir_backend_get(const weir_host *host, weir_error *error)
{
    static weir_backend own;
    if (ODD == ODD_REFUSES) {
        snprintf(error->text, sizeof(error->text), "the engine is not to be found");
        return NULL;
    }
    own = odd;
    return &own;
}
