/* harpoon/worker/work.h: a message from a queue, as a job to do. Pure. */
#pragma once

#include "harpoon/event.h"
#include "lib/error.h"
#include "proto/event.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intake_region;

struct work {
    struct work *next, *previous; /* guarded by the intake's lock: the region's unfinished */
    struct work *next_waiting;    /* guarded by the intake's lock: those nobody works on */
    struct intake_region *region;
    unsigned queue; /* index in the region's queues */
    uint64_t tag;   /* to acknowledge it by */
    int64_t published_ms;
    size_t size; /* of the message, bytes */

    Harpoon__Event__V1__Event *message; /* ours */
    struct event row;                   /* as the message tells it; the droplet's part is zero */

    /* What a pipeline found out while it works on it. */
    hypervisor_id target; /* where it is delivered to */
    size_t router;        /* that answered for it */
};

/* Decodes a message taken from a queue of `region`. ERR_INVALID: it cannot be read; *ret_event is
 * the event it is about, when that much is known, else 0. */
int work_decode(const void *bytes, size_t size, const char *region, struct work **ret,
                event_id *ret_event, struct error *err) MUST_CHECK;
struct work *work_free(struct work *w); /* NULL is fine; gives NULL */
