/* lib/amqp/amqp.h: a publisher and a consumer for RabbitMQ, each a thread with a connection of its
 * own. Both reconnect by themselves with jittered back-off. Only this folder sees the client
 * library. A peer that is silent for two heartbeats is given up. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct amqp_options {
    const char *host;
    int port;
    const char *vhost; /* NULL: "/" */
    const char *user;
    const char *password;
    int heartbeat_s; /* 0: 10 */
};

/* What happened in the background, for the log: "connected", "connection lost", "queue not
 * declared" … `sentence` is a constant, `detail` the broker's words or "". On the module's own
 * thread; must not block. */
typedef void (*amqp_notice_fn)(void *ctx, bool is_problem, const char *sentence,
                               const char *detail);

/* ---- topology ---- */
struct amqp_queue_def {
    const char *name, *binding_key;
    const char *dead_letter_exchange;     /* NULL: none */
    const char *dead_letter_routing_key;  /* NULL: as it came */
    int delivery_limit;                   /* 0: none */
    int64_t max_length, max_length_bytes; /* reject-publish beyond */
};
struct amqp_topology {
    const char *exchange, *exchange_type;
    const struct amqp_queue_def
        *queues; /* quorum queues, bound to `exchange` (dead letter queues: to their exchange) */
    size_t queue_count;
};

/* ---- publisher: persistent, mandatory, with confirms ---- */
enum amqp_outcome {
    AMQP_CONFIRMED, /* acked and not returned */
    AMQP_RETURNED,  /* no queue is bound to that key */
    AMQP_REJECTED,  /* nack: the queue is full */
    AMQP_LOST,      /* connection gone or stopping: it may have arrived or not */
};
struct amqp_publisher;
struct amqp_publisher_options {
    struct amqp_options connection;
    const struct amqp_topology
        *topologies; /* declared at connect and every minute; may be none. Borrowed for its life */
    size_t topology_count;
    size_t window;     /* unconfirmed at a time, 0: 1,000 */
    size_t max_queued; /* 0: 20,000 */
    /* On the publisher's thread, once for each message; must not block. May be NULL. */
    void (*on_outcome)(void *ctx, uint64_t token, enum amqp_outcome outcome);
    void *ctx;
    amqp_notice_fn on_notice; /* with the same ctx; may be NULL */
};
#define AMQP_BODY_MAX (256u << 10) /* bytes; events are a few hundred */
struct amqp_message {
    const char *exchange, *routing_key, *message_id; /* copied */
    const void *body;
    size_t size;
    uint64_t token; /* comes back in on_outcome */
};
struct amqp_stats {
    bool connected, blocked;
    size_t queued, in_flight;
    uint64_t published, confirmed, returned, rejected, lost, reconnects;
    uint64_t topology_errors; /* declarations the broker refused; nothing else is hurt by them */
};

int amqp_publisher_start(const struct amqp_publisher_options *options, struct amqp_publisher **ret,
                         struct error *err) MUST_CHECK; /* connects in the background; *ret is set
                                                           before the first callback */
/* Any thread, never blocks. ERR_BUSY: queue full. ERR_UNAVAILABLE: not connected, or the broker has
 * raised an alarm (nothing is kept for later). ERR_TOO_LARGE: beyond AMQP_BODY_MAX. The message
 * carries its time as the timestamp property and, in ms, in the header timestamp_in_ms; its
 * correlation id is the publisher's own. */
int amqp_publisher_publish(struct amqp_publisher *p, const struct amqp_message *m,
                           struct error *err) MUST_CHECK;
void amqp_publisher_stats_get(struct amqp_publisher *p, struct amqp_stats *ret);
/* Sends what is queued for at most `grace_ms`, then answers the rest AMQP_LOST. NULL is fine; gives
 * NULL. */
struct amqp_publisher *amqp_publisher_stop(struct amqp_publisher *p, int grace_ms);

/* ---- consumer ---- */
struct amqp_delivery {
    const char *queue;
    const void *body; /* valid until on_message returns */
    size_t size;
    uint64_t
        tag; /* for ack and reject: unique over reconnects; a tag of a lost connection is ignored */
    bool redelivered;
    int64_t published_unix_ms; /* header timestamp_in_ms, else the timestamp property; 0: none */
};
struct amqp_consumer;
struct amqp_consumer_options {
    struct amqp_options connection;
    const char *const *queues; /* borrowed for its life */
    size_t queue_count;
    int prefetch; /* unacknowledged at a time, for each queue; 0: 100 */
    /* On the consumer's thread; must not block. */
    void (*on_message)(void *ctx, const struct amqp_delivery *d);
    void *ctx;
    amqp_notice_fn on_notice; /* with the same ctx; may be NULL */
};
int amqp_consumer_start(const struct amqp_consumer_options *options, struct amqp_consumer **ret,
                        struct error *err) MUST_CHECK; /* connects in the background; *ret is set
                                                          before the first callback */
/* Any thread; done by the consumer's thread soon. Never waits. */
void amqp_consumer_ack(struct amqp_consumer *c, uint64_t tag);
void amqp_consumer_reject(struct amqp_consumer *c, uint64_t tag); /* to the dead letter queue */
/* Stops taking (basic.cancel) and takes again; what is unacknowledged may still be acknowledged,
 * and what was under way (at most `prefetch` of each queue) still arrives. Any thread. Idempotent.
 */
void amqp_consumer_pause(struct amqp_consumer *c);
void amqp_consumer_resume(struct amqp_consumer *c);
struct amqp_consumer_stats {
    bool connected, consuming; /* consuming: from every queue */
    size_t unacknowledged;
    uint64_t delivered, acknowledged, rejected, reconnects;
    int64_t idle_since_mono_ms; /* of all queues, as amqp_consumer_idle_since; 0: not idle */
};
void amqp_consumer_stats_get(struct amqp_consumer *c, struct amqp_consumer_stats *ret);
/* Since when the queue has been consumed from with nothing unacknowledged and nothing arriving
 * (monotonic ms); 0: not idle. A queue idle for a second holds nothing that we would be given.
 * `index` is the queue's in the options. */
int64_t amqp_consumer_idle_since(struct amqp_consumer *c, size_t index);
/* Hands over the acknowledgements made so far and closes; the rest is redelivered to others. NULL
 * is fine; gives NULL. */
struct amqp_consumer *amqp_consumer_stop(struct amqp_consumer *c);
