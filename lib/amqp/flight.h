/* lib/amqp/flight.h: messages on their way to the broker, by their number on this connection, until
 * each has its outcome. Pure; one thread. */
#pragma once

#include "lib/amqp/amqp.h"

struct flight_slot {
    uint64_t token;
    int64_t sent_mono_ms;
    bool open, returned;
};

struct flight {
    struct flight_slot *slots; /* a ring: tag modulo its size */
    size_t size, window;
    uint64_t first, next; /* first <= tags in the ring < next; the broker counts from 1 */
    size_t open;
};

typedef void (*flight_outcome_fn)(void *ctx, uint64_t token, enum amqp_outcome outcome);

/* At most `window` messages without outcome. false: out of memory. */
bool flight_init(struct flight *f, size_t window) MUST_CHECK;
void flight_fini(struct flight *f);
bool flight_has_room(const struct flight *f);
/* The number of the message sent next; there must be room. */
uint64_t flight_add(struct flight *f, uint64_t token, int64_t now_mono_ms);
/* The broker had no queue for it; its outcome is still to come. Unknown tags are ignored. */
void flight_return(struct flight *f, uint64_t tag);
/* The outcome of `tag`, or of all up to and with it (`multiple`; tag 0: of all). */
void flight_settle(struct flight *f, uint64_t tag, bool multiple, bool accepted,
                   flight_outcome_fn on_outcome, void *ctx);
/* The connection is gone: all are lost, and counting begins anew. */
void flight_lose(struct flight *f, flight_outcome_fn on_outcome, void *ctx);
/* When the oldest message without outcome was sent; 0: none. */
int64_t flight_oldest_mono_ms(const struct flight *f);
