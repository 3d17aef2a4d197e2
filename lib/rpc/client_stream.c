/* lib/rpc/client_stream.c: a bidirectional stream, client side. Callbacks run on the client queue's
 * thread. One write is in flight; the rest waits in a bounded queue. */
#include "lib/rpc/client.h"
#include "lib/rpc/message.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_QUEUED 256
#define MAX_QUEUED_BYTES   (16 * 1024 * 1024)

struct rpc_client_stream {
    struct rpc_tag on_opened, on_received, on_sent, on_status;
    atomic_int refs;
    grpc_call *core;
    const ProtobufCMethodDescriptor *method;
    struct rpc_client_stream_callbacks callbacks;

    /* the queue's thread's */
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *received;
    grpc_status_code status;
    grpc_slice details;
    bool receive_ended, status_seen;

    pthread_mutex_t lock; /* guards what follows */
    struct rpc_queue queue;
    grpc_byte_buffer *sent; /* in flight */
    bool sending, ended;
};

static void stream_ref(struct rpc_client_stream *s)
{
    atomic_fetch_add(&s->refs, 1);
}

static void stream_unref(struct rpc_client_stream *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    rpc_queue_clear(&s->queue);
    grpc_byte_buffer_destroy(s->received);
    grpc_byte_buffer_destroy(s->sent);
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_slice_unref(s->details);
    grpc_call_unref(s->core);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void start(struct rpc_client_stream *s, const grpc_op *op, struct rpc_tag *tag)
{
    stream_ref(s);
    rpc_client_batch(s->core, op, 1, tag);
}

/* ---- sending ---- */

static void pump_locked(struct rpc_client_stream *s)
{
    if (s->sending || s->ended)
        return;
    s->sent = rpc_queue_pop(&s->queue);
    if (!s->sent)
        return;
    s->sending = true;
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = s->sent;
    start(s, &op, &s->on_sent);
}

static void on_sent(struct rpc_tag *tag, bool ok)
{
    struct rpc_client_stream *s = RPC_TAG_OWNER(tag, struct rpc_client_stream, on_sent);
    pthread_mutex_lock(&s->lock);
    grpc_byte_buffer_destroy(s->sent);
    s->sent = NULL;
    s->sending = false;
    if (!ok)
        s->ended = true; /* the status says why, and comes by itself */
    pump_locked(s);
    pthread_mutex_unlock(&s->lock);
    stream_unref(s);
}

int rpc_client_stream_send(struct rpc_client_stream *s, const ProtobufCMessage *out,
                           struct error *err)
{
    grpc_byte_buffer *bytes = rpc_message_encode(out);
    pthread_mutex_lock(&s->lock);
    int r = 0;
    if (s->ended)
        r = error_set(err, ERR_UNAVAILABLE, "the stream has ended");
    else if (!rpc_queue_push(&s->queue, bytes))
        r = error_set(err, ERR_BUSY, "%zu messages wait on the stream", s->queue.count);
    else
        pump_locked(s);
    pthread_mutex_unlock(&s->lock);
    if (r < 0)
        grpc_byte_buffer_destroy(bytes);
    return r;
}

/* ---- receiving, and the end ---- */

static void maybe_close(struct rpc_client_stream *s)
{
    struct error err;
    if (!s->receive_ended || !s->status_seen)
        return;
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    rpc_queue_clear(&s->queue);
    pthread_mutex_unlock(&s->lock);
    rpc_client_outcome(s->status, s->details, &err);
    s->callbacks.on_close(s->callbacks.ctx, &err);
}

static void start_receive(struct rpc_client_stream *s)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &s->received;
    start(s, &op, &s->on_received);
}

static void on_received(struct rpc_tag *tag, bool ok)
{
    struct rpc_client_stream *s = RPC_TAG_OWNER(tag, struct rpc_client_stream, on_received);
    if (ok && s->received) {
        ProtobufCMessage *in = rpc_message_decode(s->method->output, s->received);
        grpc_byte_buffer_destroy(s->received);
        s->received = NULL;
        if (in) {
            s->callbacks.on_message(s->callbacks.ctx, in);
            protobuf_c_message_free_unpacked(in, NULL);
        } else {
            grpc_call_cancel_with_status(s->core, GRPC_STATUS_INTERNAL,
                                         "a message cannot be decoded", NULL);
        }
        start_receive(s);
    } else {
        s->receive_ended = true;
        maybe_close(s);
    }
    stream_unref(s);
}

static void on_opened(struct rpc_tag *tag, bool ok)
{
    UNUSED(ok); /* when it is not, receiving ends at once */
    struct rpc_client_stream *s = RPC_TAG_OWNER(tag, struct rpc_client_stream, on_opened);
    start_receive(s);
    stream_unref(s);
}

static void on_status(struct rpc_tag *tag, bool ok)
{
    UNUSED(ok);
    struct rpc_client_stream *s = RPC_TAG_OWNER(tag, struct rpc_client_stream, on_status);
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_mutex_unlock(&s->lock);
    s->status_seen = true;
    maybe_close(s);
    stream_unref(s);
}

static void stream_start(struct rpc_client_stream *s)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &s->trailing;
    op.data.recv_status_on_client.status = &s->status;
    op.data.recv_status_on_client.status_details = &s->details;
    start(s, &op, &s->on_status);
    op = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    s->sending = true;
    start(s, &op, &s->on_sent);
    op = (grpc_op){.op = GRPC_OP_RECV_INITIAL_METADATA};
    op.data.recv_initial_metadata.recv_initial_metadata = &s->initial;
    start(s, &op, &s->on_opened);
}

int rpc_client_stream_open(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                           const char *method, const struct rpc_client_stream_callbacks *callbacks,
                           size_t max_queued, struct rpc_client_stream **ret, struct error *err)
{
    struct rpc_client_stream *s = calloc(1, sizeof(*s));
    if (!s)
        return error_set(err, ERR_INTERNAL, "no memory");
    s->core = rpc_client_call_new(c, service, method, INT64_MAX, &s->method);
    if (!s->core) {
        free(s);
        return error_set(err, ERR_INTERNAL, "%s has no method %s", service->name, method);
    }
    s->refs = 1;
    s->callbacks = *callbacks;
    s->on_opened.fn = on_opened;
    s->on_received.fn = on_received;
    s->on_sent.fn = on_sent;
    s->on_status.fn = on_status;
    s->details = grpc_empty_slice();
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    pthread_mutex_init(&s->lock, NULL);
    rpc_queue_init(&s->queue, max_queued ? max_queued : DEFAULT_MAX_QUEUED, MAX_QUEUED_BYTES);
    /* Set before anything runs: a callback may come before this returns. */
    *ret = s;
    pthread_mutex_lock(&s->lock);
    stream_start(s);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void rpc_client_stream_cancel(struct rpc_client_stream *s)
{
    grpc_call_cancel(s->core, NULL);
}

void rpc_client_stream_free(struct rpc_client_stream *s)
{
    if (s)
        stream_unref(s);
}
