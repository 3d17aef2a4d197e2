#include "harpoon/api/rate.h"

#define HOUR_MS   INT64_C(3600000)
#define MINUTE_MS INT64_C(60000)

/* A clock that went back begins anew. */
static void slide(struct rate_window *w, int64_t length_ms, int64_t now_ms)
{
    int64_t age_ms = now_ms - w->began_ms;

    if (age_ms >= 0 && age_ms < length_ms)
        return;
    w->previous = age_ms >= length_ms && age_ms < 2 * length_ms ? w->current : 0;
    w->current = 0;
    w->began_ms = w->previous > 0 ? w->began_ms + length_ms : now_ms;
}

/* The part of the previous window that still counts, and the current one. */
static uint32_t count(const struct rate_window *w, int64_t length_ms, int64_t now_ms)
{
    int64_t left_ms = length_ms - (now_ms - w->began_ms);
    return w->current + (uint32_t)((int64_t)w->previous * left_ms / length_ms);
}

static int64_t end_s(const struct rate_window *w, int64_t length_ms)
{
    return (w->began_ms + length_ms + 999) / 1000;
}

static int64_t wait_s(const struct rate_window *w, int64_t length_ms, int64_t now_ms)
{
    int64_t s = end_s(w, length_ms) - now_ms / 1000;
    return s < 1 ? 1 : s;
}

void rate_take(struct rate *r, const struct rate_limits *limits, bool limited, int64_t now_ms,
               struct rate_verdict *ret)
{
    slide(&r->hour, HOUR_MS, now_ms);
    slide(&r->minute, MINUTE_MS, now_ms);
    uint32_t in_hour = count(&r->hour, HOUR_MS, now_ms);
    uint32_t in_minute = count(&r->minute, MINUTE_MS, now_ms);

    *ret = (struct rate_verdict){
        .limit = limits->hour,
        .remaining = limits->hour,
        .reset_s = end_s(&r->hour, HOUR_MS),
    };
    if (!limited)
        return;
    if (in_hour >= limits->hour || in_minute >= limits->minute) {
        ret->refused = true;
        ret->remaining = 0;
        ret->retry_after_s = in_hour >= limits->hour ? wait_s(&r->hour, HOUR_MS, now_ms)
                                                     : wait_s(&r->minute, MINUTE_MS, now_ms);
        return;
    }
    r->hour.current++;
    r->minute.current++;
    ret->remaining = limits->hour - in_hour - 1;
}
