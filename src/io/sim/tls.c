/* The simulator's TLS: a toy that keeps nobody out, with the flights of TLS 1.3, so that
 * what stands above meets the same orders and the same ends.
 *
 *     client                          server
 *     HELLO: name, protocols    ->
 *                               <-    HELLO: certificate, protocol, what is asked
 *     FINISH: certificate       ->
 *                               <-    TICKET, behind the handshake
 *
 * Records have a type and a length in front. Their bytes are masked by a key from both
 * hellos and have a sum behind, so that plain text does not pass for TLS and damage is
 * seen. What stands for PEM is lines of text:
 *
 *     a certificate    name: example.com, issuer: NAME, key: NUMBER, not_after: SECONDS
 *     a key            key: NUMBER
 *     trusted names    ca: NAME
 *
 * `name` may come more than once. A key with `slow: yes` makes its handshakes jobs. */
#include "base/alloc.h"
#include "base/number.h"
#include "io/sim/sim_private.h"
#include "io/tls_engine.h"

#include <stdio.h>

enum toy_type { TOY_TICKET = 0x14, TOY_ALERT = 0x15, TOY_HANDSHAKE = 0x16, TOY_DATA = 0x17 };
enum toy_state { TOY_HELLO, TOY_FINISH, TOY_OPEN };
#define TOY_HEAD 3
#define TOY_SUM 4
#define TOY_MAX (TLS_RECORD_MAX + TOY_SUM)
#define TOY_TEXT_MAX 4096

struct toy_certificate {
    char *path;
    struct text lines;
};

struct toy_context {
    struct tls_context base;
    struct toy_certificate certificates[TLS_CERTIFICATES_MAX];
    size_t certificates_len;
    struct text ca;
    enum tls_client_auth client_auth;
    char alpn[4][32];
    struct tls_tickets *tickets;
};

struct toy_session {
    struct tls_session base;
    enum toy_state state;
    bool started, resumed, ended, peer_given;
    uint64_t mine, theirs; /* chance of the hellos; the mask is their sum */
    uint64_t sent, got;    /* bytes of data, for the mask */
    struct text in;        /* the record that is coming */
    size_t in_taken;       /* of a whole one's data */
    char name[TLS_NAME_MAX], alpn[32], peer[TLS_NAME_MAX];
};

static struct toy_context *toy_context(const struct tls_session *session)
{
    return (struct toy_context *)session->context;
}

static struct toy_session *toy(const struct tls_session *session)
{
    return (struct toy_session *)session;
}

/* ---- lines ------------------------------------------------------------------------------ */

/* The value of the `nth` line with that key, or SPAN_NONE. */
static struct span line_of(struct span text, const char *key, size_t nth)
{
    while (text.ptr && text.len) {
        struct span value = span_cut(&text, '\n');
        struct span name = span_cut(&value, ':');
        if (span_is(span_trim(name), key) && nth-- == 0)
            return span_trim(value);
    }
    return SPAN_NONE;
}

static bool has_line(struct span text, const char *key, struct span wanted)
{
    struct span value;
    for (size_t i = 0; (value = line_of(text, key, i)).ptr; i++)
        if (span_eq_nocase(value, wanted))
            return true;
    return false;
}

static bool good_for(struct span certificate, struct span name)
{
    char any[TLS_NAME_MAX + 2];
    size_t dot = span_find(name, '.');
    snprintf(any, sizeof(any), "*%.*s", SPAN_FMT(span_from(name, dot)));
    return has_line(certificate, "name", name) || has_line(certificate, "name", span_cstr(any));
}

static io_time not_after(struct span certificate)
{
    uint64_t seconds;
    struct span value = line_of(certificate, "not_after", 0);
    return value.ptr && !failed(number_parse_u64(value, &seconds)) ? (io_time)seconds * IO_SEC
                                                                   : INT64_MAX;
}

static void copy_text(char *into, size_t size, struct span text)
{
    size_t len = MIN(text.len, size - 1);
    if (len > 0)
        memcpy(into, text.ptr, len);
    into[len] = '\0';
}

/* ---- contexts ----------------------------------------------------------------------------- */

