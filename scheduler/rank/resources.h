/* scheduler/rank/resources.h: what a droplet needs and a hypervisor has. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum resource { RESOURCE_VCPUS, RESOURCE_MEMORY, RESOURCE_DISK, RESOURCE_COUNT };

struct resources {
    uint32_t vcpus, memory_mib, disk_gib;
};

/* What one hypervisor may have at most of each, so that sums stay in an int32_t. */
#define CAPACITY_MAX ((struct resources){1u << 20, 1u << 30, 1u << 30})
/* What one claim may ask at most. */
#define CLAIM_MAX ((struct resources){1u << 12, 1u << 26, 1u << 22})

static inline __attribute__((unused)) uint32_t resources_get(const struct resources *r,
                                                             enum resource which)
{
    switch (which) {
    case RESOURCE_VCPUS:
        return r->vcpus;
    case RESOURCE_MEMORY:
        return r->memory_mib;
    case RESOURCE_DISK:
        return r->disk_gib;
    case RESOURCE_COUNT:
        break;
    }
    return 0;
}

/* Every one of `a` is at most that of `limit`. */
static inline __attribute__((unused)) bool resources_fit(const struct resources *a,
                                                         const struct resources *limit)
{
    return a->vcpus <= limit->vcpus && a->memory_mib <= limit->memory_mib &&
           a->disk_gib <= limit->disk_gib;
}

static inline __attribute__((unused)) bool resources_equal(const struct resources *a,
                                                           const struct resources *b)
{
    return a->vcpus == b->vcpus && a->memory_mib == b->memory_mib && a->disk_gib == b->disk_gib;
}
