#include "scheduler/rank/choose.h"

#include "scheduler/rank/filters.h"
#include "scheduler/rank/lanes.h"
#include "scheduler/rank/rows.h"
#include "scheduler/rank/scorers.h"

#include <stdio.h>
#include <string.h>

/* Rows scored at a time: the points stay in the first-level cache. */
#define RUN 512

static void refuse_excluded(const struct fleet *f, const struct choose_request *request,
                            size_t first, size_t count, float *into)
{
    for (size_t i = 0; i < request->excluded_count; i++) {
        size_t row = fleet_find(f, (hypervisor_id){request->excluded[i]});
        if (row != FLEET_NONE && row >= first && row < first + count)
            into[row - first] = REFUSED;
    }
}

static void choose_any(const struct fleet *f, const struct choose_request *request,
                       struct choice *ret)
{
    float points[RUN];

    for (size_t first = 0; first < f->count; first += RUN) {
        size_t count = f->count - first < RUN ? f->count - first : RUN;
        scorers_score(f, &request->size, first, count, points);
        refuse_excluded(f, request, first, count, points);
        float best = scorers_best(points, count);
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

static void count_refusal(const struct fleet *f, size_t row, const struct choose_request *request,
                          struct choice *ret)
{
    enum filter_id by = request->excluded_count ? filters_find_refusal(f, row, request)
                                                : row_refusal(f, row, &request->size);

    ret->asked++;
    if (by < FILTER_COUNT)
        ret->refused[by]++;
}

static void choose_pinned(const struct fleet *f, const struct choose_request *request,
                          struct choice *ret)
{
    size_t row = fleet_find(f, request->pinned);

    *ret = (struct choice){.row = FLEET_NONE};
    if (row == FLEET_NONE)
        return;
    if (filters_find_refusal(f, row, request) != FILTER_COUNT) {
        count_refusal(f, row, request, ret);
        return;
    }
    ret->row = row;
    ret->score = fleet_score(f, row, &request->size);
}

void fleet_scan(const struct fleet *f, const struct choose_request *request, struct choice *ret)
{
    *ret = (struct choice){.row = FLEET_NONE};
    choose_any(f, request, ret);
    for (size_t row = 0; ret->row == FLEET_NONE && row < f->count; row++)
        count_refusal(f, row, request, ret);
}

static bool is_excluded(const struct fleet *f, size_t row, const struct choose_request *request)
{
    return row != FLEET_NONE && filters[FILTER_EXCLUDED].refuses(f, row, request);
}

void fleet_choose(const struct fleet *f, const struct choose_request *request, struct choice *ret)
{
    const struct lane *lane;

    if (request->pinned.v) {
        choose_pinned(f, request, ret);
        return;
    }
    lane = lanes_find(f->lanes, f, &request->size);
    if (lane)
        lane_choose(lane, ret);
    /* A lane knows no exclusions: if they matter, look at all. */
    if (!lane || is_excluded(f, ret->row, request) ||
        (ret->row == FLEET_NONE && request->excluded_count))
        fleet_scan(f, request, ret);
}

float fleet_score(const struct fleet *f, size_t row, const struct resources *size)
{
    return scorers_score_row(f, size, row);
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
