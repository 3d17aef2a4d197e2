#include "eventrouter/observe.h"

#include "eventrouter/config.h"
#include "eventrouter/metrics.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "proto/scheduler.pb-c.h"

#include <pthread.h>
#include <stdio.h>

#define SCHEDULER (&harpoon__scheduler__v1__scheduler__descriptor)
#define CALL_MS   3000
/* Every session is named once in so many ticks, with a sample or without: schedulers forget who is
 * not. */
#define SLICES 5

struct replica {
    struct observer *observer;
    char *address;
    struct rpc_client *client;
    /* guarded by the observer's lock */
    bool busy;
    bool reached; /* the last call was answered: it knows what it was told */
    bool told_away;
    uint64_t told, knows; /* changes up to here: in the call under way, and answered */
};

struct observer {
    struct observer_options options;
    struct replica *replicas;
    size_t count;
    unsigned slice; /* the ticking thread's */

    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t busy;   /* guarded by lock: calls under way */
    char why[160]; /* guarded by lock: of the last failure */
};

/* A batch as messages: rows of every kind, of which a replica gets those it needs. */
struct batch {
    struct observed *observed;
    size_t count;
    uint64_t change;
    Harpoon__Scheduler__V1__Observed *rows;
    Harpoon__Agent__V1__Sample *samples;
    Harpoon__Agent__V1__Capacity *capacities;
};

static void fill_row(struct batch *b, size_t i)
{
    const struct observed *o = &b->observed[i];
    Harpoon__Scheduler__V1__Observed *row = &b->rows[i];
    Harpoon__Agent__V1__Sample *sample = &b->samples[i];
    Harpoon__Agent__V1__Capacity *capacity = &b->capacities[i];

    harpoon__scheduler__v1__observed__init(row);
    row->hypervisor_id = o->hypervisor_id;
    row->session = o->number;
    row->attached = o->attached;
    row->journal_id = (char *)o->journal_id;
    row->compared = o->compared;
    row->samples = o->average.count;
    if (o->average.count == 0)
        return; /* no average over nothing */
    harpoon__agent__v1__sample__init(sample);
    harpoon__agent__v1__capacity__init(capacity);
    sample->at_unix_ms = o->average.at_unix_ms;
    sample->cpu_permille = o->average.cpu_permille;
    sample->steal_permille = o->average.steal_permille;
    sample->iowait_permille = o->average.iowait_permille;
    sample->memory_pressure_permille = o->average.memory_pressure_permille;
    sample->network_bytes_per_s = o->average.network_bytes_per_s;
    sample->creates_in_flight = o->average.creates_in_flight;
    sample->domains = o->average.domains;
    capacity->vcpus = o->average.capacity.vcpus;
    capacity->memory_mib = o->average.capacity.memory_mib;
    capacity->disk_gib = o->average.capacity.disk_gib;
    sample->capacity = capacity;
    row->average = sample;
}

static void batch_init(struct batch *b, struct observer *o, uint64_t after_change)
{
    b->count = sessions_observe(o->options.sessions, after_change, o->slice, SLICES, &b->observed,
                                &b->change);
    b->rows = must_calloc(b->count, sizeof(b->rows[0]));
    b->samples = must_calloc(b->count, sizeof(b->samples[0]));
    b->capacities = must_calloc(b->count, sizeof(b->capacities[0]));
    for (size_t i = 0; i < b->count; i++)
        fill_row(b, i);
}

static void batch_fini(struct batch *b)
{
    free(b->observed);
    free(b->rows);
    free(b->samples);
    free(b->capacities);
}

/* ---- one replica ---- */

static void on_observed(void *ctx, const ProtobufCMessage *out, const struct error *err)
{
    struct replica *p = ctx;
    struct observer *o = p->observer;

    pthread_mutex_lock(&o->lock);
    bool news = out ? !p->reached : !p->told_away;
    p->reached = out != NULL;
    p->told_away = !out;
    p->knows = out ? p->told : 0; /* after a failure it may be another process: everything anew */
    if (!out)
        snprintf(o->why, sizeof(o->why), "%.40s: %.100s", p->address, err->message);
    pthread_mutex_unlock(&o->lock);
    metric_add(M_OBSERVES, 1, out ? "answered" : "failed", NULL);
    if (news && !out)
        log_warn("scheduler does not answer", F_STR("address", p->address), F_ERROR(err));
    if (news && out)
        log_info("scheduler answers", F_STR("address", p->address));
    pthread_mutex_lock(&o->lock);
    p->busy = false;
    o->busy--;
    pthread_cond_broadcast(&o->idle);
    pthread_mutex_unlock(&o->lock);
}

