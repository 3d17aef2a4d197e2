/* harpoon/store/events.h: the SQL of events and of the transitions of droplets. Each function is
 * one transaction (or one read) on the connection it is given and blocks on it. Statements go by
 * primary key, in id order; decisions are event_step's. Times are the database's. */
#pragma once

#include "harpoon/event.h"
#include "harpoon/store/ids.h"
#include "lib/error.h"
#include "lib/sql/sql.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What transitions need besides the connection. The owner keeps both for as long as it calls. */
struct events_env {
    const struct uuid *installation;
    struct ids *event_ids; /* the "event" allocator */
};

/* ---- inputs to events ---- */
enum event_outcome {
    OUTCOME_UNKNOWN,       /* no such event */
    OUTCOME_UNCHANGED,     /* said before, too late, or it does not fit: see `answer` */
    OUTCOME_MOVED,         /* stored */
    OUTCOME_RELEASE_FIRST, /* not stored: release `release`, then again with in.released */
};

struct event_item {
    event_id id;           /* in */
    struct event_input in; /* in */
    enum event_outcome outcome;
    enum event_answer answer;
    enum event_release release; /* of OUTCOME_RELEASE_FIRST */
    enum event_state before;    /* its state before this input; 0: unknown */
    struct event row;           /* as it is after the transaction; id 0: unknown */
    event_id follow_up;         /* a destroy or cleanup this input inserted, 0: none */
};

#define EVENTS_BATCH_MAX 1000

/* Applies up to EVENTS_BATCH_MAX inputs in one transaction; several for one event in their order.
 * Answers are in the items. ERR_UNAVAILABLE after the commit was sent: the outcome is unknown, and
 * bringing the same inputs again is harmless. ERR_BUSY: again later. */
int events_apply(struct sql *db, const struct events_env *env, struct event_item *items,
                 size_t count, struct error *err) MUST_CHECK;

/* ---- DELETE of droplets ---- */
struct droplet_delete {
    droplet_id droplet;
    account_id account; /* whose it must be */
    const char *actor;  /* "customer" */
    bool found;         /* out; false: no such droplet of this account, or deleted before */
    struct event event; /* out: the destroy that was inserted, to be published; id 0: none */
};
/* Sets deleted_at and lowers the account's counter; a pending create is cancelled, a living droplet
 * without an unfinished event gets a destroy, and any other event ends first. One transaction, and
 * another for those whose event ended while they were read. Below 0: some may be deleted. */
int events_delete(struct sql *db, const struct events_env *env, struct droplet_delete *items,
                  size_t count, struct error *err) MUST_CHECK;

/* ---- reading ---- */
/* One row, and the bytes of its params when asked for. */
struct event_record {
    struct event row;
    uint64_t replay_of, replayed_as;
    uint8_t *params; /* malloc'ed: events_records_free(); NULL: not read */
    size_t params_size;
};
void events_records_free(struct event_record *records, size_t count); /* frees their params only */

/* Reads `count` rows (at most EVENTS_BATCH_MAX) by id; row.id is 0 in ret[i] when there is no
 * ids[i]. */
int events_read(struct sql *db, const uint64_t *ids, size_t count, bool with_params,
                struct event_record *ret, struct error *err) MUST_CHECK;

/* ---- the sweeper ---- */
struct events_due {
    struct event_record *records; /* at most `limit`, with params; check_at is moved already */
    size_t count;
    bool full;         /* the batch was full: there may be more */
    int64_t now_ms;    /* the database's time */
    int64_t oldest_ms; /* the least check_at among them, before it was moved; 0: none */
};
/* Takes up to `limit` due rows that no other sweeper holds, and moves their check_at by their
 * margin (±20 %) in the same transaction. */
int events_take_due(struct sql *db, size_t limit, struct events_due *ret,
                    struct error *err) MUST_CHECK;
void events_due_free(struct events_due *due);

/* Makes every unfinished event of a hypervisor due now (after a fence). Returns how many. */
int64_t events_touch_hypervisor(struct sql *db, hypervisor_id hypervisor,
                                struct error *err) MUST_CHECK;

/* ---- queues ---- */
struct queue_taken {
    char name[EVENT_QUEUE_NAME];
    int64_t taken_at_ms; /* the publish time of the newest message taken; 0: idle, now */
};
/* Stores taken_at; never moves one backward. */
int events_store_taken(struct sql *db, const struct queue_taken *queues, size_t count,
                       struct error *err) MUST_CHECK;

/* ---- fences ---- */
struct fence_set { /* sorted by id */
    uint64_t *ids;
    size_t count;
};
int fences_load(struct sql *db, struct fence_set *ret, struct error *err) MUST_CHECK;
void fences_free(struct fence_set *set);
bool fences_hold(const struct fence_set *set, hypervisor_id hypervisor);
/* What the agent of a fenced hypervisor said when it attached. */
int fences_store_attach(struct sql *db, hypervisor_id hypervisor, uint32_t jobs_open,
                        uint32_t domains, struct error *err) MUST_CHECK;

/* ---- what agents and schedulers ask ---- */
struct droplet_place {  /* where a droplet may have a domain */
    droplet_id droplet; /* 0: no such row */
    bool gone;
    hypervisor_id hypervisor;       /* where it lives, 0: nowhere */
    hypervisor_id event_hypervisor; /* of its unfinished event once dispatched or pinned, else 0 */
};
int droplets_read_places(struct sql *db, const uint64_t *ids, size_t count,
                         struct droplet_place *ret, struct error *err) MUST_CHECK;

/* The installation's id. */
int installation_read(struct sql *db, struct uuid *ret, struct error *err) MUST_CHECK;
