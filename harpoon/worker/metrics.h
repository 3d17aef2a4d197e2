/* harpoon/worker/metrics.h: the worker's metrics by name; the table is in metrics.c. */
#pragma once

#include "harpoon/worker/worker.h"

enum worker_metric {
    M_EVENTS,
    M_MESSAGES,
    M_PLACEMENTS,
    M_DELIVERIES,
    M_STARTS,
    M_DROPS,
    M_RELEASES,
    M_MOVES_REFUSED,
    M_REPORTS,
    M_CONFIRMS,
    M_ATTACHES,
    M_ORPHANS,
    M_CLAIMS_ASKED,
    M_RPC_DENIED,
    M_DISPATCH_SECONDS,
    M_EVENT_SECONDS,
    M_STEP_SECONDS,
    M_UNFINISHED,
    M_REGION_BLOCKED,
    M_REGION_DARK,
    M_FENCES,
    M_QUEUE_ITEMS,
    M_QUEUE_LIMIT,
    M_QUEUE_OLDEST_SECONDS,
    M_QUEUE_REFUSED,
    M_BROKER_CONNECTED,
    M_COUNT
};
