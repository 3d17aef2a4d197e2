/* scheduler/leader.h: one thread that takes, renews and gives back the regions' leases, loads what
 * it took, and ends sessions that nobody names any more. It has a database connection of its own,
 * and never does anything long between two renewals. */
#pragma once

#include "lib/sql/sql.h"
#include "scheduler/region.h"

struct leader;

struct leader_options {
    const struct sql_options *sql;
    struct regions *regions; /* borrowed for its life */
    const char *address;     /* where this replica answers, as others are told */
    uint32_t max_creates;    /* of fleet_new */
};

int leader_start(const struct leader_options *options, struct leader **ret,
                 struct error *err) MUST_CHECK;
/* There is a region to load: do not wait for the next round. Any thread, never blocks long. */
void leader_kick(struct leader *l);
/* Whether the database answered lately; `why` says since when it has not. Any thread. */
bool leader_reaches_database(struct leader *l, char *why, size_t why_size);
/* Gives the leases back, ends the thread; after the flusher. NULL is fine; gives NULL. */
struct leader *leader_stop(struct leader *l);
