/* Locks: the intake's first, then a consumer's (inside its pause and resume, which never wait); a
 * consumer calls back without holding its own. */
#include "harpoon/worker/intake.h"

#include "harpoon/worker/metrics.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/macros.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUEUES        2                 /* create, action */
#define BATCH_BYTES   ((size_t)2 << 20) /* with headroom below what an RPC may carry */
#define PROBE_BATCH   16
#define BLOCK_BASE_MS 250
#define BLOCK_CAP_MS  5000
#define IDLE_MS       1000

struct intake_region {
    struct intake *intake;
    size_t index;
    const char *slug;
    char names[QUEUES][EVENT_QUEUE_NAME];
    const char *queues[QUEUES];
    struct amqp_consumer *consumer;

    /* guarded by the intake's lock */
    struct work *waiting, **waiting_end;
    struct work unfinished; /* ring: waiting and in hand */
    size_t unfinished_count;
    int64_t newest_ms[QUEUES]; /* publish time of the newest message taken; 0: none yet */
    bool blocked, probing;     /* probing: a pipeline has the batch that finds out */
    int64_t retry_at_ms;       /* monotonic */
    struct backoff backoff;
    char why[160];
};

struct intake {
    struct intake_region *regions;
    size_t region_count;
    void (*on_unreadable)(void *ctx, event_id event, const char *region, const char *why);
    void *ctx;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool closed; /* guarded by lock, as all below */
    size_t turn; /* the region to look at first */
};

/* ---- lists ---- */

static void push_waiting_locked(struct intake_region *r, struct work *w)
{
    w->next_waiting = NULL;
    *r->waiting_end = w;
    r->waiting_end = &w->next_waiting;
}

static struct work *pop_waiting_locked(struct intake_region *r)
{
    struct work *w = r->waiting;

    r->waiting = w->next_waiting;
    if (r->waiting == NULL)
        r->waiting_end = &r->waiting;
    return w;
}

static void link_locked(struct intake_region *r, struct work *w)
{
    w->previous = r->unfinished.previous;
    w->next = &r->unfinished;
    w->previous->next = w->next->previous = w;
    r->unfinished_count++;
}

static void unlink_locked(struct work *w)
{
    w->previous->next = w->next;
    w->next->previous = w->previous;
    w->region->unfinished_count--;
}

/* ---- from the consumer ---- */

static void reject(struct intake_region *r, const struct amqp_delivery *d, event_id event,
                   const struct error *err)
{
    log_error("message cannot be read", F_EVENT(event.v), F_REGION(r->slug),
              F_STR("queue", d->queue), F_ERROR(err));
    metric_add(M_MESSAGES, 1, r->slug, "rejected", NULL);
    r->intake->on_unreadable(r->intake->ctx, event, r->slug, err->message);
    amqp_consumer_reject(r->consumer, d->tag);
}

static void on_message(void *ctx, const struct amqp_delivery *d)
{
    struct intake_region *r = ctx;
    struct intake *in = r->intake;
    struct work *w;
    event_id event;
    struct error err;
    unsigned queue = strcmp(d->queue, r->queues[1]) == 0;

    pthread_mutex_lock(&in->lock); /* until then the region is being started */
    pthread_mutex_unlock(&in->lock);
    int code = work_decode(d->body, d->size, r->slug, &w, &event, &err);
    if (code == ERR_INVALID) {
        reject(r, d, event, &err);
        return;
    }
    if (code < 0)
        return; /* no memory: the broker gives it again when the connection ends */
    w->region = r;
    w->queue = queue;
    w->tag = d->tag;
    if (w->published_ms == 0)
        w->published_ms = d->published_unix_ms;
    LOCK_SCOPE(&in->lock);
    link_locked(r, w);
    push_waiting_locked(r, w);
    if (w->published_ms > r->newest_ms[queue])
        r->newest_ms[queue] = w->published_ms;
    pthread_cond_signal(&in->wake);
}

/* ---- to the pipelines ---- */

static bool is_ready_locked(const struct intake_region *r, int64_t now_ms)
{
    return r->waiting != NULL && (!r->blocked || (!r->probing && now_ms >= r->retry_at_ms));
}

