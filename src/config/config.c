/* Life of a snapshot: tables checked, defaults, then the file, then the flags. */
#include "config/config.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "config/snapshot.h"
#include "config/value.h"
#include "config/yaml.h"

#include <stdio.h>

#define ARENA_BLOCK 4096
#define SNAPSHOT_BYTES_MAX ((size_t)32 << 20)
#define TREE_BYTES_MAX ((size_t)16 << 20)

_Static_assert(CONFIG_FILE_BYTES_MAX == YAML_BYTES_MAX, "one limit for a file");

struct diag *config_errors_next(struct config_errors *errors)
{
    if (errors->count == CONFIG_ERRORS_MAX) {
        errors->more = true;
        return NULL;
    }
    struct diag *diag = &errors->items[errors->count++];
    *diag = (struct diag){0};
    return diag;
}

void config_warn(struct config *config, const struct diag *diag)
{
    struct diag *copy = config->warning_count < ARRAY_LEN(config->warnings)
                            ? ARENA_NEW(&config->arena, struct diag)
                            : NULL;
    if (copy == NULL)
        return;
    *copy = *diag;
    config->warnings[config->warning_count++] = copy;
}

int section_name_key(const struct config_section *section)
{
    for (size_t i = 0; i < section->key_count; i++)
        if (section->keys[i].type == CONFIG_NAME)
            return (int)i;
    return -1;
}

/* ---- tables are sound (our own code, so asserted) ---------------------------- */

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* Whether one variable of the environment would override both. */
static bool same_variable(const char *a, const char *b)
{
    while (a && b && *a && (*a == '.' ? '_' : *a) == (*b == '.' ? '_' : *b))
        a++, b++;
    return a && b && *a == *b;
}

/* No path, variable or flag is there twice. */
static void check_apart(const struct config_section *a, const struct config_section *b)
{
    for (size_t i = 0; i < a->key_count; i++)
        for (size_t j = 0; j < b->key_count && &b->keys[j] != &a->keys[i]; j++) {
            ASSERT(!same_variable(a->keys[i].path, b->keys[j].path));
            ASSERT(!same(a->keys[i].flag, b->keys[j].flag));
        }
}

/* A list or map, and only such a key, has a section. */
static void check_nested(const struct config_key *key)
{
    bool nested = key->type == CONFIG_LIST || key->type == CONFIG_MAP;
    ASSERT((key->section != NULL) == nested);
    if (!nested)
        return;
    ASSERT(key->flag == NULL && key->fallback == NULL);
    ASSERT(key->type == CONFIG_LIST || section_name_key(key->section) >= 0);
    section_check(key->section, true);
}

/* An older name: what replaces it is in the same table and no alias itself. */
static void check_alias(const struct config_key *key, const struct config_section *section)
{
    bool there = false;
    for (size_t i = 0; i < section->key_count; i++)
        there = there || (same(section->keys[i].path, key->deprecated.replacement) &&
                          !config_key_is_alias(&section->keys[i]));
    ASSERT(there && key->path && key->deprecated.since && !key->flag && !key->fallback &&
           !key->required);
}

static void check_key(const struct config_key *key, const struct config_section *section,
                      bool element)
{
    if (config_key_is_alias(key)) {
        check_alias(key, section);
        return;
    }
    ASSERT(key->help && (key->path || (key->flag && !element)));
    if (key->path)
        ASSERT(strlen(key->path) <= 100 && (element || strcmp(key->path, "version") != 0));
    if (key->flag)
        ASSERT(strncmp(key->flag, "--", 2) == 0 && key->flag[2] != '\0' && !element);
    ASSERT(key->size == config_type_size(key->type));
    ASSERT(key->offset + key->size <= section->size);
    ASSERT((key->choices != NULL) == (key->type == CONFIG_ENUM));
    ASSERT(!key->secret || key->type == CONFIG_TEXT);
    ASSERT(!key->required || key->fallback == NULL);
    ASSERT(key->max == 0 || key->min <= key->max);
    check_nested(key);
}

