/* tests/simulation/world.h: a whole Harpoon in one thread on a virtual clock. What decides is the
 * real code (harpoon/event.c, scheduler/rank/, hypervisor-agent/jobs.c); broker, database, network
 * and disks are made here, and break as the seed says. */
#pragma once

#include "harpoon/event.h"
#include "hypervisor-agent/jobs.h"
#include "scheduler/rank/decide.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    HOSTS = 4,
    WORKERS = 2,
    DROPLETS = 8,
    EVENTS = 64,
    FLOWS = 64,
    QUEUED = 128,
    ENTRIES = 64,
    NOTES = 8192,
};

/* Deliberate mistakes, one at a time: the checks must find each. */
enum mistake {
    MISTAKE_NONE,
    MISTAKE_START_BEFORE_STORED,   /* Start is sent as soon as the agent has accepted */
    MISTAKE_NEXT_WITHOUT_CLOSED,   /* an unreachable hypervisor is a reason for another attempt */
    MISTAKE_RELEASE_BEFORE_ABSENT, /* a destroy releases when it is dispatched */
    MISTAKE_NO_CLEANUP,            /* a deadline ends a dispatched create and leaves it at that */
    MISTAKE_NO_SWEEPER,            /* nobody looks at check_at */
    MISTAKE_UNKNOWN_DESTROYS,      /* an agent takes a missing answer for a discard */
    MISTAKE_NO_RECONCILER,         /* claims of ended events are nobody's business */
    MISTAKE_DESTROY_LEAVES_OTHERS, /* a destroy does not close its droplet's other jobs */
    MISTAKES
};
const char *mistake_name(enum mistake m);

/* ---- what is in flight: a note is delivered at its time, unless what it belongs to has crashed
 * since ---- */
enum note_kind {
    NOTE_WORKER_TICK,
    NOTE_SWEEP_TICK,
    NOTE_RECONCILE_TICK,
    NOTE_RELEASE_CLAIM, /* the reconciler's, some time after it asked */
    NOTE_HOST_TICK,
    NOTE_FAULT_TICK,
    NOTE_CUSTOMER_TICK,
    NOTE_DELIVER,   /* worker to agent */
    NOTE_DELIVERED, /* agent to worker */
    NOTE_FLOW_EXPIRES,
    NOTE_START,
    NOTE_DROP,
    NOTE_CONFIRM, /* agent to Harpoon */
    NOTE_CONFIRMED,
    NOTE_REPORT,
    NOTE_REPORTED,
    NOTE_DRIVER_ACTS,
    NOTE_DRIVER_ANSWERS,
};

struct note {
    int64_t at;
    uint64_t order; /* of equals the first one sent comes first */
    enum note_kind kind;
    unsigned who;  /* worker or host */
    uint64_t life; /* of whoever must still live when it arrives; 0: any */
    size_t flow;
    uint64_t flow_life;
    struct event row; /* the message it speaks of */
    enum event_input_kind input;
    enum event_answer answer;
    enum job_input job_input;
    enum job_want want;
    struct uuid journal;
    unsigned host;
};

/* ---- parts ---- */
struct droplet { /* a row of `droplets` */
    enum droplet_status status;
    event_id event;
    hypervisor_id hypervisor;
    bool exists, deleted, gone;
    bool killed; /* by a fence, for which an operator vouched */
};

struct message { /* in the broker */
    struct event row;
    bool used, taken;
    unsigned worker; /* who has it unacknowledged */
};

struct flow { /* a message in a worker's hands */
    bool used;
    uint64_t life;
    unsigned worker;
    size_t message;
    struct event row;
    unsigned host;
};

struct worker {
    bool up;
    uint64_t life;
};

struct entry { /* of a journal */
    bool used;
    uint64_t event, droplet;
    enum job_kind kind;
    uint32_t attempt;
    enum job_state state;
    enum job_ack ack;
    int64_t accepted_at;
};

struct journal {
    struct uuid id;
    struct entry entries[ENTRIES];
    bool barred[DROPLETS + 1];
};

struct domain {
    uint64_t event; /* 0: none */
    uint32_t attempt;
};

struct host {
    bool up, connected, fenced;
    uint64_t life;
    struct journal memory, disk; /* what a crash loses, and what it leaves */
    struct domain domains[DROPLETS + 1];
    bool busy[DROPLETS + 1]; /* the driver works on it */
};

struct world {
    uint64_t random;
    int64_t now;
    uint64_t orders, lives;
    enum mistake mistake;
    bool calm; /* faults have stopped */
    bool verbose;

    struct note notes[NOTES]; /* a binary heap */
    size_t note_count;

    struct droplet droplets[DROPLETS + 1]; /* by id, from 1 */
    struct event rows[EVENTS + 1]; /* by id, from 1; their droplet_… fields live in `droplets` */
    size_t row_count;
    struct message broker[QUEUED];
    struct worker workers[WORKERS];
    struct flow flows[FLOWS];
    struct host hosts[HOSTS + 1]; /* by id, from 1 */
    struct fleet *fleet;
    bool database_up, broker_up;

    uint64_t steps, faults;
    char failure[256]; /* empty: no promise was broken */
};

/* ---- world.c ---- */
void world_init(struct world *w, uint64_t seed, enum mistake mistake, bool verbose);
void world_fini(struct world *w);
/* Runs until nothing is left to do or a promise is broken. */
void world_run(struct world *w);
uint64_t world_random(struct world *w, uint64_t below);
bool world_chance(struct world *w, unsigned permille); /* false when calm */
struct note *world_send(struct world *w, enum note_kind kind,
                        int64_t after_ms); /* fill in the rest */
void world_fail(struct world *w, const char *format, ...) PRINTF(2, 3);
void world_tell(struct world *w, const char *format, ...) PRINTF(2, 3);

/* ---- database.c: rows, and the one way they change ---- */
enum stored { STORED, STORED_UNSEEN, NOT_STORED }; /* done; done but no answer came; not done */
struct event database_read(const struct world *w, uint64_t event);
enum stored database_apply(struct world *w, uint64_t event, const struct event_input *in,
                           struct event_change *ret);
void database_create(struct world *w, uint64_t droplet);
void database_delete(struct world *w, uint64_t droplet);

/* ---- broker.c ---- */
void broker_publish(struct world *w, const struct event *row);
void broker_wipe(struct world *w);
struct message *broker_take(struct world *w, unsigned worker, size_t *ret_index);
void broker_return_all(struct world *w, unsigned worker);

/* ---- worker.c ---- */
void worker_tick(struct world *w, unsigned worker);
void worker_on_delivered(struct world *w, const struct note *n);
void worker_on_flow_expired(struct world *w, const struct note *n);
void worker_on_report(struct world *w, const struct note *n);
void worker_on_confirm(struct world *w, const struct note *n);
void worker_crash(struct world *w, unsigned worker);
void sweeper_tick(struct world *w);
void reconciler_tick(struct world *w);
void operator_fence(struct world *w, unsigned host);

/* ---- host.c ---- */
void host_init(struct world *w, unsigned host);
void host_tick(struct world *w, unsigned host);
void host_on_note(struct world *w, const struct note *n);
void host_crash(struct world *w, unsigned host);
void host_lose_journal(struct world *w, unsigned host);
void host_return_from_fence(struct world *w, unsigned host);

/* ---- checks.c ---- */
void check_step(struct world *w);
void check_move(struct world *w, const struct event *before, const struct event *after);
void check_end(struct world *w);