/* The next region in turn that has something to do, or NULL, and until when to wait for one. */
static struct intake_region *find_ready_locked(struct intake *in, int64_t *ret_until_ms)
{
    int64_t now_ms = mono_ms();

    *ret_until_ms = now_ms + 60000;
    for (size_t i = 0; i < in->region_count; i++) {
        struct intake_region *r = &in->regions[(in->turn + i) % in->region_count];
        if (is_ready_locked(r, now_ms)) {
            in->turn = r->index + 1;
            return r;
        }
        if (r->waiting != NULL && !r->probing && r->retry_at_ms < *ret_until_ms)
            *ret_until_ms = r->retry_at_ms;
    }
    return NULL;
}

static size_t take_locked(struct intake_region *r, struct work **ret, size_t max)
{
    size_t n = 0, bytes = 0;

    if (r->blocked) {
        r->probing = true;
        max = max < PROBE_BATCH ? max : PROBE_BATCH;
    }
    while (n < max && r->waiting != NULL && (n == 0 || bytes + r->waiting->size <= BATCH_BYTES)) {
        ret[n] = pop_waiting_locked(r);
        bytes += ret[n++]->size;
    }
    return n;
}

size_t intake_take(struct intake *in, struct work **ret, size_t max)
{
    LOCK_SCOPE(&in->lock);

    while (!in->closed) {
        int64_t until_ms;
        struct intake_region *r = find_ready_locked(in, &until_ms);
        if (r != NULL) {
            size_t n = take_locked(r, ret, max);
            if (is_ready_locked(r, mono_ms()))
                pthread_cond_signal(&in->wake); /* for another pipeline */
            return n;
        }
        struct timespec at = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
        pthread_cond_timedwait(&in->wake, &in->lock, &at);
    }
    return 0;
}

size_t intake_region_index(const struct intake_region *r)
{
    return r->index;
}

void intake_end(struct work *w)
{
    struct intake_region *r = w->region;

    pthread_mutex_lock(&r->intake->lock);
    unlink_locked(w);
    pthread_mutex_unlock(&r->intake->lock);
    amqp_consumer_ack(r->consumer, w->tag);
    metric_add(M_MESSAGES, 1, r->slug, "done", NULL);
    work_free(w);
}

void intake_hold(struct work *w)
{
    struct intake_region *r = w->region;

    metric_add(M_MESSAGES, 1, r->slug, "held", NULL);
    LOCK_SCOPE(&r->intake->lock);
    push_waiting_locked(r, w);
}

/* Returns whether it changed. */
static bool set_blocked_locked(struct intake_region *r, bool blocked, const char *why)
{
    bool was = r->blocked;

    r->blocked = blocked;
    r->probing = false;
    if (blocked) {
        snprintf(r->why, sizeof r->why, "%s", why);
        r->retry_at_ms = mono_ms() + backoff_next_ms(&r->backoff);
    } else {
        r->retry_at_ms = 0;
        backoff_reset(&r->backoff);
    }
    return was != blocked;
}

void intake_report(struct intake *in, size_t region, bool well, const char *why)
{
    struct intake_region *r = &in->regions[region];

    pthread_mutex_lock(&in->lock);
    bool changed = set_blocked_locked(r, !well, why);
    if (changed && well)
        amqp_consumer_resume(r->consumer);
    else if (changed)
        amqp_consumer_pause(r->consumer);
    pthread_cond_broadcast(&in->wake);
    pthread_mutex_unlock(&in->lock);
    if (changed && well)
        log_info("region is served again", F_REGION(r->slug));
    else if (changed)
        log_warn("region is blocked", F_REGION(r->slug), F_STR("why", why));
}

/* ---- how far the queues were taken ---- */

/* What is taken but not finished counts as queued still: while a region is blocked, nothing of it
 * is published again. */
static int64_t taken_locked(const struct intake_region *r, unsigned queue)
{
    int64_t taken_ms = r->newest_ms[queue];

    for (const struct work *w = r->unfinished.next; w != &r->unfinished; w = w->next)
        if (w->queue == queue && w->published_ms != 0 && w->published_ms <= taken_ms)
            taken_ms = w->published_ms - 1;
    return taken_ms;
}

