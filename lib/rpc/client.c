#include "lib/rpc/client.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/rpc/message.h"
#include "lib/rpc/tls.h"

#include <assert.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the library: one queue and one thread for all clients of the process ---- */

static struct {
    grpc_completion_queue *queue;
    pthread_t thread;
} library;

static void *library_main(void *arg)
{
    UNUSED(arg);
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(library.queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        struct rpc_tag *tag = event.tag;
        rpc_tag_in(tag);
        tag->fn(tag, event.success != 0);
    }
}

/* What the library has to say (a handshake that failed, above all) becomes one of our lines. */
static void on_library_log(gpr_log_func_args *args)
{
    log_debug("grpc", F_STR("text", args->message), F_STR("file", args->file),
              F_I64("line", args->line));
}

void rpc_library_init(void)
{
    gpr_set_log_function(on_library_log);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
    grpc_init();
    library.queue = grpc_completion_queue_create_for_next(NULL);
    if (pthread_create(&library.thread, NULL, library_main, NULL) != 0)
        abort();
    pthread_setname_np(library.thread, "rpc-client");
}

void rpc_library_fini(void)
{
    grpc_completion_queue_shutdown(library.queue);
    pthread_join(library.thread, NULL);
    grpc_completion_queue_destroy(library.queue);
    library.queue = NULL;
    grpc_shutdown_blocking();
}

/* ---- a channel ---- */

#define ARG(k, v)                                                                                  \
    {                                                                                              \
        .type = GRPC_ARG_INTEGER, .key = (char *)(k), .value.integer = (v)                         \
    }