static result read_lines(struct process *process, const struct tls_pem *pem, struct text *into,
                         struct diag *diag)
{
    text_init(into, TOY_TEXT_MAX);
    if (pem->text.len == 0)
        return file_read(process, pem->path, into, diag);
    text_append(into, pem->text);
    return text_result(into);
}

static result load_pair(struct toy_context *c, const struct tls_options *options, size_t index,
                        struct diag *diag)
{
    const struct tls_certificate *pair = &options->certificates[index];
    struct toy_certificate *certificate = &c->certificates[index];
    const char *path = pair->chain.path ? pair->chain.path : "(given text)";
    c->certificates_len++;
    certificate->path = mem_strdup(path);
    if (!certificate->path)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a TLS context");
    TRY(read_lines(c->base.process, &pair->chain, &certificate->lines, diag));
    struct span lines = text_span(&certificate->lines);
    if (!line_of(lines, "key", 0).ptr)
        return diag_fail(diag, ERR_SYNTAX, "%s: expected a certificate", path);
    if (not_after(lines) <= process_wall(c->base.process) && options->warn)
        options->warn(options->warn_arg, "the certificate has expired");
    struct text key;
    result r = read_lines(c->base.process, &pair->key, &key, diag);
    struct span number = line_of(text_span(&key), "key", 0);
    if (!failed(r) && !span_eq(number, line_of(lines, "key", 0)))
        r = diag_fail(diag, ERR_ARGUMENT, "expected the private key of the certificate %s", path);
    c->base.slow |= line_of(text_span(&key), "slow", 0).ptr != NULL;
    text_release(&key);
    return r;
}

static void context_free(struct tls_context *context)
{
    struct toy_context *c = (struct toy_context *)context;
    for (size_t i = 0; i < c->certificates_len; i++) {
        mem_free(c->certificates[i].path);
        text_release(&c->certificates[i].lines);
    }
    text_release(&c->ca);
    tls_tickets_unref(c->tickets);
    mem_free(c);
}

static result context_fill(struct toy_context *c, const struct tls_options *options,
                           struct diag *diag)
{
    for (size_t i = 0; options->alpn && options->alpn[i] && i < ARRAY_LEN(c->alpn); i++)
        copy_text(c->alpn[i], sizeof(c->alpn[i]), span_cstr(options->alpn[i]));
    for (size_t i = 0; i < options->certificates_len; i++)
        TRY(load_pair(c, options, i, diag));
    text_init(&c->ca, TOY_TEXT_MAX);
    if (options->ca.path || options->ca.text.len)
        TRY(read_lines(c->base.process, &options->ca, &c->ca, diag));
    return OK;
}

static result context_new(struct process *process, const struct tls_options *options,
                          bool is_client, struct tls_context **ret_context, struct diag *diag)
{
    struct toy_context *c = MEM_NEW(struct toy_context); /* as the engine in production */
    if (!c)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for a TLS context");
    c->base = (struct tls_context){.engine = &tls_toy, .process = process, .is_client = is_client};
    ref_init(&c->base.ref);
    c->client_auth = options->client_auth;
    if (options->tickets)
        c->tickets = tls_tickets_ref(options->tickets);
    result r = context_fill(c, options, diag);
    if (failed(r)) {
        context_free(&c->base);
        return r;
    }
    *ret_context = &c->base;
    return OK;
}

static size_t certificates(const struct tls_context *context)
{
    return ((const struct toy_context *)context)->certificates_len;
}

static void certificate_at(const struct tls_context *context, size_t index,
                           struct tls_certificate_info *ret_info)
{
    const struct toy_certificate *certificate =
        &((const struct toy_context *)context)->certificates[index];
    struct span lines = text_span(&certificate->lines);
    *ret_info = (struct tls_certificate_info){certificate->path, "", not_after(lines)};
    copy_text(ret_info->name, sizeof(ret_info->name), line_of(lines, "name", 0));
}

/* The one good for `name`, else the first. */
static struct span own_certificate(const struct toy_context *c, struct span name)
{
    for (size_t i = 0; name.len && i < c->certificates_len; i++)
        if (good_for(text_span(&c->certificates[i].lines), name))
            return text_span(&c->certificates[i].lines);
    return c->certificates_len ? text_span(&c->certificates[0].lines) : SPAN_NONE;
}

