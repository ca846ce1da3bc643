/* YAML text to a tree: the subset of YAML 1.2 that a configuration needs.
 *
 * One document of mappings, lists and scalars. Refused with a place and a reason:
 * anchors, aliases, tags, complex keys, a second document, text that is not UTF-8,
 * and whatever the parser refuses. Keys given twice are left to the reader of the
 * tree, who can report them all. What a plain scalar means
 * (number, text, ...) is decided by the key it belongs to, not here; only null is
 * told apart. libfyaml stands behind this file and is named nowhere else.
 *
 * Owner:   the arena holds the tree and copies of all text.
 * Limits:  the macros below; exceeding one is ERR_TOO_LARGE.
 */
#pragma once

#include "base/arena.h"
#include "base/diag.h"

#define YAML_BYTES_MAX ((size_t)1 << 20)
#define YAML_DEPTH_MAX 16
#define YAML_NODES_MAX 20000
#define YAML_KEY_BYTES_MAX 128

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_LIST, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    bool quoted;             /* SCALAR: in quotes or a block, so a text whatever it holds */
    int line, column;        /* from 1; those of the key for a null */
    struct span text;        /* SCALAR; followed by a NUL */
    struct yaml_node *first; /* LIST, MAPPING: the elements, linked by `next` */
    struct yaml_node *next;
    size_t count;    /* LIST, MAPPING */
    struct span key; /* in a mapping; followed by a NUL */
    int key_line, key_column;
    size_t at, key_at; /* SCALAR, and of the key: where its text begins in the file, in bytes */
};

/* The root is of kind YAML_NULL when the text holds nothing. `file` is for messages;
 * may be NULL. ERR_SYNTAX, ERR_TOO_LARGE, ERR_UNSUPPORTED, ERR_NO_MEMORY. */
result yaml_parse(struct span text, const char *file, struct arena *arena,
                  const struct yaml_node **ret_root, struct diag *diag);
