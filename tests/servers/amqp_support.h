/* tests/servers/amqp_support.h: a publisher and a consumer that keep books, on the topology of a
 * real installation. */
#pragma once

#include "lib/amqp/amqp.h"

#include <pthread.h>

#define TOKENS_MAX 50000

#define CREATE "events.nyc3.create" /* load_definitions made it */
#define ACTION "events.nyc3.action"
#define SMALL  "events.small" /* holds three messages */
#define LATER  "events.later" /* in no topology */
#define DEAD   "events.dead"

#define TOPOLOGY_COUNT 2
extern const struct amqp_topology topologies[TOPOLOGY_COUNT];
extern const char *const create_queue[1], *const dead_queues[1];
extern struct error err;

/* What became of its messages, numbered from 0. */
struct sender {
    struct amqp_publisher *publisher;
    pthread_mutex_t lock;
    uint64_t sent, answered;
    unsigned char answers[TOKENS_MAX]; /* how often each was answered */
    enum amqp_outcome outcomes[TOKENS_MAX];
    uint64_t counts[4];
    char problem[400]; /* the last notice of one */
};

struct amqp_options options_of(const char *user);
/* Connected as harpoon. */
struct sender *sender_open(const struct amqp_topology *topology, size_t count);
/* Ends it and checks that each message had one outcome. */
void sender_close(struct sender *s);
int send_to(struct sender *s, const char *key);
void send_all(struct sender *s, const char *key, int count);
uint64_t count_of(struct sender *s, enum amqp_outcome outcome);
struct amqp_stats stats_of(struct sender *s);
void on_outcome(void *ctx, uint64_t token, enum amqp_outcome outcome);

/* What it was given. */
struct receiver {
    struct amqp_consumer *consumer;
    pthread_mutex_t lock;
    uint64_t seen[TOKENS_MAX]; /* how often each token came */
    uint64_t total, distinct;
    uint64_t tags[TOKENS_MAX];
    int64_t oldest_ms, newest_ms;
    bool hold, reject; /* neither: acknowledges at once */
    uint64_t want;
};

struct receiver *receiver_open(const char *const *names, size_t count, bool hold);
void receiver_close(struct receiver *r);
/* Waits until it has been given so many different messages. */
void want(struct receiver *r, uint64_t distinct);
struct amqp_consumer_stats consumer_stats(struct receiver *r);
void drain(const char *const *names, size_t count);

/* Conditions for wait_until. */
bool is_sender_connected(void *sender);
bool is_sender_disconnected(void *sender);
bool is_all_answered(void *sender);
bool is_consuming(void *receiver);
bool is_not_consuming(void *receiver);
bool is_receiver_disconnected(void *receiver);
bool is_idle(void *receiver);

/* One group a file; each returns the number of its tests that failed. */
int publisher_tests(void);
int consumer_tests(void);
int trouble_tests(void);
int rights_tests(void);
