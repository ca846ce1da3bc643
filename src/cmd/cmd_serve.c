#include "cmd/role.h"

#include <sysexits.h>
#include <unistd.h>

void describe_serve(struct command_page *ret_page)
{
    role_describe(&role_commands[0], ret_page);
}

int cmd_serve(int argc, const char *const *argv)
{
    struct role_start start;
    bool help = false;
    int code = role_start_init(&start, &role_commands[0], "weir serve", argc, argv, &help);
    if (code == EX_OK && !help)
        code = run_role(&start.options);
    if (code == RUN_EXIT_CUT)
        _exit(code);
    role_start_release(&start);
    return code;
}
