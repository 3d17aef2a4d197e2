#include "harpoon/store/admin.h"

#include "harpoon/droplet.h"
#include "harpoon/store/events.h"
#include "harpoon/store/events_row.h"
#include "proto/event.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BARRED_MAX = EVENT_EXCLUDED_MAX };

static const char LOCK_EVENT[] =
    "SELECT " EVENTS_ROW_COLUMNS ", " EVENTS_DROPLET_COLUMNS ", e.replayed_as, " EVENTS_NOW
    " FROM events e FORCE INDEX (PRIMARY) STRAIGHT_JOIN droplets d FORCE INDEX (PRIMARY)"
    " ON d.id = e.droplet_id WHERE e.id = ? FOR UPDATE";
/* Where a destroy or cleanup has closed the droplet for good: its journal refuses every new job. */
static const char FIND_BARRED[] =
    "SELECT hypervisor_id FROM events FORCE INDEX (droplet_events) WHERE droplet_id = ?"
    " AND type IN (2, 3) AND hypervisor_id > 0 GROUP BY hypervisor_id ORDER BY MAX(id) DESC"
    " LIMIT 32";
static const char INSERT_EVENT[] =
    "INSERT INTO events (id, droplet_id, account_id, type, region, state, attempt, check_at,"
    " deadline, created_at, replay_of, excluded, params)"
    " VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)";
static const char MARK_EVENT[] =
    "UPDATE events SET replayed_as = ? WHERE id = ? AND replayed_as = 0";
static const char REVIVE_DROPLET[] =
    "UPDATE droplets SET status = ?, event_id = ?, hypervisor_id = 0, gone_at = NULL, ipv4 = ?,"
    " private_ipv4 = ? WHERE id = ? AND event_id = 0 AND deleted_at IS NULL";

struct replay {
    const struct admin_replay_env *env;
    struct admin_replayed *item;
    struct event row; /* with the droplet's part, as locked */
    uint64_t replayed_as;
    int64_t now_ms;
    uint32_t public_ipv4, private_ipv4;
    uint8_t *params; /* owned */
    size_t params_size;
    uint8_t barred[8 * BARRED_MAX]; /* as `excluded` is stored */
    size_t barred_count;
};

/* Why this create cannot be replayed; "" when it can. Pure. */
static void explain_refusal(const struct event *row, char ret[200])
{
    ret[0] = 0;
    if (row->type != EVENT_CREATE)
        (void)snprintf(ret, 200, "it is a %s: only creates are replayed",
                       event_type_name(row->type));
    else if (row->state != EVENT_FAILED)
        (void)snprintf(ret, 200, "it is %s, not failed", event_state_name(row->state));
    else if (row->droplet_deleted)
        (void)snprintf(ret, 200, "its Droplet was deleted");
    else if (row->droplet_event.v != 0)
        (void)snprintf(ret, 200, "event %" PRIu64 " of its Droplet is not finished",
                       row->droplet_event.v);
    else if (!row->droplet_gone)
        (void)snprintf(ret, 200, "something of its Droplet exists");
}

/* ---- the new params: the old ones with new addresses ---- */
static int set_text(char **field, const char *text, struct error *err)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    if (*field != protobuf_c_empty_string)
        free(*field);
    *field = copy;
    return 0;
}

static int set_address(Harpoon__Job__V1__Address *to, uint32_t address, struct error *err)
{
    char text[ADDRESS_TEXT];
    int r = set_text(&to->address, address_format(address, text), err);

    if (r == 0 && to->gateway != NULL && to->gateway[0] != 0)
        r = set_text(&to->gateway, address_format(address_gateway(address), text), err);
    return r;
}

static int set_addresses(const struct replay *p, Harpoon__Job__V1__DropletSpec *spec,
                         struct error *err)
{
    int r = 0;

    for (size_t i = 0; i < spec->n_addresses && r == 0; i++) {
        Harpoon__Job__V1__Address *to = spec->addresses[i];
        if (to->type == HARPOON__JOB__V1__ADDRESS__TYPE__TYPE_PUBLIC)
            r = set_address(to, p->public_ipv4, err);
        else if (to->type == HARPOON__JOB__V1__ADDRESS__TYPE__TYPE_PRIVATE)
            r = set_address(to, p->private_ipv4, err);
    }
    return r;
}

