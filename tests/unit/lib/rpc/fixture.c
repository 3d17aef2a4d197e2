#include "fixture.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "tests/support/certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct certificates *certificates;

int fixture_setup(void **state)
{
    UNUSED(state);
    log_open("test", LOG_WARN);
    rpc_library_init();
    certificates = certificates_new();
    return 0;
}

int fixture_teardown(void **state)
{
    UNUSED(state);
    certificates = certificates_free(certificates);
    rpc_library_fini();
    return 0;
}

struct certificates *fixture_certificates(void)
{
    return certificates;
}

const struct rpc_tls *fixture_tls(const char *role)
{
    return certificates_role(certificates, role);
}

int64_t soon(void)
{
    return mono_ms() + WAIT_MS;
}

static void count(struct server *s, unsigned *value)
{
    pthread_mutex_lock(&s->lock);
    (*value)++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the services ---- */

static void on_sessions(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct server *s = ctx;
    Harpoon__Router__V1__SessionsReply out = HARPOON__ROUTER__V1__SESSIONS_REPLY__INIT;
    UNUSED(in);
    out.router = s->answer;
    out.region = (char *)rpc_call_peer(call)->name;
    count(s, &s->sessions_calls);
    rpc_reply(call, &out.base);
}

static void on_deliver(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct server *s = ctx;
    UNUSED(in);
    LOCK_SCOPE(&s->lock);
    s->held = call;
    s->deadline_mono_ms = rpc_call_deadline_mono_ms(call);
    pthread_cond_broadcast(&s->changed);
}

static void on_begin(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct error err;
    UNUSED(ctx);
    UNUSED(in);
    error_set(&err, ERR_NO_CAPACITY, "0 MiB left");
    rpc_fail(call, &err);
}

static void on_open(void *ctx, struct rpc_stream *stream)
{
    struct server *s = ctx;
    rpc_stream_set_user(stream, s);
    pthread_mutex_lock(&s->lock);
    s->stream_peer = *rpc_stream_peer(stream);
    if (s->stream)
        rpc_stream_unref(s->stream);
    s->stream = rpc_stream_ref(stream);
    pthread_mutex_unlock(&s->lock);
    count(s, &s->opened);
}

static void on_message(void *ctx, struct rpc_stream *stream, const ProtobufCMessage *in)
{
    struct server *s = ctx;
    const Harpoon__Agent__V1__FromAgent *m = (const Harpoon__Agent__V1__FromAgent *)in;
    assert_ptr_equal(rpc_stream_user(stream), s);
    pthread_mutex_lock(&s->lock);
    if (m->body_case == HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH)
        s->last_session = m->attach->session;
    pthread_mutex_unlock(&s->lock);
    count(s, &s->messages);
}

static void on_close(void *ctx, struct rpc_stream *stream)
{
    struct server *s = ctx;
    UNUSED(stream);
    count(s, &s->closed);
}

static void on_denied(void *ctx, const struct rpc_peer *peer, const char *method, const char *why)
{
    struct server *s = ctx;
    UNUSED(why);
    pthread_mutex_lock(&s->lock);
    snprintf(s->denied_peer, sizeof(s->denied_peer), "%s", peer->name);
    snprintf(s->denied_method, sizeof(s->denied_method), "%s", method);
    pthread_mutex_unlock(&s->lock);
    count(s, &s->denied);
}

static const struct rpc_method router_methods[] = {
    {.name = "Sessions", .allow = RPC_ROLE_HARPOON | RPC_ROLE_OPERATOR, .unary = on_sessions},
    {.name = "Deliver", .allow = RPC_ROLE_HARPOON, .unary = on_deliver},
    {.name = "Begin", .allow = RPC_ROLE_HARPOON, .unary = on_begin},
};
static const struct rpc_method gateway_methods[] = {
    {.name = "Session",
     .allow = RPC_ROLE_HYPERVISOR,
     .on_open = on_open,
     .on_message = on_message,
     .on_close = on_close},
};

/* ---- the server ---- */

void server_start(struct server *s, int port, const struct rpc_tls *tls)
{
    struct error err;
    char address[64];
    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->services[0] = (struct rpc_service){ROUTER, router_methods, ARRAY_LEN(router_methods), s};
    s->services[1] = (struct rpc_service){GATEWAY, gateway_methods, ARRAY_LEN(gateway_methods), s};
    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    const struct rpc_server_options options = {
        .address = address,
        .tls = *(tls ? tls : fixture_tls("eventrouter")),
        .services = s->services,
        .service_count = ARRAY_LEN(s->services),
        .threads = 2,
        .max_message = 256 * 1024,
        .stream_max_queued = 4,
        .on_denied = on_denied,
        .ctx = s,
    };
    assert_int_equal(rpc_server_start(&options, &s->rpc, &err), 0);
    snprintf(s->address, sizeof(s->address), "127.0.0.1:%d", rpc_server_port(s->rpc));
    snprintf(s->answer, sizeof(s->answer), "%s", s->address);
}

void server_stop(struct server *s, int grace_ms)
{
    s->rpc = rpc_server_stop(s->rpc, grace_ms);
    if (s->stream)
        rpc_stream_unref(s->stream);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
}

static void wait_changed_locked(struct server *s, int64_t until_unix_ms)
{
    struct timespec ts = {until_unix_ms / 1000, (until_unix_ms % 1000) * 1000000};
    assert_int_equal(pthread_cond_timedwait(&s->changed, &s->lock, &ts), 0);
}

void server_wait(struct server *s, const unsigned *value, unsigned least)
{
    int64_t until = unix_ms() + WAIT_MS;
    pthread_mutex_lock(&s->lock);
    while (*value < least)
        wait_changed_locked(s, until);
    pthread_mutex_unlock(&s->lock);
}

unsigned server_count(struct server *s, const unsigned *value)
{
    LOCK_SCOPE(&s->lock);
    return *value;
}

struct rpc_call *server_take_held(struct server *s)
{
    int64_t until = unix_ms() + WAIT_MS;
    pthread_mutex_lock(&s->lock);
    while (!s->held)
        wait_changed_locked(s, until);
    struct rpc_call *held = s->held;
    s->held = NULL;
    pthread_mutex_unlock(&s->lock);
    return held;
}

/* ---- clients ---- */

struct rpc_client *client_to(const char *address, const char *role)
{
    struct error err;
    struct rpc_client *c;
    assert_int_equal(rpc_client_new(address, fixture_tls(role), &c, &err), 0);
    return c;
}

int ask_sessions(struct rpc_client *c, char ret[64], struct error *err)
{
    Harpoon__Router__V1__SessionsRequest in = HARPOON__ROUTER__V1__SESSIONS_REQUEST__INIT;
    ProtobufCMessage *out;
    int r = rpc_client_call(c, ROUTER, "Sessions", &in.base, soon(), &out, err);
    if (r < 0)
        return r;
    snprintf(ret, 64, "%s", ((Harpoon__Router__V1__SessionsReply *)out)->router);
    protobuf_c_message_free_unpacked(out, NULL);
    return 0;
}
