/* scheduler/load.h: a region's fleet out of the database. Blocks. */
#pragma once

#include "lib/sql/sql.h"
#include "scheduler/rank/fleet.h"

/* Reads hypervisors and claims, in pages of some 20 ms. Between pages it calls `between`, which may
 * stop it by a negative code. The caller holds the region's lease, so nobody else writes these
 * rows; it owns *ret. */
int load_fleet(struct sql *db, const char *region, uint32_t max_creates,
               int (*between)(void *ctx, struct error *err), void *ctx, struct fleet **ret,
               struct error *err) MUST_CHECK;
