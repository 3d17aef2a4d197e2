/* harpoon/worker/intake.h: what came from the queues and is not acknowledged yet, by region.
 * Bounded by the consumers' prefetch. A region whose scheduler, routers or database are away is
 * blocked: its consumer stops taking, what is held waits, and one small batch at a time is tried
 * again. Threads: any. */
#pragma once

#include "harpoon/store/events.h"
#include "harpoon/worker/regions.h"
#include "harpoon/worker/work.h"
#include "lib/amqp/amqp.h"
#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>

struct intake;
struct intake_region;

struct intake_options {
    const struct amqp_options *amqp;   /* its texts are borrowed for the intake's life */
    const struct region_list *regions; /* borrowed for its life */
    int prefetch;
    /* On a consumer's thread: a message that cannot be read; `event` is 0 when not even its id is
     * known. It goes to the dead letters. Must not block. */
    void (*on_unreadable)(void *ctx, event_id event, const char *region, const char *why);
    void *ctx;
};

/* Connects in the background. */
int intake_start(const struct intake_options *options, struct intake **ret,
                 struct error *err) MUST_CHECK;
/* intake_take answers 0 from now on; nothing more is taken from the queues. */
void intake_close(struct intake *in);
/* After the pipelines ended: what is unacknowledged goes back to the queues. NULL is fine; gives
 * NULL. */
struct intake *intake_free(struct intake *in);

/* Waits for works of one region, at most `max` and a few MiB of them, fewer when it is blocked.
 * 0: closed. Each is ended by intake_end or intake_hold. */
size_t intake_take(struct intake *in, struct work **ret, size_t max);
/* The region of works that were taken together: its index in the list. */
size_t intake_region_index(const struct intake_region *r);

/* Its next state or check_at is stored: acknowledges and frees it. */
void intake_end(struct work *w);
/* Nothing could be stored: it waits, and its region is blocked for a moment. */
void intake_hold(struct work *w);
/* After each batch of a region. False: its peers are away (`why`, for readiness); it is tried again
 * after a pause that grows. True: all is well. */
void intake_report(struct intake *in, size_t region, bool well, const char *why);

/* How far each queue was taken, for `queues`; at most 2 a region. Returns how many are known. */
size_t intake_taken(struct intake *in, struct queue_taken *ret);
struct intake_stats {
    bool connected; /* taking, or paused by us */
    bool blocked;
    size_t unfinished;
    char why[160]; /* blocked */
};
void intake_stats_get(struct intake *in, size_t region, struct intake_stats *ret);
