#include "hypervisor-agent/loop.h"

#include "lib/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct loop {
    pthread_t thread;
    void (*turn_end)(void *ctx);
    void *ctx;
    int64_t now_ms;            /* the loop thread's */
    struct loop_timer **heap;  /* [1..timers], the loop thread's */
    size_t timers, heap_limit; /* the loop thread's */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct loop_event *first, **last; /* guarded by lock */
    bool stopping;                    /* guarded by lock */
};

/* ---- timers: a binary heap ---- */

static void heap_place(struct loop *l, struct loop_timer *t, size_t slot)
{
    l->heap[slot] = t;
    t->slot = slot;
}

static void heap_up(struct loop *l, struct loop_timer *t, size_t slot)
{
    for (; slot > 1 && l->heap[slot / 2]->at_mono_ms > t->at_mono_ms; slot /= 2)
        heap_place(l, l->heap[slot / 2], slot);
    heap_place(l, t, slot);
}

static void heap_down(struct loop *l, struct loop_timer *t, size_t slot)
{
    for (size_t child; (child = slot * 2) <= l->timers; slot = child) {
        if (child < l->timers && l->heap[child + 1]->at_mono_ms < l->heap[child]->at_mono_ms)
            child++;
        if (l->heap[child]->at_mono_ms >= t->at_mono_ms)
            break;
        heap_place(l, l->heap[child], slot);
    }
    heap_place(l, t, slot);
}

static void heap_reserve(struct loop *l)
{
    if (l->timers + 1 < l->heap_limit)
        return;
    size_t limit = l->heap_limit ? l->heap_limit * 2 : 64;
    struct loop_timer **heap = realloc(l->heap, limit * sizeof(struct loop_timer *));
    if (heap == NULL)
        abort(); /* a few pointers a hypervisor: there is nothing sensible left to do */
    l->heap = heap;
    l->heap_limit = limit;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t at_mono_ms)
{
    loop_timer_clear(l, t);
    heap_reserve(l);
    t->at_mono_ms = at_mono_ms;
    l->timers++;
    heap_up(l, t, l->timers);
}

void loop_timer_set_by(struct loop *l, struct loop_timer *t, int64_t at_mono_ms)
{
    if (t->slot == 0 || t->at_mono_ms > at_mono_ms)
        loop_timer_set(l, t, at_mono_ms);
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    size_t slot = t->slot;

    if (slot == 0)
        return;
    struct loop_timer *last = l->heap[l->timers--];
    t->slot = 0;
    if (last == t)
        return;
    if (slot > 1 && l->heap[slot / 2]->at_mono_ms > last->at_mono_ms)
        heap_up(l, last, slot);
    else
        heap_down(l, last, slot);
}

int64_t loop_now_ms(const struct loop *l)
{
    return l->now_ms;
}

/* ---- turns ---- */

static void wait_locked(struct loop *l)
{
    while (l->first == NULL && !l->stopping) {
        if (l->timers == 0) {
            pthread_cond_wait(&l->wake, &l->lock);
            continue;
        }
        int64_t at = l->heap[1]->at_mono_ms;
        if (at <= mono_ms())
            return;
        struct timespec until = {.tv_sec = at / 1000, .tv_nsec = (at % 1000) * 1000000L};
        pthread_cond_timedwait(&l->wake, &l->lock, &until);
    }
}

static struct loop_event *take_locked(struct loop *l)
{
    struct loop_event *all = l->first;

    l->first = NULL;
    l->last = &l->first;
    return all;
}

static void fire_due(struct loop *l)
{
    while (l->timers > 0 && l->heap[1]->at_mono_ms <= l->now_ms) {
        struct loop_timer *t = l->heap[1];
        loop_timer_clear(l, t);
        t->fire(t);
    }
}

static void *run(void *arg)
{
    struct loop *l = arg;

    for (;;) {
        pthread_mutex_lock(&l->lock);
        wait_locked(l);
        struct loop_event *all = take_locked(l);
        bool ends = all == NULL && l->stopping;
        pthread_mutex_unlock(&l->lock);
        if (ends)
            return NULL;
        l->now_ms = mono_ms();
        for (struct loop_event *e = all, *next; e != NULL; e = next) {
            next = e->next; /* running it may free it */
            e->run(e);
        }
        fire_due(l);
        if (l->turn_end != NULL)
            l->turn_end(l->ctx);
    }
}

void loop_post(struct loop *l, struct loop_event *e)
{
    LOCK_SCOPE(&l->lock);
    bool was_empty = l->first == NULL;
    e->next = NULL;
    *l->last = e;
    l->last = &e->next;
    if (was_empty)
        pthread_cond_signal(&l->wake);
}

struct called {
    struct loop_event event;
    void (*fn)(void *ctx);
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done; /* guarded by lock */
};

static void run_called(struct loop_event *e)
{
    struct called *c = (struct called *)(void *)e;

    c->fn(c->ctx);
    LOCK_SCOPE(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->wake);
}

void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx)
{
    struct called c = {.event = {.run = run_called}, .fn = fn, .ctx = ctx};

    assert(!pthread_equal(pthread_self(), l->thread));
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.wake, NULL);
    loop_post(l, &c.event);
    pthread_mutex_lock(&c.lock);
    while (!c.done)
        pthread_cond_wait(&c.wake, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_cond_destroy(&c.wake);
    pthread_mutex_destroy(&c.lock);
}

static void loop_free(struct loop *l)
{
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l->heap);
    free(l);
}

int loop_start(void (*turn_end)(void *ctx), void *ctx, struct loop **ret, struct error *err)
{
    struct loop *l = calloc(1, sizeof *l);
    pthread_condattr_t attr;

    if (l == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    l->turn_end = turn_end;
    l->ctx = ctx;
    l->last = &l->first;
    l->now_ms = mono_ms();
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&l->lock, NULL);
    if (pthread_create(&l->thread, NULL, run, l) != 0) {
        loop_free(l);
        return error_set(err, ERR_INTERNAL, "the loop: no thread");
    }
    pthread_setname_np(l->thread, "loop");
    *ret = l;
    return 0;
}

struct loop *loop_stop(struct loop *l)
{
    if (l == NULL)
        return NULL;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    loop_free(l);
    return NULL;
}
