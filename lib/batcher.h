/* lib/batcher.h: many callers need one expensive commit; one flusher thread makes it for all that
 * gathered. Idle it flushes at once; busy it starts no sooner than `spacing_ms` after its last
 * start unless a full batch waits. Threads: submit from any, never blocks. */
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

struct batcher;

struct batcher_options {
    const char *name;  /* for the thread's name and the metrics callback */
    size_t max_batch;  /* items handed to one flush */
    size_t max_queued; /* beyond it submit answers ERR_BUSY */
    int spacing_ms;
    /* Called on the flusher thread with 1..max_batch items, oldest first; it owns them and must
     * complete each one. */
    void (*flush)(void *ctx, void **items, size_t count);
    /* May be NULL: called on the flusher thread when it starts and ends (mysql_thread_init and the
     * like). */
    void (*thread_start)(void *ctx);
    void (*thread_end)(void *ctx);
    void *ctx;
};

struct batcher_stats {
    size_t queued, limit;
    int64_t oldest_ms; /* age of the oldest queued item, 0: none */
    uint64_t batches, items, refused;
};

int batcher_start(const struct batcher_options *options, struct batcher **ret,
                  struct error *err) MUST_CHECK;
/* Hands `item` over. ERR_BUSY: the queue is full, the caller keeps it. ERR_UNAVAILABLE: stopping.
 */
int batcher_submit(struct batcher *b, void *item, struct error *err) MUST_CHECK;
void batcher_stats_get(struct batcher *b, struct batcher_stats *ret);
/* Flushes what is queued, ends the thread. NULL is fine. Gives NULL. */
struct batcher *batcher_stop(struct batcher *b);
