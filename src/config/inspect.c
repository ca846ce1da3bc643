/* Snapshots, value by value, and written out as a file.
 *
 * Dotted paths become nested mappings, whose keys may come from several modules: a tree
 * is written level by level, a word of the paths at a time, each where its first key is.
 */
#include "config/inspect.h"

#include "config/snapshot.h"
#include "config/value.h"

#include <stdio.h>

#define PATH_BYTES_MAX 4096
#define VALUE_BYTES_MAX ((size_t)1 << 20)
#define ORIGIN_BYTES_MAX 8192
#define VARIABLE_PREFIX "WEIR_"

void config_variable_name(const struct config_key *key, char ret_name[CONFIG_VARIABLE_BYTES])
{
    bool list = key->type == CONFIG_LIST || key->type == CONFIG_MAP || key->type == CONFIG_TEXTS;
    bool none = list || !key->path || config_key_is_alias(key);
    int len = snprintf(ret_name, CONFIG_VARIABLE_BYTES, "%s%s", none ? "" : VARIABLE_PREFIX,
                       none ? "" : key->path);
    ASSERT(len < CONFIG_VARIABLE_BYTES); /* check_key bounds the path */
    for (char *c = ret_name; *c; c++)
        *c = *c == '.' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
}

void config_origin_format(const struct config_entry *entry, struct text *into)
{
    const struct config_origin *origin = entry->origin;
    switch (origin->kind) {
    case CONFIG_FROM_DEFAULT:
        text_str(into, "default");
        break;
    case CONFIG_FROM_FILE:
        if (origin->secret)
            text_printf(into, "file %s at ", origin->secret);
        else if (origin->variables)
            text_printf(into, "environment %s at ", origin->variables);
        text_printf(into, "%s:%d", entry->file ? entry->file : "", origin->line);
        break;
    case CONFIG_FROM_ENVIRONMENT:
        text_printf(into, "environment %s", origin->variables ? origin->variables : "");
        break;
    case CONFIG_FROM_FLAG:
        if (entry->key->flag)
            text_printf(into, "flag %s", entry->key->flag);
        else
            text_str(into, "argument");
        break;
    }
}

/* ---- value by value ------------------------------------------------------------- */

struct walker {
    const struct config *config;
    config_entry_fn fn;
    void *arg;
    struct text path, value;
};

static result walk_block(struct walker *w, const struct config_block *block);

static void path_cut(struct text *path, size_t len)
{
    path->len = len;
    if (path->ptr)
        path->ptr[len] = '\0';
}

static result walk_entry(struct walker *w, const struct config_key *key, const void *field,
                         const struct config_origin *origin)
{
    bool list = key->type == CONFIG_LIST || key->type == CONFIG_MAP;
    text_clear(&w->value);
    if (list)
        text_str(&w->value, key->type == CONFIG_LIST ? "[]" : "{}");
    else
        config_value_format(key, field, &w->value);
    TRY(text_result(&w->value));
    const struct config_entry entry = {
        .path = text_cstr(&w->path),
        .key = key,
        .value = text_cstr(&w->value),
        .field = field,
        .origin = origin,
        .file = w->config->file,
    };
    w->fn(w->arg, &entry);
    return OK;
}

static result walk_list(struct walker *w, const struct config_key *key,
                        const struct config_list *list)
{
    size_t len = w->path.len;
    for (size_t i = 0; i < list->count; i++) {
        struct config_block block = list_block(key, list, i);
        int name = section_name_key(block.section);
        const char *word =
            name < 0 ? NULL : *(const char *const *)block_field(&block, (size_t)name);
        if (word)
            text_printf(&w->path, ".%s", word);
        else
            text_printf(&w->path, "[%zu]", i);
        TRY(walk_block(w, &block));
        path_cut(&w->path, len);
    }
    return OK;
}

static result walk_block(struct walker *w, const struct config_block *block)
{
    size_t len = w->path.len;
    for (size_t i = 0; i < block->section->key_count; i++) {
        const struct config_key *key = &block->section->keys[i];
        if (config_key_is_alias(key))
            continue;
        const struct config_list *list = block_field(block, i);
        bool nested = key->type == CONFIG_LIST || key->type == CONFIG_MAP;
        text_printf(&w->path, "%s%s", len > 0 ? "." : "", key->path ? key->path : key->flag);
        TRY(text_result(&w->path));
        if (nested && list->count > 0)
            TRY(walk_list(w, key, list));
        else
            TRY(walk_entry(w, key, block_field(block, i), &block->origins[i]));
        path_cut(&w->path, len);
    }
    return OK;
}

result config_walk(const struct config *config, config_entry_fn fn, void *arg)
{
    struct walker w = {.config = config, .fn = fn, .arg = arg};
    text_init(&w.path, PATH_BYTES_MAX);
    text_init(&w.value, VALUE_BYTES_MAX);
    result r = OK;
    for (size_t m = 0; m < config->module_count && !failed(r); m++)
        r = walk_block(&w, &config->blocks[m]);
    text_release(&w.path);
    text_release(&w.value);
    return r;
}

/* ---- as a file -------------------------------------------------------------------- */

struct writer {
    const struct config *config;
    struct text *into;
};

/* What is written at one level of the tree: the keys of some blocks below a path. Its
 * depth is bounded by the tables'. */
struct level {
    const struct config_block *blocks;
    size_t block_count;
    struct span above; /* "server." */
    int indent;
    bool map; /* an element whose name stands outside */
};

static void write_level(struct writer *w, const struct level *level);

