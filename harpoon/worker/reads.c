#include "harpoon/worker/reads.h"

#include <stdatomic.h>

#include "harpoon/worker/metrics.h"
#include "harpoon/worker/reads_internal.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/macros.h"

#include <stdlib.h>
#include <string.h>

#define SPACING_MS 2

static void task_free(struct read_task *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->attached_count; i++)
        free(t->attached[i].orphans);
    free(t->answers);
    free(t->wanted);
    free(t->attached);
    free(t->attached_list);
    free(t);
}

/* ---- the tick ---- */

/* A failure and the return from it are logged once each. */
static void report(struct reads *r, int result, const struct error *err)
{
    if (result < 0 && !r->failing)
        log_warn("the database cannot be asked", F_ERROR(err));
    if (result == 0 && r->failing)
        log_info("the database can be asked again");
    r->failing = result < 0;
}

static int load_installation(struct reads *r, struct error *err)
{
    struct uuid installation;
    int e;

    if (facts_installation(r->facts, &installation))
        return 0;
    e = installation_read(r->db, &installation, err);
    if (e == 0)
        facts_set_installation(r->facts, &installation);
    return e;
}

static void tick(struct reads *r)
{
    struct fence_set fences;
    struct error err;
    int e = load_installation(r, &err);

    if (e == 0)
        e = fences_load(r->db, &fences, &err);
    if (e == 0) {
        metric_set(M_FENCES, (double)fences.count, NULL);
        facts_set_fences(r->facts, &fences);
        e = events_store_taken(r->db, r->tick->taken, r->tick->taken_count, &err);
    }
    report(r, e, &err);
    atomic_store(&r->ticking, false);
}

void reads_refresh(struct reads *r, const struct queue_taken *taken, size_t count)
{
    struct error err;

    if (atomic_exchange(&r->ticking, true))
        return;
    r->tick->taken_count = count < TAKEN_MAX ? count : TAKEN_MAX;
    if (r->tick->taken_count > 0)
        memcpy(r->tick->taken, taken, r->tick->taken_count * sizeof *taken);
    if (batcher_submit(r->batcher, r->tick, &err) < 0)
        atomic_store(&r->ticking, false);
}

/* ---- the batcher ---- */

/* Those of one kind; asked too long ago, nobody waits for the answer any more. */
static size_t choose(void **items, size_t count, enum read_kind kind, struct read_task **ret)
{
    int64_t now_ms = mono_ms();
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct read_task *t = items[i];
        if (t->kind != kind)
            continue;
        if (now_ms >= rpc_call_deadline_mono_ms(t->call)) {
            struct error err;
            error_set(&err, ERR_DEADLINE, "asked too long ago");
            rpc_fail(t->call, &err);
            task_free(t);
            continue;
        }
        ret[n++] = t;
    }
    return n;
}

static void flush(void *ctx, void **items, size_t count)
{
    struct reads *r = ctx;
    struct read_task *attaches[READ_BATCH], *confirms[READ_BATCH], *wanted[READ_BATCH];
    int64_t started = mono_ms();
    size_t a, c, w;

    for (size_t i = 0; i < count; i++)
        if (items[i] == r->tick)
            tick(r);
    a = choose(items, count, READ_ATTACH, attaches);
    c = choose(items, count, READ_CONFIRM, confirms);
    w = choose(items, count, READ_WANTED, wanted);
    if (a > 0)
        reads_answer_attaches(r, attaches, a);
    if (c > 0)
        reads_answer_confirms(r, confirms, c);
    if (w > 0)
        reads_answer_wanted(r, wanted, w);
    if (a + c + w > 0)
        metric_observe(M_STEP_SECONDS, (double)(mono_ms() - started) / 1000, "read", NULL);
    for (size_t i = 0; i < a; i++)
        task_free(attaches[i]);
    for (size_t i = 0; i < c; i++)
        task_free(confirms[i]);
    for (size_t i = 0; i < w; i++)
        task_free(wanted[i]);
}

int reads_submit(struct reads *r, enum read_kind kind, struct rpc_call *call,
                 const ProtobufCMessage *in, struct error *err)
{
    struct read_task *t = calloc(1, sizeof *t);

    if (t == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    t->kind = kind;
    t->call = call;
    t->in.message = in;
    int e = batcher_submit(r->batcher, t, err);
    if (e < 0)
        task_free(t);
    return e;
}

static void on_thread_end(void *ctx)
{
    UNUSED(ctx);
    sql_thread_end();
}

int reads_start(const struct reads_options *options, struct reads **ret, struct error *err)
{
    struct reads *r = calloc(1, sizeof *r);
    int e = 0;

    if (r == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    r->facts = options->facts;
    r->db = sql_new(options->mysql);
    r->chunk = chunk_new();
    r->tick = calloc(1, sizeof *r->tick);
    if (r->db == NULL || r->chunk == NULL || r->tick == NULL) {
        e = error_set(err, ERR_INTERNAL, "out of memory");
    } else {
        r->tick->kind = READ_TICK;
        e = batcher_start(&(struct batcher_options){.name = "reads",
                                                    .max_batch = READ_BATCH,
                                                    .max_queued = options->max_queued,
                                                    .spacing_ms = SPACING_MS,
                                                    .flush = flush,
                                                    .thread_end = on_thread_end,
                                                    .ctx = r},
                          &r->batcher, err);
    }
    if (e < 0) {
        reads_stop(r);
        return e;
    }
    *ret = r;
    return 0;
}

bool reads_is_connected(struct reads *r)
{
    return sql_is_connected(r->db);
}

void reads_stats_get(struct reads *r, struct batcher_stats *ret)
{
    batcher_stats_get(r->batcher, ret);
}

struct reads *reads_stop(struct reads *r)
{
    if (r == NULL)
        return NULL;
    batcher_stop(r->batcher);
    chunk_free(r->chunk);
    free(r->tick);
    sql_free(r->db);
    free(r);
    return NULL;
}
