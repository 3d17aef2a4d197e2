/* harpoon/worker/placer.h: asks the leading scheduler of a region to place and to release. Threads:
 * any; blocks for at most the time given in placer.c. */
#pragma once

#include "harpoon/event.h"
#include "harpoon/worker/work.h"
#include "lib/error.h"
#include "lib/rpc/rpc.h"

#include <stddef.h>

struct placer;

/* One a region: its leader is remembered. `addresses`: the replicas, comma separated. */
int placer_new(const char *region, const char *addresses, const struct rpc_tls *tls,
               struct placer **ret, struct error *err) MUST_CHECK;
struct placer *placer_free(struct placer *p); /* NULL is fine; gives NULL */

enum placement_outcome { PLACED, PLACE_NO_ROOM, PLACE_STALE };
struct placement {
    enum placement_outcome outcome;
    hypervisor_id hypervisor; /* PLACED */
    char reason[200];         /* no room: how many each filter refused */
};
/* Places up to 1,000 works, answered in order. *ret_dark_permille: hypervisors of the region
 * without a session. ERR_UNAVAILABLE, ERR_DEADLINE, ERR_BUSY: nobody leads, or nobody answers. */
int placer_place(struct placer *p, struct work *const *works, size_t count, struct placement *ret,
                 unsigned *ret_dark_permille, struct error *err) MUST_CHECK;

struct release {
    event_id event; /* with attempt: that claim; 0: every claim of the droplet */
    unsigned attempt;
    droplet_id droplet;
};
/* Durable when it returns 0. */
int placer_release(struct placer *p, const struct release *releases, size_t count,
                   struct error *err) MUST_CHECK;
