#include "cmd/command.h"

#include <stdio.h>
#include <sysexits.h>

const struct command commands[] = {
    {.name = "serve",
     .summary = "run models: load, version, batch, answer",
     .main = cmd_serve,
     .describe = describe_serve},
    {.name = "check",
     .summary = "try a start without starting: configuration, paths",
     .main = cmd_check,
     .describe = describe_check,
     .takes_role = true},
    {.name = "config",
     .summary = "look at configuration: dump, diff, schema, upgrade",
     .main = cmd_config,
     .sub = config_commands},
    {.name = "man", .summary = "write a manual page", .main = cmd_man, .describe = describe_man},
    {.name = "completion",
     .summary = "write the completion script of a shell",
     .main = cmd_completion,
     .describe = describe_completion},
    {.name = NULL},
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
    for (size_t i = 0; commands[i].name; i++)
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "A first answer, from a folder of models:\n"
          "  weir serve examples/digits/model\n",
          out);
}

int main(int argc, char **argv)
{
    struct span word = span_cstr(argc < 2 ? "" : argv[1]);
    if (argc < 2) {
        print_help(stderr);
        return EX_USAGE;
    }
    if (span_is(word, "--help") || span_is(word, "-h") || span_is(word, "help")) {
        print_help(stdout);
        return EX_OK;
    }
    if (span_is(word, "--version") || span_is(word, "version")) {
        printf("weir %s\n", WEIR_VERSION);
        return EX_OK;
    }
    return commands_run(commands, "weir", argc - 1, (const char *const *)argv + 1);
}
