#include "bench/floor.h"

#include "lib/amqp/amqp.h"
#include "lib/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define QUEUE   "events.bench.create"
#define WAIT_MS 60000

struct floor_broker {
    const struct floor_options *options;
    struct amqp_queue_def queue;
    struct amqp_topology topology;
    struct amqp_publisher *publisher;
    struct amqp_consumer *consumer;
    _Atomic(struct amqp_consumer *) acknowledged_by;
    atomic_size_t confirmed, delivered;
    atomic_llong delivered_at_us;
    uint8_t *body;
    size_t size;
};

static void on_outcome(void *ctx, uint64_t token, enum amqp_outcome outcome)
{
    struct floor_broker *b = ctx;

    (void)token;
    if (outcome != AMQP_CONFIRMED)
        floor_die("publishing", "not confirmed");
    atomic_fetch_add(&b->confirmed, 1);
}

static void on_message(void *ctx, const struct amqp_delivery *d)
{
    struct floor_broker *b = ctx;

    atomic_store(&b->delivered_at_us, mono_us());
    amqp_consumer_ack(atomic_load(&b->acknowledged_by), d->tag);
    atomic_fetch_add(&b->delivered, 1);
}

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void start_consumer(struct floor_broker *b, const struct amqp_options *connection)
{
    static const char *const queues[] = {QUEUE};
    const struct amqp_consumer_options options = {.connection = *connection,
                                                  .queues = queues,
                                                  .queue_count = 1,
                                                  .prefetch = 1000,
                                                  .on_message = on_message,
                                                  .ctx = b};
    struct amqp_consumer_stats stats = {0};
    struct amqp_stats published = {0};
    struct error err = {0};
    int64_t end = mono_ms() + WAIT_MS;

    if (amqp_consumer_start(&options, &b->consumer, &err) < 0)
        floor_die("consuming", err.message);
    atomic_store(&b->acknowledged_by, b->consumer);
    while (!stats.consuming || !published.connected) {
        if (mono_ms() > end)
            floor_die("consuming", "the queue was not there in time");
        sleep_us(5000);
        amqp_consumer_stats_get(b->consumer, &stats);
        amqp_publisher_stats_get(b->publisher, &published);
    }
}

struct floor_broker *floor_broker_open(const struct floor_options *o)
{
    struct floor_broker *b = calloc(1, sizeof *b);
    struct error err = {0};

    if (b == NULL || (b->body = calloc(1, o->params_bytes + 64)) == NULL)
        floor_die("messages", "out of memory");
    b->options = o;
    b->size = o->params_bytes + 64; /* an event is its params and some numbers */
    b->queue = (struct amqp_queue_def){.name = QUEUE,
                                       .binding_key = QUEUE,
                                       .dead_letter_exchange = "events.dead",
                                       .dead_letter_routing_key = "events.dead",
                                       .delivery_limit = 50,
                                       .max_length = 200000,
                                       .max_length_bytes = (int64_t)1 << 30};
    b->topology = (struct amqp_topology){"events", "topic", &b->queue, 1};
    const struct amqp_options connection = {.host = "127.0.0.1",
                                            .port = o->amqp_port,
                                            .user = o->amqp_user,
                                            .password = o->amqp_password};
    const struct amqp_publisher_options options = {.connection = connection,
                                                   .topologies = &b->topology,
                                                   .topology_count = 1,
                                                   .on_outcome = on_outcome,
                                                   .ctx = b};
    if (amqp_publisher_start(&options, &b->publisher, &err) < 0)
        floor_die("publishing", err.message);
    start_consumer(b, &connection);
    return b;
}

static void publish(struct floor_broker *b, uint64_t token)
{
    struct error err = {0};
    char id[24];
    const struct amqp_message m = {.exchange = "events",
                                   .routing_key = QUEUE,
                                   .message_id = id,
                                   .body = b->body,
                                   .size = b->size,
                                   .token = token};

    snprintf(id, sizeof id, "%llu", (unsigned long long)token);
    for (;;) {
        int r = amqp_publisher_publish(b->publisher, &m, &err);
        if (r == 0)
            return;
        if (r != ERR_BUSY)
            floor_die("publishing", err.message);
        sleep_us(2000);
    }
}

static void wait_for(struct floor_broker *b, size_t count, long pause_us)
{
    int64_t end = mono_ms() + WAIT_MS;

    while (atomic_load(&b->confirmed) < count || atomic_load(&b->delivered) < count) {
        if (mono_ms() > end)
            floor_die("messages", "not all were confirmed and delivered in time");
        sleep_us(pause_us);
    }
}

void floor_broker_run(struct floor_broker *b)
{
    for (size_t i = 0; i < b->options->count; i++)
        publish(b, i + 1);
    wait_for(b, b->options->count, 2000);
}

int64_t floor_broker_one(struct floor_broker *b)
{
    size_t before = atomic_load(&b->delivered);
    int64_t began = mono_us();

    publish(b, before + 1);
    wait_for(b, before + 1, 50);
    return atomic_load(&b->delivered_at_us) - began;
}

struct floor_broker *floor_broker_close(struct floor_broker *b)
{
    amqp_consumer_stop(b->consumer);
    amqp_publisher_stop(b->publisher, 1000);
    free(b->body);
    free(b);
    return NULL;
}
