/* scheduler/rank/rows.h: the arrays inside a fleet, for the files of rank/ alone: filters, scorers
 * and lanes run over them. One element per hypervisor in each. */
#pragma once

#include "scheduler/rank/choose.h"
#include "scheduler/rank/fleet.h"
#include "scheduler/rank/scorers.h"

#include <float.h>

struct fleet_slot;
struct lanes;

/* The points of a row that cannot take it. */
#define REFUSED (-FLT_MAX)

/* Changes of rows that are remembered: what is further behind looks at every row instead. */
#define CHANGES_KEPT 8192

struct fleet {
    size_t count, size;
    uint64_t *id;
    uint8_t *status; /* enum hypervisor_status */
    uint8_t *session, *compared;
    int32_t *capacity[RESOURCE_COUNT];
    int32_t *claimed[RESOURCE_COUNT];
    uint32_t *claim_count;
    uint32_t *creates_sampled, *creates_since;
    /* Claims taken in the newest slot of time and in the one before it; claims from the slot
     * `since_slot` on are those in `creates_since`. */
    uint64_t *slot, *since_slot;
    uint32_t *taken_now, *taken_before;
    struct uuid *journal;

    /* Made from the above whenever a row changes. */
    int32_t *left[RESOURCE_COUNT];  /* capacity less claims, never below 0 */
    float *inverse[RESOURCE_COUNT]; /* 1 / capacity, 0 when there is none */
    int32_t *open;                  /* -1: may be placed on as far as size is not asked; else 0 */
    uint8_t *closed_by;             /* the filter that closed it, FILTER_COUNT: open */
    float *base;                    /* the score that does not depend on the request */
    float *worth;                   /* what its room for large droplets is worth */
    uint64_t *changed_at;           /* the revision of its last change */

    struct fleet_slot *by_id;
    struct claims *claims;
    uint32_t max_creates;
    float weights[SCORER_COUNT];
    uint64_t revision;
    uint32_t *changes; /* ring of CHANGES_KEPT rows: that of revision r is at r % CHANGES_KEPT */
    struct lanes *lanes;
    size_t by_status[HYPERVISOR_FENCED + 1];
    size_t up_dark, over_claimed;
};

/* Not 0: passes the filters, but for the excluded ids. Without a branch. */
static inline __attribute__((always_inline, unused)) int32_t
row_fits(const struct fleet *f, size_t row, const struct resources *size)
{
    return f->open[row] & -(f->left[RESOURCE_VCPUS][row] >= (int32_t)size->vcpus) &
           -(f->left[RESOURCE_MEMORY][row] >= (int32_t)size->memory_mib) &
           -(f->left[RESOURCE_DISK][row] >= (int32_t)size->disk_gib);
}

/* What filters_find_refusal gives for a request without exclusions, without a branch. */
static inline __attribute__((unused)) uint8_t row_refusal(const struct fleet *f, size_t row,
                                                          const struct resources *size)
{
    uint8_t by = FILTER_COUNT;

    by = f->left[RESOURCE_DISK][row] < (int32_t)size->disk_gib ? FILTER_DISK : by;
    by = f->left[RESOURCE_MEMORY][row] < (int32_t)size->memory_mib ? FILTER_MEMORY : by;
    by = f->left[RESOURCE_VCPUS][row] < (int32_t)size->vcpus ? FILTER_VCPUS : by;
    return f->closed_by[row] < FILTER_COUNT ? f->closed_by[row] : by;
}

/* Takes `claim` off or onto its row (rank/decide.c). */
struct claim_node *fleet_take(struct fleet *f, size_t row, const struct claim *claim);
void fleet_release(struct fleet *f, struct claim_node *node);
