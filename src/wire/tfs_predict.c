/* The two passes over a predict request. Failures carry no text here: tfs_explain finds
 * the one that upstream would have given.
 *
 * Where the elements of `instances` are objects, an input's elements lie scattered over
 * the text, a part in each object; both passes take the parts in order, and the shape of
 * the first is that of all.
 */
#include "wire/tfs_private.h"

struct scan {
    struct json_reader r;
    struct tfs_predict *predict;
    struct json_tensor *found; /* one per port: rows, the parts summed up */
    uint64_t seen;             /* ports that the present object has named */
};

/* Inputs that a mask of names can hold; more need a larger mask. */
#define PORTS_MAX 64

/* The port of that name, or -1. `hint`: the likely one, as objects mostly have their keys
 * in one order. */
static int port_of(const struct weir_port *ports, int n, const struct json_string *name, int hint)
{
    for (int i = 0; i < n; i++) {
        int port = (hint + i) % n;
        if (json_string_is(name, span_cstr(ports[port].name)))
            return port;
    }
    return -1;
}

bool tfs_is_bytes(struct json_reader r)
{
    struct json_string name;
    bool first = true, more;

    json_enter(&r);
    if (failed(json_member(&r, &first, &name, &more)) || !more ||
        !json_string_is(&name, SPAN("b64")) || json_peek(&r) != JSON_STRING)
        return false;
    return !failed(json_read_string(&r, &name)) && !failed(json_member(&r, &first, &name, &more)) &&
           !more;
}

/* Whether the value at the place is an object that names inputs. */
static bool is_named_object(struct json_reader r)
{
    return json_peek(&r) == JSON_OBJECT && !tfs_is_bytes(r);
}

/* ---- first pass ---- */

/* One part of an input: its shape must be that of the first. */
static result scan_part(struct scan *s, int port, int64_t row)
{
    struct json_tensor *all = &s->found[port], part;

    TRY(json_tensor_scan(&s->r, &part, NULL));
    TRY(json_tensor_type(&part, s->predict->ports[port].type, NULL));
    if (row == 0) {
        *all = part;
        return OK;
    }
    if (part.rank != all->rank ||
        memcmp(part.shape, all->shape, (size_t)part.rank * sizeof(part.shape[0])) != 0)
        return fail(ERR_SHAPE);
    all->elements += part.elements;
    all->string_bytes += part.string_bytes;
    return OK;
}

static result scan_instance(struct scan *s, int64_t row)
{
    struct json_string name;
    bool first = true, more;
    int n = s->predict->ports_len, port = -1;

    json_peek(&s->r);
    if (!is_named_object(s->r))
        return fail(ERR_TYPE);
    json_enter(&s->r);
    for (s->seen = 0;;) {
        TRY(json_member(&s->r, &first, &name, &more));
        if (!more)
            break;
        port = port_of(s->predict->ports, n, &name, (port + 1) % n);
        if (port < 0 || (s->seen >> port & 1))
            return fail(ERR_ARGUMENT);
        s->seen |= (uint64_t)1 << port;
        TRY(scan_part(s, port, row));
    }
    return __builtin_popcountll(s->seen) == n ? OK : fail(ERR_ARGUMENT);
}

/* Puts the number of rows in front of each shape. */
static result prepend_rows(struct scan *s, int64_t rows)
{
    for (int i = 0; i < s->predict->ports_len; i++) {
        struct json_tensor *t = &s->found[i];
        if (t->rank == WEIR_RANK_MAX)
            return fail(ERR_SHAPE);
        memmove(t->shape + 1, t->shape, (size_t)t->rank * sizeof(t->shape[0]));
        t->shape[0] = rows;
        t->rank++;
    }
    return OK;
}

