#include "lib/rpc/server.h"

#include "lib/clock.h"
#include "lib/rpc/tls.h"

#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRIVALS_WAITED_FOR 64 /* on each queue */
#define SWEEP_MS            1000
#define DEFAULT_MAX_MESSAGE (4 * 1024 * 1024)
#define DEFAULT_MAX_QUEUED  256

/* Waits for the next call. */
struct arriving {
    struct rpc_tag tag;
    struct server_loop *loop;
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array metadata;
};

struct rpc_server *rpc_server_ref(struct rpc_server *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void rpc_server_unref(struct rpc_server *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (size_t i = 0; i < s->route_count; i++)
        free(s->routes[i].path);
    free(s->routes);
    free(s->loops);
    pthread_rwlock_destroy(&s->batch_lock);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->stopped_cond);
    free(s);
}

bool rpc_server_batch(struct rpc_server *s, grpc_call *call, const grpc_op *ops, size_t count,
                      struct rpc_tag *tag)
{
    pthread_rwlock_rdlock(&s->batch_lock);
    bool started = false;
    if (!s->closed) {
        rpc_tag_out(tag);
        started = grpc_call_start_batch(call, ops, count, tag, NULL) == GRPC_CALL_OK;
    }
    pthread_rwlock_unlock(&s->batch_lock);
    return started;
}

/* ---- routes ---- */

static int compare_routes(const void *a, const void *b)
{
    return strcmp(((const struct server_route *)a)->path, ((const struct server_route *)b)->path);
}

static int compare_path(const void *path, const void *route)
{
    return strcmp(path, ((const struct server_route *)route)->path);
}

static const struct server_route *route_find(const struct rpc_server *s, grpc_slice path)
{
    char text[256];
    size_t n = GRPC_SLICE_LENGTH(path);
    if (n >= sizeof(text) || memchr(GRPC_SLICE_START_PTR(path), '\0', n))
        return NULL;
    memcpy(text, GRPC_SLICE_START_PTR(path), n);
    text[n] = '\0';
    return bsearch(text, s->routes, s->route_count, sizeof(s->routes[0]), compare_path);
}

static int routes_add(struct rpc_server *s, const struct rpc_service *service, struct error *err)
{
    for (size_t i = 0; i < service->method_count; i++) {
        const struct rpc_method *method = &service->methods[i];
        struct server_route *route = &s->routes[s->route_count];
        route->descriptor =
            protobuf_c_service_descriptor_get_method_by_name(service->descriptor, method->name);
        if (!route->descriptor || !method->unary == !method->on_message)
            return error_set(err, ERR_INTERNAL, "%s has no such method %s, or its row is wrong",
                             service->descriptor->name, method->name);
        if (asprintf(&route->path, "/%s/%s", service->descriptor->name, method->name) < 0)
            return error_set(err, ERR_INTERNAL, "no memory");
        route->method = method;
        route->ctx = service->ctx;
        s->route_count++;
    }
    return 0;
}

static int routes_init(struct rpc_server *s, const struct rpc_server_options *o, struct error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < o->service_count; i++)
        count += o->services[i].method_count;
    s->routes = calloc(count ? count : 1, sizeof(s->routes[0]));
    if (!s->routes)
        return error_set(err, ERR_INTERNAL, "no memory");
    for (size_t i = 0; i < o->service_count; i++) {
        int r = routes_add(s, &o->services[i], err);
        if (r < 0)
            return r;
    }
    qsort(s->routes, s->route_count, sizeof(s->routes[0]), compare_routes);
    return 0;
}

/* ---- arrivals ---- */

static void on_arrival(struct rpc_tag *tag, bool ok);

static void arriving_free(struct arriving *a)
{
    grpc_call_details_destroy(&a->details);
    grpc_metadata_array_destroy(&a->metadata);
    free(a);
}

static void wait_for_arrival(struct server_loop *loop)
{
    struct arriving *a = calloc(1, sizeof(*a));
    if (!a)
        return;
    a->tag.fn = on_arrival;
    a->loop = loop;
    grpc_call_details_init(&a->details);
    grpc_metadata_array_init(&a->metadata);
    pthread_rwlock_rdlock(&loop->server->batch_lock);
    bool started = false;
    if (!loop->server->closed) {
        rpc_tag_out(&a->tag);
        started = grpc_server_request_call(loop->server->core, &a->core, &a->details, &a->metadata,
                                           loop->queue, loop->queue, &a->tag) == GRPC_CALL_OK;
    }
    pthread_rwlock_unlock(&loop->server->batch_lock);
    if (!started)
        arriving_free(a);
}

