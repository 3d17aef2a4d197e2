#include "harpoon/store/admin.h"

#include "harpoon/store/events_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS EVENTS_ROW_COLUMNS ", e.replay_of, e.replayed_as"
#define FILTER                                                                                     \
    " AND e.id < ? AND (? = 0 OR e.state = ?) AND (? = 0 OR e.type = ?)"                           \
    " AND (? = '' OR e.region = ?) ORDER BY e.id DESC LIMIT ?"

/* The narrow index lists what is unfinished. */
static const char LIST_UNFINISHED[] =
    "SELECT " COLUMNS " FROM events e FORCE INDEX (check_at) WHERE e.check_at > 0" FILTER;
/* From the newest backwards; max_statement_time ends a search for something rare. */
static const char LIST_ALL[] =
    "SELECT " COLUMNS " FROM events e FORCE INDEX (PRIMARY) WHERE 1" FILTER;
static const char LIST_DEAD[] =
    "SELECT " COLUMNS " FROM events e FORCE INDEX (PRIMARY) STRAIGHT_JOIN droplets d FORCE INDEX"
    " (PRIMARY) ON d.id = e.droplet_id WHERE e.type = 1 AND e.replayed_as = 0 AND d.deleted_at IS"
    " NULL" FILTER;
static const char LIST_OF_DROPLET[] =
    "SELECT " COLUMNS " FROM events e FORCE INDEX (droplet_events) WHERE e.droplet_id = ?"
    " ORDER BY e.id DESC LIMIT ?";
static const char FIND_EVENT[] =
    "SELECT " COLUMNS " FROM events e FORCE INDEX (PRIMARY) WHERE e.id = ?";
static const char LIST_LOGS[] =
    "SELECT event_id, at, attempt, hypervisor_id, what, actor, detail FROM event_log"
    " FORCE INDEX (PRIMARY) WHERE event_id IN (%s) ORDER BY seq LIMIT 1000";
static const char FIND_DROPLET[] =
    "SELECT id, account_id, name, region, status, event_id, hypervisor_id, created_at, deleted_at,"
    " gone_at FROM droplets WHERE id = ?";
static const char LIST_REGIONS[] = "SELECT slug FROM regions ORDER BY slug";
static const char COUNT_UNFINISHED[] =
    "SELECT region, type = 1, state, COUNT(*), MIN(created_at), SUM(check_at <= " EVENTS_NOW ")"
    " FROM events FORCE INDEX (check_at) WHERE check_at > 0 GROUP BY region, type = 1, state";
static const char LIST_TAKEN[] = "SELECT name, taken_at FROM queues";

/* A list that grows as rows come. */
struct rows {
    void *items;
    size_t count, room, size;
};

static void *rows_add(struct rows *rows, struct error *err)
{
    if (rows->count == rows->room) {
        size_t room = rows->room != 0 ? 2 * rows->room : 32;
        void *items = realloc(rows->items, room * rows->size);
        if (items == NULL) {
            (void)error_set(err, ERR_INTERNAL, "out of memory");
            return NULL;
        }
        rows->items = items;
        rows->room = room;
    }
    void *item = (char *)rows->items + rows->count++ * rows->size;
    memset(item, 0, rows->size);
    return item;
}

/* Hands the list over, or frees it. */
static int rows_give(struct rows *rows, int64_t r, void *ret, size_t *ret_count)
{
    if (r < 0) {
        free(rows->items);
        return (int)r;
    }
    memcpy(ret, &rows->items, sizeof rows->items);
    *ret_count = rows->count;
    return 0;
}

/* ---- events ---- */
static void decode_event(const struct sql_row *row, struct admin_event *ret)
{
    events_row_decode(row, 0, &ret->row);
    ret->replay_of = sql_row_u64(row, EVENTS_ROW_COUNT);
    ret->replayed_as = sql_row_u64(row, EVENTS_ROW_COUNT + 1);
}

static int on_event(void *ctx, const struct sql_row *row, struct error *err)
{
    struct admin_event *e = rows_add(ctx, err);

    if (e == NULL)
        return err->code;
    decode_event(row, e);
    return 0;
}

