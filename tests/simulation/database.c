/* The rows of Harpoon's database, and the one way they change: event_step, in one transaction. */
#include "tests/simulation/world.h"

/* Short, so that deadlines strike in the middle of everything. */
#define DEADLINE_MIN_MS 5000
#define DEADLINE_MAX_MS 300000

struct event database_read(const struct world *w, uint64_t event)
{
    struct event row = w->rows[event];
    const struct droplet *d = &w->droplets[row.droplet.v];

    row.droplet_status = d->status;
    row.droplet_event = d->event;
    row.droplet_hypervisor = d->hypervisor;
    row.droplet_deleted = d->deleted;
    row.droplet_gone = d->gone;
    return row;
}

static struct event *insert(struct world *w, enum event_type type, uint64_t droplet,
                            hypervisor_id pinned)
{
    struct event *row;

    if (w->row_count == EVENTS) {
        world_fail(w, "more than %d events", EVENTS);
        return &w->rows[EVENTS];
    }
    row = &w->rows[++w->row_count];
    *row = (struct event){.id = {w->row_count},
                          .droplet = {droplet},
                          .type = type,
                          .region = "nyc3",
                          .state = EVENT_PENDING,
                          .attempt = 1,
                          .hypervisor = pinned,
                          .created_ms = w->now};
    if (type == EVENT_CREATE)
        row->deadline_ms =
            w->now + DEADLINE_MIN_MS + (int64_t)world_random(w, DEADLINE_MAX_MS - DEADLINE_MIN_MS);
    row->check_at_ms = w->now + event_margin_ms(row, w->now);
    w->droplets[droplet].event = row->id;
    world_tell(w, "event %llu: %s of droplet %llu", (unsigned long long)row->id.v,
               event_type_name(type), (unsigned long long)droplet);
    return row;
}

static void store(struct world *w, const struct event_change *change)
{
    struct event before = w->rows[change->row.id.v];
    struct droplet *d = &w->droplets[change->row.droplet.v];

    check_move(w, &before, &change->row);
    w->rows[change->row.id.v] = change->row;
    if (change->droplet_changed) {
        d->status = change->row.droplet_status;
        d->event = change->row.droplet_event;
        d->hypervisor = change->row.droplet_hypervisor;
        d->gone = change->row.droplet_gone;
    }
    world_tell(w, "event %llu: %s -> %s, attempt %u, host %llu",
               (unsigned long long)change->row.id.v, event_state_name(before.state),
               event_state_name(change->row.state), change->row.attempt,
               (unsigned long long)change->row.hypervisor.v);
    if (change->follow_up != 0 &&
        !(w->mistake == MISTAKE_NO_CLEANUP && change->follow_up == EVENT_CLEANUP))
        broker_publish(w,
                       insert(w, change->follow_up, change->row.droplet.v, change->row.hypervisor));
}

enum stored database_apply(struct world *w, uint64_t event, const struct event_input *in,
                           struct event_change *ret)
{
    struct event row = database_read(w, event);

    if (!w->database_up || world_chance(w, 20))
        return NOT_STORED; /* gone, or rolled back: a deadlock, a lost connection */
    event_step(&row, in, w->now, ret);
    if (ret->changed)
        store(w, ret);
    return world_chance(w, 20) ? STORED_UNSEEN : STORED;
}

void database_create(struct world *w, uint64_t droplet)
{
    struct event *row;

    w->droplets[droplet] = (struct droplet){.exists = true, .status = DROPLET_NEW};
    row = insert(w, EVENT_CREATE, droplet, (hypervisor_id){0});
    if (!world_chance(w, 100)) /* crashed between commit and publish */
        broker_publish(w, row);
}

void database_delete(struct world *w, uint64_t droplet)
{
    struct droplet *d = &w->droplets[droplet];
    struct event_change change;

    if (d->deleted || d->gone)
        return;
    world_tell(w, "droplet %llu is deleted", (unsigned long long)droplet);
    d->deleted = true;
    if (d->event.v != 0) {
        struct event row = database_read(w, d->event.v);
        struct event_input in = {.kind = IN_CANCEL, .actor = "customer"};
        event_step(&row, &in, w->now, &change);
        if (change.changed)
            store(w, &change);
    } else if (d->hypervisor.v != 0) {
        broker_publish(w, insert(w, EVENT_DESTROY, droplet, d->hypervisor));
    } else {
        d->gone = true;
    }
}
