/* The commands of the one binary: a thin file each, listed by hand in one table. */
#pragma once

#include "base/macros.h"

struct command {
    const char *name;
    const char *summary; /* for `weir --help`: lower case, no period */
    /* `argv` begins behind the command's name. Returns the exit code. */
    int (*main)(int argc, const char *const *argv);
};

int cmd_serve(int argc, const char *const *argv);
