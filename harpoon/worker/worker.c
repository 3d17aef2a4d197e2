#include "harpoon/worker/worker.h"

#include "harpoon/worker/courier.h"
#include "harpoon/worker/facts.h"
#include "harpoon/worker/intake.h"
#include "harpoon/worker/metrics.h"
#include "harpoon/worker/pipeline.h"
#include "harpoon/worker/placer.h"
#include "harpoon/worker/reads.h"
#include "harpoon/worker/regions.h"
#include "harpoon/worker/service.h"
#include "harpoon/worker/transitions.h"
#include "lib/log.h"
#include "lib/macros.h"
#include "lib/rpc/rpc.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REFRESH_MS          1000
#define TRANSITIONS_QUEUED  20000
#define TRANSITIONS_SPACING 5
#define READS_QUEUED        4000
#define RPC_THREADS         2
#define STOP_GRACE_MS       2000
#define DATABASE_MS         5000

struct worker {
    const struct harpoon_config *config;
    struct region_list regions;
    char *mysql_password, *amqp_password;
    struct sql_options mysql;
    struct amqp_options amqp;
    struct rpc_tls tls;

    struct facts *facts;
    struct placer *placers[REGIONS_MAX];
    struct courier *couriers[REGIONS_MAX];
    struct transitions *transitions;
    struct reads *reads;
    struct intake *intake;
    struct pipelines *pipelines;
    struct service *service;

    pthread_t keeper; /* once a second: what the worker knows, and how far it has taken */
    bool keeping;     /* it was started */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* guarded by lock */
};

/* ---- the keeper ---- */

static bool pause_keeper(struct worker *w)
{
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += REFRESH_MS / 1000;
    LOCK_SCOPE(&w->lock);
    while (!w->stopping && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&w->wake, &w->lock, &until);
    return !w->stopping;
}

static void *keep(void *arg)
{
    struct worker *w = arg;
    struct queue_taken taken[2 * REGIONS_MAX];

    do
        reads_refresh(w->reads, taken, intake_taken(w->intake, taken));
    while (pause_keeper(w));
    return NULL;
}

static void stop_keeper(struct worker *w)
{
    if (!w->keeping)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->keeper, NULL);
}

/* ---- messages that cannot be read ---- */

static void on_noted(void *ctx, struct transition *i, int result)
{
    UNUSED(ctx);
    UNUSED(result); /* if it was not stored, the message's next copy says it again */
    free(i);
}

static void on_unreadable(void *ctx, event_id event, const char *region, const char *why)
{
    struct worker *w = ctx;
    struct transition *i = event.v != 0 ? calloc(1, sizeof *i) : NULL;
    struct error err;

    UNUSED(region);
    if (i == NULL)
        return;
    i->item.id = event;
    i->item.in = (struct event_input){.kind = IN_UNREADABLE,
                                      .reason = REASON_UNDECODABLE,
                                      .actor = "worker"};
    snprintf(i->detail, sizeof i->detail, "%s", why);
    i->done = on_noted;
    if (transitions_submit(w->transitions, i, &err) < 0)
        free(i);
}

/* ---- start ---- */

static int read_config(struct worker *w, struct error *err)
{
    const struct harpoon_config *c = w->config;
    int r = regions_parse(c->regions, c->routers, &w->regions, err);

    if (r == 0 && (c->schedulers == NULL || c->listen == NULL))
        r = error_set(err, ERR_INVALID, "a worker needs --schedulers and --listen");
    if (r == 0 && (c->tls_ca == NULL || c->tls_certificate == NULL || c->tls_key == NULL))
        r = error_set(err, ERR_INVALID, "a worker needs --tls-ca, --tls-certificate and --tls-key");
    if (r == 0)
        r = config_read_secret(c->mysql_password_file, &w->mysql_password, err);
    if (r == 0)
        r = config_read_secret(c->amqp_password_file, &w->amqp_password, err);
    w->mysql = (struct sql_options){
        .socket = c->mysql_socket,
        .host = c->mysql_host,
        .port = (int)c->mysql_port,
        .user = c->mysql_user != NULL ? c->mysql_user : "harpoon_worker",
        .password = w->mysql_password,
        .database = c->mysql_database,
        .timeout_ms = DATABASE_MS,
    };
    w->amqp = (struct amqp_options){
        .host = c->amqp_host,
        .port = (int)c->amqp_port,
        .vhost = c->amqp_vhost,
        .user = c->amqp_user != NULL ? c->amqp_user : "worker",
        .password = w->amqp_password,
    };
    w->tls = (struct rpc_tls){c->tls_ca, c->tls_certificate, c->tls_key};
    return r;
}

static int start_peers(struct worker *w, struct error *err)
{
    int r = facts_new(&w->facts, err);

    for (size_t i = 0; i < w->regions.count && r == 0; i++) {
        const struct region_routers *region = &w->regions.regions[i];
        r = placer_new(region->slug, w->config->schedulers, &w->tls, &w->placers[i], err);
        if (r == 0)
            r = courier_new(region, &w->tls, &w->couriers[i], err);
    }
    return r;
}

static int start_stores(struct worker *w, struct error *err)
{
    int r = transitions_start(&(struct transitions_options){.mysql = &w->mysql,
                                                            .regions = &w->regions,
                                                            .placers = w->placers,
                                                            .facts = w->facts,
                                                            .max_queued = TRANSITIONS_QUEUED,
                                                            .spacing_ms = TRANSITIONS_SPACING},
                              &w->transitions, err);

    if (r == 0)
        r = reads_start(&(struct reads_options){.mysql = &w->mysql,
                                                .facts = w->facts,
                                                .max_queued = READS_QUEUED},
                        &w->reads, err);
    return r;
}

