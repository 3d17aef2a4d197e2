/* lib/sql against a real MariaDB: run by run.py. */
#include "lib/clock.h"
#include "lib/sql/sql.h"
#include "tests/servers/servers.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct error err;

static struct sql *open_as(const char *user, int timeout_ms)
{
    struct sql_options options = {
        .socket = server_setting("HARPOON_TEST_SOCKET"),
        .user = user,
        .password = server_setting("HARPOON_TEST_PASSWORD"),
        .database = "test",
        .timeout_ms = timeout_ms,
    };
    struct sql *db = sql_new(&options);
    assert_non_null(db);
    return db;
}

static struct sql *open_tester(void)
{
    return open_as("tester", 0);
}

static int64_t must(int64_t r)
{
    if (r < 0)
        fail_msg("%d: %s", (int)r, err.message);
    return r;
}

static void must_fail(int64_t r, int code)
{
    if (r != code)
        fail_msg("%d instead of %d: %s", (int)r, code, r < 0 ? err.message : "");
}

static int64_t run(struct sql *db, const char *statement)
{
    return sql_exec(db, statement, NULL, 0, &err);
}

static int take_number(void *ctx, const struct sql_row *row, struct error *e)
{
    UNUSED(e);
    *(int64_t *)ctx = sql_row_i64(row, 0);
    return 0;
}

static int64_t number(struct sql *db, const char *statement)
{
    int64_t n = -1;
    must(sql_query(db, statement, NULL, 0, take_number, &n, &err));
    return n;
}

static void make_table(struct sql *db)
{
    must(run(db, "DROP TABLE IF EXISTS item"));
    must(run(db, "CREATE TABLE item (id BIGINT UNSIGNED PRIMARY KEY, n INT NULL, "
                 "body MEDIUMBLOB NULL) ENGINE=InnoDB"));
}

static const char INSERT[] = "INSERT INTO item (id, n, body) VALUES (?, ?, ?)";
static const char UPDATE[] = "UPDATE item SET n = ? WHERE id = ?";
static const char COUNT[] = "SELECT COUNT(*) FROM item";

static void insert(struct sql *db, uint64_t id, int64_t n)
{
    struct sql_value values[] = {SQL_U(id), SQL_I(n), SQL_N};
    must(sql_exec(db, INSERT, values, 3, &err));
}

static int64_t update(struct sql *db, uint64_t id, int64_t n, struct error *e)
{
    struct sql_value values[] = {SQL_I(n), SQL_U(id)};
    return sql_exec(db, UPDATE, values, 2, e);
}

/* ---- statements ---- */

static void session_is_set_as_promised(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    assert_int_equal(number(db, "SELECT @@tx_isolation = 'READ-COMMITTED'"), 1);
    assert_int_equal(number(db, "SELECT @@idle_transaction_timeout"), 2);
    assert_int_equal(number(db, "SELECT @@innodb_lock_wait_timeout"), 3);
    assert_int_equal(number(db, "SELECT @@sql_mode LIKE '%STRICT_ALL_TABLES%'"), 1);
    assert_int_equal(number(db, "SELECT @@time_zone = '+00:00'"), 1);
    assert_int_equal(number(db, "SELECT @@character_set_client = 'utf8mb4'"), 1);
    sql_free(db);
}

static void array_update_counts_rows_matched(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    make_table(db);
    insert(db, 1, 10);
    insert(db, 2, 20);
    struct sql_value values[] = {SQL_I(11), SQL_U(1), SQL_I(20), SQL_U(2), SQL_I(30), SQL_U(3)};
    /* one changes, one stays as it is, one is not there */
    assert_int_equal(must(sql_exec_array(db, UPDATE, values, 2, 3, &err)), 2);
    assert_int_equal(must(update(db, 2, 20, &err)), 1);
    assert_int_equal(must(sql_exec_array(db, UPDATE, values, 2, 0, &err)), 0);
    sql_free(db);
}

