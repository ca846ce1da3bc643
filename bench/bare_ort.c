/* The model's own time: ONNX Runtime's C API in a loop, with nothing around it.
 *
 *   bench-bare-ort LIBRARY MODEL INPUT RUNS
 *
 * LIBRARY is libonnxruntime.so, MODEL a model of one float input; INPUT a file of raw
 * floats, one row, and RUNS how often to run it. Prints the nanoseconds of CPU of one run.
 *
 * One thread and otherwise ONNX Runtime's defaults, so its arena is on; input and outputs
 * are made once and used again. No server can be cheaper, so what is left over after
 * subtracting this is the server's.
 */
#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define API 17 /* what the backend asks for, too */
#define PORTS_MAX 16
#define RANK_MAX 8
#define FLOATS_MAX 4096
#define WARM_UP 200

struct bare {
    const OrtApi *api;
    OrtEnv *env;
    OrtSession *session;
    OrtAllocator *allocator;
    float input[FLOATS_MAX];
    size_t input_len;
    size_t outputs_len;
    char *input_name;
    char *output_names[PORTS_MAX];
    OrtValue *in;
    OrtValue *out[PORTS_MAX];
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench-bare-ort: cannot %s: %s\n", what, why);
    exit(1);
}

static void must(const struct bare *bare, OrtStatus *status, const char *what)
{
    if (status)
        die(what, bare->api->GetErrorMessage(status));
}

static const OrtApi *api_open(const char *library)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        die("open ONNX Runtime", dlerror());
    const OrtApiBase *(*get_base)(void) = NULL;
    void *symbol = dlsym(handle, "OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof(symbol));
    const OrtApi *api = get_base ? get_base()->GetApi(API) : NULL;
    if (!api)
        die("open ONNX Runtime", "the library has no such API");
    return api;
}

static void input_read(struct bare *bare, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die("open the input", path);
    bare->input_len = fread(bare->input, sizeof(float), FLOATS_MAX, file);
    fclose(file);
    if (bare->input_len == 0)
        die("read the input", "expected raw floats");
}

static void session_open(struct bare *bare, const char *model)
{
    const OrtApi *api = bare->api;
    OrtSessionOptions *options;
    must(bare, api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "bench", &bare->env), "start");
    must(bare, api->CreateSessionOptions(&options), "make options");
    must(bare, api->SetIntraOpNumThreads(options, 1), "set threads");
    must(bare, api->SetInterOpNumThreads(options, 1), "set threads");
    must(bare, api->CreateSession(bare->env, model, options, &bare->session), "load the model");
    must(bare, api->GetAllocatorWithDefaultOptions(&bare->allocator), "get the allocator");
    must(bare, api->SessionGetOutputCount(bare->session, &bare->outputs_len), "count outputs");
    if (bare->outputs_len > PORTS_MAX)
        die("run the model", "it has too many outputs");
    must(bare, api->SessionGetInputName(bare->session, 0, bare->allocator, &bare->input_name),
         "name the input");
    for (size_t i = 0; i < bare->outputs_len; i++)
        must(bare,
             api->SessionGetOutputName(bare->session, i, bare->allocator, &bare->output_names[i]),
             "name an output");
    api->ReleaseSessionOptions(options);
}

/* The model's shape with one for every open dimension. */
static void input_make(struct bare *bare)
{
    const OrtApi *api = bare->api;
    OrtTypeInfo *type;
    const OrtTensorTypeAndShapeInfo *info;
    OrtMemoryInfo *memory;
    size_t rank;
    int64_t shape[RANK_MAX], elements = 1;

    must(bare, api->SessionGetInputTypeInfo(bare->session, 0, &type), "read the input's type");
    must(bare, api->CastTypeInfoToTensorInfo(type, &info), "read the input's type");
    must(bare, api->GetDimensionsCount(info, &rank), "read the input's rank");
    if (rank > RANK_MAX)
        die("run the model", "its input has too many dimensions");
    must(bare, api->GetDimensions(info, shape, rank), "read the input's shape");
    for (size_t i = 0; i < rank; i++) {
        shape[i] = shape[i] < 0 ? 1 : shape[i];
        elements *= shape[i];
    }
    if ((size_t)elements != bare->input_len)
        die("run the model", "INPUT has not as many floats as its input");
    must(bare, api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory),
         "describe memory");
    must(bare,
         api->CreateTensorWithDataAsOrtValue(memory, bare->input, bare->input_len * sizeof(float),
                                             shape, rank, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                                             &bare->in),
         "make the input");
    api->ReleaseMemoryInfo(memory);
    api->ReleaseTypeInfo(type);
}

static void run(struct bare *bare)
{
    must(bare,
         bare->api->Run(bare->session, NULL, (const char *const *)&bare->input_name,
                        (const OrtValue *const *)&bare->in, 1,
                        (const char *const *)bare->output_names, bare->outputs_len, bare->out),
         "run the model");
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* A function of its own, so that callgrind can be told to count nothing else. */
static __attribute__((noinline)) double measured(struct bare *bare, unsigned long runs)
{
    double begin = cpu_ns();
    for (unsigned long i = 0; i < runs; i++)
        run(bare);
    return cpu_ns() - begin;
}

int main(int argc, char **argv)
{
    static struct bare bare;
    if (argc != 5) {
        fprintf(stderr, "usage: bench-bare-ort LIBRARY MODEL INPUT RUNS\n");
        return 2;
    }
    unsigned long runs = strtoul(argv[4], NULL, 10);
    bare.api = api_open(argv[1]);
    input_read(&bare, argv[3]);
    session_open(&bare, argv[2]);
    input_make(&bare);
    /* The first run makes the outputs that the others write into. */
    for (int i = 0; i < WARM_UP; i++)
        run(&bare);
    double took = measured(&bare, runs);
    printf("%.1f\n", runs ? took / (double)runs : 0);
    return 0;
}
