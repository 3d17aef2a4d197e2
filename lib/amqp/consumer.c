#include "lib/amqp/amqp.h"

#include "lib/amqp/link.h"
#include "lib/amqp/unacked.h"
#include "lib/backoff.h"
#include "lib/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PREFETCH_DEFAULT    100
#define QUEUE_RETRY_CAP_MS  5000
#define QUEUE_RETRY_BASE_MS 200
#define FRAMES_AT_ONCE      500
#define CHANNELS_MAX        2000 /* the broker allows 2047 on a connection */

/* Our tag: which opening of a channel it was (so that a tag of a lost one is known as such), then
 * the broker's own number. */
#define DELIVERY_BITS 40
#define DELIVERY_MAX  ((UINT64_C(1) << DELIVERY_BITS) - 1)
#define OPENING_MAX   ((UINT64_C(1) << (64 - DELIVERY_BITS)) - 1)

/* A queue has a channel of its own, because a queue that is not there costs the channel. A number
 * is not used twice on one connection: frames of a closed channel may still be under way. */
struct source {
    const char *queue;
    char consumer_tag[48];
    amqp_channel_t channel; /* 0: none is open */
    uint64_t opening;
    bool consuming;
    struct backoff backoff;
    int64_t retry_at_mono_ms;
    struct unacked unacked;
    int64_t idle_since_mono_ms; /* guarded by the consumer's lock */
};

struct settlement {
    uint64_t tag;
    enum unacked_state how;
};

struct settlement_list {
    struct settlement *items;
    size_t count, capacity;
};

struct amqp_consumer {
    struct amqp_consumer_options options; /* connection: our copy */
    pthread_t thread;
    int wake_fd;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct settlement_list inbox;
    struct amqp_consumer_stats stats;
    bool overflowed; /* an acknowledgement could not be kept: everything must be redelivered */
    bool paused;
    bool stopping;

    /* the thread's own */
    struct amqp_link link;
    bool was_connected;
    amqp_channel_t last_channel;
    uint64_t openings;
    uint64_t consumes; /* begun so far */
    struct settlement_list taken;
    struct source *sources; /* as many as queues */
};

/* ---- callers' side ---- */

static void wake(struct amqp_consumer *c)
{
    uint64_t one = 1;
    (void)!write(c->wake_fd, &one, sizeof one);
}

static bool list_push(struct settlement_list *list, struct settlement s)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 256;
        struct settlement *items = realloc(list->items, capacity * sizeof *items);
        if (!items)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = s;
    return true;
}

static void settle(struct amqp_consumer *c, uint64_t tag, enum unacked_state how)
{
    pthread_mutex_lock(&c->lock);
    bool was_empty = c->inbox.count == 0;
    if (!list_push(&c->inbox, (struct settlement){tag, how}))
        c->overflowed = true;
    pthread_mutex_unlock(&c->lock);
    if (was_empty)
        wake(c);
}

void amqp_consumer_ack(struct amqp_consumer *c, uint64_t tag)
{
    settle(c, tag, UNACKED_ACK);
}

void amqp_consumer_reject(struct amqp_consumer *c, uint64_t tag)
{
    settle(c, tag, UNACKED_REJECT);
}

static void set_paused(struct amqp_consumer *c, bool paused)
{
    pthread_mutex_lock(&c->lock);
    bool changed = c->paused != paused;
    c->paused = paused;
    pthread_mutex_unlock(&c->lock);
    if (changed)
        wake(c);
}

void amqp_consumer_pause(struct amqp_consumer *c)
{
    set_paused(c, true);
}

void amqp_consumer_resume(struct amqp_consumer *c)
{
    set_paused(c, false);
}

