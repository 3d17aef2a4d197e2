/* scheduler/rank/rows.h: the arrays inside a fleet, for the files of rank/ alone: filters and
 * scorers run over them. One element per hypervisor in each. */
#pragma once

#include "scheduler/rank/choose.h"
#include "scheduler/rank/fleet.h"

struct fleet_slot;

/* Sizes for which there was no room, as of a revision: a full region answers a batch at the price
 * of one scan a size. */
#define REFUSALS 16
struct refusals {
    uint64_t revision;
    size_t count;
    struct {
        struct resources size;
        struct choice choice;
    } list[REFUSALS];
};

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
    float *base;                    /* the score that does not depend on the request */

    struct fleet_slot *by_id;
    struct claims *claims;
    uint32_t max_creates;
    uint64_t revision;
    size_t by_status[HYPERVISOR_FENCED + 1];
    size_t up_dark, over_claimed;
    struct refusals refusals;
};

/* Takes `claim` off or onto its row (rank/decide.c). */
struct claim_node *fleet_take(struct fleet *f, size_t row, const struct claim *claim);
void fleet_release(struct fleet *f, struct claim_node *node);
