/* scheduler/observe.c: Observe: what routers say of hypervisors, once a second. Every replica takes
 * it in; the leader makes rows for newcomers and stores what changed. A sighting that changes
 * nothing touches no database. */
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "scheduler/answer.h"
#include "scheduler/metrics.h"
#include "scheduler/requests.h"

/* Sightings taken in under one holding of the lock. */
#define RUN 256
/* A hypervisor that is another region's is tried again then. */
#define MAKE_AGAIN_MS 60000
#define ID_MAX        (UINT64_C(1) << 53)

/* What a run of sightings leaves to be written. */
struct run {
    struct region *region;
    struct ticket *ticket; /* NULL: no room for changes, the next sighting finds them again */
    size_t news, old;
};

static void ticket_free(struct ticket *t)
{
    ticket_fini(t);
    free(t);
}

/* ---- newcomers ---- */

static void welcome_locked(struct region *r, const struct newcomer *n, bool committed, bool current)
{
    struct presence *p = liveness_find(r->liveness, n->hypervisor.id);

    if (p) {
        p->making = false;
        p->make_after_mono_ms = committed && !n->ours ? mono_ms() + MAKE_AGAIN_MS : 0;
    }
    if (!committed || !n->ours || !current || fleet_find(r->fleet, n->hypervisor.id) != FLEET_NONE)
        return;
    size_t row = fleet_add(r->fleet, &n->hypervisor);
    if (p)
        region_apply_presence_locked(r, row, p, p->sampled);
}

/* Newcomers join the fleet only now: their row may turn out to be another region's. */
static void on_observed_flushed(struct ticket *t, enum flush_outcome outcome)
{
    struct region *r = t->region;
    bool committed = outcome == FLUSH_COMMITTED;

    pthread_mutex_lock(&r->lock);
    bool current = r->role == REGION_LEADING && r->generation == t->generation;
    for (size_t i = 0; i < t->newcomer_count; i++)
        welcome_locked(r, &t->newcomers[i], committed, current);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; committed && i < t->newcomer_count; i++) {
        hypervisor_id id = t->newcomers[i].hypervisor.id;
        if (t->newcomers[i].ours)
            log_info("hypervisor is new", F_REGION(r->name), F_HYPERVISOR(id.v));
        else
            log_error("hypervisor belongs to another region", F_REGION(r->name),
                      F_HYPERVISOR(id.v));
    }
    ticket_free(t);
}

static void announce_locked(struct run *run, struct presence *p)
{
    struct ticket *t = run->ticket;

    if (!t || p->making || !p->connected || mono_ms() < p->make_after_mono_ms)
        return;
    p->making = true;
    t->newcomers[t->newcomer_count++] = (struct newcomer){
        .hypervisor = {.id = p->id, .status = HYPERVISOR_NEW, .capacity = p->sample.capacity}};
    if (p->compared)
        t->newcomers[t->newcomer_count - 1].hypervisor.journal = p->journal;
}

/* ---- what changed ---- */

static void store_changes_locked(struct run *run, size_t row, const struct presence *p)
{
    struct fleet *f = run->region->fleet;
    struct ticket *t = run->ticket;
    struct fleet_view v;

    if (!t)
        return;
    fleet_view_get(f, row, &v);
    bool journal = p->compared && !uuid_equal(&p->journal, &v.hypervisor.journal);
    bool capacity = p->sampled && !resources_equal(&p->sample.capacity, &v.hypervisor.capacity);
    if (!journal && !capacity)
        return;
    if (journal)
        fleet_set_journal(f, row, &p->journal);
    if (capacity)
        fleet_set_capacity(f, row, &p->sample.capacity);
    fleet_view_get(f, row, &v);
    t->updates[t->update_count++] = v.hypervisor;
}

static void take_in_locked(struct run *run, const struct sighting *s, int64_t now_unix_ms)
{
    struct region *r = run->region;
    struct presence *p = liveness_see(r->liveness, s, mono_ms(), now_unix_ms);
    size_t row;

    if (!p) {
        run->old++;
        return;
    }
    run->news++;
    if (!region_leads_locked(r, mono_ms()))
        return;
    row = fleet_find(r->fleet, s->id);
    if (row == FLEET_NONE) {
        announce_locked(run, p);
        return;
    }
    store_changes_locked(run, row, p);
    region_apply_presence_locked(r, row, p, s->sampled);
}

/* ---- off the wire ---- */

static uint32_t at_most(uint32_t v, uint32_t most)
{
    return v < most ? v : most;
}

