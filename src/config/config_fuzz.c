/* A configuration file with the sample's tables and some deprecated keys: the tree, then
 * the snapshot, and what is made of both. */
#include "base/test_fuzz.h"
#include "config/inspect.h"
#include "config/test_sample.h"
#include "config/upgrade.h"
#include "config/value.h"
#include "config/yaml.h"
#include "io/sim/sim.h"

#define TEXT_BYTES_MAX ((size_t)1 << 22)

static struct config_errors errors; /* too large for a stack frame */

/* ---- keys on their way out ---- */

struct old_item {
    const char *name;
    int64_t rows;
};

struct old {
    int64_t rows;
    const char *banner;
    struct config_list items;
};

static const struct config_key old_item_keys[] = {
    {.path = "name", .help = "its name", .type = CONFIG_NAME, CONFIG_FIELD(struct old_item, name)},
    {.path = "batch.rows",
     .help = "rows",
     .fallback = "1",
     .type = CONFIG_INT,
     CONFIG_FIELD(struct old_item, rows)},
    {.path = "batch.size", .deprecated = {"0.2", "batch.rows", "0.10"}},
};
static const struct config_section old_item_section =
    CONFIG_SECTION(struct old_item, old_item_keys);

static const struct config_key old_keys[] = {
    {.path = "old.rows",
     .help = "rows",
     .fallback = "1",
     .type = CONFIG_INT,
     CONFIG_FIELD(struct old, rows)},
    {.path = "old.lines", .deprecated = {"0.2", "old.rows", "0.10"}},
    {.path = "lines", .deprecated = {"0.2", "old.rows", NULL}},
    {.path = "old.count", .deprecated = {"0.1", "old.rows", "0.3"}},
    {.path = "old.banner",
     .help = "a text",
     .type = CONFIG_TEXT,
     .deprecated = {.since = "0.2"},
     CONFIG_FIELD(struct old, banner)},
    {.path = "old.items",
     .help = "items",
     .type = CONFIG_LIST,
     .section = &old_item_section,
     CONFIG_FIELD(struct old, items)},
};
static const struct config_module old_module = {.name = "Old",
                                                .section = CONFIG_SECTION(struct old, old_keys)};
static const struct config_module *const modules[] = {&sample_server_module, &sample_models_module,
                                                      &old_module};

/* An environment and files, the same for every input. */
static struct process *process(void)
{
    static struct process *made;
    if (made)
        return made;
    made = sim_process_new(sim_world_new(1), "server", 1);
    sim_env_put(made, "NUMBER", "9000");
    sim_env_put(made, "TEXT", "a: b #c");
    sim_env_put(made, "EMPTY", "");
    sim_env_put(made, "BYTES", "\xff");
    sim_env_put(made, "SECRETS", "/run/secrets");
    sim_file_put(made, "/run/secrets/good", SPAN("open sesame\r\n"));
    sim_file_put(made, "/run/secrets/bytes", SPAN("\xff"));
    return made;
}

