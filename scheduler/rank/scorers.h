/* scheduler/rank/scorers.h: who takes a droplet best. Pure.
 * A scorer gives a row points for a size; the row with the most, each times its weight, wins. A new
 * one is a row of SCORERS and a function points_of_NAME in scorers.c. All of them are one loop
 * without branches over the fleet's arrays, so that it vectorises. */
#pragma once

#include "scheduler/rank/fleet.h"

/* Name and default weight. */
#define SCORERS(X)                                                                                 \
    X(load, 1.0f)                                                                                  \
    X(best_fit, 1.0f)                                                                              \
    X(fragmentation, 0.0f)                                                                         \
    X(slots, 1.0f)

enum scorer_id {
#define ID(name, weight) SCORER_##name,
    SCORERS(ID)
#undef ID
        SCORER_COUNT,
};

struct scorer {
    const char *name;
    float weight;
};

extern const struct scorer scorers[SCORER_COUNT];

/* The points of `count` rows from `first` on into `into`; REFUSED for one that is closed or too
 * small. */
void scorers_score(const struct fleet *f, const struct resources *size, size_t first, size_t count,
                   float *into);
/* The most of `points`; REFUSED: of none or if all are. */
float scorers_best(const float *points, size_t count);
/* Of one row: the same number, but never REFUSED. */
float scorers_score_row(const struct fleet *f, const struct resources *size, size_t row);

/* Replaces the weights, which are those of the table at first. */
void fleet_set_weights(struct fleet *f, const float weights[SCORER_COUNT]);

/* The points that do not depend on the request: the worse a hypervisor fares, the further below
 * 0. */
float load_score(const struct load *load);
/* What the room for the larger sizes is worth before a claim: kept by row. */
float slots_score(int32_t vcpus, int32_t memory_mib);
