/* The parser's events, made into a tree.
 *
 *   yaml_parse -> check_text     limits, UTF-8 (the parser stops silently at bad bytes)
 *              -> build          event by event: `open` nests, `attach` links
 *              -> parser_failed  the parser's own message and place
 */
#include "config/yaml.h"

#include "base/utf8.h"

#include <libfyaml.h>
#include <stdio.h>

struct builder {
    const char *file;
    struct arena *arena;
    struct diag *diag;
    struct yaml_node *root;
    struct yaml_node *open[YAML_DEPTH_MAX]; /* the collections that we are in */
    struct yaml_node *last[YAML_DEPTH_MAX]; /* the newest element of each */
    int depth;
    size_t nodes;
    struct span key; /* read in the mapping at the top, its value not yet; ptr NULL: none */
    int key_line, key_column;
    size_t key_at;
    int documents;
    bool ended;       /* the parser said so, rather than stopping without a word */
    int line, column; /* of the present event, from 1 */
    size_t at;        /* of the present event, in bytes */
};

static result refuse(struct builder *b, enum err code, const char *what, const char *instead)
{
    return diag_fail_at(b->diag, code, b->file, b->line, b->column, "%s; %s", what, instead);
}

static result check_text(struct span text, const char *file, struct diag *diag)
{
    if (text.len > YAML_BYTES_MAX)
        return diag_fail_at(diag, ERR_TOO_LARGE, file, 0, 0,
                            "expected a file of at most %zu bytes, got more", YAML_BYTES_MAX);
    for (int line = 1; text.len > 0; line++) {
        struct span one = span_cut(&text, '\n');
        if (!utf8_valid(one))
            return diag_fail_at(diag, ERR_SYNTAX, file, line, 0,
                                "expected UTF-8 text, got other bytes");
        for (size_t i = 0; i < one.len; i++) {
            uint8_t byte = one.ptr[i];
            if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7f)
                return diag_fail_at(diag, ERR_SYNTAX, file, line, (int)i + 1,
                                    "expected printable text, got the byte 0x%02x", byte);
        }
    }
    return OK;
}

/* Whether `line` (from 1) has a tab in its indentation. */
static bool indented_by_tab(struct span text, int line)
{
    for (int at = 1; text.len > 0; at++) {
        struct span one = span_cut(&text, '\n');
        size_t i = 0;
        while (at == line && i < one.len && one.ptr[i] == ' ')
            i++;
        if (at == line)
            return i < one.len && one.ptr[i] == '\t';
    }
    return false;
}

/* The parser gave up: its first error, or ours for one it does not explain. */
static result parser_failed(struct builder *b, struct fy_diag *fy_diag, struct span text)
{
    void *iterator = NULL;
    struct fy_diag_error *error = fy_diag_errors_iterate(fy_diag, &iterator);
    int line = error && error->line > 0 ? error->line : b->line;
    int column = error && error->line > 0 ? error->column : b->column;
    int tab = indented_by_tab(text, line) ? line : indented_by_tab(text, line + 1) ? line + 1 : 0;
    if (tab > 0)
        return diag_fail_at(b->diag, ERR_SYNTAX, b->file, tab, 1,
                            "expected spaces as indentation, got a tab");
    return diag_fail_at(b->diag, ERR_SYNTAX, b->file, line, column, "not valid YAML: %s",
                        error && error->msg ? error->msg : "the parser stopped here");
}

static struct yaml_node *top(struct builder *b)
{
    return b->depth > 0 ? b->open[b->depth - 1] : NULL;
}

