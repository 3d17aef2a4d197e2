/* One hypervisor: its agent's journal in memory and on disk, its driver, and the domains
 * themselves, which are the truth. */
#include "tests/simulation/world.h"

#include <string.h>

#define CONFIRM_AFTER_MS 10000
#define FAILS_PERMILLE   100

static struct uuid new_journal_id(struct world *w)
{
    struct uuid id = {{0}};
    uint64_t n = ++w->lives;

    memcpy(id.b, &n, sizeof n);
    return id;
}

void host_init(struct world *w, unsigned host)
{
    struct host *h = &w->hosts[host];
    struct hypervisor hypervisor = {.id = {host},
                                    .status = HYPERVISOR_UP,
                                    .capacity = {3, 3 * 1024, 100}};
    size_t row = fleet_add(w->fleet, &hypervisor);

    fleet_set_session(w->fleet, row, true, true);
    *h = (struct host){.up = true, .connected = true, .life = ++w->lives};
    h->memory.id = h->disk.id = new_journal_id(w);
    world_send(w, NOTE_HOST_TICK, 50 * host)->who = host;
}

static bool is_attached(const struct host *h)
{
    return h->up && h->connected && !h->fenced;
}

static void write_journal(struct host *h)
{
    h->disk = h->memory;
}

static struct entry *find_entry(struct host *h, uint64_t event)
{
    for (size_t i = 0; i < ENTRIES; i++)
        if (h->memory.entries[i].used && h->memory.entries[i].event == event)
            return &h->memory.entries[i];
    return NULL;
}

static struct entry *add_entry(struct world *w, struct host *h, const struct event *row)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &h->memory.entries[i];
        if (e->used)
            continue;
        *e = (struct entry){.used = true,
                            .event = row->id.v,
                            .droplet = row->droplet.v,
                            .kind = row->type == EVENT_CREATE ? JOB_CREATE : JOB_DESTROY};
        return e;
    }
    world_fail(w, "a journal is full");
    return &h->memory.entries[0];
}

/* ---- one step of an entry ---- */

static void report(struct world *w, unsigned host, const struct entry *e)
{
    struct host *h = &w->hosts[host];
    struct note *n;

    if (!is_attached(h) || world_chance(w, 50))
        return;
    n = world_send(w, NOTE_REPORT,
                   (int64_t)(1 + world_random(w, world_chance(w, 50) ? 90000 : 100)));
    n->who = host;
    n->row.id.v = e->event;
    n->row.attempt = e->attempt;
    n->journal = h->memory.id;
    n->input = e->state == JOB_SUCCEEDED ? IN_SUCCEEDED
               : e->state == JOB_CLOSED  ? IN_CLOSED
                                         : IN_RUNNING;
}

static void ask_driver(struct world *w, unsigned host, struct entry *e);

static struct job_step advance(struct world *w, unsigned host, struct entry *e, enum job_input in)
{
    struct host *h = &w->hosts[host];
    struct job_step step = job_step(e->kind, e->state, in);
    bool changed = step.next != e->state;

    if (changed) {
        world_tell(w, "host %u: event %llu attempt %u: %s, %s -> %s", host,
                   (unsigned long long)e->event, e->attempt, job_input_name(in),
                   job_state_name(e->state), job_state_name(step.next));
        e->ack = JOB_TO_REPORT;
    }
    e->state = step.next;
    if (step.effects & JOB_DO_ACKNOWLEDGE)
        e->ack = JOB_ACKNOWLEDGED;
    if (step.effects & JOB_DO_ORPHAN)
        e->ack = JOB_ORPHAN;
    if (step.effects & JOB_DO_WRITE)
        write_journal(h);
    if (step.effects & JOB_DO_REPORT)
        report(w, host, e);
    if (changed || step.effects & JOB_DO_PAUSE)
        ask_driver(w, host, e);
    return step;
}

/* A destroy closes, durably, whatever else there is of its droplet, before it looks for the domain.
 */
static void close_others(struct world *w, unsigned host, const struct entry *destroy)
{
    struct host *h = &w->hosts[host];

    if (w->mistake == MISTAKE_DESTROY_LEAVES_OTHERS)
        return;
    h->memory.barred[destroy->droplet] = true;
    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &h->memory.entries[i];
        if (e->used && e != destroy && e->droplet == destroy->droplet && e->kind == JOB_CREATE)
            (void)advance(w, host, e, JOB_IN_DESTROYED);
    }
    write_journal(h);
}

/* ---- the driver ---- */