/* libfyaml 0.7 loses the buffer of a long scalar in quotes when the text around it turns
 * out to be no YAML. What is lost is small and only at a failed reading of a file. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}

static size_t check_node(const struct yaml_node *node, int depth)
{
    size_t nodes = 1, children = 0;
    ASSERT(depth <= YAML_DEPTH_MAX + 1);
    ASSERT(node->line >= 1 && node->column >= 1);
    ASSERT(node->kind != YAML_SCALAR || node->text.ptr[node->text.len] == '\0');
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        ASSERT(node->kind == YAML_LIST || node->kind == YAML_MAPPING);
        ASSERT(node->kind != YAML_MAPPING || child->key.len <= YAML_KEY_BYTES_MAX);
        nodes += check_node(child, depth + 1);
        children++;
    }
    ASSERT(children == node->count);
    return nodes;
}

static void check_tree(struct span text)
{
    struct arena arena;
    const struct yaml_node *root = NULL;
    struct diag diag = {0};
    arena_init(&arena, 4096, (size_t)8 << 20);
    result r = yaml_parse(text, "weir.yaml", &arena, &root, &diag);
    if (failed(r))
        ASSERT(!root && diag.text[0] && strcmp(diag.file, "weir.yaml") == 0);
    else
        ASSERT(check_node(root, 0) <= YAML_NODES_MAX + 1);
    arena_release(&arena);
}

static struct config_source source_of(struct span text)
{
    return (struct config_source){
        .modules = modules,
        .module_count = ARRAY_LEN(modules),
        .file = "weir.yaml",
        .yaml = text,
        .process = process(),
        .release = "0.5",
        .versions_back = 1,
        .strict = true,
    };
}

static bool load(struct span text, const struct config_setting *settings, size_t count,
                 struct config **ret_config)
{
    struct config_source source = source_of(text);
    source.settings = settings;
    source.setting_count = count;
    result r = config_load(&source, ret_config, &errors);
    ASSERT(failed(r) == (errors.count > 0) && errors.count <= CONFIG_ERRORS_MAX);
    for (size_t i = 0; i < errors.count; i++)
        ASSERT(errors.items[i].code != ERR_NONE && errors.items[i].text[0]);
    return !failed(r);
}

struct listing {
    struct text text;
    bool all; /* also secrets that are in no file of their own */
};

static void list_entry(void *arg, const struct config_entry *entry)
{
    struct listing *listing = arg;
    struct text origin;
    const struct config_key *key = entry->key;
    ASSERT(entry->origin->kind != CONFIG_FROM_FILE || entry->origin->line >= 1);
    text_init(&origin, TEXT_BYTES_MAX);
    config_origin_format(entry, &origin);
    ASSERT(!failed(text_result(&origin)) && origin.len > 0);
    text_release(&origin);
    if (key->secret && !entry->origin->secret && !listing->all)
        return;
    text_printf(&listing->text, "%s %s", entry->path, entry->value);
    const char *secret = key->secret ? *(const char *const *)entry->field : NULL;
    text_printf(&listing->text, " %s\n", secret ? secret : "");
}

static void list(const struct config *config, struct listing *listing)
{
    const struct sample_models *models = config_of(config, &sample_models_module);
    ASSERT(models->models.count <= 3);
    text_init(&listing->text, TEXT_BYTES_MAX);
    ASSERT(!failed(config_walk(config, list_entry, listing)));
    ASSERT(!failed(text_result(&listing->text)));
}

/* Both have the same values. */
static void check_same(const struct config *one, const struct config *other, bool all)
{
    struct listing a = {.all = all}, b = {.all = all};
    list(one, &a);
    list(other, &b);
    ASSERT(span_eq(text_span(&a.text), text_span(&b.text)));
    text_release(&a.text);
    text_release(&b.text);
}

/* Each value of the first module as its own text, given as a flag over the same file, is
 * the same configuration. */
static void check_again(struct span yaml, const struct config *config)
{
    struct config_setting settings[ARRAY_LEN(sample_server_keys)];
    struct text texts[ARRAY_LEN(sample_server_keys)];
    struct config *again;
    size_t count = 0;
    const char *values = config_of(config, &sample_server_module);
    for (size_t i = 0; i < ARRAY_LEN(sample_server_keys); i++) {
        const struct config_key *key = &sample_server_keys[i];
        if (key->type >= CONFIG_TEXT && key->type != CONFIG_ENUM && key->type != CONFIG_ADDRESS)
            continue;
        text_init(&texts[count], 4096);
        config_value_format(key, values + key->offset, &texts[count]);
        if (text_cstr(&texts[count])[0] == '"') { /* as YAML needs it, not as a flag is given */
            text_release(&texts[count]);
            continue;
        }
        settings[count] = (struct config_setting){key, text_cstr(&texts[count])};
        count++;
    }
    ASSERT(load(yaml, settings, count, &again));
    check_same(config, again, true);
    while (count > 0)
        text_release(&texts[--count]);
    config_unref(again);
}

