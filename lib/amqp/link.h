/* lib/amqp/link.h: one connection to the broker, used by one thread. */
#pragma once

#include "lib/amqp/amqp.h"
#include "lib/backoff.h"

#include <amqp.h>
#include <amqp_framing.h>

struct amqp_link {
    amqp_connection_state_t state; /* NULL: not connected */
    int heartbeat_ms;              /* as agreed with the broker */
    struct backoff backoff;
    int64_t opened_at_mono_ms, retry_at_mono_ms;
};

void amqp_link_init(struct amqp_link *l);

/* Copies the strings. false: out of memory; fini is due in any case. */
bool amqp_options_copy(struct amqp_options *ret, const struct amqp_options *options);
void amqp_options_fini(struct amqp_options *options);

/* How long to wait before the next amqp_link_open: a connection that fails soon after it was made
 * counts as a failed attempt. */
int amqp_link_pause_ms(const struct amqp_link *l);
/* Connects and logs in as `name` (what the broker shows). Blocks for some seconds at most.
 * ERR_UNAVAILABLE with the broker's words. */
int amqp_link_open(struct amqp_link *l, const struct amqp_options *options, const char *name,
                   struct error *err) MUST_CHECK;
/* `politely`: says goodbye and waits a second for the answer, so that what was sent is read. */
void amqp_link_close(struct amqp_link *l, bool politely);

/* After each request that has an answer: 0, ERR_INVALID when the broker refused it and closed the
 * channel (the answer to that is sent), ERR_UNAVAILABLE when the connection is of no further use.
 */
int amqp_link_reply(struct amqp_link *l, amqp_channel_t channel, struct error *err) MUST_CHECK;
int amqp_link_open_channel(struct amqp_link *l, amqp_channel_t channel,
                           struct error *err) MUST_CHECK;
/* For requests that have none. */
int amqp_link_sent(int status, struct error *err) MUST_CHECK;

/* 1: *ret holds a frame, valid until amqp_link_release. 0: nothing has arrived. ERR_UNAVAILABLE:
 * the connection is gone, closed by the broker, or silent for too long. Sends a heartbeat if due.
 */
int amqp_link_next(struct amqp_link *l, amqp_frame_t *ret, struct error *err) MUST_CHECK;
void amqp_link_release(struct amqp_link *l);
/* The broker's reason in a channel.close frame; also answers it. */
void amqp_link_channel_closed(struct amqp_link *l, const amqp_frame_t *frame, struct error *err);

bool amqp_link_is_writable(const struct amqp_link *l);
/* Waits until something arrives, `wake_fd` is readable (and empties it), the socket takes more (if
 * `want_write`), or `timeout_ms` are over. `l` may be closed. */
void amqp_link_wait(const struct amqp_link *l, int wake_fd, bool want_write, int timeout_ms);
