#include "harpoon/api/sweeper.h"

#include "harpoon/api/message.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/macros.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INTERVAL_MS   200
#define BATCH         500
#define BATCH_MAX     EVENTS_BATCH_MAX
#define ERROR_CAP_MS  5000
#define SHARE_OF_TIME 10 /* a sweep that walks past a backlog takes at most a tenth of the time */

struct sweeper {
    struct sql *db;
    const struct events_env *env;
    int interval_ms;
    size_t batch;
    int (*publish)(void *ctx, const char *queue, const Harpoon__Event__V1__Event *message,
                   const uint8_t *params, size_t params_size, struct error *err);
    void *ctx;
    pthread_t thread;
    bool failing; /* the thread's: the last sweep failed, and was logged */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, awake;       /* guarded by lock */
    struct sweeper_stats stats; /* guarded by lock */
};

/* ---- one sweep ---- */

static void publish_one(struct sweeper *s, const struct event_record *record, int64_t now_ms,
                        struct sweeper_stats *sum)
{
    Harpoon__Event__V1__Event message;
    char journal[UUID_TEXT], queue[EVENT_QUEUE_NAME];
    struct error err;

    message_fill(&record->row, journal, now_ms, &message);
    event_queue_name(record->row.region, record->row.type, queue);
    if (s->publish(s->ctx, queue, &message, record->params, record->params_size, &err) < 0)
        sum->unpublished++;
    else
        sum->published++;
}

/* One that cannot be ended must not keep the others from their end. */
static int end_items(struct sweeper *s, struct event_item *items, size_t count,
                     struct sweeper_stats *sum, bool *ret_again, struct error *err)
{
    int r = events_apply(s->db, s->env, items, count, err);

    if (r == ERR_INTERNAL && count > 1) {
        r = 0;
        for (size_t i = 0; i < count && r == 0; i++)
            r = end_items(s, items + i, 1, sum, ret_again, err);
        return r;
    }
    if (r == ERR_INTERNAL) {
        log_error("event past its deadline cannot be ended", F_EVENT(items->id.v), F_ERROR(err));
        return 0;
    }
    for (size_t i = 0; i < count && r == 0; i++) {
        if (items[i].outcome != OUTCOME_MOVED)
            continue;
        sum->ended++;
        *ret_again = *ret_again || items[i].follow_up.v != 0;
        log_info("event past its deadline", F_EVENT(items[i].id.v),
                 F_DROPLET(items[i].row.droplet.v), F_REGION(items[i].row.region),
                 F_STR("reason", event_reason_name(items[i].row.reason)));
    }
    return r;
}

/* Ends those past their deadline. *ret_again: an end was followed by a cleanup, due at once. */
static int end_late(struct sweeper *s, const struct events_due *due, struct sweeper_stats *sum,
                    bool *ret_again, struct error *err)
{
    struct event_item *items = calloc(due->count, sizeof *items);
    size_t n = 0;

    if (items == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < due->count; i++)
        if (event_is_late(&due->records[i].row, due->now_ms))
            items[n++] = (struct event_item){
                .id = due->records[i].row.id,
                .in = {.kind = IN_DEADLINE, .actor = "sweeper"},
            };
    int r = end_items(s, items, n, sum, ret_again, err);
    free(items);
    return r;
}

/* *ret_again: there is more to take at once. */
static int sweep(struct sweeper *s, struct sweeper_stats *sum, bool *ret_again, struct error *err)
{
    struct events_due due;
    int64_t started = mono_ms();
    int r = events_take_due(s->db, s->batch, &due, err);

    *ret_again = false;
    if (r < 0)
        return r;
    sum->took_ms = mono_ms() - started;
    sum->taken = due.count;
    sum->lag_ms = due.oldest_ms != 0 ? due.now_ms - due.oldest_ms : 0;
    *ret_again = due.full && due.count > 0; /* all held by another sweeper: not at once */
    for (size_t i = 0; i < due.count; i++)
        if (!event_is_late(&due.records[i].row, due.now_ms))
            publish_one(s, &due.records[i], due.now_ms, sum);
    if (due.count > 0)
        r = end_late(s, &due, sum, ret_again, err);
    events_due_free(&due);
    return r;
}

