#include "scheduler/leader.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "scheduler/lease.h"
#include "scheduler/load.h"
#include "scheduler/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define REACHED_WITHIN_MS 3000
/* For each statement; with so short a time lib/sql waits 1 s for a lock, so that one region's slow
 * commit does not cost the leases of the others. */
#define TIMEOUT_MS 2000

struct leader {
    struct leader_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool kicked, stopping; /* guarded by lock */
    atomic_int_fast64_t reached_mono_ms;

    /* the thread's own */
    struct sql *db;
    struct lease_watch *watches; /* one for each region */
    bool made;                   /* every region has its row */
    bool failing;                /* logged already */
    int64_t next_round_ms;
};

static void note_outcome(struct leader *l, int r, const struct error *err)
{
    if (r >= 0) {
        atomic_store(&l->reached_mono_ms, mono_ms());
        if (l->failing)
            log_info("leases are read and renewed again");
        l->failing = false;
        return;
    }
    if (!l->failing)
        log_warn("leases cannot be read or renewed", F_ERROR(err));
    l->failing = true;
}

static int make_rows(struct leader *l, struct error *err)
{
    for (size_t i = 0; !l->made && i < l->options.regions->count; i++) {
        int r = lease_make(l->db, l->options.regions->list[i].name, err);
        if (r < 0)
            return r;
    }
    l->made = true;
    return 0;
}

/* ---- renewing ---- */

static int renew_one(struct leader *l, struct region *region, struct error *err)
{
    pthread_mutex_lock(&region->lock);
    bool ours = region->role != REGION_FOLLOWING;
    uint64_t epoch = region->epoch;
    pthread_mutex_unlock(&region->lock);
    if (!ours)
        return 0;

    int64_t began = mono_ms();
    int r = lease_renew(l->db, region->name, epoch, err);
    if (r == 0) {
        log_warn("lease lost", F_REGION(region->name), F_U64("epoch", epoch));
        metric_add(M_LEASE_CHANGES, 1, region->name, "lost", NULL);
        region_lose(region, epoch);
    } else if (r > 0) {
        LOCK_SCOPE(&region->lock);
        region->renewed_mono_ms = began;
    }
    return r < 0 ? r : 0;
}

static int renew_all(struct leader *l, struct error *err)
{
    l->next_round_ms = mono_ms() + LEASE_RENEW_MS;
    for (size_t i = 0; i < l->options.regions->count; i++) {
        int r = renew_one(l, &l->options.regions->list[i], err);
        /* Busy: a commit of our own is slow. It holds that lease, so nobody else can take it. */
        if (r < 0 && r != ERR_BUSY)
            return r;
    }
    return 0;
}

/* ---- taking ---- */

struct loading {
    struct leader *leader;
    struct region *region;
    uint64_t epoch;
};

/* Between two pages: leases go on being renewed, the one that is being loaded, too. */
static int between_pages(void *ctx, struct error *err)
{
    struct loading *loading = ctx;
    struct region *region = loading->region;
    bool ours;

    if (mono_ms() >= loading->leader->next_round_ms) {
        int r = renew_all(loading->leader, err);
        if (r < 0)
            return r;
    }
    pthread_mutex_lock(&region->lock);
    ours = region->role == REGION_LOADING && region->epoch == loading->epoch;
    pthread_mutex_unlock(&region->lock);
    return ours ? 0 : error_set(err, ERR_CONFLICT, "lease of %s lost while loading", region->name);
}

static int load(struct leader *l, struct region *region, uint64_t epoch, struct error *err)
{
    struct loading loading = {l, region, epoch};
    struct fleet *fleet;
    struct fleet_counts counts;
    int64_t began = mono_ms();
    int r = load_fleet(l->db, region->name, l->options.max_creates, between_pages, &loading, &fleet,
                       err);

    if (r < 0)
        return error_in(err, "loading region %s", region->name);
    fleet_counts_get(fleet, &counts);
    if (!region_lead(region, epoch, fleet))
        return 0;
    metric_observe(M_LOAD_SECONDS, (double)(mono_ms() - began) / 1000.0, region->name, NULL);
    log_info("leading", F_REGION(region->name), F_U64("epoch", epoch),
             F_U64("hypervisors", counts.hypervisors), F_U64("claims", counts.claims),
             F_MS("took_ms", mono_ms() - began));
    return 0;
}

/* A lease of ours whose fleet was dropped: a higher epoch ends whatever of the old one may still be
 * on its way to the database, then the rows are the truth. */
static int retake(struct leader *l, struct region *region, uint64_t epoch, struct error *err)
{
    int64_t began = mono_ms();
    int r = lease_retake(l->db, region->name, epoch, l->options.address, err);

    if (r == 0)
        region_lose(region, epoch);
    if (r <= 0)
        return r;
    region_hold(region, epoch + 1, began);
    return load(l, region, epoch + 1, err);
}

static int take(struct leader *l, struct region *region, const struct lease_watch *w,
                struct error *err)
{
    struct lease seen = {.epoch = w->epoch, .counter = w->counter};
    int64_t began = mono_ms();

    snprintf(seen.region, sizeof(seen.region), "%s", region->name);
    int r = lease_take(l->db, &seen, l->options.address, err);
    if (r <= 0)
        return r;
    metric_add(M_LEASE_CHANGES, 1, region->name, "taken", NULL);
    log_info("lease taken", F_REGION(region->name), F_U64("epoch", w->epoch + 1),
             F_BOOL("was_free", w->free));
    region_hold(region, w->epoch + 1, began);
    return load(l, region, w->epoch + 1, err);
}

