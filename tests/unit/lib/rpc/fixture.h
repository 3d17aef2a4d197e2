/* A server of the Router and AgentGateway services, whose answers the tests choose, and means to
 * wait for what happens on other threads. */
#pragma once

#include "lib/rpc/rpc.h"
#include "proto/agent.pb-c.h"
#include "proto/router.pb-c.h"

#include <pthread.h>

#define ROUTER  (&harpoon__router__v1__router__descriptor)
#define GATEWAY (&harpoon__agent__v1__agent_gateway__descriptor)

enum { WAIT_MS = 20000 }; /* for what must happen */

struct server {
    struct rpc_server *rpc;
    struct rpc_service services[2];
    char address[64];
    char answer[64]; /* what Sessions says as the router's name */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned sessions_calls, denied, opened, closed, messages;
    char denied_peer[128], denied_method[64];
    struct rpc_peer stream_peer;
    struct rpc_call *held; /* a Deliver, to be answered by the test */
    int64_t deadline_mono_ms;
    struct rpc_stream *stream; /* of the newest */
    uint64_t last_session;     /* of the newest attach */
};

/* The library and an authority, once for a group of tests. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
struct certificates *fixture_certificates(void);
const struct rpc_tls *fixture_tls(const char *role);

/* NULL tls: the role eventrouter's. `port` 0: a free one. */
void server_start(struct server *s, int port, const struct rpc_tls *tls);
void server_stop(struct server *s, int grace_ms);
/* Until `*value` is at least `least`; fails the test after WAIT_MS. */
void server_wait(struct server *s, const unsigned *value, unsigned least);
unsigned server_count(struct server *s, const unsigned *value); /* as it is now */
struct rpc_call *server_take_held(struct server *s);            /* waits for one */

struct rpc_client *client_to(const char *address, const char *role);
/* Asks for Sessions; the router's name in `ret`. */
int ask_sessions(struct rpc_client *c, char ret[64], struct error *err);
int64_t soon(void); /* a deadline */
