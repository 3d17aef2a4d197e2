/* Harpoon's workers, its sweeper and the scheduler's reconciler: each step of a flow may be the
 * last one before a crash. */
#include "tests/simulation/world.h"

#include <string.h>

#define FLOW_TIMEOUT_MS 2000
#define MAX_IN_HAND     8
#define TAKEN_A_TICK    3

static int64_t travel(struct world *w)
{
    return (int64_t)(1 + world_random(w, world_chance(w, 50) ? 60000 : 200));
}

/* ---- the scheduler ---- */

static bool place(struct world *w, const struct event *row, unsigned *ret_host, bool *ret_no_room)
{
    struct place_request request = {.event = row->id,
                                    .attempt = row->attempt,
                                    .droplet = row->droplet};
    struct changes changes = {0};
    struct placement placement;

    request.choose.size = (struct resources){1, 1024, 10};
    request.choose.excluded = row->excluded;
    request.choose.excluded_count = row->excluded_count;
    if (world_chance(w, 30))
        return false; /* no leader just now */
    fleet_place(w->fleet, &request, w->now, &changes, &placement);
    changes_fini(&changes);
    *ret_no_room = placement.outcome == PLACE_NO_ROOM;
    *ret_host = placement.outcome == PLACED ? (unsigned)placement.hypervisor.v : 0;
    return true;
}

static bool release(struct world *w, const struct event *row, enum event_release what)
{
    struct changes changes = {0};

    if (world_chance(w, 30))
        return false;
    if (what == RELEASE_DROPLET)
        (void)fleet_release_droplet(w->fleet, row->droplet, &changes);
    else
        (void)fleet_release_claim(w->fleet, row->id, row->attempt, &changes);
    changes_fini(&changes);
    return !world_chance(w, 30); /* released, and the answer lost */
}

/* Applies; releases first where the row demands it, and may crash in between. */
static bool apply(struct world *w, uint64_t event, struct event_input in, struct event_change *ret)
{
    if (database_apply(w, event, &in, ret) != STORED)
        return false;
    if (ret->release_first == RELEASE_NONE)
        return true;
    if (!release(w, &ret->row, ret->release_first) || world_chance(w, 30))
        return false;
    in.released = true;
    return database_apply(w, event, &in, ret) == STORED;
}

/* ---- flows ---- */

static bool is_dark(const struct world *w)
{
    unsigned dark = 0;

    for (unsigned i = 1; i <= HOSTS; i++)
        dark += !w->hosts[i].connected || !w->hosts[i].up;
    return dark * 5 > HOSTS;
}

static void end_flow(struct world *w, struct flow *f, bool acknowledge)
{
    struct message *m = &w->broker[f->message];

    if (m->used && m->taken && m->worker == f->worker) {
        if (acknowledge)
            m->used = false;
        else
            m->taken = false;
    }
    f->used = false;
}

static void tell_agent(struct world *w, enum note_kind kind, const struct event *row, unsigned host,
                       struct uuid journal)
{
    struct note *n;

    do {
        if (world_chance(w, 50))
            continue; /* lost */
        n = world_send(w, kind, travel(w));
        n->who = host;
        n->row = *row;
        n->journal = journal;
    } while (world_chance(w, 50));
}

/* What the row says about the job becomes Start or Drop. */
static void follow(struct world *w, const struct event_change *change, const struct flow *f,
                   struct uuid journal)
{
    if (change->answer == ANSWER_START)
        tell_agent(w, NOTE_START, &f->row, f->host, journal);
    else if (change->answer == ANSWER_DROP)
        tell_agent(w, NOTE_DROP, &f->row, f->host, journal);
}

static void finish_with(struct world *w, struct flow *f, struct event_input in)
{
    struct event_change change;

    in.attempt = f->row.attempt;
    in.hypervisor.v = f->host;
    in.actor = "worker";
    if (!apply(w, f->row.id.v, in, &change)) {
        end_flow(w, f, false);
        return;
    }
    follow(w, &change, f, in.journal);
    end_flow(w, f, true);
}

static void send_job(struct world *w, struct flow *f)
{
    struct note *n;

    do {
        if (!world_chance(w, 50)) {
            n = world_send(w, NOTE_DELIVER, travel(w));
            n->who = f->host;
            n->row = f->row;
            n->flow = (size_t)(f - w->flows);
            n->flow_life = f->life;
        }
    } while (world_chance(w, 50));
    n = world_send(w, NOTE_FLOW_EXPIRES, FLOW_TIMEOUT_MS);
    n->flow = (size_t)(f - w->flows);
    n->flow_life = f->life;
}