static result scan_instances(struct scan *s)
{
    struct tfs_predict *p = s->predict;
    struct json_reader inside = s->r;
    bool first = true, more;
    int64_t rows = 0;

    if (json_peek(&s->r) != JSON_ARRAY)
        return fail(ERR_TYPE);
    inside = s->r;
    json_enter(&inside);
    json_peek(&inside);
    p->objects = is_named_object(inside);
    if (!p->objects) {
        if (p->ports_len != 1)
            return fail(ERR_ARGUMENT);
        TRY(scan_part(s, 0, 0));
        return s->found[0].shape[0] > 0 ? OK : fail(ERR_ARGUMENT);
    }
    json_enter(&s->r);
    for (;; rows++) {
        TRY(json_element(&s->r, &first, &more));
        if (!more)
            break;
        TRY(scan_instance(s, rows));
    }
    return prepend_rows(s, rows);
}

static result scan_inputs(struct scan *s)
{
    struct tfs_predict *p = s->predict;
    struct json_string name;
    bool first = true, more;
    int port = -1;

    json_peek(&s->r);
    p->objects = is_named_object(s->r);
    if (!p->objects)
        return p->ports_len == 1 ? scan_part(s, 0, 0) : fail(ERR_ARGUMENT);
    json_enter(&s->r);
    for (s->seen = 0;;) {
        TRY(json_member(&s->r, &first, &name, &more));
        if (!more)
            break;
        int hint = (port + 1) % p->ports_len;
        int named = port_of(p->ports, p->ports_len, &name, hint);
        if (named < 0 || (s->seen >> named & 1)) {
            TRY(json_skip_value(&s->r));
            continue;
        }
        port = named;
        s->seen |= (uint64_t)1 << port;
        TRY(scan_part(s, port, 0));
    }
    return __builtin_popcountll(s->seen) == p->ports_len ? OK : fail(ERR_ARGUMENT);
}

static result scan_signature(struct scan *s)
{
    struct json_string name;

    if (json_peek(&s->r) != JSON_STRING)
        return fail(ERR_TYPE);
    TRY(json_read_string(&s->r, &name));
    return name.len == 0 || json_string_is(&name, SPAN(TFS_SIGNATURE)) ? OK : fail(ERR_ARGUMENT);
}

/* The document up to its '}'; what follows is not looked at. */
static result scan_document(struct scan *s)
{
    bool first = true, more, signature = false, instances = false, inputs = false;
    struct json_string name;

    if (json_peek(&s->r) != JSON_OBJECT)
        return fail(ERR_TYPE);
    json_enter(&s->r);
    for (;;) {
        TRY(json_member(&s->r, &first, &name, &more));
        if (!more)
            break;
        json_peek(&s->r);
        size_t at = s->r.at;
        if (!signature && json_string_is(&name, SPAN("signature_name"))) {
            signature = true;
            TRY(scan_signature(s));
        } else if (!instances && json_string_is(&name, SPAN("instances"))) {
            instances = true;
            s->predict->data_at = at;
            TRY(inputs ? fail(ERR_ARGUMENT) : scan_instances(s));
        } else if (!inputs && json_string_is(&name, SPAN("inputs"))) {
            inputs = true;
            s->predict->data_at = at;
            TRY(instances ? fail(ERR_ARGUMENT) : scan_inputs(s));
        } else {
            TRY(json_skip_value(&s->r));
        }
    }
    s->predict->rows = instances;
    return instances || inputs ? OK : fail(ERR_ARGUMENT);
}

static result make_plans(const struct scan *s, struct tensor_plan *plans)
{
    for (int i = 0; i < s->predict->ports_len; i++) {
        const struct json_tensor *t = &s->found[i];
        struct tensor_plan *plan = &plans[i];
        plan->type = s->predict->ports[i].type;
        plan->rank = t->rank;
        memcpy(plan->shape, t->shape, sizeof(plan->shape));
        plan->elements = t->elements;
        TRY(json_tensor_bytes(t, plan->type, &plan->bytes));
    }
    return OK;
}

result tfs_predict_scan(struct span body, const struct weir_port *ports, int ports_len,
                        struct arena *arena, struct tfs_predict *ret_predict, struct diag *diag)
{
    struct tfs_predict predict = {.body = body, .ports = ports, .ports_len = ports_len};
    struct scan s = {.r = json_reader_of(body, TFS_DIALECT), .predict = &predict};

