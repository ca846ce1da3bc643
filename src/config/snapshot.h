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

enum config_origin_kind { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_FLAG };

struct config_origin {
    enum config_origin_kind kind;
    int line; /* FROM_FILE */
};

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
bool config_bind(struct config *config, const struct yaml_node *root, struct config_errors *errors);
/* The next free error, cleared, or NULL when there are too many. */
struct diag *config_errors_next(struct config_errors *errors);