static int64_t deadline_to_mono_ms(gpr_timespec deadline)
{
    deadline = gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
    if (gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0)
        return INT64_MAX;
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(GPR_CLOCK_MONOTONIC));
    return mono_ms() + left.tv_sec * 1000 + left.tv_nsec / 1000000;
}

static void deny(const struct server_arrival *arrival, int code, const char *why)
{
    const struct rpc_server *s = arrival->server;
    if (s->on_denied)
        s->on_denied(s->ctx, &arrival->peer, arrival->route ? arrival->route->method->name : "?",
                     why);
    rpc_unary_refuse(arrival, error_info_get(code)->grpc_status, why);
}

static void dispatch(struct server_arrival *arrival)
{
    struct error err = {0};
    if (rpc_tls_peer(arrival->core, &arrival->peer, &err) < 0)
        deny(arrival, ERR_UNAUTHENTICATED, err.message);
    else if (!arrival->route)
        rpc_unary_refuse(arrival, GRPC_STATUS_UNIMPLEMENTED, "no such method");
    else if ((arrival->route->method->allow & (unsigned)arrival->peer.role) == 0)
        deny(arrival, ERR_FORBIDDEN, "this role may not call this method");
    else if (arrival->route->method->unary)
        rpc_unary_begin(arrival);
    else
        rpc_stream_begin(arrival);
}

static void on_arrival(struct rpc_tag *tag, bool ok)
{
    struct arriving *a = RPC_TAG_OWNER(tag, struct arriving, tag);
    if (ok) {
        struct rpc_server *s = a->loop->server;
        wait_for_arrival(a->loop);
        struct server_arrival arrival = {
            .server = s,
            .core = a->core,
            .route = route_find(s, a->details.method),
            .deadline_mono_ms = deadline_to_mono_ms(a->details.deadline),
        };
        dispatch(&arrival);
    } /* else: the server is shutting down */
    arriving_free(a);
}

/* ---- loops ---- */

static void *loop_main(void *arg)
{
    struct server_loop *loop = arg;
    int64_t sweep_mono_ms = mono_ms() + SWEEP_MS;
    for (;;) {
        gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                          gpr_time_from_millis(SWEEP_MS, GPR_TIMESPAN));
        grpc_event event = grpc_completion_queue_next(loop->queue, until, NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            struct rpc_tag *tag = event.tag;
            rpc_tag_in(tag);
            tag->fn(tag, event.success != 0);
        }
        if (loop->index == 0 && mono_ms() >= sweep_mono_ms) {
            sweep_mono_ms = mono_ms() + SWEEP_MS;
            rpc_stream_sweep(loop->server, mono_ms());
        }
    }
}

static int loops_start(struct rpc_server *s, struct error *err)
{
    for (size_t i = 0; i < s->loop_count; i++)
        for (int k = 0; k < ARRIVALS_WAITED_FOR; k++)
            wait_for_arrival(&s->loops[i]);
    for (size_t i = 0; i < s->loop_count; i++) {
        if (pthread_create(&s->loops[i].thread, NULL, loop_main, &s->loops[i]) != 0)
            return error_set(err, ERR_INTERNAL, "cannot start a thread");
        s->loops[i].started = true;
        char name[16];
        snprintf(name, sizeof(name), "rpc-%u", (unsigned)i % 1000);
        pthread_setname_np(s->loops[i].thread, name);
    }
    return 0;
}

/* ---- start ---- */

#define ARG(k, v)                                                                                  \
    {                                                                                              \
        .type = GRPC_ARG_INTEGER, .key = (char *)(k), .value.integer = (v)                         \
    }