int admin_list_events(struct sql *db, const struct admin_filter *f, struct admin_event **ret,
                      size_t *ret_count, struct error *err)
{
    struct rows rows = {.size = sizeof **ret};
    enum event_state state = f->dead ? EVENT_FAILED : f->state;
    const char *region = f->region != NULL ? f->region : "";
    const struct sql_value values[] = {
        SQL_U(f->before_id != 0 ? f->before_id : (uint64_t)INT64_MAX),
        SQL_U(state),
        SQL_U(state),
        SQL_U(f->type),
        SQL_U(f->type),
        SQL_T(region),
        SQL_T(region),
        SQL_U(f->limit),
    };
    bool unfinished = f->unfinished || (state != 0 && !event_is_final(state));
    const char *statement = f->dead ? LIST_DEAD : unfinished ? LIST_UNFINISHED : LIST_ALL;

    int64_t r = sql_query(db, statement, values, ARRAY_LEN(values), on_event, &rows, err);
    if (r == ERR_DEADLINE)
        (void)error_set(err, ERR_DEADLINE,
                        "too many events to look through: ask for those before a number");
    return rows_give(&rows, r, ret, ret_count);
}

int admin_list_droplet_events(struct sql *db, droplet_id droplet, size_t limit,
                              struct admin_event **ret, size_t *ret_count, struct error *err)
{
    struct rows rows = {.size = sizeof **ret};
    const struct sql_value values[] = {SQL_U(droplet.v), SQL_U(limit)};
    int64_t r = sql_query(db, LIST_OF_DROPLET, values, ARRAY_LEN(values), on_event, &rows, err);
    struct admin_event *list = rows.items;

    for (size_t i = 0; r >= 0 && i < rows.count / 2; i++) {
        struct admin_event swap = list[i];
        list[i] = list[rows.count - 1 - i];
        list[rows.count - 1 - i] = swap;
    }
    return rows_give(&rows, r, ret, ret_count);
}

static int on_one_event(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    decode_event(row, ctx);
    return 0;
}

int admin_find_event(struct sql *db, event_id id, struct admin_event *ret, struct error *err)
{
    int64_t r = sql_query(db, FIND_EVENT, &SQL_U(id.v), 1, on_one_event, ret, err);

    if (r == 0)
        return error_set(err, ERR_NOT_FOUND, "there is no event %" PRIu64, id.v);
    return r < 0 ? (int)r : 0;
}

static int on_log(void *ctx, const struct sql_row *row, struct error *err)
{
    struct admin_log *l = rows_add(ctx, err);

    if (l == NULL)
        return err->code;
    l->event.v = sql_row_u64(row, 0);
    l->at_ms = sql_row_i64(row, 1);
    l->attempt = (unsigned)sql_row_u64(row, 2);
    l->hypervisor.v = sql_row_u64(row, 3);
    (void)snprintf(l->what, sizeof l->what, "%s", sql_row_text(row, 4));
    (void)snprintf(l->actor, sizeof l->actor, "%s", sql_row_text(row, 5));
    (void)snprintf(l->detail, sizeof l->detail, "%s", sql_row_text(row, 6));
    return 0;
}

int admin_list_logs(struct sql *db, const uint64_t *event_ids, size_t count, struct admin_log **ret,
                    size_t *ret_count, struct error *err)
{
    struct rows rows = {.size = sizeof **ret};
    int64_t r = count > 0 ? sql_query_ids(db, LIST_LOGS, event_ids, count, on_log, &rows, err) : 0;

    return rows_give(&rows, r, ret, ret_count);
}

/* ---- droplets ---- */
static int on_droplet(void *ctx, const struct sql_row *row, struct error *err)
{
    struct admin_droplet *d = ctx;

    UNUSED(err);
    d->id.v = sql_row_u64(row, 0);
    d->account.v = sql_row_u64(row, 1);
    (void)snprintf(d->name, sizeof d->name, "%s", sql_row_text(row, 2));
    (void)snprintf(d->region, sizeof d->region, "%s", sql_row_text(row, 3));
    d->status = (enum droplet_status)sql_row_u64(row, 4);
    d->event.v = sql_row_u64(row, 5);
    d->hypervisor.v = sql_row_u64(row, 6);
    d->created_ms = sql_row_i64(row, 7);
    d->deleted_ms = sql_row_i64(row, 8);
    d->gone_ms = sql_row_i64(row, 9);
    return 0;
}