static int make_params(struct replay *p, const struct event_record *old, struct error *err)
{
    Harpoon__Event__V1__Params *params =
        harpoon__event__v1__params__unpack(NULL, old->params_size, old->params);

    if (params == NULL || params->spec == NULL) {
        if (params != NULL)
            harpoon__event__v1__params__free_unpacked(params, NULL);
        return error_set(err, ERR_INTERNAL, "the params of event %" PRIu64 " cannot be read",
                         old->row.id.v);
    }
    int r = set_addresses(p, params->spec, err);
    p->params_size = harpoon__event__v1__params__get_packed_size(params);
    p->params = r == 0 ? malloc(p->params_size + 1) : NULL;
    if (p->params != NULL)
        harpoon__event__v1__params__pack(params, p->params);
    else if (r == 0)
        r = error_set(err, ERR_INTERNAL, "out of memory");
    harpoon__event__v1__params__free_unpacked(params, NULL);
    return r;
}

/* ---- the transaction ---- */
static int on_locked(void *ctx, const struct sql_row *row, struct error *err)
{
    struct replay *p = ctx;
    struct droplet_columns columns;

    UNUSED(err);
    events_row_decode(row, 0, &p->row);
    events_droplet_decode(row, EVENTS_ROW_COUNT, &p->row, &columns);
    p->replayed_as = sql_row_u64(row, EVENTS_ROW_COUNT + EVENTS_DROPLET_COUNT);
    p->now_ms = sql_row_i64(row, EVENTS_ROW_COUNT + EVENTS_DROPLET_COUNT + 1);
    return 0;
}

static int on_barred(void *ctx, const struct sql_row *row, struct error *err)
{
    struct replay *p = ctx;
    uint64_t id = sql_row_u64(row, 0);

    UNUSED(err);
    for (int i = 0; i < 8 && p->barred_count < BARRED_MAX; i++)
        p->barred[8 * p->barred_count + (size_t)i] = (uint8_t)(id >> (56 - 8 * i));
    p->barred_count++;
    return 0;
}

static int insert_event(struct sql *db, struct replay *p, struct error *err)
{
    const struct sql_value values[] = {
        SQL_U(p->item->as.v),
        SQL_U(p->row.droplet.v),
        SQL_U(p->row.account.v),
        SQL_U(p->row.type),
        SQL_T(p->row.region),
        SQL_U(EVENT_PENDING),
        SQL_I(p->now_ms),
        SQL_I(p->now_ms + p->env->create_deadline_ms),
        SQL_I(p->now_ms),
        SQL_U(p->row.id.v),
        SQL_B(p->barred, 8 * p->barred_count),
        SQL_B(p->params, p->params_size),
    };
    int64_t n = sql_exec(db, INSERT_EVENT, values, ARRAY_LEN(values), err);
    return n < 0 ? (int)n : 0;
}

static int move_rows(struct sql *db, struct replay *p, struct error *err)
{
    const struct sql_value mark[] = {SQL_U(p->item->as.v), SQL_U(p->row.id.v)};
    const struct sql_value revive[] = {SQL_U(DROPLET_NEW), SQL_U(p->item->as.v),
                                       SQL_U(p->public_ipv4), SQL_U(p->private_ipv4),
                                       SQL_U(p->row.droplet.v)};
    int64_t n = sql_exec(db, MARK_EVENT, mark, ARRAY_LEN(mark), err);

    if (n == 1)
        n = sql_exec(db, REVIVE_DROPLET, revive, ARRAY_LEN(revive), err);
    if (n >= 0 && n != 1)
        n = error_set(err, ERR_INTERNAL, "a row that is locked was not hit");
    return n < 0 ? (int)n : 0;
}