static void ask_driver(struct world *w, unsigned host, struct entry *e)
{
    enum job_want want = job_wants(e->kind, e->state, e->ack);
    struct note *n;

    if (want == JOB_WANTS_NOTHING)
        return;
    if (want == JOB_WANTS_DESTROY)
        close_others(w, host, e);
    n = world_send(w, NOTE_DRIVER_ACTS, (int64_t)(10 + world_random(w, 3000)));
    n->who = host;
    n->life = w->hosts[host].life;
    n->row.id.v = e->event;
    n->row.attempt = e->attempt;
    n->want = want;
}

static enum job_input act(struct world *w, struct host *h, const struct entry *e,
                          enum job_want want)
{
    struct domain *d = &h->domains[e->droplet];
    bool ours = d->event == e->event && d->attempt == e->attempt;

    if (want == JOB_WANTS_DESTROY) {
        d->event = 0;
    } else if (want == JOB_WANTS_UNDO) {
        if (ours)
            d->event = 0;
    } else if (d->event != 0 && !ours) {
        return JOB_IN_CONFLICT;
    } else {
        if (world_chance(w, FAILS_PERMILLE))
            return JOB_IN_FAILED;
        *d = (struct domain){.event = e->event, .attempt = e->attempt};
    }
    return JOB_IN_DONE;
}

static void driver_acts(struct world *w, const struct note *n)
{
    struct host *h = &w->hosts[n->who];
    struct entry *e = find_entry(h, n->row.id.v);
    struct note *done;

    /* One operation a droplet at a time; what is not wanted any more is not begun. */
    if (e == NULL || e->attempt != n->row.attempt ||
        job_wants(e->kind, e->state, e->ack) != n->want)
        return;
    if (h->busy[e->droplet]) {
        struct note again = *n;
        struct note *later = world_send(w, NOTE_DRIVER_ACTS, 50);
        again.at = later->at;
        again.order = later->order;
        *later = again;
        return;
    }
    h->busy[e->droplet] = true;
    done = world_send(w, NOTE_DRIVER_ANSWERS, (int64_t)(1 + world_random(w, 500)));
    done->who = n->who;
    done->life = n->life;
    done->row = n->row;
    done->row.droplet.v = e->droplet;
    done->want = n->want;
    done->job_input = act(w, h, e, n->want);
    world_tell(w, "host %u: driver %s droplet %llu (%llu, %u)", n->who,
               n->want == JOB_WANTS_CREATE ? "creates"
               : n->want == JOB_WANTS_UNDO ? "undoes"
                                           : "destroys",
               (unsigned long long)e->droplet, (unsigned long long)e->event, e->attempt);
}

static void driver_answers(struct world *w, const struct note *n)
{
    struct host *h = &w->hosts[n->who];
    struct entry *e = find_entry(h, n->row.id.v);

    h->busy[n->row.droplet.v] = false;
    if (e != NULL && e->attempt == n->row.attempt &&
        job_wants(e->kind, e->state, e->ack) == n->want)
        (void)advance(w, n->who, e, n->job_input);
}

/* ---- what Harpoon says ---- */

static void on_deliver(struct world *w, const struct note *n)
{
    struct host *h = &w->hosts[n->who];
    struct entry *e = find_entry(h, n->row.id.v);
    bool barred = n->row.type == EVENT_CREATE && h->memory.barred[n->row.droplet.v];
    enum job_state state = e != NULL ? e->state : JOB_NONE;
    enum job_kind kind = n->row.type == EVENT_CREATE ? JOB_CREATE : JOB_DESTROY;
    enum job_input in = job_delivery(state, e != NULL ? e->attempt : 0, n->row.attempt, barred);
    struct job_step step = job_step(kind, state, in);
    struct note *reply;

    if (step.effects & JOB_DO_TAKE) {
        if (e == NULL)
            e = add_entry(w, h, &n->row);
        e->attempt = n->row.attempt;
        e->accepted_at = w->now;
    }
    if (e != NULL)
        (void)advance(w, n->who, e, in);
    if (world_chance(w, 50))
        return;
    reply = world_send(w, NOTE_DELIVERED, (int64_t)(1 + world_random(w, 100)));
    reply->flow = n->flow;
    reply->flow_life = n->flow_life;
    reply->journal = h->memory.id;
    reply->input = step.effects & (JOB_DO_ACCEPT | JOB_DO_FINISHED) ? IN_DELIVERED
                   : step.effects & JOB_DO_REFUSE_CLOSED            ? IN_CLOSED
                                                                    : IN_REFUSED;
}

