/* eventrouter/router.h: the running daemon: what is started and who is where. */
#pragma once

#include "eventrouter/config.h"
#include "eventrouter/route.h"

#include <stdatomic.h>

struct router {
    const struct eventrouter_config *config;
    struct address_list peers;
    struct route_table table;
    struct sessions *sessions;
    struct deliveries *deliveries;
    struct forward *forward;
    struct observer *observer;
    struct ticker *ticker;
    struct rpc_service services[2];
    struct rpc_server *server;
    atomic_bool draining; /* agents are sent elsewhere */
};

/* Starts all of it but the admin port. `c` must outlive it. On failure nothing runs. */
int router_start(const struct eventrouter_config *c, struct router *ret,
                 struct error *err) MUST_CHECK;
/* Asks the agents to move, and waits up to drain_ms for it. */
void router_drain(struct router *r);
/* Ends the streams that are left, and everything else. */
void router_stop(struct router *r);
