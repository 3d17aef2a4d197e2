#include "tests/servers/amqp_support.h"

#include "lib/clock.h"
#include "lib/macros.h"
#include "tests/servers/servers.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct error err;

struct amqp_options options_of(const char *user)
{
    return (struct amqp_options){
        .host = "127.0.0.1",
        .port = atoi(server_setting("HARPOON_TEST_PORT")),
        .user = user,
        .password = "secret",
        .heartbeat_s = 1,
    };
}

/* ---- the topology of a real installation: the first queue is what load_definitions made ---- */

static const struct amqp_queue_def queues[] = {
    {.name = CREATE,
     .binding_key = CREATE,
     .dead_letter_exchange = DEAD,
     .dead_letter_routing_key = DEAD,
     .delivery_limit = 50,
     .max_length = 10000,
     .max_length_bytes = 10000000},
    {.name = ACTION,
     .binding_key = ACTION,
     .dead_letter_exchange = DEAD,
     .dead_letter_routing_key = DEAD,
     .delivery_limit = 50,
     .max_length = 100000,
     .max_length_bytes = 100000000},
    {.name = SMALL, .binding_key = SMALL, .max_length = 3},
};
static const struct amqp_queue_def dead_queue = {.name = DEAD, .binding_key = "#"};
const struct amqp_topology topologies[TOPOLOGY_COUNT] = {
    {.exchange = DEAD, .exchange_type = "topic", .queues = &dead_queue, .queue_count = 1},
    {.exchange = "events",
     .exchange_type = "topic",
     .queues = queues,
     .queue_count = ARRAY_LEN(queues)},
};

/* ---- a publisher and what became of its messages ---- */

void on_outcome(void *ctx, uint64_t token, enum amqp_outcome outcome)
{
    struct sender *s = ctx;
    LOCK_SCOPE(&s->lock);
    s->answers[token]++;
    s->outcomes[token] = outcome;
    s->counts[outcome]++;
    s->answered++;
}

static void on_sender_notice(void *ctx, bool is_problem, const char *sentence, const char *detail)
{
    struct sender *s = ctx;
    LOCK_SCOPE(&s->lock);
    if (is_problem)
        snprintf(s->problem, sizeof s->problem, "%s: %s", sentence, detail);
}

bool is_sender_connected(void *ctx)
{
    struct sender *s = ctx;
    struct amqp_stats stats;
    amqp_publisher_stats_get(s->publisher, &stats);
    return stats.connected;
}

bool is_sender_disconnected(void *ctx)
{
    return !is_sender_connected(ctx);
}

bool is_all_answered(void *ctx)
{
    struct sender *s = ctx;
    LOCK_SCOPE(&s->lock);
    return s->answered == s->sent;
}

struct sender *sender_open(const struct amqp_topology *topology, size_t count)
{
    struct sender *s = calloc(1, sizeof *s);
    assert_non_null(s);
    pthread_mutex_init(&s->lock, NULL);
    struct amqp_publisher_options options = {
        .connection = options_of("harpoon"),
        .topologies = topology,
        .topology_count = count,
        .on_outcome = on_outcome,
        .on_notice = on_sender_notice,
        .ctx = s,
    };
    assert_int_equal(amqp_publisher_start(&options, &s->publisher, &err), 0);
    wait_until(is_sender_connected, s, "publisher connected");
    return s;
}

struct amqp_stats stats_of(struct sender *s)
{
    struct amqp_stats stats;
    amqp_publisher_stats_get(s->publisher, &stats);
    return stats;
}