/* The file that a snapshot is written out as gives that snapshot. */
static void check_dump(const struct config *config)
{
    struct text dump;
    struct config *again;
    text_init(&dump, TEXT_BYTES_MAX);
    ASSERT(!failed(config_dump(config, &dump)));
    ASSERT(load(text_span(&dump), NULL, 0, &again));
    check_same(config, again, false);
    config_unref(again);
    text_release(&dump);
}

/* A value of the first module, chosen by chance, is the same as a variable's default. */
static void check_variable(struct span yaml, const struct config *config)
{
    const struct config_key *key =
        &sample_server_keys[fuzz_seed(yaml) % ARRAY_LEN(sample_server_keys)];
    size_t field = key->offset;
    struct text value, file, again_value;
    struct config *again;
    if (key->type == CONFIG_TEXTS || key->secret)
        return;
    text_init(&value, TEXT_BYTES_MAX);
    text_init(&again_value, TEXT_BYTES_MAX);
    text_init(&file, TEXT_BYTES_MAX);
    config_value_format(key, (const char *)config_of(config, &sample_server_module) + field,
                        &value);
    const char *text = text_cstr(&value), *dot = strchr(key->path, '.');
    if (text[0] != '"' && !strpbrk(text, "$}'") && strcmp(text, "null") != 0) {
        text_printf(&file,
                    "version: 1\n%.*s: ", dot ? (int)(dot - key->path) : (int)strlen(key->path),
                    key->path);
        text_printf(&file, dot ? "{%s: '${NONE:-%s}'}\n" : "%s'${NONE:-%s}'\n", dot ? dot + 1 : "",
                    text);
        ASSERT(load(text_span(&file), NULL, 0, &again));
        config_value_format(key, (const char *)config_of(again, &sample_server_module) + field,
                            &again_value);
        ASSERT(span_eq(text_span(&value), text_span(&again_value)));
        config_unref(again);
    }
    text_release(&value);
    text_release(&again_value);
    text_release(&file);
}

struct edits {
    size_t done, left;
};

static void count_edit(void *arg, const struct config_edit *edit)
{
    struct edits *edits = arg;
    ASSERT(edit->line >= 1 && edit->column >= 1 && edit->path[0] &&
           (edit->replacement || !edit->done));
    if (edit->done)
        edits->done++;
    else
        edits->left++;
}

/* The upgraded file says the same, and there is nothing more to upgrade. `config` is what
 * the file gives; NULL: nothing. */
static void check_upgrade(struct span yaml, const struct config *config)
{
    struct text newer, newest;
    struct edits first = {0}, second = {0};
    struct diag diag = {0};
    struct config *again;
    struct config_source source = source_of(yaml);
    text_init(&newer, TEXT_BYTES_MAX);
    text_init(&newest, TEXT_BYTES_MAX);
    result r = config_upgrade(&source, &newer, count_edit, &first, &diag);
    ASSERT(!failed(r) || (!config && diag.text[0]));
    if (!failed(r)) {
        source.yaml = text_span(&newer);
        ASSERT(!failed(config_upgrade(&source, &newest, count_edit, &second, &diag)));
        ASSERT(second.done == 0 && second.left == first.left);
        ASSERT(span_eq(text_span(&newer), text_span(&newest)));
    }
    if (config) {
        ASSERT(load(text_span(&newer), NULL, 0, &again));
        ASSERT((config_deprecated_count(again) == 0) == (first.left == 0));
        check_same(config, again, true);
        config_unref(again);
    }
    text_release(&newer);
    text_release(&newest);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span text = span_of(bytes, len);
    struct config *config = NULL;
    check_tree(text);
    if (load(text, NULL, 0, &config)) {
        check_again(text, config);
        check_dump(config);
        check_variable(text, config);
    }
    check_upgrade(text, config);
    config_unref(config);
    return 0;
}
