/* scheduler/place.c: Place and Release: decided at once in memory, answered after the commit. */
#include "lib/clock.h"
#include "lib/memory.h"
#include "scheduler/answer.h"
#include "scheduler/metrics.h"
#include "scheduler/rank/decide.h"
#include "scheduler/requests.h"

#include <stdlib.h>

#define REASON_SIZE 320

/* ---- Place ---- */

struct place_call {
    struct ticket ticket; /* first: done() gets it */
    struct rpc_call *call;
    struct placement *placements;
    size_t count;
    uint32_t dark_permille;
};

static void place_call_free(struct place_call *p)
{
    ticket_fini(&p->ticket);
    free(p->placements);
    free(p);
}

static Harpoon__Scheduler__V1__Placement__Outcome outcome_on_wire(enum place_outcome outcome)
{
    switch (outcome) {
    case PLACED:
        return HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_PLACED;
    case PLACE_NO_ROOM:
        return HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_NO_ROOM;
    case PLACE_STALE:
        return HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_STALE;
    }
    return HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_UNSPECIFIED;
}

struct placement_message {
    Harpoon__Scheduler__V1__Placement message;
    char reason[REASON_SIZE];
};

static void placement_encode(const struct placement *p, struct placement_message *ret)
{
    harpoon__scheduler__v1__placement__init(&ret->message);
    ret->message.outcome = outcome_on_wire(p->outcome);
    ret->message.hypervisor_id = p->hypervisor.v;
    if (p->outcome == PLACE_NO_ROOM) {
        choice_format_reason(&p->choice, ret->reason, sizeof(ret->reason));
        ret->message.reason = ret->reason;
    }
}

static void reply_placed(struct place_call *p)
{
    Harpoon__Scheduler__V1__PlaceReply reply = HARPOON__SCHEDULER__V1__PLACE_REPLY__INIT;
    struct placement_message *messages = must_calloc(p->count, sizeof(*messages));
    Harpoon__Scheduler__V1__Placement **list = must_calloc(p->count, sizeof(*list));

    for (size_t i = 0; i < p->count; i++) {
        placement_encode(&p->placements[i], &messages[i]);
        list[i] = &messages[i].message;
    }
    reply.n_placements = p->count;
    reply.placements = list;
    reply.region_dark_permille = p->dark_permille;
    rpc_reply(p->call, &reply.base);
    free(messages);
    free(list);
}

static void reply_place_elsewhere(struct rpc_call *call, struct elsewhere *e)
{
    Harpoon__Scheduler__V1__PlaceReply reply = HARPOON__SCHEDULER__V1__PLACE_REPLY__INIT;

    reply.leader = &e->message;
    rpc_reply(call, &reply.base);
}

static void on_place_flushed(struct ticket *t, enum flush_outcome outcome)
{
    struct place_call *p = (struct place_call *)t;
    struct elsewhere e;

    switch (outcome) {
    case FLUSH_COMMITTED:
        reply_placed(p);
        break;
    case FLUSH_FAILED:
        answer_uncommitted(p->call);
        break;
    case FLUSH_NOT_LEADER:
        elsewhere_get(t->region, &e);
        reply_place_elsewhere(p->call, &e);
        break;
    }
    place_call_free(p);
}

static struct place_request place_request_of(const Harpoon__Scheduler__V1__PlaceItem *item)
{
    return (struct place_request){
        .event = {item->event_id},
        .attempt = item->attempt,
        .droplet = {item->droplet_id},
        .choose = {.size = {item->size->vcpus, item->size->memory_mib, item->size->disk_gib},
                   .pinned = {item->pinned_hypervisor_id},
                   .excluded = item->excluded_hypervisor_ids,
                   .excluded_count = item->n_excluded_hypervisor_ids},
    };
}

static void decide_locked(struct place_call *p, const Harpoon__Scheduler__V1__PlaceRequest *q)
{
    struct region *r = p->ticket.region;
    int64_t now = unix_ms();

    for (size_t i = 0; i < p->count; i++) {
        struct place_request request = place_request_of(q->items[i]);
        fleet_place(r->fleet, &request, now, &p->ticket.changes, &p->placements[i]);
    }
    /* A later item of the same batch may have been a higher attempt of the same event. */
    for (size_t i = 0; i < p->count; i++) {
        event_id event = {q->items[i]->event_id};
        if (p->placements[i].outcome == PLACED &&
            !claims_find(fleet_claims(r->fleet), event, q->items[i]->attempt))
            p->placements[i] = (struct placement){.outcome = PLACE_STALE};
    }
    r->decisions += p->count;
    p->dark_permille = fleet_dark_permille(r->fleet);
}

#define OUTCOMES (PLACE_STALE + 1)

static void count_outcomes(const struct place_call *p, size_t counts[OUTCOMES])
{
    for (size_t i = 0; i < p->count; i++)
        counts[p->placements[i].outcome]++;
}

static void report_outcomes(const char *region, const size_t counts[OUTCOMES], int64_t took_us)
{
    static const char *const names[OUTCOMES] = {
        [PLACED] = "placed", [PLACE_NO_ROOM] = "no_room", [PLACE_STALE] = "stale"};

    metric_observe(M_DECISION_SECONDS, (double)took_us / 1e6, region, NULL);
    for (int i = 0; i < OUTCOMES; i++)
        if (counts[i] > 0)
            metric_add(M_DECISIONS, (double)counts[i], region, names[i], NULL);
}

