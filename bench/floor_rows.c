#include "bench/floor.h"

#include "lib/clock.h"
#include "lib/sql/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_DROPLET 300000001u
#define FIRST_EVENT   1000000001u
#define COLUMNS_MAX   16

/* The tables and columns are those of Harpoon's and the scheduler's schemas. */
static const char INSERT_DROPLET[] =
    "INSERT INTO droplets (id, account_id, name, region, size, image_id, vcpus, memory_mib,"
    " disk_gib, status, event_id, ipv4, private_ipv4, created_at, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char INSERT_EVENT[] =
    "INSERT INTO events (id, droplet_id, account_id, type, region, state, attempt, check_at,"
    " deadline, created_at, params) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char COUNT_ACCOUNT[] = "UPDATE accounts SET droplets = droplets + ? WHERE id = ?";
static const char HOLD_LEASE[] =
    "SELECT epoch FROM leases WHERE region = ? AND epoch = ? LOCK IN SHARE MODE";
static const char INSERT_CLAIM[] =
    "INSERT INTO claims (region, event_id, attempt, droplet_id, hypervisor_id, vcpus, memory_mib,"
    " disk_gib, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char DISPATCH_EVENT[] =
    "UPDATE events SET state = 2, hypervisor_id = ?, journal_id = ?, check_at = ?, t_placed = ?,"
    " t_dispatched = ? WHERE id = ? AND state = 1 AND attempt = 1";
static const char END_EVENT[] = "UPDATE events SET state = 4, check_at = NULL, t_running = ?,"
                                " t_done = ? WHERE id = ? AND state = 2 AND attempt = 1";
static const char END_DROPLET[] = "UPDATE droplets SET status = 2, event_id = 0, hypervisor_id = ?"
                                  " WHERE id = ? AND event_id = ?";

struct rows {
    const struct floor_options *options;
    struct sql *db;
    struct sql_value *values; /* of one statement */
    char (*names)[32];
    uint8_t *bytes;
    size_t first, count; /* the batch at hand */
};

static void run_array(struct rows *r, const char *sql, size_t columns, struct error *err)
{
    int64_t n = sql_exec_array(r->db, sql, r->values, columns, r->count, err);

    if (n < 0 || (size_t)n != r->count)
        floor_die(sql, n < 0 ? err->message : "rows were missing");
}

static uint64_t hypervisor_of(size_t number)
{
    return 1 + number * 2654435761u % 1000;
}

static int accept_batch(struct sql *db, void *ctx, struct error *err)
{
    struct rows *r = ctx;
    int64_t now = unix_ms();
    struct sql_value *v = r->values;

    for (size_t i = 0; i < r->count; i++) {
        size_t k = r->first + i;
        snprintf(r->names[i], sizeof r->names[i], "bench-%zu", k);
        const struct sql_value row[] = {SQL_U(FIRST_DROPLET + k),
                                        SQL_U(1),
                                        SQL_T(r->names[i]),
                                        SQL_T("nyc3"),
                                        SQL_T("s-1vcpu-1gb"),
                                        SQL_U(1003),
                                        SQL_U(1),
                                        SQL_U(1024),
                                        SQL_U(25),
                                        SQL_U(1),
                                        SQL_U(FIRST_EVENT + k),
                                        SQL_U(0x64400000u + k),
                                        SQL_U(0x0A000000u + k),
                                        SQL_I(now),
                                        SQL_B(r->bytes, r->options->body_bytes)};
        memcpy(v, row, sizeof row);
        v += 15;
    }
    run_array(r, INSERT_DROPLET, 15, err);
    v = r->values;
    for (size_t i = 0; i < r->count; i++) {
        size_t k = r->first + i;
        const struct sql_value row[] = {SQL_U(FIRST_EVENT + k),
                                        SQL_U(FIRST_DROPLET + k),
                                        SQL_U(1),
                                        SQL_U(1),
                                        SQL_T("nyc3"),
                                        SQL_U(1),
                                        SQL_U(1),
                                        SQL_I(now + 30000),
                                        SQL_I(now + 900000),
                                        SQL_I(now),
                                        SQL_B(r->bytes, r->options->params_bytes)};
        memcpy(v, row, sizeof row);
        v += 11;
    }
    run_array(r, INSERT_EVENT, 11, err);
    return (int)sql_exec(db, COUNT_ACCOUNT, (struct sql_value[]){SQL_U(r->count), SQL_U(1)}, 2,
                         err);
}

