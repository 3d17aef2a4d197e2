#include "lib/amqp/topology.h"

#define ARGUMENTS_MAX 8

struct arguments {
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    int count;
};

bool amqp_topology_is_done(const struct amqp_topology_cursor *at, size_t topology_count)
{
    return at->topology == topology_count;
}

static void add_text(struct arguments *a, const char *key, const char *value)
{
    a->entries[a->count++] = (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(value)},
    };
}

static void add_number(struct arguments *a, const char *key, int64_t value)
{
    a->entries[a->count++] = (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key),
        .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = value},
    };
}

/* Dead letters at least once need reject-publish: a full queue then refuses instead of dropping. */
static void add_all(struct arguments *a, const struct amqp_queue_def *q)
{
    add_text(a, "x-queue-type", "quorum");
    if (q->delivery_limit)
        add_number(a, "x-delivery-limit", q->delivery_limit);
    if (q->max_length)
        add_number(a, "x-max-length", q->max_length);
    if (q->max_length_bytes)
        add_number(a, "x-max-length-bytes", q->max_length_bytes);
    if (q->max_length || q->max_length_bytes || q->dead_letter_exchange)
        add_text(a, "x-overflow", "reject-publish");
    if (!q->dead_letter_exchange)
        return;
    add_text(a, "x-dead-letter-exchange", q->dead_letter_exchange);
    add_text(a, "x-dead-letter-strategy", "at-least-once");
    if (q->dead_letter_routing_key)
        add_text(a, "x-dead-letter-routing-key", q->dead_letter_routing_key);
}

static int declare_exchange(struct amqp_link *l, amqp_channel_t channel,
                            const struct amqp_topology *t, struct error *err)
{
    amqp_exchange_declare(l->state, channel, amqp_cstring_bytes(t->exchange),
                          amqp_cstring_bytes(t->exchange_type), 0, 1, 0, 0, amqp_empty_table);
    int r = amqp_link_reply(l, channel, err);
    return r < 0 ? error_in(err, "exchange %s", t->exchange) : 0;
}

static int declare_queue(struct amqp_link *l, amqp_channel_t channel,
                         const struct amqp_queue_def *q, struct error *err)
{
    struct arguments a = {.count = 0};
    add_all(&a, q);
    amqp_table_t table = {a.count, a.entries};
    amqp_queue_declare(l->state, channel, amqp_cstring_bytes(q->name), 0, 1, 0, 0, table);
    int r = amqp_link_reply(l, channel, err);
    return r < 0 ? error_in(err, "queue %s", q->name) : 0;
}

static int bind_queue(struct amqp_link *l, amqp_channel_t channel, const struct amqp_queue_def *q,
                      const char *exchange, struct error *err)
{
    amqp_queue_bind(l->state, channel, amqp_cstring_bytes(q->name), amqp_cstring_bytes(exchange),
                    amqp_cstring_bytes(q->binding_key ? q->binding_key : ""), amqp_empty_table);
    int r = amqp_link_reply(l, channel, err);
    return r < 0 ? error_in(err, "binding of queue %s", q->name) : 0;
}

int amqp_topology_declare_next(struct amqp_link *l, amqp_channel_t channel,
                               const struct amqp_topology *topologies,
                               struct amqp_topology_cursor *at, struct error *err)
{
    const struct amqp_topology *t = &topologies[at->topology];
    size_t step = at->step++;
    if (at->step > 2 * t->queue_count)
        *at = (struct amqp_topology_cursor){.topology = at->topology + 1};
    if (step == 0)
        return declare_exchange(l, channel, t, err);
    const struct amqp_queue_def *q = &t->queues[(step - 1) / 2];
    return step % 2 ? declare_queue(l, channel, q, err)
                    : bind_queue(l, channel, q, t->exchange, err);
}
