#include "scheduler/rank/fleet.h"

#include "lib/memory.h"
#include "scheduler/rank/lanes.h"
#include "scheduler/rank/rows.h"
#include "scheduler/rank/scorers.h"

#define uthash_fatal(message) abort()
#include <assert.h>
#include <string.h>
#include <uthash.h>

struct fleet_slot {
    uint64_t id;
    size_t row;
    UT_hash_handle hh;
};

struct fleet *fleet_new(uint32_t max_creates)
{
    struct fleet *f = must_calloc(1, sizeof(*f));

    f->claims = claims_new();
    f->max_creates = max_creates;
    f->changes = must_calloc(CHANGES_KEPT, sizeof(*f->changes));
    f->lanes = lanes_new();
    for (enum scorer_id s = 0; s < SCORER_COUNT; s++)
        f->weights[s] = scorers[s].weight;
    return f;
}

/* Every array of the fleet with the size of its elements. */
static size_t arrays_list(struct fleet *f, void **lists[], size_t sizes[])
{
    size_t n = 0;
#define ARRAY(field) (lists[n] = (void **)&f->field, sizes[n++] = sizeof(*f->field))
    ARRAY(id);
    ARRAY(status);
    ARRAY(session);
    ARRAY(compared);
    ARRAY(claim_count);
    ARRAY(creates_sampled);
    ARRAY(creates_since);
    ARRAY(slot);
    ARRAY(since_slot);
    ARRAY(taken_now);
    ARRAY(taken_before);
    ARRAY(journal);
    ARRAY(open);
    ARRAY(closed_by);
    ARRAY(base);
    ARRAY(worth);
    ARRAY(changed_at);
    for (int r = 0; r < RESOURCE_COUNT; r++) {
        ARRAY(capacity[r]);
        ARRAY(claimed[r]);
        ARRAY(left[r]);
        ARRAY(inverse[r]);
    }
#undef ARRAY
    return n;
}
#define ARRAYS_MAX 32

struct fleet *fleet_free(struct fleet *f)
{
    void **lists[ARRAYS_MAX];
    size_t sizes[ARRAYS_MAX];
    struct fleet_slot *slot, *next;

    if (!f)
        return NULL;
    HASH_ITER(hh, f->by_id, slot, next)
    {
        HASH_DEL(f->by_id, slot);
        free(slot);
    }
    for (size_t n = arrays_list(f, lists, sizes); n > 0; n--)
        free(*lists[n - 1]);
    claims_free(f->claims);
    lanes_free(f->lanes);
    free(f->changes);
    free(f);
    return NULL;
}

static void fleet_grow(struct fleet *f)
{
    void **lists[ARRAYS_MAX];
    size_t sizes[ARRAYS_MAX];
    size_t size = f->size ? f->size * 2 : 64;
    size_t n = arrays_list(f, lists, sizes);

    assert(n <= ARRAYS_MAX);
    for (size_t i = 0; i < n; i++) {
        *lists[i] = must_resize(*lists[i], size, sizes[i]);
        memset((char *)*lists[i] + f->size * sizes[i], 0, (size - f->size) * sizes[i]);
    }
    f->size = size;
}

static bool row_over_claimed(const struct fleet *f, size_t row)
{
    for (int r = 0; r < RESOURCE_COUNT; r++)
        if (f->claimed[r][row] > f->capacity[r][row])
            return true;
    return false;
}

static void row_count(struct fleet *f, size_t row, int by)
{
    f->by_status[f->status[row]] += by;
    if (f->status[row] == HYPERVISOR_UP && !f->session[row])
        f->up_dark += by;
    if (row_over_claimed(f, row))
        f->over_claimed += by;
}

/* Every change of a row happens between these two. */
static void row_begin_change(struct fleet *f, size_t row)
{
    row_count(f, row, -1);
}

static enum filter_id row_closed_by(const struct fleet *f, size_t row)
{
    if (f->status[row] != HYPERVISOR_UP)
        return FILTER_STATUS;
    if (!f->session[row])
        return FILTER_SESSION;
    if (!f->compared[row])
        return FILTER_JOURNAL;
    if (f->max_creates > 0 && f->creates_sampled[row] + f->creates_since[row] >= f->max_creates)
        return FILTER_CREATES;
    return FILTER_COUNT;
}

