/* A command line, one word a line: what is taken is within the command's limits, and its
 * settings are values that their keys take. */
#include "base/test_fuzz.h"
#include "config/flags.h"
#include "config/test_sample.h"
#include "config/test_words.h"
#include "config/value.h"

#define WORDS_MAX 64

static const struct flags_command command = {
    .usage = "weir serve [options] [MODEL]",
    .summary = "Serves models over HTTP.",
    .own = &own_section,
    .modules = sample_modules,
    .module_count = ARRAY_LEN(sample_modules),
    .argument = "MODEL",
    .arguments_min = 1,
    .arguments_max = 3,
};

static void check_setting(const struct config_setting *setting, struct arena *arena)
{
    char field[256] = {0};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(sample_server_keys); i++)
        known = known || setting->key == &sample_server_keys[i];
    ASSERT(known && setting->key->flag);
    ASSERT(!failed(
        config_value_parse(setting->key, span_cstr(setting->text), false, arena, field, NULL)));
}

static void check(int argc, const char *const *argv)
{
    struct arena arena;
    struct own own = {0};
    struct flags flags = {0};
    struct diag diag = {0};
    arena_init(&arena, 1024, (size_t)1 << 20);
    result r = flags_parse(&command, argc, argv, &arena, &own, &flags, &diag);
    if (failed(r)) {
        ASSERT(diag.text[0]);
    } else if (flags.help) {
        ASSERT(flags.setting_count == 0 && flags.argument_count == 0);
    } else {
        ASSERT(flags.argument_count >= 1 && flags.argument_count <= 3);
        ASSERT(own.level >= 0 && own.level <= 9);
        for (size_t i = 0; i < flags.setting_count; i++)
            check_setting(&flags.settings[i], &arena);
        for (size_t i = 0; i < flags.argument_count; i++)
            ASSERT(flags.arguments[i]);
    }
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct arena arena;
    const char *words[WORDS_MAX];
    int count = 0;
    struct span rest = span_of(bytes, len);
    arena_init(&arena, 1024, (size_t)1 << 20);
    while (rest.len > 0 && count < WORDS_MAX) {
        words[count] = arena_copy(&arena, span_cut(&rest, '\n'));
        ASSERT(words[count++]);
    }
    check(count, words);
    arena_release(&arena);
    return 0;
}
