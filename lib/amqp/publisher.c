#include "lib/amqp/amqp.h"

#include "lib/amqp/flight.h"
#include "lib/amqp/link.h"
#include "lib/amqp/outgoing.h"
#include "lib/amqp/topology.h"
#include "lib/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CHANNEL           1 /* messages and confirms */
#define CHANNEL_TOPOLOGY  2 /* a refused declaration closes only this one */
#define WINDOW_DEFAULT    1000
#define QUEUED_DEFAULT    20000
#define TOPOLOGY_EVERY_MS 60000
#define TOPOLOGY_SOON_MS  1000 /* after a message was returned */
#define CONFIRM_TIMEOUT_MS                                                                         \
    30000 /* a queue without majority must not hold up the others for ever                         \
           */
#define FRAMES_AT_ONCE   500
#define MESSAGES_AT_ONCE 64

struct amqp_publisher {
    struct amqp_publisher_options options; /* connection: our copy */
    pthread_t thread;
    int wake_fd;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct outgoing_list inbox;
    struct amqp_stats stats;
    bool stopping;
    int64_t stop_at_mono_ms;

    /* the thread's own */
    struct amqp_link link;
    struct flight flight;
    struct amqp_topology_cursor topology;
    int64_t topology_at_mono_ms; /* the next round */
    int64_t unblocked_at_mono_ms;
    bool blocked, was_connected;
};

/* ---- callers' side ---- */

static void wake(struct amqp_publisher *p)
{
    uint64_t one = 1;
    (void)!write(p->wake_fd, &one, sizeof one);
}

static int admit(struct amqp_publisher *p, struct error *err)
{
    if (p->stopping)
        return error_set(err, ERR_UNAVAILABLE, "publisher: stopping");
    if (!p->stats.connected)
        return error_set(err, ERR_UNAVAILABLE, "publisher: not connected to the broker");
    if (p->stats.blocked)
        return error_set(err, ERR_UNAVAILABLE, "publisher: the broker has raised an alarm");
    if (p->stats.queued >= p->options.max_queued)
        return error_set(err, ERR_BUSY, "publisher: %zu messages wait", p->stats.queued);
    return 0;
}

int amqp_publisher_publish(struct amqp_publisher *p, const struct amqp_message *m,
                           struct error *err)
{
    if (m->size > AMQP_BODY_MAX)
        return error_set(err, ERR_TOO_LARGE, "publisher: a message of %zu bytes", m->size);
    struct outgoing *o = outgoing_new(m);
    if (!o)
        return error_set(err, ERR_BUSY, "out of memory");
    pthread_mutex_lock(&p->lock);
    int r = admit(p, err);
    bool was_empty = p->stats.queued == 0;
    if (r == 0) {
        outgoing_push(&p->inbox, o);
        p->stats.queued++;
    }
    pthread_mutex_unlock(&p->lock);
    if (r < 0)
        free(o);
    else if (was_empty)
        wake(p);
    return r;
}

void amqp_publisher_stats_get(struct amqp_publisher *p, struct amqp_stats *ret)
{
    LOCK_SCOPE(&p->lock);
    *ret = p->stats;
}

/* ---- the thread ---- */

static void notice(struct amqp_publisher *p, bool is_problem, const char *sentence,
                   const char *detail)
{
    if (p->options.on_notice)
        p->options.on_notice(p->options.ctx, is_problem, sentence, detail);
}

static void on_outcome(void *ctx, uint64_t token, enum amqp_outcome outcome)
{
    struct amqp_publisher *p = ctx;
    pthread_mutex_lock(&p->lock);
    switch (outcome) {
    case AMQP_CONFIRMED:
        p->stats.confirmed++;
        break;
    case AMQP_RETURNED:
        p->stats.returned++;
        break;
    case AMQP_REJECTED:
        p->stats.rejected++;
        break;
    case AMQP_LOST:
        p->stats.lost++;
        break;
    }
    pthread_mutex_unlock(&p->lock);
    if (p->options.on_outcome)
        p->options.on_outcome(p->options.ctx, token, outcome);
}

static struct outgoing_list take(struct amqp_publisher *p, size_t count)
{
    struct outgoing_list taken = {0};
    LOCK_SCOPE(&p->lock);
    while (count-- && p->inbox.first) {
        outgoing_push(&taken, outgoing_pop(&p->inbox));
        p->stats.queued--;
    }
    return taken;
}

