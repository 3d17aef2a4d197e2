/* lib/daemon.h: what every daemon does alike: signals, the admin port, ready or not. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>

struct daemon;

/* One thing a daemon needs to be ready; called at each /readyz on the admin thread, must not block.
 * Returns whether it is fine, and why not in `why`. */
struct daemon_check {
    const char *name; /* "mysql", "leader" */
    bool (*ready)(void *ctx, char *why, size_t why_size);
    void *ctx;
};

/* Blocks SIGTERM and SIGINT for this and all later threads, ignores SIGPIPE; call first in main().
 */
void daemon_block_signals(void);
/* Serves GET /metrics, /livez and /readyz (?verbose) on `address` ("127.0.0.1:9001"). The checks
 * are copied. */
int daemon_start(const char *address, const struct daemon_check *checks, size_t count,
                 struct daemon **ret, struct error *err) MUST_CHECK;
/* Waits for SIGTERM or SIGINT; returns which. */
int daemon_wait(void);
/* /readyz answers 503 from now on: the daemon is about to stop. */
void daemon_set_stopping(struct daemon *d);
struct daemon *daemon_stop(struct daemon *d); /* NULL is fine; gives NULL */
