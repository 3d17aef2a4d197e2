#include "scheduler/rank/choose.h"

#include "scheduler/rank/filters.h"
#include "scheduler/rank/rows.h"
#include "scheduler/rank/scorers.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

/* Rows scored at a time: the points stay in the first-level cache. */
#define RUN     512
#define REFUSED (-FLT_MAX)
#define LANES   16

static void score_run(const struct fleet *f, const struct resources *size, size_t first,
                      size_t count, float *into)
{
    for (size_t i = 0; i < count; i++)
        into[i] = 0;
    for (size_t s = 0; s < scorer_count; s++)
        scorers[s].score(f, size, first, count, scorers[s].weight, into);
}

/* Takes out the rows that are closed or too small: the filters, but for the excluded ids. */
static void refuse_run(const struct fleet *f, const struct resources *size, size_t first,
                       size_t count, float *into)
{
    const int32_t *open = f->open + first;
    const int32_t *vcpus = f->left[RESOURCE_VCPUS] + first;
    const int32_t *memory = f->left[RESOURCE_MEMORY] + first;
    const int32_t *disk = f->left[RESOURCE_DISK] + first;
    const int32_t need_vcpus = (int32_t)size->vcpus;
    const int32_t need_memory = (int32_t)size->memory_mib;
    const int32_t need_disk = (int32_t)size->disk_gib;

    for (size_t i = 0; i < count; i++) {
        int32_t fits = open[i] & -(vcpus[i] >= need_vcpus) & -(memory[i] >= need_memory) &
                       -(disk[i] >= need_disk);
        into[i] = fits ? into[i] : REFUSED;
    }
}

static void refuse_excluded(const struct fleet *f, const struct choose_request *request,
                            size_t first, size_t count, float *into)
{
    for (size_t i = 0; i < request->excluded_count; i++) {
        size_t row = fleet_find(f, (hypervisor_id){request->excluded[i]});
        if (row != FLEET_NONE && row >= first && row < first + count)
            into[row - first] = REFUSED;
    }
}

/* The most points, in lanes side by side: one running maximum would wait for itself. */
static float best_of_run(const float *points, size_t count)
{
    float lanes[LANES];
    size_t i = 0;

    for (size_t l = 0; l < LANES; l++)
        lanes[l] = REFUSED;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] = points[i + l] > lanes[l] ? points[i + l] : lanes[l];
    for (; i < count; i++)
        lanes[0] = points[i] > lanes[0] ? points[i] : lanes[0];
    for (size_t l = 1; l < LANES; l++)
        lanes[0] = lanes[l] > lanes[0] ? lanes[l] : lanes[0];
    return lanes[0];
}

static void choose_any(const struct fleet *f, const struct choose_request *request,
                       struct choice *ret)
{
    float points[RUN];

    for (size_t first = 0; first < f->count; first += RUN) {
        size_t count = f->count - first < RUN ? f->count - first : RUN;
        score_run(f, &request->size, first, count, points);
        refuse_run(f, &request->size, first, count, points);
        refuse_excluded(f, request, first, count, points);
        float best = best_of_run(points, count);
        if (best == REFUSED || (ret->row != FLEET_NONE && best <= ret->score))
            continue;
        for (size_t i = 0; i < count; i++) {
            if (points[i] == best) {
                ret->row = first + i;
                ret->score = best;
                break;
            }
        }
    }
}

static void choose_pinned(const struct fleet *f, const struct choose_request *request,
                          struct choice *ret)
{
    size_t row = fleet_find(f, request->pinned);

    if (row == FLEET_NONE || filters_find_refusal(f, row, request) != FILTER_COUNT)
        return;
    ret->row = row;
    ret->score = fleet_score(f, row, &request->size);
}

static void count_refusal(const struct fleet *f, size_t row, const struct choose_request *request,
                          struct choice *ret)
{
    enum filter_id refused = filters_find_refusal(f, row, request);

    ret->asked++;
    if (refused < FILTER_COUNT)
        ret->refused[refused]++;
}

void fleet_choose(const struct fleet *f, const struct choose_request *request, struct choice *ret)
{
    *ret = (struct choice){.row = FLEET_NONE};
    if (request->pinned.v)
        choose_pinned(f, request, ret);
    else
        choose_any(f, request, ret);
    if (ret->row != FLEET_NONE)
        return;
    if (request->pinned.v) {
        size_t row = fleet_find(f, request->pinned);
        if (row != FLEET_NONE)
            count_refusal(f, row, request, ret);
        return;
    }
    for (size_t row = 0; row < f->count; row++)
        count_refusal(f, row, request, ret);
}

float fleet_score(const struct fleet *f, size_t row, const struct resources *size)
{
    float points;

    score_run(f, size, row, 1, &points);
    return points;
}

void choice_format_reason(const struct choice *c, char *ret, size_t size)
{
    const char *before = ": ";
    size_t used;

    if (c->asked)
        snprintf(ret, size, "none of %u hypervisors has room", c->asked);
    else
        snprintf(ret, size, "no such hypervisor");
    used = strlen(ret);
    for (enum filter_id i = 0; i < FILTER_COUNT; i++) {
        if (c->refused[i] == 0)
            continue;
        snprintf(ret + used, size - used, "%s%s %u", before, filters[i].name, c->refused[i]);
        used += strlen(ret + used);
        before = ", ";
    }
}
