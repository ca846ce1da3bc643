#include "config/reload.h"

#include "base/alloc.h"
#include "base/text.h"
#include "config/snapshot.h"
#include "config/value.h"

#define PATH_BYTES_MAX 4096
#define VALUE_BYTES_MAX ((size_t)1 << 20)

/* ---- difference ------------------------------------------------------------- */

struct differ {
    config_change_fn changed;
    void *arg;
    struct text path, old_value, new_value;
};

static result diff_block(struct differ *d, const struct config_block *old,
                         const struct config_block *new_);

static void path_cut(struct differ *d, size_t len)
{
    d->path.len = len;
    if (d->path.ptr)
        d->path.ptr[len] = '\0';
}

static const char *shown(const struct config_key *key, const struct text *value)
{
    return key->secret ? "(secret)" : text_cstr(value);
}

static result diff_value(struct differ *d, const struct config_key *key, const void *old,
                         const void *new_, const struct config_origin *new_origin)
{
    text_clear(&d->old_value);
    text_clear(&d->new_value);
    struct config_key open = *key;
    open.secret = false;
    config_value_format(&open, old, &d->old_value);
    config_value_format(&open, new_, &d->new_value);
    TRY(text_result(&d->old_value));
    TRY(text_result(&d->new_value));
    if (span_eq(text_span(&d->old_value), text_span(&d->new_value)))
        return OK;
    const struct config_change change = {
        .path = text_cstr(&d->path),
        .key = key,
        .old_value = shown(key, &d->old_value),
        .new_value = shown(key, &d->new_value),
        .new_line = new_origin->line,
    };
    d->changed(d->arg, &change);
    return OK;
}

/* The name of an element, or NULL when its kind has none. */
static const char *element_name(const struct config_block *block)
{
    int name = section_name_key(block->section);
    return name < 0 ? NULL : *(const char *const *)block_field(block, (size_t)name);
}

/* The element of `list` that is `wanted`, the one at `index`; false: none is. */
static bool element_match(const struct config_key *key, const struct config_list *list,
                          const struct config_block *wanted, size_t index,
                          struct config_block *ret_block)
{
    const char *name = element_name(wanted);
    for (size_t i = 0; i < list->count; i++) {
        struct config_block block = list_block(key, list, i);
        const char *other = element_name(&block);
        if (name ? other && strcmp(name, other) == 0 : i == index) {
            *ret_block = block;
            return true;
        }
    }
    return false;
}

/* An element that is only in one of the two. */
static result report_element(struct differ *d, const struct config_key *key,
                             const struct config_block *block, bool added)
{
    TRY(text_result(&d->path));
    const char *name = element_name(block);
    const char *value = name ? name : "(no name)";
    int line = 0;
    for (size_t i = 0; added && i < block->section->key_count; i++)
        if (block->origins[i].line > 0 && (line == 0 || block->origins[i].line < line))
            line = block->origins[i].line;
    const struct config_change change = {
        .path = text_cstr(&d->path),
        .key = key,
        .old_value = added ? NULL : value,
        .new_value = added ? value : NULL,
        .new_line = line,
    };
    d->changed(d->arg, &change);
    return OK;
}

static void path_element(struct differ *d, const struct config_block *block, size_t index)
{
    const char *name = element_name(block);
    if (name)
        text_printf(&d->path, ".%s", name);
    else
        text_printf(&d->path, "[%zu]", index);
}

static result diff_list(struct differ *d, const struct config_key *key,
                        const struct config_list *old, const struct config_list *new_)
{
    size_t len = d->path.len;
    for (size_t i = 0; i < old->count; i++) {
        struct config_block gone = list_block(key, old, i), other;
        path_element(d, &gone, i);
        if (!element_match(key, new_, &gone, i, &other))
            TRY(report_element(d, key, &gone, false));
        path_cut(d, len);
    }
    for (size_t i = 0; i < new_->count; i++) {
        struct config_block block = list_block(key, new_, i), before;
        path_element(d, &block, i);
        if (element_match(key, old, &block, i, &before))
            TRY(diff_block(d, &before, &block));
        else
            TRY(report_element(d, key, &block, true));
        path_cut(d, len);
    }
    return OK;
}

static result diff_block(struct differ *d, const struct config_block *old,
                         const struct config_block *new_)
{
    size_t len = d->path.len;
    for (size_t i = 0; i < old->section->key_count; i++) {
        const struct config_key *key = &old->section->keys[i];
        if (config_key_is_alias(key))
            continue;
        text_printf(&d->path, "%s%s", len > 0 ? "." : "", key->path ? key->path : key->flag);
        TRY(text_result(&d->path));
        if (key->type == CONFIG_LIST || key->type == CONFIG_MAP)
            TRY(diff_list(d, key, block_field(old, i), block_field(new_, i)));
        else
            TRY(diff_value(d, key, block_field(old, i), block_field(new_, i), &new_->origins[i]));
        path_cut(d, len);
    }
    return OK;
}

result config_diff(const struct config *old, const struct config *new_, config_change_fn changed,
                   void *arg)
{
    ASSERT(old->module_count == new_->module_count);
    struct differ d = {.changed = changed, .arg = arg};
    text_init(&d.path, PATH_BYTES_MAX);
    text_init(&d.old_value, VALUE_BYTES_MAX);
    text_init(&d.new_value, VALUE_BYTES_MAX);
    result r = OK;
    for (size_t m = 0; m < old->module_count && !failed(r); m++) {
        ASSERT(old->modules[m] == new_->modules[m]);
        r = diff_block(&d, &old->blocks[m], &new_->blocks[m]);
    }
    text_release(&d.path);
    text_release(&d.old_value);
    text_release(&d.new_value);
    return r;
}

/* ---- transaction --------------------------------------------------------------- */

result config_transaction(const struct config *old, const struct config *new_,
                          void *const *contexts, struct diag *diag)
{
    ASSERT(old == NULL || old->module_count == new_->module_count);
    CLEANUP(mem_cleanup) void **plans = mem_zalloc(new_->module_count, sizeof(*plans));
    if (plans == NULL)
        return diag_fail(diag, ERR_NO_MEMORY, "out of memory for a change of configuration");
    result r = OK;
    size_t prepared = 0;
    for (; prepared < new_->module_count; prepared++) {
        const struct config_module *module = new_->modules[prepared];
        if (module->prepare)
            r = module->prepare(contexts[prepared], old ? old->blocks[prepared].values : NULL,
                                new_->blocks[prepared].values, &plans[prepared], diag);
        if (failed(r)) {
            diag_prefix(diag, "%s", module->name);
            break;
        }
    }
    for (size_t m = 0; !failed(r) && m < prepared; m++)
        if (new_->modules[m]->commit)
            new_->modules[m]->commit(contexts[m], plans[m]);
    for (size_t m = prepared; failed(r) && m-- > 0;)
        if (new_->modules[m]->abort)
            new_->modules[m]->abort(contexts[m], plans[m]);
    return r;
}