static int check_bytes(void *ctx, const struct sql_row *row, struct error *e)
{
    size_t size;
    UNUSED(e);
    ++*(int *)ctx;
    if (sql_row_u64(row, 0) == 2) {
        assert_true(sql_row_is_null(row, 1));
        assert_true(sql_row_is_null(row, 2));
        assert_string_equal(sql_row_text(row, 2), "");
        assert_int_equal(sql_row_i64(row, 1), 0);
        return 0;
    }
    assert_int_equal(sql_row_u64(row, 0), UINT64_MAX);
    assert_int_equal(sql_row_i64(row, 1), -7);
    assert_string_equal(sql_row_text(row, 1), "-7");
    const char *bytes = sql_row_bytes(row, 2, &size);
    assert_int_equal(size, 4);
    assert_memory_equal(bytes, "\xff\0\xfe'", 4);
    return 0;
}

static void nulls_and_bytes_survive_both_protocols(void **state)
{
    struct sql *db = open_tester();
    int rows = 0;
    UNUSED(state);
    make_table(db);
    struct sql_value values[] = {SQL_U(2),          SQL_N,     SQL_N,
                                 SQL_U(UINT64_MAX), SQL_I(-7), SQL_B("\xff\0\xfe'", 4)};
    assert_int_equal(must(sql_exec_array(db, INSERT, values, 3, 2, &err)), 2);
    assert_int_equal(must(sql_query(db, "SELECT id, n, body FROM item", NULL, 0, check_bytes, &rows,
                                    &err)),
                     2);
    uint64_t ids[] = {2, UINT64_MAX, 77};
    assert_int_equal(must(sql_query_ids(db,
                                        "SELECT id, n, body FROM item FORCE INDEX (PRIMARY) "
                                        "WHERE id IN (%s) FOR UPDATE",
                                        ids, 3, check_bytes, &rows, &err)),
                     2);
    assert_int_equal(rows, 4);
    sql_free(db);
}

static void a_column_of_two_types_is_refused(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    make_table(db);
    struct sql_value values[] = {SQL_U(1), SQL_I(1), SQL_N, SQL_U(2), SQL_T("2"), SQL_N};
    must_fail(sql_exec_array(db, INSERT, values, 3, 2, &err), ERR_INTERNAL);
    must_fail(sql_exec(db, INSERT, values, 2, &err), ERR_INTERNAL);
    assert_int_equal(number(db, COUNT), 0);
    sql_free(db);
}

static int check_size(void *ctx, const struct sql_row *row, struct error *e)
{
    size_t size;
    UNUSED(e);
    const char *bytes = sql_row_bytes(row, 1, &size);
    assert_int_equal(size, sql_row_u64(row, 0) * 1000);
    assert_int_equal(strspn(bytes, "x"), size);
    ++*(int *)ctx;
    return 0;
}

static void long_values_and_large_arrays_fit(void **state)
{
    enum { ROWS = 200 };
    struct sql *db = open_tester();
    struct sql_value values[ROWS * 3];
    char *body = malloc(ROWS * 1000);
    int rows = 0;
    UNUSED(state);
    make_table(db);
    memset(body, 'x', ROWS * 1000);
    for (size_t i = 0; i < ROWS; i++) { /* 20 MB in all: more than one packet may hold */
        values[i * 3] = SQL_U(i + 1);
        values[i * 3 + 1] = SQL_N;
        values[i * 3 + 2] = SQL_B(body, (i + 1) * 1000);
    }
    assert_int_equal(must(sql_exec_array(db, INSERT, values, 3, ROWS, &err)), ROWS);
    must(sql_query(db, "SELECT id, body FROM item ORDER BY RAND(1)", NULL, 0, check_size, &rows,
                   &err));
    assert_int_equal(rows, ROWS);
    free(body);
    sql_free(db);
}

static int check_returned(void *ctx, const struct sql_row *row, struct error *e)
{
    UNUSED(e);
    *(uint64_t *)ctx += sql_row_u64(row, 0);
    return 0;
}

