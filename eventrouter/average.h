/* eventrouter/average.h: a hypervisor's samples between two batches to the schedulers. Pure. */
#pragma once

#include "proto/agent.pb-c.h"

#include <stdint.h>

struct capacity {
    uint32_t vcpus, memory_mib, disk_gib;
};

struct average {
    uint32_t count;                               /* samples since the last average_take */
    uint64_t cpu, steal, iowait, memory_pressure; /* sums, permille */
    uint64_t network;                             /* sum, bytes/s */
    /* as last said */
    int64_t at_unix_ms;
    uint32_t creates_in_flight, domains;
    struct capacity capacity;
};

struct average_result {
    uint32_t count; /* 0: none, and the rest is without meaning but for the capacity */
    uint32_t cpu_permille, steal_permille, iowait_permille, memory_pressure_permille;
    uint64_t network_bytes_per_s;
    int64_t at_unix_ms;
    uint32_t creates_in_flight, domains;
    struct capacity capacity;
};

void average_set_capacity(struct average *a, const Harpoon__Agent__V1__Capacity *capacity);
/* A permille above 1,000 counts as 1,000. A sample without capacity leaves the known one. */
void average_add(struct average *a, const Harpoon__Agent__V1__Sample *sample);
/* Means of the loads, the last of the counts; begins anew. */
struct average_result average_take(struct average *a);
