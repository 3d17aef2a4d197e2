/* scheduler/hypervisors.c: what operators see of hypervisors and decide about them, by way of
 * Harpoon. */
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "scheduler/answer.h"
#include "scheduler/rank/filters.h"
#include "scheduler/requests.h"

#include <stdlib.h>

#define LIST_DEFAULT 1000
#define LIST_MAX     20000

typedef Harpoon__Scheduler__V1__Hypervisor hypervisor_message;

/* ---- SetStatus ---- */

struct status_call {
    struct ticket ticket; /* first: done() gets it */
    struct rpc_call *call;
    uint64_t *changed, *unknown;
    size_t changed_count, unknown_count;
    enum hypervisor_status status;
};

static void status_call_free(struct status_call *c)
{
    ticket_fini(&c->ticket);
    free(c->changed);
    free(c->unknown);
    free(c);
}

static void reply_status_set(struct rpc_call *call, struct status_call *c, struct elsewhere *e)
{
    Harpoon__Scheduler__V1__SetStatusReply reply = HARPOON__SCHEDULER__V1__SET_STATUS_REPLY__INIT;

    reply.leader = e ? &e->message : NULL;
    if (c) {
        reply.n_changed_ids = c->changed_count;
        reply.changed_ids = c->changed;
        reply.n_unknown_ids = c->unknown_count;
        reply.unknown_ids = c->unknown;
    }
    rpc_reply(call, &reply.base);
}

static void on_status_flushed(struct ticket *t, enum flush_outcome outcome)
{
    struct status_call *c = (struct status_call *)t;
    struct elsewhere e;

    switch (outcome) {
    case FLUSH_COMMITTED:
        log_info("status of hypervisors set", F_REGION(t->region->name), F_U64("status", c->status),
                 F_U64("hypervisors", c->changed_count));
        reply_status_set(c->call, c, NULL);
        break;
    case FLUSH_FAILED:
        answer_uncommitted(c->call);
        break;
    case FLUSH_NOT_LEADER:
        elsewhere_get(t->region, &e);
        reply_status_set(c->call, NULL, &e);
        break;
    }
    status_call_free(c);
}

static void set_status_locked(struct status_call *c, size_t row)
{
    struct fleet *f = c->ticket.region->fleet;
    struct fleet_view v;

    fleet_view_get(f, row, &v);
    if (v.hypervisor.status == c->status || !hypervisor_status_may(v.hypervisor.status, c->status))
        return;
    fleet_set_status(f, row, c->status);
    fleet_view_get(f, row, &v);
    c->ticket.updates[c->ticket.update_count++] = v.hypervisor;
    c->changed[c->changed_count++] = v.hypervisor.id.v;
}

static void set_all_new_locked(struct status_call *c)
{
    struct fleet *f = c->ticket.region->fleet;
    struct fleet_view v;

    for (size_t row = 0; row < fleet_size(f); row++) {
        fleet_view_get(f, row, &v);
        if (v.hypervisor.status == HYPERVISOR_NEW)
            set_status_locked(c, row);
    }
}

static void set_listed_locked(struct status_call *c,
                              const Harpoon__Scheduler__V1__SetStatusRequest *q)
{
    struct fleet *f = c->ticket.region->fleet;

    for (size_t i = 0; i < q->n_hypervisor_ids; i++) {
        size_t row = fleet_find(f, (hypervisor_id){q->hypervisor_ids[i]});
        if (row == FLEET_NONE)
            c->unknown[c->unknown_count++] = q->hypervisor_ids[i];
        else
            set_status_locked(c, row);
    }
}

/* The values of both are those of the wire. */
static enum hypervisor_status status_decode(Harpoon__Scheduler__V1__HypervisorStatus status)
{
    return (enum hypervisor_status)status;
}

/* Changes and queues under the lock. 0: done, 1: elsewhere, ERR_BUSY: no room. */
static int set_or_elsewhere(struct scheduler *s, struct status_call *c,
                            const Harpoon__Scheduler__V1__SetStatusRequest *q,
                            struct elsewhere *ret)
{
    struct region *r = c->ticket.region;

