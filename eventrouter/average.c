#include "eventrouter/average.h"

#define PERMILLE_MAX 1000
#define NETWORK_MAX  (UINT64_C(1) << 48) /* bytes/s: sums stay far from their end */
#define COUNT_MAX    10000               /* samples of one batch that are counted */

static uint64_t at_most(uint64_t v, uint64_t most)
{
    return v < most ? v : most;
}

void average_set_capacity(struct average *a, const Harpoon__Agent__V1__Capacity *capacity)
{
    if (capacity)
        a->capacity = (struct capacity){capacity->vcpus, capacity->memory_mib, capacity->disk_gib};
}

void average_add(struct average *a, const Harpoon__Agent__V1__Sample *s)
{
    average_set_capacity(a, s->capacity);
    a->at_unix_ms = s->at_unix_ms;
    a->creates_in_flight = s->creates_in_flight;
    a->domains = s->domains;
    if (a->count >= COUNT_MAX)
        return;
    a->count++;
    a->cpu += at_most(s->cpu_permille, PERMILLE_MAX);
    a->steal += at_most(s->steal_permille, PERMILLE_MAX);
    a->iowait += at_most(s->iowait_permille, PERMILLE_MAX);
    a->memory_pressure += at_most(s->memory_pressure_permille, PERMILLE_MAX);
    a->network += at_most(s->network_bytes_per_s, NETWORK_MAX);
}

struct average_result average_take(struct average *a)
{
    uint32_t n = a->count ? a->count : 1;
    struct average_result r = {
        .count = a->count,
        .cpu_permille = (uint32_t)((a->cpu + n / 2) / n),
        .steal_permille = (uint32_t)((a->steal + n / 2) / n),
        .iowait_permille = (uint32_t)((a->iowait + n / 2) / n),
        .memory_pressure_permille = (uint32_t)((a->memory_pressure + n / 2) / n),
        .network_bytes_per_s = a->network / n,
        .at_unix_ms = a->at_unix_ms,
        .creates_in_flight = a->creates_in_flight,
        .domains = a->domains,
        .capacity = a->capacity,
    };

    a->count = 0;
    a->cpu = a->steal = a->iowait = a->memory_pressure = a->network = 0;
    return r;
}
