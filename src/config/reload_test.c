#include "config/reload.h"

#include "base/text.h"
#include "config/test_sample.h"

static struct config_errors errors;

static struct config *load(const char *yaml)
{
    struct config *config = NULL;
    assert_false(failed(sample_load(yaml, &config, &errors)));
    return config;
}

/* ---- difference --------------------------------------------------------------- */

static void write_change(void *arg, const struct config_change *change)
{
    static const char *const classes[] = {"restart", "drain", "live"};
    text_printf(arg, "%s %s: %s -> %s (line %d)\n", classes[change->key->reload], change->path,
                change->old_value ? change->old_value : "nothing",
                change->new_value ? change->new_value : "nothing", change->new_line);
}

static void expect_changes(const char *old_yaml, const char *new_yaml, const char *expected)
{
    struct config *old = load(old_yaml), *new_ = load(new_yaml);
    struct text changes;
    text_init(&changes, 65536);
    assert_false(failed(config_diff(old, new_, write_change, &changes)));
    assert_string_equal(text_cstr(&changes), expected);
    text_release(&changes);
    config_unref(old);
    config_unref(new_);
}

static void equal_files_have_no_difference(void **state)
{
    expect_changes(SAMPLE_FILE, SAMPLE_FILE, "");
    expect_changes(NULL, "version: 1\nserver: {body_max: 65536KiB, connections_max: 10000}\n", "");
}

static void each_changed_value_is_listed_with_its_class(void **state)
{
    expect_changes("version: 1\nserver:\n  listen: 127.0.0.1:1\n  threads: 2\n",
                   "version: 1\nserver:\n  listen: 127.0.0.1:2\n  connections_max: 5\n"
                   "  idle_max: never\nlabels: [a, \"b c\"]\ntitle: x\n",
                   "restart server.listen: 127.0.0.1:1 -> 127.0.0.1:2 (line 3)\n"
                   "live server.connections_max: 10000 -> 5 (line 4)\n"
                   "restart server.threads: 2 -> auto (line 0)\n"
                   "drain server.idle_max: 1m -> never (line 5)\n"
                   "live title: null -> x (line 7)\n"
                   "live labels: [] -> [a, \"b c\"] (line 6)\n");
}

static void a_changed_secret_is_listed_but_not_shown(void **state)
{
    expect_changes("version: 1\ntoken: a\n", "version: 1\ntoken: b\n",
                   "live token: (secret) -> (secret) (line 2)\n");
    expect_changes("version: 1\ntoken: a\n", "version: 1\ntoken: a\n", "");
}

static void elements_are_matched_by_name(void **state)
{
    expect_changes("version: 1\nmodels:\n  - {name: a, path: p}\n  - {name: b, path: q}\n"
                   "  - {name: c, path: r}\n",
                   "version: 1\nmodels:\n  - {name: d, path: s}\n  - {name: c, path: r}\n"
                   "  - {name: a, path: p2}\n",
                   "drain models.b: b -> nothing (line 0)\n"
                   "drain models.d: nothing -> d (line 3)\n"
                   "drain models.a.path: p -> p2 (line 5)\n");
}

static void elements_without_a_name_are_matched_by_position(void **state)
{
    expect_changes("version: 1\nroutes:\n  api: {targets: [{url: a}, {url: b}, {url: c}]}\n",
                   "version: 1\nroutes:\n  api: {targets: [{url: a, weight: 2}, {url: d}]}\n"
                   "  web:\n",
                   "live routes.api.targets[2]: (no name) -> nothing (line 0)\n"
                   "live routes.api.targets[0].weight: 1 -> 2 (line 3)\n"
                   "live routes.api.targets[1].url: b -> d (line 3)\n"
                   "live routes.web: nothing -> web (line 4)\n");
}

/* ---- transaction ------------------------------------------------------------------ */

#define PARTS 4

struct part {
    int index;
    bool fails;
    struct text *log;
};

