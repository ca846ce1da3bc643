#include "config/value.h"

#include "base/number.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXT_BYTES_MAX 4096
#define NAME_BYTES_MAX 128
#define TEXTS_MAX 256
#define ELEMENTS_MAX 1024

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"TiB", UINT64_C(1) << 40}, {"GiB", UINT64_C(1) << 30},      {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10}, {"TB", UINT64_C(1000000000000)}, {"GB", UINT64_C(1000000000)},
    {"MB", UINT64_C(1000000)},  {"kB", UINT64_C(1000)},          {"B", 1},
};
static const struct unit time_units[] = {
    {"h", UINT64_C(3600000000000)}, {"m", UINT64_C(60000000000)}, {"s", UINT64_C(1000000000)},
    {"ms", UINT64_C(1000000)},      {"us", UINT64_C(1000)},       {"ns", 1},
};

struct units {
    const struct unit *list;
    size_t count;
};

static struct units units_of(enum config_type type)
{
    return type == CONFIG_TIME ? (struct units){time_units, ARRAY_LEN(time_units)}
                               : (struct units){size_units, ARRAY_LEN(size_units)};
}

size_t config_type_size(enum config_type type)
{
    switch (type) {
    case CONFIG_BOOL:
        return sizeof(bool);
    case CONFIG_INT:
        return sizeof(int64_t);
    case CONFIG_REAL:
        return sizeof(double);
    case CONFIG_SIZE:
        return sizeof(uint64_t);
    case CONFIG_TIME:
        return sizeof(io_time);
    case CONFIG_TEXT:
    case CONFIG_PATH:
    case CONFIG_NAME:
        return sizeof(const char *);
    case CONFIG_ENUM:
        return sizeof(int);
    case CONFIG_ADDRESS:
        return sizeof(struct config_address);
    case CONFIG_TEXTS:
        return sizeof(struct config_texts);
    case CONFIG_LIST:
    case CONFIG_MAP:
        return sizeof(struct config_list);
    }
    return 0;
}

size_t config_count_max(const struct config_key *key)
{
    if (key->max > 0)
        return (size_t)key->max;
    switch (key->type) {
    case CONFIG_NAME:
        return NAME_BYTES_MAX;
    case CONFIG_TEXTS:
        return TEXTS_MAX;
    case CONFIG_LIST:
    case CONFIG_MAP:
        return ELEMENTS_MAX;
    default:
        return TEXT_BYTES_MAX;
    }
}

void config_value_pattern(enum config_type type, struct text *into)
{
    struct units units = units_of(type);
    text_str(into, type == CONFIG_TIME ? "0|(0|[1-9][0-9]*)(" : "(0|[1-9][0-9]*)(");
    for (size_t i = 0; i < units.count; i++)
        text_printf(into, "%s%s", i > 0 ? "|" : "", units.list[i].name);
    text_str(into, type == CONFIG_TIME ? ")" : ")?");
}

/* ---- what was expected ------------------------------------------------------ */

static void quantity_format(enum config_type type, uint64_t value, struct text *into)
{
    struct units units = units_of(type);
    if (value == 0) {
        text_byte(into, '0');
        return;
    }
    const struct unit *best = NULL;
    for (size_t i = 0; i < units.count; i++)
        if (value % units.list[i].factor == 0 && (!best || units.list[i].factor > best->factor))
            best = &units.list[i];
    ASSERT(best); /* the unit of 1 divides everything */
    text_printf(into, "%" PRIu64 "%s", value / best->factor,
                type == CONFIG_SIZE && best->factor == 1 ? "" : best->name);
}

static void limit_format(enum config_type type, int64_t value, struct text *into)
{
    if (type == CONFIG_SIZE || type == CONFIG_TIME)
        quantity_format(type, (uint64_t)value, into);
    else
        text_printf(into, "%" PRId64, value);
}

static void expect_limits(const struct config_key *key, struct text *into)
{
    bool unit = key->type == CONFIG_SIZE || key->type == CONFIG_TIME;
    if (unit && key->min == 0 && key->max == 0)
        return;
    text_str(into, unit ? ", " : " ");
    text_str(into, key->max > 0 ? "from " : "of at least ");
    limit_format(key->type, key->min, into);
    if (key->max > 0) {
        text_str(into, " to ");
        limit_format(key->type, key->max, into);
    }
}

