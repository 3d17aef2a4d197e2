/* bench/replay.h: a trace through the scheduler's engine: at each time first the ends, then the
 * creates in turn; what finds no room is dropped. */
#pragma once

#include "bench/trace.h"
#include "scheduler/rank/resources.h"
#include "scheduler/rank/scorers.h"

/* Means leave out the first day, while the fleet fills. */
#define WARM_UP_S 86400

struct hosts {
    const struct resources *shapes; /* of host i: i % shape_count */
    size_t shape_count, count;
};

struct replay_figures {
    uint64_t rejected;
    int64_t first_rejected_vm; /* -1: none */
    double mean_empty_hosts_pct;
    double stranded_8c_pct; /* of the free room for 8 vCPU/14 GiB in sum, what no host can take */
};

void replay(const struct trace *t, const struct hosts *hosts, const float weights[SCORER_COUNT],
            struct replay_figures *ret);
