/* scheduler/store/hypervisors.h: hypervisors as rows. Blocks. */
#pragma once

#include "lib/sql/sql.h"
#include "scheduler/rank/fleet.h"

/* A hypervisor seen for the first time. */
struct newcomer {
    struct hypervisor hypervisor;
    bool ours; /* out: its row is of this region; false: of another one's */
};

/* Inside a transaction that holds the lease: makes rows unless they are there, and says whose they
 * are. `now_unix_ms` becomes created_at. What is stored then replaces `hypervisor`. */
int stored_hypervisors_make(struct sql *db, const char *region, struct newcomer *newcomers,
                            size_t count, int64_t now_unix_ms, struct error *err) MUST_CHECK;
/* Inside a transaction that holds the lease: stores status, journal and capacity; one row for each
 * id. ERR_INTERNAL: one is not there. */
int stored_hypervisors_update(struct sql *db, const char *region,
                              const struct hypervisor *hypervisors, size_t count,
                              int64_t now_unix_ms, struct error *err) MUST_CHECK;
/* The next page of a region's hypervisors by id; gives how many, 0: that was all. */
int stored_hypervisors_load(struct sql *db, const char *region, hypervisor_id after,
                            void (*on_hypervisor)(void *ctx, const struct hypervisor *h), void *ctx,
                            struct error *err) MUST_CHECK;
