/* scheduler/store/leases.h: who leads a region. Blocks. */
#pragma once

#include "lib/sql/sql.h"

#include <stdint.h>

#define REGION_NAME_SIZE 32
#define ADDRESS_SIZE     256

struct lease {
    char region[REGION_NAME_SIZE];
    uint64_t epoch, counter;
    char holder[ADDRESS_SIZE]; /* "": nobody */
};

/* Makes the region's row unless it is there: epoch 0, nobody's. */
int lease_make(struct sql *db, const char *region, struct error *err) MUST_CHECK;
/* Calls `on_lease` for each row there is. */
int leases_load(struct sql *db, void (*on_lease)(void *ctx, const struct lease *lease), void *ctx,
                struct error *err) MUST_CHECK;

/* Takes the lease with epoch + 1 if nobody has touched it since `seen` was read. 1: it is ours, 0:
 * somebody was first. ERR_BUSY: a transaction of the last holder is still open; this does not wait
 * for its end (2 s at most), as other leases must be renewed. ERR_UNAVAILABLE: it may be ours. */
int lease_take(struct sql *db, const struct lease *seen, const char *holder,
               struct error *err) MUST_CHECK;
/* The same for one's own lease, whatever its counter: when it has succeeded no transaction with the
 * old epoch is open any more, and none can commit. 0: it was lost. */
int lease_retake(struct sql *db, const char *region, uint64_t epoch, const char *holder,
                 struct error *err) MUST_CHECK;
/* 1: renewed, 0: lost. */
int lease_renew(struct sql *db, const char *region, uint64_t epoch, struct error *err) MUST_CHECK;
/* Gives it back: the next one need not wait. */
int lease_give_back(struct sql *db, const char *region, uint64_t epoch,
                    struct error *err) MUST_CHECK;
/* Inside a transaction: 1: held with this epoch, and cannot be taken before the transaction's end;
 * 0: lost. */
int lease_hold(struct sql *db, const char *region, uint64_t epoch, struct error *err) MUST_CHECK;
