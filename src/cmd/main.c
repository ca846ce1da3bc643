#include "base/alloc.h"
#include "base/lookup.h"
#include "base/span.h"
#include "cmd/command.h"

#include <stdio.h>
#include <sysexits.h>

static const struct command commands[] = {
    {"serve", "run models: load, version, batch, answer", cmd_serve},
};

static void print_help(FILE *out)
{
    fputs("weir: AI applications from a model file to a fleet\n"
          "\n"
          "usage: weir COMMAND [options]\n"
          "       weir COMMAND --help\n"
          "       weir --version\n"
          "\n"
          "commands:\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "A first answer, from a folder of models:\n"
          "  weir serve examples/digits/model\n",
          out);
}

static int unknown_command(const char *word)
{
    const char *names[ARRAY_LEN(commands)];
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    const char *nearest = text_nearest(span_cstr(word), names, ARRAY_LEN(names));
    fprintf(stderr, "weir: '%s' is not a command", word);
    if (nearest)
        fprintf(stderr, "; did you mean '%s'?", nearest);
    fputs("\nSee 'weir --help'.\n", stderr);
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EX_USAGE;
    }
    const char *word = argv[1];
    if (span_is(span_cstr(word), "--help") || span_is(span_cstr(word), "-h") ||
        span_is(span_cstr(word), "help")) {
        print_help(stdout);
        return EX_OK;
    }
    if (span_is(span_cstr(word), "--version") || span_is(span_cstr(word), "version")) {
        printf("weir %s\n", WEIR_VERSION);
        return EX_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (span_is(span_cstr(word), commands[i].name))
            return commands[i].main(argc - 2, (const char *const *)argv + 2);
    return unknown_command(word);
}
