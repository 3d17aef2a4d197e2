/* hypervisor-agent/book.h: the jobs and droplets of one hypervisor in memory, as the journal has
 * them or is about to. No I/O, no clock. Threads: the owner's. */
#pragma once

#include "hypervisor-agent/jobs.h"
#include "hypervisor-agent/map.h"
#include "lib/ids.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct op; /* a driver operation under way: run.h */

enum mark { MARK_NONE, MARK_WRITING, MARK_DURABLE };

struct droplet {
    struct map_node node; /* key: its id */
    struct job *jobs;     /* by job->sibling */
    enum mark mark;       /* a destroy has closed it */
    int64_t marked_ms;    /* unix */
    event_id marked_by;
    bool dirty; /* the mark is to be written */
    struct droplet *next_dirty;
    struct op *op; /* one at a time */
};

struct job {
    struct map_node node; /* key: the event's id */
    struct droplet *droplet;
    struct job *sibling;         /* of the same droplet */
    struct job *next, *previous; /* in book.open or book.ended */
    bool in_ended;

    uint32_t attempt;
    enum job_kind kind;
    enum job_state state;
    enum job_ack ack;
    int64_t accepted_ms, began_ms, ended_ms; /* unix, 0: not yet */
    char *reason, *detail;                   /* owned, NULL: none */
    uint8_t *bytes; /* owned: the packed job; once ended without its spec */
    size_t size;

    /* the journal: numbers of the process's one series */
    uint64_t version, submitted, durable; /* equal: all is there */
    uint32_t durable_attempt;             /* what the journal says for certain */
    enum job_state durable_state;
    bool row_durable; /* `bytes` are there, a smaller write will do */
    bool dirty;       /* to be written */
    struct job *next_dirty;

    /* the driver */
    struct op *op;
    bool queued; /* in the hypervisor's queue of what waits for the driver */
    struct job *next_queued;
    int64_t retry_mono_ms; /* not before; 0: at once */
    uint8_t retries;

    /* the stream */
    unsigned answers_wanted;  /* to deliveries, once durable */
    int64_t say_mono_ms;      /* when to confirm or report next */
    uint8_t said;             /* how often since it changed: the pause grows */
    uint16_t running_unheard; /* reports of `running` on this stream without an answer */
    bool running_stored;      /* no need to say so again */
};

struct book_list { /* oldest first */
    struct job *first, *last;
    size_t count;
};
struct book {
    struct map jobs, droplets;
    struct book_list open;  /* accepted, begun, undoing, or with something to report */
    struct book_list ended; /* acknowledged, kept to know them again */
    size_t states[JOB_STATES];
    size_t orphans;
    size_t creates; /* begun */
};

struct job *book_find(const struct book *b, event_id event); /* NULL: none */
struct droplet *book_find_droplet(const struct book *b, droplet_id droplet);
/* Finds or makes it. NULL: no memory. */
struct droplet *book_droplet(struct book *b, droplet_id droplet);
/* Adds an entry of `event` in state JOB_NONE; the caller fills the rest and calls book_move.
 * NULL: no memory. */
struct job *book_add(struct book *b, event_id event, struct droplet *droplet);
/* Sets state and acknowledgement and keeps lists and counts true. */
void book_move(struct book *b, struct job *job, enum job_state state, enum job_ack ack);
/* Frees it and, when nothing else is known of it, its droplet. It has no operation under way. */
void book_remove(struct book *b, struct job *job);
/* Frees the droplet when it has no job, mark or operation. */
void book_tidy_droplet(struct book *b, struct droplet *d);
void book_fini(struct book *b);

/* Does the journal say that it is in this state at this attempt? */
static inline bool job_is_durable(const struct job *job)
{
    return job->durable_attempt == job->attempt && job->durable_state == job->state;
}
/* Does the journal say that `attempt` never runs? */
static inline bool job_is_closed(const struct job *job, uint32_t attempt)
{
    return job->durable_attempt > attempt ||
           (job->durable_attempt == attempt && job->durable_state == JOB_CLOSED);
}
/* Is every job of the droplet but `except` durably closed (destroys aside)? */
bool book_others_closed(const struct droplet *d, const struct job *except);
/* Is a destroy of it begun and not done? Then its closed jobs are not reported yet. */
bool book_is_being_destroyed(const struct droplet *d);

/* Over (event, attempt, state) of the jobs that are accepted, begun or to be reported; in any
 * order the same. */
uint64_t book_digest(const struct book *b);
/* How many jobs that is. */
uint32_t book_open_count(const struct book *b);
static inline event_id job_event(const struct job *job)
{
    return (event_id){job->node.key};
}
static inline droplet_id droplet_number(const struct droplet *d)
{
    return (droplet_id){d->node.key};
}
