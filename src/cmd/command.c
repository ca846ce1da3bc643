#include "cmd/command.h"

#include "base/lookup.h"

#include <stdio.h>
#include <sysexits.h>

#define COMMANDS_MAX 32
#define HELP_BYTES_MAX ((size_t)64 << 10)

static void list_commands(const struct command *list, const char *above, FILE *out)
{
    fprintf(out, "Usage: %s COMMAND [options]\n\nCommands:\n", above);
    for (size_t i = 0; list[i].name; i++)
        fprintf(out, "  %-12s %s\n", list[i].name, list[i].summary);
    fprintf(out, "\n'%s COMMAND --help' says more.\n", above);
}

static int unknown_command(const struct command *list, const char *above, const char *word)
{
    const char *names[COMMANDS_MAX];
    char quoted[64];
    size_t count = 0;
    for (; list[count].name; count++) {
        ASSERT(count < ARRAY_LEN(names));
        names[count] = list[count].name;
    }
    const char *nearest = text_nearest(span_cstr(word), names, count);
    fprintf(stderr, "%s: '%s' is not a command", above,
            diag_quote(span_cstr(word), quoted, sizeof(quoted)));
    if (nearest)
        fprintf(stderr, "; did you mean '%s'?", nearest);
    fprintf(stderr, "\nSee '%s --help'.\n", above);
    return EX_USAGE;
}

int commands_run(const struct command *list, const char *above, int argc, const char *const *argv)
{
    if (argc < 1) {
        list_commands(list, above, stderr);
        return EX_USAGE;
    }
    struct span word = span_cstr(argv[0]);
    if (span_is(word, "--help") || span_is(word, "-h") || span_is(word, "help")) {
        list_commands(list, above, stdout);
        return EX_OK;
    }
    for (size_t i = 0; list[i].name; i++)
        if (span_is(word, list[i].name))
            return list[i].main(argc - 1, argv + 1);
    return unknown_command(list, above, argv[0]);
}

int command_print(const struct text *text)
{
    bool whole =
        !failed(text_result(text)) && fputs(text_cstr(text), stdout) >= 0 && fflush(stdout) == 0;
    if (!whole)
        fputs("weir: cannot write all of it\n", stderr);
    return whole ? EX_OK : EX_IOERR;
}

int command_help(const struct flags_command *command, bool all)
{
    CLEANUP(text_release) struct text text;
    text_init(&text, HELP_BYTES_MAX);
    flags_help(command, all, &text);
    return command_print(&text);
}

int command_usage(const char *name, const struct diag *diag)
{
    fprintf(stderr, "%s: %s\nSee '%s --help'.\n", name, diag->text, name);
    return EX_USAGE;
}