static void sample_decode(const Harpoon__Agent__V1__Sample *m, struct sample *ret)
{
    *ret = (struct sample){
        .at_unix_ms = m->at_unix_ms,
        .cpu_permille = m->cpu_permille,
        .steal_permille = m->steal_permille,
        .iowait_permille = m->iowait_permille,
        .memory_pressure_permille = m->memory_pressure_permille,
        .network_bytes_per_s = m->network_bytes_per_s,
        .creates_in_flight = m->creates_in_flight,
        .domains = m->domains,
    };
    if (m->capacity)
        ret->capacity =
            (struct resources){at_most(m->capacity->vcpus, CAPACITY_MAX.vcpus),
                               at_most(m->capacity->memory_mib, CAPACITY_MAX.memory_mib),
                               at_most(m->capacity->disk_gib, CAPACITY_MAX.disk_gib)};
}

/* An average without memory is one over no samples. */
static bool has_sample(const Harpoon__Scheduler__V1__Observed *m)
{
    return m->attached && m->average && m->average->capacity &&
           m->average->capacity->memory_mib > 0;
}

/* false: not a sighting we can use. The end of a session needs no journal. */
static bool sighting_decode(const Harpoon__Scheduler__V1__Observed *m, struct sighting *ret)
{
    struct error ignored;

    *ret = (struct sighting){.id = {m->hypervisor_id},
                             .session = m->session,
                             .attached = m->attached,
                             .compared = m->compared,
                             .sampled = has_sample(m)};
    if (m->hypervisor_id == 0 || m->hypervisor_id >= ID_MAX)
        return false;
    if (ret->sampled)
        sample_decode(m->average, &ret->sample);
    if (uuid_parse(m->journal_id, &ret->journal, &ignored) < 0 || uuid_is_zero(&ret->journal))
        return !m->attached;
    return true;
}

static struct ticket *run_ticket_new(struct scheduler *s, struct region *r)
{
    struct ticket *t;

    if (!flusher_reserve(s->flusher, RUN))
        return NULL;
    t = must_calloc(1, sizeof(*t));
    t->region = r;
    t->done = on_observed_flushed;
    t->cost = RUN;
    t->updates = must_calloc(RUN, sizeof(*t->updates));
    t->newcomers = must_calloc(RUN, sizeof(*t->newcomers));
    return t;
}

/* Takes in at most RUN sightings, and queues what they change. */
static void observe_run(struct scheduler *s, struct region *r, const struct sighting *sightings,
                        size_t count)
{
    struct run run = {.region = r, .ticket = run_ticket_new(s, r)};
    int64_t now = unix_ms();

    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < count; i++)
        take_in_locked(&run, &sightings[i], now);
    bool changed = run.ticket && run.ticket->update_count + run.ticket->newcomer_count > 0;
    if (changed)
        flusher_submit_locked(s->flusher, run.ticket);
    pthread_mutex_unlock(&r->lock);
    if (run.ticket && !changed) {
        flusher_unreserve(s->flusher, RUN);
        ticket_free(run.ticket);
    }
    metric_add(M_SIGHTINGS, (double)run.news, r->name, "news", NULL);
    if (run.old > 0)
        metric_add(M_SIGHTINGS, (double)run.old, r->name, "old", NULL);
}

static void observe_all(struct scheduler *s, struct region *r,
                        const Harpoon__Scheduler__V1__ObserveRequest *q)
{
    struct sighting run[RUN];
    size_t count = 0, unusable = 0;

    for (size_t i = 0; i < q->n_hypervisors; i++) {
        if (!sighting_decode(q->hypervisors[i], &run[count])) {
            unusable++;
            continue;
        }
        if (++count < RUN)
            continue;
        observe_run(s, r, run, count);
        count = 0;
    }
    if (count > 0)
        observe_run(s, r, run, count);
    if (unusable > 0)
        metric_add(M_SIGHTINGS, (double)unusable, r->name, "unusable", NULL);
}

void service_observe(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    const Harpoon__Scheduler__V1__ObserveRequest *q = (const void *)in;
    Harpoon__Scheduler__V1__ObserveReply reply = HARPOON__SCHEDULER__V1__OBSERVE_REPLY__INIT;
    struct scheduler *s = ctx;
    struct error err;
    struct region *r = request_region(s, q->region, &err);

    if (!r || observe_request_check(q, &err) < 0) {
        rpc_fail(call, &err);
        return;
    }
    observe_all(s, r, q);
    rpc_reply(call, &reply.base);
}