/* A dollar sign would be read as a variable. */
static void write_value(struct writer *w, const struct config_key *key, const void *field)
{
    struct text plain;
    text_init(&plain, VALUE_BYTES_MAX);
    config_value_format(key, field, &plain);
    struct span rest = text_span(&plain);
    while (rest.len > 0) {
        struct span piece = span_first(rest, span_find(rest, '$'));
        text_append(w->into, piece);
        rest = span_from(rest, piece.len);
        if (rest.len > 0)
            text_str(w->into, "$$");
        rest = span_from(rest, 1);
    }
    if (failed(text_result(&plain)))
        w->into->error = (uint16_t)text_result(&plain).code;
    text_release(&plain);
}

static void write_secret(struct writer *w, const char *path)
{
    static const struct config_key key = {.type = CONFIG_PATH};
    text_str(w->into, "{file: ");
    write_value(w, &key, &path);
    text_byte(w->into, '}');
}

static void write_origin(struct writer *w, const struct config_key *key,
                         const struct config_origin *origin)
{
    const struct config_entry entry = {.key = key, .origin = origin, .file = w->config->file};
    text_str(w->into, "  # ");
    config_origin_format(&entry, w->into);
    text_byte(w->into, '\n');
}

static void write_elements(struct writer *w, const struct config_key *key,
                           const struct config_list *list, int indent)
{
    for (size_t i = 0; i < list->count; i++) {
        struct config_block block = list_block(key, list, i);
        int name = section_name_key(block.section);
        bool map = key->type == CONFIG_MAP;
        struct level level = {.blocks = &block, .block_count = 1, .indent = indent + 4, .map = map};
        if (map && name >= 0)
            text_printf(w->into, "%*s%s:\n", indent + 2, "",
                        *(const char *const *)block_field(&block, (size_t)name));
        else
            text_printf(w->into, "%*s-\n", indent + 2, "");
        write_level(w, &level);
    }
}

/* A default that no file can say: a text or address that is not set. */
static bool is_unset(const struct config_key *key, const void *field)
{
    switch (key->type) {
    case CONFIG_TEXT:
    case CONFIG_PATH:
    case CONFIG_NAME:
        return *(const char *const *)field == NULL;
    case CONFIG_ADDRESS:
        return !key->word && !((const struct config_address *)field)->set;
    default:
        return false;
    }
}

static void write_key(struct writer *w, const struct level *level, const struct config_block *block,
                      size_t index, struct span word)
{
    const struct config_key *key = &block->section->keys[index];
    const void *field = block_field(block, index);
    bool nested = key->type == CONFIG_LIST || key->type == CONFIG_MAP;
    const struct config_origin *origin = &block->origins[index];
    bool comment = is_unset(key, field) || (key->secret && !origin->secret);
    text_printf(w->into, "%*s%s%.*s:", level->indent, "", comment ? "# " : "", SPAN_FMT(word));
    if (nested && ((const struct config_list *)field)->count > 0) {
        write_origin(w, key, origin);
        write_elements(w, key, field, level->indent);
        return;
    }
    text_byte(w->into, ' ');
    if (origin->secret)
        write_secret(w, origin->secret);
    else if (nested)
        text_str(w->into, key->type == CONFIG_LIST ? "[]" : "{}");
    else
        write_value(w, key, field);
    write_origin(w, key, origin);
}

/* The next word of a key's path at this level; empty when it lies elsewhere. */
static struct span word_at(const struct level *level, const struct config_key *key)
{
    struct span path = span_cstr(key->path);
    if (!key->path || config_key_is_alias(key) || !span_starts(path, level->above))
        return SPAN_NONE;
    path = span_from(path, level->above.len);
    return span_first(path, span_find(path, '.'));
}

/* Whether an earlier key of the level has begun the same mapping. */
static bool is_written(const struct level *level, size_t block, size_t index, struct span word)
{
    for (size_t m = 0; m <= block; m++)
        for (size_t i = 0; i < (m < block ? level->blocks[m].section->key_count : index); i++)
            if (span_eq(word_at(level, &level->blocks[m].section->keys[i]), word))
                return true;
    return false;
}

static void write_word(struct writer *w, const struct level *level, size_t block, size_t index)
{
    const struct config_section *section = level->blocks[block].section;
    const struct config_key *key = &section->keys[index];
    struct span word = word_at(level, key);
    if (level->map && key->type == CONFIG_NAME)
        return;
    if (word.len == 0 || is_written(level, block, index, word))
        return;
    struct span path = span_cstr(key->path);
    size_t len = level->above.len + word.len;
    if (path.len == len) {
        write_key(w, level, &level->blocks[block], index, word);
        return;
    }
    text_printf(w->into, "%*s%.*s:\n", level->indent, "", SPAN_FMT(word));
    struct level below = *level;
    below.above = span_first(path, len + 1);
    below.indent += 2;
    write_level(w, &below);
}

static void write_level(struct writer *w, const struct level *level)
{
    for (size_t m = 0; m < level->block_count; m++)
        for (size_t i = 0; i < level->blocks[m].section->key_count; i++)
            write_word(w, level, m, i);
}

/* What only the command line says. */
static void write_flags(struct writer *w, const struct config_block *block)
{
    for (size_t i = 0; i < block->section->key_count; i++) {
        const struct config_key *key = &block->section->keys[i];
        if (key->path || block->origins[i].kind == CONFIG_FROM_DEFAULT)
            continue;
        text_printf(w->into, "# %s ", key->flag);
        write_value(w, key, block_field(block, i));
        text_byte(w->into, '\n');
    }
}

result config_dump(const struct config *config, struct text *into)
{
    struct writer w = {.config = config, .into = into};
    text_printf(into, "version: %d\n", CONFIG_VERSION);
    for (size_t m = 0; m < config->module_count; m++)
        write_flags(&w, &config->blocks[m]);
    struct level level = {.blocks = config->blocks, .block_count = config->module_count};
    write_level(&w, &level);
    return text_result(into);
}