static void expect_choices(const struct config_key *key, struct text *into)
{
    text_str(into, "one of ");
    for (size_t i = 0; key->choices[i]; i++)
        text_printf(into, "%s%s", i > 0 ? ", " : "", key->choices[i]);
}

/* "a whole number from 1 to 65535" */
static void expect_format(const struct config_key *key, struct text *into)
{
    static const char *const forms[] = {
        [CONFIG_BOOL] = "true or false",
        [CONFIG_INT] = "a whole number",
        [CONFIG_REAL] = "a number",
        [CONFIG_SIZE] = "a size such as 64MiB or 512kB",
        [CONFIG_TIME] = "a time such as 10s or 250ms",
        [CONFIG_TEXT] = "a text",
        [CONFIG_PATH] = "a path",
        [CONFIG_NAME] = "a name of letters, digits, '_', '-' and '.'",
        [CONFIG_ENUM] = "",
        [CONFIG_ADDRESS] = "an address such as 127.0.0.1:8080",
        [CONFIG_TEXTS] = "a list of texts such as [a, b]",
        [CONFIG_LIST] = "a list",
        [CONFIG_MAP] = "a mapping from names",
    };
    if (key->word)
        text_printf(into, "%s or ", key->word);
    text_str(into, forms[key->type]);
    switch (key->type) {
    case CONFIG_INT:
    case CONFIG_REAL:
    case CONFIG_SIZE:
    case CONFIG_TIME:
        expect_limits(key, into);
        break;
    case CONFIG_ENUM:
        expect_choices(key, into);
        break;
    default:
        break;
    }
}

result config_value_refuse(const struct config_key *key, enum err code, const char *what,
                           struct diag *diag)
{
    CLEANUP(text_release) struct text expected;
    text_init(&expected, 512);
    expect_format(key, &expected);
    return diag_fail(diag, code, "expected %s, got %s", text_cstr(&expected), what);
}

static result refuse(const struct config_key *key, enum err code, struct span text,
                     struct diag *diag)
{
    char quoted[64], what[80] = "(secret)";
    if (!key->secret)
        snprintf(what, sizeof(what), "'%s'", diag_quote(text, quoted, sizeof(quoted)));
    return config_value_refuse(key, code, what, diag);
}

/* ---- numbers ------------------------------------------------------------------ */

static int digit_of(uint8_t byte)
{
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
           : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                        : 99;
}

/* All of `digits`, at least one; false also when it overflows. */
static bool digits_parse(struct span digits, unsigned base, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)digit_of(digits.ptr[i]);
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret_value = value;
    return digits.len > 0;
}

static bool decimal_parse(struct span digits, uint64_t *ret_value)
{
    return (digits.len < 2 || digits.ptr[0] != '0') && digits_parse(digits, 10, ret_value);
}