static void on_word(struct world *w, const struct note *n, enum job_input in)
{
    struct host *h = &w->hosts[n->who];
    struct entry *e = find_entry(h, n->row.id.v);

    if (e != NULL && e->attempt == n->row.attempt && uuid_equal(&n->journal, &h->memory.id))
        (void)advance(w, n->who, e, in);
}

void host_on_note(struct world *w, const struct note *n)
{
    struct host *h = &w->hosts[n->who];

    if (n->kind == NOTE_DRIVER_ACTS || n->kind == NOTE_DRIVER_ANSWERS) {
        if (!h->up || n->life != h->life)
            return; /* it died with the agent */
        if (n->kind == NOTE_DRIVER_ACTS)
            driver_acts(w, n);
        else
            driver_answers(w, n);
    } else if (!is_attached(h)) {
        return;
    } else if (n->kind == NOTE_DELIVER) {
        on_deliver(w, n);
    } else if (n->kind == NOTE_START) {
        on_word(w, n, JOB_IN_START);
    } else if (n->kind == NOTE_DROP) {
        on_word(w, n, JOB_IN_DROP);
    } else {
        on_word(w, n, n->job_input);
    }
}

/* ---- the agent's own clock ---- */

static void confirm(struct world *w, unsigned host, const struct entry *e)
{
    struct note *n = world_send(w, NOTE_CONFIRM, (int64_t)(1 + world_random(w, 100)));

    n->who = host;
    n->row.id.v = e->event;
    n->row.attempt = e->attempt;
    n->journal = w->hosts[host].memory.id;
}

void host_tick(struct world *w, unsigned host)
{
    struct host *h = &w->hosts[host];

    world_send(w, NOTE_HOST_TICK, (int64_t)(2000 + world_random(w, 2000)))->who = host;
    fleet_set_session(w->fleet, fleet_find(w->fleet, (hypervisor_id){host}), is_attached(h), true);
    if (!is_attached(h))
        return;
    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &h->memory.entries[i];
        if (!e->used)
            continue;
        if (e->state == JOB_ACCEPTED && w->now - e->accepted_at >= CONFIRM_AFTER_MS)
            confirm(w, host, e);
        else if (e->ack == JOB_TO_REPORT &&
                 (e->state == JOB_BEGUN || e->state == JOB_SUCCEEDED || e->state == JOB_CLOSED))
            report(w, host, e);
        if (job_wants(e->kind, e->state, e->ack) != JOB_WANTS_NOTHING && !h->busy[e->droplet])
            ask_driver(w, host, e); /* resumed after a crash, or tried again */
    }
}

/* ---- faults ---- */

void host_crash(struct world *w, unsigned host)
{
    struct host *h = &w->hosts[host];

    world_tell(w, "host %u: agent crashes", host);
    h->up = false;
    h->life = ++w->lives;
    h->memory = h->disk;
    memset(h->busy, 0, sizeof h->busy);
    /* Its domain exists although nothing says that it was begun: the note was lost. */
    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &h->memory.entries[i];
        const struct domain *d = &h->domains[e->droplet];
        if (e->used && e->kind == JOB_CREATE && e->state == JOB_ACCEPTED && d->event == e->event &&
            d->attempt == e->attempt)
            e->state = job_step(e->kind, e->state, JOB_IN_FOUND).next;
    }
}

void host_lose_journal(struct world *w, unsigned host)
{
    struct host *h = &w->hosts[host];

    host_crash(w, host);
    world_tell(w, "host %u: journal lost", host);
    memset(&h->memory, 0, sizeof h->memory);
    h->memory.id = new_journal_id(w);
    h->disk = h->memory;
}

void host_return_from_fence(struct world *w, unsigned host)
{
    struct host *h = &w->hosts[host];

    world_tell(w, "host %u comes back from its fence", host);
    for (size_t i = 0; i < ENTRIES; i++)
        if (h->memory.entries[i].used)
            h->memory.entries[i].state =
                job_step(h->memory.entries[i].kind, h->memory.entries[i].state, JOB_IN_FENCED).next;
    write_journal(h);
    memset(h->domains, 0, sizeof h->domains);
    h->fenced = false;
    h->up = true;
    fleet_set_status(w->fleet, fleet_find(w->fleet, (hypervisor_id){host}), HYPERVISOR_DRAINED);
    fleet_set_status(w->fleet, fleet_find(w->fleet, (hypervisor_id){host}), HYPERVISOR_UP);
}