static void lose_list(struct amqp_publisher *p, struct outgoing_list *list)
{
    for (struct outgoing *o; (o = outgoing_pop(list)); free(o))
        on_outcome(p, o->token, AMQP_LOST);
}

static void lose_queued(struct amqp_publisher *p)
{
    struct outgoing_list all = take(p, SIZE_MAX);
    lose_list(p, &all);
}

static void set_state(struct amqp_publisher *p, bool connected, bool blocked)
{
    LOCK_SCOPE(&p->lock);
    if (connected && !p->stats.connected && p->was_connected)
        p->stats.reconnects++;
    p->was_connected = p->was_connected || connected;
    p->stats.connected = connected;
    p->stats.blocked = blocked;
    p->blocked = blocked;
}

static void set_in_flight(struct amqp_publisher *p)
{
    LOCK_SCOPE(&p->lock);
    p->stats.in_flight = p->flight.open;
}

/* Nothing is accepted any more before anything is answered, so that nobody waits unanswered. */
static void disconnect(struct amqp_publisher *p, const char *why)
{
    amqp_link_close(&p->link, false);
    set_state(p, false, false);
    notice(p, true, "connection to the broker lost", why);
    flight_lose(&p->flight, on_outcome, p);
    lose_queued(p);
    set_in_flight(p);
}

/* One declaration. Negative only when the connection is lost. */
static int declare_one(struct amqp_publisher *p, struct error *err)
{
    int r = amqp_topology_declare_next(&p->link, CHANNEL_TOPOLOGY, p->options.topologies,
                                       &p->topology, err);
    if (r != ERR_INVALID)
        return r;
    pthread_mutex_lock(&p->lock);
    p->stats.topology_errors++;
    pthread_mutex_unlock(&p->lock);
    notice(p, true, "the broker refused a declaration", err->message);
    r = amqp_link_open_channel(&p->link, CHANNEL_TOPOLOGY, err);
    return r < 0 ? ERR_UNAVAILABLE : 0;
}

static bool is_declared(const struct amqp_publisher *p)
{
    return amqp_topology_is_done(&p->topology, p->options.topology_count);
}

static int prepare_channels(struct amqp_publisher *p, struct error *err)
{
    int r = amqp_link_open_channel(&p->link, CHANNEL, err);
    if (r < 0)
        return r;
    amqp_confirm_select(p->link.state, CHANNEL);
    r = amqp_link_reply(&p->link, CHANNEL, err);
    if (r == 0)
        r = amqp_link_open_channel(&p->link, CHANNEL_TOPOLOGY, err);
    p->topology = (struct amqp_topology_cursor){0};
    while (r == 0 && !is_declared(p))
        r = declare_one(p, err);
    return r;
}

static void connect_again(struct amqp_publisher *p)
{
    struct error err;
    int r = amqp_link_open(&p->link, &p->options.connection, "harpoon publisher", &err);
    if (r == 0)
        r = prepare_channels(p, &err);
    if (r < 0) {
        amqp_link_close(&p->link, false);
        notice(p, true, "the broker cannot be reached", err.message);
        return;
    }
    p->topology_at_mono_ms = mono_ms() + TOPOLOGY_EVERY_MS;
    set_state(p, true, false);
    notice(p, false, "connected to the broker", "");
}

/* The broker tells which message it returns by what we wrote on it. */
static int on_return(struct amqp_publisher *p, struct error *err)
{
    amqp_message_t m;
    char tag[24] = "";
    amqp_rpc_reply_t r = amqp_read_message(p->link.state, CHANNEL, &m, 0);
    if (r.reply_type != AMQP_RESPONSE_NORMAL)
        return error_set(err, ERR_UNAVAILABLE, "a returned message was cut short");
    const amqp_bytes_t *id = &m.properties.correlation_id;
    if ((m.properties._flags & AMQP_BASIC_CORRELATION_ID_FLAG) && id->len < sizeof tag)
        memcpy(tag, id->bytes, id->len);
    amqp_destroy_message(&m);
    flight_return(&p->flight, strtoull(tag, NULL, 10));
    int64_t soon = mono_ms() + TOPOLOGY_SOON_MS; /* a queue may have been deleted */
    if (p->topology_at_mono_ms > soon)
        p->topology_at_mono_ms = soon;
    return 0;
}

static void on_blocked(struct amqp_publisher *p, const amqp_connection_blocked_t *m)
{
    char reason[128];
    snprintf(reason, sizeof reason, "%.*s", (int)m->reason.len, (const char *)m->reason.bytes);
    set_state(p, true, true);
    notice(p, true, "the broker has raised an alarm", reason);
    lose_queued(p); /* none of these was sent */
}