/* Makes a node of the present event and links it to where it belongs. */
static result attach(struct builder *b, enum yaml_kind kind, struct yaml_node **ret_node)
{
    if (b->nodes++ >= YAML_NODES_MAX)
        return diag_fail_at(b->diag, ERR_TOO_LARGE, b->file, b->line, b->column,
                            "expected at most %d values in a file, got more", YAML_NODES_MAX);
    struct yaml_node *node = ARENA_NEW(b->arena, struct yaml_node);
    if (node == NULL)
        return diag_fail(b->diag, ERR_NO_MEMORY, "out of memory while reading the file");
    *node = (struct yaml_node){.kind = kind, .line = b->line, .column = b->column, .at = b->at};
    struct yaml_node *parent = top(b);
    if (parent == NULL) {
        b->root = node;
    } else {
        if (parent->kind == YAML_MAPPING) {
            node->key = b->key;
            node->key_line = b->key_line;
            node->key_column = b->key_column;
            node->key_at = b->key_at;
            b->key = SPAN_NONE;
        }
        struct yaml_node **link = parent->first ? &b->last[b->depth - 1]->next : &parent->first;
        *link = node;
        b->last[b->depth - 1] = node;
        parent->count++;
    }
    *ret_node = node;
    return OK;
}

static bool awaits_key(struct builder *b)
{
    return b->depth > 0 && top(b)->kind == YAML_MAPPING && b->key.ptr == NULL;
}

static result open_collection(struct builder *b, enum yaml_kind kind)
{
    if (awaits_key(b))
        return refuse(b, ERR_UNSUPPORTED, "a list or mapping cannot be a key", "expected a word");
    if (b->depth == YAML_DEPTH_MAX)
        return diag_fail_at(b->diag, ERR_TOO_LARGE, b->file, b->line, b->column,
                            "expected at most %d levels of nesting, got more", YAML_DEPTH_MAX);
    struct yaml_node *node;
    TRY(attach(b, kind, &node));
    b->open[b->depth++] = node;
    return OK;
}

static result take_key(struct builder *b, struct span text)
{
    if (text.len == 0)
        return refuse(b, ERR_SYNTAX, "expected a key, got nothing", "write \"key: value\"");
    if (text.len > YAML_KEY_BYTES_MAX)
        return diag_fail_at(b->diag, ERR_TOO_LARGE, b->file, b->line, b->column,
                            "expected a key of at most %d bytes, got %zu", YAML_KEY_BYTES_MAX,
                            text.len);
    b->key = text;
    b->key_line = b->line;
    b->key_column = b->column;
    b->key_at = b->at;
    return OK;
}

/* tag:yaml.org,2002:null of the core schema (YAML 1.2.2 §10.3.2). */
static bool is_null(struct span text)
{
    return text.len == 0 || span_is(text, "~") || span_is(text, "null") || span_is(text, "Null") ||
           span_is(text, "NULL");
}

static result take_scalar(struct builder *b, struct fy_token *token)
{
    size_t len = 0;
    const char *raw = token ? fy_token_get_text(token, &len) : NULL;
    enum fy_scalar_style style = raw ? fy_token_scalar_style(token) : FYSS_PLAIN;
    bool quoted = style != FYSS_PLAIN;
    if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED)
        b->column = MAX(b->column - 1, 1); /* the mark is behind the quote */
    char *copy = arena_copy(b->arena, span_of(raw, raw ? len : 0));
    if (copy == NULL)
        return diag_fail(b->diag, ERR_NO_MEMORY, "out of memory while reading the file");
    struct span text = span_of(copy, raw ? len : 0);
    if (memchr(copy, '\0', text.len))
        return refuse(b, ERR_SYNTAX, "expected text, got a zero byte", "remove the escape");
    if (awaits_key(b))
        return take_key(b, text);
    bool null = !quoted && is_null(text);
    if (null && b->key.ptr) {
        b->line = b->key_line;
        b->column = b->key_column;
    }
    struct yaml_node *node;
    TRY(attach(b, null ? YAML_NULL : YAML_SCALAR, &node));
    node->quoted = quoted;
    node->text = text;
    return OK;
}

/* Moves to a token, whose mark is `behind` its sign by that much. */
static void place_at(struct builder *b, struct fy_token *token, int behind)
{
    const struct fy_mark *mark = fy_token_start_mark(token);
    if (mark == NULL)
        return;
    b->line = mark->line + 1;
    b->column = MAX(mark->column + 1 - behind, 1);
}