static bool int_parse(struct span text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    bool sign = negative || (text.len > 0 && text.ptr[0] == '+');
    struct span digits = span_from(text, sign ? 1 : 0);
    uint64_t magnitude;
    bool good =
        sign || digits.len < 3            ? decimal_parse(digits, &magnitude)
        : span_starts(digits, SPAN("0x")) ? digits_parse(span_from(digits, 2), 16, &magnitude)
        : span_starts(digits, SPAN("0o")) ? digits_parse(span_from(digits, 2), 8, &magnitude)
                                          : decimal_parse(digits, &magnitude);
    if (!good || magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *ret_value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

/* A count and a unit. */
static bool quantity_parse(enum config_type type, struct span text, int64_t *ret_value)
{
    size_t len = 0;
    while (len < text.len && text.ptr[len] >= '0' && text.ptr[len] <= '9')
        len++;
    uint64_t value;
    if (!decimal_parse(span_first(text, len), &value))
        return false;
    struct span name = span_from(text, len);
    struct units units = units_of(type);
    uint64_t factor = name.len == 0 && (type == CONFIG_SIZE || value == 0) ? 1 : 0;
    for (size_t i = 0; i < units.count; i++)
        if (span_is(name, units.list[i].name))
            factor = units.list[i].factor;
    /* INT64_MAX itself is TIME_NEVER. */
    if (factor == 0 || __builtin_mul_overflow(value, factor, &value) || value >= INT64_MAX)
        return false;
    *ret_value = (int64_t)value;
    return true;
}

/* The grammar of JSON: YAML's own without .inf, .nan and a bare point. */
static bool real_parse(struct span text, double *ret_value)
{
    size_t used = 0;
    double value = 0;
    if (failed(number_parse_f64(text, &used, &value)) || used != text.len)
        return false;
    *ret_value = value;
    return true;
}

static bool within(const struct config_key *key, int64_t value)
{
    return value >= key->min && (key->max == 0 || value <= key->max);
}

static result number_parse(const struct config_key *key, struct span text, void *field,
                           struct diag *diag)
{
    int64_t value = 0;
    bool word = key->word && span_is(text, key->word);
    bool good = word                      ? true
                : key->type == CONFIG_INT ? int_parse(text, &value)
                                          : quantity_parse(key->type, text, &value);
    if (!good)
        return refuse(key, ERR_TYPE, text, diag);
    if (!word && !within(key, value))
        return refuse(key, ERR_RANGE, text, diag);
    value = word ? key->word_value : value;
    memcpy(field, &value, sizeof(value)); /* int64_t, uint64_t and io_time alike */
    return OK;
}

/* ---- the other types ------------------------------------------------------------ */

static bool bool_parse(struct span text, bool *ret_value)
{
    bool yes = span_is(text, "true") || span_is(text, "True") || span_is(text, "TRUE");
    bool no = span_is(text, "false") || span_is(text, "False") || span_is(text, "FALSE");
    if (yes || no)
        *ret_value = yes;
    return yes || no;
}

static bool is_word_byte(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_';
}

static bool name_valid(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (!is_word_byte(byte) && (i == 0 || (byte != '-' && byte != '.')))
            return false;
    }
    return text.len > 0;
}

static result too_long(const struct config_key *key, struct span text, struct diag *diag)
{
    return diag_fail(diag, ERR_TOO_LARGE, "expected at most %zu bytes, got %zu",
                     key->type == CONFIG_TEXTS ? (size_t)TEXT_BYTES_MAX : config_count_max(key),
                     text.len);
}

static result text_parse(const struct config_key *key, struct span text, struct arena *arena,
                         const char **ret_text, struct diag *diag)
{
    size_t max = key->type == CONFIG_TEXTS ? TEXT_BYTES_MAX : config_count_max(key);
    if (text.len > max)
        return too_long(key, text, diag);
    bool bad = (key->type == CONFIG_PATH && text.len == 0) ||
               (key->type == CONFIG_NAME && !name_valid(text)) ||
               (key->type != CONFIG_TEXTS && (int64_t)text.len < key->min);
    if (bad)
        return refuse(key, ERR_TYPE, text, diag);
    const char *copy = arena_copy(arena, text);
    if (copy == NULL)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory for the configuration");
    *ret_text = copy;
    return OK;
}

static result texts_add(const struct config_key *key, struct span text, struct arena *arena,
                        struct config_texts *texts, struct diag *diag)
{
    if (texts->count >= config_count_max(key))
        return diag_fail(diag, ERR_TOO_LARGE, "expected at most %zu texts, got more",
                         config_count_max(key));
    const char *copy = NULL;
    TRY(text_parse(key, text, arena, &copy, diag));
    const char **items = arena_zalloc(arena, texts->count + 1, sizeof(*items));
    if (items == NULL)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory for the configuration");
    for (size_t i = 0; i < texts->count; i++)
        items[i] = texts->items[i];
    items[texts->count] = copy;
    *texts = (struct config_texts){items, texts->count + 1};
    return OK;
}

static result enum_parse(const struct config_key *key, struct span text, int *ret_index,
                         struct diag *diag)
{
    for (int i = 0; key->choices[i]; i++)
        if (span_is(text, key->choices[i])) {
            *ret_index = i;
            return OK;
        }
    return refuse(key, ERR_TYPE, text, diag);
}

static result address_parse(const struct config_key *key, struct span text,
                            struct config_address *ret_address, struct diag *diag)
{
    struct config_address address = {.set = true};
    if (key->word && span_is(text, key->word)) {
        *ret_address = (struct config_address){.set = false};
        return OK;
    }
    TRY(io_address_parse(text, &address.address, diag));
    *ret_address = address;
    return OK;
}

result config_value_parse(const struct config_key *key, struct span text, bool quoted,
                          struct arena *arena, void *field, struct diag *diag)
{
    char what[80], cut[64];
    if (quoted &&
        (key->type == CONFIG_BOOL || key->type == CONFIG_INT || key->type == CONFIG_REAL)) {
        snprintf(what, sizeof(what), "the text \"%s\" (remove the quotes)",
                 diag_quote(text, cut, sizeof(cut) - 16));
        return config_value_refuse(key, ERR_TYPE, what, diag);
    }
    double real = 0;
    switch (key->type) {
    case CONFIG_BOOL:
        return bool_parse(text, field) ? OK : refuse(key, ERR_TYPE, text, diag);
    case CONFIG_REAL:
        if (!real_parse(text, &real))
            return refuse(key, ERR_TYPE, text, diag);
        if (real < (double)key->min || (key->max != 0 && real > (double)key->max))
            return refuse(key, ERR_RANGE, text, diag);
        *(double *)field = real;
        return OK;
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_TIME:
        return number_parse(key, text, field, diag);
    case CONFIG_TEXT:
    case CONFIG_PATH:
    case CONFIG_NAME:
        return text_parse(key, text, arena, field, diag);
    case CONFIG_ENUM:
        return enum_parse(key, text, field, diag);
    case CONFIG_ADDRESS:
        return address_parse(key, text, field, diag);
    case CONFIG_TEXTS:
        return texts_add(key, text, arena, field, diag);
    case CONFIG_LIST:
    case CONFIG_MAP:
        break;
    }
    return refuse(key, ERR_TYPE, text, diag);
}

/* ---- to text ---------------------------------------------------------------------- */

/* Whether the text may stand in a file as it is and still be a text. */
static bool is_plain(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        const char *others = i > 0 ? "/.-+:@=" : "/.";
        if (!is_word_byte(byte) && (byte == '\0' || strchr(others, byte) == NULL))
            return false;
    }
    return text.len > 0 && text.ptr[text.len - 1] != ':' && !span_is(text, "null") &&
           !span_is(text, "Null") && !span_is(text, "NULL");
}