static int log_replay(struct sql *db, const struct replay *p, struct error *err)
{
    struct events_log logs[2];
    struct event new_row = p->row;
    char detail[256];

    new_row.id = p->item->as;
    new_row.attempt = 1;
    new_row.hypervisor.v = 0;
    (void)snprintf(detail, sizeof detail, "as event %" PRIu64 ": %s", p->item->as.v,
                   p->env->reason);
    events_log_fill(&logs[0], &p->row, p->now_ms, "replayed", p->env->actor, detail);
    (void)snprintf(detail, sizeof detail, "of event %" PRIu64 ": %s", p->row.id.v, p->env->reason);
    events_log_fill(&logs[1], &new_row, p->now_ms, "replay", p->env->actor, detail);
    return events_log_rows(db, logs, ARRAY_LEN(logs), err);
}

static int replay_body(struct sql *db, void *ctx, struct error *err)
{
    struct replay *p = ctx;

    p->barred_count = 0;
    p->item->as.v = 0;
    int64_t r = sql_query(db, LOCK_EVENT, &SQL_U(p->item->event.v), 1, on_locked, p, err);
    if (r <= 0)
        return r < 0 ? (int)r : error_set(err, ERR_NOT_FOUND, "the event is gone");
    if (p->replayed_as != 0) {
        p->item->as.v = p->replayed_as;
        return 0;
    }
    explain_refusal(&p->row, p->item->refused);
    if (p->item->refused[0] != 0)
        return 0;
    r = ids_take(p->env->event_ids, 1, &p->item->as.v, err);
    if (r >= 0)
        r = sql_query(db, FIND_BARRED, &SQL_U(p->row.droplet.v), 1, on_barred, p, err);
    if (r >= 0)
        r = insert_event(db, p, err);
    if (r >= 0)
        r = move_rows(db, p, err);
    if (r >= 0)
        r = log_replay(db, p, err);
    return r < 0 ? (int)r : 1;
}

/* ---- before and after it ---- */
static void put_back(struct replay *p, const char *region)
{
    addresses_put_back(p->env->addresses, region, ADDRESS_PUBLIC, p->public_ipv4);
    addresses_put_back(p->env->addresses, region, ADDRESS_PRIVATE, p->private_ipv4);
}

static int take_addresses(struct sql *db, struct replay *p, const char *region, struct error *err)
{
    struct addresses *a = p->env->addresses;
    int r = addresses_reserve(a, db, region, ADDRESS_PUBLIC, 1, err);

    if (r >= 0)
        r = addresses_reserve(a, db, region, ADDRESS_PRIVATE, 1, err);
    if (r < 0)
        return r;
    p->public_ipv4 = addresses_take(a, region, ADDRESS_PUBLIC);
    p->private_ipv4 = addresses_take(a, region, ADDRESS_PRIVATE);
    if (p->public_ipv4 != 0 && p->private_ipv4 != 0)
        return 0;
    put_back(p, region);
    return error_set(err, ERR_BUSY, "others took the addresses that were reserved");
}

static int replay(struct sql *db, struct replay *p, const struct event_record *old,
                  struct error *err)
{
    const char *region = old->row.region;
    int r = ids_reserve(p->env->event_ids, db, 1, err);

    if (r >= 0)
        r = take_addresses(db, p, region, err);
    if (r < 0)
        return r;
    r = make_params(p, old, err);
    if (r >= 0)
        r = sql_transact(db, replay_body, p, err);
    /* After a lost commit they may be in the row; what is in another's is not handed out again. */
    if (r != 1 && r != ERR_UNAVAILABLE && r != ERR_CONFLICT)
        put_back(p, region);
    free(p->params);
    return r;
}

int admin_replay(struct sql *db, const struct admin_replay_env *env, bool dry_run,
                 struct admin_replayed *item, struct error *err)
{
    struct replay p = {.env = env, .item = item};
    struct event_record old;
    int r = events_read(db, &item->event.v, 1, true, &old, err);

    item->as.v = 0;
    item->refused[0] = 0;
    if (r < 0)
        return r;
    if (old.row.id.v == 0)
        (void)snprintf(item->refused, sizeof item->refused, "there is no such event");
    else if (old.replayed_as != 0)
        item->as.v = old.replayed_as;
    else
        explain_refusal(&old.row, item->refused);
    if (!dry_run && item->as.v == 0 && item->refused[0] == 0)
        r = replay(db, &p, &old, err);
    events_records_free(&old, 1);
    return r;
}
