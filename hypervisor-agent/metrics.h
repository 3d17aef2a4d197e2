/* hypervisor-agent/metrics.h: the program's metrics, as one table. */
#pragma once

#include "lib/metrics.h"

enum agent_metric {
    M_SESSIONS,
    M_JOBS,
    M_ORPHANS,
    M_DELIVERIES,
    M_REPORTS,
    M_ANSWERS,
    M_OPERATIONS,
    M_OPERATION_DURATION,
    M_DISCONNECTS,
    M_OVERFLOWS,
    M_JOURNAL_COMMITS,
    M_JOURNAL_FAILURES,
    M_JOURNAL_QUEUE,
    M_JOURNAL_QUEUE_LIMIT,
    M_JOURNAL_QUEUE_AGE,
    M_JOURNAL_REFUSED,
    M_COUNT
};
extern const struct metric_def agent_metrics[M_COUNT];
