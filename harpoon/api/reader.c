/* The thread that asks the database on behalf of requests, and looks after what is kept in memory.
 */
#include "harpoon/api/internal.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <stdlib.h>
#include <time.h>

#define BATCH           64
#define TOO_LATE_MS     5000  /* a client that waited so long has given up */
#define CATALOG_MS      60000 /* between two loads */
#define TOKENS_MS       2000  /* a revoked token holds no longer than this and a second */
#define PRUNE_MS        10000 /* between two looks for old answers */
#define KEEPER_PERIOD_S 1

/* ---- requests ---- */
static void run_call(struct reader_job *job, struct sql *db)
{
    struct call *c = (struct call *)job; /* its first member */
    struct error err;

    if (mono_ms() - job->submitted_mono_ms > TOO_LATE_MS) {
        (void)error_set(&err, ERR_DEADLINE, "waited for the database for too long");
        call_fail(c, &err);
        return;
    }
    c->db = db;
    c->step(c);
}

void reader_run(struct call *c, void (*step)(struct call *c))
{
    struct error err;
    int r = 0;

    if (c->db != NULL) { /* there already */
        step(c);
        return;
    }
    c->step = step;
    c->job.run = run_call;
    c->job.submitted_mono_ms = mono_ms();
    if (c->api->database_down)
        r = error_set(&err, ERR_UNAVAILABLE, "the database is gone");
    else
        r = batcher_submit(c->api->reader, &c->job, &err);
    if (r < 0)
        call_fail(c, &err);
}

void reader_note(struct api *api, int result, const struct sql *db)
{
    if (result != ERR_UNAVAILABLE || sql_is_connected(db) || api->database_down)
        return;
    api->database_down = true;
    log_warn("database lost");
    pthread_mutex_lock(&api->keeper_lock);
    pthread_cond_signal(&api->keeper_wake);
    pthread_mutex_unlock(&api->keeper_lock);
}

/* ---- what is kept in memory ---- */
static void tell_regions(struct api *api, const struct catalog *catalog)
{
    struct error err;
    const char **slugs = calloc(catalog->region_count + 1, sizeof *slugs);

    if (slugs == NULL)
        return;
    for (size_t i = 0; i < catalog->region_count; i++)
        slugs[i] = catalog->regions[i].slug;
    if (publisher_set_regions(api->publisher, slugs, catalog->region_count, &err) < 0)
        log_error("publisher did not start", F_ERROR(&err));
    free(slugs);
}

static void start_sweeper(struct api *api)
{
    struct error err;

    if (api->swept)
        return;
    if (api_start_sweeper(api, &err) < 0)
        log_error("sweeper did not start", F_ERROR(&err)); /* tried again at the next load */
    else
        api->swept = true;
}

static void on_loaded(struct api *api, const struct catalog *catalog)
{
    if (api->installed && api->writer_epoch != catalog->writer_epoch) {
        log_warn("database promoted: blocks of ids and addresses dropped");
        ids_drop(api->event_ids);
        ids_drop(api->droplet_ids);
        ids_drop(api->key_ids);
        addresses_drop(api->addresses);
    }
    api->writer_epoch = catalog->writer_epoch;
    if (!api->installed) {
        api->installation = catalog->installation;
        api->installed = true;
        log_info("catalogue loaded", F_U64("regions", catalog->region_count),
                 F_U64("sizes", catalog->size_count), F_U64("images", catalog->image_count));
    }
    tell_regions(api, catalog);
    start_sweeper(api);
}

/* Also the proof that the database is there again. */
int reader_reload(struct api *api, struct sql *db, struct error *err)
{
    int r = catalog_cache_reload(api->catalog, db, err);

    if (r < 0) {
        reader_note(api, r, db);
        return r;
    }
    if (api->database_down)
        log_info("database found again");
    api->database_down = false;
    struct view *view = catalog_cache_get(api->catalog);
    if (view != NULL)
        on_loaded(api, view->catalog);
    view_unref(view);
    return 0;
}

