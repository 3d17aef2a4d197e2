#include "scheduler/reconcile.h"

#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "proto/harpoon.pb-c.h"
#include "scheduler/metrics.h"
#include "scheduler/rank/decide.h"

#include <pthread.h>
#include <time.h>

#define SLICE          1000  /* claims a second */
#define LOOK           20000 /* claims passed over for being too young, at most, in a slice */
#define ROUND_MS       1000
#define DEADLINE_MS    2000
#define BACKOFF_CAP_MS 15000

typedef Harpoon__Internal__V1__ClaimsWantedReply wanted_reply;

struct reconciler {
    struct reconciler_options options;
    struct rpc_pool *harpoon;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* guarded by lock */

    /* the thread's own */
    size_t turn; /* which region is next */
    struct backoff backoff;
    bool failing; /* logged already */
};

/* Some claims of one region, as of one fleet of it. */
struct slice {
    struct region *region;
    uint64_t generation;
    struct claim claims[SLICE];
    size_t count;
};

/* false: not led here, or nothing is old enough. */
static bool slice_take(struct reconciler *c, struct region *r, struct slice *ret)
{
    int64_t before = unix_ms() - c->options.after_ms;

    LOCK_SCOPE(&r->lock);
    ret->region = r;
    ret->generation = r->generation;
    ret->count = 0;
    if (region_leads_locked(r, mono_ms()))
        ret->count = claims_walk(fleet_claims(r->fleet), before, LOOK, ret->claims, SLICE);
    return ret->count > 0;
}

static int ask(struct reconciler *c, const struct slice *s, wanted_reply **ret, struct error *err)
{
    Harpoon__Internal__V1__ClaimsWantedRequest request =
        HARPOON__INTERNAL__V1__CLAIMS_WANTED_REQUEST__INIT;
    Harpoon__Internal__V1__ClaimItem *items = must_calloc(s->count, sizeof(*items));
    Harpoon__Internal__V1__ClaimItem **list = must_calloc(s->count, sizeof(*list));
    ProtobufCMessage *out = NULL;

    for (size_t i = 0; i < s->count; i++) {
        harpoon__internal__v1__claim_item__init(&items[i]);
        items[i].event_id = s->claims[i].event.v;
        items[i].attempt = s->claims[i].attempt;
        items[i].droplet_id = s->claims[i].droplet.v;
        list[i] = &items[i];
    }
    request.n_claims = s->count;
    request.claims = list;
    int r = rpc_pool_call(c->harpoon, &harpoon__internal__v1__harpoon__descriptor, "ClaimsWanted",
                          &request.base, mono_ms() + DEADLINE_MS, NULL, &out, err);
    free(list);
    free(items);
    if (r < 0)
        return error_in(err, "claims wanted");
    *ret = (wanted_reply *)out;
    if ((*ret)->n_wanted == s->count)
        return 0;
    r = error_set(err, ERR_INTERNAL, "asked about %zu claims, answered about %zu", s->count,
                  (*ret)->n_wanted);
    protobuf_c_message_free_unpacked(out, NULL);
    return r;
}

static void on_released(struct ticket *t, enum flush_outcome outcome)
{
    if (outcome == FLUSH_COMMITTED)
        for (size_t i = 0; i < t->changes.count; i++) {
            const struct claim *claim = &t->changes.list[i].claim;
            log_info("claim released: not wanted", F_REGION(t->region->name),
                     F_EVENT(claim->event.v), F_ATTEMPT(claim->attempt),
                     F_DROPLET(claim->droplet.v), F_HYPERVISOR(claim->hypervisor.v));
        }
    ticket_fini(t);
    free(t);
}

