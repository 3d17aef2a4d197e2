/* scheduler/flush.h: decisions become true. Whoever decides on a region's fleet hands in a ticket
 * with what it changed, under the region's lock, so tickets queue in the order of the decisions;
 * one thread commits what has gathered in one transaction that holds the leases, and only then are
 * callers answered. When a commit fails, the region's fleet is dropped and every ticket decided on
 * it is refused: nothing built on what never became true is ever answered as placed. */
#pragma once

#include "lib/batcher.h"
#include "lib/sql/sql.h"
#include "scheduler/rank/changes.h"
#include "scheduler/region.h"
#include "scheduler/store/hypervisors.h"

enum flush_outcome {
    FLUSH_COMMITTED,
    FLUSH_FAILED,     /* not, or not known to be, committed: ask again */
    FLUSH_NOT_LEADER, /* the lease is somebody else's; nothing was written */
};

struct ticket {
    struct region *region;
    struct changes changes;     /* of claims */
    struct hypervisor *updates; /* rows to store as they are here */
    size_t update_count;
    struct newcomer *newcomers; /* rows to make unless they are there */
    size_t newcomer_count;
    /* Called once, on the flusher's thread, without locks; may free the ticket. */
    void (*done)(struct ticket *t, enum flush_outcome outcome);
    size_t cost; /* reserved for it */
    /* Set by flusher_submit_locked, used by the flusher: */
    uint64_t generation;
    enum flush_outcome outcome;
};

/* Frees what the ticket points to. */
void ticket_fini(struct ticket *t);

struct flusher;

struct flusher_options {
    const struct sql_options *sql;
    const struct regions *regions; /* borrowed for its life */
    int spacing_ms;
    size_t max_cost; /* changes waiting; beyond it flusher_reserve refuses */
    /* After a region's fleet was dropped: somebody should load it anew. Flusher's thread. */
    void (*on_distrust)(void *ctx);
    void *ctx;
};

int flusher_start(const struct flusher_options *options, struct flusher **ret,
                  struct error *err) MUST_CHECK;
/* Commits what is queued, ends the thread. NULL is fine; gives NULL. */
struct flusher *flusher_stop(struct flusher *f);

/* Room for `cost` changes, before they are decided; a caller that is alone always gets it. false:
 * full. What is reserved goes with the ticket, or back by flusher_unreserve. Any thread. */
bool flusher_reserve(struct flusher *f, size_t cost);
void flusher_unreserve(struct flusher *f, size_t cost);
/* Hands over a ticket whose cost was reserved. The caller holds the region's lock since before it
 * decided, and the region leads. */
void flusher_submit_locked(struct flusher *f, struct ticket *t);

struct flusher_stats {
    struct batcher_stats batches;
    size_t cost, max_cost;
    uint64_t refused;
    bool connected;
};
void flusher_stats_get(struct flusher *f, struct flusher_stats *ret);