/* ---- records -------------------------------------------------------------------------------- */

static void mask(const struct toy_session *s, uint64_t at, uint8_t *bytes, size_t len)
{
    uint64_t key = (s->mine + s->theirs) * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < len; i++)
        bytes[i] ^= (uint8_t)(key >> ((at + i) % 8 * 8)) ^ 0xa5;
}

static uint32_t sum_of(struct span bytes)
{
    uint32_t sum = 0x811c9dc5;
    for (size_t i = 0; i < bytes.len; i++)
        sum = (sum ^ bytes.ptr[i]) * 0x01000193;
    return sum;
}

static void send_record(struct toy_session *s, enum toy_type type, struct span bytes)
{
    uint8_t record[TOY_HEAD + TOY_MAX];
    size_t len = bytes.len + TOY_SUM;
    uint32_t sum = sum_of(bytes);
    record[0] = (uint8_t)type;
    record[1] = (uint8_t)(len >> 8);
    record[2] = (uint8_t)len;
    memcpy(record + TOY_HEAD, bytes.ptr, bytes.len);
    memcpy(record + TOY_HEAD + bytes.len, &sum, TOY_SUM);
    if (type == TOY_DATA) {
        mask(s, s->sent, record + TOY_HEAD, bytes.len);
        s->sent += bytes.len;
    }
    tls_wire_send(&s->base.wire, span_of(record, TOY_HEAD + len));
}

static enum tls_step refuse(struct toy_session *s, enum tls_failure failure, const char *why)
{
    tls_session_fail(&s->base, failure, why);
    send_record(s, TOY_ALERT, SPAN("refused"));
    return TLS_FAILED;
}

static void take(struct toy_session *s, size_t wanted)
{
    struct span *in = &s->base.wire.in;
    struct span bytes = span_first(*in, wanted - s->in.len);
    text_append(&s->in, bytes);
    *in = span_from(*in, bytes.len);
}

/* Collects one record: its body without the sum. An alert is an end. */
static enum tls_step next_record(struct toy_session *s, enum toy_type *ret_type,
                                 struct span *ret_body)
{
    take(s, MAX((size_t)TOY_HEAD, s->in.len));
    if (failed(text_result(&s->in)))
        return refuse(s, TLS_FAILURE_MEMORY, NULL);
    if (s->in.len < TOY_HEAD)
        return TLS_MORE;
    size_t len = (size_t)s->in.ptr[1] << 8 | s->in.ptr[2];
    if (len < TOY_SUM || len > TOY_MAX)
        return refuse(s, TLS_FAILURE_PROTOCOL, "wrong length");
    take(s, TOY_HEAD + len);
    if (failed(text_result(&s->in)))
        return refuse(s, TLS_FAILURE_MEMORY, NULL);
    if (s->in.len < TOY_HEAD + len)
        return TLS_MORE;
    *ret_type = (enum toy_type)s->in.ptr[0];
    if (*ret_type == TOY_DATA) {
        mask(s, s->got, s->in.ptr + TOY_HEAD, len - TOY_SUM);
        s->got += len - TOY_SUM;
    }
    *ret_body = span_of(s->in.ptr + TOY_HEAD, len - TOY_SUM);
    uint32_t sum;
    memcpy(&sum, ret_body->ptr + ret_body->len, TOY_SUM);
    if (sum != sum_of(*ret_body))
        return refuse(s, TLS_FAILURE_PROTOCOL, "wrong sum");
    if (*ret_type != TOY_ALERT)
        return TLS_DONE;
    if (span_is(*ret_body, "close"))
        return TLS_END;
    tls_session_fail(&s->base, TLS_FAILURE_ALERT, "refused");
    return TLS_FAILED;
}

/* ---- handshake ----------------------------------------------------------------------------------
 */

static enum tls_step say(struct toy_session *s, struct text *message)
{
    bool whole = !failed(text_result(message));
    if (whole)
        send_record(s, TOY_HANDSHAKE, text_span(message));
    text_release(message);
    return whole ? TLS_DONE : refuse(s, TLS_FAILURE_MEMORY, NULL);
}