static struct place_call *place_call_new(struct rpc_call *call, struct region *region, size_t count)
{
    struct place_call *p = must_calloc(1, sizeof(*p));

    p->ticket = (struct ticket){.region = region, .done = on_place_flushed, .cost = count + 1};
    p->call = call;
    p->count = count;
    p->placements = must_calloc(count, sizeof(*p->placements));
    return p;
}

/* Decides and queues: `p` is then the flusher's. false: another replica leads, *ret says which. */
static bool place_or_elsewhere(struct scheduler *s, struct place_call *p,
                               const Harpoon__Scheduler__V1__PlaceRequest *q, struct elsewhere *ret)
{
    struct region *r = p->ticket.region;
    size_t counts[OUTCOMES] = {0};
    int64_t began = mono_us();

    pthread_mutex_lock(&r->lock);
    bool leads = region_leads_locked(r, mono_ms());
    if (leads) {
        decide_locked(p, q);
        count_outcomes(p, counts);
        flusher_submit_locked(s->flusher, &p->ticket);
    } else {
        elsewhere_get_locked(r, ret);
    }
    pthread_mutex_unlock(&r->lock);
    if (leads)
        report_outcomes(r->name, counts, mono_us() - began);
    return leads;
}

void service_place(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    const Harpoon__Scheduler__V1__PlaceRequest *q = (const void *)in;
    struct scheduler *s = ctx;
    struct elsewhere e;
    struct error err;
    struct region *r = request_region(s, q->region, &err);

    if (!r || place_request_check(q, &err) < 0) {
        rpc_fail(call, &err);
        return;
    }
    if (rpc_call_deadline_mono_ms(call) <= mono_ms()) {
        answer_error(call, ERR_DEADLINE, "nobody waits for the answer any more");
        return;
    }
    if (!reserve_or_answer(s, call, q->n_items + 1))
        return;
    struct place_call *p = place_call_new(call, r, q->n_items);
    if (place_or_elsewhere(s, p, q, &e))
        return;
    flusher_unreserve(s->flusher, p->ticket.cost);
    place_call_free(p);
    reply_place_elsewhere(call, &e);
}

/* ---- Release ---- */

struct release_call {
    struct ticket ticket; /* first: done() gets it */
    struct rpc_call *call;
};

static void reply_released(struct rpc_call *call, struct elsewhere *e)
{
    Harpoon__Scheduler__V1__ReleaseReply reply = HARPOON__SCHEDULER__V1__RELEASE_REPLY__INIT;

    reply.leader = e ? &e->message : NULL;
    rpc_reply(call, &reply.base);
}

static void on_release_flushed(struct ticket *t, enum flush_outcome outcome)
{
    struct release_call *c = (struct release_call *)t;
    struct elsewhere e;

    switch (outcome) {
    case FLUSH_COMMITTED:
        reply_released(c->call, NULL);
        break;
    case FLUSH_FAILED:
        answer_uncommitted(c->call);
        break;
    case FLUSH_NOT_LEADER:
        elsewhere_get(t->region, &e);
        reply_released(c->call, &e);
        break;
    }
    ticket_fini(t);
    free(c);
}

static size_t release_item_locked(struct release_call *c,
                                  const Harpoon__Scheduler__V1__ReleaseItem *item)
{
    struct fleet *f = c->ticket.region->fleet;
    event_id event = {item->event_id};
    droplet_id droplet = {item->droplet_id};

    if (item->event_id)
        return fleet_release_claim(f, event, item->attempt, &c->ticket.changes);
    return fleet_release_droplet(f, droplet, &c->ticket.changes);
}

/* As place_or_elsewhere. */
static bool release_or_elsewhere(struct scheduler *s, struct release_call *c,
                                 const Harpoon__Scheduler__V1__ReleaseRequest *q,
                                 struct elsewhere *ret)
{
    struct region *r = c->ticket.region;
    size_t released = 0;

    pthread_mutex_lock(&r->lock);
    bool leads = region_leads_locked(r, mono_ms());
    if (leads) {
        for (size_t i = 0; i < q->n_items; i++)
            released += release_item_locked(c, q->items[i]);
        flusher_submit_locked(s->flusher, &c->ticket);
    } else {
        elsewhere_get_locked(r, ret);
    }
    pthread_mutex_unlock(&r->lock);
    if (released > 0)
        metric_add(M_RELEASED, (double)released, r->name, "harpoon", NULL);
    return leads;
}

void service_release(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    const Harpoon__Scheduler__V1__ReleaseRequest *q = (const void *)in;
    struct scheduler *s = ctx;
    struct elsewhere e;
    struct error err;
    struct region *r = request_region(s, q->region, &err);

    if (!r || release_request_check(q, &err) < 0) {
        rpc_fail(call, &err);
        return;
    }
    if (!reserve_or_answer(s, call, q->n_items + 1))
        return;
    struct release_call *c = must_calloc(1, sizeof(*c));
    c->ticket = (struct ticket){.region = r, .done = on_release_flushed, .cost = q->n_items + 1};
    c->call = call;
    if (release_or_elsewhere(s, c, q, &e))
        return;
    flusher_unreserve(s->flusher, c->ticket.cost);
    free(c);
    reply_released(call, &e);
}