static int on_method(struct amqp_publisher *p, const amqp_frame_t *frame, struct error *err)
{
    const amqp_method_t *method = &frame->payload.method;
    switch (method->id) {
    case AMQP_BASIC_ACK_METHOD: {
        const amqp_basic_ack_t *m = method->decoded;
        flight_settle(&p->flight, m->delivery_tag, m->multiple, true, on_outcome, p);
        return 0;
    }
    case AMQP_BASIC_NACK_METHOD: {
        const amqp_basic_nack_t *m = method->decoded;
        flight_settle(&p->flight, m->delivery_tag, m->multiple, false, on_outcome, p);
        return 0;
    }
    case AMQP_BASIC_RETURN_METHOD:
        return on_return(p, err);
    case AMQP_CONNECTION_BLOCKED_METHOD:
        on_blocked(p, method->decoded);
        return 0;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        p->unblocked_at_mono_ms = mono_ms();
        set_state(p, true, false);
        notice(p, false, "the broker's alarm is over", "");
        return 0;
    case AMQP_CHANNEL_CLOSE_METHOD: /* what was sent on it may have arrived or not */
        amqp_link_channel_closed(&p->link, frame, err);
        err->code = ERR_UNAVAILABLE;
        return ERR_UNAVAILABLE;
    default:
        return 0;
    }
}

static int read_frames(struct amqp_publisher *p, struct error *err)
{
    for (int i = 0; i < FRAMES_AT_ONCE; i++) {
        amqp_frame_t frame;
        int r = amqp_link_next(&p->link, &frame, err);
        if (r <= 0)
            return r;
        if (frame.frame_type == AMQP_FRAME_METHOD)
            r = on_method(p, &frame, err);
        if (r < 0)
            return r;
        amqp_link_release(&p->link);
    }
    return 0;
}

static int send_one(struct amqp_publisher *p, const struct outgoing *o, struct error *err)
{
    char tag[24];
    snprintf(tag, sizeof tag, "%" PRIu64, flight_add(&p->flight, o->token, mono_ms()));
    amqp_table_entry_t header = {
        .key = amqp_cstring_bytes("timestamp_in_ms"),
        .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = o->accepted_unix_ms},
    };
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_TIMESTAMP_FLAG |
                  AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG,
        .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .timestamp = (uint64_t)(o->accepted_unix_ms / 1000),
        .headers = {1, &header},
        .correlation_id = amqp_cstring_bytes(tag),
    };
    if (o->message_id) {
        properties._flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
        properties.message_id = amqp_cstring_bytes(o->message_id);
    }
    return amqp_link_sent(amqp_basic_publish(p->link.state, CHANNEL,
                                             amqp_cstring_bytes(o->exchange),
                                             amqp_cstring_bytes(o->routing_key), 1, 0, &properties,
                                             o->body),
                          err);
}

/* As much as window and socket take. Publishing into a full socket would block without reading,
 * and the broker may be waiting for us to read. */
static int send_queued(struct amqp_publisher *p, struct error *err)
{
    size_t room = p->flight.window - p->flight.open;
    struct outgoing_list taken = take(p, room < MESSAGES_AT_ONCE ? room : MESSAGES_AT_ONCE);
    uint64_t sent = 0;
    int r = 0;
    while (r == 0 && taken.first && flight_has_room(&p->flight) &&
           amqp_link_is_writable(&p->link)) {
        struct outgoing *o = outgoing_pop(&taken);
        r = send_one(p, o, err);
        sent += r == 0;
        free(o);
    }
    pthread_mutex_lock(&p->lock);
    p->stats.published += sent;
    p->stats.queued += outgoing_put_back(&p->inbox, &taken);
    pthread_mutex_unlock(&p->lock);
    return r;
}

static int watch_confirms(const struct amqp_publisher *p, struct error *err)
{
    int64_t since = flight_oldest_mono_ms(&p->flight);
    if (p->blocked || !since)
        return 0;
    if (since < p->unblocked_at_mono_ms)
        since = p->unblocked_at_mono_ms;
    if (mono_ms() - since < CONFIRM_TIMEOUT_MS)
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "no confirm for %d s", CONFIRM_TIMEOUT_MS / 1000);
}

