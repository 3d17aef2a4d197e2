#include "lib/amqp/link.h"
#include "lib/clock.h"

#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define HEARTBEAT_DEFAULT_S 10
#define CONNECT_TIMEOUT_S   3
#define RPC_TIMEOUT_S       5
#define FRAME_MAX           131072
#define RETRY_BASE_MS       100
#define RETRY_CAP_MS        5000
#define LASTED_MS           10000 /* a connection older than that was a good one */

static char *copy_text(const char *text, bool *ok)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        *ok = false;
    return copy;
}

bool amqp_options_copy(struct amqp_options *ret, const struct amqp_options *options)
{
    bool ok = true;
    *ret = (struct amqp_options){
        .host = copy_text(options->host, &ok),
        .port = options->port,
        .vhost = copy_text(options->vhost ? options->vhost : "/", &ok),
        .user = copy_text(options->user, &ok),
        .password = copy_text(options->password, &ok),
        .heartbeat_s = options->heartbeat_s > 0 ? options->heartbeat_s : HEARTBEAT_DEFAULT_S,
    };
    return ok;
}

void amqp_options_fini(struct amqp_options *options)
{
    free((char *)options->host);
    free((char *)options->vhost);
    free((char *)options->user);
    free((char *)options->password);
    *options = (struct amqp_options){0};
}

static int closed_text(int code, amqp_bytes_t text, int ret_code, struct error *err)
{
    return error_set(err, ret_code, "%d %.*s", code, (int)text.len, (const char *)text.bytes);
}

static int connection_closed(const amqp_connection_close_t *m, struct error *err)
{
    return closed_text(m->reply_code, m->reply_text, ERR_UNAVAILABLE, err);
}

static int read_reply(struct amqp_link *l, amqp_rpc_reply_t r, amqp_channel_t channel,
                      struct error *err)
{
    switch (r.reply_type) {
    case AMQP_RESPONSE_NORMAL:
        return 0;
    case AMQP_RESPONSE_NONE:
        return error_set(err, ERR_UNAVAILABLE, "no answer");
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
        return error_set(err, ERR_UNAVAILABLE, "%s", amqp_error_string2(r.library_error));
    case AMQP_RESPONSE_SERVER_EXCEPTION:
        break;
    }
    if (r.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
        return connection_closed(r.reply.decoded, err);
    if (r.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *m = r.reply.decoded;
        amqp_channel_close_ok_t ok = {0};
        closed_text(m->reply_code, m->reply_text, ERR_INVALID, err);
        int sent = amqp_send_method(l->state, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
        return sent == AMQP_STATUS_OK ? ERR_INVALID : amqp_link_sent(sent, err);
    }
    return error_set(err, ERR_UNAVAILABLE, "unexpected answer 0x%x", r.reply.id);
}

int amqp_link_reply(struct amqp_link *l, amqp_channel_t channel, struct error *err)
{
    return read_reply(l, amqp_get_rpc_reply(l->state), channel, err);
}

int amqp_link_sent(int status, struct error *err)
{
    if (status == AMQP_STATUS_OK)
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "%s", amqp_error_string2(status));
}

int amqp_link_open_channel(struct amqp_link *l, amqp_channel_t channel, struct error *err)
{
    amqp_channel_open(l->state, channel);
    return amqp_link_reply(l, channel, err);
}

static amqp_table_entry_t flag(const char *name)
{
    return (amqp_table_entry_t){
        .key = amqp_cstring_bytes(name),
        .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1},
    };
}

/* Without these capabilities the broker neither says that it blocks us nor that a queue is gone. */
static amqp_rpc_reply_t log_in(struct amqp_link *l, const struct amqp_options *o, const char *name)
{
    amqp_table_entry_t capabilities[] = {
        flag("connection.blocked"),           flag("consumer_cancel_notify"),
        flag("publisher_confirms"),           flag("basic.nack"),
        flag("authentication_failure_close"),
    };
    amqp_table_entry_t entries[] = {
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE,
                   .value.table = {(int)ARRAY_LEN(capabilities), capabilities}}},
        {.key = amqp_cstring_bytes("connection_name"),
         .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(name)}},
    };
    amqp_table_t properties = {(int)ARRAY_LEN(entries), entries};
    return amqp_login_with_properties(l->state, o->vhost, 0, FRAME_MAX, o->heartbeat_s, &properties,
                                      AMQP_SASL_METHOD_PLAIN, o->user, o->password);
}

