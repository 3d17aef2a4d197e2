#include "harpoon/worker/transitions.h"

#include "harpoon/worker/metrics.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/macros.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BATCH         500
#define IDS_BLOCK     1000
#define RELEASE_BATCH 500
#define RELEASE_TRIES 4

struct transitions {
    const struct region_list *regions;
    struct placer *const *placers;
    struct facts *facts;
    struct sql *db;
    struct ids *event_ids;
    struct event_item *items; /* the flusher's own */
    bool failing;             /* the flusher's: the last batch failed, and was logged */
    struct batcher *flushes;

    pthread_mutex_t lock;
    struct batcher *releases; /* guarded by lock: NULL once stopping */
};

/* What the releasing batcher is handed. */
struct release_task {
    size_t region; /* index */
    struct release release;
    struct transition *transition; /* comes back when released; NULL: nobody waits */
};

static size_t region_find(const struct transitions *t, const char *slug)
{
    size_t i = 0;

    while (i < t->regions->count && strcmp(t->regions->regions[i].slug, slug) != 0)
        i++;
    return i;
}

/* ---- releases ---- */

static int submit_release(struct transitions *t, const struct event *row, struct release release,
                          struct transition *transition, struct error *err)
{
    struct release_task *task = malloc(sizeof *task);
    size_t region = region_find(t, row->region);
    int r;

    if (task == NULL || region == t->regions->count) {
        free(task);
        return error_set(err, ERR_UNAVAILABLE, "region %s is not served here", row->region);
    }
    *task = (struct release_task){region, release, transition};
    pthread_mutex_lock(&t->lock);
    r = t->releases != NULL ? batcher_submit(t->releases, task, err)
                            : error_set(err, ERR_UNAVAILABLE, "stopping");
    pthread_mutex_unlock(&t->lock);
    if (r < 0)
        free(task);
    return r;
}

static void finish(struct transition *i, int result)
{
    i->done(i->ctx, i, result);
}

static void released(struct transitions *t, struct release_task *task, int result)
{
    struct error err;

    if (task->transition != NULL) {
        task->transition->item.in.released = true;
        if (result == 0)
            result = batcher_submit(t->flushes, task->transition, &err);
        if (result < 0)
            finish(task->transition, result);
    }
    free(task);
}

/* Those of one region, in one call. */
static void release_region(struct transitions *t, size_t region, struct release_task **tasks,
                           size_t count)
{
    struct release releases[RELEASE_BATCH];
    struct error err;
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        if (tasks[i] != NULL && tasks[i]->region == region)
            releases[n++] = tasks[i]->release;
    if (n == 0)
        return;
    int r = placer_release(t->placers[region], releases, n, &err);
    if (r < 0)
        log_warn("claims not released", F_REGION(t->regions->regions[region].slug), F_ERROR(&err));
    metric_add(M_RELEASES, (double)n, t->regions->regions[region].slug, r < 0 ? "failed" : "done",
               NULL);
    for (size_t i = 0; i < count; i++)
        if (tasks[i] != NULL && tasks[i]->region == region) {
            released(t, tasks[i], r);
            tasks[i] = NULL;
        }
}

static void flush_releases(void *ctx, void **items, size_t count)
{
    struct transitions *t = ctx;

    for (size_t region = 0; region < t->regions->count; region++)
        release_region(t, region, (struct release_task **)items, count);
}

void transitions_release_unwanted(struct transitions *t, const struct event *row, unsigned attempt)
{
    struct release release = {.event = row->id, .attempt = attempt, .droplet = row->droplet};
    struct error err;

    if (!event_wanted(row, attempt) && submit_release(t, row, release, NULL, &err) < 0)
        log_debug("claim left to the reconciler", F_EVENT(row->id.v), F_ERROR(&err));
}

/* ---- transitions ---- */

static const char *const input_names[EVENT_INPUTS] = {
    [IN_DELIVERED] = "delivered", [IN_REFUSED] = "refused", [IN_NOT_CONNECTED] = "not_connected",
    [IN_NO_ROOM] = "no_room",     [IN_RUNNING] = "running", [IN_SUCCEEDED] = "succeeded",
    [IN_CLOSED] = "closed",       [IN_FENCED] = "fenced",   [IN_CANCEL] = "cancel",
    [IN_DEADLINE] = "deadline",   [IN_POKE] = "poke",       [IN_UNREADABLE] = "unreadable",
};

static void count_move(const struct event_item *item)
{
    const struct event *row = &item->row;
    const char *type = event_type_name(row->type);

    if (item->outcome == OUTCOME_UNCHANGED)
        metric_add(M_MOVES_REFUSED, 1, input_names[item->in.kind], NULL);
    if (item->outcome != OUTCOME_MOVED || item->before == row->state)
        return;
    metric_add(M_EVENTS, 1, row->region, type, event_state_name(row->state), NULL);
    if (row->state == EVENT_DISPATCHED)
        metric_observe(M_DISPATCH_SECONDS, (double)(row->dispatched_ms - row->created_ms) / 1000,
                       row->region, type, NULL);
    if (event_is_final(row->state) && row->done_ms >= row->created_ms)
        metric_observe(M_EVENT_SECONDS, (double)(row->done_ms - row->created_ms) / 1000,
                       row->region, type, event_state_name(row->state), NULL);
}

