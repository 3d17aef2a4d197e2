/* harpoon/api/rate.h: how many requests a token has made in the last hour and the last minute.
 * Pure: two half-remembered windows each, so that the count slides. The owner locks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rate_window {
    int64_t began_ms; /* of the current window, wall clock */
    uint32_t current, previous;
};

struct rate {
    struct rate_window hour, minute;
};

struct rate_limits {
    uint32_t hour, minute;
};

struct rate_verdict {
    bool refused;
    uint32_t limit, remaining; /* of the hour; a burst too fast has 0 remaining */
    int64_t reset_s;           /* unix: when the oldest counted request expires */
    int64_t retry_after_s;     /* of a refused one */
};

/* Counts one request at `now_ms` (wall clock), unless it is refused. `limited` false: never
 * refused, and all of the limit stays. */
void rate_take(struct rate *r, const struct rate_limits *limits, bool limited, int64_t now_ms,
               struct rate_verdict *ret);
