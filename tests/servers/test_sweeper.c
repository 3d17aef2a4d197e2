/* The sweeper's thread against a real MariaDB; what it publishes goes to the test. */
#include "harpoon/api/sweeper.h"
#include "lib/log.h"
#include "lib/macros.h"
#include "tests/servers/servers.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEEN_MAX = 1000 };

static struct sql *db;
static struct sql_options mysql;
static struct uuid installation;
static struct ids *event_ids;
static struct events_env env;
static struct sweeper *sweeper;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct published { /* guarded by lock, as all below */
    uint64_t event;
    uint32_t type, state, attempt;
    uint64_t hypervisor;
    char queue[EVENT_QUEUE_NAME];
    size_t params_size;
} seen[SEEN_MAX];
static size_t seen_count;
static bool refusing; /* the broker is away */

static int take_message(void *ctx, const char *queue, const Harpoon__Event__V1__Event *message,
                        const uint8_t *params, size_t params_size, struct error *err)
{
    UNUSED(ctx);
    UNUSED(params);
    LOCK_SCOPE(&lock);
    if (refusing)
        return error_set(err, ERR_UNAVAILABLE, "away");
    struct published *p = &seen[seen_count++ % SEEN_MAX];
    *p = (struct published){.event = message->event_id,
                            .type = message->type,
                            .state = message->state,
                            .attempt = message->attempt,
                            .hypervisor = message->hypervisor_id,
                            .params_size = params_size};
    (void)snprintf(p->queue, sizeof p->queue, "%s", queue);
    return 0;
}

static void set_refusing(bool value)
{
    LOCK_SCOPE(&lock);

    refusing = value;
}

/* How often an event was published, and how it was the last time. */
static size_t published(uint64_t event, struct published *ret)
{
    size_t n = 0;

    LOCK_SCOPE(&lock);
    for (size_t i = 0; i < seen_count; i++)
        if (seen[i].event == event) {
            *ret = seen[i];
            n++;
        }
    return n;
}

/* ---- rows ---- */

static int64_t run(const char *statement, uint64_t id)
{
    struct error err;
    const struct sql_value v[] = {SQL_U(id)};
    int64_t r = sql_exec(db, statement, v, strchr(statement, '?') != NULL ? 1 : 0, &err);

    if (r < 0)
        fail_msg("%s: %s", statement, err.message);
    return r;
}

static struct event read_event(uint64_t id)
{
    struct event_record ret;
    struct error err;

    if (events_read(db, &id, 1, false, &ret, &err) < 0)
        fail_msg("%s", err.message);
    return ret.row;
}

/* A create accepted a while ago, whose message was never sent, or was lost. */
static void accept_create(uint64_t droplet, uint64_t event)
{
    struct error err;
    const struct sql_value d[] = {SQL_U(droplet), SQL_U(event)};
    const struct sql_value e[] = {SQL_U(event), SQL_U(droplet)};

    if (sql_exec(db,
                 "INSERT INTO droplets (id, account_id, name, region, size, image_id, vcpus,"
                 " memory_mib, disk_gib, status, event_id, created_at, body)"
                 " VALUES (?, 1, 'web', 'nyc3', 's', 1, 1, 512, 10, 1, ?, 1, '{}')",
                 d, ARRAY_LEN(d), &err) < 0 ||
        sql_exec(db,
                 "INSERT INTO events (id, droplet_id, account_id, type, region, state, attempt,"
                 " check_at, deadline, created_at, params) VALUES (?, ?, 1, 1, 'nyc3', 1, 1,"
                 " UNIX_TIMESTAMP(NOW(3)) * 1000 - 1, UNIX_TIMESTAMP(NOW(3)) * 1000 + 600000,"
                 " UNIX_TIMESTAMP(NOW(3)) * 1000 - 5001, 'the spec')",
                 e, ARRAY_LEN(e), &err) < 0)
        fail_msg("%s", err.message);
}

static bool is_published(void *event)
{
    struct published p;

    return published(*(uint64_t *)event, &p) > 0;
}

static struct published wait_published(uint64_t event)
{
    struct published p = {0};

    wait_until(is_published, &event, "the event is published");
    (void)published(event, &p);
    return p;
}

/* What a counter of the sweeper was, to wait until it has grown. */
struct growth {
    size_t offset; /* of the counter in its statistics */
    uint64_t from;
};

static uint64_t counter(size_t offset)
{
    struct sweeper_stats stats;

    sweeper_stats_get(sweeper, &stats);
    return *(uint64_t *)((char *)&stats + offset);
}

static bool has_grown(void *growth)
{
    const struct growth *g = growth;

    return counter(g->offset) > g->from;
}

static bool has_failed(void *event)
{
    return read_event(*(uint64_t *)event).state == EVENT_FAILED;
}

static bool is_connected(void *unused)
{
    struct error err;

    UNUSED(unused);
    return sql_connect(db, &err) == 0;
}

/* ---- tests ---- */

static void a_lost_message_is_published_again_with_all_that_a_worker_needs(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    struct published p = wait_published(100);
    assert_string_equal(p.queue, "events.nyc3.create");
    assert_int_equal(p.type, EVENT_CREATE);
    assert_int_equal(p.state, EVENT_PENDING);
    assert_int_equal(p.attempt, 1);
    assert_int_equal(p.params_size, strlen("the spec"));
    struct event row = read_event(100);
    assert_true(row.check_at_ms > row.created_ms + 5001);
}

