#include "scheduler/requests.h"

#include "lib/memory.h"
#include "scheduler/rank/resources.h"

#include <inttypes.h>

#define ID_MAX (UINT64_C(1) << 53) /* ids are below it */

static int check_id(uint64_t id, const char *field, size_t i, struct error *err)
{
    if (id > 0 && id < ID_MAX)
        return 0;
    return error_set(err, ERR_INVALID, "items[%zu].%s: %" PRIu64 " is not a number from 1 to 2^53",
                     i, field, id);
}

static int check_attempt(uint32_t attempt, size_t i, struct error *err)
{
    if (attempt >= 1 && attempt <= ATTEMPT_MAX)
        return 0;
    return error_set(err, ERR_INVALID, "items[%zu].attempt: %u is not from 1 to %d", i, attempt,
                     ATTEMPT_MAX);
}

static int check_count(size_t count, struct error *err)
{
    if (count <= ITEMS_MAX)
        return 0;
    return error_set(err, ERR_INVALID, "items: %zu, at most %d", count, ITEMS_MAX);
}

static int check_amount(uint32_t amount, uint32_t most, const char *field, size_t i,
                        struct error *err)
{
    if (amount >= 1 && amount <= most)
        return 0;
    return error_set(err, ERR_INVALID, "items[%zu].size.%s: %u is not from 1 to %u", i, field,
                     amount, most);
}

static int check_size(const Harpoon__Scheduler__V1__Resources *size, size_t i, struct error *err)
{
    int r;

    if (!size)
        return error_set(err, ERR_INVALID, "items[%zu].size: missing", i);
    r = check_amount(size->vcpus, CLAIM_MAX.vcpus, "vcpus", i, err);
    if (r == 0)
        r = check_amount(size->memory_mib, CLAIM_MAX.memory_mib, "memory_mib", i, err);
    if (r == 0)
        r = check_amount(size->disk_gib, CLAIM_MAX.disk_gib, "disk_gib", i, err);
    return r;
}

static int check_place_item(const Harpoon__Scheduler__V1__PlaceItem *item, size_t i,
                            struct error *err)
{
    int r = check_id(item->event_id, "event_id", i, err);

    if (r == 0)
        r = check_attempt(item->attempt, i, err);
    if (r == 0)
        r = check_id(item->droplet_id, "droplet_id", i, err);
    if (r == 0)
        r = check_size(item->size, i, err);
    if (r == 0 && item->n_excluded_hypervisor_ids > EXCLUDED_MAX)
        r = error_set(err, ERR_INVALID, "items[%zu].excluded_hypervisor_ids: %zu, at most %d", i,
                      item->n_excluded_hypervisor_ids, EXCLUDED_MAX);
    return r;
}

struct key {
    uint64_t event;
    uint32_t attempt;
    size_t item;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;

    if (x->event != y->event)
        return x->event < y->event ? -1 : 1;
    if (x->attempt != y->attempt)
        return x->attempt < y->attempt ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static int check_unique(const Harpoon__Scheduler__V1__PlaceRequest *q, struct error *err)
{
    struct key *keys = must_calloc(q->n_items, sizeof(*keys));
    int r = 0;

    for (size_t i = 0; i < q->n_items; i++)
        keys[i] = (struct key){q->items[i]->event_id, q->items[i]->attempt, i};
    qsort(keys, q->n_items, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < q->n_items && r == 0; i++)
        if (keys[i].event == keys[i - 1].event && keys[i].attempt == keys[i - 1].attempt)
            r = error_set(err, ERR_INVALID,
                          "items[%zu].event_id: %" PRIu64 " with attempt %u is items[%zu], too",
                          keys[i].item, keys[i].event, keys[i].attempt, keys[i - 1].item);
    free(keys);
    return r;
}

int place_request_check(const Harpoon__Scheduler__V1__PlaceRequest *q, struct error *err)
{
    int r = check_count(q->n_items, err);

    for (size_t i = 0; i < q->n_items && r == 0; i++)
        r = check_place_item(q->items[i], i, err);
    return r == 0 ? check_unique(q, err) : r;
}

int release_request_check(const Harpoon__Scheduler__V1__ReleaseRequest *q, struct error *err)
{
    int r = check_count(q->n_items, err);

    for (size_t i = 0; i < q->n_items && r == 0; i++) {
        const Harpoon__Scheduler__V1__ReleaseItem *item = q->items[i];
        if (item->event_id == 0) {
            r = check_id(item->droplet_id, "droplet_id", i, err);
            continue;
        }
        r = check_id(item->event_id, "event_id", i, err);
        if (r == 0)
            r = check_attempt(item->attempt, i, err);
    }
    return r;
}

int observe_request_check(const Harpoon__Scheduler__V1__ObserveRequest *q, struct error *err)
{
    if (q->n_hypervisors > OBSERVED_MAX)
        return error_set(err, ERR_INVALID, "hypervisors: %zu, at most %d", q->n_hypervisors,
                         OBSERVED_MAX);
    return 0;
}

int set_status_request_check(const Harpoon__Scheduler__V1__SetStatusRequest *q, struct error *err)
{
    switch (q->status) {
    case HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_UP:
    case HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_DRAINED:
    case HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_FENCED:
        break;
    default: /* new is where a hypervisor begins; other numbers come from the wire */
        return error_set(err, ERR_INVALID, "status: %d is not up, drained or fenced", q->status);
    }
    if (q->n_hypervisor_ids > OBSERVED_MAX)
        return error_set(err, ERR_INVALID, "hypervisor_ids: %zu, at most %d", q->n_hypervisor_ids,
                         OBSERVED_MAX);
    if (q->all_new == (q->n_hypervisor_ids > 0))
        return error_set(err, ERR_INVALID, "hypervisor_ids: either these or all_new");
    return 0;
}
