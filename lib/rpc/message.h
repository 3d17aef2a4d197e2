/* lib/rpc/message.h: protobuf-c messages to and from what travels, and the queue of those that wait
 * for their turn on a stream. Internal to lib/rpc. */
#pragma once

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* The caller destroys it. */
grpc_byte_buffer *rpc_message_encode(const ProtobufCMessage *message);
/* NULL: not a `type`, or compressed (never agreed to: a bomb would unpack without limit). The
 * caller frees it with protobuf_c_message_free_unpacked(.., NULL). */
ProtobufCMessage *rpc_message_decode(const ProtobufCMessageDescriptor *type,
                                     grpc_byte_buffer *bytes);

/* Encoded messages in order, bounded in number and bytes. Its owner locks. */
struct rpc_queue {
    struct rpc_queued *head, *tail;
    size_t count, max_count;
    size_t bytes, max_bytes;
};
void rpc_queue_init(struct rpc_queue *q, size_t max_count, size_t max_bytes);
/* Takes `bytes` over. false: full, the caller keeps it. */
bool rpc_queue_push(struct rpc_queue *q, grpc_byte_buffer *bytes);
grpc_byte_buffer *rpc_queue_pop(struct rpc_queue *q); /* the caller's; NULL: empty */
void rpc_queue_clear(struct rpc_queue *q);
