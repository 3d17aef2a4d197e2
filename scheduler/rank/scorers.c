#include "scheduler/rank/scorers.h"

#include "scheduler/rank/rows.h"

/* What would be left of a resource after the claim, as a share of the capacity. */
static inline float left_share(const struct fleet *f, enum resource r, size_t row, int32_t asked)
{
    return (float)(f->left[r][row] - asked) * f->inverse[r][row];
}

static void score_load(const struct fleet *f, const struct resources *size, size_t first,
                       size_t count, float weight, float *into)
{
    const float *base = f->base + first;

    UNUSED(size);
    for (size_t i = 0; i < count; i++)
        into[i] += weight * base[i];
}

/* Best fit: the less is left, the better, so that empty hypervisors stay empty for large ones. */
static void score_best_fit(const struct fleet *f, const struct resources *size, size_t first,
                           size_t count, float weight, float *into)
{
    const float each = weight / RESOURCE_COUNT;
    const int32_t vcpus = (int32_t)size->vcpus;
    const int32_t memory = (int32_t)size->memory_mib;
    const int32_t disk = (int32_t)size->disk_gib;

    for (size_t i = 0; i < count; i++)
        into[i] -= each * (left_share(f, RESOURCE_VCPUS, first + i, vcpus) +
                           left_share(f, RESOURCE_MEMORY, first + i, memory) +
                           left_share(f, RESOURCE_DISK, first + i, disk));
}

/* Fragmentation: vCPUs left without memory (or the reverse) can be sold to nobody. */
static void score_fragmentation(const struct fleet *f, const struct resources *size, size_t first,
                                size_t count, float weight, float *into)
{
    const int32_t vcpus = (int32_t)size->vcpus;
    const int32_t memory = (int32_t)size->memory_mib;

    for (size_t i = 0; i < count; i++) {
        float lopsided = left_share(f, RESOURCE_VCPUS, first + i, vcpus) -
                         left_share(f, RESOURCE_MEMORY, first + i, memory);
        into[i] -= weight * __builtin_fabsf(lopsided);
    }
}

const struct scorer scorers[] = {
    {"load", 1.0f, score_load},
    {"best_fit", 1.0f, score_best_fit},
    {"fragmentation", 0.5f, score_fragmentation},
};
const size_t scorer_count = ARRAY_LEN(scorers);

float load_score(const struct load *load)
{
    return -(1.0f * load->steal + 0.5f * load->iowait + 0.5f * load->memory_pressure +
             0.1f * load->cpu);
}
