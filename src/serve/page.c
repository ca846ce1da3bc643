/* `GET /`: what is served, for people. HTML for a browser, plain text for curl. */
#include "serve/serve_private.h"

#include "wire/tensor.h"

#include <stdio.h>

#define PAGE_MAX ((size_t)1 << 20)
/* Examples with more numbers than this are left to the reader. */
#define EXAMPLE_ELEMENTS_MAX 256

static const char *state_name(enum model_state state)
{
    switch (state) {
    case MODEL_START:
        return "waiting";
    case MODEL_LOADING:
        return "loading";
    case MODEL_AVAILABLE:
        return "available";
    case MODEL_UNLOADING:
        return "unloading";
    case MODEL_END:
        return "not available";
    }
    return "unknown";
}

/* ---- examples ---- */

static const char *example_element(weir_type type)
{
    switch (type.code) {
    case WEIR_FLOAT:
    case WEIR_BFLOAT:
        return "0.0";
    case WEIR_BOOL:
        return "false";
    case WEIR_STRING:
        return "\"text\"";
    default:
        return "0";
    }
}

/* Nested arrays of the port's shape from dimension `from` on, "any" being 1. */
static void example_tensor(struct text *out, const struct weir_port *port, int from)
{
    if (from >= port->rank) {
        text_str(out, example_element(port->type));
        return;
    }
    int64_t extent = port->shape[from] < 0 ? 1 : port->shape[from];
    text_byte(out, '[');
    for (int64_t i = 0; i < extent; i++) {
        if (i)
            text_byte(out, ',');
        example_tensor(out, port, from + 1);
    }
    text_byte(out, ']');
}

static bool example_fits(const struct weir_model_info *info)
{
    uint64_t total = 0;
    for (int i = 0; i < info->inputs_len; i++) {
        const struct weir_port *port = &info->inputs[i];
        uint64_t elements = 1;
        if (port->rank < 0)
            return false;
        for (int d = 0; d < port->rank && elements <= EXAMPLE_ELEMENTS_MAX; d++)
            elements *= port->shape[d] < 0 ? 1 : (uint64_t)port->shape[d];
        total += elements;
    }
    return total <= EXAMPLE_ELEMENTS_MAX;
}

static void example_body(struct text *out, const struct weir_model_info *info)
{
    if (!example_fits(info)) {
        text_str(out, "{\"inputs\": ...}");
        return;
    }
    text_str(out, "{\"inputs\": {");
    for (int i = 0; i < info->inputs_len; i++) {
        text_printf(out, "%s\"%s\": ", i ? ", " : "", info->inputs[i].name);
        example_tensor(out, &info->inputs[i], 0);
    }
    text_str(out, "}}");
}

static void example_curl(struct text *out, const char *origin, const struct model_version *version)
{
    text_printf(out, "curl -d '");
    example_body(out, version_info(version));
    text_printf(out, "' %s/v1/models/%s:predict", origin, version_model(version));
}

/* ---- pieces of both forms ---- */

static void port_line(struct text *out, const struct weir_port *port)
{
    char shape[128];
    text_printf(out, "%s %s %s", port->name, type_oip_name(port->type),
                shape_format(port->shape, port->rank, shape, sizeof(shape)));
}

static void ports_line(struct text *out, const struct weir_port *ports, int count)
{
    for (int i = 0; i < count; i++) {
        if (i)
            text_str(out, ", ");
        port_line(out, &ports[i]);
    }
}

static void escaped(struct text *out, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = bytes.ptr[i];
        if (byte == '<')
            text_str(out, "&lt;");
        else if (byte == '>')
            text_str(out, "&gt;");
        else if (byte == '&')
            text_str(out, "&amp;");
        else if (byte == '"')
            text_str(out, "&quot;");
        else
            text_byte(out, byte);
    }
}

typedef void (*page_model_fn)(struct text *out, const char *origin,
                              const struct model_version *version);

static void each_model(struct text *out, struct serve *serve, struct exchange *x,
                       page_model_fn print)
{
    struct loop *loop = exchange_loop(x);
    int count = catalog_count(serve->models, loop);
    char origin[192];
    snprintf(origin, sizeof(origin), "%s://%s", exchange_secure(x) ? "https" : "http",
             run_address(serve->run));
    for (int i = 0; i < count; i++)
        print(out, origin, catalog_at(serve->models, loop, i));
}

/* ---- plain text ---- */