static void insert_returning_gives_rows(void **state)
{
    static const char statement[] = "INSERT INTO item (id) VALUES (?) RETURNING id";
    struct sql *db = open_tester();
    uint64_t sum = 0;
    UNUSED(state);
    make_table(db);
    assert_int_equal(must(sql_query(db, statement, &SQL_U(5), 1, check_returned, &sum, &err)), 1);
    assert_int_equal(must(sql_query(db, statement, &SQL_U(6), 1, check_returned, &sum, &err)), 1);
    assert_int_equal(sum, 11);
    must_fail(sql_query(db, statement, &SQL_U(6), 1, check_returned, &sum, &err), ERR_CONFLICT);
    must_fail(sql_query(db, INSERT, (struct sql_value[]){SQL_U(7), SQL_N, SQL_N}, 3, check_returned,
                        &sum, &err),
              ERR_INTERNAL); /* gives no rows */
    sql_free(db);
}

static int stop_at_once(void *ctx, const struct sql_row *row, struct error *e)
{
    UNUSED(row);
    ++*(int *)ctx;
    return error_set(e, ERR_NO_CAPACITY, "enough");
}

static void a_callback_may_stop_and_the_connection_goes_on(void **state)
{
    struct sql *db = open_tester();
    int rows = 0;
    UNUSED(state);
    make_table(db);
    insert(db, 1, 1);
    insert(db, 2, 2);
    must_fail(sql_query(db, "SELECT id FROM item", NULL, 0, stop_at_once, &rows, &err),
              ERR_NO_CAPACITY);
    assert_int_equal(rows, 1);
    uint64_t ids[] = {1, 2};
    must_fail(sql_query_ids(db, "SELECT id FROM item WHERE id IN (%s)", ids, 2, stop_at_once, &rows,
                            &err),
              ERR_NO_CAPACITY);
    assert_int_equal(number(db, COUNT), 2);
    sql_free(db);
}

static void a_text_that_changes_at_one_address_is_prepared_anew(void **state)
{
    struct sql *db = open_tester();
    char statement[32] = "SELECT 1";
    UNUSED(state);
    assert_int_equal(number(db, statement), 1);
    snprintf(statement, sizeof statement, "SELECT 2");
    assert_int_equal(number(db, statement), 2);
    sql_free(db);
}

/* ---- errors ---- */

static void a_duplicate_key_is_a_conflict(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    make_table(db);
    insert(db, 2, 1);
    struct sql_value values[] = {SQL_U(1), SQL_N, SQL_N, SQL_U(2), SQL_N, SQL_N};
    must_fail(sql_exec(db, INSERT, values + 3, 3, &err), ERR_CONFLICT);
    must_fail(sql_exec_array(db, INSERT, values, 3, 2, &err), ERR_CONFLICT);
    assert_int_equal(number(db, COUNT), 1);
    sql_free(db);
}

static int insert_then_meet_a_duplicate(struct sql *db, void *ctx, struct error *e)
{
    struct sql_value fresh[] = {SQL_U(10), SQL_N, SQL_N};
    struct sql_value taken[] = {SQL_U(2), SQL_N, SQL_N};
    UNUSED(ctx);
    must(sql_exec(db, INSERT, fresh, 3, e));
    must_fail(sql_exec(db, INSERT, taken, 3, e), ERR_CONFLICT);
    return 7; /* lives with it */
}

static void a_conflict_leaves_the_transaction_alive(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    make_table(db);
    insert(db, 2, 1);
    assert_int_equal(must(sql_transact(db, insert_then_meet_a_duplicate, NULL, &err)), 7);
    assert_int_equal(number(db, COUNT), 2);
    sql_free(db);
}

static int insert_then_refuse(struct sql *db, void *ctx, struct error *e)
{
    ++*(int *)ctx;
    insert(db, 1, 1);
    return error_set(e, ERR_BUSY, "by the body's own judgement");
}

