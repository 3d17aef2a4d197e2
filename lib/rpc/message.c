#include "lib/rpc/message.h"

#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>

struct rpc_queued {
    struct rpc_queued *next;
    grpc_byte_buffer *bytes;
};

grpc_byte_buffer *rpc_message_encode(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    grpc_slice slice = grpc_slice_malloc(size);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return bytes;
}

ProtobufCMessage *rpc_message_decode(const ProtobufCMessageDescriptor *type,
                                     grpc_byte_buffer *bytes)
{
    if (bytes->type != GRPC_BB_RAW || bytes->data.raw.compression != GRPC_COMPRESS_NONE)
        return NULL;
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return NULL;
    grpc_slice *first = NULL;
    grpc_slice joined = grpc_empty_slice();
    size_t size = grpc_byte_buffer_length(bytes);
    ProtobufCMessage *message;
    if (grpc_byte_buffer_reader_peek(&reader, &first) && GRPC_SLICE_LENGTH(*first) == size) {
        /* The usual case, one piece: decoded where it lies. */
        message = protobuf_c_message_unpack(type, NULL, size, GRPC_SLICE_START_PTR(*first));
        grpc_byte_buffer_reader_destroy(&reader);
        return message;
    }
    grpc_byte_buffer_reader_destroy(&reader);
    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return NULL;
    joined = grpc_byte_buffer_reader_readall(&reader);
    message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(joined),
                                        GRPC_SLICE_START_PTR(joined));
    grpc_slice_unref(joined);
    grpc_byte_buffer_reader_destroy(&reader);
    return message;
}

void rpc_queue_init(struct rpc_queue *q, size_t max_count, size_t max_bytes)
{
    *q = (struct rpc_queue){.max_count = max_count, .max_bytes = max_bytes};
}

bool rpc_queue_push(struct rpc_queue *q, grpc_byte_buffer *bytes)
{
    size_t size = grpc_byte_buffer_length(bytes);
    /* A single message beyond max_bytes still goes when it is alone: its own limit is max_message.
     */
    if (q->count >= q->max_count || (q->count > 0 && q->bytes + size > q->max_bytes))
        return false;
    struct rpc_queued *item = malloc(sizeof(*item));
    if (!item)
        return false;
    *item = (struct rpc_queued){.bytes = bytes};
    if (q->tail)
        q->tail->next = item;
    else
        q->head = item;
    q->tail = item;
    q->count++;
    q->bytes += size;
    return true;
}

grpc_byte_buffer *rpc_queue_pop(struct rpc_queue *q)
{
    struct rpc_queued *item = q->head;
    if (!item)
        return NULL;
    grpc_byte_buffer *bytes = item->bytes;
    q->head = item->next;
    if (!q->head)
        q->tail = NULL;
    q->count--;
    q->bytes -= grpc_byte_buffer_length(bytes);
    free(item);
    return bytes;
}

void rpc_queue_clear(struct rpc_queue *q)
{
    grpc_byte_buffer *bytes;
    while ((bytes = rpc_queue_pop(q)) != NULL)
        grpc_byte_buffer_destroy(bytes);
}
