#include "eventrouter/gateway.h"

#include "eventrouter/delivery.h"
#include "eventrouter/forward.h"
#include "eventrouter/gateway_check.h"
#include "eventrouter/metrics.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <string.h>

#define PATIENCE_MS      15000 /* for an Attach to be said, and to be answered */
#define SILENT_INTERVALS 3

/* ---- Attached ---- */

static void send_attached(struct session *s, const Harpoon__Agent__V1__Attached *attached)
{
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
    struct error err;

    m.body_case = HARPOON__AGENT__V1__TO_AGENT__BODY_ATTACHED;
    m.attached = (Harpoon__Agent__V1__Attached *)attached;
    if (session_send(s, &m, &err) == ERR_BUSY) {
        metric_add(M_LAGGING, 1, NULL);
        session_finish(s, "lagging", &err); /* without this one it can do nothing */
    }
}

/* Nothing more is to come on this stream: go to `address`. */
static void send_elsewhere(struct session *s, const char *address)
{
    Harpoon__Agent__V1__Attached m = HARPOON__AGENT__V1__ATTACHED__INIT;

    m.verdict = HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_REDIRECT;
    m.address = (char *)address;
    send_attached(s, &m);
    session_finish(s, "redirect", NULL);
    metric_add(M_ATTACHES, 1, "redirect", NULL);
}

static void send_later(struct router *r, struct session *s, uint32_t generation)
{
    Harpoon__Agent__V1__Attached m = HARPOON__AGENT__V1__ATTACHED__INIT;

    if (!sessions_decide(r->sessions, s, generation, SESSION_LATER, false))
        return; /* it knows */
    m.verdict = HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_LATER;
    m.sample_interval_ms = (uint32_t)r->config->sample_interval_ms;
    send_attached(s, &m);
    metric_add(M_ATTACHES, 1, "later", NULL);
}

void gateway_on_attached(void *ctx, struct session *s, uint32_t generation,
                         const Harpoon__Internal__V1__AttachResult *result)
{
    struct router *r = ctx;
    Harpoon__Agent__V1__Attached m = HARPOON__AGENT__V1__ATTACHED__INIT;
    struct session_view view;

    if (!result) {
        send_later(r, s, generation);
        return;
    }
    if (!sessions_decide(r->sessions, s, generation, result->fenced ? SESSION_FENCED : SESSION_OK,
                         result->compared && !result->fenced))
        return;
    m.verdict = result->fenced ? HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_FENCED
                               : HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_OK;
    m.installation_id = result->installation_id;
    m.orphans = result->orphans;
    m.n_orphans = result->n_orphans;
    m.sample_interval_ms = (uint32_t)r->config->sample_interval_ms;
    send_attached(s, &m);
    metric_add(M_ATTACHES, 1, result->fenced ? "fenced" : "ok", NULL);
    sessions_view(r->sessions, s, &view);
    log_info("hypervisor attached", F_HYPERVISOR(view.hypervisor_id), F_REGION(view.region),
             F_STR("journal_id", view.journal_id), F_U64("session", view.number),
             F_STR("verdict", result->fenced ? "fenced" : "ok"),
             F_BOOL("compared", result->compared), F_U64("orphans", result->n_orphans),
             F_U64("jobs_open", view.jobs_open));
}

/* ---- Attach ---- */

/* Ends a stream whose agent does what it should not. */
static void refuse(struct session *s, const char *reason, const struct error *err)
{
    log_warn("stream refused", F_HYPERVISOR(session_hypervisor(s)), F_STR("reason", reason),
             F_ERROR(err));
    session_finish(s, reason, err);
    metric_add(M_ATTACHES, 1, reason, NULL);
}

/* false: it has been answered. */
static bool is_for_here(struct router *r, struct session *s)
{
    struct session_view view;
    struct error err;

    sessions_view(r->sessions, s, &view);
    struct route to = route_find(&r->table, view.region, view.hypervisor_id);
    if (to.verdict == ROUTE_REFUSE) {
        error_set(&err, ERR_INVALID, "this router is of %s, the certificate of %s", r->table.region,
                  view.region);
        refuse(s, "wrong_region", &err);
        return false;
    }
    if (atomic_load(&r->draining)) {
        const char *other = route_find_other(&r->table, view.hypervisor_id);
        error_set(&err, ERR_UNAVAILABLE, "this router is stopping");
        if (other)
            send_elsewhere(s, other);
        else
            session_finish(s, "draining", &err);
        return false;
    }
    if (to.verdict == ROUTE_REDIRECT)
        send_elsewhere(s, to.address);
    return to.verdict == ROUTE_ACCEPT;
}

static void on_attach(struct router *r, struct session *s, const Harpoon__Agent__V1__Attach *attach)
{
    struct session *replaced = NULL;
    struct error err;
    uint32_t generation = 0;

    if (!is_for_here(r, s))
        return;
    int rc = gateway_check_attach(attach, &err);
    if (rc == 0)
        rc = sessions_attach(r->sessions, s, attach, &replaced, &generation, &err);
    if (rc < 0) {
        refuse(s, rc == ERR_CONFLICT ? "conflict" : "invalid", &err);
        return;
    }
    if (replaced) {
        session_finish(replaced, "replaced",
                       &(struct error){ERR_CONFLICT, "a newer stream has taken its place"});
        session_unref(replaced);
    }
    if (!forward_attach(r->forward, s, generation, attach))
        refuse(s, "flood", &(struct error){ERR_BUSY, "attached too often, not answered yet"});
}

/* ---- what comes after ---- */