    LOCK_SCOPE(&r->lock);
    if (!region_leads_locked(r, mono_ms())) {
        elsewhere_get_locked(r, ret);
        return 1;
    }
    size_t most = q->all_new ? fleet_size(r->fleet) : q->n_hypervisor_ids;
    if (!flusher_reserve(s->flusher, most + 1))
        return ERR_BUSY;
    c->ticket.cost = most + 1;
    c->ticket.updates = must_calloc(most, sizeof(*c->ticket.updates));
    c->changed = must_calloc(most, sizeof(*c->changed));
    c->unknown = must_calloc(most, sizeof(*c->unknown));
    if (q->all_new)
        set_all_new_locked(c);
    else
        set_listed_locked(c, q);
    flusher_submit_locked(s->flusher, &c->ticket);
    return 0;
}

void service_set_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    const Harpoon__Scheduler__V1__SetStatusRequest *q = (const void *)in;
    struct scheduler *s = ctx;
    struct elsewhere e;
    struct error err;
    struct region *r = request_region(s, q->region, &err);

    if (!r || set_status_request_check(q, &err) < 0) {
        rpc_fail(call, &err);
        return;
    }
    struct status_call *c = must_calloc(1, sizeof(*c));
    c->ticket = (struct ticket){.region = r, .done = on_status_flushed};
    c->call = call;
    c->status = status_decode(q->status);
    int outcome = set_or_elsewhere(s, c, q, &e);
    if (outcome == 0)
        return;
    status_call_free(c);
    if (outcome > 0)
        reply_status_set(call, NULL, &e);
    else
        answer_error(call, ERR_BUSY, "too many changes wait for their commit");
}

/* ---- ListHypervisors ---- */

struct listed {
    struct fleet_view view;
    const char *because; /* not placeable, or "" */
    const char *region;
    int64_t seen_unix_ms;
    bool sampled;
    struct sample sample;
};

struct list {
    struct listed *rows;
    size_t count;
};

static const char *why_not_placeable(const struct fleet *f, size_t row, const struct fleet_view *v)
{
    const struct choose_request nothing = {0};

    switch (v->hypervisor.status) {
    case HYPERVISOR_NEW:
        return "not approved yet";
    case HYPERVISOR_DRAINED:
        return "drained";
    case HYPERVISOR_FENCED:
        return "fenced";
    case HYPERVISOR_UP:
        break;
    }
    enum filter_id refused = filters_find_refusal(f, row, &nothing);
    return refused < FILTER_COUNT ? filters[refused].name : "";
}

static void list_row_locked(struct region *r, size_t row, struct listed *ret)
{
    struct presence *p;

    *ret = (struct listed){.region = r->name};
    fleet_view_get(r->fleet, row, &ret->view);
    ret->because = why_not_placeable(r->fleet, row, &ret->view);
    p = liveness_find(r->liveness, ret->view.hypervisor.id);
    if (p) {
        ret->seen_unix_ms = p->seen_unix_ms;
        ret->sampled = p->sampled;
        ret->sample = p->sample;
    }
}

/* Adds the region's hypervisors beyond `after_id`. false: it is not led here. */
static bool list_region(struct region *r, uint64_t after_id, struct list *list,
                        struct elsewhere *ret)
{
    struct fleet_view v;

    LOCK_SCOPE(&r->lock);
    if (!region_leads_locked(r, mono_ms())) {
        elsewhere_get_locked(r, ret);
        return false;
    }
    size_t most = list->count + fleet_size(r->fleet);
    list->rows = must_resize(list->rows, most, sizeof(*list->rows));
    for (size_t row = 0; row < fleet_size(r->fleet); row++) {
        fleet_view_get(r->fleet, row, &v);
        if (v.hypervisor.id.v > after_id)
            list_row_locked(r, row, &list->rows[list->count++]);
    }
    return true;
}

static int compare_listed(const void *a, const void *b)
{
    uint64_t x = ((const struct listed *)a)->view.hypervisor.id.v;
    uint64_t y = ((const struct listed *)b)->view.hypervisor.id.v;

    return x < y ? -1 : x > y;
}

struct listed_message {
    hypervisor_message message;
    Harpoon__Scheduler__V1__Resources capacity, claimed;
    Harpoon__Agent__V1__Sample sample;
    Harpoon__Agent__V1__Capacity sampled_capacity;
    char journal[UUID_TEXT];
};

static void resources_encode(const struct resources *r, Harpoon__Scheduler__V1__Resources *ret)
{
    harpoon__scheduler__v1__resources__init(ret);
    ret->vcpus = r->vcpus;
    ret->memory_mib = r->memory_mib;
    ret->disk_gib = r->disk_gib;
}

