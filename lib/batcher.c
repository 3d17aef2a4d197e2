#include "lib/batcher.h"

#include "lib/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct waiting {
    void *item;
    int64_t since_ms;
};

struct batcher {
    struct batcher_options options;
    char thread_name[16];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    void **batch; /* the flusher's own */

    /* guarded by lock */
    struct waiting *ring; /* max_queued of them */
    size_t head, count;
    bool stopping;
    uint64_t batches, items, refused;
};

static void wait_until(struct batcher *b, int64_t at_ms)
{
    struct timespec at = {.tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000L};

    pthread_cond_timedwait(&b->wake, &b->lock, &at);
}

/* Waits for a batch that may start. Returns its size, 0: stopped and empty. */
static size_t take_batch_locked(struct batcher *b, int64_t not_before_ms)
{
    for (;;) {
        if (b->count == 0 && b->stopping)
            return 0;
        if (b->count == 0)
            pthread_cond_wait(&b->wake, &b->lock);
        else if (b->count >= b->options.max_batch || b->stopping || mono_ms() >= not_before_ms)
            break;
        else
            wait_until(b, not_before_ms);
    }
    size_t n = b->count < b->options.max_batch ? b->count : b->options.max_batch;
    for (size_t i = 0; i < n; i++)
        b->batch[i] = b->ring[(b->head + i) % b->options.max_queued].item;
    b->head = (b->head + n) % b->options.max_queued;
    b->count -= n;
    b->batches++;
    b->items += n;
    return n;
}

static void *flusher(void *arg)
{
    struct batcher *b = arg;
    int64_t not_before_ms = 0;

    if (b->options.thread_start != NULL)
        b->options.thread_start(b->options.ctx);
    for (;;) {
        pthread_mutex_lock(&b->lock);
        size_t n = take_batch_locked(b, not_before_ms);
        pthread_mutex_unlock(&b->lock);
        if (n == 0)
            break;
        not_before_ms = mono_ms() + b->options.spacing_ms;
        b->options.flush(b->options.ctx, b->batch, n);
    }
    if (b->options.thread_end != NULL)
        b->options.thread_end(b->options.ctx);
    return NULL;
}

static void batcher_free(struct batcher *b)
{
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    free(b->batch);
    free(b->ring);
    free(b);
}

int batcher_start(const struct batcher_options *options, struct batcher **ret, struct error *err)
{
    if (options->max_batch == 0 || options->max_queued == 0 || options->flush == NULL)
        return error_set(err, ERR_INVALID, "batcher %s: no batch, queue or flush", options->name);
    struct batcher *b = calloc(1, sizeof *b);
    if (b == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    b->options = *options;
    b->ring = calloc(options->max_queued, sizeof *b->ring);
    b->batch = calloc(options->max_batch, sizeof *b->batch);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&b->lock, NULL);
    if (b->ring == NULL || b->batch == NULL) {
        batcher_free(b);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    if (pthread_create(&b->thread, NULL, flusher, b) != 0) {
        batcher_free(b);
        return error_set(err, ERR_INTERNAL, "batcher %s: no thread", options->name);
    }
    (void)snprintf(b->thread_name, sizeof b->thread_name, "%s",
                   options->name != NULL ? options->name : "batcher");
    pthread_setname_np(b->thread, b->thread_name);
    *ret = b;
    return 0;
}

int batcher_submit(struct batcher *b, void *item, struct error *err)
{
    LOCK_SCOPE(&b->lock);
    if (b->stopping)
        return error_set(err, ERR_UNAVAILABLE, "stopping");
    if (b->count == b->options.max_queued) {
        b->refused++;
        return error_set(err, ERR_BUSY, "%zu already wait", b->count);
    }
    b->ring[(b->head + b->count) % b->options.max_queued] =
        (struct waiting){.item = item, .since_ms = mono_ms()};
    b->count++;
    /* Between these two the flusher has nothing new to learn. */
    if (b->count == 1 || b->count == b->options.max_batch)
        pthread_cond_signal(&b->wake);
    return 0;
}

void batcher_stats_get(struct batcher *b, struct batcher_stats *ret)
{
    LOCK_SCOPE(&b->lock);
    *ret = (struct batcher_stats){
        .queued = b->count,
        .limit = b->options.max_queued,
        .oldest_ms = b->count > 0 ? mono_ms() - b->ring[b->head].since_ms : 0,
        .batches = b->batches,
        .items = b->items,
        .refused = b->refused,
    };
}

struct batcher *batcher_stop(struct batcher *b)
{
    if (b == NULL)
        return NULL;
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    batcher_free(b);
    return NULL;
}
