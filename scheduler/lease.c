#include "scheduler/lease.h"

void lease_watch_see(struct lease_watch *w, uint64_t epoch, uint64_t counter, bool is_free,
                     int64_t now_ms)
{
    bool gap = now_ms - w->looked_ms > LEASE_GAP_MS;
    bool moved = epoch != w->epoch || counter != w->counter;

    if (!w->known || gap || moved)
        w->still_since_ms = now_ms;
    w->known = true;
    w->epoch = epoch;
    w->counter = counter;
    w->free = is_free;
    w->looked_ms = now_ms;
}

bool lease_watch_may_take(const struct lease_watch *w)
{
    return w->known && (w->free || w->looked_ms - w->still_since_ms >= LEASE_SILENT_MS);
}
