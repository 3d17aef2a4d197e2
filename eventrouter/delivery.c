#include "eventrouter/delivery.h"

#include "lib/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#define uthash_fatal(message) abort()
#include <uthash.h>
#include <utlist.h>

/* One job of one call. */
struct job {
    struct delivery *call;
    struct waiting *at; /* NULL: not waiting */
    uint64_t event_id;
    uint32_t attempt;
    struct job *prev, *next; /* in at->jobs */
};

/* What waits for one session. */
struct waiting {
    uint64_t serial;
    struct job *jobs;
    UT_hash_handle hh;
};

struct delivery {
    size_t count;
    size_t open; /* jobs not settled, and one until deliveries_ready() */
    int64_t deadline_mono_ms;
    delivery_done_fn done;
    void *ctx;
    struct job *jobs;
    struct delivery_answer *answers;
    struct delivery *prev, *next; /* in `calls`, then among the completed */
};

struct deliveries {
    size_t max_waiting;
    pthread_mutex_t lock; /* guards what follows, and every delivery */
    struct waiting *sessions;
    struct delivery *calls;
    size_t waiting;
};

struct deliveries *deliveries_new(size_t max_waiting)
{
    struct deliveries *d = must_calloc(1, sizeof(*d));

    d->max_waiting = max_waiting;
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

struct deliveries *deliveries_free(struct deliveries *d)
{
    if (!d)
        return NULL;
    assert(!d->calls && !d->sessions);
    pthread_mutex_destroy(&d->lock);
    free(d);
    return NULL;
}

/* ---- settling ---- */

static void stop_waiting_locked(struct deliveries *d, struct job *j)
{
    struct waiting *at = j->at;

    DL_DELETE(at->jobs, j);
    j->at = NULL;
    d->waiting--;
    if (at->jobs)
        return;
    HASH_DEL(d->sessions, at);
    free(at);
}

/* One thing less to wait for; a call that has all its answers moves to `completed`. */
static void close_one_locked(struct deliveries *d, struct delivery *call,
                             struct delivery **completed)
{
    if (--call->open > 0)
        return;
    DL_DELETE(d->calls, call);
    DL_APPEND(*completed, call);
}

static void settle_locked(struct deliveries *d, struct job *j, Harpoon__Router__V1__Outcome outcome,
                          struct delivery **completed)
{
    struct delivery *call = j->call;