static void text_format(const char *cstr, struct text *into)
{
    struct span text = span_cstr(cstr);
    if (cstr == NULL || is_plain(text)) {
        text_str(into, cstr ? cstr : "null");
        return;
    }
    text_byte(into, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte < 0x20 || byte == 0x7f)
            text_printf(into, "\\x%02x", byte);
        else
            text_printf(into, byte == '"' || byte == '\\' ? "\\%c" : "%c", byte);
    }
    text_byte(into, '"');
}

static void texts_format(const struct config_texts *texts, struct text *into)
{
    text_byte(into, '[');
    for (size_t i = 0; i < texts->count; i++) {
        text_str(into, i > 0 ? ", " : "");
        text_format(texts->items[i], into);
    }
    text_byte(into, ']');
}

static void real_format(double value, struct text *into)
{
    char digits[NUMBER_F64_MAX];
    text_append(into, span_of(digits, number_print_f64(value, digits)));
}

static void address_format(const struct config_key *key, const struct config_address *address,
                           struct text *into)
{
    char buffer[160];
    if (!address->set) {
        text_str(into, key->word ? key->word : "null");
        return;
    }
    /* In quotes where it has brackets, which are YAML's own. */
    io_address_format(&address->address, buffer, sizeof(buffer));
    text_format(buffer, into);
}

void config_value_format(const struct config_key *key, const void *field, struct text *into)
{
    int64_t number = 0;
    if (key->type == CONFIG_INT || key->type == CONFIG_SIZE || key->type == CONFIG_TIME)
        memcpy(&number, field, sizeof(number));
    if (key->secret) {
        text_str(into, *(const char *const *)field ? "(secret)" : "null");
        return;
    }
    switch (key->type) {
    case CONFIG_BOOL:
        text_str(into, *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_TIME:
        if (key->word && number == key->word_value)
            text_str(into, key->word);
        else
            limit_format(key->type, number, into);
        break;
    case CONFIG_REAL:
        real_format(*(const double *)field, into);
        break;
    case CONFIG_TEXT:
    case CONFIG_PATH:
    case CONFIG_NAME:
        text_format(*(const char *const *)field, into);
        break;
    case CONFIG_ENUM:
        text_str(into, key->choices[*(const int *)field]);
        break;
    case CONFIG_ADDRESS:
        address_format(key, field, into);
        break;
    case CONFIG_TEXTS:
        texts_format(field, into);
        break;
    case CONFIG_LIST:
    case CONFIG_MAP:
        text_printf(into, "%zu", ((const struct config_list *)field)->count);
        break;
    }
}
