/* eventrouter/ticker.h: one thread that does what must be done by the clock. */
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

struct tick {
    int interval_ms;
    /* On the ticker's thread; must not block. */
    void (*fn)(void *ctx, int64_t now_mono_ms);
    void *ctx;
};

struct ticker;

/* The rows are copied; each is called at once, and then every interval. */
int ticker_start(const struct tick *ticks, size_t count, struct ticker **ret,
                 struct error *err) MUST_CHECK;
struct ticker *ticker_stop(struct ticker *t); /* NULL is fine; gives NULL */
