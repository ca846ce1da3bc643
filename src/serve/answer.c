#include "serve/answer.h"

void answer_text(struct exchange *x, int status, struct text *text)
{
    bool whole = !failed(text_result(text));
    const char *copy = whole ? arena_copy(exchange_arena(x), text_span(text)) : NULL;
    size_t len = text->len;
    text_release(text);
    if (copy)
        exchange_respond(x, status, JSON_TYPE, span_of(copy, len));
    else
        exchange_fail(x, ERR_NO_MEMORY, NULL);
}

void answer_error(struct exchange *x, enum err code, int status, const char *message,
                  void (*print)(struct text *text, struct span message))
{
    struct text text;
    text_init(&text, ANSWER_TEXT_MAX);
    print(&text, span_cstr(message));
    exchange_add_reason(x, code, NULL);
    answer_text(x, status ? status : err_http(code), &text);
}
