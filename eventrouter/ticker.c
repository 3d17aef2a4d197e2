#include "eventrouter/ticker.h"

#include "lib/clock.h"
#include "lib/memory.h"

#include <pthread.h>
#include <stdbool.h>

struct due {
    struct tick tick;
    int64_t at_mono_ms;
};

struct ticker {
    struct due *dues;
    size_t count;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool stopping; /* guarded by lock */
};

/* Calls what is due; when the next is. */
static int64_t tick_all(struct ticker *t)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < t->count; i++) {
        struct due *d = &t->dues[i];
        int64_t now = mono_ms();
        if (now >= d->at_mono_ms) {
            d->tick.fn(d->tick.ctx, now);
            d->at_mono_ms = now + d->tick.interval_ms;
        }
        if (d->at_mono_ms < next)
            next = d->at_mono_ms;
    }
    return next;
}

static bool wait_until(struct ticker *t, int64_t at_mono_ms)
{
    struct timespec at = {at_mono_ms / 1000, (at_mono_ms % 1000) * 1000000};
    LOCK_SCOPE(&t->lock);

    if (!t->stopping)
        pthread_cond_timedwait(&t->cond, &t->lock, &at);
    return !t->stopping;
}

static void *ticker_main(void *arg)
{
    struct ticker *t = arg;

    while (wait_until(t, tick_all(t)))
        ;
    return NULL;
}

int ticker_start(const struct tick *ticks, size_t count, struct ticker **ret, struct error *err)
{
    struct ticker *t = must_calloc(1, sizeof(*t));
    pthread_condattr_t monotonic;

    t->dues = must_calloc(count, sizeof(t->dues[0]));
    t->count = count;
    for (size_t i = 0; i < count; i++)
        t->dues[i].tick = ticks[i];
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&t->thread, NULL, ticker_main, t) != 0) {
        free(t->dues);
        free(t);
        return error_set(err, ERR_INTERNAL, "cannot start a thread");
    }
    pthread_setname_np(t->thread, "ticker");
    *ret = t;
    return 0;
}

struct ticker *ticker_stop(struct ticker *t)
{
    if (!t)
        return NULL;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->cond);
    free(t->dues);
    free(t);
    return NULL;
}
