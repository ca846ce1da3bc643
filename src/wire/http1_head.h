/* What a head means: first lines and the fields that frame and route a message.
 *
 * Pure functions over views of the head's bytes. Private to http1.
 */
#pragma once

#include "wire/http1.h"

/* Why a message is refused; `status` 0 when it is not. */
struct h1_fault {
    uint16_t status;
    const char *reason; /* static */
};

/* RFC 9110 §5.6.2 */
bool h1_tchar(uint8_t c);

/* `line` without its CRLF. Fills method, target with its parts, minor; or status,
 * reason, minor. */
struct h1_fault h1_request_line(struct span line, struct h1_head *head);
struct h1_fault h1_status_line(struct span line, struct h1_head *head);
/* "PRI * HTTP/2.0" (RFC 9113 §3.4) */
bool h1_preface_line(struct span line);

/* Identifies the fields in `head->headers` and trims their values, then works out
 * everything in `head` that comes from them. 417 leaves `head` complete. */
struct h1_fault h1_request_fields(struct h1_head *head);
/* `request_method`: of the request it answers. Faults have status 502. */
struct h1_fault h1_response_fields(struct h1_head *head, enum http_method request_method);
/* Refuses fields that frame or route (see http1.h). */
struct h1_fault h1_trailer_fields(struct h1_head *head);
