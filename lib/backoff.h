/* lib/backoff.h: exponential, capped, with full jitter. Pure but for the random state inside. */
#pragma once

#include <stdint.h>

struct backoff {
    int base_ms, cap_ms;
    int step;
    uint64_t seed;
};

void backoff_init(struct backoff *b, int base_ms, int cap_ms, uint64_t seed); /* seed 0: random */
void backoff_reset(struct backoff *b);
/* The next pause: between half of and all of base * 2^step, capped. */
int backoff_next_ms(struct backoff *b);
/* `ms` give or take `percent` %. */
int64_t jitter_ms(int64_t ms, int percent);
/* 64 random bits (getrandom). */
uint64_t random_u64(void);
