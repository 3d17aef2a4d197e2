#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void report_value(const struct report *r, const char *name, double value, const char *unit)
{
    printf("{\"bench\":\"%s\",\"name\":\"%s\",", r->bench, name);
    if (r->hypervisors)
        printf("\"hypervisors\":%" PRIu64 ",", r->hypervisors);
    printf("\"value\":%.10g,\"unit\":\"%s\"}\n", value, unit);
    fflush(stdout);
}

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

uint32_t samples_at(uint32_t *samples, size_t count, uint32_t permille)
{
    qsort(samples, count, sizeof(*samples), compare);
    return samples[(count - 1) * permille / 1000];
}

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t random_below(uint64_t *state, uint32_t below)
{
    return (uint32_t)((random_next(state) >> 32) * below >> 32);
}
