#include "harpoon/store/events_row.h"

#include "lib/macros.h"
#include "proto/event.pb-c.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_PUBLIC  4 /* address_free.kind */
#define ADDRESS_PRIVATE 14

/* By primary key, once per move; the row is locked, so the comparison is a belt to braces. */
static const char MOVE_EVENT[] =
    "UPDATE events SET state = ?, attempt = ?, hypervisor_id = ?, journal_id = ?, reason = ?,"
    " check_at = ?, t_waiting = ?, t_placed = ?, t_dispatched = ?, t_running = ?, t_done = ?,"
    " excluded = ? WHERE id = ? AND state = ? AND attempt = ?";
#define MOVE_EVENT_VALUES 15

static const char MOVE_DROPLET[] =
    "UPDATE droplets SET status = ?, event_id = ?, hypervisor_id = ?, deleted_at = ?, gone_at = ?,"
    " ipv4 = ?, private_ipv4 = ? WHERE id = ? AND event_id = ?";
#define MOVE_DROPLET_VALUES 9

/* Given back twice is a fault, but not one that may stop a droplet's end. */
static const char FREE_ADDRESS[] =
    "INSERT IGNORE INTO address_free (region, kind, address) VALUES (?, ?, ?)";
#define FREE_ADDRESS_VALUES 3

static const char INSERT_EVENT[] =
    "INSERT INTO events (id, droplet_id, account_id, type, region, state, attempt, hypervisor_id,"
    " check_at, created_at, params) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
#define INSERT_EVENT_VALUES 11

/* Only what went wrong or an operator did. */
static const char INSERT_LOG[] = "INSERT INTO event_log (event_id, at, what, attempt,"
                                 " hypervisor_id, actor, detail) VALUES (?, ?, ?, ?, ?, ?, ?)";
#define INSERT_LOG_VALUES 7

static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = 0;

    for (; from != NULL && from[n] != 0 && n < size - 1; n++)
        to[n] = from[n] >= ' ' && from[n] <= '~' ? from[n] : '?';
    to[n] = 0;
}

static uint64_t big_endian(const uint8_t *b)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | b[i];
    return v;
}

static void decode_excluded(const struct sql_row *row, size_t column, struct event *ret)
{
    size_t size;
    const uint8_t *b = sql_row_bytes(row, column, &size);

    ret->excluded_count = size / 8 < EVENT_EXCLUDED_MAX ? size / 8 : EVENT_EXCLUDED_MAX;
    for (size_t i = 0; i < ret->excluded_count; i++)
        ret->excluded[i] = big_endian(b + 8 * i);
}

static size_t encode_excluded(const struct event *row, uint8_t ret[8 * EVENT_EXCLUDED_MAX])
{
    for (size_t i = 0; i < row->excluded_count; i++)
        for (int k = 0; k < 8; k++)
            ret[8 * i + k] = (uint8_t)(row->excluded[i] >> (56 - 8 * k));
    return 8 * row->excluded_count;
}

void events_row_decode(const struct sql_row *row, size_t first, struct event *ret)
{
    size_t c = first, size;

    memset(ret, 0, sizeof *ret);
    ret->id.v = sql_row_u64(row, c++);
    ret->droplet.v = sql_row_u64(row, c++);
    ret->account.v = sql_row_u64(row, c++);
    ret->type = (enum event_type)sql_row_u64(row, c++);
    copy_text(ret->region, sizeof ret->region, sql_row_text(row, c++));
    ret->state = (enum event_state)sql_row_u64(row, c++);
    ret->attempt = (unsigned)sql_row_u64(row, c++);
    ret->hypervisor.v = sql_row_u64(row, c++);
    const void *journal = sql_row_bytes(row, c++, &size);
    if (size == sizeof ret->journal.b)
        memcpy(ret->journal.b, journal, size);
    ret->reason = (enum event_reason)sql_row_u64(row, c++);
    ret->check_at_ms = sql_row_i64(row, c++);
    ret->deadline_ms = sql_row_i64(row, c++);
    ret->created_ms = sql_row_i64(row, c++);
    ret->waiting_since_ms = sql_row_i64(row, c++);
    ret->placed_ms = sql_row_i64(row, c++);
    ret->dispatched_ms = sql_row_i64(row, c++);
    ret->running_ms = sql_row_i64(row, c++);
    ret->done_ms = sql_row_i64(row, c++);
    decode_excluded(row, c, ret);
}

void events_droplet_decode(const struct sql_row *row, size_t first, struct event *event,
                           struct droplet_columns *ret)
{
    event->droplet_status = (enum droplet_status)sql_row_u64(row, first);
    event->droplet_event.v = sql_row_u64(row, first + 1);
    event->droplet_hypervisor.v = sql_row_u64(row, first + 2);
    ret->deleted_at_ms = sql_row_i64(row, first + 3);
    ret->gone_at_ms = sql_row_i64(row, first + 4);
    ret->ipv4 = (uint32_t)sql_row_u64(row, first + 5);
    ret->private_ipv4 = (uint32_t)sql_row_u64(row, first + 6);
    event->droplet_deleted = ret->deleted_at_ms != 0;
    event->droplet_gone = ret->gone_at_ms != 0;
}

