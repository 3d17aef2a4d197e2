/* eventrouter/delivery.h: the books of Deliver: which call waits for which agent's answer to which
 * job, until all have come, their sessions have ended or the time is over. Pure but for its lock:
 * time is an argument, nothing is sent. Threads: any. */
#pragma once

#include "lib/error.h"
#include "lib/uuid.h"
#include "proto/router.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deliveries;
struct delivery; /* one call */

struct delivery_answer {
    Harpoon__Router__V1__Outcome outcome;
    char journal_id[UUID_TEXT]; /* of the session it was sent to; empty: none */
    bool closed;
    char reason[64];
};

/* What an agent says of a job. */
struct delivery_said {
    uint64_t event_id;
    uint32_t attempt;
    Harpoon__Router__V1__Outcome outcome;
    bool closed;
    const char *reason;
};

/* Comes once for each delivery, without a lock held, on the thread that completed it. The answers
 * are valid for the call. */
typedef void (*delivery_done_fn)(void *ctx, const struct delivery_answer *answers, size_t count);

/* `max_waiting`: jobs not yet answered, of all calls. */
struct deliveries *deliveries_new(size_t max_waiting);
struct deliveries *deliveries_free(struct deliveries *d); /* none may be under way. NULL is fine */

/* A call for `count` jobs; each must then be settled or awaited, and deliveries_ready() called.
 * ERR_BUSY: too many jobs wait already. */
int deliveries_begin(struct deliveries *d, size_t count, int64_t deadline_mono_ms,
                     delivery_done_fn done, void *ctx, struct delivery **ret,
                     struct error *err) MUST_CHECK;
/* Job `index` is about to be sent to the session `serial`: before it is, so that no answer can come
 * too early. */
void deliveries_await(struct deliveries *d, struct delivery *call, size_t index, uint64_t serial,
                      const char *journal_id, uint64_t event_id, uint32_t attempt);
/* What is known at once; also of one awaited, if it could not be sent. */
void deliveries_settle(struct deliveries *d, struct delivery *call, size_t index,
                       Harpoon__Router__V1__Outcome outcome);
/* All is sent. `call` is not the caller's any more. */
void deliveries_ready(struct deliveries *d, struct delivery *call);

/* Session `serial` has said something; what nobody waits for is passed over. The number of jobs
 * that it answered. */
size_t deliveries_answer(struct deliveries *d, uint64_t serial, const struct delivery_said *said);
/* Its jobs may be in the journal: no answer. */
void deliveries_end_session(struct deliveries *d, uint64_t serial);
void deliveries_expire(struct deliveries *d, int64_t now_mono_ms);
size_t deliveries_waiting(struct deliveries *d);
