/* GET /config of the admin listener: the configuration of the running process, as a file
 * that would start it the same. Snapshots change hands on loop 0 alone, so the text is
 * made there, whichever loop has the exchange.
 *
 *   config_get -> (post to loop 0) page_make -> (post home) page_respond
 */
#include "run/run_private.h"

#include "config/inspect.h"

#define PAGE_BYTES_MAX ((size_t)4 << 20)

struct page {
    struct io_post post;
    struct run *run;
    struct exchange *x;
    struct text text;
    result r;
};

static void page_release(void *arg)
{
    struct page *page = arg;
    text_release(&page->text);
}

static void page_respond(struct io_post *post)
{
    struct page *page = CONTAINER_OF(post, struct page, post);
    if (failed(page->r))
        exchange_fail(page->x, (enum err)page->r.code, "the configuration cannot be written");
    else
        exchange_respond(page->x, 200, "application/yaml", text_span(&page->text));
}

static void page_make(struct io_post *post)
{
    struct page *page = CONTAINER_OF(post, struct page, post);
    struct run *run = page->run;
    text_printf(&page->text, "# generation %llu\n", (unsigned long long)run->reloads.generation);
    if (run->reloads.waiting.len > 0)
        text_printf(&page->text, "# after a restart: %s\n", text_cstr(&run->reloads.waiting));
    page->r = config_dump(run->config, &page->text);
    page->post.run = page_respond;
    loop_post(exchange_loop(page->x), &page->post);
}

static void config_get(struct exchange *x, void *arg)
{
    struct run *run = arg;
    struct page *page = ARENA_NEW(exchange_arena(x), struct page);
    if (!page || failed(arena_on_clear(exchange_arena(x), page_release, page))) {
        exchange_fail(x, ERR_NO_MEMORY, NULL);
        return;
    }
    text_init(&page->text, PAGE_BYTES_MAX);
    page->run = run;
    page->x = x;
    page->post.run = page_make;
    loop_post(process_loop(run->process, 0), &page->post);
}

const struct route config_routes[] = {
    {ROUTE_METHOD(METHOD_GET), ROUTE_EXACT, "/config", "config", config_get, true},
};
const size_t config_routes_len = ARRAY_LEN(config_routes);
