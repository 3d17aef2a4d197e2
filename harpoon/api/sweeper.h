/* harpoon/api/sweeper.h: the one recovery of events: takes the rows whose check_at is past, moves
 * it, publishes them again, and ends those past their deadline. One thread, one connection. */
#pragma once

#include "harpoon/store/events.h"
#include "lib/error.h"
#include "lib/sql/sql.h"
#include "proto/event.pb-c.h"

#include <stddef.h>
#include <stdint.h>

struct sweeper;

struct sweeper_options {
    const struct sql_options *mysql; /* copied by its connection */
    const struct events_env *env;    /* borrowed; env->event_ids is shared with others */
    int interval_ms;                 /* 0: 200 */
    size_t batch;                    /* 0: 500 */
    /* On the sweeper's thread; must not block for long. `queue` is the routing key; the message's
     * params are `params`, packed. Below 0: not published (*err says why), and the row is just due
     * again later. All is valid for the call. */
    int (*publish)(void *ctx, const char *queue, const Harpoon__Event__V1__Event *message,
                   const uint8_t *params, size_t params_size, struct error *err);
    void *ctx;
};

struct sweeper_stats {
    uint64_t sweeps, taken, published, unpublished, ended, errors;
    int64_t last_sweep_mono_ms; /* when one last succeeded; 0: never */
    int64_t lag_ms;  /* how long past its check_at the oldest row of the last sweep was */
    int64_t took_ms; /* the last sweep's reading and moving */
};

int sweeper_start(const struct sweeper_options *options, struct sweeper **ret,
                  struct error *err) MUST_CHECK;
void sweeper_stats_get(struct sweeper *s, struct sweeper_stats *ret); /* any thread */
/* Looks at once, e.g. after a transaction inserted a destroy. Any thread, never blocks. */
void sweeper_wake(struct sweeper *s);
struct sweeper *sweeper_stop(struct sweeper *s); /* NULL is fine; gives NULL */
