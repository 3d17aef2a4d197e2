/* harpoon/store/actions.h: events as their customers read them: actions. Internal cleanups are not
 * shown. Blocks: for the reader's thread. */
#pragma once

#include "harpoon/event.h"
#include "lib/error.h"
#include "lib/ids.h"

#include <stddef.h>
#include <stdint.h>

struct sql;

struct action_record {
    event_id id;
    droplet_id droplet;
    enum event_type type;
    enum event_state state;
    char region[EVENT_REGION];
    int64_t created_ms;
    int64_t done_ms; /* 0: not yet */
};

#define ACTIONS_PAGE_MAX 200

struct action_list {
    struct action_record records[ACTIONS_PAGE_MAX];
    size_t count;
    uint64_t total;
};

/* Newest first; `droplet` 0: of all. ERR_UNAVAILABLE. */
int actions_list(struct sql *db, account_id account, droplet_id droplet, uint64_t offset,
                 size_t limit, struct action_list *ret, struct error *err) MUST_CHECK;
/* `droplet` 0: of any. ERR_NOT_FOUND: no such action of this account (and droplet). */
int actions_find(struct sql *db, account_id account, droplet_id droplet, event_id id,
                 struct action_record *ret, struct error *err) MUST_CHECK;
