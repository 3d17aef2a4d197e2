#include "harpoon/api/api.h"

#include "harpoon/api/internal.h"
#include "harpoon/api/sweeper.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_BLOCK   10000 /* ids fetched at a time */
#define DROPLET_BLOCK 10000
#define KEY_BLOCK     10
#define ADDRESS_BLOCK 1024
#define HTTP_GRACE_MS 5000
#define DATABASE_MS   3000 /* the longest that a statement may take */

/* ---- publishing ---- */
static void on_outcome(void *ctx, enum amqp_outcome outcome)
{
    static const char *const names[] = {
        [AMQP_CONFIRMED] = "confirmed",
        [AMQP_RETURNED] = "returned",
        [AMQP_REJECTED] = "rejected",
        [AMQP_LOST] = "lost",
    };

    UNUSED(ctx);
    metric_add(M_PUBLISHED, 1, names[outcome], NULL);
    if (outcome == AMQP_RETURNED)
        log_warn("message came back: no queue is bound to its key");
}

/* What the sweeper found due. */
static int publish_due(void *ctx, const char *queue, const Harpoon__Event__V1__Event *message,
                       const uint8_t *params, size_t params_size, struct error *err)
{
    struct api *api = ctx;
    int r = publisher_publish(api->publisher, queue, message, params, params_size, err);

    if (r < 0)
        metric_add(M_PUBLISHED, 1, "deferred", NULL);
    return r;
}

int api_start_sweeper(struct api *api, struct error *err)
{
    struct sweeper_options options = {
        .mysql = &api->mysql,
        .env = &api->events,
        .publish = publish_due,
        .ctx = api,
    };

    return sweeper_start(&options, &api->sweeper, err);
}

/* ---- metrics and readiness ---- */
/* What others count since their start becomes what was added since the last scrape. */
static double since(uint64_t now, uint64_t *before)
{
    double added = (double)(now - *before);

    *before = now;
    return added;
}

static void set_queue(const char *name, struct batcher *b, uint64_t *refused)
{
    struct batcher_stats s;

    batcher_stats_get(b, &s);
    metric_set(M_QUEUE_DEPTH, (double)s.queued, name, NULL);
    metric_set(M_QUEUE_LIMIT, (double)s.limit, name, NULL);
    metric_set(M_QUEUE_OLDEST, (double)s.oldest_ms / 1000, name, NULL);
    metric_add(M_QUEUE_REFUSED, since(s.refused, refused), name, NULL);
}

static void set_sweeper(struct sweeper *sweeper, struct sweeper_stats *before)
{
    struct sweeper_stats s;

    sweeper_stats_get(sweeper, &s);
    metric_set(M_OUTBOX_LAG, (double)s.lag_ms / 1000, NULL);
    metric_add(M_SWEEPS, since(s.sweeps - s.errors, &before->sweeps), "done", NULL);
    metric_add(M_SWEEPS, since(s.errors, &before->errors), "failed", NULL);
    metric_add(M_SWEPT, since(s.published, &before->published), "published", NULL);
    metric_add(M_SWEPT, since(s.unpublished, &before->unpublished), "unpublished", NULL);
    metric_add(M_SWEPT, since(s.ended, &before->ended), "ended", NULL);
}

static void on_scrape(void *ctx)
{
    struct api *api = ctx;
    struct amqp_stats amqp;
    struct http_stats http;
    int64_t age_ms = catalog_cache_age_ms(api->catalog, mono_ms());

    http_server_stats_get(api->http, &http);
    metric_set(M_HTTP_CONNECTIONS, http.connections, NULL);
    metric_set(M_HTTP_WAITING, http.waiting, NULL);
    set_queue("reads", api->reader, &api->scraped.reads_refused);
    set_queue("changes", api->changes, &api->scraped.changes_refused);
    publisher_stats_get(api->publisher, &amqp);
    metric_set(M_PUBLISHER_CONNECTED, amqp.connected && !amqp.blocked, NULL);
    metric_set(M_PUBLISHER_QUEUED, (double)amqp.queued, NULL);
    metric_set(M_PUBLISHER_IN_FLIGHT, (double)amqp.in_flight, NULL);
    metric_set(M_DATABASE_UP, !api->database_down, NULL);
    if (age_ms != INT64_MAX)
        metric_set(M_CATALOG_AGE, (double)age_ms / 1000, NULL);
    if (api->swept) /* written before it, and then only read */
        set_sweeper(api->sweeper, &api->scraped.sweeper);
}

static bool is_mysql_ready(void *ctx, char *why, size_t why_size)
{
    struct api *api = ctx;

    if (!api->installed)
        (void)snprintf(why, why_size, "the catalogue was not loaded yet");
    else if (api->database_down)
        (void)snprintf(why, why_size, "the database does not answer");
    return api->installed && !api->database_down;
}

