/* hypervisor-agent/session.h: one hypervisor's stream to its router: where to connect, attaching,
 * being sent elsewhere, connecting again. Loop thread. */
#pragma once

#include "hypervisor-agent/loop.h"
#include "lib/backoff.h"
#include "proto/agent.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hypervisor;
struct link;

struct session {
    struct link *link;         /* the stream, NULL: none */
    bool attaching;            /* no answer to Attach yet */
    struct loop_timer timer;   /* to connect, or to give up waiting */
    struct loop_timer sampler; /* the next sample */
    struct loop_timer teller;  /* a sample out of turn: creates in flight have changed */
    size_t creates_told;       /* in the last sample; SIZE_MAX: this router knows none */
    int64_t told_ms;           /* mono */
    uint16_t *order;           /* routers, the owner first; index into the setup's */
    size_t tried;              /* routers that failed since the last success */
    char *redirect;            /* owned: go there first; NULL: nowhere in particular */
    unsigned hops;             /* redirects followed since the last answer of another kind */
    int64_t sample_interval_ms;
    int64_t listed_ms; /* mono: domains were listed */
    struct backoff backoff;
};

/* Before the loop runs; session_fini frees what it made. */
int session_init(struct hypervisor *hv, struct error *err) MUST_CHECK;
/* Begins to connect, spread over as long as the fleet needs. */
void session_start(struct hypervisor *hv);
void session_stop(struct hypervisor *hv);
void session_fini(struct hypervisor *hv);
/* Cuts the stream and attaches anew on another, in `in_ms`. */
void session_renew(struct hypervisor *hv, int64_t in_ms);
/* Is there a stream that has been answered? */
bool session_is_attached(const struct hypervisor *hv);
/* ERR_BUSY: the stream's queue is full. ERR_UNAVAILABLE: no stream. */
int session_send(struct hypervisor *hv, const Harpoon__Agent__V1__FromAgent *message,
                 struct error *err) MUST_CHECK;
/* The book's creates may have changed: the router hears of it soon. */
void session_tell_creates(struct hypervisor *hv);
/* From the link. */
void session_on_message(struct hypervisor *hv, const Harpoon__Agent__V1__ToAgent *message);
void session_on_close(struct hypervisor *hv, const struct error *why);