/* Releases what is still there and on the fleet that was asked about; gives how many. */
static size_t release_unwanted(struct reconciler *c, const struct slice *s,
                               const wanted_reply *reply)
{
    struct ticket *t = must_calloc(1, sizeof(*t));
    size_t released = 0;

    *t = (struct ticket){.region = s->region, .done = on_released, .cost = s->count + 1};
    if (!flusher_reserve(c->options.flusher, t->cost)) {
        free(t);
        return 0;
    }
    pthread_mutex_lock(&s->region->lock);
    if (region_leads_locked(s->region, mono_ms()) && s->region->generation == s->generation) {
        for (size_t i = 0; i < s->count; i++)
            if (!reply->wanted[i])
                released += fleet_release_claim(s->region->fleet, s->claims[i].event,
                                                s->claims[i].attempt, &t->changes);
        if (released > 0)
            flusher_submit_locked(c->options.flusher, t);
    }
    pthread_mutex_unlock(&s->region->lock);
    if (released == 0) {
        flusher_unreserve(c->options.flusher, t->cost);
        ticket_fini(t);
        free(t);
    }
    return released;
}

static int reconcile_slice(struct reconciler *c, const struct slice *s)
{
    const char *region = s->region->name;
    wanted_reply *reply = NULL;
    struct error err;
    size_t unwanted = 0, released = 0;
    int r = ask(c, s, &reply, &err);

    if (r < 0) {
        metric_add(M_RECONCILED, (double)s->count, region, "unanswered", NULL);
        if (!c->failing)
            log_warn("claims cannot be reconciled", F_REGION(region), F_ERROR(&err));
        c->failing = true;
        return r;
    }
    c->failing = false;
    for (size_t i = 0; i < s->count; i++)
        unwanted += !reply->wanted[i];
    if (unwanted > 0)
        released = release_unwanted(c, s, reply);
    metric_add(M_RECONCILED, (double)(s->count - unwanted), region, "wanted", NULL);
    metric_add(M_RECONCILED, (double)unwanted, region, "unwanted", NULL);
    metric_add(M_RELEASED, (double)released, region, "reconciler", NULL);
    protobuf_c_message_free_unpacked(&reply->base, NULL);
    return 0;
}

/* One slice of the next region that has something to ask about. Gives the pause before the next. */
static int reconcile_next(struct reconciler *c, struct slice *s)
{
    struct regions *all = c->options.regions;

    for (size_t i = 0; i < all->count; i++) {
        struct region *r = &all->list[c->turn++ % all->count];
        if (!slice_take(c, r, s))
            continue;
        if (reconcile_slice(c, s) < 0)
            return backoff_next_ms(&c->backoff);
        break;
    }
    backoff_reset(&c->backoff);
    return ROUND_MS;
}

static bool pause_for(struct reconciler *c, int ms)
{
    int64_t at = mono_ms() + ms;
    struct timespec ts = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};

    LOCK_SCOPE(&c->lock);
    while (!c->stopping && mono_ms() < at)
        pthread_cond_timedwait(&c->wake, &c->lock, &ts);
    return !c->stopping;
}

static void *reconciler_thread(void *arg)
{
    struct reconciler *c = arg;
    struct slice *s = must_calloc(1, sizeof(*s));
    int pause_ms = ROUND_MS;

    while (pause_for(c, pause_ms))
        pause_ms = reconcile_next(c, s);
    free(s);
    return NULL;
}

int reconciler_start(const struct reconciler_options *options, struct reconciler **ret,
                     struct error *err)
{
    struct reconciler *c = must_calloc(1, sizeof(*c));
    pthread_condattr_t attr;
    int r;

    c->options = *options;
    backoff_init(&c->backoff, ROUND_MS, BACKOFF_CAP_MS, 0);
    r = rpc_pool_new(options->harpoon, options->tls, &c->harpoon, err);
    if (r < 0) {
        free(c);
        return error_in(err, "harpoon");
    }
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&c->thread, NULL, reconciler_thread, c) != 0) {
        rpc_pool_free(c->harpoon);
        free(c);
        return error_set(err, ERR_INTERNAL, "no thread for the reconciler");
    }
    pthread_setname_np(c->thread, "reconciler");
    *ret = c;
    return 0;
}

struct reconciler *reconciler_stop(struct reconciler *c)
{
    if (!c)
        return NULL;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    rpc_pool_free(c->harpoon);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}