static bool is_amqp_ready(void *ctx, char *why, size_t why_size)
{
    struct api *api = ctx;
    bool ready = publisher_is_ready(api->publisher);

    if (!ready)
        (void)snprintf(why, why_size, "not connected, or the broker has raised an alarm");
    return ready;
}

size_t api_checks(struct api *api, struct daemon_check ret[API_CHECKS])
{
    ret[0] = (struct daemon_check){"mysql", is_mysql_ready, api};
    ret[1] = (struct daemon_check){"amqp", is_amqp_ready, api};
    return API_CHECKS;
}

/* ---- start and stop ---- */
static int make_parts(struct api *api, struct error *err)
{
    const struct harpoon_config *c = api->config;
    struct publisher_options publisher = {
        .connection = {.host = c->amqp_host,
                       .port = (int)c->amqp_port,
                       .vhost = c->amqp_vhost,
                       .user = c->amqp_user != NULL ? c->amqp_user : "harpoon",
                       .password = api->amqp_password},
        .queue_max_length = c->queue_max_length,
        .queue_max_bytes = c->queue_max_mib << 20,
        .on_outcome = on_outcome,
        .ctx = api,
    };

    int r = catalog_cache_new(&api->catalog, err);
    if (r >= 0)
        r = token_cache_new(&api->tokens, err);
    if (r >= 0)
        r = flights_new(&api->flights, err);
    if (r >= 0)
        r = publisher_new(&publisher, &api->publisher, err);
    if (r >= 0)
        r = ids_new("event", EVENT_BLOCK, &api->event_ids, err);
    if (r >= 0)
        r = ids_new("droplet", DROPLET_BLOCK, &api->droplet_ids, err);
    if (r >= 0)
        r = ids_new("key", KEY_BLOCK, &api->key_ids, err);
    if (r >= 0)
        r = addresses_new(ADDRESS_BLOCK, &api->addresses, err);
    return r;
}

static int read_config(struct api *api, struct error *err)
{
    const struct harpoon_config *c = api->config;

    int r = config_read_secret(c->mysql_password_file, &api->mysql_password, err);
    if (r >= 0)
        r = config_read_secret(c->amqp_password_file, &api->amqp_password, err);
    if (r < 0)
        return r;
    api->limits =
        (struct rate_limits){(uint32_t)c->rate_limit_hour, (uint32_t)c->rate_limit_minute};
    api->mysql = (struct sql_options){
        .socket = c->mysql_socket,
        .host = c->mysql_host,
        .port = (int)c->mysql_port,
        .user = c->mysql_user != NULL ? c->mysql_user : "harpoon_api",
        .password = api->mysql_password,
        .database = c->mysql_database,
        .timeout_ms = DATABASE_MS,
    };
    return 0;
}

static void init_lock(struct api *api)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&api->keeper_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&api->keeper_wake, &attr);
    pthread_condattr_destroy(&attr);
}

int api_start(const struct harpoon_config *config, struct api **ret, struct error *err)
{
    struct api *api = calloc(1, sizeof *api);

    if (api == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    api->config = config;
    init_lock(api);
    json_object_seed(0); /* before there are threads */
    int r = read_config(api, err);
    if (r >= 0)
        r = make_parts(api, err);
    if (r >= 0)
        r = changes_start(api, err);
    if (r >= 0)
        r = reader_start(api, err); /* starts the publisher and the sweeper when it knows enough */
    if (r >= 0)
        r = operators_start(api, err);
    if (r >= 0)
        r = front_start(api, err);
    if (r < 0) {
        api_stop(api);
        return r;
    }
    metrics_on_scrape(on_scrape, api);
    *ret = api;
    return 0;
}

/* Those that this process has not used go back; after a crash they are lost. */
static void return_addresses(struct api *api)
{
    struct error err;
    struct sql *db = api->installed && !api->database_down ? sql_new(&api->mysql) : NULL;

    if (db != NULL && addresses_return(api->addresses, db, &err) < 0)
        log_warn("unused addresses are lost", F_ERROR(&err));
    sql_free(db);
}

struct api *api_stop(struct api *api)
{
    if (api == NULL)
        return NULL;
    operators_stop(api);
    api->http = http_server_stop(api->http, HTTP_GRACE_MS);
    reader_stop(api); /* may hand changes over, so it ends first */
    changes_stop(api);
    api->sweeper = sweeper_stop(api->sweeper);
    api->publisher = publisher_stop(api->publisher);
    if (api->addresses != NULL)
        return_addresses(api);
    addresses_free(api->addresses);
    ids_free(api->event_ids);
    ids_free(api->droplet_ids);
    ids_free(api->key_ids);
    token_cache_free(api->tokens);
    flights_free(api->flights);
    catalog_cache_free(api->catalog);
    pthread_cond_destroy(&api->keeper_wake);
    pthread_mutex_destroy(&api->keeper_lock);
    free(api->mysql_password);
    free(api->amqp_password);
    free(api);
    return NULL;
}
