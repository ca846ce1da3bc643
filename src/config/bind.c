/* From the file's tree into the snapshot's blocks.
 *
 * A *scope* is a mapping of the file together with the blocks its keys may belong
 * to: the whole file with all modules, or one element with its own table. Within a
 * scope a key is found by its dotted path; `bind_mapping` goes down the nested
 * mappings and `bind_value` sets what it arrives at. Every mistake is one error;
 * the value then stays as it was and the walk goes on.
 */
#include "base/lookup.h"
#include "base/number.h"
#include "base/text.h"
#include "config/path.h"
#include "config/snapshot.h"
#include "config/value.h"
#include "config/yaml.h"

#include <stdarg.h>
#include <stdio.h>

#define HINTS_MAX 128

struct binder {
    struct config *config;
    const struct config_source *source;
    struct config_errors *errors;
    const struct config_key *warned[CONFIG_ERRORS_MAX]; /* deprecated keys, each told once */
    struct config_path path;                            /* of what is looked at */
};

struct scope {
    const struct config_block *blocks;
    size_t block_count;
    size_t start; /* where the scope's own paths begin in `path` */
    bool root;
};

struct found {
    const struct config_block *block; /* NULL: no such key */
    size_t index;
    bool section; /* not a key, but keys lie below it */
};

static void bind_mapping(struct binder *b, const struct scope *scope,
                         const struct yaml_node *mapping);

static void report(struct binder *b, enum err code, int line, int column, const char *format, ...)
    PRINTF_LIKE(5, 6);

