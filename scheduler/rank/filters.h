/* scheduler/rank/filters.h: who cannot take a droplet, and why. Pure.
 * A new filter is a function and a row of the table in filters.c; one that does not look at the
 * request belongs into the row's `open` flag (fleet.c) as well, so that a scan skips it. */
#pragma once

#include "scheduler/rank/choose.h"
#include "scheduler/rank/fleet.h"

struct filter {
    const char *name; /* what it is short of, as in "memory 12" */
    bool (*refuses)(const struct fleet *f, size_t row, const struct choose_request *request);
};

extern const struct filter filters[FILTER_COUNT];

/* The first filter that refuses the row, or FILTER_COUNT. */
enum filter_id filters_find_refusal(const struct fleet *f, size_t row,
                                    const struct choose_request *request);
