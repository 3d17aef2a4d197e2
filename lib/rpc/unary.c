/* lib/rpc/unary.c: a call with one request and one answer. */
#include "lib/rpc/server.h"

#include <grpc/support/alloc.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CALLS 10000 /* not yet answered, of a server: beyond it they are shed */

struct rpc_call {
    struct rpc_tag on_request, on_end;
    struct server_arrival arrival;
    atomic_int refs;
    bool counted;
    int cancelled;
    grpc_byte_buffer *received, *sent;
    ProtobufCMessage *in;
};

static void call_unref(struct rpc_call *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    if (c->counted)
        atomic_fetch_sub(&c->arrival.server->calls, 1);
    if (c->in)
        protobuf_c_message_free_unpacked(c->in, NULL);
    grpc_byte_buffer_destroy(c->received);
    grpc_byte_buffer_destroy(c->sent);
    grpc_call_unref(c->arrival.core);
    rpc_server_unref(c->arrival.server);
    free(c);
}

static bool call_batch(struct rpc_call *c, const grpc_op *ops, size_t count, struct rpc_tag *tag)
{
    atomic_fetch_add(&c->refs, 1);
    bool started = rpc_server_batch(c->arrival.server, c->arrival.core, ops, count, tag);
    if (!started)
        call_unref(c);
    return started;
}

static void on_end(struct rpc_tag *tag, bool ok)
{
    UNUSED(ok); /* whether the peer still wanted it changes nothing */
    call_unref(RPC_TAG_OWNER(tag, struct rpc_call, on_end));
}

/* The whole answer in one batch. Gives the answerer's reference back. */
static void answer(struct rpc_call *c, grpc_byte_buffer *message, int status, const char *why)
{
    grpc_slice details = grpc_slice_from_copied_string(why);
    grpc_op ops[4];
    size_t n = 0;
    memset(ops, 0, sizeof(ops));
    ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (message) {
        c->sent = message;
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = message;
    }
    ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[n].data.send_status_from_server.status = (grpc_status_code)status;
    ops[n++].data.send_status_from_server.status_details = &details;
    ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[n++].data.recv_close_on_server.cancelled = &c->cancelled;
    call_batch(c, ops, n, &c->on_end);
    grpc_slice_unref(details);
    call_unref(c);
}

static void on_request(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *c = RPC_TAG_OWNER(tag, struct rpc_call, on_request);
    const struct server_route *route = c->arrival.route;
    if (!ok || !c->received) {
        answer(c, NULL, GRPC_STATUS_CANCELLED, "no request came");
    } else {
        c->in = rpc_message_decode(route->descriptor->input, c->received);
        grpc_byte_buffer_destroy(c->received);
        c->received = NULL;
        if (c->in)
            route->method->unary(route->ctx, c, c->in);
        else
            answer(c, NULL, GRPC_STATUS_INVALID_ARGUMENT, "the request cannot be decoded");
    }
    call_unref(c);
}

static struct rpc_call *call_new(const struct server_arrival *arrival)
{
    struct rpc_call *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->arrival = *arrival;
    rpc_server_ref(arrival->server);
    c->refs = 1;
    c->on_request.fn = on_request;
    c->on_end.fn = on_end;
    return c;
}

void rpc_unary_begin(const struct server_arrival *arrival)
{
    struct rpc_call *c = call_new(arrival);
    if (!c) {
        grpc_call_unref(arrival->core);
        return;
    }
    c->counted = true;
    if (atomic_fetch_add(&arrival->server->calls, 1) >= MAX_CALLS) {
        answer(c, NULL, error_info_get(ERR_BUSY)->grpc_status, "too many calls are under way");
        return;
    }
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &c->received;
    if (!call_batch(c, &op, 1, &c->on_request))
        call_unref(c);
}

void rpc_unary_refuse(const struct server_arrival *arrival, int code, const char *why)
{
    struct rpc_call *c = call_new(arrival);
    if (c)
        answer(c, NULL, code, why);
    else
        grpc_call_unref(arrival->core);
}

const struct rpc_peer *rpc_call_peer(const struct rpc_call *call)
{
    return &call->arrival.peer;
}

int64_t rpc_call_deadline_mono_ms(const struct rpc_call *call)
{
    return call->arrival.deadline_mono_ms;
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *out)
{
    answer(call, rpc_message_encode(out), GRPC_STATUS_OK, "");
}

void rpc_fail(struct rpc_call *call, const struct error *err)
{
    answer(call, NULL, error_info_get(err->code)->grpc_status, err->message);
}
