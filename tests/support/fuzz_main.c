/* Runs a fuzz target over a corpus without libFuzzer, as a unit test: each input as it
 * is, cut short at every place, and with a few bytes changed by chance.
 *
 *     corpus-NAME FOLDER     all of that, as TAP
 *     corpus-NAME FILE...    only these inputs, as they are
 *
 * An input on which the program dies is named, and kept in $WEIR_BUILD (or here) as
 * crash-NAME, to be replayed.
 */
#include "base/test_fuzz.h"
#include "base/test_random.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_BYTES_MAX ((size_t)1 << 20)
#define FILES_MAX 4096
/* What is tried on small inputs only, so that the suite stays quick. */
#define TRUNCATED_BYTES_MAX 512
#define MUTATED_BYTES_MAX 4096
#define MUTANTS 24

/* What is being run, for the last words of a program that dies. */
static struct {
    const char *program, *file, *how;
    char crash[1024]; /* where the input is kept then */
    const uint8_t *bytes;
    size_t len;
} now;

/* Weak: there with a sanitizer only. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* nobody is left to be told */
}

/* In a signal handler: system calls only. */
static void last_words(void)
{
    int file = open(now.crash, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    bool kept = file >= 0 && write(file, now.bytes, now.len) == (ssize_t)now.len;
    const char *const words[] = {
        "died of ",  now.file, ", ",      now.how, "\n", kept ? "replay: " : "not kept: ",
        now.program, " ",      now.crash, "\n"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        say(words[i]);
}

static void on_signal(int number)
{
    last_words();
    signal(number, SIG_DFL);
    raise(number);
}

/* In a block of exactly its size, so that a sanitizer sees a read behind it. */
static void run(const char *how, const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    ASSERT(copy);
    memcpy(copy, bytes, len);
    now.how = how;
    now.bytes = copy;
    now.len = len;
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static uint8_t *read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(INPUT_BYTES_MAX);
    if (!file || !bytes) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(2);
    }
    *ret_len = fread(bytes, 1, INPUT_BYTES_MAX, file);
    fclose(file);
    return bytes;
}

static void run_whole(const uint8_t *bytes, size_t len)
{
    run("whole", bytes, len);
}

static void run_truncated(const uint8_t *bytes, size_t len)
{
    for (size_t cut = 0; len <= TRUNCATED_BYTES_MAX && cut < len; cut++)
        run("cut short", bytes, cut);
}

/* One to four bytes get another value, or that of a neighbour: text mostly stays text. */
static void run_mutants(const uint8_t *bytes, size_t len)
{
    uint64_t seed = fuzz_seed(span_of(bytes, len));
    uint8_t *mutant = malloc(len + 1);
    ASSERT(mutant);
    for (size_t i = 0; len > 0 && len <= MUTATED_BYTES_MAX && i < MUTANTS; i++) {
        memcpy(mutant, bytes, len);
        for (uint64_t n = test_random(&seed) % 4 + 1; n > 0; n--) {
            uint64_t chance = test_random(&seed);
            size_t at = (size_t)(chance >> 16) % len;
            mutant[at] = chance & 1 ? (uint8_t)(chance >> 8) : bytes[(chance >> 32) % len];
        }
        run("changed", mutant, len);
    }
    free(mutant);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_folder(const char *folder, char **paths)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        if (count == FILES_MAX || asprintf(&paths[count], "%s/%s", folder, entry->d_name) < 0) {
            fprintf(stderr, "%s: more than %d inputs\n", folder, FILES_MAX);
            exit(2);
        }
        count++;
    }
    if (dir)
        closedir(dir);
    qsort(paths, count, sizeof(*paths), by_name);
    return count;
}

static void run_files(char *const *paths, size_t count,
                      void (*how)(const uint8_t *bytes, size_t len))
{
    for (size_t i = 0; i < count; i++) {
        size_t len;
        uint8_t *bytes = read_file(paths[i], &len);
        now.file = paths[i];
        how(bytes, len);
        free(bytes);
    }
}

static void run_corpus(char *const *paths, size_t count)
{
    printf("1..4\n%sok 1 - the corpus has inputs\n", count ? "" : "not ");
    run_files(paths, count, run_whole);
    printf("ok 2 - every input keeps the promises\n");
    run_files(paths, count, run_truncated);
    printf("ok 3 - so does every beginning of a small one\n");
    run_files(paths, count, run_mutants);
    printf("ok 4 - so do seeded mutants\n# %zu inputs\n", count);
}

int main(int argc, char **argv)
{
    struct stat stat_of;
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER | FILE...\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *folder = getenv("WEIR_BUILD"), *name = strrchr(argv[0], '/');
    now.program = argv[0];
    snprintf(now.crash, sizeof(now.crash), "%s/crash-%s", folder ? folder : ".",
             name ? name + 1 : argv[0]);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(last_words);
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    if (stat(argv[1], &stat_of) != 0 || !S_ISDIR(stat_of.st_mode)) {
        run_files(argv + 1, (size_t)argc - 1, run_whole);
        return 0;
    }
    char **paths = calloc(FILES_MAX, sizeof(*paths));
    ASSERT(paths);
    size_t count = list_folder(argv[1], paths);
    run_corpus(paths, count);
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
    return count ? 0 : 1;
}