/* A slice at a time, and the next one a second later when there was a whole one. */
static int prune(struct keeper *k, struct sql *db, int64_t now_ms, struct error *err)
{
    if (k->pruned_mono_ms != 0 && now_ms - k->pruned_mono_ms < PRUNE_MS)
        return 0;
    int64_t n = idempotency_prune(db, IDEMPOTENCY_KEEP_MS, err);
    k->pruned_mono_ms = n == IDEMPOTENCY_SLICE ? 0 : now_ms;
    reader_note(k->api, n < 0 ? (int)n : 0, db);
    return n < 0 ? (int)n : 0;
}

static void keep(struct reader_job *job, struct sql *db)
{
    struct keeper *k = (struct keeper *)job; /* its first member */
    struct api *api = k->api;
    struct error err;
    int64_t now_ms = mono_ms();
    int r = 0;

    bool load = api->database_down || !api->installed ||
                catalog_cache_age_ms(api->catalog, now_ms) >= CATALOG_MS;
    if (load)
        r = reader_reload(api, db, &err);
    if (r >= 0 && now_ms - k->tokens_mono_ms >= TOKENS_MS) {
        k->tokens_mono_ms = now_ms;
        r = token_cache_refresh(api->tokens, db, now_ms, unix_ms(), &err);
        reader_note(api, r, db);
    }
    if (r >= 0)
        r = prune(k, db, now_ms, &err);
    if (r < 0 && r != k->last_result)
        log_warn("caches are not refreshed", F_ERROR(&err));
    k->last_result = r;
    k->busy = false;
}

static void *keeper_main(void *arg)
{
    struct api *api = arg;
    struct error err;

    pthread_mutex_lock(&api->keeper_lock);
    while (!api->keeper_stopping) {
        if (!api->keeper.busy) {
            api->keeper.busy = true;
            if (batcher_submit(api->reader, &api->keeper.job, &err) < 0)
                api->keeper.busy = false;
        }
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_sec += KEEPER_PERIOD_S;
        pthread_cond_timedwait(&api->keeper_wake, &api->keeper_lock, &at);
    }
    pthread_mutex_unlock(&api->keeper_lock);
    return NULL;
}

/* ---- the thread ---- */
static void flush(void *ctx, void **items, size_t count)
{
    struct api *api = ctx;

    for (size_t i = 0; i < count; i++) {
        struct reader_job *job = items[i];
        job->run(job, api->reader_db);
    }
}

static void thread_end(void *ctx)
{
    UNUSED(ctx);
    sql_thread_end();
}

int reader_start(struct api *api, struct error *err)
{
    struct batcher_options options = {
        .name = "reader",
        .max_batch = BATCH,
        .max_queued = (size_t)api->config->read_queue,
        .flush = flush,
        .thread_end = thread_end,
        .ctx = api,
    };

    api->reader_db = sql_new(&api->mysql);
    if (api->reader_db == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    int r = batcher_start(&options, &api->reader, err);
    if (r < 0)
        return r;
    api->keeper = (struct keeper){.job.run = keep, .api = api};
    if (pthread_create(&api->keeper_thread, NULL, keeper_main, api) != 0)
        return error_set(err, ERR_INTERNAL, "no thread for the keeper");
    api->keeper_runs = true;
    pthread_setname_np(api->keeper_thread, "keeper");
    return 0;
}

void reader_stop(struct api *api)
{
    if (api->keeper_runs) {
        pthread_mutex_lock(&api->keeper_lock);
        api->keeper_stopping = true;
        pthread_cond_signal(&api->keeper_wake);
        pthread_mutex_unlock(&api->keeper_lock);
        pthread_join(api->keeper_thread, NULL);
        api->keeper_runs = false;
    }
    api->reader = batcher_stop(api->reader);
    api->reader_db = sql_free(api->reader_db);
}
