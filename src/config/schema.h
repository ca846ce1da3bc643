/* How a module declares what can be configured of it: one static table.
 *
 * The table of a module drives everything that is done with its keys: reading a
 * file, flags, defaults, checks, messages, help, and the list of what a reload
 * changes. A value lands in a plain struct of the module, through an offset, so
 * that the module reads `config->connections_max` and nothing else:
 *
 *     struct server_config {
 *         int64_t connections_max;
 *         struct config_list models;
 *     };
 *     static const struct config_key server_keys[] = {
 *         {.path = "server.connections_max", .flag = "--connections-max",
 *          .help = "how many connections may be open", .fallback = "10000",
 *          .type = CONFIG_INT, .min = 1, .max = 1000000, .reload = CONFIG_LIVE,
 *          CONFIG_FIELD(struct server_config, connections_max)},
 *         {.path = "models", .help = "the models to serve", .type = CONFIG_LIST,
 *          .section = &model_section, CONFIG_FIELD(struct server_config, models)},
 *     };
 *     static const struct config_module server_module = {
 *         .name = "server",
 *         .section = CONFIG_SECTION(struct server_config, server_keys)};
 *
 * Dots in a path are nested mappings in the file, and underscores in the name of the
 * environment variable that overrides it: WEIR_SERVER_CONNECTIONS_MAX. A list or a map has
 * elements, each a struct with a table of its own. One key of that table may be of the type
 * CONFIG_NAME: it tells the elements apart in messages and on a reload. The same
 * table serves both forms:
 *
 *     models:                     models:
 *       - name: cats       or       cats:
 *         path: /m/cats               path: /m/cats
 *
 * In a map (CONFIG_MAP) the name is the mapping's key, and the table needs one.
 *
 * Tables are our own code: `config_load` asserts that they are sound.
 */
#pragma once

#include "base/diag.h"
#include "base/result.h"
#include "io/io.h"

enum config_type {
    CONFIG_BOOL,    /* bool: true, false */
    CONFIG_INT,     /* int64_t: 10, -3, 0x1f, 0o600 */
    CONFIG_REAL,    /* double: 0.5, 1e-5; finite */
    CONFIG_SIZE,    /* uint64_t: bytes; 64MiB, 512kB, 100 */
    CONFIG_TIME,    /* io_time: 10s, 250ms, 0 */
    CONFIG_TEXT,    /* const char *: any text */
    CONFIG_PATH,    /* const char *: a file or folder, not empty */
    CONFIG_NAME,    /* const char *: letters, digits, "_", "-", "." */
    CONFIG_ENUM,    /* int: the index of one of `choices` */
    CONFIG_ADDRESS, /* struct config_address: what io_address_parse takes */
    CONFIG_TEXTS,   /* struct config_texts: a list of texts */
    CONFIG_LIST,    /* struct config_list: sections in order */
    CONFIG_MAP,     /* struct config_list: sections by name, in the file's order */
};

/* What a reload does with a change. The first is the one for a table that does
 * not say, as the only one that is always true. */
enum config_reload {
    CONFIG_RESTART, /* needs a new process */
    CONFIG_DRAIN,   /* applies to what is opened after the reload; the old drains */
    CONFIG_LIVE,    /* applies at once */
};

struct config_address {
    bool set; /* false: "off", or no default */
    struct io_address address;
};

struct config_texts {
    const char *const *items;
    size_t count;
};

/* The elements lie one behind the other in the snapshot's memory. */
struct config_list {
    const void *items;
    size_t count;
    const struct config_origin *origins; /* config's own: `count` times the keys */
};

struct config_section;

/* An older key that a newer release knows another way.
 *
 * With a `replacement` the row is no more than a name: its value is taken as one of
 * that key, which lies in the same table and says all the rest. It has no flag, no
 * field and no default. Without one, the row is a whole key that will go away. */
struct config_deprecation {
    const char *since;       /* the release that warns: "0.3.0"; NULL: not deprecated */
    const char *replacement; /* the path that replaces it; NULL: none does */
    const char *removed;     /* the release that refuses it; NULL: not known yet */
};

struct config_key {
    const char *path;     /* "server.connections_max"; NULL: a flag only, in no file */
    const char *flag;     /* "--connections-max", or NULL; not in an element */
    const char *help;     /* one line, lower case, no period at its end */
    const char *fallback; /* the default as it would be written; NULL: false, 0,
                             a NULL text, an address not set, an empty list */
    const char *word;     /* INT, SIZE, TIME, ADDRESS: a word such as "auto" or "off"
                             that stands for `word_value` (for an address: not set) */
    int64_t word_value;
    /* Of a number, both inclusive; of a text, its bytes; of a list, its elements.
     * `max` 0 means the type's own maximum. */
    int64_t min, max;
    const char *const *choices;           /* ENUM: ended by NULL */
    const struct config_section *section; /* LIST, MAP: of an element */
    size_t offset, size;                  /* CONFIG_FIELD */
    enum config_type type;
    enum config_reload reload;
    bool required; /* has to be given; then without a fallback */
    bool secret;   /* TEXT: its value is never printed; `{file: PATH}` reads it */
    bool common;   /* its flag is on the short help page */
    struct config_deprecation deprecated;
};

/* Whether the row is only an older name of another. */
static inline bool config_key_is_alias(const struct config_key *key)
{
    return key->deprecated.replacement != NULL;
}

/* Sets `offset` and `size` of a key. */
#define CONFIG_FIELD(type_, member) \
    .offset = offsetof(type_, member), .size = sizeof(((type_ *)NULL)->member)

/* The keys of one struct. */
struct config_section {
    const struct config_key *keys;
    size_t key_count;
    size_t size; /* of the struct */
};

#define CONFIG_SECTION(type_, keys_) \
    {.keys = (keys_), .key_count = ARRAY_LEN(keys_), .size = sizeof(type_)}

/* What a part of the program that is configured exports. The three functions are
 * the steps of a reload (config/reload.h); NULL for one that needs none. */
struct config_module {
    const char *name; /* the heading in help: "server" */
    struct config_section section;
    /* Checks and prepares all that going from `old` (NULL at the start) to `new`
     * needs, and changes nothing yet. `ret_plan` may be left alone: NULL then. */
    result (*prepare)(void *module, const void *old, const void *new_, void **ret_plan,
                      struct diag *diag);
    void (*commit)(void *module, void *plan); /* cannot fail */
    void (*abort)(void *module, void *plan);  /* undoes `prepare` */
};