void amqp_consumer_stats_get(struct amqp_consumer *c, struct amqp_consumer_stats *ret)
{
    LOCK_SCOPE(&c->lock);
    *ret = c->stats;
    ret->idle_since_mono_ms = c->options.queue_count ? c->sources[0].idle_since_mono_ms : 0;
    for (size_t i = 1; i < c->options.queue_count; i++) {
        int64_t since = c->sources[i].idle_since_mono_ms;
        if (since == 0 || ret->idle_since_mono_ms == 0)
            ret->idle_since_mono_ms = 0;
        else if (since > ret->idle_since_mono_ms)
            ret->idle_since_mono_ms = since;
    }
}

int64_t amqp_consumer_idle_since(struct amqp_consumer *c, size_t index)
{
    LOCK_SCOPE(&c->lock);
    return index < c->options.queue_count ? c->sources[index].idle_since_mono_ms : 0;
}

/* ---- the thread ---- */

static void notice(struct amqp_consumer *c, bool is_problem, const char *sentence,
                   const char *detail)
{
    if (c->options.on_notice)
        c->options.on_notice(c->options.ctx, is_problem, sentence, detail);
}

static struct source *source_end(const struct amqp_consumer *c)
{
    return c->sources + c->options.queue_count;
}

static struct source *find_by_channel(struct amqp_consumer *c, amqp_channel_t channel)
{
    for (struct source *s = c->sources; s < source_end(c); s++) {
        if (channel && s->channel == channel)
            return s;
    }
    return NULL;
}

static struct source *find_by_tag(struct amqp_consumer *c, uint64_t tag)
{
    for (struct source *s = c->sources; s < source_end(c); s++) {
        if (s->channel && s->opening == tag >> DELIVERY_BITS)
            return s;
    }
    return NULL;
}

/* Brings what others may read up to date. */
static void show(struct amqp_consumer *c)
{
    int64_t now = mono_ms();
    bool consuming = true;
    size_t unacknowledged = 0;
    LOCK_SCOPE(&c->lock);
    for (struct source *s = c->sources; s < source_end(c); s++) {
        bool idle = s->consuming && s->unacked.count == 0;
        if (!idle)
            s->idle_since_mono_ms = 0;
        else if (s->idle_since_mono_ms == 0)
            s->idle_since_mono_ms = now;
        consuming = consuming && s->consuming;
        unacknowledged += s->unacked.count;
    }
    c->stats.connected = c->link.state != NULL;
    c->stats.consuming = consuming;
    c->stats.unacknowledged = unacknowledged;
}

/* What was delivered on the channel is the broker's again. */
static void forget_channel(struct source *s)
{
    s->channel = 0;
    s->consuming = false;
    unacked_clear(&s->unacked);
}

static void retry_later(struct source *s)
{
    s->retry_at_mono_ms = mono_ms() + backoff_next_ms(&s->backoff);
}

static void disconnect(struct amqp_consumer *c, const char *why)
{
    amqp_link_close(&c->link, false);
    for (struct source *s = c->sources; s < source_end(c); s++) {
        forget_channel(s);
        backoff_reset(&s->backoff);
        s->retry_at_mono_ms = 0;
    }
    show(c);
    notice(c, true, "connection to the broker lost", why);
}

static void connect_again(struct amqp_consumer *c)
{
    struct error err;
    if (amqp_link_open(&c->link, &c->options.connection, "harpoon consumer", &err) < 0) {
        notice(c, true, "the broker cannot be reached", err.message);
        return;
    }
    c->last_channel = 0;
    pthread_mutex_lock(&c->lock);
    c->stats.reconnects += c->was_connected;
    c->was_connected = true;
    pthread_mutex_unlock(&c->lock);
    show(c);
    notice(c, false, "connected to the broker", "");
}

static int open_channel(struct amqp_consumer *c, struct source *s, struct error *err)
{
    if (c->last_channel == CHANNELS_MAX)
        return error_set(err, ERR_UNAVAILABLE, "out of channel numbers");
    s->channel = ++c->last_channel;
    s->opening = c->openings++ % OPENING_MAX + 1;
    int r = amqp_link_open_channel(&c->link, s->channel, err);
    if (r < 0)
        return r;
    amqp_basic_qos(c->link.state, s->channel, 0, (uint16_t)c->options.prefetch, 0);
    return amqp_link_reply(&c->link, s->channel, err);
}

