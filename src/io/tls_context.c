/* What TLS contexts are whatever the engine, tickets' keys, and words for failures. */
#include "base/alloc.h"
#include "io/ops.h"
#include "io/tls_engine.h"

/* ---- contexts ---------------------------------------------------------------------- */

static result check_options(const struct tls_options *options, struct diag *diag)
{
    bool ca = options->ca.path || options->ca.text.len;
    if (options->certificates_len > TLS_CERTIFICATES_MAX)
        return diag_fail(diag, ERR_RANGE, "expected at most %d certificates, got %zu",
                         TLS_CERTIFICATES_MAX, options->certificates_len);
    if (options->client_auth != TLS_CLIENT_OFF && !ca)
        return diag_fail(diag, ERR_ARGUMENT,
                         "clients are to be verified: expected a file of the certificates that "
                         "may sign theirs, got none");
    return OK;
}

static result context_new(struct process *process, const struct tls_options *options,
                          bool is_client, struct tls_context **ret_context, struct diag *diag)
{
    TRY(check_options(options, diag));
    return process->ops->tls->context_new(process, options, is_client, ret_context, diag);
}

result tls_server_new(struct process *process, const struct tls_options *options,
                      struct tls_context **ret_context, struct diag *diag)
{
    if (options->certificates_len == 0)
        return diag_fail(diag, ERR_ARGUMENT, "expected a certificate and its key, got none");
    return context_new(process, options, false, ret_context, diag);
}

result tls_client_new(struct process *process, const struct tls_options *options,
                      struct tls_context **ret_context, struct diag *diag)
{
    return context_new(process, options, true, ret_context, diag);
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    ref_get(&context->ref);
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context && ref_put(&context->ref))
        context->engine->context_free(context);
}

size_t tls_context_certificates(const struct tls_context *context)
{
    return context->engine->certificates(context);
}

void tls_context_certificate(const struct tls_context *context, size_t index,
                             struct tls_certificate_info *ret_info)
{
    context->engine->certificate(context, index, ret_info);
}

const char *tls_failure_label(enum tls_failure failure)
{
    static const char *const labels[] = {
#define X(name, label, code, text) label,
        TLS_FAILURE_TABLE(X)
#undef X
    };
    return labels[failure];
}

const char *tls_failure_text(enum tls_failure failure)
{
    static const char *const texts[] = {
#define X(name, label, code, text) text,
        TLS_FAILURE_TABLE(X)
#undef X
    };
    return texts[failure];
}

/* ---- tickets ----------------------------------------------------------------------- */

struct tls_tickets {
    struct ref ref;
    struct process *process;
    struct io_lock lock; /* of what follows */
    struct tls_ticket_key now, before;
    bool has_before;
};

static void key_make(struct process *process, struct tls_ticket_key *ret_key)
{
    process_random(process, (struct span_mut){ret_key->name, sizeof(ret_key->name)});
    process_random(process, (struct span_mut){ret_key->cipher, sizeof(ret_key->cipher)});
    process_random(process, (struct span_mut){ret_key->mac, sizeof(ret_key->mac)});
    ret_key->made_at = process_clock(process);
}

struct tls_tickets *tls_tickets_new(struct process *process)
{
    struct tls_tickets *tickets = MEM_NEW(struct tls_tickets);
    if (!tickets)
        return NULL;
    ref_init(&tickets->ref);
    io_lock_init(&tickets->lock, process);
    tickets->process = process;
    key_make(process, &tickets->now);
    return tickets;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets)
{
    ref_get(&tickets->ref);
    return tickets;
}

void tls_tickets_unref(struct tls_tickets *tickets)
{
    if (!tickets || !ref_put(&tickets->ref))
        return;
    explicit_bzero(tickets, sizeof(*tickets));
    mem_free(tickets);
}

static bool over(const struct tls_ticket_key *key, io_time now, io_time period)
{
    return now - key->made_at >= period;
}

void tls_tickets_seal(struct tls_tickets *tickets, struct tls_ticket_key *ret_key)
{
    io_time now = process_clock(tickets->process);
    io_lock_take(&tickets->lock);
    *ret_key = tickets->now;
    io_lock_give(&tickets->lock);
    if (!over(ret_key, now, TLS_TICKET_PERIOD))
        return;
    struct tls_ticket_key fresh;
    key_make(tickets->process, &fresh);
    io_lock_take(&tickets->lock);
    if (over(&tickets->now, now, TLS_TICKET_PERIOD)) { /* nobody else was faster */
        tickets->before = tickets->now;
        tickets->has_before = true;
        tickets->now = fresh;
    }
    *ret_key = tickets->now;
    io_lock_give(&tickets->lock);
    explicit_bzero(&fresh, sizeof(fresh));
}

bool tls_tickets_open(struct tls_tickets *tickets, const uint8_t name[16],
                      struct tls_ticket_key *ret_key, bool *ret_renew)
{
    io_time now = process_clock(tickets->process);
    io_lock_take(&tickets->lock);
    bool is_now = memcmp(tickets->now.name, name, sizeof(tickets->now.name)) == 0;
    bool is_before = !is_now && tickets->has_before &&
                     memcmp(tickets->before.name, name, sizeof(tickets->before.name)) == 0;
    if (is_now || is_before)
        *ret_key = is_now ? tickets->now : tickets->before;
    io_lock_give(&tickets->lock);
    if ((!is_now && !is_before) || over(ret_key, now, 2 * TLS_TICKET_PERIOD))
        return false;
    *ret_renew = over(ret_key, now, TLS_TICKET_PERIOD);
    return true;
}