static void row_end_change(struct fleet *f, size_t row)
{
    for (int r = 0; r < RESOURCE_COUNT; r++) {
        int32_t left = f->capacity[r][row] - f->claimed[r][row];
        f->left[r][row] = left > 0 ? left : 0;
    }
    f->worth[row] = slots_score(f->left[RESOURCE_VCPUS][row], f->left[RESOURCE_MEMORY][row]);
    f->closed_by[row] = (uint8_t)row_closed_by(f, row);
    f->open[row] = f->closed_by[row] == FILTER_COUNT ? -1 : 0;
    row_count(f, row, +1);
    f->revision++;
    f->changed_at[row] = f->revision;
    f->changes[f->revision % CHANGES_KEPT] = (uint32_t)row;
}

static void row_set_capacity(struct fleet *f, size_t row, const struct resources *capacity)
{
    for (enum resource r = 0; r < RESOURCE_COUNT; r++) {
        uint32_t most = resources_get(&CAPACITY_MAX, r);
        uint32_t has = resources_get(capacity, r);
        f->capacity[r][row] = (int32_t)(has < most ? has : most);
        f->inverse[r][row] = has > 0 ? 1.0f / (float)f->capacity[r][row] : 0;
    }
}

size_t fleet_add(struct fleet *f, const struct hypervisor *h)
{
    struct fleet_slot *slot = must_calloc(1, sizeof(*slot));
    size_t row = f->count;

    assert(fleet_find(f, h->id) == FLEET_NONE);
    if (f->count == f->size)
        fleet_grow(f);
    f->count++;
    slot->id = h->id.v;
    slot->row = row;
    HASH_ADD(hh, f->by_id, id, sizeof(slot->id), slot);
    f->id[row] = h->id.v;
    f->status[row] = (uint8_t)h->status;
    f->journal[row] = h->journal;
    row_set_capacity(f, row, &h->capacity);
    row_end_change(f, row);
    return row;
}

size_t fleet_find(const struct fleet *f, hypervisor_id id)
{
    struct fleet_slot *slot = NULL;

    HASH_FIND(hh, f->by_id, &id.v, sizeof(id.v), slot);
    return slot ? slot->row : FLEET_NONE;
}

size_t fleet_size(const struct fleet *f)
{
    return f->count;
}

void fleet_view_get(const struct fleet *f, size_t row, struct fleet_view *ret)
{
    *ret = (struct fleet_view){
        .hypervisor = {.id = {f->id[row]},
                       .status = f->status[row],
                       .journal = f->journal[row],
                       .capacity = {(uint32_t)f->capacity[RESOURCE_VCPUS][row],
                                    (uint32_t)f->capacity[RESOURCE_MEMORY][row],
                                    (uint32_t)f->capacity[RESOURCE_DISK][row]}},
        .claimed = {(uint32_t)f->claimed[RESOURCE_VCPUS][row],
                    (uint32_t)f->claimed[RESOURCE_MEMORY][row],
                    (uint32_t)f->claimed[RESOURCE_DISK][row]},
        .claims = f->claim_count[row],
        .session = f->session[row],
        .compared = f->compared[row],
        .creates_in_flight = f->creates_sampled[row] + f->creates_since[row],
    };
}

void fleet_counts_get(const struct fleet *f, struct fleet_counts *ret)
{
    *ret = (struct fleet_counts){.hypervisors = f->count,
                                 .claims = claims_count(f->claims),
                                 .up_dark = f->up_dark,
                                 .over_claimed = f->over_claimed};
    memcpy(ret->by_status, f->by_status, sizeof(ret->by_status));
}

uint32_t fleet_dark_permille(const struct fleet *f)
{
    size_t up = f->by_status[HYPERVISOR_UP];

    return up > 0 ? (uint32_t)(f->up_dark * 1000 / up) : 0;
}

uint64_t fleet_revision(const struct fleet *f)
{
    return f->revision;
}

void fleet_set_status(struct fleet *f, size_t row, enum hypervisor_status status)
{
    row_begin_change(f, row);
    f->status[row] = (uint8_t)status;
    row_end_change(f, row);
}

void fleet_set_capacity(struct fleet *f, size_t row, const struct resources *capacity)
{
    row_begin_change(f, row);
    row_set_capacity(f, row, capacity);
    row_end_change(f, row);
}

void fleet_set_journal(struct fleet *f, size_t row, const struct uuid *journal)
{
    f->journal[row] = *journal;
}