    if (j->at)
        stop_waiting_locked(d, j);
    call->answers[j - call->jobs].outcome = outcome;
    close_one_locked(d, call, completed);
}

/* Without the lock. */
static void complete(struct delivery *completed)
{
    struct delivery *call, *next;

    DL_FOREACH_SAFE(completed, call, next)
    {
        call->done(call->ctx, call->answers, call->count);
        free(call->jobs);
        free(call->answers);
        free(call);
    }
}

/* ---- a call ---- */

int deliveries_begin(struct deliveries *d, size_t count, int64_t deadline_mono_ms,
                     delivery_done_fn done, void *ctx, struct delivery **ret, struct error *err)
{
    LOCK_SCOPE(&d->lock);

    if (d->waiting + count > d->max_waiting)
        return error_set(err, ERR_BUSY, "%zu jobs wait for their agents already", d->waiting);
    struct delivery *call = must_calloc(1, sizeof(*call));
    *call = (struct delivery){
        .count = count,
        .open = count + 1,
        .deadline_mono_ms = deadline_mono_ms,
        .done = done,
        .ctx = ctx,
        .jobs = must_calloc(count, sizeof(call->jobs[0])),
        .answers = must_calloc(count, sizeof(call->answers[0])),
    };
    for (size_t i = 0; i < count; i++)
        call->jobs[i].call = call;
    DL_APPEND(d->calls, call);
    *ret = call;
    return 0;
}

void deliveries_await(struct deliveries *d, struct delivery *call, size_t index, uint64_t serial,
                      const char *journal_id, uint64_t event_id, uint32_t attempt)
{
    struct job *j = &call->jobs[index];
    struct waiting *at = NULL;
    LOCK_SCOPE(&d->lock);

    HASH_FIND(hh, d->sessions, &serial, sizeof(serial), at);
    if (!at) {
        at = must_calloc(1, sizeof(*at));
        at->serial = serial;
        HASH_ADD(hh, d->sessions, serial, sizeof(serial), at);
    }
    j->at = at;
    j->event_id = event_id;
    j->attempt = attempt;
    DL_APPEND(at->jobs, j);
    d->waiting++;
    snprintf(call->answers[index].journal_id, sizeof(call->answers[index].journal_id), "%s",
             journal_id);
}

void deliveries_settle(struct deliveries *d, struct delivery *call, size_t index,
                       Harpoon__Router__V1__Outcome outcome)
{
    struct delivery *completed = NULL;

    pthread_mutex_lock(&d->lock);
    /* It may have been settled meanwhile, by the end of its session. */
    if (call->answers[index].outcome == HARPOON__ROUTER__V1__OUTCOME__OUTCOME_UNSPECIFIED)
        settle_locked(d, &call->jobs[index], outcome, &completed);
    pthread_mutex_unlock(&d->lock);
    assert(!completed); /* not before deliveries_ready() */
}

void deliveries_ready(struct deliveries *d, struct delivery *call)
{
    struct delivery *completed = NULL;

    pthread_mutex_lock(&d->lock);
    close_one_locked(d, call, &completed);
    pthread_mutex_unlock(&d->lock);
    complete(completed);
}

/* ---- what happens to it ---- */

static void note_locked(struct job *j, const struct delivery_said *said)
{
    struct delivery_answer *answer = &j->call->answers[j - j->call->jobs];

    answer->closed = said->closed;
    snprintf(answer->reason, sizeof(answer->reason), "%s", said->reason);
}

size_t deliveries_answer(struct deliveries *d, uint64_t serial, const struct delivery_said *said)
{
    struct delivery *completed = NULL;
    struct waiting *at = NULL;
    struct job *j, *next;
    size_t answered = 0;

    pthread_mutex_lock(&d->lock);
    HASH_FIND(hh, d->sessions, &serial, sizeof(serial), at);
    for (j = at ? at->jobs : NULL; j; j = next) {
        next = j->next; /* `at` goes with its last job */
        if (j->event_id != said->event_id || j->attempt != said->attempt)
            continue;
        note_locked(j, said);
        settle_locked(d, j, said->outcome, &completed);
        answered++;
    }
    pthread_mutex_unlock(&d->lock);
    complete(completed);
    return answered;
}

void deliveries_end_session(struct deliveries *d, uint64_t serial)
{
    struct delivery *completed = NULL;
    struct waiting *at = NULL;
    struct job *j, *next;

    pthread_mutex_lock(&d->lock);
    HASH_FIND(hh, d->sessions, &serial, sizeof(serial), at);
    for (j = at ? at->jobs : NULL; j; j = next) {
        next = j->next;
        settle_locked(d, j, HARPOON__ROUTER__V1__OUTCOME__OUTCOME_NO_ANSWER, &completed);
    }
    pthread_mutex_unlock(&d->lock);
    complete(completed);
}

/* A call that is still being sent is left alone until the next time. */
static void expire_locked(struct deliveries *d, struct delivery *call, struct delivery **completed)
{
    size_t waiting = 0;

    for (size_t i = 0; i < call->count; i++)
        waiting += call->jobs[i].at != NULL;
    if (waiting != call->open)
        return;
    for (size_t i = 0; i < call->count; i++)
        if (call->jobs[i].at)
            settle_locked(d, &call->jobs[i], HARPOON__ROUTER__V1__OUTCOME__OUTCOME_NO_ANSWER,
                          completed);
}

void deliveries_expire(struct deliveries *d, int64_t now_mono_ms)
{
    struct delivery *completed = NULL;
    struct delivery *call, *next;

    pthread_mutex_lock(&d->lock);
    DL_FOREACH_SAFE(d->calls, call, next)
    if (call->deadline_mono_ms <= now_mono_ms)
        expire_locked(d, call, &completed);
    pthread_mutex_unlock(&d->lock);
    complete(completed);
}

size_t deliveries_waiting(struct deliveries *d)
{
    LOCK_SCOPE(&d->lock);
    return d->waiting;
}
