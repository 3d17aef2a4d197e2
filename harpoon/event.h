/* harpoon/event.h: the state machine of events, pure: no I/O, no clock, no threads. Given a row, an
 * input and the time it says what the row becomes, what happens to its droplet, and what the one
 * who reported is to be told. The store writes that change as a compare-and-set.
 * The rules are those of docs/protocol; the only table of legal moves is in event.c. */
#pragma once

#include "harpoon/droplet.h"
#include "lib/error.h"
#include "lib/ids.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- words; the numbers of these three are stored: append only ---- */
enum event_type {
    EVENT_CREATE = 1,
    EVENT_DESTROY, /* the customer's delete */
    EVENT_CLEANUP, /* internal: what an event that ended early may have left on its hypervisor */
};
#define EVENT_TYPES 3

enum event_state {
    EVENT_PENDING = 1, /* committed, to be published (again) */
    EVENT_DISPATCHED,  /* in the journal of one agent, which may start it */
    EVENT_RUNNING,     /* the agent has begun */
    EVENT_SUCCEEDED,
    EVENT_FAILED,
    EVENT_CANCELLED,
};
#define EVENT_STATES 6

enum event_reason { /* why it waits or how it failed */
                    REASON_NONE,
                    REASON_NO_ROOM,
                    REASON_NOT_CONNECTED,
                    REASON_NO_ANSWER, /* the agent did not answer Deliver in time */
                    REASON_BUSY,      /* the agent's queue is full */
                    REASON_REFUSED,
                    REASON_HOST_DISK_FULL,
                    REASON_HYPERVISOR_UNREACHABLE,
                    REASON_DEADLINE,
                    REASON_CANCELLED,
                    REASON_FENCED,
                    REASON_OUT_OF_ATTEMPTS,
                    REASON_DRIVER_FAILED,
                    REASON_IMAGE_UNAVAILABLE,
                    REASON_IMAGE_CORRUPT,
                    REASON_FOREIGN_INSTALLATION,
                    REASON_CONFLICT,    /* something that is not ours is in the way */
                    REASON_UNDECODABLE, /* its message could not be read */
                    REASON_OTHER,       /* a word this version does not know */
                    REASON_COUNT
};

const char *event_type_name(enum event_type type);    /* "create"; "unknown" */
const char *event_state_name(enum event_state state); /* "pending" */
const char *event_reason_name(enum event_reason r);   /* "no_room"; "" for none */
/* By name; false: no such word. */
bool event_type_parse(const char *name, enum event_type *ret);
bool event_state_parse(const char *name, enum event_state *ret);
/* An agent's word; REASON_OTHER for one that is not known, REASON_NONE for "" and NULL. */
enum event_reason event_reason_parse(const char *word);

/* ---- what a type of event is ---- */
struct event_policy {
    enum event_type type;
    const char *name;
    bool placed;           /* the scheduler chooses its hypervisor; otherwise it is pinned to one */
    bool cancellable;      /* while pending */
    bool keeps_running;    /* `running` is stored; otherwise only its end is */
    bool redispatched;     /* may be stored dispatched again, to its agent's new journal */
    bool ends_absent;      /* its success means that nothing of the droplet exists any more */
    unsigned max_attempts; /* 0: no end */
    int64_t deadline_ms;   /* after it was accepted; 0: none */
    int64_t pending_margin_ms; /* when someone must look again, by state */
    int64_t dispatched_margin_ms;
    int64_t running_margin_ms;
    int64_t retry_max_ms; /* the longest pause between two looks of a pending one */
};
const struct event_policy *event_policy_get(enum event_type type); /* NULL: no such type */
bool event_is_final(enum event_state state);

/* The name of the queue of this type, "events.nyc3.create" or "events.nyc3.action"; also its
 * routing key and its row in `queues`. Returns `ret`. */
#define EVENT_QUEUE_NAME 64
const char *event_queue_name(const char *region, enum event_type type, char ret[EVENT_QUEUE_NAME]);

/* ---- the row, and of its droplet what decisions need ---- */
#define EVENT_REGION       32
#define EVENT_EXCLUDED_MAX 32

struct event {
    event_id id;
    droplet_id droplet;
    account_id account;
    enum event_type type;
    char region[EVENT_REGION];
    enum event_state state;
    unsigned attempt;         /* from 1 */
    hypervisor_id hypervisor; /* of this attempt once dispatched; of a pinned one always; else 0 */
    struct uuid journal;      /* of the agent's journal that holds it, once dispatched; else zero */
    enum event_reason reason;
    int64_t check_at_ms; /* 0: final */
    int64_t deadline_ms; /* 0: none */
    int64_t created_ms;
    int64_t waiting_since_ms; /* pending: waits for `reason` since; 0: does not wait */
    int64_t placed_ms, dispatched_ms, running_ms, done_ms; /* of this attempt; 0: not yet */
    uint64_t excluded[EVENT_EXCLUDED_MAX]; /* hypervisors of earlier attempts, the latest last */
    size_t excluded_count;

