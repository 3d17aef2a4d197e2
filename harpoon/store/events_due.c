#include "harpoon/store/events.h"

#include "harpoon/store/events_row.h"
#include "lib/backoff.h"
#include "lib/macros.h"

#include <stdlib.h>
#include <string.h>

#define JITTER_PERCENT 20

/* Five times a second from each api, on the narrow index, without locks: a backlog that is still
 * queued is only walked past. */
static const char FIND_DUE[] =
    "SELECT e.id FROM events e FORCE INDEX (check_at)"
    " LEFT JOIN queues q ON q.name = CONVERT(CONCAT('events.', e.region,"
    " IF(e.type = 1, '.create', '.action')) USING ascii)"
    " WHERE e.check_at <= " EVENTS_NOW " AND (e.state <> 1 OR e.deadline <= " EVENTS_NOW
    " OR e.check_at <= q.taken_at + ?) ORDER BY e.check_at LIMIT ?";
/* Whoever locks them first has them; the other finds them held, or check_at moved. */
static const char LOCK_DUE[] = "SELECT " EVENTS_ROW_COLUMNS ", e.params, " EVENTS_NOW
                               " FROM events e FORCE INDEX (PRIMARY) WHERE e.id IN (%s)"
                               " AND e.check_at <= " EVENTS_NOW " ORDER BY e.id"
                               " FOR UPDATE SKIP LOCKED";
static const char MOVE_CHECK[] = "UPDATE events SET check_at = ? WHERE id = ? AND state = ?";
#define MOVE_CHECK_VALUES 3
/* By an operator's fence: walks the unfinished events, which the index lists. */
static const char TOUCH_HYPERVISOR[] =
    "UPDATE events FORCE INDEX (check_at) SET check_at = " EVENTS_NOW
    " WHERE check_at > 0 AND hypervisor_id = ?";

struct take {
    size_t limit;
    uint64_t *ids;
    size_t id_count;
    struct sql_value *values;
    struct events_due *due;
};

static int on_id(void *ctx, const struct sql_row *row, struct error *err)
{
    struct take *t = ctx;

    UNUSED(err);
    t->ids[t->id_count++] = sql_row_u64(row, 0);
    return 0;
}

static int on_due(void *ctx, const struct sql_row *row, struct error *err)
{
    struct events_due *due = ctx;
    struct event_record *r = &due->records[due->count];
    const void *params = sql_row_bytes(row, EVENTS_ROW_COUNT, &r->params_size);

    events_row_decode(row, 0, &r->row);
    r->params = malloc(r->params_size + 1);
    if (r->params == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    memcpy(r->params, params, r->params_size);
    due->now_ms = sql_row_i64(row, EVENTS_ROW_COUNT + 1);
    due->count++;
    return 0;
}

/* Not past the deadline, so that it is ended in time; one past it is tried again soon. */
static int64_t next_check(const struct event *row, int64_t now_ms)
{
    int64_t at = now_ms + jitter_ms(event_margin_ms(row, now_ms), JITTER_PERCENT);

    if (row->deadline_ms > now_ms && at > row->deadline_ms)
        at = row->deadline_ms;
    return at > now_ms ? at : now_ms + 1;
}

static int move_checks(struct sql *db, struct take *t, struct error *err)
{
    struct events_due *due = t->due;

    for (size_t i = 0; i < due->count; i++) {
        struct event *row = &due->records[i].row;
        struct sql_value *v = t->values + i * MOVE_CHECK_VALUES;
        if (due->oldest_ms == 0 || row->check_at_ms < due->oldest_ms)
            due->oldest_ms = row->check_at_ms;
        row->check_at_ms = next_check(row, due->now_ms);
        v[0] = SQL_I(row->check_at_ms);
        v[1] = SQL_U(row->id.v);
        v[2] = SQL_U(row->state);
    }
    int64_t r = sql_exec_array(db, MOVE_CHECK, t->values, MOVE_CHECK_VALUES, due->count, err);
    return r < 0 ? (int)r : 0;
}

static int take_body(struct sql *db, void *ctx, struct error *err)
{
    struct take *t = ctx;
    const struct event_policy *policy = event_policy_get(EVENT_CREATE);
    const struct sql_value find[] = {SQL_I(policy->pending_margin_ms), SQL_I((int64_t)t->limit)};
    int64_t r;

    events_records_free(t->due->records, t->due->count);
    t->due->count = t->id_count = 0;
    t->due->oldest_ms = 0;
    r = sql_query(db, FIND_DUE, find, ARRAY_LEN(find), on_id, t, err);
    t->due->full = t->id_count == t->limit;
    if (r > 0)
        r = sql_query_ids(db, LOCK_DUE, t->ids, t->id_count, on_due, t->due, err);
    if (r > 0)
        r = move_checks(db, t, err);
    return r < 0 ? (int)r : 0;
}

int events_take_due(struct sql *db, size_t limit, struct events_due *ret, struct error *err)
{
    struct take t = {.limit = limit, .due = ret};
    int r = ERR_INTERNAL;

    memset(ret, 0, sizeof *ret);
    t.ids = malloc(limit * sizeof *t.ids);
    t.values = malloc(limit * MOVE_CHECK_VALUES * sizeof *t.values);
    ret->records = calloc(limit, sizeof *ret->records);
    if (t.ids != NULL && t.values != NULL && ret->records != NULL)
        r = sql_transact(db, take_body, &t, err);
    else
        error_set(err, ERR_INTERNAL, "out of memory");
    free(t.ids);
    free(t.values);
    if (r < 0)
        events_due_free(ret);
    return r < 0 ? error_in(err, "due events") : 0;
}

void events_due_free(struct events_due *due)
{
    events_records_free(due->records, due->count);
    free(due->records);
    memset(due, 0, sizeof *due);
}

int64_t events_touch_hypervisor(struct sql *db, hypervisor_id hypervisor, struct error *err)
{
    const struct sql_value v[] = {SQL_U(hypervisor.v)};

    return sql_exec(db, TOUCH_HYPERVISOR, v, ARRAY_LEN(v), err);
}
