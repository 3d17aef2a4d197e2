/* A broker that loses what it has not confirmed, doubles, reorders, and is wiped now and then. */
#include "tests/simulation/world.h"

static void put(struct world *w, const struct event *row)
{
    for (size_t i = 0; i < QUEUED; i++) {
        if (w->broker[i].used)
            continue;
        w->broker[i] = (struct message){.used = true, .row = *row};
        return;
    } /* full: it is due again when its check_at is past */
}

void broker_publish(struct world *w, const struct event *row)
{
    struct event copy = database_read(w, row->id.v);

    if (!w->broker_up || world_chance(w, 50))
        return;
    put(w, &copy);
    while (world_chance(w, 100))
        put(w, &copy);
}

void broker_wipe(struct world *w)
{
    world_tell(w, "broker wiped");
    for (size_t i = 0; i < QUEUED; i++)
        w->broker[i].used = false;
}

struct message *broker_take(struct world *w, unsigned worker, size_t *ret_index)
{
    size_t from = (size_t)world_random(w, QUEUED);

    for (size_t k = 0; k < QUEUED; k++) {
        struct message *m = &w->broker[(from + k) % QUEUED];
        if (!m->used || m->taken)
            continue;
        m->taken = true;
        m->worker = worker;
        *ret_index = (from + k) % QUEUED;
        return m;
    }
    return NULL;
}

void broker_return_all(struct world *w, unsigned worker)
{
    for (size_t i = 0; i < QUEUED; i++)
        if (w->broker[i].used && w->broker[i].taken && w->broker[i].worker == worker)
            w->broker[i].taken = false;
}