/* What the kernel holds for a peer that is gone is given up with it. */
static void set_socket_options(int fd, int heartbeat_s)
{
    unsigned give_up_ms = (unsigned)heartbeat_s * 2000u;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &give_up_ms, sizeof give_up_ms);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static int open_socket(struct amqp_link *l, const struct amqp_options *o, struct error *err)
{
    struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_S};
    amqp_socket_t *socket = amqp_tcp_socket_new(l->state);
    if (!socket)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    amqp_set_handshake_timeout(l->state, &timeout);
    int r = amqp_link_sent(amqp_socket_open_noblock(socket, o->host, o->port, &timeout), err);
    if (r == 0)
        set_socket_options(amqp_get_sockfd(l->state), o->heartbeat_s);
    return r;
}

void amqp_link_init(struct amqp_link *l)
{
    *l = (struct amqp_link){0};
    backoff_init(&l->backoff, RETRY_BASE_MS, RETRY_CAP_MS, 0);
}

int amqp_link_pause_ms(const struct amqp_link *l)
{
    int64_t left = l->retry_at_mono_ms - mono_ms();
    return left > 0 ? (int)left : 0;
}

int amqp_link_open(struct amqp_link *l, const struct amqp_options *options, const char *name,
                   struct error *err)
{
    struct timeval rpc_timeout = {.tv_sec = RPC_TIMEOUT_S};
    l->opened_at_mono_ms = mono_ms();
    l->state = amqp_new_connection();
    if (!l->state)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    int r = open_socket(l, options, err);
    if (r == 0)
        r = read_reply(l, log_in(l, options, name), 0, err);
    if (r == 0)
        r = amqp_link_sent(amqp_set_rpc_timeout(l->state, &rpc_timeout), err);
    if (r < 0) {
        amqp_link_close(l, false);
        err->code = ERR_UNAVAILABLE;
        return error_in(err, "%s:%d", options->host, options->port);
    }
    l->heartbeat_ms = amqp_get_heartbeat(l->state) * 1000;
    if (l->heartbeat_ms <= 0)
        l->heartbeat_ms = options->heartbeat_s * 1000;
    return 0;
}

void amqp_link_close(struct amqp_link *l, bool politely)
{
    struct timeval timeout = {.tv_sec = 1};
    if (!l->state)
        return;
    if (politely && amqp_set_rpc_timeout(l->state, &timeout) == AMQP_STATUS_OK)
        (void)amqp_connection_close(l->state, AMQP_REPLY_SUCCESS);
    (void)amqp_destroy_connection(l->state);
    l->state = NULL;
    int64_t now = mono_ms();
    if (now - l->opened_at_mono_ms > LASTED_MS)
        backoff_reset(&l->backoff);
    l->retry_at_mono_ms = now + backoff_next_ms(&l->backoff);
}

int amqp_link_next(struct amqp_link *l, amqp_frame_t *ret, struct error *err)
{
    struct timeval now = {0};
    int status = amqp_simple_wait_frame_noblock(l->state, ret, &now);
    if (status == AMQP_STATUS_TIMEOUT)
        return 0;
    if (status != AMQP_STATUS_OK)
        return amqp_link_sent(status, err);
    if (ret->frame_type == AMQP_FRAME_METHOD &&
        ret->payload.method.id == AMQP_CONNECTION_CLOSE_METHOD)
        return connection_closed(ret->payload.method.decoded, err);
    return 1;
}

void amqp_link_release(struct amqp_link *l)
{
    amqp_maybe_release_buffers(l->state);
}

void amqp_link_channel_closed(struct amqp_link *l, const amqp_frame_t *frame, struct error *err)
{
    const amqp_channel_close_t *m = frame->payload.method.decoded;
    amqp_channel_close_ok_t ok = {0};
    closed_text(m->reply_code, m->reply_text, ERR_INVALID, err);
    /* Should this fail, so will the next read. */
    (void)amqp_send_method(l->state, frame->channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
}

bool amqp_link_is_writable(const struct amqp_link *l)
{
    struct pollfd p = {.fd = amqp_get_sockfd(l->state), .events = POLLOUT};
    return poll(&p, 1, 0) == 1;
}

void amqp_link_wait(const struct amqp_link *l, int wake_fd, bool want_write, int timeout_ms)
{
    struct pollfd p[2] = {{.fd = wake_fd, .events = POLLIN}, {.fd = -1}};
    uint64_t ignored;
    if (l->state) {
        /* Bytes may be inside the library already, where poll does not see them. */
        if (amqp_frames_enqueued(l->state) || amqp_data_in_buffer(l->state))
            return;
        p[1].fd = amqp_get_sockfd(l->state);
        p[1].events = (short)(POLLIN | (want_write ? POLLOUT : 0));
    }
    poll(p, 2, timeout_ms > 0 ? timeout_ms : 0);
    if (p[0].revents)
        (void)!read(wake_fd, &ignored, sizeof ignored);
}
