/* eventrouter/forward.h: what agents ask of Harpoon, in lists: Attach, Confirm, Report. One call of
 * each kind is under way at a time; what comes meanwhile gathers. An Attach is asked again until it
 * is answered; a Confirm or Report that fails is not answered, and the agent says it again.
 * Threads: any; never blocks the caller. */
#pragma once

#include "eventrouter/sessions.h"
#include "lib/batcher.h"
#include "lib/error.h"
#include "proto/harpoon.pb-c.h"

struct forward;

struct forward_options {
    const char *harpoon; /* addresses */
    struct rpc_tls tls;
    struct sessions *sessions;
    const char *region;
    size_t max_attaches; /* that wait, 1 or more for each session */
    /* Harpoon's answer to an Attach, valid for the call; NULL: it cannot be asked now, and will be
     * asked again. On a thread of this module. */
    void (*on_attached)(void *ctx, struct session *s, uint32_t generation,
                        const Harpoon__Internal__V1__AttachResult *result);
    void *ctx;
};

int forward_start(const struct forward_options *options, struct forward **ret,
                  struct error *err) MUST_CHECK;
/* Asks nothing more. NULL is fine; gives NULL. */
struct forward *forward_stop(struct forward *f);

/* All are copied. A Confirm or Report that finds its queue full is dropped, and counted. */
/* false: too many of this session wait already; this one will not be answered. */
bool forward_attach(struct forward *f, struct session *s, uint32_t generation,
                    const Harpoon__Agent__V1__Attach *attach);
void forward_confirm(struct forward *f, struct session *s, const Harpoon__Agent__V1__Refs *refs);
void forward_reports(struct forward *f, struct session *s,
                     const Harpoon__Agent__V1__Reports *reports);
/* From time to time: asks again what is due, and whether Harpoon is there if nothing else did. */
void forward_tick(struct forward *f, int64_t now_mono_ms);
/* Whether the last call was answered. */
bool forward_reaches_harpoon(struct forward *f, char *why, size_t why_size);

enum forward_kind { FORWARD_ATTACH, FORWARD_CONFIRM, FORWARD_REPORT, FORWARD_KINDS };
const char *forward_kind_name(enum forward_kind kind);
void forward_stats_get(struct forward *f, enum forward_kind kind, struct batcher_stats *ret);
