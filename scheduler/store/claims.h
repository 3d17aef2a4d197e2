/* scheduler/store/claims.h: claims as rows. Blocks. */
#pragma once

#include "lib/sql/sql.h"
#include "scheduler/rank/claims.h"

/* Inside a transaction that holds the lease: deletes, or inserts, all of `claims`, which ascend by
 * key. ERR_INTERNAL: a row to be deleted is not there; ERR_CONFLICT: one to be inserted is. */
int stored_claims_delete(struct sql *db, const char *region, const struct claim *claims,
                         size_t count, struct error *err) MUST_CHECK;
int stored_claims_insert(struct sql *db, const char *region, const struct claim *claims,
                         size_t count, struct error *err) MUST_CHECK;

/* The next page of a region's claims after (event, attempt); gives how many, 0: that was all. */
int stored_claims_load(struct sql *db, const char *region, event_id after, uint32_t after_attempt,
                       void (*on_claim)(void *ctx, const struct claim *claim), void *ctx,
                       struct error *err) MUST_CHECK;