/* A blocked broker reads nothing: a declaration would hang. */
static int keep_topology(struct amqp_publisher *p, struct error *err)
{
    if (p->blocked)
        return 0;
    if (!is_declared(p))
        return declare_one(p, err);
    if (mono_ms() >= p->topology_at_mono_ms) {
        p->topology = (struct amqp_topology_cursor){0};
        p->topology_at_mono_ms = mono_ms() + TOPOLOGY_EVERY_MS;
    }
    return 0;
}

static int work(struct amqp_publisher *p, struct error *err)
{
    int r = read_frames(p, err);
    if (r == 0 && !p->blocked)
        r = send_queued(p, err);
    if (r == 0)
        r = keep_topology(p, err);
    if (r == 0)
        r = watch_confirms(p, err);
    set_in_flight(p);
    return r;
}

static bool has_sendable(struct amqp_publisher *p)
{
    LOCK_SCOPE(&p->lock);
    return p->inbox.first && !p->blocked && flight_has_room(&p->flight);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void rest(struct amqp_publisher *p)
{
    int64_t now = mono_ms();
    int64_t until = now + p->link.heartbeat_ms / 4;
    if (!p->blocked)
        until = is_declared(p) ? sooner(until, p->topology_at_mono_ms) : now;
    pthread_mutex_lock(&p->lock);
    if (p->stopping)
        until = sooner(until, p->stop_at_mono_ms);
    pthread_mutex_unlock(&p->lock);
    bool want_write = has_sendable(p);
    if (want_write && amqp_link_is_writable(&p->link))
        return;
    amqp_link_wait(&p->link, p->wake_fd, want_write, (int)(until - now));
}

static bool is_finished(struct amqp_publisher *p)
{
    LOCK_SCOPE(&p->lock);
    if (!p->stopping)
        return false;
    return !p->link.state || (!p->inbox.first && p->flight.open == 0) ||
           mono_ms() >= p->stop_at_mono_ms;
}

static void *run(void *arg)
{
    struct amqp_publisher *p = arg;
    while (!is_finished(p)) {
        struct error err;
        int pause_ms = amqp_link_pause_ms(&p->link);
        if (!p->link.state && pause_ms)
            amqp_link_wait(&p->link, p->wake_fd, false, pause_ms);
        else if (!p->link.state)
            connect_again(p);
        else if (work(p, &err) < 0)
            disconnect(p, err.message);
        else
            rest(p);
    }
    amqp_link_close(&p->link, !p->blocked);
    set_state(p, false, false);
    flight_lose(&p->flight, on_outcome, p);
    lose_queued(p);
    set_in_flight(p);
    return NULL;
}

/* ---- start and stop ---- */

static struct amqp_publisher *publisher_free(struct amqp_publisher *p)
{
    if (p->wake_fd >= 0)
        close(p->wake_fd);
    flight_fini(&p->flight);
    amqp_options_fini(&p->options.connection);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

static bool publisher_init(struct amqp_publisher *p, const struct amqp_publisher_options *options)
{
    p->options = *options;
    if (!p->options.window)
        p->options.window = WINDOW_DEFAULT;
    if (!p->options.max_queued)
        p->options.max_queued = QUEUED_DEFAULT;
    amqp_link_init(&p->link);
    pthread_mutex_init(&p->lock, NULL);
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool copied = amqp_options_copy(&p->options.connection, &options->connection);
    return flight_init(&p->flight, p->options.window) && copied && p->wake_fd >= 0;
}

int amqp_publisher_start(const struct amqp_publisher_options *options, struct amqp_publisher **ret,
                         struct error *err)
{
    struct amqp_publisher *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, ERR_INTERNAL, "out of memory");
    if (!publisher_init(p, options)) {
        publisher_free(p);
        return error_set(err, ERR_INTERNAL, "publisher: out of memory or files");
    }
    *ret = p; /* the first callback may want it */
    int failed = pthread_create(&p->thread, NULL, run, p);
    if (failed) {
        *ret = NULL;
        publisher_free(p);
        return error_set(err, ERR_INTERNAL, "publisher: thread: %s", strerror(failed));
    }
    pthread_setname_np(p->thread, "amqp publisher");
    return 0;
}

struct amqp_publisher *amqp_publisher_stop(struct amqp_publisher *p, int grace_ms)
{
    if (!p)
        return NULL;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    p->stop_at_mono_ms = mono_ms() + grace_ms;
    pthread_mutex_unlock(&p->lock);
    wake(p);
    pthread_join(p->thread, NULL);
    return publisher_free(p);
}
