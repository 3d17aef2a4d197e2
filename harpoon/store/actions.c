#include "harpoon/store/actions.h"

#include "lib/sql/sql.h"

#include <stdio.h>

/* 3 is EVENT_CLEANUP, which nobody asked for. */
_Static_assert(EVENT_CLEANUP == 3, "the statements below name it");

#define COLUMNS "SELECT e.id, e.droplet_id, e.type, e.state, e.region, e.created_at, e.t_done"
#define PAGE(inside)                                                                               \
    COLUMNS " FROM (" inside " ORDER BY id DESC LIMIT ? OFFSET ?) p JOIN events e ON e.id = p.id"  \
            " ORDER BY e.id DESC"

static const char COUNT_ALL[] = "SELECT COUNT(*) FROM events FORCE INDEX (account_events)"
                                " WHERE account_id = ? AND type <> 3";
static const char PAGE_ALL[] = PAGE("SELECT id FROM events FORCE INDEX (account_events)"
                                    " WHERE account_id = ? AND type <> 3");
static const char COUNT_DROPLET[] = "SELECT COUNT(*) FROM events FORCE INDEX (droplet_events)"
                                    " WHERE account_id = ? AND droplet_id = ? AND type <> 3";
static const char PAGE_DROPLET[] = PAGE("SELECT id FROM events FORCE INDEX (droplet_events)"
                                        " WHERE account_id = ? AND droplet_id = ? AND type <> 3");
static const char FIND[] = COLUMNS " FROM events e WHERE e.id = ? AND e.account_id = ?"
                                   " AND e.type <> 3";

static void read_action(const struct sql_row *row, struct action_record *ret)
{
    *ret = (struct action_record){
        .id.v = sql_row_u64(row, 0),
        .droplet.v = sql_row_u64(row, 1),
        .type = (enum event_type)sql_row_u64(row, 2),
        .state = (enum event_state)sql_row_u64(row, 3),
        .created_ms = sql_row_i64(row, 5),
        .done_ms = sql_row_i64(row, 6),
    };
    (void)snprintf(ret->region, sizeof ret->region, "%s", sql_row_text(row, 4));
}

static int on_action(void *ctx, const struct sql_row *row, struct error *err)
{
    struct action_list *list = ctx;

    UNUSED(err);
    if (list->count < ACTIONS_PAGE_MAX)
        read_action(row, &list->records[list->count++]);
    return 0;
}

static int on_one(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    read_action(row, ctx);
    return 0;
}

static int on_total(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(uint64_t *)ctx = sql_row_u64(row, 0);
    return 0;
}

int actions_list(struct sql *db, account_id account, droplet_id droplet, uint64_t offset,
                 size_t limit, struct action_list *ret, struct error *err)
{
    struct sql_value values[4] = {SQL_U(account.v)};
    size_t n = 1;

    ret->count = 0;
    ret->total = 0;
    if (droplet.v != 0)
        values[n++] = SQL_U(droplet.v);
    int64_t r = sql_query(db, droplet.v != 0 ? COUNT_DROPLET : COUNT_ALL, values, n, on_total,
                          &ret->total, err);
    if (r >= 0 && offset < ret->total) {
        values[n++] = SQL_U(limit);
        values[n++] = SQL_U(offset);
        r = sql_query(db, droplet.v != 0 ? PAGE_DROPLET : PAGE_ALL, values, n, on_action, ret, err);
    }
    return r < 0 ? error_in(err, "actions") : 0;
}

int actions_find(struct sql *db, account_id account, droplet_id droplet, event_id id,
                 struct action_record *ret, struct error *err)
{
    struct action_record found;
    struct sql_value values[] = {SQL_U(id.v), SQL_U(account.v)};

    int64_t r = sql_query(db, FIND, values, ARRAY_LEN(values), on_one, &found, err);
    if (r < 0)
        return error_in(err, "action");
    if (r == 0 || (droplet.v != 0 && found.droplet.v != droplet.v))
        return error_set(err, ERR_NOT_FOUND, "no such action");
    *ret = found;
    return 0;
}