static void a_body_that_fails_leaves_nothing_and_is_not_repeated(void **state)
{
    struct sql *db = open_tester();
    int runs = 0;
    UNUSED(state);
    make_table(db);
    must_fail(sql_transact(db, insert_then_refuse, &runs, &err), ERR_BUSY);
    assert_int_equal(runs, 1);
    assert_int_equal(number(db, COUNT), 0);
    sql_free(db);
}

static void a_wrong_statement_is_our_bug(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    must_fail(run(db, "SELEKT 1"), ERR_INTERNAL);
    must_fail(run(db, "INSERT INTO mysql.nowhere VALUES (1)"), ERR_INTERNAL);
    assert_int_equal(number(db, "SELECT 1"), 1);
    sql_free(db);
}

static void a_slow_statement_ends_at_its_deadline(void **state)
{
    struct sql *db = open_as("tester", 1000);
    UNUSED(state);
    int64_t id = number(db, "SELECT CONNECTION_ID()");
    must_fail(run(db, "SELECT SLEEP(60)"), ERR_DEADLINE);
    assert_int_equal(number(db, "SELECT CONNECTION_ID()"), id); /* and costs no connection */
    sql_free(db);
}

struct lock_test {
    struct sql *other;
    int runs;
};

static int update_one(struct sql *db, void *ctx, struct error *e)
{
    UNUSED(ctx);
    int64_t r = update(db, 1, 99, e);
    return r < 0 ? (int)r : 0;
}

static int meet_a_lock(struct sql *db, void *ctx, struct error *e)
{
    struct lock_test *t = ctx;
    must(update(db, 1, 1, e));
    return sql_transact(t->other, update_one, NULL, e);
}

static void a_lock_held_for_too_long_is_busy(void **state)
{
    struct sql *db = open_tester();
    struct lock_test t = {.other = open_as("tester", 2000)}; /* waits for one second, five times */
    UNUSED(state);
    make_table(db);
    insert(db, 1, 0);
    must(run(t.other, "SET SESSION innodb_lock_wait_timeout=0"));
    must_fail(sql_transact(db, meet_a_lock, &t, &err), ERR_BUSY);
    sql_free(t.other);
    sql_free(db);
}

/* ---- deadlocks ---- */

struct deadlock_side {
    pthread_t thread;
    pthread_barrier_t *barrier;
    uint64_t first, second;
    bool careless; /* ignores what its second statement says */
    int runs, refused, result;
};

static int cross_update(struct sql *db, void *ctx, struct error *e)
{
    struct deadlock_side *side = ctx;
    int64_t r = update(db, side->first, 1, e);
    if (r >= 0 && side->runs++ == 0)
        pthread_barrier_wait(side->barrier); /* both hold their first row */
    if (r >= 0)
        r = update(db, side->second, 1, e);
    if (r < 0 && side->careless) {
        r = update(db, 3, 1, e); /* would be committed by itself */
        assert_int_equal(r, ERR_BUSY);
        side->refused++;
        return 0;
    }
    return r < 0 ? (int)r : 0;
}

static void *run_side(void *arg)
{
    struct deadlock_side *side = arg;
    struct error e;
    struct sql *db = open_tester();
    side->result = sql_transact(db, cross_update, side, &e);
    sql_free(db);
    sql_thread_end();
    return NULL;
}