static void what_could_not_be_published_is_due_again(void **unused)
{
    UNUSED(unused);
    struct growth unpublished = {.offset = offsetof(struct sweeper_stats, unpublished)};
    set_refusing(true);
    unpublished.from = counter(unpublished.offset);
    accept_create(50, 100);
    wait_until(has_grown, &unpublished, "publishing is tried");
    set_refusing(false);
    run("UPDATE events SET check_at = 1 WHERE id = ?", 100);
    wait_published(100);
}

static void
a_dispatched_create_past_its_deadline_ends_and_its_cleanup_follows_at_once(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    wait_published(100);
    run("UPDATE events SET state = 2, hypervisor_id = 7, deadline = 1, check_at = 1 WHERE id = ?",
        100);
    uint64_t id = 100;
    wait_until(has_failed, &id, "the event is ended");
    struct event row = read_event(100);
    assert_int_equal(row.reason, REASON_HYPERVISOR_UNREACHABLE);
    struct published p = wait_published(row.droplet_event.v);
    assert_int_equal(p.type, EVENT_CLEANUP);
    assert_int_equal(p.hypervisor, 7);
    assert_string_equal(p.queue, "events.nyc3.action");
    assert_true(p.params_size > 0);
}

static void one_that_cannot_be_ended_does_not_keep_the_others(void **unused)
{
    UNUSED(unused);
    run("ALTER TABLE events ADD CONSTRAINT stuck CHECK (id <> 101 OR state <> 5)", 0);
    uint64_t errors = counter(offsetof(struct sweeper_stats, errors));
    for (uint64_t i = 0; i < 3; i++)
        accept_create(50 + i, 100 + i);
    for (uint64_t i = 0; i < 3; i++)
        wait_published(100 + i);
    run("UPDATE events SET deadline = 1, check_at = 1 WHERE id >= ?", 100);
    for (uint64_t id = 100; id < 103; id += 2)
        wait_until(has_failed, &id, "the event is ended");
    assert_int_equal(read_event(101).state, EVENT_PENDING);
    assert_int_equal(counter(offsetof(struct sweeper_stats, errors)), errors); /* no pause */
    run("ALTER TABLE events DROP CONSTRAINT stuck", 0);
    uint64_t id = 101;
    wait_until(has_failed, &id, "the event is ended");
}

static void a_backlog_is_swept_batch_after_batch(void **unused)
{
    UNUSED(unused);
    for (uint64_t i = 0; i < 120; i++) /* the batch is 50 */
        accept_create(50 + i, 100 + i);
    for (uint64_t i = 0; i < 120; i++)
        wait_published(100 + i);
}

static void it_goes_on_when_the_database_is_back(void **unused)
{
    UNUSED(unused);
    struct growth errors = {.offset = offsetof(struct sweeper_stats, errors)};
    accept_create(50, 100);
    wait_published(100);
    server_do("stop", NULL, NULL, NULL);
    errors.from = counter(errors.offset);
    wait_until(has_grown, &errors, "sweeping fails");
    server_do("start", NULL, NULL, NULL);
    wait_until(is_connected, NULL, "our own connection is back");
    run("INSERT INTO queues VALUES ('events.nyc3.create', 9999999999999)"
        " ON DUPLICATE KEY UPDATE taken_at = 9999999999999",
        0);
    accept_create(51, 101);
    wait_published(101);
}

static int forget(void **unused)
{
    UNUSED(unused);
    static const char *const statements[] = {
        "DELETE FROM droplets",
        "DELETE FROM events",
        "DELETE FROM event_log",
        "REPLACE INTO queues VALUES ('events.nyc3.create', 9999999999999),"
        " ('events.nyc3.action', 9999999999999)",
    };
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        run(statements[i], 0);
    LOCK_SCOPE(&lock);
    seen_count = 0;
    return 0;
}

static int prepare(void **unused)
{
    struct error err;
    char schema[4096];

    UNUSED(unused);
    log_open("sweeper-test", LOG_ERROR);
    sql_library_init();
    mysql = (struct sql_options){
        .socket = server_setting("HARPOON_TEST_SOCKET"),
        .user = "tester",
        .password = server_setting("HARPOON_TEST_PASSWORD"),
        .database = "test",
    };
    db = sql_new(&mysql);
    (void)snprintf(schema, sizeof schema, "%s/harpoon/schema",
                   server_setting("HARPOON_TEST_SOURCE"));
    if (sql_migrate(db, schema, NULL, &err) < 0)
        fail_msg("%s", err.message);
    uuid_make_random(&installation);
    run("DELETE FROM id_blocks", 0);
    run("INSERT INTO id_blocks VALUES ('event', 100000)", 0);
    assert_int_equal(ids_new("event", 1000, &event_ids, &err), 0);
    env = (struct events_env){.installation = &installation, .event_ids = event_ids};
    if (sweeper_start(&(struct sweeper_options){.mysql = &mysql,
                                                .env = &env,
                                                .interval_ms = 10,
                                                .batch = 50,
                                                .publish = take_message},
                      &sweeper, &err) < 0)
        fail_msg("%s", err.message);
    return 0;
}

static int finish(void **unused)
{
    UNUSED(unused);
    assert_null(sweeper_stop(sweeper));
    ids_free(event_ids);
    sql_free(db);
    sql_thread_end();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lost_message_is_published_again_with_all_that_a_worker_needs),
        TEST(what_could_not_be_published_is_due_again),
        TEST(a_dispatched_create_past_its_deadline_ends_and_its_cleanup_follows_at_once),
        TEST(one_that_cannot_be_ended_does_not_keep_the_others),
        TEST(a_backlog_is_swept_batch_after_batch),
        TEST(it_goes_on_when_the_database_is_back),
    };

    return cmocka_run_group_tests(tests, prepare, finish);
}
