#include "harpoon/store/events.h"

#include "harpoon/store/events_row.h"
#include "lib/macros.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 5

/* Which events to lock, before their droplets: everybody locks in that order. */
static const char FIND_EVENTS[] =
    "SELECT id, event_id FROM droplets FORCE INDEX (PRIMARY) WHERE id IN (%s)";
static const char LOCK_EVENTS[] =
    "SELECT " EVENTS_ROW_COLUMNS " FROM events e FORCE INDEX (PRIMARY) WHERE e.id IN (%s)"
    " ORDER BY e.id FOR UPDATE";
static const char LOCK_DROPLETS[] =
    "SELECT d.id, d.account_id, d.region, " EVENTS_DROPLET_COLUMNS ", " EVENTS_NOW
    " FROM droplets d FORCE INDEX (PRIMARY) WHERE d.id IN (%s) ORDER BY d.id FOR UPDATE";
#define DROPLET_HEAD 3
static const char DELETE_TAGS[] = "DELETE FROM droplet_tags WHERE droplet_id = ?";
/* Last, in id order: the row every create and delete of an account meets at. */
static const char COUNT_DOWN[] =
    "UPDATE accounts SET droplets = droplets - LEAST(droplets, ?) WHERE id = ?";

struct slot { /* one droplet of the batch */
    struct droplet_delete *item;
    uint64_t event_id;     /* as it was when read without a lock */
    bool found, has_event; /* its rows were read and locked */
    bool moved;            /* to another event in between: it is left for the next try */
    struct event event;    /* its unfinished event */
    struct events_write write;
};

struct deletion {
    const struct events_env *env;
    struct droplet_delete *items; /* as they were asked for */
    size_t item_count;
    struct slot *slots; /* by droplet id, ascending */
    size_t count;
    uint64_t *ids; /* scratch for lists of ids */
    struct events_write *writes;
    size_t write_count;
    struct event *destroys;
    size_t destroy_count;
    struct events_log *logs;
    size_t log_count;
    struct sql_value *values; /* scratch */
    int64_t now_ms;
};

static void deletion_fini(struct deletion *d)
{
    free(d->slots);
    free(d->ids);
    free(d->writes);
    free(d->destroys);
    free(d->logs);
    free(d->values);
}

static int compare_slots(const void *a, const void *b)
{
    uint64_t x = ((const struct slot *)a)->item->droplet.v;
    uint64_t y = ((const struct slot *)b)->item->droplet.v;

    return x < y ? -1 : x > y;
}

/* One slot a droplet; asked for twice in a batch, the second finds it deleted. */
static int deletion_init(struct deletion *d, const struct events_env *env,
                         struct droplet_delete *items, size_t count, struct error *err)
{
    size_t n = 0;

    *d = (struct deletion){.env = env, .items = items, .item_count = count};
    d->slots = calloc(count, sizeof *d->slots);
    d->ids = calloc(count, sizeof *d->ids);
    d->writes = calloc(count, sizeof *d->writes);
    d->destroys = calloc(count, sizeof *d->destroys);
    d->logs = calloc(count, sizeof *d->logs);
    d->values = calloc(2 * count, sizeof *d->values);
    if (d->slots == NULL || d->ids == NULL || d->writes == NULL || d->destroys == NULL ||
        d->logs == NULL || d->values == NULL) {
        deletion_fini(d);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        items[i].found = false;
        memset(&items[i].event, 0, sizeof items[i].event);
        d->slots[i].item = &items[i];
    }
    qsort(d->slots, count, sizeof *d->slots, compare_slots);
    for (size_t i = 0; i < count; i++)
        if (n == 0 || compare_slots(&d->slots[n - 1], &d->slots[i]) != 0)
            d->slots[n++] = d->slots[i];
    d->count = n;
    return 0;
}

static struct slot *find_slot(struct deletion *d, uint64_t droplet)
{
    struct droplet_delete wanted = {.droplet = {droplet}};
    struct slot key = {.item = &wanted};

    return bsearch(&key, d->slots, d->count, sizeof *d->slots, compare_slots);
}

static int on_event_id(void *ctx, const struct sql_row *row, struct error *err)
{
    struct slot *slot = find_slot(ctx, sql_row_u64(row, 0));

    UNUSED(err);
    if (slot != NULL)
        slot->event_id = sql_row_u64(row, 1);
    return 0;
}

