#include "scheduler/flush.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "scheduler/metrics.h"
#include "scheduler/store/claims.h"

#include <stdatomic.h>
#include <string.h>

/* Tickets handed to one flush, and changes put into one transaction. */
#define BATCH_MAX 512
#define GROUP_MAX 2000

struct flusher {
    struct flusher_options options;
    struct sql *db; /* the flusher's thread's */
    struct batcher *batcher;
    atomic_size_t cost;
    atomic_uint_fast64_t refused;
};

/* What one transaction does to one region. */
struct part {
    struct region *region;
    uint64_t generation, epoch;
    bool held; /* out: the lease was ours */
    struct net_changes net;
    struct hypervisor *updates;
    size_t update_count;
    struct ticket **tickets; /* borrowed, those of this region, in order */
    size_t ticket_count;
};

struct group {
    struct part *parts;
    size_t count;
};

void ticket_fini(struct ticket *t)
{
    changes_fini(&t->changes);
    free(t->updates);
    free(t->newcomers);
}

/* ---- what a transaction does ---- */

static int write_part(struct sql *db, struct part *p, struct error *err)
{
    const char *region = p->region->name;
    int64_t now = unix_ms();
    int r = lease_hold(db, region, p->epoch, err);

    p->held = r > 0;
    if (r <= 0)
        return r;
    r = stored_claims_delete(db, region, p->net.releases, p->net.release_count, err);
    if (r >= 0)
        r = stored_claims_insert(db, region, p->net.takes, p->net.take_count, err);
    if (r >= 0)
        r = stored_hypervisors_update(db, region, p->updates, p->update_count, now, err);
    for (size_t i = 0; r >= 0 && i < p->ticket_count; i++) {
        struct ticket *t = p->tickets[i];
        if (t->newcomer_count > 0)
            r = stored_hypervisors_make(db, region, t->newcomers, t->newcomer_count, now, err);
    }
    return r;
}

static int write_group(struct sql *db, void *ctx, struct error *err)
{
    struct group *g = ctx;

    for (size_t i = 0; i < g->count; i++) {
        int r = write_part(db, &g->parts[i], err);
        if (r < 0)
            return error_in(err, "region %s", g->parts[i].region->name);
    }
    return 0;
}

/* ---- what goes into it ---- */

struct update {
    const struct hypervisor *row;
    size_t turn; /* the lower, the later it was decided */
};

static int compare_updates(const void *a, const void *b)
{
    const struct update *x = a, *y = b;

    if (x->row->id.v != y->row->id.v)
        return x->row->id.v < y->row->id.v ? -1 : 1;
    return x->turn < y->turn ? -1 : x->turn > y->turn;
}

/* The last word on each hypervisor, ascending by id. */
static void gather_updates(struct part *p)
{
    size_t most = 0, n = 0;
    struct update *order;

    for (size_t i = 0; i < p->ticket_count; i++)
        most += p->tickets[i]->update_count;
    if (most == 0)
        return;
    order = must_calloc(most, sizeof(*order));
    for (size_t i = p->ticket_count; i-- > 0;) {
        for (size_t u = p->tickets[i]->update_count; u-- > 0; n++)
            order[n] = (struct update){&p->tickets[i]->updates[u], n};
    }
    qsort(order, most, sizeof(*order), compare_updates);
    p->updates = must_calloc(most, sizeof(*p->updates));
    for (size_t i = 0; i < most; i++)
        if (i == 0 || order[i].row->id.v != order[i - 1].row->id.v)
            p->updates[p->update_count++] = *order[i].row;
    free(order);
}

static void gather_claims(struct part *p)
{
    struct changes all = {0};

    for (size_t i = 0; i < p->ticket_count; i++)
        changes_append(&all, &p->tickets[i]->changes);
    changes_net(&all, &p->net);
    changes_fini(&all);
}

/* Whether what the ticket was decided on is still what this replica leads with. */
static bool ticket_is_current(struct ticket *t, uint64_t *ret_epoch)
{
    struct region *r = t->region;

    LOCK_SCOPE(&r->lock);
    *ret_epoch = r->epoch;
    if (r->generation == t->generation && r->role == REGION_LEADING)
        return true;
    t->outcome = r->role == REGION_FOLLOWING ? FLUSH_NOT_LEADER : FLUSH_FAILED;
    return false;
}

static struct part *part_find(struct group *g, const struct region *region)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->parts[i].region == region)
            return &g->parts[i];
    return NULL;
}

static int compare_parts(const void *a, const void *b)
{
    return strcmp(((const struct part *)a)->region->name, ((const struct part *)b)->region->name);
}

/* Sorts tickets by region; those that came too late get their outcome. Leases are held in the order
 * of the regions' names, so that replicas never wait for each other in a ring. */
static void group_init(struct group *g, struct ticket **tickets, size_t count)
{
    *g = (struct group){.parts = must_calloc(count, sizeof(*g->parts))};
    for (size_t i = 0; i < count; i++) {
        struct ticket *t = tickets[i];
        uint64_t epoch;
        if (!ticket_is_current(t, &epoch))
            continue;
        struct part *p = part_find(g, t->region);
        if (!p) {
            p = &g->parts[g->count++];
            p->tickets = must_calloc(count, sizeof(struct ticket *));
            p->region = t->region;
            p->generation = t->generation;
            p->epoch = epoch;
        }
        p->tickets[p->ticket_count++] = t;
    }
    qsort(g->parts, g->count, sizeof(*g->parts), compare_parts);
    for (size_t i = 0; i < g->count; i++) {
        gather_claims(&g->parts[i]);
        gather_updates(&g->parts[i]);
    }
}

