#include "cmd/config_schema.h"

#include "base/number.h"
#include "cmd/report.h"
#include "config/config.h"
#include "config/inspect.h"
#include "config/value.h"
#include "wire/json.h"

#include <inttypes.h>
#include <stdio.h>

#define VARIABLE "{\"$ref\":\"#/$defs/variable\"}"
#define NAME_PATTERN "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"

/* The keys of some tables below a path, as in a file. */
struct level {
    const struct config_section *const *sections;
    size_t count;
    struct span above; /* "server." */
    bool element, map;
};

static void write_object(const struct level *level, struct text *into);

/* ---- one value ---- */

static void number_limits(const struct config_key *key, struct text *into)
{
    report_int(into, "minimum", key->min);
    if (key->max > 0)
        report_int(into, "maximum", key->max);
}

/* {"type":"integer", limits}, what else there is, then a word and a variable. */
static void write_number(const struct config_key *key, const char *type, struct text *into)
{
    report_name(into, "anyOf");
    text_str(into, "[{");
    report_string(into, "type", type);
    if (key->min != 0 || key->max != 0)
        number_limits(key, into);
    text_str(into, "}");
}

static void write_quantity(const struct config_key *key, struct text *into)
{
    struct text pattern;
    text_init(&pattern, 256);
    text_str(&pattern, "^(");
    config_value_pattern(key->type, &pattern);
    text_str(&pattern, ")$");
    report_name(into, "anyOf");
    text_byte(into, '[');
    if (key->type == CONFIG_TIME) {
        text_str(into, "{\"const\":0}");
    } else {
        text_byte(into, '{');
        report_string(into, "type", "integer");
        number_limits(key, into);
        text_byte(into, '}');
    }
    text_str(into, ",{");
    report_string(into, "type", "string");
    report_string(into, "pattern", text_cstr(&pattern));
    text_byte(into, '}');
    text_release(&pattern);
}

static void end_choice(const struct config_key *key, struct text *into)
{
    if (key->word) {
        text_str(into, ",{");
        report_string(into, "const", key->word);
        text_byte(into, '}');
    }
    text_str(into, "," VARIABLE "]");
}

/* A plain scalar is a text whatever it looks like. */
static void write_text_type(const struct config_key *key, struct text *into)
{
    report_name(into, "type");
    text_str(into, "[\"string\",\"number\",\"boolean\"]");
    if (key->type == CONFIG_PATH || key->min > 0)
        report_int(into, "minLength", MAX(key->min, (int64_t)(key->type == CONFIG_PATH)));
    if (key->type != CONFIG_TEXTS)
        report_int(into, "maxLength", (int64_t)config_count_max(key));
    if (key->type == CONFIG_NAME)
        report_string(into, "pattern", NAME_PATTERN);
}

static void write_text(const struct config_key *key, struct text *into)
{
    if (!key->secret && key->type != CONFIG_NAME && key->min == 0 && key->type != CONFIG_TEXTS) {
        /* A variable is a text, too. */
        write_text_type(key, into);
        return;
    }
    report_name(into, "anyOf");
    text_str(into, "[{");
    write_text_type(key, into);
    text_byte(into, '}');
    if (key->secret)
        text_str(into, ",{\"type\":\"object\",\"properties\":{\"file\":{\"type\":\"string\","
                       "\"minLength\":1}},\"required\":[\"file\"],\"additionalProperties\":false}");
    end_choice(key, into);
}

/* Of a choice such as 1.2 both are right, the text and the number: without quotes YAML takes
 * it for one. */
static void write_choices(const struct config_key *key, struct text *into)
{
    report_name(into, "anyOf");
    text_str(into, "[{\"enum\":[");
    for (size_t i = 0; key->choices[i]; i++) {
        struct span choice = span_cstr(key->choices[i]);
        size_t used = 0;
        double number;
        text_str(into, i > 0 ? "," : "");
        json_append_string(into, choice);
        if (!failed(number_parse_f64(choice, &used, &number)) && used == choice.len)
            text_printf(into, ",%s", key->choices[i]);
    }
    text_str(into, "]}");
    end_choice(key, into);
}