void fleet_set_session(struct fleet *f, size_t row, bool session, bool compared)
{
    if (f->session[row] == session && f->compared[row] == compared)
        return;
    row_begin_change(f, row);
    f->session[row] = session;
    f->compared[row] = compared;
    row_end_change(f, row);
}

/* ---- creates that no sample can show yet ---- */

/* From 1 on. */
static uint64_t slot_of(int64_t unix_ms)
{
    return unix_ms > 0 ? (uint64_t)(unix_ms / CREATES_LAG_MS) + 1 : 1;
}

/* Time moves on. Should the clock be set back, counting begins anew. */
static void slots_advance(struct fleet *f, size_t row, uint64_t slot)
{
    if (slot == f->slot[row])
        return;
    f->taken_before[row] = slot == f->slot[row] + 1 ? f->taken_now[row] : 0;
    f->taken_now[row] = 0;
    f->slot[row] = slot;
}

static void creates_sampled(struct fleet *f, size_t row, int64_t now_unix_ms)
{
    uint64_t slot = slot_of(now_unix_ms);

    slots_advance(f, row, slot);
    f->creates_since[row] = f->taken_now[row] + f->taken_before[row];
    f->since_slot[row] = slot > 1 ? slot - 1 : 1;
}

static void creates_count(struct fleet *f, size_t row, struct claim_node *n)
{
    n->slot = slot_of(n->claim.at_unix_ms);
    slots_advance(f, row, n->slot);
    f->taken_now[row]++;
    f->creates_since[row]++;
}

static void creates_uncount(struct fleet *f, size_t row, const struct claim_node *n)
{
    if (n->slot == 0)
        return;
    if (n->slot >= f->since_slot[row] && f->creates_since[row] > 0)
        f->creates_since[row]--;
    if (n->slot == f->slot[row] && f->taken_now[row] > 0)
        f->taken_now[row]--;
    if (n->slot + 1 == f->slot[row] && f->taken_before[row] > 0)
        f->taken_before[row]--;
}

void fleet_set_load(struct fleet *f, size_t row, const struct load *load, int64_t now_unix_ms)
{
    row_begin_change(f, row);
    f->creates_sampled[row] = load->creates_in_flight;
    creates_sampled(f, row, now_unix_ms);
    f->base[row] = load_score(load);
    row_end_change(f, row);
}

void fleet_set_weights(struct fleet *f, const float weights[SCORER_COUNT])
{
    memcpy(f->weights, weights, sizeof(f->weights));
    lanes_free(f->lanes);
    f->lanes = lanes_new();
}

bool hypervisor_status_may(enum hypervisor_status from, enum hypervisor_status to)
{
    if (from == to)
        return true;
    switch (to) {
    case HYPERVISOR_NEW: /* once seen, never new again */
        return false;
    case HYPERVISOR_UP:
    case HYPERVISOR_DRAINED:
    case HYPERVISOR_FENCED:
        return true;
    }
    return false;
}

static struct claim_node *put_claim(struct fleet *f, size_t row, const struct claim *claim,
                                    bool creates)
{
    struct claim_node *n = claims_add(f->claims, claim);

    row_begin_change(f, row);
    for (enum resource r = 0; r < RESOURCE_COUNT; r++)
        f->claimed[r][row] += (int32_t)resources_get(&claim->size, r);
    f->claim_count[row]++;
    if (creates)
        creates_count(f, row, n);
    n->row = (uint32_t)row;
    row_end_change(f, row);
    return n;
}

struct claim_node *fleet_take(struct fleet *f, size_t row, const struct claim *claim)
{
    return put_claim(f, row, claim, true);
}

void fleet_release(struct fleet *f, struct claim_node *node)
{
    size_t row = node->row;

    row_begin_change(f, row);
    for (enum resource r = 0; r < RESOURCE_COUNT; r++)
        f->claimed[r][row] -= (int32_t)resources_get(&node->claim.size, r);
    f->claim_count[row]--;
    creates_uncount(f, row, node);
    row_end_change(f, row);
    claims_remove(f->claims, node);
}

void fleet_load_claim(struct fleet *f, const struct claim *claim)
{
    size_t row = fleet_find(f, claim->hypervisor);

    assert(row != FLEET_NONE);
    put_claim(f, row, claim, false); /* its create is in the samples by now */
}

struct claims *fleet_claims(struct fleet *f)
{
    return f->claims;
}
