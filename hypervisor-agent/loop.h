/* hypervisor-agent/loop.h: the one thread that owns every hypervisor's state: it runs what other
 * threads post and what timers are due, and never blocks. A turn handles all that has gathered;
 * what a turn has to say is said once, at its end. */
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

struct loop;

struct loop_event { /* embed it; the loop's from loop_post until run */
    struct loop_event *next;
    void (*run)(struct loop_event *e);
};
struct loop_timer { /* embed it, all zero: not set */
    int64_t at_mono_ms;
    size_t slot; /* the loop's: where it is in its heap, from 1; 0: not set */
    void (*fire)(struct loop_timer *t);
};

/* `turn_end` (may be NULL) runs at the end of each turn. */
int loop_start(void (*turn_end)(void *ctx), void *ctx, struct loop **ret,
               struct error *err) MUST_CHECK;
/* Runs what is posted, ends the thread; timers that are set do not fire. NULL is fine; gives NULL.
 */
struct loop *loop_stop(struct loop *l);

/* Any thread. In the order posted. */
void loop_post(struct loop *l, struct loop_event *e);
/* Runs `fn` on the loop thread and waits for it; not from the loop thread. */
void loop_call(struct loop *l, void (*fn)(void *ctx), void *ctx);

/* On the loop thread only. Setting a set timer moves it. `fire` has to be filled in. */
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t at_mono_ms);
/* Only ever earlier: when it is set to fire before, it stays. */
void loop_timer_set_by(struct loop *l, struct loop_timer *t, int64_t at_mono_ms);
void loop_timer_clear(struct loop *l, struct loop_timer *t);
int64_t loop_now_ms(const struct loop *l); /* mono_ms when this turn began */