static void report(struct binder *b, enum err code, int line, int column, const char *format, ...)
{
    struct diag *diag = config_errors_next(b->errors);
    if (diag == NULL)
        return;
    char words[DIAG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    ignore(diag_fail_at(diag, code, b->config->file, line, column, "%s", words));
    snprintf(diag->key, sizeof(diag->key), "%.*s", (int)sizeof(diag->key) - 1, b->path.text);
}

static void warn(struct binder *b, enum err code, int line, int column, const char *format, ...)
    PRINTF_LIKE(5, 6);

static void warn(struct binder *b, enum err code, int line, int column, const char *format, ...)
{
    struct diag diag = {.code = code, .line = line, .column = column};
    va_list args;
    va_start(args, format);
    vsnprintf(diag.text, sizeof(diag.text), format, args);
    va_end(args);
    snprintf(diag.file, sizeof(diag.file), "%s", b->config->file);
    snprintf(diag.key, sizeof(diag.key), "%.*s", (int)sizeof(diag.key) - 1, b->path.text);
    config_warn(b->config, &diag);
}

/* Passes on what a value's parser said, with the place. */
static void report_value(struct binder *b, const struct yaml_node *node, const struct diag *diag)
{
    report(b, diag->code, node->line, node->column, "%s", diag->text);
}

static const char *kind_text(enum yaml_kind kind)
{
    static const char *const texts[] = {"nothing", "a single value", "a list", "a mapping"};
    return texts[kind];
}

/* ---- which key ------------------------------------------------------------------ */

static struct found find(const struct scope *scope, struct span name)
{
    struct found found = {0};
    for (size_t i = 0; i < scope->block_count; i++) {
        const struct config_section *section = scope->blocks[i].section;
        for (size_t k = 0; k < section->key_count; k++) {
            bool below = false;
            if (section->keys[k].path == NULL ||
                !config_path_matches(section->keys[k].path, name, &below))
                continue;
            if (!below)
                return (struct found){.block = &scope->blocks[i], .index = k};
            found.section = true;
        }
    }
    return found;
}

/* What is collected to explain an unknown key. */
struct hints {
    struct span wanted;
    struct span above;            /* the path of the mapping it stands in, with its last dot */
    const char *words[HINTS_MAX]; /* that could stand there */
    size_t count;
    const char *elsewhere; /* the path of a key of that name in another mapping */
};

/* The word of `path` that follows `above`; empty when it does not lie below. */
static struct span word_below(const char *path, struct span above)
{
    struct span rest = span_cstr(path);
    if (!span_starts(rest, above))
        return SPAN_NONE;
    rest = span_from(rest, above.len);
    return span_first(rest, span_find(rest, '.'));
}

static void consider(struct binder *b, struct hints *hints, const char *path)
{
    struct span whole = span_cstr(path), wanted = hints->wanted;
    if (span_ends(whole, wanted) && whole.len > wanted.len &&
        whole.ptr[whole.len - wanted.len - 1] == '.')
        hints->elsewhere = path;
    struct span word = word_below(path, hints->above);
    for (size_t i = 0; i < hints->count; i++)
        if (span_is(word, hints->words[i]))
            return;
    const char *copy =
        word.len > 0 && hints->count < HINTS_MAX ? arena_copy(&b->config->arena, word) : NULL;
    if (copy)
        hints->words[hints->count++] = copy;
}

/* "a, b, c", cut where a message gets too long. */
static void list_words(const struct hints *hints, char *buffer, size_t size)
{
    size_t len = 0;
    buffer[0] = '\0';
    for (size_t i = 0; i < hints->count; i++) {
        size_t need = strlen(hints->words[i]) + 2;
        if (len + need + 4 >= size) {
            snprintf(buffer + len, size - len, ", ...");
            return;
        }
        len += (size_t)snprintf(buffer + len, size - len, "%s%s", len > 0 ? ", " : "",
                                hints->words[i]);
    }
}

/* `node` is the entry, whose key is at the end of the path. */
static void report_unknown(struct binder *b, const struct scope *scope,
                           const struct yaml_node *node)
{
    char word[64], known[400];
    struct hints hints = {
        .wanted = node->key,
        .above = span_of(b->path.text + scope->start, b->path.len - node->key.len - scope->start),
    };
    if (scope->root)
        consider(b, &hints, "version");
    for (size_t i = 0; i < scope->block_count; i++)
        for (size_t k = 0; k < scope->blocks[i].section->key_count; k++)
            if (scope->blocks[i].section->keys[k].path)
                consider(b, &hints, scope->blocks[i].section->keys[k].path);
    diag_quote(node->key, word, sizeof(word));
    list_words(&hints, known, sizeof(known));
    const char *near = text_nearest(node->key, hints.words, hints.count);
    if (near)
        report(b, ERR_NOT_FOUND, node->key_line, node->key_column,
               "unknown key '%s'; did you mean '%s'?", word, near);
    else if (hints.elsewhere)
        report(b, ERR_NOT_FOUND, node->key_line, node->key_column,
               "unknown key '%s' here; did you mean '%s'?", word, hints.elsewhere);
    else
        report(b, ERR_NOT_FOUND, node->key_line, node->key_column,
               "unknown key '%s'; expected one of: %s", word, known);
}

/* ---- values ----------------------------------------------------------------------- */

/* A scalar with what its variables say. A value that is one is not in quotes for being a
 * text: within braces YAML wants them. */
static result parse_scalar(struct binder *b, const struct config_key *key, void *field,
                           const struct yaml_node *node, struct config_origin *origin,
                           struct diag *diag)
{
    struct span text;
    const char *variables = NULL;
    TRY(config_expand(b->source->process, &b->config->arena, node->text, &text, &variables, diag));
    if (variables && origin->variables) {
        variables = arena_printf(&b->config->arena, "%s, %s", origin->variables, variables);
        if (variables == NULL)
            return diag_fail(diag, ERR_NO_MEMORY, "out of memory for the configuration");
    }
    if (variables)
        origin->variables = variables;
    else if (key->secret && b->source->strict)
        warn(b, ERR_PERMISSION, node->line, node->column,
             "a secret within the file; {file: PATH} or ${NAME} keeps it apart");
    return config_value_parse(key, text, node->quoted && !variables, &b->config->arena, field,
                              diag);
}

/* {file: PATH} of a secret. */
static result parse_secret(struct binder *b, const struct config_key *key, void *field,
                           const struct yaml_node *node, struct config_origin *origin,
                           struct diag *diag)
{
    const struct yaml_node *file = node->first;
    bool open = false;
    struct span path, text;
    if (node->count != 1 || !span_is(file->key, "file") || file->kind != YAML_SCALAR)
        return diag_fail(diag, ERR_TYPE, "expected a text or {file: PATH}, got another mapping");
    TRY(config_expand(b->source->process, &b->config->arena, file->text, &path, &origin->variables,
                      diag));
    /* What the file says lies in the tree, which goes. */
    origin->secret = arena_copy(&b->config->arena, path);
    if (origin->secret == NULL)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory for the configuration");
    TRY(config_secret_read(b->source->process, &b->config->arena, origin->secret, &text, &open,
                           diag));
    if (open)
        warn(b, ERR_PERMISSION, file->line, file->column,
             "everybody may read %s; chmod o-r keeps the secret", origin->secret);
    return config_value_parse(key, text, true, &b->config->arena, field, diag);
}

static void bind_scalar(struct binder *b, const struct config_key *key, void *field,
                        const struct yaml_node *node, struct config_origin *origin)
{
    struct diag diag = {0};
    result r;
    if (key->secret && node->kind == YAML_MAPPING)
        r = parse_secret(b, key, field, node, origin, &diag);
    else if (node->kind == YAML_SCALAR)
        r = parse_scalar(b, key, field, node, origin, &diag);
    else
        r = config_value_refuse(key, ERR_TYPE, kind_text(node->kind), &diag);
    if (failed(r))
        report_value(b, node, &diag);
}

static void bind_texts(struct binder *b, const struct config_key *key, void *field,
                       const struct yaml_node *node, struct config_origin *origin)
{
    struct diag diag = {0};
    struct config_texts texts = {0};
    if (node->kind != YAML_LIST && node->kind != YAML_NULL) {
        /* Only fills `diag`, which is reported next. */
        ignore(config_value_refuse(key, ERR_TYPE, kind_text(node->kind), &diag));
        report_value(b, node, &diag);
        return;
    }
    size_t index = 0;
    for (const struct yaml_node *one = node->first; one; one = one->next) {
        size_t before = config_path_push(&b->path, "[%zu]", index++);
        result r = OK;
        if (one->kind == YAML_SCALAR)
            r = parse_scalar(b, key, &texts, one, origin, &diag);
        else
            r = diag_fail(&diag, ERR_TYPE, "expected a text, got %s", kind_text(one->kind));
        if (failed(r))
            report_value(b, one, &diag);
        config_path_pop(&b->path, before);
        if (failed(r))
            return;
    }
    *(struct config_texts *)field = texts;
}

static void check_element(struct binder *b, const struct config_block *block,
                          const struct yaml_node *node)
{
    for (size_t i = 0; i < block->section->key_count; i++) {
        const struct config_key *key = &block->section->keys[i];
        if (!key->required || block->origins[i].kind != CONFIG_FROM_DEFAULT)
            continue;
        size_t before = config_path_push(&b->path, ".%s", key->path);
        report(b, ERR_ARGUMENT, node->line, node->column, "expected a value (%s), got none",
               key->help);
        config_path_pop(&b->path, before);
    }
}

static struct config_origin origin_of(const struct yaml_node *node)
{
    return (struct config_origin){
        .kind = CONFIG_FROM_FILE, .line = node->key_line, .column = node->key_column};
}

/* The key of a mapping is the name of its element; a key holds no variables. */
static void bind_name(struct binder *b, const struct config_block *block, size_t name,
                      const struct yaml_node *node)
{
    struct diag diag = {0};
    block->origins[name] = origin_of(node);
    if (failed(config_value_parse(&block->section->keys[name], node->key, true, &b->config->arena,
                                  block_field(block, name), &diag)))
        report(b, diag.code, node->key_line, node->key_column, "%s", diag.text);
}

static void bind_element(struct binder *b, const struct config_key *key,
                         const struct config_block *block, const struct yaml_node *node)
{
    if (failed(block_defaults(block, &b->config->arena, NULL))) {
        report(b, ERR_NO_MEMORY, node->line, node->column, "out of memory for the configuration");
        return;
    }
    size_t before = b->path.len;
    int name = section_name_key(block->section);
    if (key->type == CONFIG_MAP)
        bind_name(b, block, (size_t)name, node);
    struct scope scope = {.blocks = block, .block_count = 1, .start = before + 1};
    if (node->kind == YAML_MAPPING)
        bind_mapping(b, &scope, node);
    else if (node->kind != YAML_NULL)
        report(b, ERR_TYPE, node->line, node->column, "expected a mapping of keys, got %s",
               kind_text(node->kind));
    check_element(b, block, node);
}

/* The names of a list's elements tell them apart. */
static void check_names(struct binder *b, const struct config_key *key,
                        const struct config_list *list)
{
    int name = section_name_key(key->section);
    for (size_t i = 0; name >= 0 && i < list->count; i++) {
        struct config_block one = list_block(key, list, i);
        const char *text = *(const char *const *)block_field(&one, (size_t)name);
        for (size_t j = 0; text && j < i; j++) {
            struct config_block other = list_block(key, list, j);
            const char *taken = *(const char *const *)block_field(&other, (size_t)name);
            if (taken == NULL || strcmp(text, taken) != 0)
                continue;
            report(b, ERR_EXISTS, one.origins[name].line, 0,
                   "the name '%s' is given twice, first in line %d", text,
                   other.origins[name].line);
            break;
        }
    }
}

/* Reports a key that stands further up in the same mapping. */
static bool given_twice(struct binder *b, const struct yaml_node *mapping,
                        const struct yaml_node *node)
{
    const struct yaml_node *other = mapping->first;
    while (other != node && !span_eq(other->key, node->key))
        other = other->next;
    if (other != node)
        report(b, ERR_EXISTS, node->key_line, node->key_column, "given twice, first in line %d",
               other->key_line);
    return other != node;
}

static void bind_list(struct binder *b, const struct config_key *key, void *field,
                      const struct yaml_node *node)
{
    bool map = key->type == CONFIG_MAP;
    if (node->kind == YAML_NULL)
        return;
    if (node->kind != (map ? YAML_MAPPING : YAML_LIST)) {
        report(b, ERR_TYPE, node->line, node->column, "expected %s, got %s",
               map ? "a mapping from names" : "a list", kind_text(node->kind));
        return;
    }
    if (node->count > config_count_max(key)) {
        report(b, ERR_TOO_LARGE, node->line, node->column, "expected at most %zu elements, got %zu",
               config_count_max(key), node->count);
        return;
    }
    struct config_list list = {
        .items = arena_zalloc(&b->config->arena, node->count, key->section->size),
        .origins = arena_zalloc(&b->config->arena, node->count * key->section->key_count,
                                sizeof(struct config_origin)),
        .count = node->count,
    };
    if (list.items == NULL || list.origins == NULL) {
        report(b, ERR_NO_MEMORY, node->line, node->column, "out of memory for the configuration");
        return;
    }
    size_t index = 0;
    for (const struct yaml_node *one = node->first; one; one = one->next) {
        struct config_block block = list_block(key, &list, index);
        size_t before = map ? config_path_push(&b->path, ".%s", (const char *)one->key.ptr)
                            : config_path_push(&b->path, "[%zu]", index);
        if (!map || !given_twice(b, node, one))
            bind_element(b, key, &block, one);
        config_path_pop(&b->path, before);
        index++;
    }
    if (!map)
        check_names(b, key, &list);
    *(struct config_list *)field = list;
}

/* Whether `release` is `other` or a later one; both are numbers with dots between. */
static bool release_reached(const char *release, const char *other)
{
    struct span a = span_cstr(release), b = span_cstr(other);
    while (a.len > 0 || b.len > 0) {
        uint64_t x = 0, y = 0;
        struct span first = span_cut(&a, '.'), second = span_cut(&b, '.');
        /* What is no number ("-dev" behind one) counts as 0. */
        ignore(number_parse_u64(first, &x));
        ignore(number_parse_u64(second, &y));
        if (x != y)
            return x > y;
    }
    return true;
}

/* Warns of a deprecated key, once whatever the number of elements that have it; false where
 * its time is over. `*found` becomes what replaces it. */
static bool take_deprecated(struct binder *b, const struct scope *scope,
                            const struct yaml_node *node, struct found *found)
{
    const struct config_key *key = &found->block->section->keys[found->index];
    const struct config_deprecation *old = &key->deprecated;
    char instead[160] = "";
    size_t told = 0;
    if (old->replacement)
        snprintf(instead, sizeof(instead), "; write %s instead", old->replacement);
    while (told < ARRAY_LEN(b->warned) && b->warned[told] && b->warned[told] != key)
        told++;
    bool over =
        old->removed && b->source->release && release_reached(b->source->release, old->removed);
    if (over && !b->source->allow_deprecated) {
        report(b, ERR_UNSUPPORTED, node->key_line, node->key_column,
               "deprecated since %s and not taken any more%s; --allow-deprecated takes it still",
               old->since, instead);
        return false;
    }
    if (told < ARRAY_LEN(b->warned) && !b->warned[told]) {
        b->warned[told] = key;
        b->config->deprecated_count++;
        warn(b, ERR_UNSUPPORTED, node->key_line, node->key_column, "deprecated since %s%s",
             old->since, instead);
    }
    if (old->replacement)
        *found = find(scope, span_cstr(old->replacement));
    ASSERT(found->block); /* section_check saw to it */
    return true;
}

static void bind_value(struct binder *b, const struct found *found, const struct yaml_node *node)
{
    const struct config_key *key = &found->block->section->keys[found->index];
    void *field = block_field(found->block, found->index);
    struct config_origin *origin = &found->block->origins[found->index];
    if (origin->kind == CONFIG_FROM_FILE) {
        char path[128] = "the mapping's key is the name";
        if (key->type != CONFIG_NAME)
            snprintf(path, sizeof(path), "%s in line %d", key->path, origin->line);
        report(b, ERR_EXISTS, node->key_line, node->key_column, "given already: %s", path);
        return;
    }
    *origin = origin_of(node);
    switch (key->type) {
    case CONFIG_LIST:
    case CONFIG_MAP:
        bind_list(b, key, field, node);
        break;
    case CONFIG_TEXTS:
        bind_texts(b, key, field, node, origin);
        break;
    default:
        bind_scalar(b, key, field, node, origin);
        break;
    }
}

/* ---- mappings ------------------------------------------------------------------------ */

static void bind_entry(struct binder *b, const struct scope *scope, const struct yaml_node *node)
{
    struct found found = find(scope, config_path_from(&b->path, scope->start));
    bool dotted = span_find(node->key, '.') < node->key.len;
    if (dotted || (!found.block && !found.section)) {
        report_unknown(b, scope, node);
    } else if (found.block) {
        bool old = found.block->section->keys[found.index].deprecated.since != NULL;
        if (!old || take_deprecated(b, scope, node, &found))
            bind_value(b, &found, node);
    } else if (node->kind == YAML_MAPPING) {
        bind_mapping(b, scope, node);
    } else if (node->kind != YAML_NULL) {
        report(b, ERR_TYPE, node->line, node->column, "expected a mapping of keys, got %s",
               kind_text(node->kind));
    }
}

static void bind_mapping(struct binder *b, const struct scope *scope,
                         const struct yaml_node *mapping)
{
    for (const struct yaml_node *node = mapping->first; node && !b->errors->more;
         node = node->next) {
        size_t before = config_path_push(&b->path, "%s%s", b->path.len > 0 ? "." : "",
                                         (const char *)node->key.ptr);
        bool version = scope->root && strcmp(b->path.text, "version") == 0;
        if (!given_twice(b, mapping, node) && !version)
            bind_entry(b, scope, node);
        config_path_pop(&b->path, before);
    }
}

bool config_version_known(const struct config_source *source, const struct yaml_node *node,
                          struct diag *diag)
{
    const struct config_key key = {
        .type = CONFIG_INT, .min = CONFIG_VERSION - source->versions_back, .max = CONFIG_VERSION};
    int64_t version = 0;
    return node->kind == YAML_SCALAR &&
           !failed(config_value_parse(&key, node->text, node->quoted, NULL, &version, diag));
}

/* Whether the file is of our version; else the error that says so. */
static bool check_version(struct binder *b, const struct yaml_node *root)
{
    const struct yaml_node *node = root->kind == YAML_MAPPING ? root->first : NULL;
    while (node && !span_is(node->key, "version"))
        node = node->next;
    if (root->kind != YAML_MAPPING && root->kind != YAML_NULL) {
        report(b, ERR_TYPE, root->line, root->column, "expected a mapping of keys, got %s",
               kind_text(root->kind));
        return false;
    }
    if (node == NULL) {
        report(
            b, ERR_ARGUMENT, 1, 1,
            "expected the version of the file's language, got none; add the line \"version: %d\"",
            CONFIG_VERSION);
        return false;
    }
    struct diag diag = {0};
    size_t before = config_path_push(&b->path, "version");
    bool good = config_version_known(b->source, node, &diag);
    if (!good && is((result){(uint16_t)diag.code}, ERR_RANGE))
        report(b, ERR_UNSUPPORTED, node->line, node->column,
               "this program knows version %d of the language, got %.*s", CONFIG_VERSION,
               SPAN_FMT(node->text));
    else if (!good)
        report(b, ERR_TYPE, node->line, node->column, "expected the line \"version: %d\"",
               CONFIG_VERSION);
    config_path_pop(&b->path, before);
    return good;
}

bool config_bind(struct config *config, const struct config_source *source,
                 const struct yaml_node *root, struct config_errors *errors)
{
    struct binder b = {.config = config, .source = source, .errors = errors};
    if (!check_version(&b, root))
        return false;
    struct scope scope = {
        .blocks = config->blocks, .block_count = config->module_count, .root = true};
    bind_mapping(&b, &scope, root);
    return true;
}