static struct sql_value time_or_null(int64_t ms)
{
    return ms != 0 ? SQL_I(ms) : SQL_N;
}

static struct sql_value address_or_null(uint32_t address)
{
    return address != 0 ? SQL_U(address) : SQL_N;
}

/* What the caller's arrays of values are made in; freed at the end of its scope. */
static void *values_new(size_t rows, size_t columns, struct error *err)
{
    void *values = calloc(rows != 0 ? rows * columns : 1, sizeof(struct sql_value));

    if (values == NULL)
        error_set(err, ERR_INTERNAL, "out of memory");
    return values;
}

static void values_free(struct sql_value *values)
{
    free(values);
}
AUTO_DEFINE(values_free, struct sql_value *)

static void fill_event(const struct events_write *w, const uint8_t *excluded, size_t excluded_size,
                       struct sql_value v[MOVE_EVENT_VALUES])
{
    const struct event *e = &w->after;
    const struct sql_value values[MOVE_EVENT_VALUES] = {
        SQL_U(e->state),
        SQL_U(e->attempt),
        SQL_U(e->hypervisor.v),
        SQL_B(e->journal.b, sizeof e->journal.b),
        SQL_U(e->reason),
        time_or_null(e->check_at_ms),
        time_or_null(e->waiting_since_ms),
        time_or_null(e->placed_ms),
        time_or_null(e->dispatched_ms),
        time_or_null(e->running_ms),
        time_or_null(e->done_ms),
        SQL_B(excluded, excluded_size),
        SQL_U(e->id.v),
        SQL_U(w->before.state),
        SQL_U(w->before.attempt),
    };

    memcpy(v, values, sizeof values);
}

static int move_events(struct sql *db, const struct events_write *writes, size_t count,
                       struct error *err)
{
    AUTO(values_free) struct sql_value *values = values_new(count, MOVE_EVENT_VALUES, err);
    uint8_t(*excluded)[8 * EVENT_EXCLUDED_MAX] = malloc((count + 1) * sizeof *excluded);
    size_t n = 0;
    int64_t r = ERR_INTERNAL;

    if (values != NULL && excluded != NULL) {
        for (size_t i = 0; i < count; i++) {
            if (!writes[i].changed)
                continue;
            size_t size = encode_excluded(&writes[i].after, excluded[n]);
            fill_event(&writes[i], excluded[n], size, values + n * MOVE_EVENT_VALUES);
            n++;
        }
        r = sql_exec_array(db, MOVE_EVENT, values, MOVE_EVENT_VALUES, n, err);
        if (r >= 0 && (uint64_t)r != n)
            r = error_set(err, ERR_INTERNAL, "%" PRIi64 " of %zu locked events were moved", r, n);
    } else {
        error_set(err, ERR_INTERNAL, "out of memory");
    }
    free(excluded);
    return r < 0 ? (int)r : 0;
}

static int move_droplets(struct sql *db, const struct events_write *writes, size_t count,
                         struct error *err)
{
    AUTO(values_free) struct sql_value *values = values_new(count, MOVE_DROPLET_VALUES, err);
    size_t n = 0;

    if (values == NULL)
        return err->code;
    for (size_t i = 0; i < count; i++) {
        const struct event *e = &writes[i].after;
        const struct droplet_columns *c = &writes[i].columns;
        if (!writes[i].droplet_changed)
            continue;
        const struct sql_value v[MOVE_DROPLET_VALUES] = {
            SQL_U(e->droplet_status),
            SQL_U(e->droplet_event.v),
            SQL_U(e->droplet_hypervisor.v),
            time_or_null(c->deleted_at_ms),
            time_or_null(c->gone_at_ms),
            address_or_null(c->ipv4),
            address_or_null(c->private_ipv4),
            SQL_U(e->droplet.v),
            SQL_U(writes[i].before.droplet_event.v),
        };
        memcpy(values + n++ * MOVE_DROPLET_VALUES, v, sizeof v);
    }
    int64_t r = sql_exec_array(db, MOVE_DROPLET, values, MOVE_DROPLET_VALUES, n, err);
    if (r >= 0 && (uint64_t)r != n)
        r = error_set(err, ERR_INTERNAL, "%" PRIi64 " of %zu locked droplets were moved", r, n);
    return r < 0 ? (int)r : 0;
}

static int free_addresses(struct sql *db, const struct events_write *writes, size_t count,
                          struct error *err)
{
    AUTO(values_free) struct sql_value *values = values_new(2 * count, FREE_ADDRESS_VALUES, err);
    size_t n = 0;

