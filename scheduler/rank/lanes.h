/* scheduler/rank/lanes.h: for each popular size a tournament of all hypervisors: the best one, or
 * how many each filter refuses, is at hand. A lane is made when a size is asked for again, and the
 * one unused for longest makes room. It follows the fleet when it is asked, at the price of what
 * has changed since; one that is far behind is made anew, at the price of a scan. Pure. */
#pragma once

#include "scheduler/rank/choose.h"

struct lanes;
struct lane;

struct lanes *lanes_new(void);
struct lanes *lanes_free(struct lanes *l); /* NULL is fine; gives NULL */

/* The lane of `size`, as the fleet is now; good until the next call. NULL: not popular. */
const struct lane *lanes_find(struct lanes *l, const struct fleet *f, const struct resources *size);

/* Fills in row and score, or the reasons why no row has room. */
void lane_choose(const struct lane *lane, struct choice *ret);