void section_check(const struct config_section *section, bool element)
{
    for (size_t i = 0; i < section->key_count; i++)
        check_key(&section->keys[i], section, element);
    check_apart(section, section);
}

/* ---- defaults, environment, flags ------------------------------------------------------------ */

result block_defaults(const struct config_block *block, struct arena *arena, struct diag *diag)
{
    for (size_t i = 0; i < block->section->key_count; i++) {
        const struct config_key *key = &block->section->keys[i];
        if (key->fallback == NULL)
            continue;
        result r = config_value_parse(key, span_cstr(key->fallback), false, arena,
                                      block_field(block, i), diag);
        ASSERT(!failed(r) || is(r, ERR_NO_MEMORY)); /* a default of our own is right */
        TRY(r);
    }
    return OK;
}

/* The block and index of `key`; asserts that it is there. */
static struct config_block *find_key(struct config *config, const struct config_key *key,
                                     size_t *ret_index)
{
    for (size_t m = 0; m < config->module_count; m++)
        for (size_t i = 0; i < config->blocks[m].section->key_count; i++)
            if (&config->blocks[m].section->keys[i] == key) {
                *ret_index = i;
                return &config->blocks[m];
            }
    ASSERT(!"a setting of a module that is not loaded");
    return NULL;
}

static void apply_setting(struct config *config, const struct config_setting *setting,
                          struct config_errors *errors)
{
    size_t index = 0;
    struct config_block *block = find_key(config, setting->key, &index);
    void *field = block_field(block, index);
    struct config_origin *origin = &block->origins[index];
    if (setting->key->type == CONFIG_TEXTS && origin->kind != CONFIG_FROM_FLAG)
        *(struct config_texts *)field = (struct config_texts){0};
    struct diag diag = {0};
    *origin = (struct config_origin){.kind = CONFIG_FROM_FLAG};
    if (!failed(config_value_parse(setting->key, span_cstr(setting->text), false, &config->arena,
                                   field, &diag)))
        return;
    snprintf(diag.key, sizeof(diag.key), "%s", setting->key->flag);
    struct diag *error = config_errors_next(errors);
    if (error)
        *error = diag;
}

static void apply_variable(struct config *config, const struct config_source *source,
                           const struct config_block *block, size_t index,
                           struct config_errors *errors)
{
    const struct config_key *key = &block->section->keys[index];
    char name[CONFIG_VARIABLE_BYTES];
    config_variable_name(key, name);
    const char *value = name[0] ? process_env(source->process, name) : NULL;
    if (value == NULL || value[0] == '\0')
        return;
    struct diag diag = {0};
    block->origins[index] = (struct config_origin){
        .kind = CONFIG_FROM_ENVIRONMENT, .variables = arena_copy(&config->arena, span_cstr(name))};
    result r = utf8_valid(span_cstr(value))
                   ? config_value_parse(key, span_cstr(value), false, &config->arena,
                                        block_field(block, index), &diag)
                   : diag_fail(&diag, ERR_TYPE, "expected UTF-8 text, got other bytes");
    if (!failed(r))
        return;
    snprintf(diag.key, sizeof(diag.key), "%s", name);
    struct diag *error = config_errors_next(errors);
    if (error)
        *error = diag;
}

static void apply_environment(struct config *config, const struct config_source *source,
                              struct config_errors *errors)
{
    for (size_t m = 0; source->process && m < config->module_count; m++)
        for (size_t i = 0; i < config->blocks[m].section->key_count; i++)
            apply_variable(config, source, &config->blocks[m], i, errors);
}

static void check_required(const struct config *config, struct config_errors *errors)
{
    for (size_t m = 0; m < config->module_count; m++) {
        const struct config_block *block = &config->blocks[m];
        for (size_t i = 0; i < block->section->key_count; i++) {
            const struct config_key *key = &block->section->keys[i];
            if (!key->required || block->origins[i].kind != CONFIG_FROM_DEFAULT)
                continue;
            struct diag *diag = config_errors_next(errors);
            const char *flag = key->flag ? key->flag : "";
            ignore(diag_fail_at(diag, ERR_ARGUMENT, config->file, config->file ? 1 : 0, 0,
                                "expected a value (%s), got none%s%s", key->help,
                                key->flag ? "; the option is " : "", flag));
            if (diag)
                snprintf(diag->key, sizeof(diag->key), "%s", key->path ? key->path : flag);
        }
    }
}