    if (values == NULL)
        return err->code;
    for (size_t i = 0; i < count; i++) {
        const uint32_t addresses[] = {writes[i].freed_ipv4, writes[i].freed_private_ipv4};
        static const uint32_t kinds[] = {ADDRESS_PUBLIC, ADDRESS_PRIVATE};
        for (size_t k = 0; writes[i].freed && k < ARRAY_LEN(addresses); k++) {
            struct sql_value *v = values + n * FREE_ADDRESS_VALUES;
            if (addresses[k] == 0)
                continue;
            v[0] = SQL_T(writes[i].after.region);
            v[1] = SQL_U(kinds[k]);
            v[2] = SQL_U(addresses[k]);
            n++;
        }
    }
    int64_t r = sql_exec_array(db, FREE_ADDRESS, values, FREE_ADDRESS_VALUES, n, err);
    return r < 0 ? (int)r : 0;
}

int events_write_rows(struct sql *db, const struct events_write *writes, size_t count,
                      struct error *err)
{
    int r = move_events(db, writes, count, err);

    if (r == 0)
        r = move_droplets(db, writes, count, err);
    return r == 0 ? free_addresses(db, writes, count, err) : r;
}

void events_follow_up_make(const struct event *parent, event_id id, enum event_type type,
                           hypervisor_id hypervisor, int64_t now_ms, struct event *ret)
{
    *ret = (struct event){
        .id = id,
        .droplet = parent->droplet,
        .account = parent->account,
        .type = type,
        .state = EVENT_PENDING,
        .attempt = 1,
        .hypervisor = hypervisor,
        .check_at_ms = now_ms,
        .created_ms = now_ms,
        .droplet_status = parent->droplet_status,
        .droplet_event = id,
        .droplet_hypervisor = parent->droplet_hypervisor,
        .droplet_deleted = parent->droplet_deleted,
    };
    copy_text(ret->region, sizeof ret->region, parent->region);
}

#define PARAMS_MAX 128

static size_t pack_params(const struct uuid *installation, const struct event *row,
                          uint8_t ret[PARAMS_MAX])
{
    Harpoon__Event__V1__Params params = HARPOON__EVENT__V1__PARAMS__INIT;
    struct uuid uuid;
    char text[UUID_TEXT];

    droplet_uuid_make(installation, row->droplet, &uuid);
    uuid_format(&uuid, text);
    params.pinned_hypervisor_id = row->hypervisor.v;
    params.droplet_uuid = text;
    return harpoon__event__v1__params__pack(&params, ret);
}

int events_insert_rows(struct sql *db, const struct uuid *installation, const struct event *rows,
                       size_t count, struct error *err)
{
    AUTO(values_free) struct sql_value *values = values_new(count, INSERT_EVENT_VALUES, err);
    uint8_t(*params)[PARAMS_MAX] = malloc((count + 1) * sizeof *params);
    int64_t r = ERR_INTERNAL;

    if (values != NULL && params != NULL) {
        for (size_t i = 0; i < count; i++) {
            const struct event *e = &rows[i];
            size_t size = pack_params(installation, e, params[i]);
            const struct sql_value v[INSERT_EVENT_VALUES] = {
                SQL_U(e->id.v),       SQL_U(e->droplet.v),    SQL_U(e->account.v),
                SQL_U(e->type),       SQL_T(e->region),       SQL_U(e->state),
                SQL_U(e->attempt),    SQL_U(e->hypervisor.v), SQL_I(e->check_at_ms),
                SQL_I(e->created_ms), SQL_B(params[i], size),
            };
            memcpy(values + i * INSERT_EVENT_VALUES, v, sizeof v);
        }
        r = sql_exec_array(db, INSERT_EVENT, values, INSERT_EVENT_VALUES, count, err);
    } else {
        error_set(err, ERR_INTERNAL, "out of memory");
    }
    free(params);
    return r < 0 ? (int)r : 0;
}

void events_log_fill(struct events_log *ret, const struct event *row, int64_t at_ms,
                     const char *what, const char *actor, const char *detail)
{
    ret->event = row->id;
    ret->attempt = row->attempt;
    ret->hypervisor = row->hypervisor;
    ret->at_ms = at_ms;
    copy_text(ret->what, sizeof ret->what, what);
    copy_text(ret->actor, sizeof ret->actor, actor);
    copy_text(ret->detail, sizeof ret->detail, detail);
}

int events_log_rows(struct sql *db, const struct events_log *logs, size_t count, struct error *err)
{
    AUTO(values_free) struct sql_value *values = values_new(count, INSERT_LOG_VALUES, err);

    if (values == NULL)
        return err->code;
    for (size_t i = 0; i < count; i++) {
        const struct sql_value v[INSERT_LOG_VALUES] = {
            SQL_U(logs[i].event.v), SQL_I(logs[i].at_ms),        SQL_T(logs[i].what),
            SQL_U(logs[i].attempt), SQL_U(logs[i].hypervisor.v), SQL_T(logs[i].actor),
            SQL_T(logs[i].detail),
        };
        memcpy(values + i * INSERT_LOG_VALUES, v, sizeof v);
    }
    int64_t r = sql_exec_array(db, INSERT_LOG, values, INSERT_LOG_VALUES, count, err);
    return r < 0 ? (int)r : 0;
}
