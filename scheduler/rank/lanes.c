#include "scheduler/rank/lanes.h"

#include "lib/memory.h"
#include "scheduler/rank/rows.h"

#include <string.h>

#define LANES_MAX 32
#define SEEN      64 /* sizes remembered that have no lane */
#define FAN       16 /* children of a node: their points fill one cache line */
#define LEVELS    8

/* Points by row, and above them the best of each FAN, up to one node of FAN at the top. Slots
 * behind the last row are REFUSED. */
struct lane {
    uint64_t revision; /* of the fleet it was made from; 0: none */
    uint64_t used;
    size_t rows, levels;
    float *points[LEVELS];
    uint8_t *refusal; /* by row: enum filter_id, FILTER_COUNT: has room */
    uint32_t refused[FILTER_COUNT + 1];
};

struct lanes {
    struct resources sizes[LANES_MAX];
    struct lane list[LANES_MAX];
    size_t count;
    struct resources seen[SEEN];
    size_t seen_next;
    uint64_t now;
};

struct lanes *lanes_new(void)
{
    return must_calloc(1, sizeof(struct lanes));
}

struct lanes *lanes_free(struct lanes *l)
{
    for (size_t i = 0; l && i < l->count; i++) {
        free(l->list[i].points[0]);
        free(l->list[i].refusal);
    }
    free(l);
    return NULL;
}

static float node_best(const float *node)
{
    float best[4] = {node[0], node[1], node[2], node[3]};

    for (size_t i = 4; i < FAN; i += 4)
        for (size_t k = 0; k < 4; k++)
            best[k] = node[i + k] > best[k] ? node[i + k] : best[k];
    best[0] = best[1] > best[0] ? best[1] : best[0];
    best[2] = best[3] > best[2] ? best[3] : best[2];
    return best[2] > best[0] ? best[2] : best[0];
}

static size_t nodes_of(size_t slots)
{
    return slots > FAN ? (slots + FAN - 1) / FAN : 1;
}

/* Room for `rows` rows; gives the slots of each level. */
static void lane_shape(struct lane *lane, size_t rows)
{
    size_t at[LEVELS], total = 0, slots = rows;

    lane->levels = 0;
    do {
        slots = nodes_of(slots);
        at[lane->levels++] = total;
        total += slots * FAN;
    } while (slots > 1);
    free(lane->points[0]);
    lane->points[0] = aligned_alloc(FAN * sizeof(float), total * sizeof(float));
    if (!lane->points[0])
        abort();
    for (size_t i = 0; i < total; i++)
        lane->points[0][i] = REFUSED;
    for (size_t l = 1; l < lane->levels; l++)
        lane->points[l] = lane->points[0] + at[l];
    lane->refusal = must_resize(lane->refusal, rows, sizeof(*lane->refusal));
    lane->rows = rows;
}

static void lane_make(struct lane *lane, const struct fleet *f, const struct resources *size)
{
    if (lane->rows != f->count || !lane->points[0])
        lane_shape(lane, f->count);
    scorers_score(f, size, 0, f->count, lane->points[0]);
    memset(lane->refused, 0, sizeof(lane->refused));
    for (size_t row = 0; row < f->count; row++) {
        uint8_t by = row_refusal(f, row, size);
        lane->refusal[row] = by;
        lane->refused[by]++;
    }
    for (size_t l = 1, slots = nodes_of(f->count); l < lane->levels; l++, slots = nodes_of(slots))
        for (size_t i = 0; i < slots; i++)
            lane->points[l][i] = node_best(lane->points[l - 1] + i * FAN);
}

/* Puts new points into a slot and tells the levels above, as far as it matters to them. */
static void lane_put(struct lane *lane, size_t slot, float points)
{
    for (size_t l = 0;; l++) {
        float old = lane->points[l][slot];
        lane->points[l][slot] = points;
        if (l + 1 == lane->levels)
            return;
        size_t node = slot / FAN;
        float best = lane->points[l + 1][node];
        if (points <= best) {
            if (old < best)
                return;
            points = node_best(lane->points[l] + node * FAN);
        }
        if (points == best)
            return;
        slot = node;
    }
}

static void lane_follow_row(struct lane *lane, const struct fleet *f, const struct resources *size,
                            size_t row)
{
    uint8_t by = row_refusal(f, row, size);
    float points = by == FILTER_COUNT ? scorers_score_row(f, size, row) : REFUSED;

    lane->refused[lane->refusal[row]]--;
    lane->refused[by]++;
    lane->refusal[row] = by;
    if (lane->points[0][row] != points)
        lane_put(lane, row, points);
}

/* A row that changed again later is looked at then. */
static void lane_follow(struct lane *lane, const struct fleet *f, const struct resources *size)
{
    uint64_t behind = f->revision - lane->revision;

    if (lane->revision == 0 || lane->rows != f->count || behind > CHANGES_KEPT ||
        behind > f->count / 8 + FAN)
        lane_make(lane, f, size);
    else
        for (uint64_t r = lane->revision + 1; r <= f->revision; r++) {
            uint32_t row = f->changes[r % CHANGES_KEPT];
            if (f->changed_at[row] == r)
                lane_follow_row(lane, f, size, row);
        }
    lane->revision = f->revision;
}

/* Whether it was asked for lately; if not, it is now. */
static bool seen_again(struct lanes *l, const struct resources *size)
{
    for (size_t i = 0; i < SEEN; i++)
        if (resources_equal(&l->seen[i], size))
            return true;
    l->seen[l->seen_next++ % SEEN] = *size;
    return false;
}

static size_t lane_for_new(struct lanes *l)
{
    size_t oldest = 0;

    if (l->count < LANES_MAX)
        return l->count++;
    for (size_t i = 1; i < LANES_MAX; i++)
        if (l->list[i].used < l->list[oldest].used)
            oldest = i;
    return oldest;
}

const struct lane *lanes_find(struct lanes *l, const struct fleet *f, const struct resources *size)
{
    size_t i = 0;

    while (i < l->count && !resources_equal(&l->sizes[i], size))
        i++;
    if (i == l->count) {
        if (!seen_again(l, size))
            return NULL;
        i = lane_for_new(l);
        l->sizes[i] = *size;
        l->list[i].revision = 0;
    }
    l->list[i].used = ++l->now;
    lane_follow(&l->list[i], f, size);
    return &l->list[i];
}

/* Of equals the first: the first child with the best points, all the way down. */
static size_t lane_first_best(const struct lane *lane, float best)
{
    size_t slot = 0;

    for (size_t l = lane->levels; l-- > 0;) {
        const float *node = lane->points[l] + slot * FAN;
        size_t i = 0;
        while (node[i] != best)
            i++;
        slot = slot * FAN + i;
    }
    return slot;
}

void lane_choose(const struct lane *lane, struct choice *ret)
{
    float best = node_best(lane->points[lane->levels - 1]);

    *ret = (struct choice){.row = FLEET_NONE};
    if (best != REFUSED) {
        ret->row = lane_first_best(lane, best);
        ret->score = best;
        return;
    }
    ret->asked = (uint32_t)lane->rows;
    memcpy(ret->refused, lane->refused, sizeof(ret->refused));
}