/* Nothing where a list could be is an empty one. */
static void write_texts(const struct config_key *key, struct text *into)
{
    report_name(into, "type");
    text_str(into, "[\"array\",\"null\"]");
    report_int(into, "maxItems", (int64_t)config_count_max(key));
    report_name(into, "items");
    text_byte(into, '{');
    report_name(into, "type");
    text_str(into, "[\"string\",\"number\",\"boolean\"]}");
}

static void write_elements(const struct config_key *key, struct text *into)
{
    bool map = key->type == CONFIG_MAP;
    const struct level level = {.sections = &key->section, .count = 1, .element = true, .map = map};
    report_name(into, "type");
    text_str(into, map ? "[\"object\",\"null\"]" : "[\"array\",\"null\"]");
    report_int(into, map ? "maxProperties" : "maxItems", (int64_t)config_count_max(key));
    if (map) {
        report_name(into, "propertyNames");
        text_byte(into, '{');
        report_string(into, "pattern", NAME_PATTERN);
        text_byte(into, '}');
    }
    report_name(into, map ? "additionalProperties" : "items");
    text_byte(into, '{');
    write_object(&level, into);
    text_byte(into, '}');
}

static void write_type(const struct config_key *key, struct text *into)
{
    switch (key->type) {
    case CONFIG_BOOL:
        report_name(into, "anyOf");
        text_str(into, "[{\"type\":\"boolean\"}");
        end_choice(key, into);
        break;
    case CONFIG_INT:
    case CONFIG_REAL:
        write_number(key, key->type == CONFIG_INT ? "integer" : "number", into);
        end_choice(key, into);
        break;
    case CONFIG_SIZE:
    case CONFIG_TIME:
        write_quantity(key, into);
        end_choice(key, into);
        break;
    case CONFIG_TEXT:
    case CONFIG_PATH:
    case CONFIG_NAME:
        write_text(key, into);
        break;
    case CONFIG_ENUM:
        write_choices(key, into);
        break;
    case CONFIG_ADDRESS:
        report_string(into, "type", "string");
        break;
    case CONFIG_TEXTS:
        write_texts(key, into);
        break;
    case CONFIG_LIST:
    case CONFIG_MAP:
        write_elements(key, into);
        break;
    }
}

static void write_default(const struct config_key *key, struct text *into)
{
    bool bare = key->type == CONFIG_BOOL || key->type == CONFIG_INT || key->type == CONFIG_REAL;
    if (!key->fallback)
        return;
    report_name(into, "default");
    if (bare && !(key->word && span_is(span_cstr(key->fallback), key->word)))
        text_str(into, key->fallback);
    else
        json_append_string(into, span_cstr(key->fallback));
}

static void write_key(const struct config_key *key, bool element, struct text *into)
{
    static const char *const reloads[] = {
        [CONFIG_RESTART] = "restart", [CONFIG_DRAIN] = "drain", [CONFIG_LIVE] = "live"};
    char variable[CONFIG_VARIABLE_BYTES] = "";
    text_byte(into, '{');
    report_string(into, "description", key->help);
    write_type(key, into);
    write_default(key, into);
    if (key->deprecated.since) {
        report_name(into, "deprecated");
        text_str(into, "true");
    }
    report_string(into, "x-weir-reload", reloads[key->reload]);
    if (key->flag)
        report_string(into, "x-weir-flag", key->flag);
    if (!element)
        config_variable_name(key, variable);
    if (variable[0])
        report_string(into, "x-weir-environment", variable);
    text_byte(into, '}');
}

/* ---- keys in their mappings ---- */

static struct span word_at(const struct level *level, const struct config_key *key)
{
    struct span path = span_cstr(key->path);
    if (!key->path || !span_starts(path, level->above))
        return SPAN_NONE;
    path = span_from(path, level->above.len);
    return span_first(path, span_find(path, '.'));
}

