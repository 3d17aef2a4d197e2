#include "lib/backoff.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t next_u64(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15ull);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

uint64_t random_u64(void)
{
    uint64_t v;

    /* 8 bytes come whole; only a signal before the pool is ready can interrupt. */
    while (getrandom(&v, sizeof v, 0) != (ssize_t)sizeof v)
        if (errno != EINTR)
            abort();
    return v;
}

void backoff_init(struct backoff *b, int base_ms, int cap_ms, uint64_t seed)
{
    *b = (struct backoff){
        .base_ms = base_ms > 0 ? base_ms : 1,
        .cap_ms = cap_ms > 0 ? cap_ms : 1,
        .seed = seed != 0 ? seed : random_u64(),
    };
}

void backoff_reset(struct backoff *b)
{
    b->step = 0;
}

int backoff_next_ms(struct backoff *b)
{
    int64_t all = (int64_t)b->base_ms << b->step;

    if (all >= b->cap_ms)
        all = b->cap_ms;
    else if (b->step < 30)
        b->step++;
    int64_t half = all / 2;
    return (int)(half + (int64_t)(next_u64(&b->seed) % (uint64_t)(all - half + 1)));
}

int64_t jitter_ms(int64_t ms, int percent)
{
    int64_t span = ms / 100 * percent + ms % 100 * percent / 100;

    if (span <= 0)
        return ms;
    return ms - span + (int64_t)(random_u64() % ((uint64_t)span * 2 + 1));
}
