/* lib/rpc/stream.c: a bidirectional stream, server side. All that is a callback runs on the
 * stream's own loop thread. One write is in flight; the rest waits in a bounded queue. */
#include "lib/rpc/server.h"

#include "lib/clock.h"

#include <stdlib.h>
#include <string.h>

#define LINGER_MS 3000 /* for the peer to take what is queued and the end */

struct rpc_stream {
    struct rpc_tag on_received, on_sent, on_status, on_closed;
    struct server_arrival arrival;
    atomic_int refs;
    void *user;

    /* the loop thread's */
    grpc_byte_buffer *received;
    int cancelled;
    bool receive_ended, close_seen;

    pthread_mutex_t lock; /* guards what follows */
    struct rpc_queue queue;
    grpc_byte_buffer *sent; /* in flight */
    bool sending;
    bool finishing; /* the end is wanted, behind what is queued */
    bool ended;     /* nothing is sent any more */
    struct error end;

    /* guarded by the server's lock */
    struct rpc_stream *next, *previous;
    bool lingers, closed;
    int64_t cut_mono_ms;
};

struct rpc_stream *rpc_stream_ref(struct rpc_stream *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void rpc_stream_unref(struct rpc_stream *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    rpc_queue_clear(&s->queue);
    grpc_byte_buffer_destroy(s->received);
    grpc_byte_buffer_destroy(s->sent);
    grpc_call_unref(s->arrival.core);
    rpc_server_unref(s->arrival.server);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static bool stream_batch(struct rpc_stream *s, const grpc_op *ops, size_t count,
                         struct rpc_tag *tag)
{
    rpc_stream_ref(s);
    bool started = rpc_server_batch(s->arrival.server, s->arrival.core, ops, count, tag);
    if (!started)
        rpc_stream_unref(s); /* never the last: the caller has one */
    return started;
}

/* ---- streams that are to end ---- */

static void linger_begin(struct rpc_stream *s)
{
    struct rpc_server *server = s->arrival.server;
    int64_t cut = mono_ms() + LINGER_MS;
    LOCK_SCOPE(&server->lock);
    if (s->lingers || s->closed)
        return;
    s->lingers = true;
    s->cut_mono_ms = cut;
    s->previous = NULL;
    s->next = server->lingering;
    if (s->next)
        s->next->previous = s;
    server->lingering = s;
}

static void linger_end(struct rpc_stream *s)
{
    struct rpc_server *server = s->arrival.server;
    LOCK_SCOPE(&server->lock);
    s->closed = true;
    if (!s->lingers)
        return;
    s->lingers = false;
    if (s->previous)
        s->previous->next = s->next;
    else
        server->lingering = s->next;
    if (s->next)
        s->next->previous = s->previous;
}

void rpc_stream_sweep(struct rpc_server *server, int64_t now_mono_ms)
{
    LOCK_SCOPE(&server->lock);
    for (struct rpc_stream *s = server->lingering; s; s = s->next)
        if (s->cut_mono_ms <= now_mono_ms)
            grpc_call_cancel_with_status(s->arrival.core, GRPC_STATUS_UNAVAILABLE,
                                         "the end was not taken in time", NULL);
}

/* ---- sending ---- */

static void send_status_locked(struct rpc_stream *s)
{
    int status = s->end.code ? error_info_get(s->end.code)->grpc_status : GRPC_STATUS_OK;
    grpc_slice details = grpc_slice_from_copied_string(s->end.code ? s->end.message : "");
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = (grpc_status_code)status;
    op.data.send_status_from_server.status_details = &details;
    s->ended = true;
    stream_batch(s, &op, 1, &s->on_status);
    grpc_slice_unref(details);
}

static void pump_locked(struct rpc_stream *s)
{
    if (s->sending || s->ended)
        return;
    s->sent = rpc_queue_pop(&s->queue);
    if (s->sent) {
        grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
        op.data.send_message.send_message = s->sent;
        s->sending = stream_batch(s, &op, 1, &s->on_sent);
        s->ended = !s->sending;
    } else if (s->finishing) {
        send_status_locked(s);
    }
}

static void on_sent(struct rpc_tag *tag, bool ok)
{
    struct rpc_stream *s = RPC_TAG_OWNER(tag, struct rpc_stream, on_sent);
    pthread_mutex_lock(&s->lock);
    grpc_byte_buffer_destroy(s->sent);
    s->sent = NULL;
    s->sending = false;
    /* A failed write is the end of the connection, or of the call: close comes by itself. */
    if (!ok)
        s->ended = true;
    pump_locked(s);
    pthread_mutex_unlock(&s->lock);
    rpc_stream_unref(s);
}

int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *out, struct error *err)
{
    grpc_byte_buffer *bytes = rpc_message_encode(out);
    pthread_mutex_lock(&s->lock);
    int r = 0;
    if (s->ended || s->finishing)
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

size_t rpc_stream_queued(struct rpc_stream *s)
{
    LOCK_SCOPE(&s->lock);
    return s->queue.count + (s->sending ? 1 : 0);
}

static void stream_finish(struct rpc_stream *s, int code, const char *why)
{
    pthread_mutex_lock(&s->lock);
    bool first = !s->finishing && !s->ended;
    if (first) {
        s->finishing = true;
        s->end.code = code;
        strncat(s->end.message, why, sizeof(s->end.message) - 1);
        pump_locked(s);
    }
    pthread_mutex_unlock(&s->lock);
    if (first)
        linger_begin(s);
}

void rpc_stream_finish(struct rpc_stream *s, const struct error *err)
{
    stream_finish(s, err ? err->code : 0, err ? err->message : "");
}

static void on_status(struct rpc_tag *tag, bool ok)
{
    UNUSED(ok);
    rpc_stream_unref(RPC_TAG_OWNER(tag, struct rpc_stream, on_status));
}

/* ---- receiving, and the end ---- */

/* Nothing can come any more and the call is over: the last callback. */
static void maybe_close(struct rpc_stream *s)
{
    const struct server_route *route = s->arrival.route;
    if (!s->receive_ended || !s->close_seen)
        return;
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    rpc_queue_clear(&s->queue);
    pthread_mutex_unlock(&s->lock);
    linger_end(s);
    if (route->method->on_close)
        route->method->on_close(route->ctx, s);
}

static void start_receive(struct rpc_stream *s)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &s->received;
    if (!stream_batch(s, &op, 1, &s->on_received))
        s->receive_ended = true;
}

static bool is_finishing(struct rpc_stream *s)
{
    LOCK_SCOPE(&s->lock);
    return s->finishing;
}

static void on_received(struct rpc_tag *tag, bool ok)
{
    struct rpc_stream *s = RPC_TAG_OWNER(tag, struct rpc_stream, on_received);
    const struct server_route *route = s->arrival.route;
    if (ok && s->received) {
        ProtobufCMessage *in = rpc_message_decode(route->descriptor->input, s->received);
        grpc_byte_buffer_destroy(s->received);
        s->received = NULL;
        if (!in)
            stream_finish(s, ERR_INVALID, "a message cannot be decoded");
        else if (!is_finishing(s))
            route->method->on_message(route->ctx, s, in);
        if (in)
            protobuf_c_message_free_unpacked(in, NULL);
        start_receive(s);
    } else {
        s->receive_ended = true;
        stream_finish(s, 0, ""); /* the peer has nothing more to say */
    }
    maybe_close(s);
    rpc_stream_unref(s);
}

static void on_closed(struct rpc_tag *tag, bool ok)
{
    UNUSED(ok);
    struct rpc_stream *s = RPC_TAG_OWNER(tag, struct rpc_stream, on_closed);
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_mutex_unlock(&s->lock);
    s->close_seen = true;
    maybe_close(s);
    rpc_stream_unref(s);
}

static struct rpc_stream *stream_new(const struct server_arrival *arrival)
{
    struct rpc_stream *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->arrival = *arrival;
    rpc_server_ref(arrival->server);
    s->refs = 1;
    s->on_received.fn = on_received;
    s->on_sent.fn = on_sent;
    s->on_status.fn = on_status;
    s->on_closed.fn = on_closed;
    pthread_mutex_init(&s->lock, NULL);
    rpc_queue_init(&s->queue, arrival->server->stream_max_queued, arrival->server->max_message * 4);
    return s;
}

void rpc_stream_begin(const struct server_arrival *arrival)
{
    const struct server_route *route = arrival->route;
    struct rpc_stream *s = stream_new(arrival);
    if (!s) {
        grpc_call_unref(arrival->core);
        return;
    }
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &s->cancelled;
    if (!stream_batch(s, &op, 1, &s->on_closed)) {
        rpc_stream_unref(s);
        return;
    }
    /* Initial metadata goes at once, so that the peer sees the stream open. */
    grpc_op open = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    pthread_mutex_lock(&s->lock);
    s->sending = stream_batch(s, &open, 1, &s->on_sent);
    s->ended = !s->sending;
    pthread_mutex_unlock(&s->lock);
    if (route->method->on_open)
        route->method->on_open(route->ctx, s);
    start_receive(s);
    maybe_close(s);
    rpc_stream_unref(s);
}

const struct rpc_peer *rpc_stream_peer(const struct rpc_stream *s)
{
    return &s->arrival.peer;
}

void rpc_stream_set_user(struct rpc_stream *s, void *user)
{
    s->user = user;
}

void *rpc_stream_user(const struct rpc_stream *s)
{
    return s->user;
}
