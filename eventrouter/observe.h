/* eventrouter/observe.h: tells every scheduler replica, once a second, who is here and how it
 * fares. A replica that is still busy with the last batch is passed over; who came and who left is
 * said again until it has been heard, and to a replica that was away, everything. Threads: any. */
#pragma once

#include "eventrouter/sessions.h"

struct observer;

struct observer_options {
    const char *schedulers; /* addresses */
    struct rpc_tls tls;
    const char *router, *region; /* names */
    struct sessions *sessions;
};

int observer_start(const struct observer_options *options, struct observer **ret,
                   struct error *err) MUST_CHECK;
/* Tells what happened last, waits for what is under way. NULL is fine; gives NULL. */
struct observer *observer_stop(struct observer *o);
/* Once a second, never by two threads. */
void observer_tick(struct observer *o);
/* Whether a replica answered last. */
bool observer_reaches_scheduler(struct observer *o, char *why, size_t why_size);
