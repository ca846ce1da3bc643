#include "config/yaml.h"

#include "base/test_cmocka.h"
#include "base/text.h"

/* A tree as one line: 3:5 is a place, "x" a quoted text. */
static void print_tree(const struct yaml_node *node, struct text *into)
{
    if (node->key.ptr)
        text_printf(into, "%.*s@%d:%d=", SPAN_FMT(node->key), node->key_line, node->key_column);
    text_printf(into, "%d:%d", node->line, node->column);
    if (node->kind == YAML_NULL)
        text_str(into, "~");
    if (node->kind == YAML_SCALAR)
        text_printf(into, node->quoted ? "\"%.*s\"" : "<%.*s>", SPAN_FMT(node->text));
    if (node->kind < YAML_LIST)
        return;
    text_str(into, node->kind == YAML_LIST ? "[" : "{");
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        print_tree(child, into);
        text_str(into, child->next ? " " : "");
    }
    text_printf(into, "%s%zu", node->kind == YAML_LIST ? "]" : "}", node->count);
}

struct example {
    const char *yaml, *tree;
};

static const struct example examples[] = {
    {"", "1:1~"},
    {"# nothing\n", "1:1~"},
    {"---\n", "1:1~"},
    {"a", "1:1<a>"},
    {"a: 1\nb: [x, 'y', \"z\\n\"]\n", "1:1{a@1:1=1:4<1> b@2:1=2:4[2:5<x> 2:8\"y\" 2:13\"z\n\"]3}2"},
    {"a:\n  - b: 1\n    c:\n  -\n", "1:1{a@1:1=2:3[2:5{b@2:5=2:8<1> c@3:5=3:5~}2 4:3~]2}1"},
    {"a: ~\nb: null\nc: \"null\"\nd: Null\n",
     "1:1{a@1:1=1:1~ b@2:1=2:1~ c@3:1=3:4\"null\" d@4:1=4:1~}4"},
    {"a: {}\nb: []\n", "1:1{a@1:1=1:4{}0 b@2:1=2:4[]0}2"},
    {"a: |\n  x\n  y\nb: >-\n  x\n  y\n", "1:1{a@1:1=2:1\"x\ny\n\" b@4:1=5:1\"x y\"}2"},
    {"%YAML 1.2\n---\na: b # c\n...\n", "3:1{a@3:1=3:4<b>}1"},
    {"a: b\r\nc: d\r\n", "1:1{a@1:1=1:4<b> c@2:1=2:4<d>}2"},
    {"a: 1\na: 2\n", "1:1{a@1:1=1:4<1> a@2:1=2:4<2>}2"},
    {"{\"a\": [1, 2.5], \"b\": true}", "1:1{a@1:2=1:7[1:8<1> 1:11<2.5>]2 b@1:17=1:22<true>}2"},
};

static void a_document_becomes_a_tree_with_places(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct arena arena;
        struct text tree;
        struct diag diag = {0};
        const struct yaml_node *root = NULL;
        arena_init(&arena, 1024, 65536);
        text_init(&tree, 4096);
        if (failed(yaml_parse(span_cstr(examples[i].yaml), NULL, &arena, &root, &diag)))
            fail_msg("%s: %s", examples[i].yaml, diag.text);
        print_tree(root, &tree);
        assert_string_equal(text_cstr(&tree), examples[i].tree);
        text_release(&tree);
        arena_release(&arena);
    }
}

static void a_tree_larger_than_its_arena_is_refused(void **state)
{
    struct arena arena;
    struct diag diag = {0};
    const struct yaml_node *root = NULL;
    arena_init(&arena, 256, 512);
    assert_true(is(yaml_parse(SPAN("[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]"), NULL,
                              &arena, &root, &diag),
                   ERR_NO_MEMORY));
    assert_null(root);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_becomes_a_tree_with_places),
        cmocka_unit_test(a_tree_larger_than_its_arena_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
