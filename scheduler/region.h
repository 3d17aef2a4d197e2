/* scheduler/region.h: one region as this replica sees it: who leads it, and, when that is us, its
 * fleet. The fleet runs ahead of the database: what was decided on it counts once it is committed.
 * `generation` names one loaded fleet; whatever was decided on an earlier one is refused.
 *
 * Threads: any, under `lock`, which nobody holds while doing I/O. The flusher's and the batcher's
 * locks may be taken under it, never the other way round. */
#pragma once

#include "lib/macros.h"
#include "scheduler/liveness.h"
#include "scheduler/rank/fleet.h"
#include "scheduler/store/leases.h"

#include <pthread.h>

enum region_role {
    REGION_FOLLOWING,
    REGION_LOADING, /* the lease is ours, the fleet is being read */
    REGION_LEADING,
};

struct region {
    char name[REGION_NAME_SIZE];
    pthread_mutex_t lock;

    /* guarded by lock */
    enum region_role role;
    uint64_t epoch;            /* of our lease, unless FOLLOWING; else as last read */
    uint64_t generation;       /* of the fleet */
    int64_t renewed_mono_ms;   /* when the last renewal that succeeded began */
    char leader[ADDRESS_SIZE]; /* as last read; "": nobody */
    struct fleet *fleet;       /* LEADING only, else NULL */
    struct liveness *liveness;
    uint64_t decisions;
};

struct regions {
    struct region *list;
    size_t count;
};

/* `names`: slugs, comma separated. ERR_INVALID: one is empty, too long, twice there or no slug. */
int regions_init(struct regions *r, const char *names, struct error *err) MUST_CHECK;
void regions_fini(struct regions *r);
struct region *regions_find(const struct regions *r, const char *name); /* NULL: not configured */

/* Whether it may answer as the leader now: the fleet is there and the lease was renewed lately. */
bool region_leads_locked(const struct region *r, int64_t now_mono_ms);

/* The following take the lock themselves. */

/* Somebody else has, or may have, the lease that was ours with `epoch`: the fleet is dropped. Late
 * news of an earlier one says nothing of the lease we have now. */
void region_lose(struct region *r, uint64_t epoch);
/* A commit on the fleet of `generation` failed: memory is ahead of the database and is dropped, to
 * be loaded anew under a higher epoch. */
void region_distrust(struct region *r, uint64_t generation);
/* The lease was taken with `epoch`, by a statement begun at `began_mono_ms`. */
void region_hold(struct region *r, uint64_t epoch, int64_t began_mono_ms);
/* Leads with `fleet` (taken over) and what is known of who is there, if the lease is still held
 * with `epoch`; else frees it and gives false. */
bool region_lead(struct region *r, uint64_t epoch, struct fleet *fleet);
/* Notes who leads, as read from the lease, unless that is us. */
void region_see_leader(struct region *r, const char *address, uint64_t epoch);

/* Brings what is known of a hypervisor's presence into the fleet. */
void region_apply_presence_locked(struct region *r, size_t row, const struct presence *p,
                                  bool sampled);
