/* harpoon/store/admin.h: what operators read and do. Each function is one transaction or one read
 * on the connection it is given, and blocks on it. Rare: by hand, never on the road of an event. */
#pragma once

#include "harpoon/event.h"
#include "harpoon/store/addresses.h"
#include "harpoon/store/ids.h"
#include "lib/error.h"
#include "lib/sql/sql.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- events ---- */
struct admin_event {
    struct event row; /* without the droplet's part */
    uint64_t replay_of, replayed_as;
};
struct admin_filter {
    enum event_state state; /* 0: any */
    bool unfinished;        /* only those */
    bool dead;              /* only creates that failed, were not replayed and whose droplet is not
                               deleted */
    enum event_type type;   /* 0: any */
    const char *region;     /* NULL or "": any */
    uint64_t before_id;     /* 0: from the newest */
    size_t limit;
};
/* Newest first. The caller frees *ret. ERR_DEADLINE: too much to look through; narrow it. */
int admin_list_events(struct sql *db, const struct admin_filter *filter, struct admin_event **ret,
                      size_t *ret_count, struct error *err) MUST_CHECK;
/* The newest `limit` events of a droplet, oldest first. The caller frees *ret. */
int admin_list_droplet_events(struct sql *db, droplet_id droplet, size_t limit,
                              struct admin_event **ret, size_t *ret_count,
                              struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND. */
int admin_find_event(struct sql *db, event_id id, struct admin_event *ret,
                     struct error *err) MUST_CHECK;

#define ADMIN_LOGS_MAX 1000
struct admin_log {
    event_id event;
    int64_t at_ms;
    unsigned attempt;
    hypervisor_id hypervisor;
    char what[64], actor[64], detail[256];
};
/* Of these events, in the order of writing, at most ADMIN_LOGS_MAX. The caller frees *ret. */
int admin_list_logs(struct sql *db, const uint64_t *event_ids, size_t count, struct admin_log **ret,
                    size_t *ret_count, struct error *err) MUST_CHECK;

/* ---- droplets ---- */
struct admin_droplet {
    droplet_id id;
    account_id account;
    char name[256], region[EVENT_REGION];
    enum droplet_status status;
    event_id event;                          /* its unfinished one, 0: none */
    hypervisor_id hypervisor;                /* where it lives, 0: nowhere */
    int64_t created_ms, deleted_ms, gone_ms; /* 0: not */
};
int admin_find_droplet(struct sql *db, droplet_id id, struct admin_droplet *ret,
                       struct error *err) MUST_CHECK; /* ERR_NOT_FOUND */

/* ---- queues and regions ---- */
struct admin_region {
    char slug[EVENT_REGION];
};
int admin_list_regions(struct sql *db, struct admin_region **ret, size_t *ret_count,
                       struct error *err) MUST_CHECK;

struct admin_queue {
    char name[EVENT_QUEUE_NAME], region[EVENT_REGION];
    uint32_t pending, dispatched, running;
    uint32_t due;        /* of the pending: past check_at */
    int64_t oldest_ms;   /* when its oldest unfinished event was accepted; 0: none */
    int64_t taken_at_ms; /* 0: never */
};
/* Two a region, also empty ones. The caller frees *ret. */
int admin_list_queues(struct sql *db, struct admin_queue **ret, size_t *ret_count,
                      struct error *err) MUST_CHECK;

/* ---- fences ---- */
struct admin_fence {
    bool found;
    char region[EVENT_REGION];
    int64_t at_ms;
    bool attached;               /* its agent has attached since */
    uint32_t jobs_open, domains; /* as it said then */
};
int admin_find_fence(struct sql *db, hypervisor_id hypervisor, struct admin_fence *ret,
                     struct error *err) MUST_CHECK;
/* 1: stored. 0: it was fenced before, the row is as it was. */
int admin_store_fence(struct sql *db, hypervisor_id hypervisor, const char *region,
                      const char *actor, const char *reason, struct error *err) MUST_CHECK;
/* Removes it. ERR_NOT_FOUND: not fenced. ERR_CONFLICT says what is missing: the agent has not
 * attached since, or holds jobs or domains. */
int admin_lift_fence(struct sql *db, hypervisor_id hypervisor, struct error *err) MUST_CHECK;
/* Ids of the unfinished events on or pinned to a hypervisor, ascending behind `after`, at most
 * `max`. Returns how many. */
int64_t admin_find_unfinished_on(struct sql *db, hypervisor_id hypervisor, event_id after,
                                 uint64_t *ret, size_t max, struct error *err) MUST_CHECK;

/* ---- replay ---- */
struct admin_replay_env {
    struct ids *event_ids;
    struct addresses *addresses;
    int64_t create_deadline_ms;
    const char *actor, *reason;
};
struct admin_replayed {
    event_id event;    /* in */
    event_id as;       /* out: the new event, or the one of an earlier replay; 0: refused */
    char refused[200]; /* out: why; "" */
};
/* A failed create whose droplet is not deleted and of which nothing is left gets a new event of the
 * same type with new addresses, in one transaction with the droplet's row. Again: gives the same.
 * With `dry_run` only says what would be: `as` is 0. 1: it was replayed now; 0: not. */
int admin_replay(struct sql *db, const struct admin_replay_env *env, bool dry_run,
                 struct admin_replayed *item, struct error *err) MUST_CHECK;
