/* lib/rpc/rpc.h: gRPC with protobuf-c messages over mutual TLS: a server and clients. Who a peer is
 * comes from its certificate's URI name: spiffe://harpoon/role/ROLE or
 * spiffe://harpoon/region/REGION/hypervisor/NUMBER. Only this folder sees the gRPC library. */
#pragma once

#include "lib/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rpc_role { /* bits, for allow tables */
                RPC_ROLE_NONE = 0,
                RPC_ROLE_HARPOON = 1,     /* role/harpoon: api and worker */
                RPC_ROLE_SCHEDULER = 2,   /* role/scheduler */
                RPC_ROLE_EVENTROUTER = 4, /* role/eventrouter */
                RPC_ROLE_OPERATOR = 8,    /* role/operator: harpoonctl */
                RPC_ROLE_HYPERVISOR = 16, /* region/…/hypervisor/… */
};
struct rpc_peer {
    enum rpc_role role;
    char region[32];        /* of a hypervisor */
    uint64_t hypervisor_id; /* of a hypervisor */
    char name[128];         /* the URI, for logs */
};
/* Pure. ERR_INVALID: not one of ours. */
int rpc_peer_parse(const char *uri, struct rpc_peer *ret, struct error *err) MUST_CHECK;

struct rpc_tls { /* paths of PEM files */
    const char *ca, *certificate, *key;
};

/* Call before any other, and once at the end. */
void rpc_library_init(void);
void rpc_library_fini(void);

/* ---- server ---- */
struct rpc_server;
struct rpc_call;   /* one unary call being answered */
struct rpc_stream; /* one bidirectional stream, server side; reference counted */

struct rpc_method {
    const char *name; /* as in the .proto */
    unsigned
        allow; /* roles that may call it; others get PERMISSION_DENIED and a line in on_denied */
    /* Unary: on a loop thread, must not block. Answers `call` exactly once with rpc_reply or
     * rpc_fail, now or later from any thread. `in` is valid until then. */
    void (*unary)(void *ctx, struct rpc_call *call, const ProtobufCMessage *in);
    /* Streaming: all on loop threads, one at a time for a stream. on_open may rpc_stream_set_user.
     * on_message's `in` is valid for the call. on_close is the last. A peer that has nothing more
     * to say ends the stream. */
    void (*on_open)(void *ctx, struct rpc_stream *s);
    void (*on_message)(void *ctx, struct rpc_stream *s, const ProtobufCMessage *in);
    void (*on_close)(void *ctx, struct rpc_stream *s);
};
struct rpc_service {
    const ProtobufCServiceDescriptor *descriptor;
    const struct rpc_method *methods;
    size_t method_count;
    void *ctx;
};
struct rpc_server_options {
    const char *address; /* "127.0.0.1:9001" */
    struct rpc_tls tls;
    const struct rpc_service *services; /* borrowed for its life */
    size_t service_count;
    int threads;              /* 0: 1 */
    size_t max_message;       /* bytes, 0: 4 MiB */
    size_t stream_max_queued; /* messages waiting on one stream, 0: 256 */
    void (*on_denied)(void *ctx, const struct rpc_peer *peer, const char *method,
                      const char *why); /* may be NULL */
    void *ctx;
};
int rpc_server_start(const struct rpc_server_options *options, struct rpc_server **ret,
                     struct error *err) MUST_CHECK;
/* The port it listens on: of use when `address` ends in ":0". */
int rpc_server_port(const struct rpc_server *s);
/* No new calls; waits `grace_ms` for those in progress, then cuts them. NULL is fine; gives NULL.
 */
struct rpc_server *rpc_server_stop(struct rpc_server *s, int grace_ms);

const struct rpc_peer *rpc_call_peer(const struct rpc_call *call);
int64_t rpc_call_deadline_mono_ms(const struct rpc_call *call); /* INT64_MAX: none */
/* `out` stays the caller's (it is encoded before these return). */
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *out);
void rpc_fail(struct rpc_call *call, const struct error *err);

