#include "harpoon/store/events.h"

#include "harpoon/store/events_row.h"
#include "lib/macros.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 3

/* By primary key, in id order: every transaction that locks events does so first and in this
 * order, its droplets with them. */
static const char LOCK_EVENTS[] = "SELECT " EVENTS_ROW_COLUMNS ", " EVENTS_DROPLET_COLUMNS
                                  ", " EVENTS_NOW " FROM events e FORCE INDEX (PRIMARY)"
                                  " STRAIGHT_JOIN droplets d FORCE INDEX (PRIMARY)"
                                  " ON d.id = e.droplet_id WHERE e.id IN (%s)"
                                  " ORDER BY e.id FOR UPDATE";

static const char HOLD_FENCES[] = "SELECT hypervisor_id FROM fences FORCE INDEX (PRIMARY)"
                                  " WHERE hypervisor_id IN (%s) LOCK IN SHARE MODE";

struct apply {
    const struct events_env *env;
    struct event_item *items;
    size_t count;

    uint64_t *ids; /* of the items' events, ascending, each once */
    size_t id_count;
    struct events_write *writes; /* the rows found, ascending */
    size_t write_count;
    struct event *follow_ups;
    size_t follow_up_count;
    struct events_log *logs;
    size_t log_count;
    uint64_t *fenced; /* of the hypervisors that inputs say are fenced: those that are, ascending */
    size_t fenced_count;
    int64_t now_ms;
};

