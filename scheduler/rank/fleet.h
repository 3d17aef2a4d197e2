/* scheduler/rank/fleet.h: a region's hypervisors and the claims on them: what there is, what is
 * taken, who may be placed on. Pure: no I/O, no clock. Threads: none of its own, the owner locks.
 * Every change of a hypervisor ends in one function (fleet.c), from where an index can follow. */
#pragma once

#include "lib/ids.h"
#include "lib/macros.h"
#include "lib/uuid.h"
#include "scheduler/rank/claims.h"
#include "scheduler/rank/resources.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hypervisor_status { /* the values are stored: scheduler/schema */
                         HYPERVISOR_NEW = 1,
                         HYPERVISOR_UP = 2,
                         HYPERVISOR_DRAINED = 3,
                         HYPERVISOR_FENCED = 4,
};

/* What is stored of a hypervisor. */
struct hypervisor {
    hypervisor_id id;
    enum hypervisor_status status;
    struct uuid journal; /* the last one compared; zero: none yet */
    struct resources capacity;
};

/* How a hypervisor fares, from its samples. */
struct load {
    float cpu, steal, iowait, memory_pressure; /* 0..1 */
    uint32_t creates_in_flight;
};

struct fleet_view {
    struct hypervisor hypervisor;
    struct resources claimed;
    uint32_t claims;
    bool session, compared;
    uint32_t creates_in_flight; /* sampled, and taken since */
};

struct fleet_counts {
    size_t hypervisors, claims;
    size_t by_status[HYPERVISOR_FENCED + 1];
    size_t up_dark;      /* approved, without a session */
    size_t over_claimed; /* capacity lowered below the claims */
};

#define FLEET_NONE SIZE_MAX

struct fleet;

/* `max_creates`: a hypervisor with as many creates in flight is placed on no more; 0: no limit. */
struct fleet *fleet_new(uint32_t max_creates);
struct fleet *fleet_free(struct fleet *f); /* NULL is fine; gives NULL */

/* Adds a hypervisor, which must not be there, without a session; gives its row. Capacity beyond
 * CAPACITY_MAX counts as that. */
size_t fleet_add(struct fleet *f, const struct hypervisor *h);
/* The row of a hypervisor, FLEET_NONE: unknown. A row is for the fleet's life. */
size_t fleet_find(const struct fleet *f, hypervisor_id id);
size_t fleet_size(const struct fleet *f);
void fleet_view_get(const struct fleet *f, size_t row, struct fleet_view *ret);
void fleet_counts_get(const struct fleet *f, struct fleet_counts *ret);
/* Approved hypervisors without a session, in a thousand of the approved ones. */
uint32_t fleet_dark_permille(const struct fleet *f);
/* Grows with every change of any hypervisor. */
uint64_t fleet_revision(const struct fleet *f);

void fleet_set_status(struct fleet *f, size_t row, enum hypervisor_status status);
void fleet_set_capacity(struct fleet *f, size_t row, const struct resources *capacity);
void fleet_set_journal(struct fleet *f, size_t row, const struct uuid *journal);
/* `compared`: the session's journal is the one that was compared. */
void fleet_set_session(struct fleet *f, size_t row, bool session, bool compared);
/* A sample has come. It was made up to CREATES_LAG_MS ago: claims taken before that no longer count
 * as creates in flight by themselves, later ones cannot be in it yet. */
#define CREATES_LAG_MS 250
void fleet_set_load(struct fleet *f, size_t row, const struct load *load, int64_t now_unix_ms);

/* Whether a status may become another; the same again is fine. */
bool hypervisor_status_may(enum hypervisor_status from, enum hypervisor_status to);

/* Puts a claim as it is stored (its hypervisor must be known, its key new); nothing is checked:
 * what is stored is true. */
void fleet_load_claim(struct fleet *f, const struct claim *claim);
struct claims *fleet_claims(struct fleet *f);
