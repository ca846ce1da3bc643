/* What a snapshot is made of. Private to config/.
 *
 * A block is one struct of values and, beside it, where each value came from. The
 * snapshot has one block a module; an element of a list is a block too, its values
 * and origins lying in the arrays of `struct config_list`.
 */
#pragma once

#include "base/arena.h"
#include "base/ref.h"
#include "config/config.h"
#include "config/inspect.h"

struct config_block {
    const struct config_section *section;
    void *values;
    struct config_origin *origins; /* one a key */
};

struct config {
    struct ref ref;
    struct arena arena; /* holds all below and what it points to */
    const char *file;   /* NULL without one */
    const struct config_module *const *modules;
    struct config_block *blocks; /* one a module */
    size_t module_count;
    const struct diag *warnings[CONFIG_ERRORS_MAX];
    size_t warning_count;
    size_t deprecated_count;
};

static inline void *block_field(const struct config_block *block, size_t key)
{
    return (char *)block->values + block->section->keys[key].offset;
}

/* The block of element `index`. */
static inline struct config_block list_block(const struct config_key *key,
                                             const struct config_list *list, size_t index)
{
    const struct config_section *section = key->section;
    return (struct config_block){
        .section = section,
        .values = (char *)list->items + index * section->size,
        .origins = (struct config_origin *)list->origins + index * section->key_count,
    };
}

/* Asserts that a table is sound; `element`: of a list or map. */
void section_check(const struct config_section *section, bool element);

/* The index of the table's CONFIG_NAME key, or -1. */
int section_name_key(const struct config_section *section);

/* Fills every value of a zeroed block with its default. */
result block_defaults(const struct config_block *block, struct arena *arena, struct diag *diag);

/* Checks the file and puts its values into the snapshot's blocks. Adds to `errors`
 * what is wrong. False when the file is of another version and was not looked at. */
struct yaml_node;
bool config_bind(struct config *config, const struct config_source *source,
                 const struct yaml_node *root, struct config_errors *errors);
/* Whether the value of `version` is one that is taken. */
bool config_version_known(const struct config_source *source, const struct yaml_node *node,
                          struct diag *diag);
/* The next free error, cleared, or NULL when there are too many. */
struct diag *config_errors_next(struct config_errors *errors);

/* A scalar with its variables replaced (expand.c). Without a dollar sign `ret_text` is
 * `text` itself and `ret_variables` stays; else the result lies in the arena, and
 * `ret_variables` gets the names, apart by a comma, or NULL when there was only `$$`. */
result config_expand(struct process *process, struct arena *arena, struct span text,
                     struct span *ret_text, const char **ret_variables, struct diag *diag);
/* The content of a secret's file without the newline at its end. `ret_open`: others
 * than its owner and group may read it. */
result config_secret_read(struct process *process, struct arena *arena, const char *path,
                          struct span *ret_text, bool *ret_open, struct diag *diag);