static void sample_encode(const struct sample *s, struct listed_message *ret)
{
    harpoon__agent__v1__sample__init(&ret->sample);
    harpoon__agent__v1__capacity__init(&ret->sampled_capacity);
    ret->sample.at_unix_ms = s->at_unix_ms;
    ret->sample.cpu_permille = s->cpu_permille;
    ret->sample.steal_permille = s->steal_permille;
    ret->sample.iowait_permille = s->iowait_permille;
    ret->sample.memory_pressure_permille = s->memory_pressure_permille;
    ret->sample.network_bytes_per_s = s->network_bytes_per_s;
    ret->sample.creates_in_flight = s->creates_in_flight;
    ret->sample.domains = s->domains;
    ret->sampled_capacity.vcpus = s->capacity.vcpus;
    ret->sampled_capacity.memory_mib = s->capacity.memory_mib;
    ret->sampled_capacity.disk_gib = s->capacity.disk_gib;
    ret->sample.capacity = &ret->sampled_capacity;
    ret->message.sample = &ret->sample;
}

static void listed_encode(const struct listed *l, struct listed_message *ret)
{
    const struct hypervisor *h = &l->view.hypervisor;

    harpoon__scheduler__v1__hypervisor__init(&ret->message);
    resources_encode(&h->capacity, &ret->capacity);
    resources_encode(&l->view.claimed, &ret->claimed);
    if (!uuid_is_zero(&h->journal)) {
        uuid_format(&h->journal, ret->journal);
        ret->message.journal_id = ret->journal;
    }
    ret->message.id = h->id.v;
    ret->message.region = (char *)l->region;
    ret->message.status = (Harpoon__Scheduler__V1__HypervisorStatus)h->status;
    ret->message.connected = l->view.session;
    ret->message.capacity = &ret->capacity;
    ret->message.claimed = &ret->claimed;
    ret->message.claims = l->view.claims;
    ret->message.seen_unix_ms = l->seen_unix_ms;
    ret->message.not_placeable_because = (char *)l->because;
    if (l->sampled)
        sample_encode(&l->sample, ret);
}

static void reply_list(struct rpc_call *call, const struct list *list, size_t limit)
{
    Harpoon__Scheduler__V1__ListHypervisorsReply reply =
        HARPOON__SCHEDULER__V1__LIST_HYPERVISORS_REPLY__INIT;
    size_t count = list->count < limit ? list->count : limit;
    struct listed_message *messages = must_calloc(count, sizeof(*messages));
    hypervisor_message **pointers = must_calloc(count, sizeof(*pointers));

    for (size_t i = 0; i < count; i++) {
        listed_encode(&list->rows[i], &messages[i]);
        pointers[i] = &messages[i].message;
    }
    reply.n_hypervisors = count;
    reply.hypervisors = pointers;
    rpc_reply(call, &reply.base);
    free(pointers);
    free(messages);
}

static void reply_list_elsewhere(struct rpc_call *call, struct elsewhere *e)
{
    Harpoon__Scheduler__V1__ListHypervisorsReply reply =
        HARPOON__SCHEDULER__V1__LIST_HYPERVISORS_REPLY__INIT;

    reply.leader = &e->message;
    rpc_reply(call, &reply.base);
}

void service_list_hypervisors(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    const Harpoon__Scheduler__V1__ListHypervisorsRequest *q = (const void *)in;
    size_t limit = q->limit == 0 ? LIST_DEFAULT : q->limit < LIST_MAX ? q->limit : LIST_MAX;
    struct scheduler *s = ctx;
    struct list list = {0};
    struct elsewhere e;
    struct error err;

    if (q->region[0] != '\0') {
        struct region *r = request_region(s, q->region, &err);
        if (!r) {
            rpc_fail(call, &err);
            return;
        }
        if (!list_region(r, q->after_id, &list, &e)) {
            reply_list_elsewhere(call, &e);
            return;
        }
    } else {
        for (size_t i = 0; i < s->regions.count; i++)
            (void)list_region(&s->regions.list[i], q->after_id, &list, &e);
    }
    if (list.count > 1)
        qsort(list.rows, list.count, sizeof(*list.rows), compare_listed);
    reply_list(call, &list, limit);
    free(list.rows);
}