static void log_move(const struct event_item *item)
{
    const struct event *row = &item->row;

    if (item->outcome != OUTCOME_MOVED || item->before == row->state)
        return;
    log_info("event moved", F_EVENT(row->id.v), F_DROPLET(row->droplet.v), F_REGION(row->region),
             F_STR("type", event_type_name(row->type)),
             F_STR("from", event_state_name(item->before)),
             F_STR("to", event_state_name(row->state)), F_ATTEMPT(row->attempt),
             F_HYPERVISOR(row->hypervisor.v), F_STR("reason", event_reason_name(row->reason)));
}

static void settle(struct transitions *t, struct transition *i, int result)
{
    const struct event *row = &i->item.row;
    struct error err;

    if (result == 0 && i->item.outcome == OUTCOME_RELEASE_FIRST) {
        bool all = i->item.release == RELEASE_DROPLET;
        struct release release = {
            .event = {all ? 0 : row->id.v},
            .attempt = all ? 0 : row->attempt,
            .droplet = row->droplet,
        };
        if (++i->tries < RELEASE_TRIES && submit_release(t, row, release, i, &err) == 0)
            return;
        result = ERR_UNAVAILABLE;
    }
    if (result == 0) {
        count_move(&i->item);
        log_move(&i->item);
    }
    finish(i, result);
}

static int apply(struct transitions *t, struct transition **inputs, size_t count, struct error *err)
{
    struct uuid installation;
    struct events_env env = {.installation = &installation, .event_ids = t->event_ids};

    if (!facts_installation(t->facts, &installation))
        return error_set(err, ERR_UNAVAILABLE, "the installation is not known yet");
    for (size_t i = 0; i < count; i++) {
        inputs[i]->item.in.detail = inputs[i]->detail;
        t->items[i] = inputs[i]->item;
    }
    int r = events_apply(t->db, &env, t->items, count, err);
    for (size_t i = 0; i < count && r == 0; i++)
        inputs[i]->item = t->items[i];
    return r;
}

/* A failure and the return from it are logged once each. */
static void report(struct transitions *t, int result, const struct error *err)
{
    if (result < 0 && (!t->failing || result == ERR_INTERNAL))
        log_error("transitions not stored", F_ERROR(err));
    if (result == 0 && t->failing)
        log_info("transitions are stored again");
    t->failing = result < 0;
}

static void flush(void *ctx, void **items, size_t count)
{
    struct transitions *t = ctx;
    struct transition **inputs = (struct transition **)items;
    struct error err;
    int64_t started = mono_ms();
    int r = apply(t, inputs, count, &err);

    report(t, r, &err);
    metric_observe(M_STEP_SECONDS, (double)(mono_ms() - started) / 1000, "store", NULL);
    if (r == ERR_INTERNAL && count > 1) { /* one that cannot be stored must not hold the others */
        for (size_t i = 0; i < count; i++) {
            r = apply(t, &inputs[i], 1, &err);
            report(t, r, &err);
            settle(t, inputs[i], r);
        }
        return;
    }
    for (size_t i = 0; i < count; i++)
        settle(t, inputs[i], r);
}

static void on_thread_end(void *ctx)
{
    UNUSED(ctx);
    sql_thread_end();
}

static int start_batchers(struct transitions *t, const struct transitions_options *options,
                          struct error *err)
{
    const struct batcher_options flushes = {
        .name = "transitions",
        .max_batch = BATCH,
        .max_queued = options->max_queued,
        .spacing_ms = options->spacing_ms,
        .flush = flush,
        .thread_end = on_thread_end,
        .ctx = t,
    };
    const struct batcher_options releases = {
        .name = "releases",
        .max_batch = RELEASE_BATCH,
        .max_queued = options->max_queued,
        .flush = flush_releases,
        .ctx = t,
    };
    int r = batcher_start(&flushes, &t->flushes, err);

    return r == 0 ? batcher_start(&releases, &t->releases, err) : r;
}

int transitions_start(const struct transitions_options *options, struct transitions **ret,
                      struct error *err)
{
    struct transitions *t = calloc(1, sizeof *t);
    int r;

    if (t == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    t->regions = options->regions;
    t->placers = options->placers;
    t->facts = options->facts;
    pthread_mutex_init(&t->lock, NULL);
    t->db = sql_new(options->mysql);
    t->items = calloc(BATCH, sizeof *t->items);
    r = t->db != NULL && t->items != NULL ? ids_new("event", IDS_BLOCK, &t->event_ids, err)
                                          : error_set(err, ERR_INTERNAL, "out of memory");
    if (r == 0)
        r = start_batchers(t, options, err);
    if (r < 0) {
        transitions_stop(t);
        return r;
    }
    *ret = t;
    return 0;
}

int transitions_submit(struct transitions *t, struct transition *input, struct error *err)
{
    input->tries = 0;
    return batcher_submit(t->flushes, input, err);
}

void transitions_stats_get(struct transitions *t, struct batcher_stats *ret,
                           struct batcher_stats *ret_releases)
{
    batcher_stats_get(t->flushes, ret);
    LOCK_SCOPE(&t->lock);
    *ret_releases = (struct batcher_stats){0};
    if (t->releases != NULL)
        batcher_stats_get(t->releases, ret_releases);
}

struct transitions *transitions_stop(struct transitions *t)
{
    if (t == NULL)
        return NULL;
    pthread_mutex_lock(&t->lock);
    struct batcher *releases = t->releases;
    t->releases = NULL; /* what needs a release from here on is not stored */
    pthread_mutex_unlock(&t->lock);
    batcher_stop(releases); /* its last ones go to the other batcher, which still runs */
    batcher_stop(t->flushes);
    ids_free(t->event_ids);
    sql_free(t->db);
    free(t->items);
    pthread_mutex_destroy(&t->lock);
    free(t);
    return NULL;
}
