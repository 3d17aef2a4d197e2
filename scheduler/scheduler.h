/* scheduler/scheduler.h: the daemon's modules, as its RPC handlers see them. */
#pragma once

#include "lib/rpc/rpc.h"
#include "scheduler/flush.h"
#include "scheduler/leader.h"
#include "scheduler/reconcile.h"
#include "scheduler/region.h"

struct scheduler {
    const char *address; /* this replica's, as others are told */
    struct regions regions;
    struct flusher *flusher;
    struct leader *leader;
    struct reconciler *reconciler; /* NULL: nobody to ask */
};

/* The service's table for rpc_server_start; `s` is borrowed for the server's life. */
void service_init(struct scheduler *s, struct rpc_service *ret);

/* ---- the handlers, each on a loop thread: they take a region's lock, do no I/O, and answer at
 * once or from the flusher's thread ---- */
void service_place(void *ctx, struct rpc_call *call, const ProtobufCMessage *in);
void service_release(void *ctx, struct rpc_call *call, const ProtobufCMessage *in);
void service_observe(void *ctx, struct rpc_call *call, const ProtobufCMessage *in);
void service_list_hypervisors(void *ctx, struct rpc_call *call, const ProtobufCMessage *in);
void service_set_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *in);
void service_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *in);