static int on_event(void *ctx, const struct sql_row *row, struct error *err)
{
    struct event event;

    UNUSED(err);
    events_row_decode(row, 0, &event);
    struct slot *slot = find_slot(ctx, event.droplet.v);
    if (slot != NULL && slot->event_id == event.id.v) {
        slot->event = event;
        slot->has_event = true;
    }
    return 0;
}

/* Whoever else names a droplet in the same batch must not hide what its owner asks for. */
static struct droplet_delete *owners_item(const struct deletion *d, struct droplet_delete *item,
                                          account_id owner)
{
    for (size_t i = 0; i < d->item_count && item->account.v != owner.v; i++)
        if (d->items[i].droplet.v == item->droplet.v && d->items[i].account.v == owner.v)
            return &d->items[i];
    return item;
}

static int on_droplet(void *ctx, const struct sql_row *row, struct error *err)
{
    struct deletion *d = ctx;
    struct slot *slot = find_slot(d, sql_row_u64(row, 0));
    struct event *before;

    UNUSED(err);
    d->now_ms = sql_row_i64(row, DROPLET_HEAD + EVENTS_DROPLET_COUNT);
    if (slot == NULL)
        return 0;
    if (!slot->has_event) {
        slot->event.droplet.v = sql_row_u64(row, 0);
        slot->event.account.v = sql_row_u64(row, 1);
        strncpy(slot->event.region, sql_row_text(row, 2), sizeof slot->event.region - 1);
    }
    before = &slot->event;
    events_droplet_decode(row, DROPLET_HEAD, before, &slot->write.columns);
    slot->item = owners_item(d, slot->item, before->account);
    slot->moved = before->droplet_event.v != slot->event_id;
    slot->found =
        !slot->moved && before->account.v == slot->item->account.v && !before->droplet_deleted;
    return 0;
}

/* Reads and locks all that a delete must look at. */
static int lock_rows(struct sql *db, struct deletion *d, struct error *err)
{
    int64_t r;
    size_t n = 0;

    for (size_t i = 0; i < d->count; i++)
        d->ids[i] = d->slots[i].item->droplet.v;
    r = sql_query_ids(db, FIND_EVENTS, d->ids, d->count, on_event_id, d, err);
    for (size_t i = 0; i < d->count; i++)
        if (d->slots[i].event_id != 0)
            d->ids[n++] = d->slots[i].event_id;
    if (r >= 0 && n > 0)
        r = sql_query_ids(db, LOCK_EVENTS, d->ids, n, on_event, d, err);
    for (size_t i = 0; i < d->count; i++)
        d->ids[i] = d->slots[i].item->droplet.v;
    if (r >= 0)
        r = sql_query_ids(db, LOCK_DROPLETS, d->ids, d->count, on_droplet, d, err);
    return r < 0 ? (int)r : 0;
}

/* A pending create ends at once; any other event ends first, and its end looks at deleted_at. */
static void cancel_event(struct deletion *d, struct slot *slot)
{
    struct events_write *w = &slot->write;
    struct event_input in = {.kind = IN_CANCEL, .actor = slot->item->actor};
    struct event_change change;

    event_step(&w->after, &in, d->now_ms, &change);
    if (!change.changed)
        return;
    events_log_fill(&d->logs[d->log_count++], &w->after, d->now_ms, change.log_what,
                    slot->item->actor, "");
    w->after = change.row;
    w->changed = true;
    if (change.droplet_freed) {
        w->freed = true;
        w->freed_ipv4 = w->columns.ipv4;
        w->freed_private_ipv4 = w->columns.private_ipv4;
        w->columns.ipv4 = w->columns.private_ipv4 = 0;
        w->columns.gone_at_ms = d->now_ms;
    }
}

static int begin_destroy(struct deletion *d, struct slot *slot, struct error *err)
{
    struct events_write *w = &slot->write;
    struct event *destroy = &d->destroys[d->destroy_count];
    event_id id;
    int r = ids_take(d->env->event_ids, 1, &id.v, err);

    if (r < 0)
        return r;
    events_follow_up_make(&w->after, id, EVENT_DESTROY, w->after.droplet_hypervisor, d->now_ms,
                          destroy);
    /* It is published from memory: the sweeper comes for it only if that fails. */
    destroy->check_at_ms = d->now_ms + event_margin_ms(destroy, d->now_ms);
    w->after.droplet_event = id;
    d->destroy_count++;
    slot->item->event = *destroy;
    return 0;
}

