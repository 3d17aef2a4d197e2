/* harpoon/worker/transitions.h: everything this process moves in events goes through one batcher
 * and one connection. What may end only when its claims are released waits for that in a second
 * batcher, which asks the scheduler, and comes back. Threads: submit from any, never blocks. */
#pragma once

#include "harpoon/store/events.h"
#include "harpoon/worker/facts.h"
#include "harpoon/worker/placer.h"
#include "harpoon/worker/regions.h"
#include "lib/batcher.h"
#include "lib/error.h"

#include <stdbool.h>

struct transitions;

/* One input. The submitter owns it again when `done` comes. */
struct transition {
    struct event_item item; /* in: id and in; in.detail is taken from `detail`. out: the rest */
    char detail[256];
    /* Once, on a thread of this module; must not block. result 0: item holds the answer. Below 0:
     * nothing is known to be stored; bring it again. */
    void (*done)(void *ctx, struct transition *t, int result);
    void *ctx;
    int tries; /* ours */
};

struct transitions_options {
    const struct sql_options *mysql;   /* copied */
    const struct region_list *regions; /* borrowed for its life */
    struct placer *const *placers;     /* of those regions, in order; borrowed for its life */
    struct facts *facts;               /* borrowed: nothing is stored until it knows */
    size_t max_queued;
    int spacing_ms;
};

int transitions_start(const struct transitions_options *options, struct transitions **ret,
                      struct error *err) MUST_CHECK;
/* ERR_BUSY, ERR_UNAVAILABLE (stopping): `done` does not come. */
int transitions_submit(struct transitions *t, struct transition *input,
                       struct error *err) MUST_CHECK;
/* The claim of (row, attempt) is asked to be released if nobody wants it, as the row says; best
 * effort: the scheduler's reconciler finds what is forgotten here. */
void transitions_release_unwanted(struct transitions *t, const struct event *row, unsigned attempt);
void transitions_stats_get(struct transitions *t, struct batcher_stats *ret,
                           struct batcher_stats *ret_releases);
/* Ends when all that was submitted is done. NULL is fine; gives NULL. */
struct transitions *transitions_stop(struct transitions *t);
