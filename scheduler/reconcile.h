/* scheduler/reconcile.h: claims that nobody wants any more end here. One thread walks the claims of
 * the regions led, at most a thousand a second, asks Harpoon about those older than a minute, and
 * releases only what Harpoon says is not wanted. No answer releases nothing. */
#pragma once

#include "lib/rpc/rpc.h"
#include "scheduler/flush.h"
#include "scheduler/region.h"

struct reconciler;

struct reconciler_options {
    struct regions *regions; /* borrowed for its life, as the flusher */
    struct flusher *flusher;
    const char *harpoon; /* addresses of workers, comma separated */
    const struct rpc_tls *tls;
    int64_t after_ms; /* claims younger than this are left alone */
};

int reconciler_start(const struct reconciler_options *options, struct reconciler **ret,
                     struct error *err) MUST_CHECK;
/* Ends the thread, before the flusher; waits for an answer that is under way (2 s at most). NULL is
 * fine; gives NULL. */
struct reconciler *reconciler_stop(struct reconciler *r);
