/* lib/rpc/server.h: what the parts of the server share. Internal to lib/rpc.
 * Life: a call or stream holds a reference on the server, and one on itself for each batch of
 * operations under way. Lock order: a stream's lock, then batch_lock; server->lock alone. */
#pragma once

#include "lib/rpc/message.h"
#include "lib/rpc/rpc.h"
#include "lib/rpc/tag.h"

#include <pthread.h>

struct server_route {
    char *path; /* "/harpoon.router.v1.Router/Deliver" */
    const struct rpc_method *method;
    const ProtobufCMethodDescriptor *descriptor;
    void *ctx;
};

struct server_loop { /* a completion queue and its thread */
    struct rpc_server *server;
    grpc_completion_queue *queue;
    pthread_t thread;
    size_t index;
    bool started;
};

struct rpc_server {
    atomic_int refs;
    grpc_server *core;
    struct server_route *routes; /* sorted by path */
    size_t route_count;
    struct server_loop *loops;
    size_t loop_count;
    int port;
    size_t max_message;
    size_t stream_max_queued;
    void (*on_denied)(void *ctx, const struct rpc_peer *peer, const char *method, const char *why);
    void *ctx;
    atomic_int calls; /* unary calls not yet answered */

    pthread_rwlock_t batch_lock;
    bool closed; /* guarded by batch_lock: no batch is started any more */

    pthread_mutex_t lock;
    pthread_cond_t stopped_cond;
    bool stopped;                 /* guarded by lock */
    struct rpc_stream *lingering; /* guarded by lock: finished, not yet closed */
};

/* What a call has in common whatever its kind. */
struct server_arrival {
    struct rpc_server *server;
    grpc_call *core;
    const struct server_route *route;
    struct rpc_peer peer;
    int64_t deadline_mono_ms;
};

struct rpc_server *rpc_server_ref(struct rpc_server *s);
void rpc_server_unref(struct rpc_server *s);
/* false: the server has stopped, `tag` will not come. */
bool rpc_server_batch(struct rpc_server *s, grpc_call *call, const grpc_op *ops, size_t count,
                      struct rpc_tag *tag);

/* Both take over arrival->core. On a loop thread. */
void rpc_unary_begin(const struct server_arrival *arrival);
void rpc_stream_begin(const struct server_arrival *arrival);
/* Answers a call that is not to be served. */
void rpc_unary_refuse(const struct server_arrival *arrival, int code, const char *why);

/* Cuts finished streams whose peer has not taken the end in time. */
void rpc_stream_sweep(struct rpc_server *s, int64_t now_mono_ms);
