/* scheduler/rank/scorers.h: who takes a droplet best. Pure.
 * A scorer adds weight × points to a run of rows; the rows with the most points win. A new one is
 * a function and a row of the table in scorers.c. Loops have no branches, so that they vectorise.
 */
#pragma once

#include "scheduler/rank/fleet.h"

struct scorer {
    const char *name;
    float weight;
    /* Adds to into[0..count) for the rows from `first` on, each of which may be too small. */
    void (*score)(const struct fleet *f, const struct resources *size, size_t first, size_t count,
                  float weight, float *into);
};

extern const struct scorer scorers[];
extern const size_t scorer_count;

/* The points that do not depend on the request: the worse a hypervisor fares, the further below
 * 0. */
float load_score(const struct load *load);