static void count(struct sweeper *s, const struct sweeper_stats *sum, int result)
{
    LOCK_SCOPE(&s->lock);

    s->stats.sweeps++;
    s->stats.taken += sum->taken;
    s->stats.published += sum->published;
    s->stats.unpublished += sum->unpublished;
    s->stats.ended += sum->ended;
    s->stats.errors += result < 0;
    if (result < 0)
        return;
    s->stats.last_sweep_mono_ms = mono_ms();
    s->stats.lag_ms = sum->lag_ms;
    s->stats.took_ms = sum->took_ms;
}

/* A failure and the return from it are logged once each. */
static void report(struct sweeper *s, int result, const struct error *err)
{
    if (result < 0 && !s->failing)
        log_warn("sweeping failed", F_ERROR(err));
    if (result == 0 && s->failing)
        log_info("sweeping again");
    s->failing = result < 0;
}

/* ---- the thread ---- */

/* True: stop. */
static bool pause_until_woken(struct sweeper *s, int64_t ms)
{
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    LOCK_SCOPE(&s->lock);
    while (!s->stopping && !s->awake && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&s->wake, &s->lock, &until);
    s->awake = false;
    return s->stopping;
}

static void *run(void *arg)
{
    struct sweeper *s = arg;
    struct backoff backoff;
    int64_t pause_ms;
    bool again;

    backoff_init(&backoff, s->interval_ms, ERROR_CAP_MS, 0);
    do {
        struct sweeper_stats sum = {0};
        struct error err;
        int r = sweep(s, &sum, &again, &err);
        count(s, &sum, r);
        report(s, r, &err);
        if (r < 0) {
            pause_ms = backoff_next_ms(&backoff);
        } else {
            backoff_reset(&backoff);
            pause_ms = again                                          ? 0
                       : sum.took_ms * SHARE_OF_TIME > s->interval_ms ? sum.took_ms * SHARE_OF_TIME
                                                                      : s->interval_ms;
        }
    } while (!pause_until_woken(s, pause_ms));
    sql_thread_end();
    return NULL;
}

static int init(struct sweeper *s, const struct sweeper_options *options, struct error *err)
{
    pthread_condattr_t monotonic;

    s->env = options->env;
    s->interval_ms = options->interval_ms != 0 ? options->interval_ms : INTERVAL_MS;
    s->batch = options->batch != 0 ? options->batch : BATCH;
    s->batch = s->batch > BATCH_MAX ? BATCH_MAX : s->batch;
    s->publish = options->publish;
    s->ctx = options->ctx;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->db = sql_new(options->mysql);
    return s->db != NULL ? 0 : error_set(err, ERR_INTERNAL, "out of memory");
}

static void sweeper_free(struct sweeper *s)
{
    sql_free(s->db);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int sweeper_start(const struct sweeper_options *options, struct sweeper **ret, struct error *err)
{
    struct sweeper *s = calloc(1, sizeof *s);

    if (s == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    int r = init(s, options, err);
    if (r == 0) {
        int e = pthread_create(&s->thread, NULL, run, s);
        if (e != 0)
            r = error_set(err, ERR_INTERNAL, "sweeper's thread: %s", strerror(e));
    }
    if (r < 0) {
        sweeper_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void sweeper_stats_get(struct sweeper *s, struct sweeper_stats *ret)
{
    LOCK_SCOPE(&s->lock);

    *ret = s->stats;
}

void sweeper_wake(struct sweeper *s)
{
    LOCK_SCOPE(&s->lock);

    s->awake = true;
    pthread_cond_signal(&s->wake);
}

struct sweeper *sweeper_stop(struct sweeper *s)
{
    if (s == NULL)
        return NULL;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    sweeper_free(s);
    return NULL;
}