static void on_delivered(struct router *r, struct session *s,
                         const Harpoon__Agent__V1__DeliverAnswers *answers)
{
    static const Harpoon__Router__V1__Outcome outcomes[] = {
        [HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_ACCEPTED] =
            HARPOON__ROUTER__V1__OUTCOME__OUTCOME_ACCEPTED,
        [HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_REFUSED] =
            HARPOON__ROUTER__V1__OUTCOME__OUTCOME_REFUSED,
        [HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_FINISHED] =
            HARPOON__ROUTER__V1__OUTCOME__OUTCOME_FINISHED,
    };
    for (size_t i = 0; i < answers->n_answers; i++) {
        const Harpoon__Agent__V1__DeliverAnswer *a = answers->answers[i];
        const struct delivery_said said = {.event_id = a->ref->event_id,
                                           .attempt = a->ref->attempt,
                                           .outcome = outcomes[a->outcome],
                                           .closed = a->closed,
                                           .reason = a->reason};
        deliveries_answer(r->deliveries, session_serial(s), &said);
    }
}

static void on_message(void *ctx, struct rpc_stream *stream, const ProtobufCMessage *in)
{
    struct router *r = ctx;
    struct session *s = rpc_stream_user(stream);
    const Harpoon__Agent__V1__FromAgent *m = (const Harpoon__Agent__V1__FromAgent *)in;
    struct error err;

    if (!s)
        return; /* it was refused when it came */
    enum session_state state = sessions_see(r->sessions, s, mono_ms());
    if (gateway_check_message(m, state != SESSION_OPEN, &err) < 0) {
        refuse(s, "invalid", &err);
        return;
    }
    switch (m->body_case) {
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH:
        on_attach(r, s, m->attach);
        break;
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_DELIVERED:
        on_delivered(r, s, m->delivered);
        break;
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_CONFIRM:
        forward_confirm(r->forward, s, m->confirm);
        break;
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_REPORTS:
        forward_reports(r->forward, s, m->reports);
        break;
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_SAMPLE:
        metric_add(M_SAMPLES, 1, NULL);
        sessions_sample(r->sessions, s, m->sample);
        break;
    case HARPOON__AGENT__V1__FROM_AGENT__BODY__NOT_SET:
    case _HARPOON__AGENT__V1__FROM_AGENT__BODY__CASE_IS_INT_SIZE:
        break; /* checked above */
    }
}

/* ---- coming and going ---- */

static void on_open(void *ctx, struct rpc_stream *stream)
{
    struct router *r = ctx;
    struct session *s;
    struct error err;

    if (sessions_open(r->sessions, stream, mono_ms(), &s, &err) < 0) {
        metric_add(M_ATTACHES, 1, "full", NULL);
        rpc_stream_finish(stream, &err);
        return;
    }
    rpc_stream_set_user(stream, s);
}

static void on_close(void *ctx, struct rpc_stream *stream)
{
    struct router *r = ctx;
    struct session *s = rpc_stream_user(stream);
    struct session_view view;

    if (!s)
        return;
    sessions_close(r->sessions, s, &view);
    deliveries_end_session(r->deliveries, session_serial(s));
    const char *reason = view.end_reason ? view.end_reason : "closed";
    metric_add(M_DETACHED, 1, reason, NULL);
    if (view.state != SESSION_OPEN)
        log_info("hypervisor detached", F_HYPERVISOR(view.hypervisor_id), F_REGION(view.region),
                 F_STR("journal_id", view.journal_id), F_U64("session", view.number),
                 F_STR("reason", reason));
    session_unref(s);
}

void gateway_sweep(struct router *r, int64_t now_mono_ms)
{
    struct session **silent;
    int64_t limit_ms = r->config->sample_interval_ms * SILENT_INTERVALS;
    int64_t patience_ms = limit_ms > PATIENCE_MS ? limit_ms : PATIENCE_MS;
    size_t count =
        sessions_collect(r->sessions, now_mono_ms - limit_ms, now_mono_ms - patience_ms, &silent);
    const struct error err = {ERR_DEADLINE, "nothing was heard for too long"};

    for (size_t i = 0; i < count; i++)
        session_finish(silent[i], "silent", &err);
    sessions_unref_all(silent, count);
}

void gateway_drain(struct router *r, int spread_ms)
{
    struct session **all;

    atomic_store(&r->draining, true);
    size_t count = sessions_collect(r->sessions, INT64_MAX, INT64_MAX, &all);
    for (size_t i = 0; i < count; i++) {
        const char *other = route_find_other(&r->table, session_hypervisor(all[i]));
        Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
        Harpoon__Agent__V1__Drain drain = HARPOON__AGENT__V1__DRAIN__INIT;
        struct error err;
        drain.address = (char *)(other ? other : "");
        drain.delay_ms = (uint32_t)(random_u64() % ((uint64_t)spread_ms + 1));
        m.body_case = HARPOON__AGENT__V1__TO_AGENT__BODY_DRAIN;
        m.drain = &drain;
        if (session_send(all[i], &m, &err) < 0)
            session_finish(all[i], "draining", &err);
    }
    sessions_unref_all(all, count);
}

void gateway_cut(struct router *r)
{
    struct session **all;
    const struct error err = {ERR_UNAVAILABLE, "this router is stopping"};

    atomic_store(&r->draining, true);
    size_t count = sessions_collect(r->sessions, INT64_MAX, INT64_MAX, &all);
    for (size_t i = 0; i < count; i++)
        session_finish(all[i], "draining", &err);
    sessions_unref_all(all, count);
}

static const struct rpc_method methods[] = {
    {.name = "Session",
     .allow = RPC_ROLE_HYPERVISOR,
     .on_open = on_open,
     .on_message = on_message,
     .on_close = on_close},
};

void gateway_init(struct router *r, struct rpc_service *ret)
{
    *ret = (struct rpc_service){&harpoon__agent__v1__agent_gateway__descriptor, methods,
                                ARRAY_LEN(methods), r};
}
