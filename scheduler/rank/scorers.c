#include "scheduler/rank/scorers.h"

#include "scheduler/rank/rows.h"

/* The sizes whose room is worth keeping, and how much a vCPU of each is worth. */
#define SLOTS(X)                                                                                   \
    X(16, 28672, 1.0f)                                                                             \
    X(8, 14336, 1.0f)                                                                              \
    X(4, 7168, 1.0f)                                                                               \
    X(16, 57344, 1.0f)                                                                             \
    X(8, 28672, 1.0f)

/* What would be left of a resource after the claim, as a share of the capacity. */
static inline float left_share(const struct fleet *f, enum resource r, size_t row, int32_t asked)
{
    return (float)(f->left[r][row] - asked) * f->inverse[r][row];
}

static inline float points_of_load(const struct fleet *f, size_t row, const struct resources *size)
{
    UNUSED(size);
    return f->base[row];
}

/* Best fit: the less is left, the better, so that empty hypervisors stay empty for large ones.
 * Memory counts twice: it runs out later than vCPUs do, but what is left over is worth less. */
static inline float points_of_best_fit(const struct fleet *f, size_t row,
                                       const struct resources *size)
{
    return (left_share(f, RESOURCE_VCPUS, row, (int32_t)size->vcpus) +
            2 * left_share(f, RESOURCE_MEMORY, row, (int32_t)size->memory_mib) +
            left_share(f, RESOURCE_DISK, row, (int32_t)size->disk_gib)) *
           (-1.0f / RESOURCE_COUNT);
}

/* Fragmentation: vCPUs left without memory (or the reverse) can be sold to nobody. */
static inline float points_of_fragmentation(const struct fleet *f, size_t row,
                                            const struct resources *size)
{
    return -__builtin_fabsf(left_share(f, RESOURCE_VCPUS, row, (int32_t)size->vcpus) -
                            left_share(f, RESOURCE_MEMORY, row, (int32_t)size->memory_mib));
}

/* The vCPUs of whole droplets of a size in what is left. The half MiB keeps a product that is
 * rounded down from losing one that fits exactly. */
static inline float slot_vcpus(float vcpus, float memory_mib, float slot, float slot_mib)
{
    float by_vcpus = (float)(int32_t)(vcpus * (1 / slot));
    float by_memory = (float)(int32_t)((memory_mib + 0.5f) * (1 / slot_mib));

    return slot * (by_vcpus < by_memory ? by_vcpus : by_memory);
}

static inline float slots_in(int32_t vcpus, int32_t memory_mib)
{
    float points = 0;

#define ADD(slot, mib, worth)                                                                      \
    points += worth * slot_vcpus((float)vcpus, (float)memory_mib, slot, mib);
    SLOTS(ADD)
#undef ADD
    return points;
}

float slots_score(int32_t vcpus, int32_t memory_mib)
{
    return slots_in(vcpus, memory_mib);
}

/* Slots: what room for whole droplets of the larger sizes is lost, as a share of the capacity. */
static inline float points_of_slots(const struct fleet *f, size_t row, const struct resources *size)
{
    return (slots_in(f->left[RESOURCE_VCPUS][row] - (int32_t)size->vcpus,
                     f->left[RESOURCE_MEMORY][row] - (int32_t)size->memory_mib) -
            f->worth[row]) *
           f->inverse[RESOURCE_VCPUS][row];
}

const struct scorer scorers[SCORER_COUNT] = {
#define ROW(name, weight) [SCORER_##name] = {#name, weight},
    SCORERS(ROW)
#undef ROW
};

static inline float points_of_row(const struct fleet *f, const float *weights,
                                  const struct resources *size, size_t row)
{
    float points = 0;

#define ADD(name, weight) points += weights[SCORER_##name] * points_of_##name(f, row, size);
    SCORERS(ADD)
#undef ADD
    return points;
}

/* The copies stay in registers: a store into `into` cannot change them. */
static inline __attribute__((always_inline)) void
score(const struct fleet *f, const struct resources *size, size_t first, size_t count, float *into)
{
    const struct fleet fleet = *f;
    const struct resources asked = *size;

#pragma GCC ivdep
    for (size_t i = 0; i < count; i++)
        into[i] = points_of_row(&fleet, fleet.weights, &asked, first + i);
#pragma GCC ivdep
    for (size_t i = 0; i < count; i++)
        into[i] = row_fits(&fleet, first + i, &asked) ? into[i] : REFUSED;
}

/* Side by side: one running maximum would wait for itself. */
#define ABREAST 32

static inline __attribute__((always_inline)) float most_of(const float *points, size_t count)
{
    float most[ABREAST];
    size_t i = 0;

    for (size_t k = 0; k < ABREAST; k++)
        most[k] = REFUSED;
    for (; i + ABREAST <= count; i += ABREAST)
        for (size_t k = 0; k < ABREAST; k++)
            most[k] = points[i + k] > most[k] ? points[i + k] : most[k];
    for (; i < count; i++)
        most[0] = points[i] > most[0] ? points[i] : most[0];
    for (size_t k = 1; k < ABREAST; k++)
        most[0] = most[k] > most[0] ? most[k] : most[0];
    return most[0];
}

/* The same instructions on registers of 4, 8 and 16 floats: to the last bit the same points. */
#ifdef __x86_64__
#define WIDE(name) __attribute__((target(name)))
#define CAN(name)  __builtin_cpu_supports(name)
#else
#define WIDE(name)
#define CAN(name) false
#endif

#define FOR_WIDTH(width, attribute)                                                                \
    attribute static void score_##width(const struct fleet *f, const struct resources *size,       \
                                        size_t first, size_t count, float *into)                   \
    {                                                                                              \
        score(f, size, first, count, into);                                                        \
    }                                                                                              \
    attribute static float most_of_##width(const float *points, size_t count)                      \
    {                                                                                              \
        return most_of(points, count);                                                             \
    }

/* clang-format off */
FOR_WIDTH(4, )
FOR_WIDTH(8, WIDE("avx2"))
FOR_WIDTH(16, WIDE("avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512"))
/* clang-format on */

static bool can_16(void)
{
    return CAN("avx512f") && CAN("avx512dq") && CAN("avx512bw") && CAN("avx512vl");
}

void scorers_score(const struct fleet *f, const struct resources *size, size_t first, size_t count,
                   float *into)
{
    (can_16() ? score_16 : CAN("avx2") ? score_8 : score_4)(f, size, first, count, into);
}

float scorers_best(const float *points, size_t count)
{
    return (can_16() ? most_of_16 : CAN("avx2") ? most_of_8 : most_of_4)(points, count);
}

float scorers_score_row(const struct fleet *f, const struct resources *size, size_t row)
{
    return points_of_row(f, f->weights, size, row);
}

float load_score(const struct load *load)
{
    return -(1.0f * load->steal + 0.5f * load->iowait + 0.5f * load->memory_pressure +
             0.1f * load->cpu);
}