static int begin_consuming(struct amqp_consumer *c, struct source *s, struct error *err)
{
    int r = s->channel ? 0 : open_channel(c, s, err);
    if (r < 0)
        return r;
    /* A name of its own each time: after a cancel the broker (3.10) goes on counting under the old
     * one, misses messages that were never sent, and its channel dies looking for them. */
    snprintf(s->consumer_tag, sizeof s->consumer_tag, "%" PRIu64 ".%" PRIu64, s->opening,
             ++c->consumes);
    amqp_basic_consume(c->link.state, s->channel, amqp_cstring_bytes(s->queue),
                       amqp_cstring_bytes(s->consumer_tag), 0, 0, 0, amqp_empty_table);
    r = amqp_link_reply(&c->link, s->channel, err);
    if (r < 0)
        return r;
    s->consuming = true;
    backoff_reset(&s->backoff);
    return 0;
}

static int end_consuming(struct amqp_consumer *c, struct source *s, struct error *err)
{
    s->consuming = false;
    amqp_basic_cancel(c->link.state, s->channel, amqp_cstring_bytes(s->consumer_tag));
    return amqp_link_reply(&c->link, s->channel, err);
}

/* Consumes, or not, as is wanted. A refusal concerns this queue alone. */
static int steer(struct amqp_consumer *c, struct source *s, bool paused, struct error *err)
{
    int r = 0;
    if (paused && s->consuming)
        r = end_consuming(c, s, err);
    else if (!paused && !s->consuming && mono_ms() >= s->retry_at_mono_ms)
        r = begin_consuming(c, s, err);
    if (r != ERR_INVALID)
        return r;
    forget_channel(s);
    retry_later(s);
    error_in(err, "queue %s", s->queue);
    notice(c, true, "the broker refused to serve a queue", err->message);
    return 0;
}

static int64_t published_at(const amqp_message_t *m)
{
    const amqp_basic_properties_t *p = &m->properties;
    amqp_bytes_t key = amqp_cstring_bytes("timestamp_in_ms");
    for (int i = 0; (p->_flags & AMQP_BASIC_HEADERS_FLAG) && i < p->headers.num_entries; i++) {
        const amqp_table_entry_t *e = &p->headers.entries[i];
        if (e->key.len == key.len && !memcmp(e->key.bytes, key.bytes, key.len) &&
            e->value.kind == AMQP_FIELD_KIND_I64)
            return e->value.value.i64;
    }
    return p->_flags & AMQP_BASIC_TIMESTAMP_FLAG ? (int64_t)p->timestamp * 1000 : 0;
}

static void hand_on(struct amqp_consumer *c, struct source *s, const amqp_basic_deliver_t *d,
                    const amqp_message_t *m)
{
    struct amqp_delivery delivery = {
        .queue = s->queue,
        .body = m->body.bytes,
        .size = m->body.len,
        .tag = s->opening << DELIVERY_BITS | d->delivery_tag,
        .redelivered = d->redelivered,
        .published_unix_ms = published_at(m),
    };
    pthread_mutex_lock(&c->lock);
    c->stats.delivered++;
    s->idle_since_mono_ms = 0;
    pthread_mutex_unlock(&c->lock);
    c->options.on_message(c->options.ctx, &delivery);
}

static int on_deliver(struct amqp_consumer *c, const amqp_frame_t *frame, struct error *err)
{
    amqp_basic_deliver_t d = *(const amqp_basic_deliver_t *)frame->payload.method.decoded;
    struct source *s = find_by_channel(c, frame->channel);
    amqp_message_t m;
    amqp_rpc_reply_t r = amqp_read_message(c->link.state, frame->channel, &m, 0);
    if (r.reply_type != AMQP_RESPONSE_NORMAL)
        return error_set(err, ERR_UNAVAILABLE, "a delivery was cut short");
    int ok = 0;
    if (s && d.delivery_tag > DELIVERY_MAX)
        ok = error_set(err, ERR_UNAVAILABLE, "out of delivery tags");
    else if (s && !unacked_add(&s->unacked, d.delivery_tag))
        ok = error_set(err, ERR_UNAVAILABLE, "out of memory");
    else if (s)
        hand_on(c, s, &d, &m);
    amqp_destroy_message(&m);
    return ok;
}