/* false: the last call to it still runs. */
static bool replica_take(struct replica *p, uint64_t change, bool *ret_reached, uint64_t *ret_knows)
{
    LOCK_SCOPE(&p->observer->lock);
    if (p->busy)
        return false;
    p->busy = true;
    p->observer->busy++;
    *ret_reached = p->reached;
    *ret_knows = p->knows;
    /* One that was away is asked first, with an empty batch, and told everything after that. */
    p->told = p->reached ? change : 0;
    return true;
}

static void replica_tell(struct replica *p, const struct batch *b)
{
    const struct observer_options *options = &p->observer->options;
    Harpoon__Scheduler__V1__ObserveRequest q = HARPOON__SCHEDULER__V1__OBSERVE_REQUEST__INIT;
    uint64_t knows;
    bool reached;

    if (!replica_take(p, b->change, &reached, &knows)) {
        metric_add(M_OBSERVES, 1, "skipped", NULL);
        return;
    }
    q.router = (char *)options->router;
    q.region = (char *)options->region;
    q.hypervisors = must_calloc(b->count, sizeof(q.hypervisors[0]));
    for (size_t i = 0; reached && i < b->count; i++) {
        const struct observed *o = &b->observed[i];
        if (o->average.count > 0 || o->due || o->change > knows)
            q.hypervisors[q.n_hypervisors++] = &b->rows[i];
    }
    rpc_client_call_async(p->client, SCHEDULER, "Observe", &q.base, mono_ms() + CALL_MS,
                          on_observed, p);
    free(q.hypervisors);
}

/* ---- all of them ---- */

/* Changes that every replica knows; of those it can tell now, when `reached_only`. */
static uint64_t least_known(struct observer *o, bool reached_only)
{
    uint64_t least = UINT64_MAX;
    LOCK_SCOPE(&o->lock);

    for (size_t i = 0; i < o->count; i++)
        if ((o->replicas[i].reached || !reached_only) && o->replicas[i].knows < least)
            least = o->replicas[i].knows;
    return least;
}

void observer_tick(struct observer *o)
{
    struct batch b;

    sessions_forget_left(o->options.sessions, least_known(o, false));
    batch_init(&b, o, least_known(o, true));
    o->slice = (o->slice + 1) % SLICES;
    for (size_t i = 0; i < o->count; i++)
        replica_tell(&o->replicas[i], &b);
    batch_fini(&b);
}

bool observer_reaches_scheduler(struct observer *o, char *why, size_t why_size)
{
    LOCK_SCOPE(&o->lock);
    for (size_t i = 0; i < o->count; i++)
        if (o->replicas[i].reached)
            return true;
    snprintf(why, why_size, "%s", o->why[0] ? o->why : "not asked yet");
    return false;
}

static int add_replicas(struct observer *o, struct error *err)
{
    struct address_list list;
    int r = 0;

    address_list_init(&list, o->options.schedulers);
    o->replicas = must_calloc(list.count, sizeof(o->replicas[0]));
    for (size_t i = 0; r == 0 && i < list.count; i++) {
        struct replica *p = &o->replicas[i];
        r = rpc_client_new(list.items[i], &o->options.tls, &p->client, err);
        if (r < 0)
            break;
        p->observer = o;
        p->address = must_strdup(list.items[i]);
        o->count++;
    }
    if (r == 0 && o->count == 0)
        r = error_set(err, ERR_INVALID, "schedulers: no address is given");
    address_list_fini(&list);
    return r;
}

int observer_start(const struct observer_options *options, struct observer **ret, struct error *err)
{
    struct observer *o = must_calloc(1, sizeof(*o));

    o->options = *options;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->idle, NULL);
    int r = add_replicas(o, err);
    if (r < 0) {
        observer_stop(o);
        return r;
    }
    *ret = o;
    return 0;
}

static void wait_idle(struct observer *o)
{
    LOCK_SCOPE(&o->lock);
    while (o->busy > 0) /* each has its deadline */
        pthread_cond_wait(&o->idle, &o->lock);
}

struct observer *observer_stop(struct observer *o)
{
    if (!o)
        return NULL;
    wait_idle(o);
    if (o->count > 0 && least_known(o, true) != UINT64_MAX)
        observer_tick(o); /* who has left with us */
    wait_idle(o);
    for (size_t i = 0; i < o->count; i++) {
        rpc_client_free(o->replicas[i].client);
        free(o->replicas[i].address);
    }
    free(o->replicas);
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->idle);
    free(o);
    return NULL;
}