int admin_find_droplet(struct sql *db, droplet_id id, struct admin_droplet *ret, struct error *err)
{
    int64_t r = sql_query(db, FIND_DROPLET, &SQL_U(id.v), 1, on_droplet, ret, err);

    if (r == 0)
        return error_set(err, ERR_NOT_FOUND, "there is no Droplet %" PRIu64, id.v);
    return r < 0 ? (int)r : 0;
}

/* ---- queues and regions ---- */
static int on_region(void *ctx, const struct sql_row *row, struct error *err)
{
    struct admin_region *region = rows_add(ctx, err);

    if (region == NULL)
        return err->code;
    (void)snprintf(region->slug, sizeof region->slug, "%s", sql_row_text(row, 0));
    return 0;
}

int admin_list_regions(struct sql *db, struct admin_region **ret, size_t *ret_count,
                       struct error *err)
{
    struct rows rows = {.size = sizeof **ret};
    int64_t r = sql_query(db, LIST_REGIONS, NULL, 0, on_region, &rows, err);

    return rows_give(&rows, r, ret, ret_count);
}

static struct admin_queue *find_queue(struct rows *rows, const char *name)
{
    struct admin_queue *list = rows->items;

    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

static int add_queue(struct rows *rows, const char *region, enum event_type type, struct error *err)
{
    char name[EVENT_QUEUE_NAME];

    event_queue_name(region, type, name);
    if (find_queue(rows, name) != NULL)
        return 0;
    struct admin_queue *q = rows_add(rows, err);
    if (q == NULL)
        return err->code;
    memcpy(q->name, name, sizeof q->name);
    (void)snprintf(q->region, sizeof q->region, "%s", region);
    return 0;
}

static int add_region_queues(struct rows *rows, const char *region, struct error *err)
{
    int r = add_queue(rows, region, EVENT_CREATE, err);

    return r == 0 ? add_queue(rows, region, EVENT_DESTROY, err) : r;
}

static int on_queue_region(void *ctx, const struct sql_row *row, struct error *err)
{
    return add_region_queues(ctx, sql_row_text(row, 0), err);
}

static int on_count(void *ctx, const struct sql_row *row, struct error *err)
{
    char name[EVENT_QUEUE_NAME];
    uint32_t count = (uint32_t)sql_row_u64(row, 3);
    int64_t oldest_ms = sql_row_i64(row, 4);
    enum event_state state = (enum event_state)sql_row_u64(row, 2);

    event_queue_name(sql_row_text(row, 0), sql_row_u64(row, 1) != 0 ? EVENT_CREATE : EVENT_DESTROY,
                     name);
    if (add_region_queues(ctx, sql_row_text(row, 0), err) < 0) /* of a region that was taken away */
        return err->code;
    struct admin_queue *q = find_queue(ctx, name);
    if (q->oldest_ms == 0 || oldest_ms < q->oldest_ms)
        q->oldest_ms = oldest_ms;
    if (state == EVENT_PENDING) {
        q->pending = count;
        q->due = (uint32_t)sql_row_u64(row, 5);
    } else if (state == EVENT_DISPATCHED) {
        q->dispatched = count;
    } else {
        q->running = count;
    }
    return 0;
}

static int on_taken(void *ctx, const struct sql_row *row, struct error *err)
{
    struct admin_queue *q = find_queue(ctx, sql_row_text(row, 0));

    UNUSED(err);
    if (q != NULL)
        q->taken_at_ms = sql_row_i64(row, 1);
    return 0;
}

int admin_list_queues(struct sql *db, struct admin_queue **ret, size_t *ret_count,
                      struct error *err)
{
    struct rows rows = {.size = sizeof **ret};
    int64_t r = sql_query(db, LIST_REGIONS, NULL, 0, on_queue_region, &rows, err);

    if (r >= 0)
        r = sql_query(db, COUNT_UNFINISHED, NULL, 0, on_count, &rows, err);
    if (r >= 0)
        r = sql_query(db, LIST_TAKEN, NULL, 0, on_taken, &rows, err);
    return rows_give(&rows, r, ret, ret_count);
}