/* The queue was deleted or moved; what came from it may still be acknowledged. */
static void on_cancel(struct amqp_consumer *c, const amqp_frame_t *frame)
{
    struct source *s = find_by_channel(c, frame->channel);
    if (!s)
        return;
    s->consuming = false;
    retry_later(s);
    notice(c, true, "the broker stopped serving a queue", s->queue);
}

static void on_channel_closed(struct amqp_consumer *c, const amqp_frame_t *frame)
{
    struct error err;
    struct source *s = find_by_channel(c, frame->channel);
    amqp_link_channel_closed(&c->link, frame, &err);
    if (!s)
        return;
    forget_channel(s);
    retry_later(s);
    error_in(&err, "queue %s", s->queue);
    notice(c, true, "the broker closed the channel of a queue", err.message);
}

static int on_method(struct amqp_consumer *c, const amqp_frame_t *frame, struct error *err)
{
    switch (frame->payload.method.id) {
    case AMQP_BASIC_DELIVER_METHOD:
        return on_deliver(c, frame, err);
    case AMQP_BASIC_CANCEL_METHOD:
        on_cancel(c, frame);
        return 0;
    case AMQP_CHANNEL_CLOSE_METHOD:
        on_channel_closed(c, frame);
        return 0;
    default:
        return 0;
    }
}

static int read_frames(struct amqp_consumer *c, struct error *err)
{
    for (int i = 0; i < FRAMES_AT_ONCE; i++) {
        amqp_frame_t frame;
        int r = amqp_link_next(&c->link, &frame, err);
        if (r <= 0)
            return r;
        if (frame.frame_type == AMQP_FRAME_METHOD)
            r = on_method(c, &frame, err);
        if (r < 0)
            return r;
        amqp_link_release(&c->link);
    }
    return 0;
}

struct settling {
    struct amqp_consumer *c;
    struct source *s;
    struct error *err;
};

static int send_settlement(void *ctx, uint64_t tag, enum unacked_state how, bool multiple)
{
    struct settling *x = ctx;
    amqp_connection_state_t state = x->c->link.state;
    int status = how == UNACKED_ACK ? amqp_basic_ack(state, x->s->channel, tag, multiple)
                                    : amqp_basic_reject(state, x->s->channel, tag, 0);
    return amqp_link_sent(status, x->err);
}

static bool take_settlements(struct amqp_consumer *c)
{
    LOCK_SCOPE(&c->lock);
    struct settlement_list empty = c->taken;
    bool overflowed = c->overflowed;
    empty.count = 0;
    c->taken = c->inbox;
    c->inbox = empty;
    c->overflowed = false;
    return !overflowed;
}

static int settle_taken(struct amqp_consumer *c, struct error *err)
{
    uint64_t done[2] = {0};
    if (!take_settlements(c))
        return error_set(err, ERR_UNAVAILABLE, "out of memory for acknowledgements");
    if (c->taken.count == 0)
        return 0;
    for (size_t i = 0; i < c->taken.count; i++) {
        struct settlement *t = &c->taken.items[i];
        struct source *s = find_by_tag(c, t->tag);
        if (s && unacked_mark(&s->unacked, t->tag & DELIVERY_MAX, t->how))
            done[t->how == UNACKED_REJECT]++;
    }
    pthread_mutex_lock(&c->lock);
    c->stats.acknowledged += done[0];
    c->stats.rejected += done[1];
    pthread_mutex_unlock(&c->lock);
    int r = 0;
    for (struct source *s = c->sources; r == 0 && s < source_end(c); s++)
        r = unacked_flush(&s->unacked, send_settlement, &(struct settling){c, s, err});
    return r;
}

