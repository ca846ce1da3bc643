#include "base/alloc.h"
#include "cmd/report.h"
#include "cmd/role.h"

#include <stdio.h>
#include <sysexits.h>

#define OUTPUT_BYTES_MAX ((size_t)1 << 20)
/* Warnings, where --strict asks that there are none. */
#define EXIT_WARNINGS 1

struct own {
    bool strict, json;
};

static const struct config_key own_keys[] = {
    {.flag = "--strict",
     .help = "end with 1 when there are warnings; warn of secrets in the file",
     .type = CONFIG_BOOL,
     CONFIG_FIELD(struct own, strict)},
    {.flag = "--json",
     .help = "the findings as a JSON array on standard output",
     .type = CONFIG_BOOL,
     CONFIG_FIELD(struct own, json)},
};
static const struct config_section own_section = CONFIG_SECTION(struct own, own_keys);

void describe_check(struct command_page *ret_page)
{
    *ret_page = (struct command_page){
        .flags = {
            .usage = "weir check [--strict] [--json] [COMMAND] [its options]",
            .summary = "Does what the start of COMMAND (serve) does, up to its listeners and the "
                       "loading of models: reads the file, the environment and the options, "
                       "checks each value, opens the log, looks for the models. Says everything "
                       "that is wrong. Ends with 0, with 1 for warnings under --strict, or as the "
                       "start would: 78 for a mistake in the configuration.",
            .own = &own_section,
            .argument = "COMMAND",
            .arguments_max = 1,
        }};
}

static int print_json(const struct run_findings *findings)
{
    CLEANUP(text_release) struct text text;
    text_init(&text, OUTPUT_BYTES_MAX);
    text_byte(&text, '[');
    for (size_t i = 0; i < findings->errors.count + findings->warnings.count; i++) {
        bool error = i < findings->errors.count;
        const struct config_errors *list = error ? &findings->errors : &findings->warnings;
        text_str(&text, i > 0 ? ",\n" : "");
        report_finding(&text, error ? "error" : "warning",
                       &list->items[error ? i : i - findings->errors.count]);
    }
    text_str(&text, "]\n");
    return command_print(&text);
}

static int check(struct role_start *start, const void *arg)
{
    const struct own *own = arg;
    CLEANUP(mem_cleanup) struct run_findings *findings = MEM_NEW(struct run_findings);
    mem_must(findings, sizeof(*findings));
    start->options.strict = own->strict;
    int code = run_check(&start->options, findings);
    if (code == EX_OK && own->strict && findings->warnings.count > 0)
        code = EXIT_WARNINGS;
    int printed = EX_OK;
    if (own->json) {
        printed = print_json(findings);
    } else {
        run_say("", &findings->errors);
        run_say("warning: ", &findings->warnings);
        if (code == EX_OK)
            puts("good");
    }
    return code == EX_OK ? printed : code;
}

int cmd_check(int argc, const char *const *argv)
{
    static const struct role_look look = {"weir check", describe_check, check};
    return role_look(&look, argc, argv);
}