static int delete_slot(struct deletion *d, struct slot *slot, struct error *err)
{
    struct events_write *w = &slot->write;
    int r = 0;

    if (!slot->found)
        return 0;
    slot->item->found = true;
    w->before = w->after = slot->event;
    w->after.droplet_deleted = true;
    w->columns.deleted_at_ms = d->now_ms;
    w->droplet_changed = true;
    if (slot->has_event)
        cancel_event(d, slot);
    else if (!w->before.droplet_gone)
        r = begin_destroy(d, slot, err);
    d->writes[d->write_count++] = *w;
    return r;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int count_down(struct sql *db, struct deletion *d, struct error *err)
{
    size_t n = 0;

    for (size_t i = 0; i < d->write_count; i++)
        d->ids[i] = d->writes[i].after.account.v;
    qsort(d->ids, d->write_count, sizeof *d->ids, compare_ids);
    for (size_t i = 0; i < d->write_count; i++) {
        if (n == 0 || d->values[2 * n - 1].u64 != d->ids[i]) {
            d->values[2 * n] = SQL_U(0);
            d->values[2 * n + 1] = SQL_U(d->ids[i]);
            n++;
        }
        d->values[2 * n - 2].u64++;
    }
    int64_t r = sql_exec_array(db, COUNT_DOWN, d->values, 2, n, err);
    return r < 0 ? (int)r : 0;
}

static int delete_tags(struct sql *db, struct deletion *d, struct error *err)
{
    for (size_t i = 0; i < d->write_count; i++)
        d->values[i] = SQL_U(d->writes[i].after.droplet.v);
    int64_t r = sql_exec_array(db, DELETE_TAGS, d->values, 1, d->write_count, err);
    return r < 0 ? (int)r : 0;
}

/* This body runs again after a deadlock: what it filled is emptied first. */
static void start_over(struct deletion *d)
{
    d->write_count = d->destroy_count = d->log_count = 0;
    for (size_t i = 0; i < d->count; i++) {
        d->slots[i] = (struct slot){.item = d->slots[i].item};
        d->slots[i].item->found = false;
        memset(&d->slots[i].item->event, 0, sizeof d->slots[i].item->event);
    }
}

static int delete_body(struct sql *db, void *ctx, struct error *err)
{
    struct deletion *d = ctx;
    int r;

    start_over(d);
    r = lock_rows(db, d, err);
    for (size_t i = 0; i < d->count && r == 0; i++)
        r = delete_slot(d, &d->slots[i], err);
    if (r == 0)
        r = events_write_rows(db, d->writes, d->write_count, err);
    if (r == 0)
        r = events_insert_rows(db, d->env->installation, d->destroys, d->destroy_count, err);
    if (r == 0)
        r = events_log_rows(db, d->logs, d->log_count, err);
    if (r == 0)
        r = delete_tags(db, d, err);
    return r == 0 ? count_down(db, d, err) : r;
}

/* After a commit: those that moved on, for another try; how many there are. */
static size_t keep_moved(struct deletion *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->count; i++)
        if (d->slots[i].moved)
            d->slots[n++] = d->slots[i];
    d->count = n;
    return n;
}

int events_delete(struct sql *db, const struct events_env *env, struct droplet_delete *items,
                  size_t count, struct error *err)
{
    struct deletion d;
    int r;

    assert(count <= EVENTS_BATCH_MAX);
    if (count == 0)
        return 0;
    r = deletion_init(&d, env, items, count, err);
    if (r < 0)
        return r;
    for (int i = 0; i < TRIES; i++) { /* busy: ids taken by others, or a droplet that moved */
        r = ids_reserve(env->event_ids, db, count, err);
        if (r >= 0)
            r = sql_transact(db, delete_body, &d, err);
        if (r == 0 && keep_moved(&d) > 0)
            r = error_set(err, ERR_BUSY, "droplets moved on while they were read");
        if (r != ERR_BUSY)
            break;
    }
    deletion_fini(&d);
    return r < 0 ? error_in(err, "deletes") : 0;
}