static grpc_server *core_new(const struct rpc_server *s)
{
    grpc_arg args[] = {
        ARG(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)s->max_message),
        ARG(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        ARG(GRPC_ARG_ALLOW_REUSEPORT, 0), /* a second daemon on the same port is a mistake */
        ARG(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1024),
        ARG(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 20000), /* as long as clients wait (client.c) */
        ARG(GRPC_ARG_HTTP2_BDP_PROBE, 0), /* halves the packets of a small message */
        /* Agrees with the clients' (client.c): they ping no more often than every 30 s. */
        ARG(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000),
        ARG(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        ARG(GRPC_ARG_KEEPALIVE_TIME_MS, 30000),
        ARG(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
        ARG(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
    };
    grpc_channel_args all = {ARRAY_LEN(args), args};
    return grpc_server_create(&all, NULL);
}

static int core_start(struct rpc_server *s, const struct rpc_server_options *o, struct error *err)
{
    grpc_server_credentials *credentials;
    int r = rpc_tls_server(&o->tls, &credentials, err);
    if (r < 0)
        return r;
    s->core = core_new(s);
    for (size_t i = 0; i < s->loop_count; i++) {
        s->loops[i].server = s;
        s->loops[i].index = i;
        s->loops[i].queue = grpc_completion_queue_create_for_next(NULL);
        grpc_server_register_completion_queue(s->core, s->loops[i].queue, NULL);
    }
    s->port = grpc_server_add_http2_port(s->core, o->address, credentials);
    grpc_server_credentials_release(credentials);
    /* Started even when there is no port, because only a started server can be shut down. */
    grpc_server_start(s->core);
    if (s->port == 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot listen on %s", o->address);
    return loops_start(s, err);
}

int rpc_server_start(const struct rpc_server_options *o, struct rpc_server **ret, struct error *err)
{
    struct rpc_server *s = calloc(1, sizeof(*s));
    if (!s)
        return error_set(err, ERR_INTERNAL, "no memory");
    s->refs = 1;
    s->max_message = o->max_message ? o->max_message : DEFAULT_MAX_MESSAGE;
    s->stream_max_queued = o->stream_max_queued ? o->stream_max_queued : DEFAULT_MAX_QUEUED;
    s->on_denied = o->on_denied;
    s->ctx = o->ctx;
    pthread_rwlock_init(&s->batch_lock, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->stopped_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->loop_count = o->threads > 0 ? (size_t)o->threads : 1;
    s->loops = calloc(s->loop_count, sizeof(s->loops[0]));
    int r = s->loops ? routes_init(s, o, err) : error_set(err, ERR_INTERNAL, "no memory");
    if (r == 0)
        r = core_start(s, o, err);
    if (r < 0) {
        rpc_server_stop(s, 0);
        return r;
    }
    *ret = s;
    return 0;
}

int rpc_server_port(const struct rpc_server *s)
{
    return s->port;
}

/* ---- stop ---- */

struct stopping {
    struct rpc_tag tag;
    struct rpc_server *server;
};

static void on_stopped(struct rpc_tag *tag, bool ok)
{
    UNUSED(ok);
    struct rpc_server *s = RPC_TAG_OWNER(tag, struct stopping, tag)->server;
    LOCK_SCOPE(&s->lock);
    s->stopped = true;
    pthread_cond_broadcast(&s->stopped_cond);
}

/* Waits for the end of what is in progress; `grace_ms` < 0: however long it takes. */
static bool wait_stopped(struct rpc_server *s, int grace_ms)
{
    int64_t until_mono_ms = mono_ms() + grace_ms;
    struct timespec until = {until_mono_ms / 1000, (until_mono_ms % 1000) * 1000000};
    LOCK_SCOPE(&s->lock);
    while (!s->stopped) {
        if (grace_ms < 0)
            pthread_cond_wait(&s->stopped_cond, &s->lock);
        else if (pthread_cond_timedwait(&s->stopped_cond, &s->lock, &until) != 0)
            return s->stopped;
    }
    return true;
}

/* Without threads (a start that failed) the queues are emptied here. */
static void loop_end(struct server_loop *loop)
{
    grpc_completion_queue_shutdown(loop->queue);
    if (loop->started)
        pthread_join(loop->thread, NULL);
    else
        loop_main(loop);
    grpc_completion_queue_destroy(loop->queue);
}

static void core_stop(struct rpc_server *s, int grace_ms)
{
    struct stopping stopping = {.tag.fn = on_stopped, .server = s};
    rpc_tag_out(&stopping.tag);
    grpc_server_shutdown_and_notify(s->core, s->loops[0].queue, &stopping.tag);
    if (s->loops[0].started) {
        if (!wait_stopped(s, grace_ms)) {
            grpc_server_cancel_all_calls(s->core);
            wait_stopped(s, -1);
        }
    }
    pthread_rwlock_wrlock(&s->batch_lock);
    s->closed = true;
    pthread_rwlock_unlock(&s->batch_lock);
    for (size_t i = 0; i < s->loop_count; i++)
        loop_end(&s->loops[i]);
    grpc_server_destroy(s->core);
}

struct rpc_server *rpc_server_stop(struct rpc_server *s, int grace_ms)
{
    if (!s)
        return NULL;
    if (s->core)
        core_stop(s, grace_ms);
    rpc_server_unref(s);
    return NULL;
}
