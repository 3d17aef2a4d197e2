/* scheduler/metrics.h: what the scheduler counts. The table is in metrics.c, in this order. */
#pragma once

#include "lib/metrics.h"

enum scheduler_metric {
    M_DECISIONS,
    M_DECISION_SECONDS,
    M_RELEASED,
    M_FLUSHES,
    M_FLUSH_SECONDS,
    M_STORED,
    M_QUEUE,
    M_QUEUE_LIMIT,
    M_QUEUE_OLDEST,
    M_QUEUE_REFUSED,
    M_LEADING,
    M_EPOCH,
    M_LEASE_CHANGES,
    M_LOAD_SECONDS,
    M_HYPERVISORS,
    M_CONNECTED,
    M_DARK,
    M_OVER_CLAIMED,
    M_CLAIMS,
    M_SIGHTINGS,
    M_RECONCILED,
    M_DENIED,
};

struct regions;
struct flusher;

/* What gauges are read from at each scrape. Borrowed for the admin port's life. */
struct scheduler_gauges {
    struct regions *regions;
    struct flusher *flusher;
};

/* Registers the table; once, before any thread. */
void scheduler_metrics_init(void);
/* Registers the gauges; once, before the admin port. */
void scheduler_gauges_init(struct scheduler_gauges *gauges);