static uint64_t number_in(struct span message, const char *key)
{
    uint64_t value = 0;
    struct span text = line_of(message, key, 0);
    return text.ptr && !failed(number_parse_u64(text, &value)) ? value : 0;
}

static enum tls_step client_hello(struct toy_session *s)
{
    const struct toy_context *c = toy_context(&s->base);
    struct text message;
    text_init(&message, TOY_TEXT_MAX);
    text_printf(&message, "random: %llu\nname: %s\n", (unsigned long long)s->mine, s->name);
    for (size_t i = 0; i < ARRAY_LEN(c->alpn) && c->alpn[i][0]; i++)
        text_printf(&message, "alpn: %s\n", c->alpn[i]);
    return say(s, &message);
}

static enum tls_step server_hello(struct toy_session *s, struct span hello)
{
    const struct toy_context *c = toy_context(&s->base);
    struct text message;
    copy_text(s->name, sizeof(s->name), line_of(hello, "name", 0));
    s->theirs = number_in(hello, "random");
    bool offers = line_of(hello, "alpn", 0).ptr != NULL;
    for (size_t i = 0; i < ARRAY_LEN(c->alpn) && !s->alpn[0]; i++)
        if (c->alpn[i][0] && has_line(hello, "alpn", span_cstr(c->alpn[i])))
            copy_text(s->alpn, sizeof(s->alpn), span_cstr(c->alpn[i]));
    if (offers && c->alpn[0][0] && !s->alpn[0])
        return refuse(s, TLS_FAILURE_PROTOCOL, "no protocol in common");
    text_init(&message, 2 * TOY_TEXT_MAX);
    text_printf(&message, "random: %llu\nalpn: %s\nauth: %d\n", (unsigned long long)s->mine,
                s->alpn, (int)c->client_auth);
    text_append(&message, own_certificate(c, span_cstr(s->name)));
    s->state = TOY_FINISH;
    return say(s, &message);
}

static bool trusted(const struct toy_session *s, struct span certificate)
{
    const struct toy_context *c = toy_context(&s->base);
    return has_line(text_span(&c->ca), "ca", line_of(certificate, "issuer", 0)) &&
           not_after(certificate) > process_wall(c->base.process);
}

static enum tls_step client_finish(struct toy_session *s, struct span hello)
{
    const struct toy_context *c = toy_context(&s->base);
    struct text message;
    s->theirs = number_in(hello, "random");
    copy_text(s->alpn, sizeof(s->alpn), line_of(hello, "alpn", 0));
    copy_text(s->peer, sizeof(s->peer), line_of(hello, "name", 0));
    s->peer_given = true;
    if (!trusted(s, hello) || !good_for(hello, span_cstr(s->name)))
        return refuse(s, TLS_FAILURE_BAD_CERTIFICATE, "not trusted, or for another name");
    text_init(&message, 2 * TOY_TEXT_MAX);
    text_str(&message, "finish: yes\n");
    if (number_in(hello, "auth") != TLS_CLIENT_OFF)
        text_append(&message, own_certificate(c, SPAN_NONE));
    s->state = TOY_OPEN;
    return say(s, &message);
}

static enum tls_step server_finish(struct toy_session *s, struct span finish)
{
    const struct toy_context *c = toy_context(&s->base);
    s->peer_given = line_of(finish, "issuer", 0).ptr != NULL;
    copy_text(s->peer, sizeof(s->peer), line_of(finish, "name", 0));
    if (!s->peer_given && c->client_auth == TLS_CLIENT_REQUIRED)
        return refuse(s, TLS_FAILURE_NO_CERTIFICATE, NULL);
    if (s->peer_given && c->client_auth != TLS_CLIENT_OFF && !trusted(s, finish))
        return refuse(s, TLS_FAILURE_BAD_CERTIFICATE, "not trusted");
    s->state = TOY_OPEN;
    if (c->tickets)
        send_record(s, TOY_TICKET, SPAN("a ticket that no toy uses"));
    return TLS_DONE;
}