static void group_fini(struct group *g)
{
    for (size_t i = 0; i < g->count; i++) {
        net_changes_fini(&g->parts[i].net);
        free(g->parts[i].updates);
        free(g->parts[i].tickets);
    }
    free(g->parts);
}

/* ---- what becomes of it ---- */

static void part_end(struct flusher *f, struct part *p, int r, const struct error *err)
{
    enum flush_outcome outcome = FLUSH_COMMITTED;
    const char *region = p->region->name;

    if (r < 0) {
        outcome = FLUSH_FAILED;
        log_warn("commit failed, the region is loaded anew", F_REGION(region), F_ERROR(err));
        metric_add(M_LEASE_CHANGES, 1, region, "distrusted", NULL);
        region_distrust(p->region, p->generation);
        f->options.on_distrust(f->options.ctx);
    } else if (!p->held) {
        outcome = FLUSH_NOT_LEADER;
        log_warn("lease lost, found at a commit", F_REGION(region), F_U64("epoch", p->epoch));
        metric_add(M_LEASE_CHANGES, 1, region, "lost", NULL);
        region_lose(p->region, p->epoch);
    } else {
        metric_add(M_STORED, (double)p->net.take_count, region, "taken", NULL);
        metric_add(M_STORED, (double)p->net.release_count, region, "released", NULL);
        metric_add(M_STORED, (double)p->update_count, region, "hypervisor", NULL);
    }
    for (size_t i = 0; i < p->ticket_count; i++)
        p->tickets[i]->outcome = outcome;
}

static void commit_group(struct flusher *f, struct group *g)
{
    struct error err;
    int64_t began = mono_ms();
    int r = g->count > 0 ? sql_transact(f->db, write_group, g, &err) : 0;

    if (g->count > 0) {
        metric_observe(M_FLUSH_SECONDS, (double)(mono_ms() - began) / 1000.0, NULL);
        metric_add(M_FLUSHES, 1, r < 0 ? "failed" : "committed", NULL);
    }
    for (size_t i = 0; i < g->count; i++)
        part_end(f, &g->parts[i], r, &err);
}

static void flush_group(struct flusher *f, struct ticket **tickets, size_t count)
{
    struct group g;

    group_init(&g, tickets, count);
    commit_group(f, &g);
    group_fini(&g);
    for (size_t i = 0; i < count; i++) {
        size_t cost = tickets[i]->cost;
        tickets[i]->done(tickets[i], tickets[i]->outcome);
        flusher_unreserve(f, cost);
    }
}

static void flush(void *ctx, void **items, size_t count)
{
    struct ticket **tickets = (struct ticket **)items;
    size_t first = 0;

    while (first < count) {
        size_t n = 1, cost = tickets[first]->cost;
        while (first + n < count && cost + tickets[first + n]->cost <= GROUP_MAX)
            cost += tickets[first + n++]->cost;
        flush_group(ctx, tickets + first, n);
        first += n;
    }
}

static void thread_end(void *ctx)
{
    UNUSED(ctx);
    sql_thread_end();
}

int flusher_start(const struct flusher_options *options, struct flusher **ret, struct error *err)
{
    struct flusher *f = must_calloc(1, sizeof(*f));
    struct batcher_options b = {
        .name = "flush",
        .max_batch = BATCH_MAX,
        .max_queued = options->max_cost + 1, /* a ticket costs 1 or more: this never fills */
        .spacing_ms = options->spacing_ms,
        .flush = flush,
        .thread_end = thread_end,
        .ctx = f,
    };

    f->options = *options;
    f->db = sql_new(options->sql);
    int r =
        f->db ? batcher_start(&b, &f->batcher, err) : error_set(err, ERR_INTERNAL, "out of memory");
    if (r < 0) {
        sql_free(f->db);
        free(f);
        return r;
    }
    *ret = f;
    return 0;
}

struct flusher *flusher_stop(struct flusher *f)
{
    if (!f)
        return NULL;
    batcher_stop(f->batcher);
    sql_free(f->db);
    free(f);
    return NULL;
}

bool flusher_reserve(struct flusher *f, size_t cost)
{
    size_t before = atomic_fetch_add(&f->cost, cost);

    if (before == 0 || before + cost <= f->options.max_cost)
        return true;
    atomic_fetch_sub(&f->cost, cost);
    atomic_fetch_add(&f->refused, 1);
    return false;
}

void flusher_unreserve(struct flusher *f, size_t cost)
{
    atomic_fetch_sub(&f->cost, cost);
}

void flusher_submit_locked(struct flusher *f, struct ticket *t)
{
    struct error err;

    t->generation = t->region->generation;
    t->outcome = FLUSH_FAILED;
    if (batcher_submit(f->batcher, t, &err) == 0)
        return;
    /* The batcher is stopping: nobody is left who could ask, and memory is of no more use. */
    log_error("a decision found no flusher", F_REGION(t->region->name), F_ERROR(&err));
    abort();
}

void flusher_stats_get(struct flusher *f, struct flusher_stats *ret)
{
    *ret = (struct flusher_stats){.cost = atomic_load(&f->cost),
                                  .max_cost = f->options.max_cost,
                                  .refused = atomic_load(&f->refused),
                                  .connected = sql_is_connected(f->db)};
    batcher_stats_get(f->batcher, &ret->batches);
}