static void plain_model(struct text *out, const char *origin, const struct model_version *version)
{
    text_printf(out, "%s, version %lld: %s\n", version_model(version),
                (long long)version_number(version), state_name(version_state(version)));
    if (version_state(version) != MODEL_AVAILABLE) {
        if (version_error(version) != ERR_NONE)
            text_printf(out, "  %s\n", version_error_text(version));
        text_byte(out, '\n');
        return;
    }
    const struct weir_model_info *info = version_info(version);
    text_str(out, "  takes ");
    ports_line(out, info->inputs, info->inputs_len);
    text_str(out, "\n  gives ");
    ports_line(out, info->outputs, info->outputs_len);
    text_str(out, "\n  ");
    example_curl(out, origin, version);
    text_str(out, "\n\n");
}

static void plain_page(struct text *out, struct serve *serve, struct exchange *x)
{
    text_printf(out, "weir serve on %s\n\n", run_address(serve->run));
    each_model(out, serve, x, plain_model);
    text_str(out, "Health: /readyz?verbose  Metrics: /metrics  "
                  "Models: /v1/models/NAME, /v2/models/NAME\n");
}

/* ---- HTML ---- */

static const char page_head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    "<title>weir serve</title><style>"
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}"
    "pre{background:#8881;padding:.8rem;border-radius:.4rem;white-space:pre-wrap;"
    "overflow-wrap:anywhere;font:13px/1.5 ui-monospace,monospace;max-height:12rem;overflow:auto}"
    ".state{font-weight:normal;font-size:.85rem;padding:.1rem .5rem;border-radius:1rem;"
    "background:#2a72;margin-left:.5rem}.bad{background:#c332}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;margin:.3rem 0}"
    "dt{opacity:.7}dd{margin:0}footer{margin-top:3rem;opacity:.8}"
    "</style></head><body>\n";

/* A piece that failed fails the page. */
static void escaped_piece(struct text *out, struct text *piece)
{
    if (piece->error)
        out->error = piece->error;
    escaped(out, text_span(piece));
    text_clear(piece);
}

static void html_model(struct text *out, const char *origin, const struct model_version *version)
{
    bool available = version_state(version) == MODEL_AVAILABLE;
    struct text piece;
    text_init(&piece, PAGE_MAX);
    text_str(out, "<h2>");
    escaped(out, span_cstr(version_model(version)));
    text_printf(out, ", version %lld<span class=\"state%s\">%s</span></h2>\n",
                (long long)version_number(version), available ? "" : " bad",
                state_name(version_state(version)));
    if (available) {
        const struct weir_model_info *info = version_info(version);
        ports_line(&piece, info->inputs, info->inputs_len);
        text_str(out, "<dl><dt>takes</dt><dd>");
        escaped_piece(out, &piece);
        ports_line(&piece, info->outputs, info->outputs_len);
        text_str(out, "</dd><dt>gives</dt><dd>");
        escaped_piece(out, &piece);
        example_curl(&piece, origin, version);
        text_str(out, "</dd></dl><pre>");
    } else {
        text_str(&piece, version_error_text(version));
        text_str(out, "<pre>");
    }
    escaped_piece(out, &piece);
    text_str(out, "</pre>\n");
    text_release(&piece);
}

static void html_page(struct text *out, struct serve *serve, struct exchange *x)
{
    text_str(out, page_head);
    text_printf(out, "<h1>weir serve on %s</h1>\n", run_address(serve->run));
    each_model(out, serve, x, html_model);
    text_str(out, "<footer><a href=\"/readyz?verbose\">health</a> · "
                  "<a href=\"/metrics\">metrics</a></footer></body></html>\n");
}

void page_start(struct exchange *x, void *arg)
{
    struct serve *serve = arg;
    struct span accept = exchange_header(x, SPAN("accept"));
    bool html = span_search(accept, SPAN("text/html")) < accept.len;
    struct text out;
    text_init(&out, PAGE_MAX);
    if (html)
        html_page(&out, serve, x);
    else
        plain_page(&out, serve, x);
    const char *copy =
        failed(text_result(&out)) ? NULL : arena_copy(exchange_arena(x), text_span(&out));
    size_t len = out.len;
    text_release(&out);
    if (copy)
        exchange_respond(x, 200, html ? "text/html; charset=utf-8" : "text/plain; charset=utf-8",
                         span_of(copy, len));
    else
        exchange_fail(x, ERR_NO_MEMORY, "the page is too long; see /v2/models/NAME");
}