static grpc_channel *channel_new(const char *address, grpc_channel_credentials *credentials)
{
    grpc_arg args[] = {
        /* A connection of its own: a process may be a thousand hypervisors. */
        ARG(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        ARG(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        ARG(GRPC_ARG_ENABLE_RETRIES, 0), /* callers decide what may be said twice */
        ARG(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        ARG(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        ARG(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        ARG(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, 64 * 1024 * 1024), /* servers are trusted */
        ARG(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200),
        ARG(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20000), /* which is the time to connect in */
        ARG(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000),
        /* Agrees with the server's (server.c). */
        ARG(GRPC_ARG_KEEPALIVE_TIME_MS, 30000),
        ARG(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
        ARG(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        ARG(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
    };
    grpc_channel_args all = {ARRAY_LEN(args), args};
    return grpc_channel_create(address, credentials, &all);
}

int rpc_client_new(const char *address, const struct rpc_tls *tls, struct rpc_client **ret,
                   struct error *err)
{
    grpc_channel_credentials *credentials;
    int r = rpc_tls_client(tls, &credentials, err);
    if (r < 0)
        return r;
    struct rpc_client *c = calloc(1, sizeof(*c));
    if (c)
        c->channel = channel_new(address, credentials);
    grpc_channel_credentials_release(credentials);
    if (!c || !c->channel) {
        free(c);
        return error_set(err, ERR_INVALID, "cannot make a channel to '%s'", address);
    }
    *ret = c;
    return 0;
}

struct rpc_client *rpc_client_free(struct rpc_client *c)
{
    if (c)
        grpc_channel_destroy(c->channel);
    free(c);
    return NULL;
}

static gpr_timespec deadline_from_mono_ms(int64_t deadline_mono_ms)
{
    if (deadline_mono_ms == INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(deadline_mono_ms - mono_ms(), GPR_TIMESPAN));
}

grpc_call *rpc_client_call_new(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                               const char *method, int64_t deadline_mono_ms,
                               const ProtobufCMethodDescriptor **ret_method)
{
    char path[256];
    *ret_method = protobuf_c_service_descriptor_get_method_by_name(service, method);
    int n = snprintf(path, sizeof(path), "/%s/%s", service->name, method);
    if (!*ret_method || n >= (int)sizeof(path))
        return NULL;
    assert(library.queue); /* rpc_library_init() comes first */
    grpc_slice path_slice = grpc_slice_from_copied_string(path);
    grpc_call *call =
        grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, library.queue,
                                 path_slice, NULL, deadline_from_mono_ms(deadline_mono_ms), NULL);
    grpc_slice_unref(path_slice);
    return call;
}

void rpc_client_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag)
{
    rpc_tag_out(tag);
    if (grpc_call_start_batch(call, ops, count, tag, NULL) != GRPC_CALL_OK)
        abort();
}

int rpc_client_outcome(grpc_status_code status, grpc_slice details, struct error *err)
{
    if (status == GRPC_STATUS_OK) {
        *err = (struct error){0};
        return 0;
    }
    return error_set(err, error_code_from_grpc(status), "%.*s", (int)GRPC_SLICE_LENGTH(details),
                     (const char *)GRPC_SLICE_START_PTR(details));
}

/* ---- one call ---- */

struct client_call {
    struct rpc_tag on_end;
    grpc_call *core;
    const ProtobufCMethodDescriptor *method;
    grpc_byte_buffer *sent, *received;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
    /* Takes `out` over. */
    void (*done)(struct client_call *call, ProtobufCMessage *out, const struct error *err);
    rpc_done_fn fn;
    void *ctx;
};

static void client_call_free(struct client_call *call)
{
    grpc_byte_buffer_destroy(call->sent);
    grpc_byte_buffer_destroy(call->received);
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->details);
    grpc_call_unref(call->core);
    free(call);
}

static void on_end(struct rpc_tag *tag, bool ok)
{
    UNUSED(ok);
    struct client_call *call = RPC_TAG_OWNER(tag, struct client_call, on_end);
    struct error err;
    ProtobufCMessage *out = NULL;
    if (rpc_client_outcome(call->status, call->details, &err) == 0) {
        if (call->received)
            out = rpc_message_decode(call->method->output, call->received);
        if (!out)
            error_set(&err, ERR_INTERNAL, "the answer cannot be decoded");
    }
    call->done(call, out, &err);
    client_call_free(call);
}

static void client_call_start(struct client_call *call, const ProtobufCMessage *in)
{
    grpc_op ops[6];
    memset(ops, 0, sizeof(ops));
    call->on_end.fn = on_end;
    call->details = grpc_empty_slice();
    call->sent = rpc_message_encode(in);
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = call->sent;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &call->received;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[5].data.recv_status_on_client.status = &call->status;
    ops[5].data.recv_status_on_client.status_details = &call->details;
    rpc_client_batch(call->core, ops, ARRAY_LEN(ops), &call->on_end);
}

static struct client_call *client_call_new(struct rpc_client *c,
                                           const ProtobufCServiceDescriptor *service,
                                           const char *method, int64_t deadline_mono_ms)
{
    struct client_call *call = calloc(1, sizeof(*call));
    if (!call)
        abort(); /* nobody could be told: an answer is promised */
    call->core = rpc_client_call_new(c, service, method, deadline_mono_ms, &call->method);
    if (!call->core)
        abort(); /* the program asks for a method that its own .proto does not have */
    return call;
}

static void done_async(struct client_call *call, ProtobufCMessage *out, const struct error *err)
{
    call->fn(call->ctx, out, err);
    if (out)
        protobuf_c_message_free_unpacked(out, NULL);
}

void rpc_client_call_async(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                           const char *method, const ProtobufCMessage *in, int64_t deadline_mono_ms,
                           rpc_done_fn done, void *ctx)
{
    struct client_call *call = client_call_new(c, service, method, deadline_mono_ms);
    call->done = done_async;
    call->fn = done;
    call->ctx = ctx;
    client_call_start(call, in);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    ProtobufCMessage *out;
    struct error err;
};

static void done_blocking(struct client_call *call, ProtobufCMessage *out, const struct error *err)
{
    struct waiter *w = call->ctx;
    LOCK_SCOPE(&w->lock);
    w->out = out;
    w->err = *err;
    w->done = true;
    pthread_cond_signal(&w->cond);
}

int rpc_client_call(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                    const char *method, const ProtobufCMessage *in, int64_t deadline_mono_ms,
                    ProtobufCMessage **ret, struct error *err)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    assert(!pthread_equal(pthread_self(), library.thread)); /* it would wait for itself */
    struct client_call *call = client_call_new(c, service, method, deadline_mono_ms);
    call->done = done_blocking;
    call->ctx = &w;
    client_call_start(call, in);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.lock);
    if (w.err.code < 0) {
        *err = w.err;
        return w.err.code;
    }
    *ret = w.out;
    return 0;
}
