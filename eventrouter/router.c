#include "eventrouter/router.h"

#include "eventrouter/deliver.h"
#include "eventrouter/delivery.h"
#include "eventrouter/forward.h"
#include "eventrouter/gateway.h"
#include "eventrouter/metrics.h"
#include "eventrouter/observe.h"
#include "eventrouter/ticker.h"
#include "lib/clock.h"
#include "lib/log.h"

#define WAITING_MAX   100000 /* jobs not answered */
#define MAX_MESSAGE   (4 * 1024 * 1024)
#define GRACE_MS      1000
#define DENIED_LOGS   10 /* lines a second: whoever may connect could fill the disk */
#define EXPIRE_MS     20
#define FORWARD_MS    50
#define SECOND_MS     1000
#define DRAIN_POLL_MS 20

static void on_denied(void *ctx, const struct rpc_peer *peer, const char *method, const char *why)
{
    static atomic_llong second;
    static atomic_int lines;
    long long now = mono_ms() / 1000;

    UNUSED(ctx);
    metric_add(M_DENIED, 1, NULL);
    if (atomic_exchange(&second, now) != now)
        atomic_store(&lines, 0);
    if (atomic_fetch_add(&lines, 1) < DENIED_LOGS)
        log_warn("call denied", F_PEER(peer->name), F_STR("method", method), F_STR("why", why));
}

/* ---- by the clock ---- */

static void tick_deliveries(void *ctx, int64_t now_mono_ms)
{
    deliveries_expire(((struct router *)ctx)->deliveries, now_mono_ms);
}

static void tick_forward(void *ctx, int64_t now_mono_ms)
{
    forward_tick(((struct router *)ctx)->forward, now_mono_ms);
}

static void tick_sweep(void *ctx, int64_t now_mono_ms)
{
    gateway_sweep(ctx, now_mono_ms);
}

static void tick_observe(void *ctx, int64_t now_mono_ms)
{
    UNUSED(now_mono_ms);
    observer_tick(((struct router *)ctx)->observer);
}

/* ---- start ---- */

static void init_table(struct router *r)
{
    address_list_init(&r->peers, r->config->peers);
    r->table = (struct route_table){
        .region = r->config->region,
        .peers = (const char *const *)r->peers.items,
        .count = r->peers.count,
        .self = (size_t)address_list_find(&r->peers, r->config->advertise),
    };
}

static int start_forward(struct router *r, struct error *err)
{
    const struct forward_options o = {
        .harpoon = r->config->harpoon,
        .tls = eventrouter_config_tls(r->config),
        .sessions = r->sessions,
        .region = r->config->region,
        .max_attaches = (size_t)r->config->max_agents * 2,
        .on_attached = gateway_on_attached,
        .ctx = r,
    };
    return forward_start(&o, &r->forward, err);
}

static int start_observer(struct router *r, struct error *err)
{
    const struct observer_options o = {
        .schedulers = r->config->schedulers,
        .tls = eventrouter_config_tls(r->config),
        .router = r->config->name,
        .region = r->config->region,
        .sessions = r->sessions,
    };
    return observer_start(&o, &r->observer, err);
}

static int start_ticker(struct router *r, struct error *err)
{
    const struct tick ticks[] = {
        {EXPIRE_MS, tick_deliveries, r},
        {FORWARD_MS, tick_forward, r},
        {SECOND_MS, tick_sweep, r},
        {SECOND_MS, tick_observe, r},
    };
    return ticker_start(ticks, ARRAY_LEN(ticks), &r->ticker, err);
}

static int start_server(struct router *r, struct error *err)
{
    const struct rpc_server_options o = {
        .address = r->config->listen,
        .tls = eventrouter_config_tls(r->config),
        .services = r->services,
        .service_count = ARRAY_LEN(r->services),
        .threads = (int)r->config->rpc_threads,
        .max_message = MAX_MESSAGE,
        .stream_max_queued = (size_t)r->config->agent_queue,
        .on_denied = on_denied,
    };
    return rpc_server_start(&o, &r->server, err);
}

int router_start(const struct eventrouter_config *c, struct router *ret, struct error *err)
{
    struct router *r = ret;

    *r = (struct router){.config = c};
    init_table(r);
    r->sessions = sessions_new((size_t)c->max_agents);
    r->deliveries = deliveries_new(WAITING_MAX);
    gateway_init(r, &r->services[0]);
    deliver_init(r, &r->services[1]);
    int rc = start_forward(r, err);
    if (rc == 0)
        rc = start_observer(r, err);
    if (rc == 0)
        rc = start_ticker(r, err);
    if (rc == 0)
        rc = start_server(r, err);
    if (rc < 0)
        router_stop(r);
    return rc;
}

/* ---- stop ---- */

void router_drain(struct router *r)
{
    int64_t until = mono_ms() + r->config->drain_ms;

    log_info("draining", F_U64("streams", sessions_open_count(r->sessions)));
    /* Those told last still have a second of it to go. */
    gateway_drain(r, (int)(r->config->drain_ms > SECOND_MS ? r->config->drain_ms - SECOND_MS : 0));
    while (sessions_open_count(r->sessions) > 0 && mono_ms() < until)
        clock_pause_ms(DRAIN_POLL_MS);
}

void router_stop(struct router *r)
{
    gateway_cut(r);
    r->server = rpc_server_stop(r->server, GRACE_MS);
    r->ticker = ticker_stop(r->ticker);
    deliveries_expire(r->deliveries, INT64_MAX);
    r->forward = forward_stop(r->forward);
    r->observer = observer_stop(r->observer);
    r->deliveries = deliveries_free(r->deliveries);
    r->sessions = sessions_free(r->sessions);
    address_list_fini(&r->peers);
}
