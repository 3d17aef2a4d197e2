/* eventrouter/metrics.h: the router's metrics, one table in metrics.c. */
#pragma once

#include "lib/metrics.h"

enum {
    M_SESSIONS,
    M_ATTACHES,
    M_DETACHED,
    M_DENIED,
    M_LAGGING,
    M_DELIVERED,
    M_DELIVER_SECONDS,
    M_DELIVER_WAITING,
    M_REFS,
    M_FORWARDED,
    M_FORWARD_SECONDS,
    M_FORWARD_QUEUE,
    M_FORWARD_OLDEST,
    M_SAMPLES,
    M_OBSERVES,
};

struct router;

/* Once. Gauges are read from `r` at each scrape. */
void eventrouter_metrics_init(struct router *r);