/* ---- snapshot ---------------------------------------------------------------------- */

static result out_of_memory(struct config_errors *errors)
{
    return diag_fail(config_errors_next(errors), ERR_NO_MEMORY,
                     "out of memory for the configuration");
}

static result config_new(const struct config_source *source, struct config **ret_config)
{
    struct config *config = MEM_NEW(struct config);
    if (config == NULL)
        return fail(ERR_NO_MEMORY);
    ref_init(&config->ref);
    arena_init(&config->arena, ARENA_BLOCK, SNAPSHOT_BYTES_MAX);
    config->modules = source->modules;
    config->module_count = source->module_count;
    config->blocks = arena_zalloc(&config->arena, source->module_count, sizeof(*config->blocks));
    bool good = config->blocks != NULL;
    if (source->file) {
        config->file = arena_copy(&config->arena, span_cstr(source->file));
        good = good && config->file;
    }
    for (size_t m = 0; good && m < source->module_count; m++) {
        const struct config_section *section = &source->modules[m]->section;
        struct config_block *block = &config->blocks[m];
        block->section = section;
        block->values = arena_zalloc(&config->arena, 1, section->size);
        block->origins = arena_zalloc(&config->arena, section->key_count, sizeof(*block->origins));
        good =
            block->values && block->origins && !failed(block_defaults(block, &config->arena, NULL));
    }
    if (!good) {
        config_unref(config);
        return fail(ERR_NO_MEMORY);
    }
    *ret_config = config;
    return OK;
}

/* Whether the file could be looked at as a whole. */
static bool load_file(struct config *config, const struct config_source *source,
                      struct config_errors *errors)
{
    struct arena tree;
    arena_init(&tree, ARENA_BLOCK, TREE_BYTES_MAX);
    const struct yaml_node *root = NULL;
    struct diag diag = {0};
    bool walked = false;
    if (failed(yaml_parse(source->yaml, source->file, &tree, &root, &diag)))
        *config_errors_next(errors) = diag;
    else
        walked = config_bind(config, source, root, errors);
    arena_release(&tree);
    return walked;
}

result config_load(const struct config_source *source, struct config **ret_config,
                   struct config_errors *errors)
{
    errors->count = 0;
    errors->more = false;
    for (size_t m = 0; m < source->module_count; m++) {
        section_check(&source->modules[m]->section, false);
        for (size_t other = 0; other < m; other++)
            check_apart(&source->modules[m]->section, &source->modules[other]->section);
    }
    struct config *config = NULL;
    if (failed(config_new(source, &config)))
        return out_of_memory(errors);
    bool walked = source->file == NULL || load_file(config, source, errors);
    apply_environment(config, source, errors);
    for (size_t i = 0; i < source->setting_count; i++)
        apply_setting(config, &source->settings[i], errors);
    if (walked)
        check_required(config, errors);
    if (errors->count > 0) {
        config_unref(config);
        return fail(errors->items[0].code);
    }
    *ret_config = config;
    return OK;
}

struct config *config_ref(struct config *config)
{
    ref_get(&config->ref);
    return config;
}

void config_unref(struct config *config)
{
    if (config == NULL || !ref_put(&config->ref))
        return;
    arena_release(&config->arena);
    mem_free(config);
}

size_t config_warning_count(const struct config *config)
{
    return config->warning_count;
}

const struct diag *config_warning(const struct config *config, size_t index)
{
    ASSERT(index < config->warning_count);
    return config->warnings[index];
}

size_t config_deprecated_count(const struct config *config)
{
    return config->deprecated_count;
}

const void *config_of(const struct config *config, const struct config_module *module)
{
    for (size_t m = 0; m < config->module_count; m++)
        if (config->modules[m] == module)
            return config->blocks[m].values;
    ASSERT(!"a module that was not loaded");
    return NULL;
}
