/* scheduler/rank/changes.h: what decisions did to the claims, in order, and what is left of it for
 * the database. Pure. */
#pragma once

#include "scheduler/rank/claims.h"

enum change_kind { CHANGE_TAKE, CHANGE_RELEASE };

struct change {
    enum change_kind kind;
    struct claim claim;
};

struct changes {
    struct change *list;
    size_t count, size;
};

void changes_add(struct changes *c, enum change_kind kind, const struct claim *claim);
/* Puts copies of `more` behind what is there. */
void changes_append(struct changes *c, const struct changes *more);
void changes_fini(struct changes *c);

/* What must be done to rows that were true before the first change, so that they are true after
 * the last: first delete `releases`, then insert `takes`; both ascend by (event, attempt). A claim
 * taken and released again is in neither; one released and taken again is in both. */
struct net_changes {
    struct claim *releases, *takes;
    size_t release_count, take_count;
};

void changes_net(const struct changes *c, struct net_changes *ret);
void net_changes_fini(struct net_changes *n);
