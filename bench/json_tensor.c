/* Tensors of floats as JSON: Weir's two passes and its writer, side by side with yyjson's
 * reader plus a walk over its values, and yyjson's writer. Rounds alternate, so that
 * both see the same machine; medians and their ratio are printed.
 *
 *   bench-json-tensor [elements] [rounds]
 */
#include "wire/json_tensor.h"
#include "base/alloc.h"
#include "base/number.h"
#include "base/test_random.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <yyjson.h>

#define ROUNDS_MAX 99

struct job {
    int64_t shape[2];
    uint64_t elements;
    weir_type type;
    void *values, *out;
    struct text text;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct weir_tensor job_tensor(const struct job *job)
{
    return (struct weir_tensor){
        .size = sizeof(struct weir_tensor),
        .type = job->type,
        .device_type = WEIR_CPU,
        .rank = 2,
        .shape = job->shape,
        .data = job->values,
        .bytes = job->elements * type_size(job->type),
    };
}

static void must(result r)
{
    if (failed(r)) {
        fprintf(stderr, "failed: %s\n", err_name((enum err)r.code));
        exit(1);
    }
}

static double ours_read(struct job *job)
{
    struct json_reader r = json_reader_of(text_span(&job->text), 0);
    struct json_tensor found;
    double begin = now();

    must(json_tensor_scan(&r, &found, NULL));
    struct tensor_plan plan = {.type = job->type, .rank = found.rank, .elements = found.elements};
    must(json_tensor_bytes(&found, job->type, &plan.bytes));
    struct tensor_space space = {job->out, NULL};
    struct json_sink sink = json_sink_of(&plan, &space, false);
    r = json_reader_of(text_span(&job->text), 0);
    must(json_tensor_fill(&r, found.rank, found.shape, &sink, NULL));
    return now() - begin;
}

static double yyjson_reads(struct job *job)
{
    double begin = now();
    yyjson_doc *doc = yyjson_read((const char *)job->text.ptr, job->text.len, 0);
    size_t i, n, at = 0;
    yyjson_val *row, *value;
    yyjson_arr_iter rows;

    yyjson_arr_iter_init(yyjson_doc_get_root(doc), &rows);
    while ((row = yyjson_arr_iter_next(&rows))) {
        yyjson_arr_foreach(row, i, n, value)
        {
            if (job->type.bits == 32)
                ((float *)job->out)[at++] = (float)yyjson_get_num(value);
            else
                ((double *)job->out)[at++] = yyjson_get_num(value);
        }
    }
    yyjson_doc_free(doc);
    return now() - begin;
}

static double ours_write(struct job *job)
{
    struct weir_tensor tensor = job_tensor(job);
    struct json_style style = {.layout = JSON_COMPACT};
    struct text text;
    double begin = now();

    text_init(&text, SIZE_MAX / 2);
    must(json_tensor_write(&text, &tensor, &style, NULL));
    must(text_result(&text));
    double took = now() - begin;
    text_release(&text);
    return took;
}

/* The writer alone, without the making of its values, which a caller has to do as well.
 * This version has no floats: they are written as the doubles they are equal to, with up
 * to 17 digits. */
static double yyjson_writes(struct job *job)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_arr(doc);
    size_t len, at = 0;

    yyjson_mut_doc_set_root(doc, root);
    for (int64_t i = 0; i < job->shape[0]; i++) {
        yyjson_mut_val *row = yyjson_mut_arr_add_arr(doc, root);
        for (int64_t j = 0; j < job->shape[1]; j++, at++)
            yyjson_mut_arr_add_real(doc, row,
                                    job->type.bits == 32 ? (double)((float *)job->values)[at]
                                                         : ((double *)job->values)[at]);
    }
    double begin = now();
    char *text = yyjson_mut_write(doc, 0, &len);
    double took = now() - begin;
    free(text);
    yyjson_mut_doc_free(doc);
    return took;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void compare(const char *what, struct job *job, int rounds, double (*ours)(struct job *),
                    double (*theirs)(struct job *))
{
    double a[ROUNDS_MAX], b[ROUNDS_MAX];

    for (int i = 0; i < rounds; i++) {
        a[i] = ours(job);
        b[i] = theirs(job);
    }
    qsort(a, (size_t)rounds, sizeof(a[0]), by_value);
    qsort(b, (size_t)rounds, sizeof(b[0]), by_value);
    printf("%-26s weir %8.2f ms  yyjson %8.2f ms  ratio %.2f\n", what, a[rounds / 2] * 1e3,
           b[rounds / 2] * 1e3, a[rounds / 2] / b[rounds / 2]);
}

/* `digits`: after the point; 0 for all that the type has. */
static void run(const char *name, weir_type type, uint64_t elements, int64_t columns, int digits,
                int rounds)
{
    struct job job = {.shape = {(int64_t)elements / columns, columns}, .type = type};
    uint64_t state = 88172645463325252u;
    struct json_style style = {.layout = JSON_COMPACT};
    char what[64];

    job.elements = (uint64_t)(job.shape[0] * columns);
    job.values = mem_must(mem_alloc(job.elements * 8), job.elements * 8);
    job.out = mem_must(mem_alloc(job.elements * 8), job.elements * 8);
    for (uint64_t i = 0; i < job.elements; i++) {
        double value = (double)(test_random(&state) >> 11) * 0x1p-52 - 1;
        if (digits) {
            double unit = 1;
            for (int d = 0; d < digits; d++)
                unit *= 10;
            value = (double)(int64_t)(value * unit) / unit;
        }
        if (type.bits == 32)
            ((float *)job.values)[i] = (float)value;
        else
            ((double *)job.values)[i] = value;
    }
    struct weir_tensor tensor = job_tensor(&job);
    text_init(&job.text, SIZE_MAX / 2);
    must(json_tensor_write(&job.text, &tensor, &style, NULL));
    must(text_result(&job.text));
    snprintf(what, sizeof(what), "%s read", name);
    compare(what, &job, rounds, ours_read, yyjson_reads);
    if (memcmp(job.values, job.out, job.elements * type_size(type)) != 0)
        fprintf(stderr, "%s: yyjson read other values\n", name);
    ours_read(&job);
    if (memcmp(job.values, job.out, job.elements * type_size(type)) != 0) {
        fprintf(stderr, "%s: read other values than written\n", name);
        exit(1);
    }
    snprintf(what, sizeof(what), "%s write", name);
    compare(what, &job, rounds, ours_write, yyjson_writes);
    text_release(&job.text);
    mem_free(job.values);
    mem_free(job.out);
}

int main(int argc, char **argv)
{
    uint64_t elements = 2000000, rounds = 11;

    if (argc > 1)
        must(number_parse_u64(span_cstr(argv[1]), &elements));
    if (argc > 2)
        must(number_parse_u64(span_cstr(argv[2]), &rounds));
    if (elements < 1000 || elements > 100000000 || rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "expected 1000 to 100000000 elements and 1 to %d rounds\n", ROUNDS_MAX);
        return 2;
    }
    weir_type f32 = {WEIR_FLOAT, 32, 1}, f64 = {WEIR_FLOAT, 64, 1};
    run("float, [n,1000]", f32, elements, 1000, 0, (int)rounds);
    run("float, [n,4]", f32, elements, 4, 0, (int)rounds);
    run("float, 3 digits, [n,1000]", f32, elements, 1000, 3, (int)rounds);
    run("double, [n,1000]", f64, elements, 1000, 0, (int)rounds);
    run("double, 3 digits, [n,1000]", f64, elements, 1000, 3, (int)rounds);
    return 0;
}
