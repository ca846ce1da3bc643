/* The dotted path of what a walk over a file's tree looks at: "models[0].path".
 */
#pragma once

#include "base/span.h"
#include "config/yaml.h"

/* Holds the path of any tree: a level is a key and its dot, or an index. */
#define CONFIG_PATH_BYTES ((YAML_DEPTH_MAX + 1) * (YAML_KEY_BYTES_MAX + 16))

/* Zeroed: empty. */
struct config_path {
    char text[CONFIG_PATH_BYTES];
    size_t len;
};

/* Returns what `config_path_pop` needs. */
size_t config_path_push(struct config_path *path, const char *format, ...) PRINTF_LIKE(2, 3);
void config_path_pop(struct config_path *path, size_t before);
/* What lies behind `start`. */
static inline struct span config_path_from(const struct config_path *path, size_t start)
{
    return span_of(path->text + start, path->len - start);
}

/* Whether a key's own path is `name`, or lies below it (then `*ret_below`). */
bool config_path_matches(const char *key_path, struct span name, bool *ret_below);
