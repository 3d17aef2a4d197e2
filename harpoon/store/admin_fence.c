#include "harpoon/store/admin.h"

#include "harpoon/store/events_row.h"

#include <inttypes.h>
#include <stdio.h>

static const char FIND_FENCE[] =
    "SELECT region, at, jobs_open, domains FROM fences WHERE hypervisor_id = ?";
static const char LOCK_FENCE[] =
    "SELECT region, at, jobs_open, domains FROM fences WHERE hypervisor_id = ? FOR UPDATE";
static const char INSERT_FENCE[] =
    "INSERT IGNORE INTO fences (hypervisor_id, region, at, actor, reason)"
    " VALUES (?, ?, " EVENTS_NOW ", ?, ?)";
static const char DELETE_FENCE[] = "DELETE FROM fences WHERE hypervisor_id = ?";
static const char FIND_UNFINISHED[] =
    "SELECT id FROM events FORCE INDEX (check_at) WHERE check_at > 0 AND hypervisor_id = ?"
    " AND id > ? ORDER BY id LIMIT ?";

static int on_fence(void *ctx, const struct sql_row *row, struct error *err)
{
    struct admin_fence *f = ctx;

    UNUSED(err);
    f->found = true;
    (void)snprintf(f->region, sizeof f->region, "%s", sql_row_text(row, 0));
    f->at_ms = sql_row_i64(row, 1);
    f->attached = !sql_row_is_null(row, 2) && !sql_row_is_null(row, 3);
    f->jobs_open = (uint32_t)sql_row_u64(row, 2);
    f->domains = (uint32_t)sql_row_u64(row, 3);
    return 0;
}

static int read_fence(struct sql *db, const char *statement, hypervisor_id hypervisor,
                      struct admin_fence *ret, struct error *err)
{
    *ret = (struct admin_fence){.found = false};
    int64_t r = sql_query(db, statement, &SQL_U(hypervisor.v), 1, on_fence, ret, err);
    return r < 0 ? (int)r : 0;
}

int admin_find_fence(struct sql *db, hypervisor_id hypervisor, struct admin_fence *ret,
                     struct error *err)
{
    return read_fence(db, FIND_FENCE, hypervisor, ret, err);
}

int admin_store_fence(struct sql *db, hypervisor_id hypervisor, const char *region,
                      const char *actor, const char *reason, struct error *err)
{
    struct admin_fence before;
    int r = admin_find_fence(db, hypervisor, &before, err);

    if (r < 0 || before.found)
        return r;
    const struct sql_value values[] = {SQL_U(hypervisor.v), SQL_T(region), SQL_T(actor),
                                       SQL_T(reason)};
    int64_t n = sql_exec(db, INSERT_FENCE, values, ARRAY_LEN(values), err);
    return n < 0 ? (int)n : 1;
}

struct lift {
    hypervisor_id hypervisor;
};

static int lift_body(struct sql *db, void *ctx, struct error *err)
{
    hypervisor_id hypervisor = ((struct lift *)ctx)->hypervisor;
    struct admin_fence f;
    int r = read_fence(db, LOCK_FENCE, hypervisor, &f, err);

    if (r < 0)
        return r;
    if (!f.found)
        return error_set(err, ERR_NOT_FOUND, "hypervisor %" PRIu64 " is not fenced", hypervisor.v);
    if (!f.attached)
        return error_set(err, ERR_CONFLICT,
                         "the agent of hypervisor %" PRIu64
                         " has not attached since it was fenced: start it first",
                         hypervisor.v);
    if (f.jobs_open > 0 || f.domains > 0)
        return error_set(err, ERR_CONFLICT,
                         "hypervisor %" PRIu64 " still has %" PRIu32 " open jobs and %" PRIu32
                         " domains of ours: its agent removes them, or wipe it",
                         hypervisor.v, f.jobs_open, f.domains);
    int64_t n = sql_exec(db, DELETE_FENCE, &SQL_U(hypervisor.v), 1, err);
    return n < 0 ? (int)n : 0;
}

int admin_lift_fence(struct sql *db, hypervisor_id hypervisor, struct error *err)
{
    return sql_transact(db, lift_body, &(struct lift){hypervisor}, err);
}

struct found {
    uint64_t *ids;
    size_t count;
};

static int on_id(void *ctx, const struct sql_row *row, struct error *err)
{
    struct found *f = ctx;

    UNUSED(err);
    f->ids[f->count++] = sql_row_u64(row, 0);
    return 0;
}

int64_t admin_find_unfinished_on(struct sql *db, hypervisor_id hypervisor, event_id after,
                                 uint64_t *ret, size_t max, struct error *err)
{
    const struct sql_value values[] = {SQL_U(hypervisor.v), SQL_U(after.v), SQL_U(max)};

    return sql_query(db, FIND_UNFINISHED, values, ARRAY_LEN(values), on_id, &(struct found){ret, 0},
                     err);
}
