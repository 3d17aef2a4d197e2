/* lib/rpc/client.h: what the parts of the client share. Internal to lib/rpc. */
#pragma once

#include "lib/rpc/rpc.h"
#include "lib/rpc/tag.h"

#include <grpc/grpc.h>

struct rpc_client {
    grpc_channel *channel;
};

/* A call on the process's one client queue. NULL: the service has no such method. The caller unrefs
 * it with grpc_call_unref(). */
grpc_call *rpc_client_call_new(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                               const char *method, int64_t deadline_mono_ms,
                               const ProtobufCMethodDescriptor **ret_method);
/* Starts a batch; it cannot fail but by a mistake of ours. */
void rpc_client_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);
/* Fills *err from how a call ended; 0 when it ended well. */
int rpc_client_outcome(grpc_status_code status, grpc_slice details, struct error *err);