size_t intake_taken(struct intake *in, struct queue_taken *ret)
{
    int64_t now_ms = mono_ms();
    size_t n = 0;

    for (size_t i = 0; i < in->region_count; i++) {
        struct intake_region *r = &in->regions[i];
        for (unsigned q = 0; q < QUEUES; q++) {
            int64_t idle_since = amqp_consumer_idle_since(r->consumer, q);
            pthread_mutex_lock(&in->lock);
            int64_t taken_ms = taken_locked(r, q);
            pthread_mutex_unlock(&in->lock);
            bool idle = idle_since != 0 && now_ms - idle_since >= IDLE_MS;
            if (!idle && taken_ms == 0)
                continue;
            snprintf(ret[n].name, sizeof ret[n].name, "%s", r->queues[q]);
            ret[n++].taken_at_ms = idle ? 0 : taken_ms;
        }
    }
    return n;
}

void intake_stats_get(struct intake *in, size_t region, struct intake_stats *ret)
{
    struct intake_region *r = &in->regions[region];
    struct amqp_consumer_stats stats;

    amqp_consumer_stats_get(r->consumer, &stats);
    LOCK_SCOPE(&in->lock);
    ret->connected = stats.connected && (stats.consuming || r->blocked);
    ret->blocked = r->blocked;
    ret->unfinished = r->unfinished_count;
    snprintf(ret->why, sizeof ret->why, "%s", r->blocked ? r->why : "");
}

/* ---- start and stop ---- */

static void on_notice(void *ctx, bool is_problem, const char *sentence, const char *detail)
{
    const struct intake_region *r = ctx;

    log_write(is_problem ? LOG_WARN : LOG_INFO, sentence,
              (const struct log_field[]){F_REGION(r->slug),
                                         F_STR("detail", detail),
                                         {.kind = LOG_END}});
}

static int start_region(struct intake *in, struct intake_region *r,
                        const struct intake_options *options, struct error *err)
{
    struct amqp_consumer_options consumer = {
        .connection = *options->amqp,
        .queues = r->queues,
        .queue_count = QUEUES,
        .prefetch = options->prefetch,
        .on_message = on_message,
        .on_notice = on_notice,
        .ctx = r,
    };

    r->intake = in;
    r->index = (size_t)(r - in->regions);
    r->slug = options->regions->regions[r->index].slug;
    r->queues[0] = event_queue_name(r->slug, EVENT_CREATE, r->names[0]);
    r->queues[1] = event_queue_name(r->slug, EVENT_DESTROY, r->names[1]);
    r->waiting_end = &r->waiting;
    r->unfinished.next = r->unfinished.previous = &r->unfinished;
    backoff_init(&r->backoff, BLOCK_BASE_MS, BLOCK_CAP_MS, 0);
    LOCK_SCOPE(&in->lock); /* a message waits until the consumer is known */
    return amqp_consumer_start(&consumer, &r->consumer, err);
}

int intake_start(const struct intake_options *options, struct intake **ret, struct error *err)
{
    struct intake *in = calloc(1, sizeof *in);
    pthread_condattr_t monotonic;
    int r = 0;

    if (in == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    pthread_mutex_init(&in->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&in->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    in->on_unreadable = options->on_unreadable;
    in->ctx = options->ctx;
    in->regions = calloc(options->regions->count, sizeof *in->regions);
    if (in->regions == NULL)
        r = error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < options->regions->count && r == 0; i++) {
        r = start_region(in, &in->regions[i], options, err);
        in->region_count += r == 0;
    }
    if (r < 0) {
        intake_free(in);
        return r;
    }
    *ret = in;
    return 0;
}

void intake_close(struct intake *in)
{
    LOCK_SCOPE(&in->lock);

    in->closed = true;
    pthread_cond_broadcast(&in->wake);
}

struct intake *intake_free(struct intake *in)
{
    if (in == NULL)
        return NULL;
    for (size_t i = 0; i < in->region_count; i++)
        amqp_consumer_stop(in->regions[i].consumer); /* no message comes after this */
    for (size_t i = 0; i < in->region_count; i++)
        while (in->regions[i].waiting != NULL)
            work_free(pop_waiting_locked(&in->regions[i]));
    free(in->regions);
    pthread_cond_destroy(&in->wake);
    pthread_mutex_destroy(&in->lock);
    free(in);
    return NULL;
}
