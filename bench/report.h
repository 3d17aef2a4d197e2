/* bench/report.h: figures on stdout, one JSON object a line, and the clock they are taken by. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct report {
    const char *bench;
    uint64_t hypervisors; /* told in every line; 0: not */
};

void report_value(const struct report *r, const char *name, double value, const char *unit);

/* Monotonic. */
uint64_t now_ns(void);
/* What this thread has computed: others on the machine do not count. */
uint64_t cpu_ns(void);

/* Sorts `samples`; the `permille`-th of them. */
uint32_t samples_at(uint32_t *samples, size_t count, uint32_t permille);

/* splitmix64: the same numbers on every machine. */
uint64_t random_next(uint64_t *state);
uint32_t random_below(uint64_t *state, uint32_t below);
