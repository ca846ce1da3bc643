/* A configuration file with the sample's tables: the tree, then the snapshot. */
#include "base/test_fuzz.h"
#include "config/test_sample.h"
#include "config/value.h"
#include "config/yaml.h"

static struct config_errors errors; /* too large for a stack frame */

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

static void format_section(const struct config_section *section, const void *values,
                           struct text *into)
{
    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        const void *field = (const char *)values + key->offset;
        text_printf(into, "%s ", key->path);
        config_value_format(key, field, into);
        text_byte(into, '\n');
        if (key->type == CONFIG_LIST || key->type == CONFIG_MAP) {
            const struct config_list *list = field;
            ASSERT(list->count <= config_count_max(key));
            for (size_t e = 0; e < list->count; e++)
                format_section(key->section, (const char *)list->items + e * key->section->size,
                               into);
        }
    }
}

static bool load(struct span text, const struct config_setting *settings, size_t count,
                 struct config **ret_config)
{
    const struct config_source source = {
        .modules = sample_modules,
        .module_count = ARRAY_LEN(sample_modules),
        .file = "weir.yaml",
        .yaml = text,
        .settings = settings,
        .setting_count = count,
    };
    result r = config_load(&source, ret_config, &errors);
    ASSERT(failed(r) == (errors.count > 0) && errors.count <= CONFIG_ERRORS_MAX);
    for (size_t i = 0; i < errors.count; i++)
        ASSERT(errors.items[i].code != ERR_NONE && errors.items[i].text[0]);
    return !failed(r);
}

static void format(const struct config *config, struct text *into)
{
    for (size_t i = 0; i < ARRAY_LEN(sample_modules); i++)
        format_section(&sample_modules[i]->section, config_of(config, sample_modules[i]), into);
}

/* Each value of the first module as its own text, given as a flag over the same file, is
 * the same configuration. */
static void check_again(struct span yaml, const struct config *config)
{
    struct config_setting settings[ARRAY_LEN(sample_server_keys)];
    struct text texts[ARRAY_LEN(sample_server_keys)], before, after;
    struct config *again;
    size_t count = 0;
    const char *values = config_of(config, &sample_server_module);
    text_init(&before, (size_t)1 << 22);
    text_init(&after, (size_t)1 << 22);
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
    format(config, &before);
    format(again, &after);
    ASSERT(!failed(text_result(&before)) && span_eq(text_span(&before), text_span(&after)));
    while (count > 0)
        text_release(&texts[--count]);
    text_release(&before);
    text_release(&after);
    config_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span text = span_of(bytes, len);
    struct config *config;
    check_tree(text);
    if (load(text, NULL, 0, &config)) {
        check_again(text, config);
        config_unref(config);
    }
    return 0;
}