static enum tls_step handshake(struct tls_session *session)
{
    struct toy_session *s = toy(session);
    bool is_client = session->context->is_client;
    bool begins = is_client && !s->started;
    s->started = true;
    if (begins && client_hello(s) != TLS_DONE)
        return TLS_FAILED;
    while (s->state != TOY_OPEN) {
        enum toy_type type;
        struct span body;
        enum tls_step step = next_record(s, &type, &body);
        if (step != TLS_DONE)
            return step;
        if (type != TOY_HANDSHAKE)
            return refuse(s, TLS_FAILURE_PROTOCOL, "data before its time");
        step = is_client               ? client_finish(s, body)
               : s->state == TOY_HELLO ? server_hello(s, body)
                                       : server_finish(s, body);
        text_clear(&s->in);
        if (step != TLS_DONE)
            return step;
    }
    return TLS_DONE;
}

/* ---- data
 * ------------------------------------------------------------------------------------------ */

static enum tls_step deliver(struct toy_session *s, struct span_mut into, size_t *ret_len)
{
    size_t len = s->in.len - TOY_HEAD - TOY_SUM - s->in_taken;
    *ret_len = MIN(len, into.len);
    memcpy(into.ptr, s->in.ptr + TOY_HEAD + s->in_taken, *ret_len);
    s->in_taken += *ret_len;
    if (*ret_len == len) {
        text_release(&s->in);
        s->in_taken = 0;
    }
    return TLS_DONE;
}

static bool holds(const struct tls_session *session)
{
    return toy(session)->in_taken > 0;
}

static enum tls_step read_(struct tls_session *session, struct span_mut into, size_t *ret_len)
{
    struct toy_session *s = toy(session);
    if (holds(session))
        return deliver(s, into, ret_len);
    while (true) {
        enum toy_type type;
        struct span body;
        enum tls_step step = next_record(s, &type, &body);
        if (step != TLS_DONE)
            return step;
        if (type == TOY_DATA && body.len > 0)
            return deliver(s, into, ret_len);
        if (type != TOY_DATA && type != TOY_TICKET)
            return refuse(s, TLS_FAILURE_PROTOCOL, "a handshake after the handshake");
        text_clear(&s->in);
    }
}

static enum tls_step write_(struct tls_session *session, struct span bytes)
{
    send_record(toy(session), TOY_DATA, bytes);
    return TLS_DONE;
}

static void end(struct tls_session *session)
{
    send_record(toy(session), TOY_ALERT, SPAN("close"));
}

/* ---- life
 * ------------------------------------------------------------------------------------------- */

static struct tls_session *session_new(struct tls_context *context, const char *name)
{
    struct toy_session *s = MEM_NEW(struct toy_session);
    if (!s)
        return NULL;
    s->mine = process_random_u64(context->process);
    text_init(&s->in, TOY_HEAD + TOY_MAX);
    copy_text(s->name, sizeof(s->name), span_cstr(name));
    return &s->base;
}

static void session_free(struct tls_session *session)
{
    text_release(&toy(session)->in);
    mem_free(session);
}

static void info(const struct tls_session *session, struct tls_info *ret_info)
{
    const struct toy_session *s = toy(session);
    ret_info->version = "toy";
    ret_info->cipher = "toy";
    ret_info->resumed = s->resumed;
    ret_info->peer_given = s->peer_given;
    copy_text(ret_info->alpn, sizeof(ret_info->alpn), span_cstr(s->alpn));
    copy_text(ret_info->server_name, sizeof(ret_info->server_name), span_cstr(s->name));
    copy_text(ret_info->peer_subject, sizeof(ret_info->peer_subject), span_cstr(s->peer));
    copy_text(ret_info->peer_name, sizeof(ret_info->peer_name), span_cstr(s->peer));
}

const struct tls_engine tls_toy = {
    .context_new = context_new,
    .context_free = context_free,
    .certificates = certificates,
    .certificate = certificate_at,
    .session_new = session_new,
    .session_free = session_free,
    .handshake = handshake,
    .read = read_,
    .holds = holds,
    .write = write_,
    .end = end,
    .info = info,
};