static bool is_written(const struct level *level, size_t table, size_t index, struct span word)
{
    for (size_t t = 0; t <= table; t++)
        for (size_t i = 0; i < (t < table ? level->sections[t]->key_count : index); i++)
            if (span_eq(word_at(level, &level->sections[t]->keys[i]), word))
                return true;
    return false;
}

static const struct config_key *replacement_of(const struct config_section *section,
                                               const struct config_key *key)
{
    for (size_t i = 0; i < section->key_count && config_key_is_alias(key); i++)
        if (section->keys[i].path &&
            span_is(span_cstr(key->deprecated.replacement), section->keys[i].path))
            return &section->keys[i];
    return key;
}

static void write_word(const struct level *level, size_t table, size_t index, struct text *into)
{
    const struct config_section *section = level->sections[table];
    const struct config_key *key = &section->keys[index];
    struct span word = word_at(level, key);
    bool name_outside = level->map && key->type == CONFIG_NAME;
    if (word.len == 0 || name_outside || is_written(level, table, index, word))
        return;
    char name[128];
    snprintf(name, sizeof(name), "%.*s", SPAN_FMT(word));
    report_name(into, name);
    if (strlen(key->path) > level->above.len + word.len) {
        struct level below = *level;
        below.above = span_first(span_cstr(key->path), level->above.len + word.len + 1);
        text_byte(into, '{');
        write_object(&below, into);
        text_byte(into, '}');
        return;
    }
    struct config_key shown = *replacement_of(section, key);
    shown.deprecated = key->deprecated;
    write_key(&shown, level->element, into);
}

/* Of an element only: what is required of the whole file may come from a flag. */
static bool write_required(const struct level *level, struct text *into)
{
    bool any = false;
    for (size_t i = 0; level->element && i < level->sections[0]->key_count; i++) {
        const struct config_key *key = &level->sections[0]->keys[i];
        bool here = key->required && word_at(level, key).len > 0 &&
                    word_at(level, key).len + level->above.len == strlen(key->path);
        if (!here || (level->map && key->type == CONFIG_NAME))
            continue;
        if (!any)
            report_name(into, "required");
        text_str(into, any ? "," : "[");
        json_append_string(into, word_at(level, key));
        any = true;
    }
    if (any)
        text_byte(into, ']');
    return any;
}

/* The members of a schema for a mapping, without its braces. */
static void write_object(const struct level *level, struct text *into)
{
    bool required = write_required(level, into);
    report_name(into, "type");
    text_str(into, required ? "\"object\"" : "[\"object\",\"null\"]");
    report_name(into, "properties");
    text_byte(into, '{');
    for (size_t t = 0; t < level->count; t++)
        for (size_t i = 0; i < level->sections[t]->key_count; i++)
            write_word(level, t, i, into);
    text_byte(into, '}');
    report_name(into, "additionalProperties");
    text_str(into, "false");
}

#define SECTIONS_MAX 32

void config_schema(const struct config_module *const *modules, size_t count, struct text *into)
{
    const struct config_section *sections[SECTIONS_MAX];
    ASSERT(count <= SECTIONS_MAX);
    for (size_t m = 0; m < count; m++)
        sections[m] = &modules[m]->section;
    const struct level level = {.sections = sections, .count = count};
    text_byte(into, '{');
    report_string(into, "$schema", "https://json-schema.org/draft/2020-12/schema");
    report_string(into, "title", "weir.yaml");
    report_string(into, "type", "object");
    report_name(into, "required");
    text_str(into, "[\"version\"]");
    report_name(into, "properties");
    text_byte(into, '{');
    report_name(into, "version");
    text_printf(into, "{\"const\":%d}", CONFIG_VERSION);
    for (size_t t = 0; t < level.count; t++)
        for (size_t i = 0; i < level.sections[t]->key_count; i++)
            write_word(&level, t, i, into);
    text_byte(into, '}');
    report_name(into, "additionalProperties");
    text_str(into, "false");
    report_name(into, "$defs");
    text_str(into, "{\"variable\":{\"description\":\"a value with ${NAME} or ${NAME:-default}\","
                   "\"type\":\"string\",\"pattern\":\"\\\\$\"}}}\n");
}
