/* scheduler/lease.h: when a lease may be taken from somebody who is silent. Pure: the time is
 * monotonic and the watcher's own, so no two clocks are ever compared. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LEASE_RENEW_MS 500
/* A leader whose last renewal began longer ago does not answer as one. */
#define LEASE_VALID_MS 1500
/* A follower that has seen no renewal for so long may take it: more than LEASE_VALID_MS, as the
 * follower sees a renewal only after it began. */
#define LEASE_SILENT_MS 2000
/* A watch that did not look for so long has seen nothing, and begins anew. */
#define LEASE_GAP_MS 1200

struct lease_watch {
    bool known;
    uint64_t epoch, counter;
    bool free; /* nobody holds it */
    int64_t still_since_ms, looked_ms;
};

/* What was read at `now_ms`, or a little later than that. */
void lease_watch_see(struct lease_watch *w, uint64_t epoch, uint64_t counter, bool is_free,
                     int64_t now_ms);
bool lease_watch_may_take(const struct lease_watch *w);
