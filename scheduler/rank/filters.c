#include "scheduler/rank/filters.h"

#include "scheduler/rank/rows.h"

static bool is_not_up(const struct fleet *f, size_t row, const struct choose_request *request)
{
    UNUSED(request);
    return f->status[row] != HYPERVISOR_UP;
}

static bool is_not_connected(const struct fleet *f, size_t row,
                             const struct choose_request *request)
{
    UNUSED(request);
    return !f->session[row];
}

static bool is_not_compared(const struct fleet *f, size_t row, const struct choose_request *request)
{
    UNUSED(request);
    return !f->compared[row];
}

static bool is_excluded(const struct fleet *f, size_t row, const struct choose_request *request)
{
    for (size_t i = 0; i < request->excluded_count; i++)
        if (request->excluded[i] == f->id[row])
            return true;
    return false;
}

static bool is_creating(const struct fleet *f, size_t row, const struct choose_request *request)
{
    UNUSED(request);
    return f->max_creates > 0 && f->creates_sampled[row] + f->creates_since[row] >= f->max_creates;
}

static bool lacks(const struct fleet *f, size_t row, const struct choose_request *request,
                  enum resource r)
{
    return f->left[r][row] < (int32_t)resources_get(&request->size, r);
}

static bool lacks_vcpus(const struct fleet *f, size_t row, const struct choose_request *request)
{
    return lacks(f, row, request, RESOURCE_VCPUS);
}

static bool lacks_memory(const struct fleet *f, size_t row, const struct choose_request *request)
{
    return lacks(f, row, request, RESOURCE_MEMORY);
}

static bool lacks_disk(const struct fleet *f, size_t row, const struct choose_request *request)
{
    return lacks(f, row, request, RESOURCE_DISK);
}

const struct filter filters[FILTER_COUNT] = {
    [FILTER_STATUS] = {"not approved or not in service", is_not_up},
    [FILTER_SESSION] = {"not connected", is_not_connected},
    [FILTER_JOURNAL] = {"journal not compared", is_not_compared},
    [FILTER_EXCLUDED] = {"tried before", is_excluded},
    [FILTER_CREATES] = {"too many creates in flight", is_creating},
    [FILTER_VCPUS] = {"vcpus", lacks_vcpus},
    [FILTER_MEMORY] = {"memory", lacks_memory},
    [FILTER_DISK] = {"disk", lacks_disk},
};

enum filter_id filters_find_refusal(const struct fleet *f, size_t row,
                                    const struct choose_request *request)
{
    enum filter_id i = 0;

    while (i < FILTER_COUNT && !filters[i].refuses(f, row, request))
        i++;
    return i;
}