static int advance(struct leader *l, struct region *region, const struct lease_watch *w,
                   struct error *err)
{
    pthread_mutex_lock(&region->lock);
    enum region_role role = region->role;
    uint64_t epoch = region->epoch;
    pthread_mutex_unlock(&region->lock);

    int r = 0;
    switch (role) {
    case REGION_LEADING:
        break;
    case REGION_LOADING:
        r = retake(l, region, epoch, err);
        break;
    case REGION_FOLLOWING:
        r = lease_watch_may_take(w) ? take(l, region, w, err) : 0;
        break;
    }
    if (r != ERR_BUSY && r != ERR_CONFLICT)
        return r;
    log_debug("lease not taken in this round", F_REGION(region->name), F_ERROR(err));
    return 0;
}

/* ---- a round ---- */

struct look {
    struct leader *leader;
    int64_t now_ms;
};

static void on_lease(void *ctx, const struct lease *lease)
{
    struct look *look = ctx;
    struct regions *regions = look->leader->options.regions;
    struct region *region = regions_find(regions, lease->region);

    if (!region)
        return;
    lease_watch_see(&look->leader->watches[region - regions->list], lease->epoch, lease->counter,
                    lease->holder[0] == '\0', look->now_ms);
    region_see_leader(region, lease->holder, lease->epoch);
}

static int round_of_leases(struct leader *l, struct error *err)
{
    struct look look = {l, mono_ms()};
    int r = make_rows(l, err);

    if (r >= 0)
        r = renew_all(l, err);
    if (r >= 0)
        r = leases_load(l->db, on_lease, &look, err);
    for (size_t i = 0; r >= 0 && i < l->options.regions->count; i++)
        r = advance(l, &l->options.regions->list[i], &l->watches[i], err);
    return r;
}

static void on_gone(void *ctx, const struct presence *p)
{
    struct region *region = ctx;
    size_t row = region->fleet ? fleet_find(region->fleet, p->id) : FLEET_NONE;

    if (row != FLEET_NONE)
        region_apply_presence_locked(region, row, p, false);
}

static void end_sessions(struct leader *l)
{
    int64_t now = mono_ms();

    for (size_t i = 0; i < l->options.regions->count; i++) {
        struct region *region = &l->options.regions->list[i];
        LOCK_SCOPE(&region->lock);
        liveness_expire(region->liveness, now, on_gone, region);
    }
}

static bool wait_for_round(struct leader *l)
{
    int64_t at = l->next_round_ms;
    struct timespec ts = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};

    LOCK_SCOPE(&l->lock);
    while (!l->stopping && !l->kicked && mono_ms() < at)
        pthread_cond_timedwait(&l->wake, &l->lock, &ts);
    l->kicked = false;
    return !l->stopping;
}

static void give_back_all(struct leader *l)
{
    struct error err;

    for (size_t i = 0; i < l->options.regions->count; i++) {
        struct region *region = &l->options.regions->list[i];
        pthread_mutex_lock(&region->lock);
        bool ours = region->role != REGION_FOLLOWING;
        uint64_t epoch = region->epoch;
        pthread_mutex_unlock(&region->lock);
        region_lose(region, epoch);
        if (ours && lease_give_back(l->db, region->name, epoch, &err) < 0)
            log_warn("lease not given back, it ends by itself", F_REGION(region->name),
                     F_ERROR(&err));
    }
}

static void *leader_thread(void *arg)
{
    struct leader *l = arg;

    do {
        struct error err;
        l->next_round_ms = mono_ms() + LEASE_RENEW_MS;
        int r = round_of_leases(l, &err);
        note_outcome(l, r, &err);
        end_sessions(l);
    } while (wait_for_round(l));
    give_back_all(l);
    sql_thread_end();
    return NULL;
}

int leader_start(const struct leader_options *options, struct leader **ret, struct error *err)
{
    struct leader *l = must_calloc(1, sizeof(*l));
    struct sql_options sql = *options->sql;
    pthread_condattr_t attr;

    sql.timeout_ms = TIMEOUT_MS;
    l->options = *options;
    l->db = sql_new(&sql);
    l->watches = must_calloc(options->regions->count, sizeof(*l->watches));
    atomic_store(&l->reached_mono_ms, INT64_MIN / 2);
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (!l->db || pthread_create(&l->thread, NULL, leader_thread, l) != 0) {
        sql_free(l->db);
        free(l->watches);
        free(l);
        return error_set(err, ERR_INTERNAL, "no thread for the leases");
    }
    pthread_setname_np(l->thread, "leases");
    *ret = l;
    return 0;
}

void leader_kick(struct leader *l)
{
    LOCK_SCOPE(&l->lock);
    l->kicked = true;
    pthread_cond_signal(&l->wake);
}

bool leader_reaches_database(struct leader *l, char *why, size_t why_size)
{
    int64_t silent = mono_ms() - atomic_load(&l->reached_mono_ms);

    if (silent <= REACHED_WITHIN_MS)
        return true;
    if (silent > INT64_MAX / 4)
        snprintf(why, why_size, "not reached yet");
    else
        snprintf(why, why_size, "not reached for %" PRIi64 " ms", silent);
    return false;
}

struct leader *leader_stop(struct leader *l)
{
    if (!l)
        return NULL;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    sql_free(l->db);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l->watches);
    free(l);
    return NULL;
}