static int on_lease(void *ctx, const struct sql_row *row, struct error *err)
{
    (void)ctx, (void)row, (void)err;
    return 0;
}

static int claim_batch(struct sql *db, void *ctx, struct error *err)
{
    struct rows *r = ctx;
    int64_t now = unix_ms();
    struct sql_value *v = r->values;

    if (sql_query(db, HOLD_LEASE, (struct sql_value[]){SQL_T("nyc3"), SQL_U(1)}, 2, on_lease, NULL,
                  err) != 1)
        floor_die(HOLD_LEASE, err->message);
    for (size_t i = 0; i < r->count; i++) {
        size_t k = r->first + i;
        const struct sql_value row[] = {SQL_T("nyc3"),
                                        SQL_U(FIRST_EVENT + k),
                                        SQL_U(1),
                                        SQL_U(FIRST_DROPLET + k),
                                        SQL_U(hypervisor_of(k)),
                                        SQL_U(1),
                                        SQL_U(1024),
                                        SQL_U(25),
                                        SQL_I(now)};
        memcpy(v, row, sizeof row);
        v += 9;
    }
    run_array(r, INSERT_CLAIM, 9, err);
    return 0;
}

static int dispatch_batch(struct sql *db, void *ctx, struct error *err)
{
    struct rows *r = ctx;
    int64_t now = unix_ms();
    struct sql_value *v = r->values;

    (void)db;
    for (size_t i = 0; i < r->count; i++) {
        size_t k = r->first + i;
        const struct sql_value row[] = {SQL_U(hypervisor_of(k)),
                                        SQL_B(r->bytes, 16),
                                        SQL_I(now + 60000),
                                        SQL_I(now),
                                        SQL_I(now),
                                        SQL_U(FIRST_EVENT + k)};
        memcpy(v, row, sizeof row);
        v += 6;
    }
    run_array(r, DISPATCH_EVENT, 6, err);
    return 0;
}

static int end_batch(struct sql *db, void *ctx, struct error *err)
{
    struct rows *r = ctx;
    int64_t now = unix_ms();
    struct sql_value *v = r->values;

    (void)db;
    for (size_t i = 0; i < r->count; i++, v += 3) {
        v[0] = SQL_I(now);
        v[1] = SQL_I(now);
        v[2] = SQL_U(FIRST_EVENT + r->first + i);
    }
    run_array(r, END_EVENT, 3, err);
    v = r->values;
    for (size_t i = 0; i < r->count; i++, v += 3) {
        size_t k = r->first + i;
        v[0] = SQL_U(hypervisor_of(k));
        v[1] = SQL_U(FIRST_DROPLET + k);
        v[2] = SQL_U(FIRST_EVENT + k);
    }
    run_array(r, END_DROPLET, 3, err);
    return 0;
}

static void run_steps(struct rows *r, struct floor_times *times)
{
    static int (*const steps[FLOOR_STEPS])(struct sql *, void *,
                                           struct error *) = {accept_batch, claim_batch,
                                                              dispatch_batch, end_batch};
    struct error err = {0};

    for (int s = 0; s < FLOOR_STEPS; s++) {
        int64_t began = mono_us();
        if (sql_transact(r->db, steps[s], r, &err) < 0)
            floor_die("a transaction", err.message);
        if (times != NULL)
            floor_times_add(&times[s], mono_us() - began);
    }
}

void floor_rows_run(const struct floor_options *o, size_t first, size_t count,
                    struct floor_times *times)
{
    const struct sql_options options = {.socket = o->mysql_socket,
                                        .user = o->mysql_user,
                                        .password = o->mysql_password,
                                        .database = o->mysql_database};
    size_t most = o->params_bytes > o->body_bytes ? o->params_bytes : o->body_bytes;
    struct rows r = {.options = o,
                     .db = sql_new(&options),
                     .values = calloc(o->batch * COLUMNS_MAX, sizeof *r.values),
                     .names = calloc(o->batch, sizeof *r.names),
                     .bytes = malloc(most + 16)};

    if (r.db == NULL || r.values == NULL || r.names == NULL || r.bytes == NULL)
        floor_die("rows", "out of memory");
    memset(r.bytes, 'x', most + 16);
    for (size_t at = 0; at < count; at += r.count) {
        r.first = first + at;
        r.count = count - at < o->batch ? count - at : o->batch;
        run_steps(&r, times);
    }
    sql_free(r.db);
    sql_thread_end();
    free(r.values);
    free(r.names);
    free(r.bytes);
}