static void collide(struct deadlock_side sides[2])
{
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    for (int i = 0; i < 2; i++) {
        sides[i].barrier = &barrier;
        assert_int_equal(pthread_create(&sides[i].thread, NULL, run_side, &sides[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(sides[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
}

static void a_deadlock_runs_its_victim_again(void **state)
{
    struct sql *db = open_tester();
    struct deadlock_side sides[2] = {{.first = 1, .second = 2}, {.first = 2, .second = 1}};
    UNUSED(state);
    make_table(db);
    insert(db, 1, 0);
    insert(db, 2, 0);
    collide(sides);
    assert_int_equal(sides[0].result, 0);
    assert_int_equal(sides[1].result, 0);
    assert_int_equal(sides[0].runs + sides[1].runs, 3); /* one of them twice */
    sql_free(db);
}

static void after_a_deadlock_nothing_is_stored_by_halves(void **state)
{
    struct sql *db = open_tester();
    struct deadlock_side sides[2] = {{.first = 1, .second = 2, .careless = true},
                                     {.first = 2, .second = 1, .careless = true}};
    UNUSED(state);
    make_table(db);
    insert(db, 1, 0);
    insert(db, 2, 0);
    insert(db, 3, 0);
    collide(sides);
    assert_int_equal(sides[0].refused + sides[1].refused, 1);
    assert_int_equal(sides[0].result + sides[1].result, 0); /* repeated, and well */
    assert_int_equal(number(db, "SELECT n FROM item WHERE id = 3"), 0);
    sql_free(db);
}

/* ---- lost connections ---- */

static void kill_connection(struct sql *operator, int64_t id)
{
    char statement[40];
    snprintf(statement, sizeof statement, "KILL %" PRId64, id);
    must(run(operator, statement));
}

static bool is_gone(void *ctx)
{
    return number(ctx, "SELECT COUNT(*) FROM information_schema.processlist "
                       "WHERE user = 'tester'") == 0;
}

static void a_connection_lost_while_idle_is_replaced(void **state)
{
    struct sql *db = open_tester(), *operator= open_as("operator", 0);
    UNUSED(state);
    make_table(db);
    insert(db, 1, 1);
    int64_t id = number(db, "SELECT CONNECTION_ID()");
    kill_connection(operator, id);
    wait_until(is_gone, operator, "the connection is gone");
    insert(db, 2, 2); /* prepared before */
    assert_int_equal(number(db, COUNT), 2);
    assert_true(number(db, "SELECT CONNECTION_ID()") != id);
    sql_free(operator);
    sql_free(db);
}

struct kill_test {
    struct sql *operator;
    bool at_the_end;
    int runs;
};

static int insert_and_be_killed(struct sql *db, void *ctx, struct error *e)
{
    struct kill_test *t = ctx;
    struct sql_value values[] = {SQL_U(2), SQL_N, SQL_N};
    t->runs++;
    insert(db, 1, 1);
    kill_connection(t->operator, number(db, "SELECT CONNECTION_ID()"));
    wait_until(is_gone, t->operator, "the connection is gone");
    if (t->at_the_end)
        return 0;
    must_fail(sql_exec(db, INSERT, values, 3, e), ERR_UNAVAILABLE);
    must_fail(sql_exec(db, INSERT, values, 3, e), ERR_UNAVAILABLE); /* no new one in here */
    return 0;                                                       /* overlooks it */
}

static void a_connection_lost_inside_a_transaction_ends_it(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    make_table(db);
    for (int at_the_end = 0; at_the_end < 2; at_the_end++) {
        struct kill_test t = {.operator= open_as("operator", 0), .at_the_end = at_the_end};
        must_fail(sql_transact(db, insert_and_be_killed, &t, &err), ERR_UNAVAILABLE);
        assert_int_equal(t.runs, 1);
        assert_int_equal(number(db, COUNT), 0);
        sql_free(t.operator);
    }
    sql_free(db);
}

static int hold_a_transaction_open(struct sql *db, void *ctx, struct error *e)
{
    insert(db, 1, 1);
    wait_until(is_gone, ctx, "the server ended the idle transaction");
    struct sql_value values[] = {SQL_U(2), SQL_N, SQL_N};
    int64_t r = sql_exec(db, INSERT, values, 3, e);
    return r < 0 ? (int)r : 0;
}

static void a_transaction_left_idle_is_ended_by_the_server(void **state)
{
    struct sql *db = open_tester(), *operator= open_as("operator", 0);
    UNUSED(state);
    make_table(db);
    must_fail(sql_transact(db, hold_a_transaction_open, operator, & err), ERR_UNAVAILABLE);
    assert_int_equal(number(db, COUNT), 0);
    sql_free(operator);
    sql_free(db);
}

static void a_read_only_server_is_unavailable(void **state)
{
    struct sql *db = open_tester(), *operator= open_as("operator", 0);
    struct sql_value values[] = {SQL_U(1), SQL_N, SQL_N};
    UNUSED(state);
    make_table(db);
    must(run(operator, "SET GLOBAL read_only = 1"));
    int64_t r = sql_exec(db, INSERT, values, 3, &err);
    must(run(operator, "SET GLOBAL read_only = 0"));
    must_fail(r, ERR_UNAVAILABLE);
    insert(db, 1, 1);
    sql_free(operator);
    sql_free(db);
}

static bool answers(void *ctx)
{
    struct error e;
    int64_t n;
    return sql_query(ctx, "SELECT 1", NULL, 0, take_number, &n, &e) == 1;
}

static void a_stopped_server_is_unavailable_until_it_is_back(void **state)
{
    struct sql *db = open_tester();
    struct sql_value values[] = {SQL_U(2), SQL_N, SQL_N};
    UNUSED(state);
    make_table(db);
    insert(db, 1, 1);
    assert_true(sql_is_connected(db));
    server_do("kill", NULL, NULL, NULL);
    for (int i = 0; i < 20; i++) /* the first few try, the others know already */
        must_fail(sql_exec(db, INSERT, values, 3, &err), ERR_UNAVAILABLE);
    must_fail(sql_transact(db, update_one, NULL, &err), ERR_UNAVAILABLE);
    assert_false(sql_is_connected(db));
    server_do("start", NULL, NULL, NULL);
    wait_until(answers, db, "reconnected");
    insert(db, 2, 2);
    assert_int_equal(number(db, COUNT), 2);
    assert_true(sql_is_connected(db));
    sql_free(db);
}

static void a_restarted_server_finds_its_client_again(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    make_table(db);
    insert(db, 1, 1);
    server_do("stop", NULL, NULL, NULL);
    server_do("start", NULL, NULL, NULL);
    insert(db, 2, 2); /* not even the first statement fails */
    assert_int_equal(number(db, COUNT), 2);
    sql_free(db);
}

static void a_frozen_server_is_not_waited_for_for_ever(void **state)
{
    struct sql *db = open_as("tester", 1000), *fresh = open_as("tester", 1000);
    UNUSED(state);
    make_table(db);
    server_do("freeze", NULL, NULL, NULL);
    int64_t r = sql_exec(db, COUNT, NULL, 0, &err);
    int connected = sql_connect(fresh, &err);
    server_do("thaw", NULL, NULL, NULL);
    must_fail(r, ERR_UNAVAILABLE);
    must_fail(connected, ERR_UNAVAILABLE);
    wait_until(answers, db, "reconnected");
    sql_free(fresh);
    sql_free(db);
}

/* ---- migrations ---- */

static char folder[] = "/tmp/harpoon-migrations-XXXXXX";
static int applied_count;

static void count_applied(const char *file)
{
    UNUSED(file);
    applied_count++;
}

static void write_migration(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void remove_migration(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static void drop_everything(struct sql *db)
{
    must(run(db, "DROP DATABASE test"));
    must(run(db, "CREATE DATABASE test"));
}

static void migrations_are_applied_once_and_in_order(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    drop_everything(db);
    assert_non_null(mkdtemp(folder));
    write_migration("0002_b.sql", "INSERT INTO a VALUES (2);\n");
    write_migration("0001_a.sql", "-- makes; a table\nCREATE TABLE a (\n  v INT -- a; value\n) "
                                  "ENGINE=InnoDB;\nINSERT INTO a VALUES (1);  -- one\n");
    write_migration("notes.sql", "nonsense;\n");
    applied_count = 0;
    assert_int_equal(must(sql_migrate(db, folder, count_applied, &err)), 2);
    assert_int_equal(applied_count, 2);
    assert_int_equal(must(sql_migrate(db, folder, count_applied, &err)), 0);
    assert_int_equal(number(db, "SELECT SUM(v) FROM a"), 3);
    sql_free(db);
}

static void an_interrupted_migration_goes_on_where_it_failed(void **state)
{
    struct sql *db = open_tester();
    UNUSED(state);
    write_migration("0003_c.sql", "INSERT INTO a VALUES (10);\nINSERT INTO nowhere VALUES (1);\n");
    must_fail(sql_migrate(db, folder, NULL, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.message, "0003_c.sql, statement 2"));
    write_migration("0003_c.sql", "INSERT INTO a VALUES (10);\nINSERT INTO a VALUES (20);\n");
    assert_int_equal(must(sql_migrate(db, folder, NULL, &err)), 1);
    assert_int_equal(number(db, "SELECT SUM(v) FROM a"), 33);
    write_migration("0003_d.sql", "INSERT INTO a VALUES (1);\n");
    must_fail(sql_migrate(db, folder, NULL, &err), ERR_INVALID);
    must_fail(sql_migrate(db, "/nowhere", NULL, &err), ERR_INVALID);
    const char *names[] = {"0001_a.sql", "0002_b.sql", "0003_c.sql", "0003_d.sql", "notes.sql"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        remove_migration(names[i]);
    assert_int_equal(rmdir(folder), 0);
    sql_free(db);
}

static void the_schemas_of_the_daemons_apply(void **state)
{
    const char *const schemas[] = {"harpoon/schema", "scheduler/schema"};
    struct sql *db = open_tester();
    char path[300];
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        snprintf(path, sizeof path, "%s/%s", server_setting("HARPOON_TEST_SOURCE"), schemas[i]);
        if (access(path, R_OK) != 0)
            continue;
        drop_everything(db);
        assert_true(must(sql_migrate(db, path, NULL, &err)) > 0);
        assert_int_equal(must(sql_migrate(db, path, NULL, &err)), 0);
    }
    sql_free(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_is_set_as_promised),
        cmocka_unit_test(array_update_counts_rows_matched),
        cmocka_unit_test(nulls_and_bytes_survive_both_protocols),
        cmocka_unit_test(a_column_of_two_types_is_refused),
        cmocka_unit_test(long_values_and_large_arrays_fit),
        cmocka_unit_test(insert_returning_gives_rows),
        cmocka_unit_test(a_callback_may_stop_and_the_connection_goes_on),
        cmocka_unit_test(a_text_that_changes_at_one_address_is_prepared_anew),
        cmocka_unit_test(a_duplicate_key_is_a_conflict),
        cmocka_unit_test(a_conflict_leaves_the_transaction_alive),
        cmocka_unit_test(a_body_that_fails_leaves_nothing_and_is_not_repeated),
        cmocka_unit_test(a_wrong_statement_is_our_bug),
        cmocka_unit_test(a_slow_statement_ends_at_its_deadline),
        cmocka_unit_test(a_lock_held_for_too_long_is_busy),
        cmocka_unit_test(a_deadlock_runs_its_victim_again),
        cmocka_unit_test(after_a_deadlock_nothing_is_stored_by_halves),
        cmocka_unit_test(a_connection_lost_while_idle_is_replaced),
        cmocka_unit_test(a_connection_lost_inside_a_transaction_ends_it),
        cmocka_unit_test(a_transaction_left_idle_is_ended_by_the_server),
        cmocka_unit_test(a_read_only_server_is_unavailable),
        cmocka_unit_test(migrations_are_applied_once_and_in_order),
        cmocka_unit_test(an_interrupted_migration_goes_on_where_it_failed),
        cmocka_unit_test(the_schemas_of_the_daemons_apply),
        cmocka_unit_test(a_frozen_server_is_not_waited_for_for_ever),
        cmocka_unit_test(a_stopped_server_is_unavailable_until_it_is_back),
        cmocka_unit_test(a_restarted_server_finds_its_client_again),
    };
    sql_library_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
