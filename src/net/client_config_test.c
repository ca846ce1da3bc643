/* The tables of the client and of DNS, as they are loaded. */
#include "base/test_cmocka.h"
#include "config/config.h"
#include "io/ops.h"
#include "io/sim/sim.h"
#include "net/client_account.h"
#include "net/client_pool.h"

#include <stdio.h>
#include <stdlib.h>

static const struct config_module *const modules[] = {&client_module, &dns_module};

static struct config *load(const char *yaml, struct config_errors *errors)
{
    struct config *config = NULL;
    struct config_source source = {.modules = modules,
                                   .module_count = ARRAY_LEN(modules),
                                   .file = "weir.yaml",
                                   .yaml = span_cstr(yaml)};
    ignore(config_load(&source, &config, errors)); /* NULL tells */
    return config;
}

static void retries_are_off_by_default(void **state)
{
    struct config_errors errors;
    struct config *config = load("version: 1\n", &errors);
    assert_non_null(config);
    const struct client_config *client = config_of(config, &client_module);
    assert_int_equal(client->retry.attempts, 1);
    assert_int_equal(client->retry.budget_percent, 20);
    assert_false(client->retry.any_method);
    assert_true(client->connections_per_origin_max <= client->connections_max);
    config_unref(config);
}

static void name_servers_are_told_to_io(void **state)
{
    struct config_errors errors;
    struct config *config = load("version: 1\n"
                                 "dns:\n"
                                 "  servers: [10.0.0.2, \"10.0.0.3:5353\", \"::1\", \"[::2]:54\"]\n"
                                 "  try_timeout: 300ms\n"
                                 "  tries: 3\n",
                                 &errors);
    assert_non_null(config);
    struct world *world = sim_world_new(1);
    struct process *process = sim_process_new(world, "one", 1);
    struct diag diag = {0};
    assert_int_equal(dns_apply(process, config_of(config, &dns_module), &diag).code, ERR_NONE);
    static const char *const expected[] = {"10.0.0.2:53", "10.0.0.3:5353", "[::1]:53", "[::2]:54"};
    assert_int_equal(process->dns.servers_len, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        char text[64];
        io_address_format(&process->dns.servers[i], text, sizeof(text));
        assert_string_equal(text, expected[i]);
    }
    assert_int_equal(process->dns.timeout, 300 * IO_MS);
    assert_int_equal(process->dns.tries, 3);
    process_free(process);
    sim_world_free(world);
    config_unref(config);
}

static void what_is_no_name_server_is_refused_with_its_place(void **state)
{
    static const char *const files[] = {
        "version: 1\ndns: {servers: [10.0.0.1, ns.example]}\n",
        "version: 1\ndns: {servers: [10.0.0.1, \"unix:/x\"]}\n",
        "version: 1\ndns: {servers: [10.0.0.1, \":53\"]}\n",
        "version: 1\ndns: {servers: [10.0.0.1, \"\"]}\n",
        "version: 1\ndns: {servers: [10.0.0.1, \"10.0.0.1:99999\"]}\n",
    };
    struct world *world = sim_world_new(1);
    struct process *process = sim_process_new(world, "one", 1);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct config_errors errors;
        struct config *config = load(files[i], &errors);
        struct diag diag = {0};
        assert_non_null(config);
        assert_true(failed(dns_apply(process, config_of(config, &dns_module), &diag)));
        assert_non_null(strstr(diag.text, "dns.servers[1]"));
        config_unref(config);
    }
    process_free(process);
    sim_world_free(world);
}

static void values_beyond_their_limits_are_refused(void **state)
{
    static const char *const files[] = {
        "version: 1\nclient: {retry: {attempts: 0}}\n",
        "version: 1\nclient: {retry: {budget_percent: 101}}\n",
        "version: 1\nclient: {connections_max: 0}\n",
        "version: 1\ndns: {tries: 0}\n",
        "version: 1\ndns: {servers: [1, 2, 3, 4, 5, 6, 7, 8, 9]}\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct config_errors errors;
        assert_null(load(files[i], &errors));
        assert_int_equal(errors.count, 1);
    }
}

static void assert_row(const char *page, const char *cell, const char *help)
{
    char start[80];
    snprintf(start, sizeof(start), "| `%s` |", cell);
    const char *row = strstr(page, start);
    const char *text = row ? strstr(row, help) : NULL;
    if (!text || text > row + strcspn(row, "\n"))
        fail_msg("docs/client.md has no row for %s: %s", cell, help);
}

static void the_page_lists_every_key_and_every_metric(void **state)
{
    const char *source = getenv("WEIR_SOURCE");
    char path[512], page[16384];
    snprintf(path, sizeof(path), "%s/docs/client.md", source ? source : "..");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(page, 1, sizeof(page) - 1, file);
    page[len] = '\0';
    fclose(file);
    size_t rows = 0, listed = 0;
    for (size_t m = 0; m < ARRAY_LEN(modules); m++) {
        const struct config_section *section = &modules[m]->section;
        for (size_t i = 0; i < section->key_count; i++, rows++) {
            const struct config_key *key = &section->keys[i];
            assert_row(page, key->path, key->help);
            if (key->fallback)
                assert_row(page, key->path, key->fallback);
        }
    }
    for (size_t i = 0; i < client_metrics_len; i++, rows++)
        assert_row(page, client_metrics[i].name, client_metrics[i].help);
    for (const char *row = strstr(page, "\n| `"); row; row = strstr(row + 1, "\n| `"))
        listed++;
    assert_int_equal(listed, rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retries_are_off_by_default),
        cmocka_unit_test(name_servers_are_told_to_io),
        cmocka_unit_test(what_is_no_name_server_is_refused_with_its_place),
        cmocka_unit_test(the_page_lists_every_key_and_every_metric),
        cmocka_unit_test(values_beyond_their_limits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