static int start_road(struct worker *w, struct error *err)
{
    int r = intake_start(&(struct intake_options){.amqp = &w->amqp,
                                                  .regions = &w->regions,
                                                  .prefetch = (int)w->config->prefetch,
                                                  .on_unreadable = on_unreadable,
                                                  .ctx = w},
                         &w->intake, err);

    if (r == 0)
        r = pipelines_start(&(struct pipelines_options){.intake = w->intake,
                                                        .transitions = w->transitions,
                                                        .facts = w->facts,
                                                        .placers = w->placers,
                                                        .couriers = w->couriers,
                                                        .regions = &w->regions,
                                                        .threads = (size_t)w->config->pipelines},
                            &w->pipelines, err);
    if (r == 0) {
        int e = pthread_create(&w->keeper, NULL, keep, w);
        if (e != 0)
            return error_set(err, ERR_INTERNAL, "keeper's thread: %s", strerror(e));
        pthread_setname_np(w->keeper, "keeper");
        w->keeping = true;
    }
    return r;
}

static void init_lock(struct worker *w)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* ---- what is shown ---- */

static void show_queue(const char *name, const struct batcher_stats *s)
{
    metric_set(M_QUEUE_ITEMS, (double)s->queued, name, NULL);
    metric_set(M_QUEUE_LIMIT, (double)s->limit, name, NULL);
    metric_set(M_QUEUE_OLDEST_SECONDS, (double)s->oldest_ms / 1000, name, NULL);
    metric_set(M_QUEUE_REFUSED, (double)s->refused, name, NULL);
}

static void on_scrape(void *ctx)
{
    struct worker *w = ctx;
    struct batcher_stats transitions, releases, reads;

    transitions_stats_get(w->transitions, &transitions, &releases);
    reads_stats_get(w->reads, &reads);
    show_queue("transitions", &transitions);
    show_queue("releases", &releases);
    show_queue("reads", &reads);
    for (size_t i = 0; i < w->regions.count; i++) {
        struct intake_stats s;
        intake_stats_get(w->intake, i, &s);
        const char *slug = w->regions.regions[i].slug;
        metric_set(M_UNFINISHED, (double)s.unfinished, slug, NULL);
        metric_set(M_REGION_BLOCKED, s.blocked, slug, NULL);
        metric_set(M_BROKER_CONNECTED, s.connected, slug, NULL);
    }
}

static bool mysql_ready(void *ctx, char *why, size_t why_size)
{
    struct worker *w = ctx;
    struct uuid installation;
    bool connected = reads_is_connected(w->reads); /* the other connects when there is work */
    bool known = facts_installation(w->facts, &installation);

    if (!connected)
        snprintf(why, why_size, "not connected");
    else if (!known)
        snprintf(why, why_size, "the schema's installation is not known");
    return connected && known;
}

static bool amqp_ready(void *ctx, char *why, size_t why_size)
{
    struct worker *w = ctx;

    for (size_t i = 0; i < w->regions.count; i++) {
        struct intake_stats s;
        intake_stats_get(w->intake, i, &s);
        if (!s.connected) {
            snprintf(why, why_size, "not taking from the queues of %s", w->regions.regions[i].slug);
            return false;
        }
    }
    return true;
}

static bool peers_ready(void *ctx, char *why, size_t why_size)
{
    struct worker *w = ctx;

    for (size_t i = 0; i < w->regions.count; i++) {
        struct intake_stats s;
        intake_stats_get(w->intake, i, &s);
        if (s.blocked) {
            snprintf(why, why_size, "%s waits for %s", w->regions.regions[i].slug, s.why);
            return false;
        }
    }
    return true;
}

size_t worker_checks(struct worker *w, struct daemon_check ret[WORKER_CHECKS])
{
    const struct daemon_check checks[] = {{"mysql", mysql_ready, w},
                                          {"amqp", amqp_ready, w},
                                          {"peers", peers_ready, w}};

    _Static_assert(ARRAY_LEN(checks) <= WORKER_CHECKS, "more checks than worker.h says");
    memcpy(ret, checks, sizeof checks);
    return ARRAY_LEN(checks);
}

int worker_start(const struct harpoon_config *config, struct worker **ret, struct error *err)
{
    struct worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    w->config = config;
    init_lock(w);
    int r = read_config(w, err);
    if (r == 0)
        r = start_peers(w, err);
    if (r == 0)
        r = start_stores(w, err);
    if (r == 0)
        r = start_road(w, err);
    if (r == 0)
        r = service_start(&(struct service_options){.address = config->listen,
                                                    .tls = w->tls,
                                                    .reads = w->reads,
                                                    .transitions = w->transitions,
                                                    .threads = RPC_THREADS},
                          &w->service, err);
    if (r < 0) {
        worker_stop(w);
        return r;
    }
    metrics_on_scrape(on_scrape, w);
    *ret = w;
    return 0;
}

int worker_port(const struct worker *w)
{
    return service_port(w->service);
}

/* Calls in progress are answered by the stores, batches in hand are finished with the peers: so
 * what is asked ends first, then what asks. */
struct worker *worker_stop(struct worker *w)
{
    if (w == NULL)
        return NULL;
    if (w->intake != NULL)
        intake_close(w->intake);
    service_stop(w->service, STOP_GRACE_MS);
    pipelines_stop(w->pipelines);
    stop_keeper(w);
    intake_free(w->intake);
    transitions_stop(w->transitions);
    reads_stop(w->reads);
    for (size_t i = 0; i < w->regions.count; i++) {
        courier_free(w->couriers[i]);
        placer_free(w->placers[i]);
    }
    facts_free(w->facts);
    regions_free(&w->regions);
    free(w->mysql_password);
    free(w->amqp_password);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}
