/* For tests of command lines: what a command takes beside the modules' keys. */
#pragma once

#include "config/schema.h"

struct own {
    const char *config;
    bool strict;
    int64_t level;
    struct config_texts sets;
};

static const struct config_key own_keys[] = {
    {.flag = "--config",
     .help = "the configuration file",
     .type = CONFIG_PATH,
     CONFIG_FIELD(struct own, config)},
    {.flag = "--strict",
     .help = "take warnings for errors",
     .type = CONFIG_BOOL,
     CONFIG_FIELD(struct own, strict)},
    {.flag = "--level",
     .help = "how much is told",
     .fallback = "1",
     .type = CONFIG_INT,
     .max = 9,
     CONFIG_FIELD(struct own, level)},
    {.flag = "--set",
     .help = "a setting; may be repeated",
     .type = CONFIG_TEXTS,
     CONFIG_FIELD(struct own, sets)},
};
static const struct config_section own_section = CONFIG_SECTION(struct own, own_keys);