static void begin_placed(struct world *w, struct flow *f)
{
    bool no_room;

    if (!place(w, &f->row, &f->host, &no_room)) {
        end_flow(w, f, false);
    } else if (no_room) {
        finish_with(w, f, (struct event_input){.kind = IN_NO_ROOM, .reason = REASON_NO_ROOM});
    } else if (f->host == 0) {
        end_flow(w, f, true); /* stale: a higher attempt is under way */
    } else {
        send_job(w, f);
    }
}

static void begin(struct world *w, struct flow *f)
{
    bool pinned = f->row.type != EVENT_CREATE;

    f->host = (unsigned)f->row.hypervisor.v;
    if (pinned && w->hosts[f->host].fenced) {
        finish_with(w, f, (struct event_input){.kind = IN_FENCED});
    } else if (pinned) {
        send_job(w, f);
    } else if (f->row.state == EVENT_PENDING) {
        begin_placed(w, f);
    } else { /* the word to begin may be lost: again */
        tell_agent(w, NOTE_START, &f->row, f->host, f->row.journal);
        if (w->mistake == MISTAKE_NEXT_WITHOUT_CLOSED && !w->hosts[f->host].connected) {
            struct event_change change;
            struct event_input in = {.kind = IN_FENCED, .hypervisor = f->row.hypervisor};
            (void)database_apply(w, f->row.id.v, &in, &change);
        }
        end_flow(w, f, true);
    }
}

static struct flow *free_flow(struct world *w, unsigned worker)
{
    unsigned in_hand = 0;

    for (size_t i = 0; i < FLOWS; i++)
        in_hand += w->flows[i].used && w->flows[i].worker == worker;
    for (size_t i = 0; i < FLOWS && in_hand < MAX_IN_HAND; i++)
        if (!w->flows[i].used)
            return &w->flows[i];
    return NULL;
}

void worker_tick(struct world *w, unsigned worker)
{
    struct flow *f;
    struct message *m;
    size_t index;

    world_send(w, NOTE_WORKER_TICK, (int64_t)(20 + world_random(w, 200)))->who = worker;
    if (!w->workers[worker].up)
        return;
    for (int i = 0; i < TAKEN_A_TICK;
         i++) { /* what goes back to the queue is not taken again at once */
        if ((f = free_flow(w, worker)) == NULL || (m = broker_take(w, worker, &index)) == NULL)
            return;
        *f = (struct flow){
            .used = true, .life = ++w->lives, .worker = worker, .message = index, .row = m->row};
        begin(w, f);
    }
}

static struct flow *find_flow(struct world *w, const struct note *n)
{
    struct flow *f = &w->flows[n->flow];

    return f->used && f->life == n->flow_life ? f : NULL;
}

void worker_on_delivered(struct world *w, const struct note *n)
{
    struct flow *f = find_flow(w, n);

    if (f == NULL)
        return;
    if (n->input == IN_DELIVERED && w->mistake == MISTAKE_START_BEFORE_STORED)
        tell_agent(w, NOTE_START, &f->row, f->host, n->journal);
    if (n->input == IN_DELIVERED && w->mistake == MISTAKE_RELEASE_BEFORE_ABSENT &&
        f->row.type != EVENT_CREATE)
        (void)release(w, &f->row, RELEASE_DROPLET);
    if (world_chance(w,
                     20)) { /* the agent has it, the row does not know: the worker crashes here */
        worker_crash(w, f->worker);
        return;
    }
    finish_with(w, f,
                (struct event_input){.kind = n->input,
                                     .journal = n->journal,
                                     .reason =
                                         n->input == IN_DELIVERED ? REASON_NONE : REASON_REFUSED});
}

void worker_on_flow_expired(struct world *w, const struct note *n)
{
    struct flow *f = find_flow(w, n);

    if (f == NULL)
        return;
    if (f->row.state == EVENT_PENDING)
        finish_with(w, f,
                    (struct event_input){.kind = IN_NOT_CONNECTED,
                                         .reason = REASON_NO_ANSWER,
                                         .dark = is_dark(w)});
    else
        end_flow(w, f, true); /* dispatched: its check_at brings it back */
}

void worker_crash(struct world *w, unsigned worker)
{
    world_tell(w, "worker %u crashes", worker);
    w->workers[worker].up = false;
    for (size_t i = 0; i < FLOWS; i++)
        if (w->flows[i].used && w->flows[i].worker == worker)
            w->flows[i].used = false;
    broker_return_all(w, worker);
}

/* ---- what agents say ---- */

static bool somebody_works(const struct world *w)
{
    for (unsigned i = 0; i < WORKERS; i++)
        if (w->workers[i].up)
            return true;
    return false;
}