    if (ports_len < 1 || ports_len > PORTS_MAX)
        return diag_fail(diag, ERR_UNSUPPORTED, "expected a model with 1 to %d inputs, got %d",
                         PORTS_MAX, ports_len);
    s.found = arena_zalloc(arena, (size_t)ports_len, sizeof(*s.found));
    predict.inputs = arena_zalloc(arena, (size_t)ports_len, sizeof(*predict.inputs));
    if (!s.found || !predict.inputs)
        return diag_fail(diag, ERR_NO_MEMORY, "no memory for the plan of a request");
    result r = scan_document(&s);
    if (!failed(r))
        r = make_plans(&s, predict.inputs);
    if (failed(r))
        return tfs_explain(body, ports, ports_len, r, diag);
    *ret_predict = predict;
    return OK;
}

/* ---- second pass ---- */

/* Sinks are kept for blocks of inputs, a walk over the text each: one, for all but
 * models with very many inputs. */
#define SINKS_MAX 16

struct fill {
    struct json_reader r;
    const struct tfs_predict *predict;
    struct json_sink sinks[SINKS_MAX];
    int from, n; /* the ports of this walk */
    uint64_t seen;
};

static result fill_part(struct fill *f, int port)
{
    const struct tensor_plan *plan = &f->predict->inputs[port];
    bool part = f->predict->rows && f->predict->objects;

    return json_tensor_fill(&f->r, plan->rank - part, plan->shape + part, &f->sinks[port - f->from],
                            NULL);
}

/* The members of one object, of which each input's first counts. */
static result fill_object(struct fill *f)
{
    const struct tfs_predict *p = f->predict;
    struct json_string name;
    bool first = true, more;
    int port = -1;

    if (json_peek(&f->r) != JSON_OBJECT)
        return fail(ERR_TYPE);
    json_enter(&f->r);
    for (f->seen = 0;;) {
        TRY(json_member(&f->r, &first, &name, &more));
        if (!more)
            return OK;
        int named = port_of(p->ports, p->ports_len, &name, (port + 1) % p->ports_len);
        if (named < 0 || named < f->from || named >= f->from + f->n || (f->seen >> named & 1)) {
            TRY(json_skip_value(&f->r));
            continue;
        }
        port = named;
        f->seen |= (uint64_t)1 << port;
        TRY(fill_part(f, port));
    }
}

static result fill_walk(struct fill *f)
{
    bool first = true, more;

    f->r = json_reader_of(f->predict->body, TFS_DIALECT);
    f->r.at = f->predict->data_at;
    if (!f->predict->objects)
        return fill_part(f, 0);
    if (!f->predict->rows)
        return fill_object(f);
    json_peek(&f->r);
    json_enter(&f->r);
    for (;;) {
        TRY(json_element(&f->r, &first, &more));
        if (!more)
            return OK;
        TRY(fill_object(f));
    }
}

static result fill_all(const struct tfs_predict *p, const struct tensor_space *spaces)
{
    struct fill f = {.predict = p};

    for (f.from = 0; f.from < p->ports_len; f.from += SINKS_MAX) {
        f.n = MIN(p->ports_len - f.from, SINKS_MAX);
        for (int i = 0; i < f.n; i++)
            f.sinks[i] = json_sink_of(&p->inputs[f.from + i], &spaces[f.from + i], true);
        TRY(fill_walk(&f));
        for (int i = 0; i < f.n; i++)
            if (f.sinks[i].elements != p->inputs[f.from + i].elements)
                return fail(ERR_SHAPE);
    }
    return OK;
}

result tfs_predict_fill(const struct tfs_predict *predict, const struct tensor_space *spaces,
                        struct diag *diag)
{
    result r = fill_all(predict, spaces);

    if (!failed(r))
        return OK;
    return tfs_explain(predict->body, predict->ports, predict->ports_len, r, diag);
}
