#include "harpoon/store/events.h"

#include "harpoon/store/events_row.h"
#include "lib/macros.h"

#include <stdlib.h>
#include <string.h>

/* Once a second from each worker. A publisher's clock ahead of the database's counts as now. */
static const char STORE_TAKEN[] =
    "INSERT INTO queues (name, taken_at) VALUES (?, LEAST(IF(? = 0, " EVENTS_NOW ", ?), " EVENTS_NOW
    ")) ON DUPLICATE KEY UPDATE taken_at = GREATEST(taken_at, VALUES(taken_at))";
#define STORE_TAKEN_VALUES 3

static const char LOAD_FENCES[] = "SELECT hypervisor_id FROM fences ORDER BY hypervisor_id";
static const char STORE_ATTACH[] =
    "UPDATE fences SET jobs_open = ?, domains = ? WHERE hypervisor_id = ?";

int events_store_taken(struct sql *db, const struct queue_taken *queues, size_t count,
                       struct error *err)
{
    struct sql_value *values = calloc(count + 1, STORE_TAKEN_VALUES * sizeof *values);

    if (values == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < count; i++) {
        struct sql_value *v = values + i * STORE_TAKEN_VALUES;
        v[0] = SQL_T(queues[i].name);
        v[1] = v[2] = SQL_I(queues[i].taken_at_ms);
    }
    int64_t r = sql_exec_array(db, STORE_TAKEN, values, STORE_TAKEN_VALUES, count, err);
    free(values);
    return r < 0 ? error_in(err, "storing what queues were taken to") : 0;
}

static int on_fence(void *ctx, const struct sql_row *row, struct error *err)
{
    struct fence_set *set = ctx;
    size_t n = set->count;

    if ((n & (n - 1)) == 0) { /* full at each power of two */
        uint64_t *more = realloc(set->ids, (n != 0 ? 2 * n : 1) * sizeof *more);
        if (more == NULL)
            return error_set(err, ERR_INTERNAL, "out of memory");
        set->ids = more;
    }
    set->ids[set->count++] = sql_row_u64(row, 0);
    return 0;
}

int fences_load(struct sql *db, struct fence_set *ret, struct error *err)
{
    struct fence_set set = {0};
    int64_t r = sql_query(db, LOAD_FENCES, NULL, 0, on_fence, &set, err);

    if (r < 0) {
        fences_free(&set);
        return error_in(err, "loading fences");
    }
    *ret = set;
    return 0;
}

void fences_free(struct fence_set *set)
{
    free(set->ids);
    *set = (struct fence_set){0};
}

bool fences_hold(const struct fence_set *set, hypervisor_id hypervisor)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->ids[middle] == hypervisor.v)
            return true;
        if (set->ids[middle] < hypervisor.v)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

int fences_store_attach(struct sql *db, hypervisor_id hypervisor, uint32_t jobs_open,
                        uint32_t domains, struct error *err)
{
    const struct sql_value v[] = {SQL_U(jobs_open), SQL_U(domains), SQL_U(hypervisor.v)};
    int64_t r = sql_exec(db, STORE_ATTACH, v, ARRAY_LEN(v), err);

    return r < 0 ? (int)r : 0;
}
