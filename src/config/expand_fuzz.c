/* A scalar with variables, held against what the text itself says of them. */
#include "base/test_fuzz.h"
#include "base/utf8.h"
#include "config/snapshot.h"
#include "io/sim/sim.h"

static struct process *process(void)
{
    static struct process *made;
    if (!made)
        made = sim_process_new(sim_world_new(1), "server", 1);
    return made;
}

/* Whether `text` is taken, and then as `expected`. */
static bool gives(struct arena *arena, struct span text, struct span expected)
{
    struct span out;
    const char *variables = NULL;
    return !failed(config_expand(process(), arena, text, &out, &variables, NULL)) &&
           span_eq(out, expected);
}

static void put_env(struct span value)
{
    struct text text;
    text_init(&text, (size_t)1 << 20);
    text_append(&text, value);
    ASSERT(!failed(text_result(&text)));
    sim_env_put(process(), "VALUE", text_cstr(&text));
    text_release(&text);
}

/* What has no dollar sign is itself, also as a variable and as a default. */
static void check_plain(struct arena *arena, struct span plain)
{
    struct text text;
    ASSERT(gives(arena, plain, plain));
    if (plain.len == 0 || span_find(plain, '\0') < plain.len || !utf8_valid(plain))
        return;
    put_env(plain);
    ASSERT(gives(arena, SPAN("${VALUE}"), plain));
    ASSERT(gives(arena, SPAN("${VALUE:-other}"), plain));
    if (span_find(plain, '}') < plain.len)
        return;
    text_init(&text, (size_t)1 << 20);
    text_printf(&text, "${NONE:-%.*s}", SPAN_FMT(plain));
    ASSERT(gives(arena, text_span(&text), plain));
    text_release(&text);
}

/* The parts before and behind `at`, when both are taken, make up the whole. */
static void check_parts(struct arena *arena, struct span text, size_t at, struct span whole)
{
    struct span before, behind;
    const char *variables = NULL;
    if (!failed(config_expand(process(), arena, span_first(text, at), &before, &variables, NULL)) &&
        !failed(config_expand(process(), arena, span_from(text, at), &behind, &variables, NULL)))
        ASSERT(before.len + behind.len == whole.len && span_starts(whole, before) &&
               span_ends(whole, behind));
}

/* With each dollar sign doubled, any text is itself. */
static void check_doubled(struct arena *arena, struct span plain)
{
    struct text text;
    text_init(&text, (size_t)1 << 20);
    for (size_t i = 0; i < plain.len; i++) {
        text_append(&text, span_of(plain.ptr + i, 1));
        if (plain.ptr[i] == '$')
            text_byte(&text, '$');
    }
    ASSERT(gives(arena, text_span(&text), plain));
    text_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct span text = span_of(bytes, len), out = SPAN("untouched");
    struct arena arena;
    struct diag diag = {0};
    const char *variables = NULL;
    arena_init(&arena, 4096, (size_t)8 << 20);
    put_env(SPAN("of the environment"));
    result r = config_expand(process(), &arena, text, &out, &variables, &diag);
    if (failed(r)) {
        ASSERT(is(r, diag.code) && diag.text[0] && !variables && span_is(out, "untouched"));
        ASSERT(span_find(text, '$') < text.len);
    } else {
        ASSERT(variables || span_find(text, '$') == len || span_find(out, '$') < out.len);
        for (size_t at = 1; at < MIN(len, (size_t)64); at++)
            check_parts(&arena, text, at, out);
    }
    check_doubled(&arena, text);
    check_plain(&arena, span_first(text, span_find(text, '$')));
    arena_release(&arena);
    return 0;
}