static result refuse_properties(struct builder *b, struct fy_token *anchor, struct fy_token *tag)
{
    if (anchor) {
        place_at(b, anchor, 1);
        return refuse(b, ERR_UNSUPPORTED, "anchors (&name) are not supported",
                      "write the value out where it is needed");
    }
    if (tag) {
        place_at(b, tag, 0);
        return refuse(b, ERR_UNSUPPORTED, "tags (!name) are not supported",
                      "the key says what type its value has");
    }
    return OK;
}

static result take_event(struct builder *b, struct fy_event *event)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    if (mark) {
        b->line = mark->line + 1;
        b->column = mark->column + 1;
        b->at = mark->input_pos;
    }
    switch (event->type) {
    case FYET_DOCUMENT_START:
        if (b->documents++ > 0)
            return refuse(b, ERR_UNSUPPORTED, "a second document ('---') is not supported",
                          "expected one document in a file");
        return OK;
    case FYET_MAPPING_START:
        TRY(refuse_properties(b, event->mapping_start.anchor, event->mapping_start.tag));
        return open_collection(b, YAML_MAPPING);
    case FYET_SEQUENCE_START:
        TRY(refuse_properties(b, event->sequence_start.anchor, event->sequence_start.tag));
        return open_collection(b, YAML_LIST);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        if (b->depth == 0)
            return refuse(b, ERR_SYNTAX, "a collection ends that never began", "not valid YAML");
        b->depth--;
        b->key = SPAN_NONE;
        return OK;
    case FYET_SCALAR:
        TRY(refuse_properties(b, event->scalar.anchor, event->scalar.tag));
        return take_scalar(b, event->scalar.value);
    case FYET_ALIAS:
        b->column = MAX(b->column - 1, 1);
        return refuse(b, ERR_UNSUPPORTED, "aliases (*name) are not supported",
                      "write the value out where it is needed");
    case FYET_STREAM_END:
        b->ended = true;
        return OK;
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_DOCUMENT_END:
        return OK;
    }
    return OK;
}

static result build(struct builder *b, struct fy_parser *parser, struct fy_diag *fy_diag,
                    struct span text)
{
    result r = OK;
    struct fy_event *event;
    while (!failed(r) && (event = fy_parser_parse(parser)) != NULL) {
        r = take_event(b, event);
        fy_parser_event_free(parser, event);
    }
    if (!failed(r) && (fy_parser_get_stream_error(parser) || b->depth > 0 || !b->ended))
        return parser_failed(b, fy_diag, text);
    return r;
}

result yaml_parse(struct span text, const char *file, struct arena *arena,
                  const struct yaml_node **ret_root, struct diag *diag)
{
    static const struct yaml_node nothing = {.kind = YAML_NULL, .line = 1, .column = 1};
    struct builder b = {.file = file, .arena = arena, .diag = diag, .line = 1, .column = 1};
    TRY(check_text(text, file, diag));
    struct fy_diag_cfg diag_options;
    fy_diag_cfg_default(&diag_options);
    diag_options.fp = NULL;
    diag_options.colorize = false;
    struct fy_diag *fy_diag = fy_diag_create(&diag_options);
    if (fy_diag == NULL)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory while reading the file");
    fy_diag_set_collect_errors(fy_diag, true);
    const struct fy_parse_cfg options = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE | FYPCF_DEFAULT_VERSION_1_2,
        .diag = fy_diag,
    };
    result r;
    struct fy_parser *parser = fy_parser_create(&options);
    if (parser && fy_parser_set_string(parser, (const char *)text.ptr, text.len) == 0)
        r = build(&b, parser, fy_diag, text);
    else
        r = diag_fail(diag, ERR_NO_MEMORY, "out of memory while reading the file");
    if (parser)
        fy_parser_destroy(parser);
    fy_diag_destroy(fy_diag);
    if (!failed(r))
        *ret_root = b.root ? b.root : &nothing;
    return r;
}