static void answer(struct world *w, const struct note *n, enum note_kind kind, enum job_input in)
{
    struct note *reply;

    if (world_chance(w, 50))
        return;
    reply = world_send(w, kind, travel(w));
    reply->who = n->who;
    reply->row = n->row;
    reply->journal = n->journal;
    reply->job_input = in;
}

void worker_on_report(struct world *w, const struct note *n)
{
    struct event_input in = {.kind = n->input,
                             .attempt = n->row.attempt,
                             .hypervisor.v = n->who,
                             .journal = n->journal,
                             .reason = n->input == IN_CLOSED ? REASON_DRIVER_FAILED : REASON_NONE,
                             .actor = "agent"};
    struct event_change change;

    if (!somebody_works(w) || !apply(w, n->row.id.v, in, &change)) {
        if (w->mistake == MISTAKE_UNKNOWN_DESTROYS)
            answer(w, n, NOTE_REPORTED, JOB_IN_DISCARD);
        return; /* not stored: the agent says it again */
    }
    if (change.answer == ANSWER_STORED)
        answer(w, n, NOTE_REPORTED, JOB_IN_STORED);
    else if (change.answer == ANSWER_DISCARD)
        answer(w, n, NOTE_REPORTED, JOB_IN_DISCARD);
}

void worker_on_confirm(struct world *w, const struct note *n)
{
    struct event row;
    enum event_answer what;

    if (!somebody_works(w) || !w->database_up)
        return;
    row = database_read(w, n->row.id.v);
    what = event_confirm(&row, n->row.attempt, (hypervisor_id){n->who}, &n->journal);
    if (what == ANSWER_START)
        answer(w, n, NOTE_CONFIRMED, JOB_IN_START);
    else if (what == ANSWER_DROP)
        answer(w, n, NOTE_CONFIRMED, JOB_IN_DROP);
}

/* ---- the one recovery ---- */

void sweeper_tick(struct world *w)
{
    world_send(w, NOTE_SWEEP_TICK, 500);
    if (!w->database_up || w->mistake == MISTAKE_NO_SWEEPER)
        return;
    for (size_t i = 1; i <= w->row_count; i++) {
        struct event row;
        struct event_change change;
        struct event_input late = {.kind = IN_DEADLINE, .actor = "sweeper"};
        if (w->rows[i].check_at_ms == 0 || w->rows[i].check_at_ms > w->now)
            continue;
        row = database_read(w, i);
        if (!event_is_due(&row, w->now, w->now))
            continue;
        if (event_is_late(&row, w->now)) {
            (void)database_apply(w, i, &late, &change);
            continue;
        }
        w->rows[i].check_at_ms = w->now + event_margin_ms(&row, w->now);
        broker_publish(w, &w->rows[i]);
    }
}

struct asking {
    struct world *w;
};

static void ask_wanted(void *ctx, const struct claim *claim)
{
    struct world *w = ((struct asking *)ctx)->w;
    struct event row = database_read(w, claim->event.v);
    struct note *n;

    if (w->now - claim->at_unix_ms < 60000 || event_wanted(&row, claim->attempt) ||
        world_chance(w, 100))
        return;
    n = world_send(w, NOTE_RELEASE_CLAIM, travel(w)); /* asked now, released some time later */
    n->row = row;
    n->row.attempt = claim->attempt;
}

void reconciler_tick(struct world *w)
{
    world_send(w, NOTE_RECONCILE_TICK, 5000);
    if (w->database_up && w->mistake != MISTAKE_NO_RECONCILER)
        claims_each(fleet_claims(w->fleet), ask_wanted, &(struct asking){w});
}

/* Powered off first; then no placement; then every event that was handed to it. */
void operator_fence(struct world *w, unsigned host)
{
    struct host *h = &w->hosts[host];

    world_tell(w, "host %u is fenced", host);
    host_crash(w, host);
    h->fenced = true;
    for (uint64_t d = 1; d <= DROPLETS; d++) {
        w->droplets[d].killed |= h->domains[d].event != 0;
        h->domains[d].event = 0;
    }
    fleet_set_status(w->fleet, fleet_find(w->fleet, (hypervisor_id){host}), HYPERVISOR_FENCED);
    for (size_t i = 1; i <= w->row_count; i++) {
        struct event row = database_read(w, i);
        struct event_change change;
        if (!event_is_final(row.state) && row.hypervisor.v == host)
            (void)apply(w, i, (struct event_input){.kind = IN_FENCED, .hypervisor.v = host},
                        &change);
    }
}