/* Ends it and checks the first promise: each message has one outcome. */
void sender_close(struct sender *s)
{
    s->publisher = amqp_publisher_stop(s->publisher, 5000);
    assert_int_equal(s->answered, s->sent);
    for (uint64_t i = 0; i < s->sent; i++)
        assert_int_equal(s->answers[i], 1);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int send_to(struct sender *s, const char *key)
{
    char id[24];
    uint64_t token = s->sent;
    assert_true(token < TOKENS_MAX);
    snprintf(id, sizeof id, "%" PRIu64, token);
    struct amqp_message m = {
        .exchange = "events",
        .routing_key = key,
        .message_id = id,
        .body = &token,
        .size = sizeof token,
        .token = token,
    };
    pthread_mutex_lock(&s->lock);
    s->sent++; /* before the answer can come */
    pthread_mutex_unlock(&s->lock);
    int r = amqp_publisher_publish(s->publisher, &m, &err);
    if (r < 0) {
        pthread_mutex_lock(&s->lock);
        s->sent--;
        pthread_mutex_unlock(&s->lock);
    }
    return r;
}

void send_all(struct sender *s, const char *key, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(send_to(s, key), 0);
}

uint64_t count_of(struct sender *s, enum amqp_outcome outcome)
{
    LOCK_SCOPE(&s->lock);
    return s->counts[outcome];
}

/* ---- a consumer and what it was given ---- */

static void on_message(void *ctx, const struct amqp_delivery *d)
{
    struct receiver *r = ctx;
    uint64_t token;
    assert_int_equal(d->size, sizeof token);
    memcpy(&token, d->body, sizeof token);
    pthread_mutex_lock(&r->lock);
    r->distinct += r->seen[token]++ == 0;
    r->tags[r->total++] = d->tag;
    if (!r->oldest_ms)
        r->oldest_ms = d->published_unix_ms;
    r->newest_ms = d->published_unix_ms;
    bool hold = r->hold, reject = r->reject;
    pthread_mutex_unlock(&r->lock);
    if (reject)
        amqp_consumer_reject(r->consumer, d->tag);
    else if (!hold)
        amqp_consumer_ack(r->consumer, d->tag);
}

struct amqp_consumer_stats consumer_stats(struct receiver *r)
{
    struct amqp_consumer_stats stats;
    amqp_consumer_stats_get(r->consumer, &stats);
    return stats;
}

bool is_consuming(void *ctx)
{
    return consumer_stats(ctx).consuming;
}

bool is_not_consuming(void *ctx)
{
    return !consumer_stats(ctx).consuming;
}

bool is_receiver_disconnected(void *ctx)
{
    return !consumer_stats(ctx).connected;
}

static bool has_wanted(void *ctx)
{
    struct receiver *r = ctx;
    LOCK_SCOPE(&r->lock);
    return r->distinct >= r->want;
}

bool is_idle(void *ctx)
{
    struct amqp_consumer_stats stats = consumer_stats(ctx);
    return stats.idle_since_mono_ms && mono_ms() - stats.idle_since_mono_ms > 300;
}

struct receiver *receiver_open(const char *const *names, size_t count, bool hold)
{
    struct receiver *r = calloc(1, sizeof *r);
    assert_non_null(r);
    pthread_mutex_init(&r->lock, NULL);
    r->hold = hold;
    struct amqp_consumer_options options = {
        .connection = options_of("worker"),
        .queues = names,
        .queue_count = count,
        .prefetch = 200,
        .on_message = on_message,
        .ctx = r,
    };
    assert_int_equal(amqp_consumer_start(&options, &r->consumer, &err), 0);
    return r;
}

void receiver_close(struct receiver *r)
{
    r->consumer = amqp_consumer_stop(r->consumer);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void want(struct receiver *r, uint64_t distinct)
{
    pthread_mutex_lock(&r->lock);
    r->want = distinct;
    pthread_mutex_unlock(&r->lock);
    wait_until(has_wanted, r, "all messages received");
}

const char *const create_queue[] = {CREATE};
const char *const dead_queues[] = {DEAD};

void drain(const char *const *names, size_t count)
{
    struct receiver *r = receiver_open(names, count, false);
    wait_until(is_idle, r, "drained");
    receiver_close(r);
}
