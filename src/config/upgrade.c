#include "config/upgrade.h"

#include "config/path.h"
#include "config/snapshot.h"
#include "config/yaml.h"

#include <stdio.h>

#define TREE_BYTES_MAX ((size_t)16 << 20)
#define SECTIONS_MAX 32

struct upgrade {
    const struct config_source *source;
    const struct yaml_node *version;
    struct span rest; /* of the old text, not yet copied */
    struct text *into;
    config_edit_fn edited;
    void *arg;
    struct config_path path;
};

/* A mapping, and the tables its keys are in. */
struct place {
    const struct config_section *const *sections;
    size_t count;
    size_t start; /* of the tables' own paths in `path` */
};

static void visit(struct upgrade *u, const struct place *place, const struct yaml_node *mapping);

/* ---- text ---- */

/* Replaces the word at a place, with or without quotes; false when it is not there as
 * it was read (escapes). */
static bool replace(struct upgrade *u, size_t at, struct span old, struct span new_)
{
    size_t here = (size_t)(u->rest.ptr - u->source->yaml.ptr);
    ASSERT(at >= here);
    if (!span_starts(span_from(u->rest, at - here), old))
        return false;
    text_append(u->into, span_first(u->rest, at - here));
    text_append(u->into, new_);
    u->rest = span_from(u->rest, at - here + old.len);
    return true;
}

/* ---- keys ---- */

static const struct config_key *find(const struct place *place, struct span path, bool *ret_below)
{
    *ret_below = false;
    for (size_t s = 0; s < place->count; s++) {
        const struct config_section *section = place->sections[s];
        ASSERT(section);
        for (size_t i = 0; i < section->key_count; i++) {
            const struct config_key *key = &section->keys[i];
            bool below = false;
            if (!key->path || !config_path_matches(key->path, path, &below))
                continue;
            if (!below)
                return key;
            *ret_below = true;
        }
    }
    return NULL;
}

/* The new word of a key that stays in its mapping; empty where it does not. */
static struct span new_word(const struct config_key *key, struct span word)
{
    struct span from = span_cstr(key->path), to = span_cstr(key->deprecated.replacement);
    struct span above = span_first(from, from.len - word.len);
    struct span rest = span_from(to, above.len);
    bool same = span_starts(to, above) && span_find(rest, '.') == rest.len;
    return same ? rest : SPAN_NONE;
}

static void edit(struct upgrade *u, const struct config_key *key, const struct yaml_node *node)
{
    struct span word = key->deprecated.replacement ? new_word(key, node->key) : SPAN_NONE;
    const struct config_edit told = {
        .line = node->key_line,
        .column = node->key_column,
        .path = u->path.text,
        .replacement = key->deprecated.replacement,
        .done = word.len > 0 && replace(u, node->key_at, node->key, word),
    };
    u->edited(u->arg, &told);
}

static void visit_elements(struct upgrade *u, const struct config_key *key,
                           const struct yaml_node *list)
{
    size_t index = 0;
    for (const struct yaml_node *one = list->first; one; one = one->next) {
        size_t before = list->kind == YAML_MAPPING
                            ? config_path_push(&u->path, ".%.*s", SPAN_FMT(one->key))
                            : config_path_push(&u->path, "[%zu]", index++);
        const struct place place = {&key->section, 1, u->path.len + 1};
        if (one->kind == YAML_MAPPING)
            visit(u, &place, one);
        config_path_pop(&u->path, before);
    }
}

static void visit(struct upgrade *u, const struct place *place, const struct yaml_node *mapping)
{
    for (const struct yaml_node *node = mapping->first; node; node = node->next) {
        size_t before =
            config_path_push(&u->path, "%s%.*s", u->path.len > 0 ? "." : "", SPAN_FMT(node->key));
        bool below;
        const struct config_key *key =
            find(place, config_path_from(&u->path, place->start), &below);
        if (key && key->deprecated.since)
            edit(u, key, node);
        if (key && key->section)
            visit_elements(u, key, node);
        else if (!key && below && node->kind == YAML_MAPPING)
            visit(u, place, node);
        else if (node == u->version) {
            char newest[16];
            snprintf(newest, sizeof(newest), "%d", CONFIG_VERSION);
            (void)replace(u, node->at, node->text, span_cstr(newest));
        }
        config_path_pop(&u->path, before);
    }
}

static result check_version(struct upgrade *u, const struct yaml_node *root, struct diag *diag)
{
    const struct yaml_node *node = root->kind == YAML_MAPPING ? root->first : NULL;
    while (node && !span_is(node->key, "version"))
        node = node->next;
    u->version = node;
    if (node && config_version_known(u->source, node, NULL))
        return OK;
    return diag_fail_at(diag, ERR_UNSUPPORTED, u->source->file, node ? node->line : 1, 0,
                        "expected a file with \"version: %d\" or an older one, got another",
                        CONFIG_VERSION);
}

static result upgrade(struct upgrade *u, struct arena *tree, struct diag *diag)
{
    const struct config_section *sections[SECTIONS_MAX] = {0};
    const struct yaml_node *root = NULL;
    ASSERT(u->source->module_count <= SECTIONS_MAX);
    for (size_t m = 0; m < u->source->module_count; m++)
        sections[m] = &u->source->modules[m]->section;
    TRY(yaml_parse(u->source->yaml, u->source->file, tree, &root, diag));
    TRY(check_version(u, root, diag));
    const struct place place = {sections, u->source->module_count, 0};
    visit(u, &place, root);
    text_append(u->into, u->rest);
    return text_result(u->into);
}

result config_upgrade(const struct config_source *source, struct text *into, config_edit_fn edited,
                      void *arg, struct diag *diag)
{
    struct upgrade u = {
        .source = source, .rest = source->yaml, .into = into, .edited = edited, .arg = arg};
    struct arena tree;
    arena_init(&tree, 4096, TREE_BYTES_MAX);
    result r = upgrade(&u, &tree, diag);
    arena_release(&tree);
    return r;
}