const struct rpc_peer *rpc_stream_peer(const struct rpc_stream *s);
void rpc_stream_set_user(struct rpc_stream *s, void *user);
void *rpc_stream_user(const struct rpc_stream *s);
struct rpc_stream *rpc_stream_ref(struct rpc_stream *s);
void rpc_stream_unref(struct rpc_stream *s);
/* Any thread, never blocks; one write in flight, the rest queued. ERR_BUSY: its queue is full.
 * ERR_UNAVAILABLE: closed. */
int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *out,
                    struct error *err) MUST_CHECK;
size_t rpc_stream_queued(struct rpc_stream *s);
/* Ends it with a status, behind what is queued (cut after 3 s if the peer does not take it):
 * err->code's gRPC status and the message; NULL: OK. No on_message comes after it. */
void rpc_stream_finish(struct rpc_stream *s, const struct error *err);

/* ---- client: a channel to one address ---- */
struct rpc_client;
int rpc_client_new(const char *address, const struct rpc_tls *tls, struct rpc_client **ret,
                   struct error *err) MUST_CHECK;
struct rpc_client *
rpc_client_free(struct rpc_client *c); /* after its calls and streams ended. NULL is fine */
/* Blocks until the answer or the deadline (mono_ms). *ret is the caller's:
 * protobuf_c_message_free_unpacked(.., NULL). Any number of threads at a time. */
int rpc_client_call(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                    const char *method, const ProtobufCMessage *in, int64_t deadline_mono_ms,
                    ProtobufCMessage **ret, struct error *err) MUST_CHECK;
/* The same without blocking: `done` comes once, on a library thread, and must not block; *out is
 * valid for the call (NULL when err->code is not 0). */
typedef void (*rpc_done_fn)(void *ctx, const ProtobufCMessage *out, const struct error *err);
void rpc_client_call_async(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                           const char *method, const ProtobufCMessage *in, int64_t deadline_mono_ms,
                           rpc_done_fn done, void *ctx);

/* A bidirectional stream, client side. Callbacks on a library thread, one at a time; on_close is
 * the last. */
struct rpc_client_stream;
struct rpc_client_stream_callbacks {
    void (*on_message)(void *ctx, const ProtobufCMessage *in);
    void (*on_close)(void *ctx, const struct error *err); /* err->code 0: ended well */
    void *ctx;
};
int rpc_client_stream_open(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                           const char *method, const struct rpc_client_stream_callbacks *callbacks,
                           size_t max_queued, struct rpc_client_stream **ret,
                           struct error *err) MUST_CHECK;
int rpc_client_stream_send(struct rpc_client_stream *s, const ProtobufCMessage *out,
                           struct error *err) MUST_CHECK;
void rpc_client_stream_cancel(struct rpc_client_stream *s); /* on_close follows */
/* Gives the handle back; after on_close or after cancel. */
void rpc_client_stream_free(struct rpc_client_stream *s);

/* A list of addresses of one service ("127.0.0.1:1,127.0.0.1:2"): calls go to the one that answered
 * last; on ERR_UNAVAILABLE the next is tried within the deadline. `redirect` (may be NULL) looks at
 * an answer and gives the address to ask instead (followed at most twice), or NULL when it is
 * final. Any thread. */
struct rpc_pool;
typedef const char *(*rpc_redirect_fn)(const ProtobufCMessage *out);
int rpc_pool_new(const char *addresses, const struct rpc_tls *tls, struct rpc_pool **ret,
                 struct error *err) MUST_CHECK;
int rpc_pool_call(struct rpc_pool *p, const ProtobufCServiceDescriptor *service, const char *method,
                  const ProtobufCMessage *in, int64_t deadline_mono_ms, rpc_redirect_fn redirect,
                  ProtobufCMessage **ret, struct error *err) MUST_CHECK;
struct rpc_pool *rpc_pool_free(struct rpc_pool *p);