static bool is_paused(struct amqp_consumer *c)
{
    LOCK_SCOPE(&c->lock);
    return c->paused;
}

static bool is_stopping(struct amqp_consumer *c)
{
    LOCK_SCOPE(&c->lock);
    return c->stopping;
}

static int work(struct amqp_consumer *c, struct error *err)
{
    bool paused = is_paused(c);
    int r = settle_taken(c, err);
    for (struct source *s = c->sources; r == 0 && s < source_end(c); s++)
        r = steer(c, s, paused, err);
    if (r == 0)
        r = read_frames(c, err);
    show(c);
    return r;
}

static void rest(struct amqp_consumer *c)
{
    int64_t now = mono_ms();
    int64_t until = now + c->link.heartbeat_ms / 4;
    bool paused = is_paused(c);
    for (struct source *s = c->sources; !paused && s < source_end(c); s++) {
        if (!s->consuming && s->retry_at_mono_ms < until)
            until = s->retry_at_mono_ms;
    }
    amqp_link_wait(&c->link, c->wake_fd, false, until > now ? (int)(until - now) : 0);
}

static void *run(void *arg)
{
    struct amqp_consumer *c = arg;
    struct error err;
    while (!is_stopping(c)) {
        int pause_ms = amqp_link_pause_ms(&c->link);
        if (!c->link.state && pause_ms)
            amqp_link_wait(&c->link, c->wake_fd, false, pause_ms);
        else if (!c->link.state)
            connect_again(c);
        else if (work(c, &err) < 0)
            disconnect(c, err.message);
        else
            rest(c);
    }
    bool settled = c->link.state && settle_taken(c, &err) == 0;
    amqp_link_close(&c->link, settled);
    return NULL;
}

/* ---- start and stop ---- */

static struct amqp_consumer *consumer_free(struct amqp_consumer *c)
{
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    for (struct source *s = c->sources; c->sources && s < source_end(c); s++)
        unacked_fini(&s->unacked);
    free(c->sources);
    free(c->inbox.items);
    free(c->taken.items);
    amqp_options_fini(&c->options.connection);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}

static bool consumer_init(struct amqp_consumer *c, const struct amqp_consumer_options *options)
{
    c->options = *options;
    if (c->options.prefetch <= 0)
        c->options.prefetch = PREFETCH_DEFAULT;
    if (c->options.prefetch > UINT16_MAX)
        c->options.prefetch = UINT16_MAX;
    amqp_link_init(&c->link);
    pthread_mutex_init(&c->lock, NULL);
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool copied = amqp_options_copy(&c->options.connection, &options->connection);
    c->sources = calloc(options->queue_count ? options->queue_count : 1, sizeof *c->sources);
    for (size_t i = 0; c->sources && i < options->queue_count; i++) {
        c->sources[i].queue = options->queues[i];
        backoff_init(&c->sources[i].backoff, QUEUE_RETRY_BASE_MS, QUEUE_RETRY_CAP_MS, 0);
    }
    return copied && c->sources && c->wake_fd >= 0;
}

int amqp_consumer_start(const struct amqp_consumer_options *options, struct amqp_consumer **ret,
                        struct error *err)
{
    struct amqp_consumer *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, ERR_INTERNAL, "out of memory");
    if (!consumer_init(c, options)) {
        consumer_free(c);
        return error_set(err, ERR_INTERNAL, "consumer: out of memory or files");
    }
    *ret = c; /* the first callback may want it */
    int failed = pthread_create(&c->thread, NULL, run, c);
    if (failed) {
        *ret = NULL;
        consumer_free(c);
        return error_set(err, ERR_INTERNAL, "consumer: thread: %s", strerror(failed));
    }
    pthread_setname_np(c->thread, "amqp consumer");
    return 0;
}

struct amqp_consumer *amqp_consumer_stop(struct amqp_consumer *c)
{
    if (!c)
        return NULL;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_mutex_unlock(&c->lock);
    wake(c);
    pthread_join(c->thread, NULL);
    return consumer_free(c);
}
