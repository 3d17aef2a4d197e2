#include "eventrouter/deliver.h"

#include "eventrouter/delivery.h"
#include "eventrouter/metrics.h"
#include "eventrouter/sessions.h"
#include "lib/clock.h"
#include "lib/memory.h"

#define TARGETS_MAX 5000  /* of one request */
#define LONGEST_MS  10000 /* when the caller has no deadline */
#define MARGIN_MS   100   /* for the answer's way back, or a quarter of the time that is left */

#define NOT_CONNECTED HARPOON__ROUTER__V1__OUTCOME__OUTCOME_NOT_CONNECTED
#define BUSY          HARPOON__ROUTER__V1__OUTCOME__OUTCOME_BUSY

/* Indexes of a request's targets, those of one hypervisor together, else in order. */
struct order {
    size_t index;
    uint64_t hypervisor_id;
};

static int compare_order(const void *a, const void *b)
{
    const struct order *x = a;
    const struct order *y = b;

    if (x->hypervisor_id != y->hypervisor_id)
        return x->hypervisor_id < y->hypervisor_id ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static size_t run_end(const struct order *order, size_t from, size_t count)
{
    size_t to = from + 1;

    while (to < count && order[to].hypervisor_id == order[from].hypervisor_id)
        to++;
    return to;
}

static void fail(struct rpc_call *call, int code, const char *why)
{
    struct error err;

    error_set(&err, code, "%s", why);
    rpc_fail(call, &err);
}

/* ---- Deliver ---- */

struct delivering {
    struct router *router;
    struct rpc_call *call;
    const Harpoon__Router__V1__DeliverRequest *request; /* the call's */
    int64_t began_mono_ms;
};

static const char *outcome_name(Harpoon__Router__V1__Outcome outcome)
{
    switch (outcome) {
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_ACCEPTED:
        return "accepted";
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_REFUSED:
        return "refused";
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_FINISHED:
        return "finished";
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_NOT_CONNECTED:
        return "not_connected";
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_NO_ANSWER:
        return "no_answer";
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_BUSY:
        return "busy";
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_UNSPECIFIED:
    case _HARPOON__ROUTER__V1__OUTCOME_IS_INT_SIZE:
        break;
    }
    return "unspecified";
}

static void on_done(void *ctx, const struct delivery_answer *answers, size_t count)
{
    struct delivering *d = ctx;
    Harpoon__Router__V1__DeliverReply reply = HARPOON__ROUTER__V1__DELIVER_REPLY__INIT;
    Harpoon__Router__V1__Delivered *rows = must_calloc(count, sizeof(rows[0]));
    Harpoon__Job__V1__Ref *refs = must_calloc(count, sizeof(refs[0]));

    reply.delivered = must_calloc(count, sizeof(reply.delivered[0]));
    reply.n_delivered = count;
    for (size_t i = 0; i < count; i++) {
        const Harpoon__Router__V1__Target *target = d->request->targets[i];
        harpoon__router__v1__delivered__init(&rows[i]);
        harpoon__job__v1__ref__init(&refs[i]);
        refs[i].event_id = target->job->event_id;
        refs[i].attempt = target->job->attempt;
        rows[i].hypervisor_id = target->hypervisor_id;
        rows[i].ref = &refs[i];
        rows[i].outcome = answers[i].outcome;
        rows[i].journal_id = (char *)answers[i].journal_id;
        rows[i].closed = answers[i].closed;
        rows[i].reason = (char *)answers[i].reason;
        reply.delivered[i] = &rows[i];
        metric_add(M_DELIVERED, 1, outcome_name(answers[i].outcome), NULL);
    }
    metric_observe(M_DELIVER_SECONDS, (double)(mono_ms() - d->began_mono_ms) / 1000, NULL);
    rpc_reply(d->call, &reply.base);
    free(reply.delivered);
    free(refs);
    free(rows);
    free(d);
}

/* All of a hypervisor's jobs go in one message. */
static int send_jobs(const struct delivering *d, struct session *s, const struct order *order,
                     size_t count)
{
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
    Harpoon__Agent__V1__Jobs jobs = HARPOON__AGENT__V1__JOBS__INIT;
    struct error err;

    jobs.jobs = must_calloc(count, sizeof(jobs.jobs[0]));
    jobs.n_jobs = count;
    for (size_t i = 0; i < count; i++)
        jobs.jobs[i] = d->request->targets[order[i].index]->job;
    m.body_case = HARPOON__AGENT__V1__TO_AGENT__BODY_DELIVER;
    m.deliver = &jobs;
    int r = session_send(s, &m, &err);
    free(jobs.jobs);
    if (r == ERR_BUSY)
        metric_add(M_LAGGING, 1, NULL);
    return r;
}

static void deliver_run(const struct delivering *d, struct delivery *delivery,
                        const struct order *order, size_t count)
{
    struct deliveries *books = d->router->deliveries;
    struct session_view view = {.state = SESSION_ENDED};
    struct session *s = sessions_find(d->router->sessions, order[0].hypervisor_id, &view);
    int r = s && view.state == SESSION_OK ? 0 : ERR_UNAVAILABLE;

    for (size_t i = 0; r == 0 && i < count; i++) {
        const Harpoon__Job__V1__Job *job = d->request->targets[order[i].index]->job;
        deliveries_await(books, delivery, order[i].index, session_serial(s), view.journal_id,
                         job->event_id, job->attempt);
    }
    if (r == 0)
        r = send_jobs(d, s, order, count);
    for (size_t i = 0; r < 0 && i < count; i++)
        deliveries_settle(books, delivery, order[i].index, r == ERR_BUSY ? BUSY : NOT_CONNECTED);
    if (s)
        session_unref(s);
}

static int check_targets(const Harpoon__Router__V1__DeliverRequest *q, struct error *err)
{
    if (q->n_targets > TARGETS_MAX)
        return error_set(err, ERR_INVALID, "targets: %zu, at most %d", q->n_targets, TARGETS_MAX);
    for (size_t i = 0; i < q->n_targets; i++)
        if (!q->targets[i]->job)
            return error_set(err, ERR_INVALID, "targets[%zu].job: missing", i);
    return 0;
}

/* When to stop waiting for agents, so that the caller still hears what is known. */
static int64_t answer_by(int64_t deadline_mono_ms, int64_t now_mono_ms)
{
    if (deadline_mono_ms == INT64_MAX)
        return now_mono_ms + LONGEST_MS;
    int64_t quarter_ms = (deadline_mono_ms - now_mono_ms) / 4;
    return deadline_mono_ms - (quarter_ms < MARGIN_MS ? quarter_ms : MARGIN_MS);
}

static void on_deliver(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct router *r = ctx;
    const Harpoon__Router__V1__DeliverRequest *q = (const Harpoon__Router__V1__DeliverRequest *)in;
    struct delivery *delivery;
    struct error err;
    int64_t now = mono_ms();
    int rc = check_targets(q, &err);

    if (rc == 0 && rpc_call_deadline_mono_ms(call) <= now)
        rc = error_set(&err, ERR_DEADLINE, "too late");
    struct delivering *d = must_calloc(1, sizeof(*d));
    *d = (struct delivering){r, call, q, now};
    if (rc == 0)
        rc = deliveries_begin(r->deliveries, q->n_targets,
                              answer_by(rpc_call_deadline_mono_ms(call), now), on_done, d,
                              &delivery, &err);
    if (rc < 0) {
        free(d);
        rpc_fail(call, &err);
        return;
    }
    struct order *order = must_calloc(q->n_targets, sizeof(order[0]));
    for (size_t i = 0; i < q->n_targets; i++)
        order[i] = (struct order){i, q->targets[i]->hypervisor_id};
    qsort(order, q->n_targets, sizeof(order[0]), compare_order);
    for (size_t from = 0, to; from < q->n_targets; from = to) {
        to = run_end(order, from, q->n_targets);
        deliver_run(d, delivery, order + from, to - from);
    }
    free(order);
    deliveries_ready(r->deliveries, delivery);
}

/* ---- Begin and Forget ---- */

struct refs_call {
    struct router *router;
    const Harpoon__Router__V1__RefsRequest *request;
    bool start; /* else drop */
    Harpoon__Router__V1__RefSent *results;
};

/* Start needs Harpoon's OK of the session; Drop removes only what is not started. */
static bool may_send(const struct refs_call *c, const struct session_view *view)
{
    return c->start ? view->state == SESSION_OK : view->state != SESSION_OPEN;
}

static int send_refs(const struct refs_call *c, struct session *s, Harpoon__Agent__V1__Refs *refs)
{
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
    struct error err;

    m.body_case = c->start ? HARPOON__AGENT__V1__TO_AGENT__BODY_START
                           : HARPOON__AGENT__V1__TO_AGENT__BODY_DROP;
    m.start = refs; /* the same member of the union as `drop` */
    int r = session_send(s, &m, &err);
    if (r == ERR_BUSY)
        metric_add(M_LAGGING, 1, NULL);
    return r;
}

/* Those of one hypervisor that name its session's journal, in one message. */
static void refs_run(const struct refs_call *c, const struct order *order, size_t count)
{
    struct session_view view;
    struct session *s = sessions_find(c->router->sessions, order[0].hypervisor_id, &view);
    Harpoon__Agent__V1__Refs refs = HARPOON__AGENT__V1__REFS__INIT;
    size_t *of = must_calloc(count, sizeof(of[0])); /* refs[i] is of target of[i] */

    refs.refs = must_calloc(count, sizeof(refs.refs[0]));
    for (size_t i = 0; s && may_send(c, &view) && i < count; i++) {
        const Harpoon__Router__V1__RefTarget *target = c->request->targets[order[i].index];
        if (!target->ref || strcmp(target->journal_id, view.journal_id) != 0)
            continue;
        of[refs.n_refs] = order[i].index;
        refs.refs[refs.n_refs++] = target->ref;
    }
    bool sent = refs.n_refs > 0 && send_refs(c, s, &refs) == 0;
    for (size_t i = 0; i < refs.n_refs; i++)
        c->results[of[i]].sent = sent;
    metric_add(M_REFS, (double)(sent ? refs.n_refs : 0), c->start ? "start" : "drop", "yes", NULL);
    metric_add(M_REFS, (double)(count - (sent ? refs.n_refs : 0)), c->start ? "start" : "drop",
               "no", NULL);
    free(refs.refs);
    free(of);
    if (s)
        session_unref(s);
}

static void refs_reply(struct rpc_call *call, const struct refs_call *c)
{
    Harpoon__Router__V1__RefsReply reply = HARPOON__ROUTER__V1__REFS_REPLY__INIT;

    reply.n_results = c->request->n_targets;
    reply.results = must_calloc(reply.n_results, sizeof(reply.results[0]));
    for (size_t i = 0; i < reply.n_results; i++)
        reply.results[i] = &c->results[i];
    rpc_reply(call, &reply.base);
    free(reply.results);
}

static void on_refs(struct router *r, struct rpc_call *call, const ProtobufCMessage *in, bool start)
{
    struct refs_call c = {r, (const Harpoon__Router__V1__RefsRequest *)in, start, NULL};
    size_t count = c.request->n_targets;

    if (count > TARGETS_MAX) {
        fail(call, ERR_INVALID, "targets: too many");
        return;
    }
    struct order *order = must_calloc(count, sizeof(order[0]));
    c.results = must_calloc(count, sizeof(c.results[0]));
    for (size_t i = 0; i < count; i++) {
        harpoon__router__v1__ref_sent__init(&c.results[i]);
        order[i] = (struct order){i, c.request->targets[i]->hypervisor_id};
    }
    qsort(order, count, sizeof(order[0]), compare_order);
    for (size_t from = 0, to; from < count; from = to) {
        to = run_end(order, from, count);
        refs_run(&c, order + from, to - from);
    }
    refs_reply(call, &c);
    free(c.results);
    free(order);
}

static void on_begin(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    on_refs(ctx, call, in, true);
}

static void on_forget(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    on_refs(ctx, call, in, false);
}

/* ---- Sessions ---- */

static void fill_info(struct router *r, struct session *s, const struct session_view *view,
                      Harpoon__Router__V1__SessionInfo *ret)
{
    harpoon__router__v1__session_info__init(ret);
    ret->hypervisor_id = view->hypervisor_id;
    ret->region = (char *)r->table.region;
    ret->journal_id = (char *)view->journal_id;
    ret->session = view->number;
    ret->attached_unix_ms = view->attached_unix_ms;
    ret->seen_unix_ms = view->seen_unix_ms;
    ret->verdict = (char *)session_state_name(view->state);
    ret->jobs_open = view->jobs_open;
    ret->queued = (uint32_t)session_queued(s);
}

static void on_sessions(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct router *r = ctx;
    const Harpoon__Router__V1__SessionsRequest *q =
        (const Harpoon__Router__V1__SessionsRequest *)in;
    Harpoon__Router__V1__SessionsReply reply = HARPOON__ROUTER__V1__SESSIONS_REPLY__INIT;
    struct session **all = NULL;
    bool ours = !*q->region || strcmp(q->region, r->table.region) == 0;
    size_t count = ours ? sessions_collect(r->sessions, INT64_MAX, INT64_MAX, &all) : 0;
    struct session_view *views = must_calloc(count, sizeof(views[0]));
    Harpoon__Router__V1__SessionInfo *infos = must_calloc(count, sizeof(infos[0]));

    reply.sessions = must_calloc(count, sizeof(reply.sessions[0]));
    for (size_t i = 0; i < count; i++) {
        sessions_view(r->sessions, all[i], &views[i]);
        fill_info(r, all[i], &views[i], &infos[i]);
        reply.sessions[reply.n_sessions++] = &infos[i];
    }
    reply.router = r->config->name;
    reply.region = (char *)r->table.region;
    rpc_reply(call, &reply.base);
    free(reply.sessions);
    free(infos);
    free(views);
    sessions_unref_all(all, count);
}

static const struct rpc_method methods[] = {
    {.name = "Deliver", .allow = RPC_ROLE_HARPOON, .unary = on_deliver},
    {.name = "Begin", .allow = RPC_ROLE_HARPOON, .unary = on_begin},
    {.name = "Forget", .allow = RPC_ROLE_HARPOON, .unary = on_forget},
    {.name = "Sessions", .allow = RPC_ROLE_HARPOON | RPC_ROLE_OPERATOR, .unary = on_sessions},
};

void deliver_init(struct router *r, struct rpc_service *ret)
{
    *ret = (struct rpc_service){&harpoon__router__v1__router__descriptor, methods,
                                ARRAY_LEN(methods), r};
}