    enum droplet_status droplet_status;
    event_id droplet_event;           /* the droplet's unfinished event, 0: none */
    hypervisor_id droplet_hypervisor; /* where it lives, 0: nowhere */
    bool droplet_deleted;             /* DELETE was accepted */
    bool droplet_gone;                /* nothing of it exists */
};

/* ---- inputs ---- */
enum event_input_kind {
    IN_DELIVERED,     /* in the journal of `hypervisor`, `journal` (or finished there before) */
    IN_REFUSED,       /* refused, and in no journal: moves only a pending row */
    IN_NOT_CONNECTED, /* no session, no answer, its queue full: `reason` says which */
    IN_NO_ROOM,
    IN_RUNNING,
    IN_SUCCEEDED,
    IN_CLOSED,   /* durably, in `journal` of `hypervisor`: this attempt never runs there (again) */
    IN_FENCED,   /* an operator vouches that `hypervisor` is powered off or wiped */
    IN_CANCEL,   /* DELETE or an operator; only a pending row */
    IN_DEADLINE, /* the sweeper looks whether it is past its deadline */
    IN_POKE,     /* nothing new: look again later */
    IN_UNREADABLE, /* a worker could not read its message: `reason` and `detail` say why */
};
#define EVENT_INPUTS 12

struct event_input {
    enum event_input_kind kind;
    unsigned attempt; /* the one spoken of. 0: whichever the row is at (cancel, deadline, poke) */
    hypervisor_id hypervisor;
    struct uuid journal;
    enum event_reason reason;
    const char *detail; /* for people, may be NULL; borrowed for the call */
    const char *actor;  /* "worker", "agent", "sweeper", "customer", "operator NAME"; borrowed */
    bool dark;          /* IN_NOT_CONNECTED: more than 20 % of the region is dark */
    bool released;      /* the claims that change.release_first spoke of are released */
    int64_t began_ms, ended_ms; /* of a report; 0: not said */
};

enum event_answer {                 /* to the one who brought the input */
                    ANSWER_STORED,  /* it is in the row: forget it; of IN_DELIVERED see below */
                    ANSWER_DISCARD, /* undo what this attempt made, then report it closed */
                    ANSWER_UNKNOWN, /* no such row: touch nothing */
                    ANSWER_WAIT,    /* not now: again later */
                    ANSWER_START,   /* the row is the permission for just this attempt,
                                       hypervisor and journal: Start may be sent */
                    ANSWER_DROP,    /* final, or at a higher attempt: Drop may be sent */
};

enum event_release {
    RELEASE_NONE,
    RELEASE_ATTEMPT, /* the claim of (event, attempt) */
    RELEASE_DROPLET, /* every claim of the droplet */
};

struct event_change {
    bool changed;     /* `row` differs from what was given: store it */
    bool refused;     /* no legal move: counted, nothing stored */
    struct event row; /* as it is to be; the droplet's part too, when droplet_changed */
    bool droplet_changed;
    bool droplet_freed;               /* the droplet is gone now: its addresses return */
    enum event_type follow_up;        /* 0: none; otherwise insert such an event, pinned to
                                         `row.hypervisor`, in the same transaction: the droplet's event_id
                                         points to it */
    enum event_release release_first; /* nothing changed yet: release this, then bring the input
                                         again with `released` */
    enum event_answer answer;
    const char *log_what; /* NULL: nothing for the timeline; else static text, e.g. "no room" */
};

/* What `in` makes of `row` at `now_ms`. Never fails: an input that does not fit changes nothing and
 * says in `answer` what its bringer must know. */
void event_step(const struct event *row, const struct event_input *in, int64_t now_ms,
                struct event_change *ret);

/* ---- questions about a row that change nothing ---- */

/* Has an agent with this job in `journal`, accepted and not started, the permission to begin?
 * ANSWER_START, ANSWER_DROP or ANSWER_WAIT; `row` NULL (no such event): WAIT. */
enum event_answer event_confirm(const struct event *row, unsigned attempt, hypervisor_id hypervisor,
                                const struct uuid *journal);
/* Is the claim of (row, attempt) wanted: its event is unfinished and at this attempt, or it is what
 * the droplet lives on, or a destroy or cleanup of its droplet is unfinished. */
bool event_wanted(const struct event *row, unsigned attempt);
/* The same of a claim whose event has no row any more, from its droplet's row. */
bool event_wanted_by_droplet(bool droplet_known, bool droplet_gone);
/* How long until someone must look at this row again, from now; not beyond its deadline, but at
 * least half a second. Without jitter. Of a final row: 0. */
int64_t event_margin_ms(const struct event *row, int64_t now_ms);
/* A pending row is published again when its check_at is past, and not so young that its message may
 * still be in the queue: `taken_ms` is the queue's taken_at (0: never), see `queues`. */
bool event_is_due(const struct event *row, int64_t now_ms, int64_t taken_ms);
/* Is it past its deadline? */
bool event_is_late(const struct event *row, int64_t now_ms);
