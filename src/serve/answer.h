/* Short answers of both protocols: a text that is copied into the exchange, in its form
 * for errors. */
#pragma once

#include "serve/serve_private.h"

#define JSON_TYPE "application/json"
/* Of an answer that is not a prediction's. */
#define ANSWER_TEXT_MAX ((size_t)1 << 20)

/* Takes what `text` holds and releases it. Ends the exchange. */
void answer_text(struct exchange *x, int status, struct text *text);
/* Ends the exchange with the body that `print` makes of the message, and the headers of
 * net's own errors. `status` 0: the code's. */
void answer_error(struct exchange *x, enum err code, int status, const char *message,
                  void (*print)(struct text *text, struct span message));
