/* One value, tried as a value of every key of the sample: what is taken is written as a
 * text that means the same; sizes and times are what their digits and unit multiply to. */
#include "base/test_fuzz.h"
#include "config/test_sample.h"
#include "config/value.h"

union field {
    struct config_address address;
    struct config_texts texts;
    char bytes[256];
};

static const struct {
    const char *name;
    double factor;
} units[] = {
    {"", 1},       {"B", 1},      {"kB", 1e3},      {"MB", 1e6},         {"GB", 1e9},
    {"TB", 1e12},  {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776},
    {"ns", 1},     {"us", 1e3},   {"ms", 1e6},      {"s", 1e9},          {"m", 60e9},
    {"h", 3600e9},
};

/* Exact as far as doubles are, which is what near means below. */
static double quantity(struct span text)
{
    double value = 0;
    size_t at = 0;
    for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
        value = value * 10 + (text.ptr[at] - '0');
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (span_is(span_from(text, at), units[i].name))
            return value * units[i].factor;
    return -1;
}

static void check_quantity(const struct config_key *key, struct span text, const union field *field)
{
    uint64_t size;
    io_time time;
    double expected = quantity(text), got = -1;
    if (key->word && span_is(text, key->word))
        return;
    memcpy(&size, field, sizeof(size));
    memcpy(&time, field, sizeof(time));
    if (key->type == CONFIG_SIZE)
        got = (double)size;
    else if (key->type == CONFIG_TIME)
        got = (double)time;
    else
        return;
    ASSERT(got >= 0 && expected >= got * 0.999999999 && expected <= got * 1.000000001);
}

static void check_key(const struct config_key *key, struct span text, bool quoted)
{
    union field field, untouched, again;
    struct arena arena;
    struct text written, rewritten;
    struct diag diag = {0};
    arena_init(&arena, 1024, (size_t)1 << 20);
    text_init(&written, (size_t)1 << 16);
    text_init(&rewritten, (size_t)1 << 16);
    memset(&field, 0, sizeof(field));
    memset(&untouched, 0, sizeof(untouched));
    memset(&again, 0, sizeof(again));
    result r = config_value_parse(key, text, quoted, &arena, &field, &diag);
    if (failed(r)) {
        ASSERT(span_starts(span_cstr(diag.text), SPAN("expected ")));
        ASSERT(memcmp(field.bytes, untouched.bytes, sizeof(field.bytes)) == 0);
    } else {
        check_quantity(key, text, &field);
        config_value_format(key, &field, &written);
        ASSERT(!failed(text_result(&written)) && written.len > 0);
        bool plain =
            key->type < CONFIG_TEXT || key->type == CONFIG_ENUM ||
            (key->type == CONFIG_ADDRESS && text_span(&written).ptr[0] != '"'); /* as YAML needs */
        if (plain) {
            ASSERT(
                !failed(config_value_parse(key, text_span(&written), false, &arena, &again, NULL)));
            config_value_format(key, &again, &rewritten);
            ASSERT(span_eq(text_span(&written), text_span(&rewritten)));
        }
    }
    text_release(&written);
    text_release(&rewritten);
    arena_release(&arena);
}

static void check_section(const struct config_section *section, struct span text)
{
    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        ASSERT(config_type_size(key->type) == key->size && key->size <= sizeof(union field));
        if (key->type == CONFIG_LIST || key->type == CONFIG_MAP) {
            check_section(key->section, text);
            continue;
        }
        check_key(key, text, false);
        check_key(key, text, true);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(sample_modules); i++)
        check_section(&sample_modules[i]->section, span_of(bytes, len));
    return 0;
}