static result part_prepare(void *module, const void *old, const void *new_, void **ret_plan,
                           struct diag *diag)
{
    struct part *part = module;
    assert_non_null(new_);
    assert_true(old != new_);
    text_printf(part->log, "p%d%s ", part->index, old ? "" : "!");
    if (part->fails)
        return diag_fail(diag, ERR_NO_SPACE, "no room");
    *ret_plan = part;
    return OK;
}

static void part_commit(void *module, void *plan)
{
    struct part *part = module;
    assert_ptr_equal(module, plan);
    text_printf(part->log, "c%d ", part->index);
}

static void part_abort(void *module, void *plan)
{
    struct part *part = module;
    assert_ptr_equal(module, plan);
    text_printf(part->log, "a%d ", part->index);
}

struct part_config {
    int64_t size;
};

static const struct config_key part_keys[] = {
    {.path = "size", .help = "a size", .type = CONFIG_INT, CONFIG_FIELD(struct part_config, size)}};

static const struct config_module part_module = {
    .name = "part",
    .section = CONFIG_SECTION(struct part_config, part_keys),
    .prepare = part_prepare,
    .commit = part_commit,
    .abort = part_abort,
};

static const struct config_module quiet_module = {.name = "quiet"};
static const struct config_module others[2] = {
    {.name = "second",
     .prepare = part_prepare,
     .commit = part_commit,
     .abort = part_abort,
     .section = {.size = 1}},
    {.name = "third",
     .prepare = part_prepare,
     .commit = part_commit,
     .abort = part_abort,
     .section = {.size = 1}},
};
static const struct config_module *const parts[PARTS] = {&part_module, &others[0], &quiet_module,
                                                         &others[1]};

/* What happens when part `failing` (none for -1) fails. */
static void expect_transaction(int failing, bool boot, const char *log_expected,
                               const char *text_expected)
{
    struct text log;
    struct part state[PARTS];
    void *contexts[PARTS];
    text_init(&log, 4096);
    for (int i = 0; i < PARTS; i++) {
        state[i] = (struct part){.index = i, .fails = i == failing, .log = &log};
        contexts[i] = &state[i];
    }
    const struct config_source source = {.modules = parts, .module_count = PARTS};
    struct config *old = NULL, *new_ = NULL;
    assert_false(failed(config_load(&source, &old, &errors)));
    assert_false(failed(config_load(&source, &new_, &errors)));
    struct diag diag = {0};
    result r = config_transaction(boot ? NULL : old, new_, contexts, &diag);
    assert_true(is(r, failing < 0 ? ERR_NONE : ERR_NO_SPACE));
    assert_string_equal(text_cstr(&log), log_expected);
    assert_string_equal(diag.text, text_expected);
    config_unref(old);
    config_unref(new_);
    text_release(&log);
}

static void all_prepare_before_any_commits(void **state)
{
    expect_transaction(-1, false, "p0 p1 p3 c0 c1 c3 ", "");
}

static void the_first_transaction_has_nothing_old(void **state)
{
    expect_transaction(-1, true, "p0! p1! p3! c0 c1 c3 ", "");
}

static void a_failure_at_any_module_aborts_those_before_it_in_reverse(void **state)
{
    expect_transaction(0, false, "p0 ", "part: no room");
    expect_transaction(1, false, "p0 p1 a0 ", "second: no room");
    expect_transaction(3, false, "p0 p1 p3 a1 a0 ", "third: no room");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_files_have_no_difference),
        cmocka_unit_test(each_changed_value_is_listed_with_its_class),
        cmocka_unit_test(a_changed_secret_is_listed_but_not_shown),
        cmocka_unit_test(elements_are_matched_by_name),
        cmocka_unit_test(elements_without_a_name_are_matched_by_position),
        cmocka_unit_test(all_prepare_before_any_commits),
        cmocka_unit_test(the_first_transaction_has_nothing_old),
        cmocka_unit_test(a_failure_at_any_module_aborts_those_before_it_in_reverse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