static void apply_fini(struct apply *a)
{
    free(a->ids);
    free(a->writes);
    free(a->follow_ups);
    free(a->logs);
    free(a->fenced);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static size_t sort_unique(uint64_t *ids, size_t count)
{
    size_t n = 0;

    qsort(ids, count, sizeof *ids, compare_ids);
    for (size_t i = 0; i < count; i++)
        if (n == 0 || ids[n - 1] != ids[i])
            ids[n++] = ids[i];
    return n;
}

static int apply_init(struct apply *a, const struct events_env *env, struct event_item *items,
                      size_t count, struct error *err)
{
    *a = (struct apply){.env = env, .items = items, .count = count};
    a->ids = malloc(count * sizeof *a->ids);
    a->writes = malloc(count * sizeof *a->writes);
    a->follow_ups = malloc(count * sizeof *a->follow_ups);
    a->logs = malloc(2 * count * sizeof *a->logs);
    a->fenced = malloc(count * sizeof *a->fenced);
    if (a->ids == NULL || a->writes == NULL || a->follow_ups == NULL || a->logs == NULL ||
        a->fenced == NULL) {
        apply_fini(a);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    for (size_t i = 0; i < count; i++)
        a->ids[i] = items[i].id.v;
    a->id_count = sort_unique(a->ids, count);
    return 0;
}

static int on_locked(void *ctx, const struct sql_row *row, struct error *err)
{
    struct apply *a = ctx;
    struct events_write *w = &a->writes[a->write_count++];

    UNUSED(err);
    memset(w, 0, sizeof *w);
    events_row_decode(row, 0, &w->before);
    events_droplet_decode(row, EVENTS_ROW_COUNT, &w->before, &w->columns);
    a->now_ms = sql_row_i64(row, EVENTS_ROW_COUNT + EVENTS_DROPLET_COUNT);
    w->after = w->before;
    return 0;
}

static int on_fence(void *ctx, const struct sql_row *row, struct error *err)
{
    struct apply *a = ctx;

    UNUSED(err);
    a->fenced[a->fenced_count++] = sql_row_u64(row, 0);
    return 0;
}

/* A fence is believed from the table only: whoever says so may have read it before it was lifted.
 */
static int hold_fences(struct sql *db, struct apply *a, struct error *err)
{
    uint64_t *asked = malloc(a->count * sizeof *asked);
    size_t n = 0;
    int64_t r = 0;

    if (asked == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].in.kind == IN_FENCED)
            asked[n++] = a->items[i].in.hypervisor.v;
    n = sort_unique(asked, n);
    a->fenced_count = 0;
    if (n > 0)
        r = sql_query_ids(db, HOLD_FENCES, asked, n, on_fence, a, err);
    if (r > 0)
        qsort(a->fenced, a->fenced_count, sizeof *a->fenced, compare_ids);
    free(asked);
    return r < 0 ? (int)r : 0;
}

static bool is_fenced(const struct apply *a, hypervisor_id hypervisor)
{
    return bsearch(&hypervisor.v, a->fenced, a->fenced_count, sizeof *a->fenced, compare_ids) !=
           NULL;
}

static int compare_write(const void *key, const void *write)
{
    uint64_t id = *(const uint64_t *)key, at = ((const struct events_write *)write)->before.id.v;

    return id < at ? -1 : id > at;
}

static void note(struct apply *a, const struct event *row, const char *what,
                 const struct event_item *item, const char *detail)
{
    struct events_log *log = &a->logs[a->log_count];

    if (what == NULL)
        return;
    events_log_fill(log, row, a->now_ms, what, item->in.actor, detail);
    if (log->hypervisor.v == 0)
        log->hypervisor = item->in.hypervisor;
    a->log_count++;
}

/* Makes the destroy or cleanup that the end of `w` is followed by. */
static int follow_up(struct apply *a, struct events_write *w, enum event_type type,
                     struct event_item *item, struct error *err)
{
    struct event *row = &a->follow_ups[a->follow_up_count];
    int r = ids_take(a->env->event_ids, 1, &item->follow_up.v, err);

    if (r < 0)
        return r;
    events_follow_up_make(&w->after, item->follow_up, type, w->after.hypervisor, a->now_ms, row);
    a->follow_up_count++;
    w->after.droplet_event = item->follow_up;
    note(a, &w->after, type == EVENT_CLEANUP ? "cleanup follows" : "destroy follows", item, NULL);
    return 0;
}

static int take_change(struct apply *a, struct events_write *w, const struct event_change *change,
                       struct event_item *item, struct error *err)
{
    const char *detail = item->in.detail;
    int r = 0;

    if (detail == NULL || detail[0] == 0)
        detail = event_reason_name(change->row.reason);
    note(a, &w->after, change->log_what, item, detail); /* of the attempt it happened to */
    w->after = change->row;
    w->changed = true;
    if (!change->droplet_changed)
        return 0;
    w->droplet_changed = true;
    if (change->droplet_freed) {
        w->freed = true;
        w->freed_ipv4 = w->columns.ipv4;
        w->freed_private_ipv4 = w->columns.private_ipv4;
        w->columns.ipv4 = w->columns.private_ipv4 = 0;
        w->columns.gone_at_ms = a->now_ms;
    }
    if (change->follow_up != 0)
        r = follow_up(a, w, change->follow_up, item, err);
    return r;
}

static int step_item(struct apply *a, struct event_item *item, struct error *err)
{
    struct event_change change;
    struct events_write *w =
        bsearch(&item->id.v, a->writes, a->write_count, sizeof *a->writes, compare_write);

    item->outcome = OUTCOME_UNKNOWN;
    item->answer = ANSWER_UNKNOWN;
    item->release = RELEASE_NONE;
    item->before = 0;
    item->follow_up.v = 0;
    if (w == NULL)
        return 0;
    item->before = w->after.state;
    item->outcome = OUTCOME_UNCHANGED;
    item->answer = ANSWER_WAIT;
    if (item->in.kind == IN_FENCED && !is_fenced(a, item->in.hypervisor))
        return 0;
    event_step(&w->after, &item->in, a->now_ms, &change);
    item->answer = change.answer;
    if (change.release_first != RELEASE_NONE) {
        item->outcome = OUTCOME_RELEASE_FIRST;
        item->release = change.release_first;
    } else if (change.changed) {
        item->outcome = OUTCOME_MOVED;
        return take_change(a, w, &change, item, err);
    }
    return 0;
}

/* The answers show the rows as they are after the whole batch. */
static void show_rows(struct apply *a)
{
    for (size_t i = 0; i < a->count; i++) {
        struct event_item *item = &a->items[i];
        const struct events_write *w =
            bsearch(&item->id.v, a->writes, a->write_count, sizeof *a->writes, compare_write);
        if (w != NULL)
            item->row = w->after;
        else
            memset(&item->row, 0, sizeof item->row);
    }
}

static int apply_body(struct sql *db, void *ctx, struct error *err)
{
    struct apply *a = ctx;
    int64_t r;

    a->write_count = a->follow_up_count = a->log_count = 0;
    r = sql_query_ids(db, LOCK_EVENTS, a->ids, a->id_count, on_locked, a, err);
    if (r >= 0)
        r = hold_fences(db, a, err);
    for (size_t i = 0; i < a->count && r >= 0; i++)
        r = step_item(a, &a->items[i], err);
    if (r >= 0)
        r = events_write_rows(db, a->writes, a->write_count, err);
    if (r >= 0)
        r = events_insert_rows(db, a->env->installation, a->follow_ups, a->follow_up_count, err);
    if (r >= 0)
        r = events_log_rows(db, a->logs, a->log_count, err);
    if (r >= 0)
        show_rows(a);
    return r < 0 ? (int)r : 0;
}

int events_apply(struct sql *db, const struct events_env *env, struct event_item *items,
                 size_t count, struct error *err)
{
    struct apply a;
    int r = 0;

    assert(count <= EVENTS_BATCH_MAX);
    if (count == 0)
        return 0;
    r = apply_init(&a, env, items, count, err);
    if (r < 0)
        return r;
    for (int i = 0; i < TRIES; i++) { /* another thread may have taken the ids we reserved */
        r = ids_reserve(env->event_ids, db, count, err);
        if (r >= 0)
            r = sql_transact(db, apply_body, &a, err);
        if (r != ERR_BUSY)
            break;
    }
    apply_fini(&a);
    return r < 0 ? error_in(err, "events") : 0;
}
