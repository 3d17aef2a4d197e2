/* harpoon/worker/courier.h: hands jobs to a region's routers: to the first in line for their
 * hypervisor, then to the second for those that are not connected there. Calls to different routers
 * go out together. Threads: any; blocks for at most the times given in courier.c. */
#pragma once

#include "harpoon/event.h"
#include "harpoon/worker/regions.h"
#include "lib/error.h"
#include "lib/rpc/rpc.h"
#include "proto/job.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

struct courier;

int courier_new(const struct region_routers *region, const struct rpc_tls *tls,
                struct courier **ret, struct error *err) MUST_CHECK;
struct courier *courier_free(struct courier *c); /* NULL is fine; gives NULL */

enum delivery_outcome {
    DELIVERY_UNREACHED, /* neither of its routers could be asked */
    DELIVERY_ACCEPTED,  /* in the journal, or finished there before */
    DELIVERY_REFUSED,
    DELIVERY_NOT_CONNECTED,
    DELIVERY_NO_ANSWER, /* it may be in the journal */
    DELIVERY_BUSY,
};
struct delivery {
    hypervisor_id hypervisor;   /* in */
    Harpoon__Job__V1__Job *job; /* in; borrowed */
    enum delivery_outcome outcome;
    size_t router;       /* that gave this outcome */
    struct uuid journal; /* of the session that answered */
    bool closed;         /* of a refusal: durable in that journal */
    char reason[64];     /* of a refusal: a word */
};
/* Fills each outcome. */
void courier_deliver(struct courier *c, struct delivery *deliveries, size_t count);
/* True: none of the region's routers could be asked when it was last tried. */
bool courier_is_away(const struct courier *c);

/* One Start or Drop, to the session of that journal only. */
struct courier_ref {
    hypervisor_id hypervisor;
    struct uuid journal;
    event_id event;
    unsigned attempt;
    size_t router; /* where it was delivered; COURIER_ANY: not known, first and second are tried */
    bool sent;     /* out: handed to the session; the agent's report is the proof */
};
#define COURIER_ANY ((size_t)-1)
void courier_begin(struct courier *c, struct courier_ref *refs, size_t count);
void courier_forget(struct courier *c, struct courier_ref *refs, size_t count);
