/* lib/amqp/topology.h: exchanges, queues and bindings, declared one request at a time. */
#pragma once

#include "lib/amqp/link.h"

/* Where a round of declarations stands; zero is its beginning. */
struct amqp_topology_cursor {
    size_t topology; /* the one at hand */
    size_t step;     /* 0: the exchange; then declare and bind of each queue */
};

bool amqp_topology_is_done(const struct amqp_topology_cursor *at, size_t topology_count);
/* Declares the next thing on `channel` and moves on, whatever comes of it. 0: it is there.
 * ERR_INVALID: the broker refused and closed the channel. ERR_UNAVAILABLE: the connection. */
int amqp_topology_declare_next(struct amqp_link *l, amqp_channel_t channel,
                               const struct amqp_topology *topologies,
                               struct amqp_topology_cursor *at, struct error *err) MUST_CHECK;
