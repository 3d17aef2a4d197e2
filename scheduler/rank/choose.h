/* scheduler/rank/choose.h: the one question: which hypervisor takes this droplet. Pure. */
#pragma once

#include "scheduler/rank/fleet.h"

enum filter_id { /* in the order in which they are asked */
                 FILTER_STATUS,
                 FILTER_SESSION,
                 FILTER_JOURNAL,
                 FILTER_EXCLUDED,
                 FILTER_CREATES,
                 FILTER_VCPUS,
                 FILTER_MEMORY,
                 FILTER_DISK,
                 FILTER_COUNT,
};

struct choose_request {
    struct resources size;
    hypervisor_id pinned;     /* 0: any */
    const uint64_t *excluded; /* ids, borrowed */
    size_t excluded_count;
};

struct choice {
    size_t row;                     /* FLEET_NONE: no room */
    float score;                    /* of the row */
    uint32_t asked;                 /* of no room: hypervisors looked at … */
    uint32_t refused[FILTER_COUNT]; /* … and how many each filter was the first to refuse */
};

/* The best hypervisor by filters and scorers; of equals the one added first. `size` is within
 * CLAIM_MAX. A pinned hypervisor must pass the filters, too. */
void fleet_choose(const struct fleet *f, const struct choose_request *request, struct choice *ret);

/* The same (but for `pinned`, which it does not know) by looking at every hypervisor. */
void fleet_scan(const struct fleet *f, const struct choose_request *request, struct choice *ret);

/* The points of one row, whether it has room or not. */
float fleet_score(const struct fleet *f, size_t row, const struct resources *size);

/* "none of 12 hypervisors has room: not connected 3, memory 9", at most `size` bytes. */
void choice_format_reason(const struct choice *c, char *ret, size_t size);
