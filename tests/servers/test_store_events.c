/* The road of an event through the database, against a real MariaDB. Each test begins with empty
 * tables; time is moved in the rows. */
#include "harpoon/store/events.h"
#include "lib/macros.h"
#include "tests/servers/servers.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sql *db, *other;
static struct uuid installation;
static struct ids *event_ids;
static struct events_env env;
static const struct uuid journal = {.b = {1, 2, 3}}, new_journal = {.b = {9, 8, 7}};
static const hypervisor_id here = {7}, there = {8};

/* ---- helpers ---- */

static struct sql *connect_database(void)
{
    struct error err;
    struct sql *ret = sql_new(&(struct sql_options){
        .socket = server_setting("HARPOON_TEST_SOCKET"),
        .user = "tester",
        .password = server_setting("HARPOON_TEST_PASSWORD"),
        .database = "test",
    });

    assert_non_null(ret);
    if (sql_connect(ret, &err) < 0)
        fail_msg("%s", err.message);
    return ret;
}

/* One statement, with an id that may be 0. */
static int64_t run(const char *statement, uint64_t id)
{
    struct error err;
    const struct sql_value v[] = {SQL_U(id)};
    int64_t r = sql_exec(db, statement, v, strchr(statement, '?') != NULL ? 1 : 0, &err);

    if (r < 0)
        fail_msg("%s: %s", statement, err.message);
    return r;
}

static int on_number(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(int64_t *)ctx = sql_row_is_null(row, 0) ? -1 : sql_row_i64(row, 0);
    return 0;
}

/* The number a query gives: -1 for NULL, -2 for no row. */
static int64_t number(const char *statement, uint64_t id)
{
    struct error err;
    int64_t ret = -2;
    const struct sql_value v[] = {SQL_U(id)};

    if (sql_query(db, statement, v, strchr(statement, '?') != NULL ? 1 : 0, on_number, &ret, &err) <
        0)
        fail_msg("%s: %s", statement, err.message);
    return ret;
}

/* What accepting a create leaves: a droplet with addresses, and its event. */
static void accept_create(uint64_t droplet, uint64_t event)
{
    struct error err;
    const struct sql_value d[] = {SQL_U(droplet), SQL_U(event), SQL_U(0x0a000000 + droplet),
                                  SQL_U(0x0b000000 + droplet)};
    const struct sql_value e[] = {SQL_U(event), SQL_U(droplet)};

    if (sql_exec(db,
                 "INSERT INTO droplets (id, account_id, name, region, size, image_id, vcpus,"
                 " memory_mib, disk_gib, status, event_id, ipv4, private_ipv4, created_at, body)"
                 " VALUES (?, 1, 'web', 'nyc3', 's', 1, 1, 512, 10, 1, ?, ?, ?, 1, '{}')",
                 d, ARRAY_LEN(d), &err) < 0 ||
        sql_exec(db,
                 "INSERT INTO events (id, droplet_id, account_id, type, region, state, attempt,"
                 " check_at, deadline, created_at, params) VALUES (?, ?, 1, 1, 'nyc3', 1, 1,"
                 " UNIX_TIMESTAMP(NOW(3)) * 1000 + 5000, UNIX_TIMESTAMP(NOW(3)) * 1000 + 600000,"
                 " UNIX_TIMESTAMP(NOW(3)) * 1000, 'the spec')",
                 e, ARRAY_LEN(e), &err) < 0)
        fail_msg("%s", err.message);
    run("UPDATE accounts SET droplets = droplets + 1 WHERE id = 1", 0);
}

static struct event_item item(uint64_t event, enum event_input_kind kind)
{
    return (struct event_item){
        .id = {event},
        .in = {.kind = kind, .attempt = 1, .hypervisor = here, .journal = journal, .actor = "test"},
    };
}

static void apply(struct event_item *items, size_t count)
{
    struct error err;

    if (events_apply(db, &env, items, count, &err) < 0)
        fail_msg("%s", err.message);
}

/* One input, which may release what it must. */
static struct event_item bring(struct event_item i)
{
    apply(&i, 1);
    if (i.outcome == OUTCOME_RELEASE_FIRST) {
        i.in.released = true;
        apply(&i, 1);
    }
    return i;
}

static void dispatch(uint64_t event)
{
    assert_int_equal(bring(item(event, IN_DELIVERED)).outcome, OUTCOME_MOVED);
}

static struct event_record read_event(uint64_t id)
{
    struct event_record ret;
    struct error err;

    if (events_read(db, &id, 1, false, &ret, &err) < 0)
        fail_msg("%s", err.message);
    return ret;
}

static struct droplet_delete delete_droplet(uint64_t droplet)
{
    struct droplet_delete d = {.droplet = {droplet}, .account = {1}, .actor = "customer"};
    struct error err;

    if (events_delete(db, &env, &d, 1, &err) < 0)
        fail_msg("%s", err.message);
    return d;
}

static uint64_t unfinished_of(uint64_t droplet)
{
    return (uint64_t)number("SELECT event_id FROM droplets WHERE id = ?", droplet);
}

static void assert_gone(uint64_t droplet)
{
    assert_int_equal(unfinished_of(droplet), 0);
    assert_true(number("SELECT gone_at FROM droplets WHERE id = ?", droplet) > 0);
    assert_int_equal(number("SELECT ipv4 FROM droplets WHERE id = ?", droplet), -1);
    assert_int_equal(number("SELECT private_ipv4 FROM droplets WHERE id = ?", droplet), -1);
    assert_int_equal(number("SELECT hypervisor_id FROM droplets WHERE id = ?", droplet), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM address_free WHERE region = 'nyc3' AND kind = 4"
                            " AND address = 0x0a000000 + ?",
                            droplet),
                     1);
    assert_int_equal(number("SELECT COUNT(*) FROM address_free WHERE region = 'nyc3' AND kind = 14"
                            " AND address = 0x0b000000 + ?",
                            droplet),
                     1);
}

static int64_t state_of(uint64_t event)
{
    return number("SELECT state FROM events WHERE id = ?", event);
}

static int empty_tables(void **unused)
{
    UNUSED(unused);
    static const char *const tables[] = {
        "DELETE FROM droplets",     "DELETE FROM events",
        "DELETE FROM event_log",    "DELETE FROM address_free",
        "DELETE FROM droplet_tags", "DELETE FROM queues",
        "DELETE FROM fences",       "UPDATE accounts SET droplets = 0",
    };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        run(tables[i], 0);
    return 0;
}

/* ---- transitions ---- */

static void a_create_goes_from_accepted_to_active(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    struct event_item i = bring(item(100, IN_DELIVERED));
    assert_int_equal(i.answer, ANSWER_START);
    assert_int_equal(i.before, EVENT_PENDING);
    struct event row = read_event(100).row;
    assert_int_equal(row.state, EVENT_DISPATCHED);
    assert_int_equal(row.hypervisor.v, here.v);
    assert_true(uuid_equal(&row.journal, &journal));
    assert_true(row.dispatched_ms > 0 && row.check_at_ms == row.dispatched_ms + 120000);
    i = bring(item(100, IN_RUNNING));
    assert_int_equal(i.answer, ANSWER_STORED);
    assert_int_equal(state_of(100), EVENT_RUNNING);
    i = bring(item(100, IN_SUCCEEDED));
    assert_int_equal(i.answer, ANSWER_STORED);
    row = read_event(100).row;
    assert_int_equal(row.state, EVENT_SUCCEEDED);
    assert_int_equal(number("SELECT check_at FROM events WHERE id = ?", 100), -1);
    assert_int_equal(row.droplet_status, DROPLET_ACTIVE);
    assert_int_equal(row.droplet_hypervisor.v, here.v);
    assert_int_equal(row.droplet_event.v, 0);
    assert_int_equal(number("SELECT COUNT(*) FROM event_log", 0), 0);
}

static void running_and_its_result_in_one_batch_are_one_move(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    struct event_item items[] = {item(100, IN_DELIVERED), item(100, IN_RUNNING),
                                 item(100, IN_SUCCEEDED), item(100, IN_SUCCEEDED),
                                 item(999, IN_SUCCEEDED)};
    items[1].in.began_ms = 12345;
    apply(items, ARRAY_LEN(items));
    assert_int_equal(items[0].outcome, OUTCOME_MOVED);
    assert_int_equal(items[2].outcome, OUTCOME_MOVED);
    assert_int_equal(items[3].outcome, OUTCOME_UNCHANGED);
    assert_int_equal(items[3].answer, ANSWER_STORED);
    assert_int_equal(items[4].outcome, OUTCOME_UNKNOWN);
    assert_int_equal(items[4].answer, ANSWER_UNKNOWN);
    assert_int_equal(items[0].row.state, EVENT_SUCCEEDED);
    assert_int_equal(number("SELECT t_running FROM events WHERE id = ?", 100), 12345);
}

static void a_report_said_again_is_stored_already(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    bring(item(100, IN_SUCCEEDED));
    struct event_item i = bring(item(100, IN_SUCCEEDED));
    assert_int_equal(i.outcome, OUTCOME_UNCHANGED);
    assert_int_equal(i.answer, ANSWER_STORED);
    assert_int_equal(bring(item(100, IN_RUNNING)).answer, ANSWER_STORED);
}

static void a_closed_attempt_is_followed_by_the_next_elsewhere(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    struct event_item i = item(100, IN_CLOSED);
    i.in.reason = REASON_HOST_DISK_FULL;
    i.in.detail = "no space left\non device \xff";
    i = bring(i);
    assert_int_equal(i.answer, ANSWER_STORED);
    struct event row = read_event(100).row;
    assert_int_equal(row.state, EVENT_PENDING);
    assert_int_equal(row.attempt, 2);
    assert_int_equal(row.hypervisor.v, 0);
    assert_true(uuid_is_zero(&row.journal));
    assert_int_equal(row.excluded_count, 1);
    assert_int_equal(row.excluded[0], here.v);
    assert_int_equal(row.reason, REASON_HOST_DISK_FULL);
    assert_int_equal(number("SELECT COUNT(*) FROM event_log WHERE event_id = ? AND attempt = 1"
                            " AND what = 'attempt closed' AND hypervisor_id = 7"
                            " AND detail = 'no space left?on device ?'",
                            100),
                     1);
    assert_int_equal(bring(item(100, IN_SUCCEEDED)).answer, ANSWER_DISCARD);
}

static void the_last_attempt_is_stored_as_failed_only_once_its_claim_is_released(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    run("UPDATE events SET attempt = 5 WHERE id = ?", 100);
    struct event_item i = item(100, IN_DELIVERED);
    i.in.attempt = 5;
    bring(i);
    i = item(100, IN_CLOSED);
    i.in.attempt = 5;
    apply(&i, 1);
    assert_int_equal(i.outcome, OUTCOME_RELEASE_FIRST);
    assert_int_equal(i.release, RELEASE_ATTEMPT);
    assert_int_equal(i.answer, ANSWER_WAIT);
    assert_int_equal(state_of(100), EVENT_DISPATCHED);
    i.in.released = true;
    apply(&i, 1);
    assert_int_equal(state_of(100), EVENT_FAILED);
    assert_gone(50);
    assert_int_equal(number("SELECT status FROM droplets WHERE id = ?", 50), DROPLET_ARCHIVE);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1", 0), 1); /* still shown */
    struct droplet_delete d = delete_droplet(50);
    assert_true(d.found);
    assert_int_equal(d.event.id.v, 0); /* nothing is left to destroy */
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1", 0), 0);
}

static void a_deadline_leaves_a_cleanup_and_the_droplet_is_gone_after_it(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    struct event_item i = {.id = {100}, .in = {.kind = IN_DEADLINE, .actor = "sweeper"}};
    assert_int_equal(bring(i).outcome, OUTCOME_UNCHANGED);
    run("UPDATE events SET deadline = 1 WHERE id = ?", 100);
    i = bring(i);
    assert_int_equal(i.outcome, OUTCOME_MOVED);
    uint64_t cleanup = i.follow_up.v;
    assert_true(cleanup >= 1000);
    assert_int_equal(state_of(100), EVENT_FAILED);
    assert_int_equal(unfinished_of(50), cleanup);
    struct event_record r;
    struct error err;
    assert_int_equal(events_read(db, &cleanup, 1, true, &r, &err), 0);
    assert_int_equal(r.row.type, EVENT_CLEANUP);
    assert_int_equal(r.row.state, EVENT_PENDING);
    assert_int_equal(r.row.hypervisor.v, here.v);
    assert_int_equal(r.row.deadline_ms, 0);
    assert_true(r.row.check_at_ms > 0 && r.params_size > 0);
    events_records_free(&r, 1);
    assert_int_equal(bring(item(100, IN_SUCCEEDED)).answer, ANSWER_DISCARD);
    assert_int_equal(number("SELECT COUNT(*) FROM address_free", 0), 0);
    dispatch(cleanup);
    struct event_item done = item(cleanup, IN_SUCCEEDED);
    apply(&done, 1);
    assert_int_equal(done.release, RELEASE_DROPLET);
    done.in.released = true;
    apply(&done, 1);
    assert_int_equal(state_of(cleanup), EVENT_SUCCEEDED);
    assert_gone(50);
}

static void a_destroy_is_stored_dispatched_again_for_a_new_journal(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    bring(item(100, IN_SUCCEEDED));
    uint64_t destroy = delete_droplet(50).event.id.v;
    dispatch(destroy);
    struct event_item i = item(destroy, IN_DELIVERED);
    i.in.journal = new_journal;
    assert_int_equal(bring(i).answer, ANSWER_START);
    assert_int_equal(bring(item(destroy, IN_SUCCEEDED)).answer, ANSWER_WAIT);
    i.in.kind = IN_SUCCEEDED;
    assert_int_equal(bring(i).outcome, OUTCOME_MOVED);
    assert_gone(50);
}

/* ---- DELETE in each state ---- */

static void deleting_a_pending_create_cancels_it_and_nothing_is_left(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    run("INSERT INTO droplet_tags VALUES (1, 'web', ?)", 50);
    struct droplet_delete d = delete_droplet(50);
    assert_true(d.found);
    assert_int_equal(d.event.id.v, 0);
    assert_int_equal(state_of(100), EVENT_CANCELLED);
    assert_gone(50);
    assert_true(number("SELECT deleted_at FROM droplets WHERE id = ?", 50) > 0);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1", 0), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM droplet_tags", 0), 0);
    assert_int_equal(bring(item(100, IN_DELIVERED)).answer, ANSWER_DROP);
    assert_false(delete_droplet(50).found);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1", 0), 0);
}

static void deleting_a_dispatched_create_destroys_it_when_it_has_succeeded(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    struct droplet_delete d = delete_droplet(50);
    assert_true(d.found);
    assert_int_equal(d.event.id.v, 0);
    assert_int_equal(state_of(100), EVENT_DISPATCHED);
    struct event_item i = bring(item(100, IN_SUCCEEDED));
    assert_int_equal(i.outcome, OUTCOME_MOVED);
    assert_true(i.follow_up.v != 0);
    struct event row = read_event(i.follow_up.v).row;
    assert_int_equal(row.type, EVENT_DESTROY);
    assert_int_equal(row.hypervisor.v, here.v);
    assert_int_equal(unfinished_of(50), i.follow_up.v);
    dispatch(i.follow_up.v);
    bring(item(i.follow_up.v, IN_SUCCEEDED));
    assert_gone(50);
}

static void deleting_a_running_create_ends_it_when_it_is_closed(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    bring(item(100, IN_RUNNING));
    assert_true(delete_droplet(50).found);
    struct event_item i = bring(item(100, IN_CLOSED)); /* attempts are left, nobody wants them */
    assert_int_equal(i.row.state, EVENT_FAILED);
    assert_int_equal(i.follow_up.v, 0);
    assert_gone(50);
}

static void deleting_an_active_droplet_inserts_its_destroy(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    bring(item(100, IN_SUCCEEDED));
    struct droplet_delete d = delete_droplet(50);
    assert_true(d.found && d.event.id.v != 0);
    assert_int_equal(d.event.type, EVENT_DESTROY);
    assert_int_equal(d.event.hypervisor.v, here.v);
    assert_int_equal(unfinished_of(50), d.event.id.v);
    assert_int_equal(number("SELECT status FROM droplets WHERE id = ?", 50), DROPLET_ACTIVE);
    assert_false(delete_droplet(50).found);
    assert_int_equal(bring(item(100, IN_SUCCEEDED)).answer, ANSWER_STORED);
}

static void deleting_during_a_cleanup_waits_for_its_end_and_needs_no_destroy(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    run("UPDATE events SET deadline = 1 WHERE id = ?", 100);
    struct event_item i = {.id = {100}, .in = {.kind = IN_DEADLINE}};
    uint64_t cleanup = bring(i).follow_up.v;
    struct droplet_delete d = delete_droplet(50);
    assert_true(d.found);
    assert_int_equal(d.event.id.v, 0);
    assert_int_equal(state_of(cleanup), EVENT_PENDING);
    dispatch(cleanup);
    assert_int_equal(bring(item(cleanup, IN_SUCCEEDED)).follow_up.v, 0);
    assert_gone(50);
    assert_int_equal(number("SELECT COUNT(*) FROM events", 0), 2);
}

static void another_accounts_droplet_is_not_found(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    struct droplet_delete items[] = {
        {.droplet = {50}, .account = {2}, .actor = "customer"},
        {.droplet = {51}, .account = {1}, .actor = "customer"},
    };
    struct error err;
    assert_int_equal(events_delete(db, &env, items, 2, &err), 0);
    assert_false(items[0].found || items[1].found);
    assert_int_equal(state_of(100), EVENT_PENDING);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1", 0), 1);
}

static void another_accounts_delete_does_not_hide_the_owners(void **unused)
{
    UNUSED(unused);
    for (uint64_t i = 0; i < 2; i++) {
        accept_create(50 + i, 100 + i);
        const account_id first = {i == 0 ? 2 : 1}, second = {i == 0 ? 1 : 2};
        struct droplet_delete items[] = {
            {.droplet = {50 + i}, .account = first, .actor = "customer"},
            {.droplet = {50 + i}, .account = second, .actor = "customer"},
        };
        struct error err;
        assert_int_equal(events_delete(db, &env, items, 2, &err), 0);
        assert_int_equal(items[0].found, first.v == 1);
        assert_int_equal(items[1].found, second.v == 1);
        assert_int_equal(state_of(100 + i), EVENT_CANCELLED);
    }
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1", 0), 0);
}

static void many_deletes_are_one_transaction(void **unused)
{
    UNUSED(unused);
    struct droplet_delete items[41];
    struct error err;
    for (uint64_t i = 0; i < 40; i++) {
        accept_create(50 + i, 100 + i);
        if (i % 2 == 0) {
            dispatch(100 + i);
            bring(item(100 + i, IN_SUCCEEDED));
        }
        items[i] =
            (struct droplet_delete){.droplet = {89 - i}, .account = {1}, .actor = "customer"};
    }
    items[40] = items[0]; /* asked for twice */
    assert_int_equal(events_delete(db, &env, items, 41, &err), 0);
    size_t found = 0, destroys = 0;
    for (size_t i = 0; i < 41; i++) {
        found += items[i].found;
        destroys += items[i].event.id.v != 0;
    }
    assert_int_equal(found, 40);
    assert_int_equal(destroys, 20);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1", 0), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE state = 6", 0), 20);
    assert_int_equal(number("SELECT COUNT(DISTINCT id) FROM events WHERE type = 2", 0), 20);
}

enum { ENDING = 400, ENDED_TOGETHER = 4 };

/* Reports that their creates have succeeded, a few at a time. */
static void *end_creates(void *arg)
{
    struct error err;

    for (uint64_t i = 0; i < ENDING; i += ENDED_TOGETHER) {
        struct event_item items[ENDED_TOGETHER];
        for (uint64_t k = 0; k < ENDED_TOGETHER; k++)
            items[k] = item(100 + i + k, IN_SUCCEEDED);
        for (int r = ERR_BUSY; r == ERR_BUSY;)
            r = events_apply(arg, &env, items, ENDED_TOGETHER, &err);
    }
    sql_thread_end();
    return NULL;
}

static void deletes_are_accepted_while_the_creates_of_the_droplets_end(void **unused)
{
    UNUSED(unused);
    static struct droplet_delete items[ENDING];
    struct error err;
    pthread_t thread;
    for (uint64_t i = 0; i < ENDING; i++) {
        accept_create(1000 + i, 100 + i);
        items[i] =
            (struct droplet_delete){.droplet = {1000 + i}, .account = {1}, .actor = "customer"};
    }
    run("UPDATE events SET state = 2, hypervisor_id = 7, journal_id ="
        " X'01020300000000000000000000000000'",
        0);
    assert_int_equal(pthread_create(&thread, NULL, end_creates, other), 0);
    int r = events_delete(db, &env, items, ENDING, &err);
    pthread_join(thread, NULL);
    assert_int_equal(r, 0);
    for (uint64_t i = 0; i < ENDING; i++)
        assert_true(items[i].found);
    assert_int_equal(number("SELECT droplets FROM accounts WHERE id = 1", 0), 0);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE type = 1 AND state = 4", 0), ENDING);
    /* Each has one destroy, whoever came first. */
    assert_int_equal(number("SELECT COUNT(*) FROM droplets d JOIN events e ON e.id = d.event_id"
                            " WHERE d.deleted_at > 0 AND e.type = 2 AND e.state = 1"
                            " AND e.hypervisor_id = 7",
                            0),
                     ENDING);
    assert_int_equal(number("SELECT COUNT(*) FROM events WHERE type = 2", 0), ENDING);
}

/* ---- fences ---- */

static void fence(hypervisor_id hypervisor)
{
    run("INSERT INTO fences (hypervisor_id, region, at, actor, reason) VALUES (?, 'nyc3', 1, 'op',"
        " 'dead')",
        hypervisor.v);
}

static void a_fence_moves_what_was_there_and_only_while_it_stands(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    assert_int_equal(bring(item(100, IN_FENCED)).outcome, OUTCOME_UNCHANGED); /* not in the table */
    fence(here);
    struct event_item i = bring(item(100, IN_FENCED));
    assert_int_equal(i.outcome, OUTCOME_MOVED);
    assert_int_equal(i.row.attempt, 2);
    assert_int_equal(i.row.state, EVENT_PENDING);
    assert_int_equal(i.row.reason, REASON_FENCED);
}

static void a_fence_ends_a_destroy_that_waits_for_its_hypervisor(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    dispatch(100);
    bring(item(100, IN_SUCCEEDED));
    uint64_t destroy = delete_droplet(50).event.id.v;
    fence(here);
    struct error err;
    assert_int_equal(events_touch_hypervisor(db, here, &err), 1);
    assert_int_equal(events_touch_hypervisor(db, there, &err), 0);
    struct event_item i = item(destroy, IN_FENCED);
    apply(&i, 1);
    assert_int_equal(i.outcome, OUTCOME_RELEASE_FIRST);
    i.in.released = true;
    apply(&i, 1);
    assert_int_equal(state_of(destroy), EVENT_SUCCEEDED);
    assert_gone(50);
}

static void fences_are_loaded_in_order(void **unused)
{
    UNUSED(unused);
    struct fence_set set;
    struct error err;
    for (uint64_t i = 0; i < 9; i++)
        fence((hypervisor_id){90 - 10 * i});
    assert_int_equal(fences_load(db, &set, &err), 0);
    assert_int_equal(set.count, 9);
    for (uint64_t id = 0; id < 100; id++)
        assert_int_equal(fences_hold(&set, (hypervisor_id){id}), id >= 10 && id % 10 == 0);
    fences_free(&set);
    assert_int_equal(fences_store_attach(db, (hypervisor_id){10}, 3, 2, &err), 0);
    assert_int_equal(number("SELECT jobs_open FROM fences WHERE hypervisor_id = 10", 0), 3);
}

/* ---- the sweeper ---- */

static void queue_taken(const char *name, int64_t at_ms)
{
    struct queue_taken q = {.taken_at_ms = at_ms};
    struct error err;

    snprintf(q.name, sizeof q.name, "%s", name);
    assert_int_equal(events_store_taken(db, &q, 1, &err), 0);
}

static size_t take_due(struct sql *connection, size_t limit, struct events_due *ret)
{
    struct error err;

    if (events_take_due(connection, limit, ret, &err) < 0)
        fail_msg("%s", err.message);
    return ret->count;
}

static size_t count_due(void)
{
    struct events_due due;
    size_t n = take_due(db, 500, &due);

    events_due_free(&due);
    return n;
}

static void a_due_row_is_taken_once_and_its_check_moved(void **unused)
{
    UNUSED(unused);
    struct events_due due;
    accept_create(50, 100);
    queue_taken("events.nyc3.create", 0);
    assert_int_equal(count_due(), 0); /* its check_at is ahead */
    run("UPDATE events SET check_at = check_at - 6000 WHERE id = ?", 100);
    assert_int_equal(take_due(db, 500, &due), 1);
    assert_false(due.full);
    assert_int_equal(due.records[0].row.id.v, 100);
    assert_int_equal(due.records[0].params_size, strlen("the spec"));
    assert_memory_equal(due.records[0].params, "the spec", 8);
    int64_t moved = due.records[0].row.check_at_ms - due.now_ms;
    assert_true(moved >= 4000 && moved <= 6000);
    assert_int_equal(number("SELECT check_at FROM events WHERE id = ?", 100),
                     due.records[0].row.check_at_ms);
    events_due_free(&due);
    assert_int_equal(count_due(), 0);
}

static void what_is_still_queued_is_not_published_again(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    run("UPDATE events SET check_at = check_at - 60000 WHERE id = ?", 100); /* 55 s ago */
    assert_int_equal(count_due(), 0); /* no worker has ever taken from this queue */
    int64_t now = number("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)", 0);
    queue_taken("events.nyc3.action", 0);
    assert_int_equal(count_due(), 0); /* another queue */
    queue_taken("events.nyc3.create", now - 65000);
    assert_int_equal(count_due(), 0); /* workers are at older messages still */
    queue_taken("events.nyc3.create", now - 55000);
    assert_int_equal(count_due(), 1);
}

static void a_deadline_waits_for_no_queue(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    run("UPDATE events SET check_at = 1000, deadline = 1000 WHERE id = ?", 100);
    assert_int_equal(count_due(), 1);
    assert_int_equal(count_due(), 0);
}

static void taken_never_goes_backward_nor_ahead_of_the_database(void **unused)
{
    UNUSED(unused);
    int64_t now = number("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)", 0);
    queue_taken("events.nyc3.create", now - 1000);
    queue_taken("events.nyc3.create", now - 2000);
    assert_int_equal(number("SELECT taken_at FROM queues", 0), now - 1000);
    queue_taken("events.nyc3.create", now + 3600000);
    int64_t taken = number("SELECT taken_at FROM queues", 0);
    assert_true(taken >= now && taken < now + 60000);
}

static void what_another_sweeper_holds_is_skipped(void **unused)
{
    UNUSED(unused);
    struct events_due due;
    struct error err;
    accept_create(50, 100);
    accept_create(51, 101);
    queue_taken("events.nyc3.create", 0);
    run("UPDATE events SET check_at = check_at - 6000", 0);
    assert_int_equal(sql_exec(other, "BEGIN", NULL, 0, &err), 0);
    assert_int_equal(sql_exec(other, "UPDATE events SET reason = 1 WHERE id = 100", NULL, 0, &err),
                     1);
    assert_int_equal(take_due(db, 500, &due), 1);
    assert_int_equal(due.records[0].row.id.v, 101);
    events_due_free(&due);
    assert_int_equal(sql_exec(other, "ROLLBACK", NULL, 0, &err), 0);
    assert_int_equal(count_due(), 1);
}

struct racer {
    struct sql *connection;
    atomic_size_t *taken;
    atomic_int *seen; /* by event id - 100 */
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct events_due due;
    struct error err;

    while (atomic_load(r->taken) < 2000) {
        if (events_take_due(r->connection, 100, &due, &err) < 0)
            continue;
        for (size_t i = 0; i < due.count; i++)
            atomic_fetch_add(&r->seen[due.records[i].row.id.v - 100], 1);
        atomic_fetch_add(r->taken, due.count);
        events_due_free(&due);
    }
    sql_thread_end();
    return NULL;
}

static void two_sweepers_never_take_the_same_row(void **unused)
{
    UNUSED(unused);
    static atomic_int seen[2000];
    atomic_size_t taken = 0;
    pthread_t threads[2];
    for (uint64_t i = 0; i < 2000; i++)
        accept_create(50 + i, 100 + i);
    queue_taken("events.nyc3.create", 0);
    run("UPDATE events SET check_at = check_at - 6000", 0);
    struct racer racers[2] = {{db, &taken, seen}, {other, &taken, seen}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 2000; i++)
        assert_int_equal(seen[i], 1);
}

/* ---- questions ---- */

static void the_places_of_droplets_are_told_in_the_order_asked(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    accept_create(51, 101);
    accept_create(52, 102);
    accept_create(53, 103);
    dispatch(100);
    dispatch(101);
    bring(item(101, IN_SUCCEEDED));
    delete_droplet(52);
    const uint64_t ids[] = {53, 999, 51, 50, 52, 51};
    struct droplet_place places[6];
    struct error err;
    assert_int_equal(droplets_read_places(db, ids, 6, places, &err), 0);
    assert_int_equal(places[0].droplet.v, 53);
    assert_int_equal(places[0].event_hypervisor.v, 0);
    assert_int_equal(places[1].droplet.v, 0);
    assert_int_equal(places[2].hypervisor.v, here.v);
    assert_int_equal(places[2].event_hypervisor.v, 0);
    assert_int_equal(places[3].hypervisor.v, 0);
    assert_int_equal(places[3].event_hypervisor.v, here.v);
    assert_true(places[4].gone);
    assert_int_equal(places[5].hypervisor.v, here.v);
}

static void events_are_read_in_the_order_asked(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    accept_create(51, 101);
    const uint64_t ids[] = {101, 999, 100, 101};
    struct event_record r[4];
    struct error err;
    assert_int_equal(events_read(db, ids, 4, true, r, &err), 0);
    assert_int_equal(r[0].row.id.v, 101);
    assert_int_equal(r[1].row.id.v, 0);
    assert_int_equal(r[2].row.id.v, 100);
    assert_int_equal(r[3].row.id.v, 101);
    assert_int_equal(r[3].params_size, 8);
    assert_null(r[1].params);
    events_records_free(r, 4);
    struct uuid read;
    assert_int_equal(installation_read(db, &read, &err), 0);
    assert_true(uuid_equal(&read, &installation));
}

static void a_batch_waits_for_nobody_longer_than_the_lock_wait(void **unused)
{
    UNUSED(unused);
    struct error err;
    struct event_item i = item(100, IN_DELIVERED);
    accept_create(50, 100);
    assert_int_equal(sql_exec(other, "BEGIN", NULL, 0, &err), 0);
    assert_int_equal(sql_exec(other, "UPDATE events SET reason = 1 WHERE id = 100", NULL, 0, &err),
                     1);
    /* The holder is thrown out after two idle seconds; the waiting batch then goes through. */
    assert_int_equal(events_apply(db, &env, &i, 1, &err), 0);
    assert_int_equal(i.outcome, OUTCOME_MOVED);
    assert_int_equal(read_event(100).row.reason, REASON_NONE);
    sql_free(other);
    other = connect_database();
}

static void ids_of_two_processes_never_meet(void **unused)
{
    UNUSED(unused);
    struct ids *a, *b;
    struct error err;
    uint64_t got[2][30];
    assert_int_equal(ids_new("event", 10, &a, &err), 0);
    assert_int_equal(ids_new("event", 10, &b, &err), 0);
    assert_int_equal(ids_take(a, 1, got[0], &err), ERR_BUSY);
    for (size_t i = 0; i < 30; i += 5) {
        assert_int_equal(ids_reserve(a, db, 5, &err), 0);
        assert_int_equal(ids_take(a, 5, &got[0][i], &err), 0);
        assert_int_equal(ids_reserve(b, other, 5, &err), 0);
        assert_int_equal(ids_take(b, 5, &got[1][i], &err), 0);
    }
    for (size_t i = 0; i < 30; i++)
        for (size_t k = 0; k < 30; k++)
            assert_int_not_equal(got[0][i], got[1][k]);
    assert_int_equal(ids_reserve(a, db, 100, &err), 0); /* more than a block */
    ids_drop(a);
    assert_int_equal(ids_take(a, 1, got[0], &err), ERR_BUSY);
    ids_free(a);
    ids_free(b);
    assert_int_equal(ids_new("nobody", 10, &a, &err), 0);
    assert_int_equal(ids_reserve(a, db, 1, &err), ERR_NOT_FOUND);
    ids_free(a);
}

static int prepare(void **unused)
{
    struct error err;
    char text[UUID_TEXT], schema[4096];

    UNUSED(unused);
    snprintf(schema, sizeof schema, "%s/harpoon/schema", server_setting("HARPOON_TEST_SOURCE"));
    sql_library_init();
    db = connect_database();
    other = connect_database();
    if (sql_migrate(db, schema, NULL, &err) < 0)
        fail_msg("%s", err.message);
    uuid_make_random(&installation);
    uuid_format(&installation, text);
    const struct sql_value v[] = {SQL_T(text)};
    run("DELETE FROM installation", 0);
    run("DELETE FROM id_blocks", 0);
    assert_int_equal(sql_exec(db, "INSERT INTO installation VALUES (?, 1)", v, 1, &err), 1);
    run("INSERT INTO id_blocks VALUES ('event', 1000)", 0);
    run("INSERT INTO accounts (id, uuid, email, name, droplet_limit, created_at)"
        " VALUES (1, UUID(), 'a@example.com', 'a', 0, 1)",
        0);
    assert_int_equal(ids_new("event", 1000, &event_ids, &err), 0);
    env = (struct events_env){.installation = &installation, .event_ids = event_ids};
    return 0;
}

static int finish(void **unused)
{
    UNUSED(unused);
    ids_free(event_ids);
    sql_free(db);
    sql_free(other);
    sql_thread_end();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, empty_tables)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_create_goes_from_accepted_to_active),
        TEST(running_and_its_result_in_one_batch_are_one_move),
        TEST(a_report_said_again_is_stored_already),
        TEST(a_closed_attempt_is_followed_by_the_next_elsewhere),
        TEST(the_last_attempt_is_stored_as_failed_only_once_its_claim_is_released),
        TEST(a_deadline_leaves_a_cleanup_and_the_droplet_is_gone_after_it),
        TEST(a_destroy_is_stored_dispatched_again_for_a_new_journal),
        TEST(deleting_a_pending_create_cancels_it_and_nothing_is_left),
        TEST(deleting_a_dispatched_create_destroys_it_when_it_has_succeeded),
        TEST(deleting_a_running_create_ends_it_when_it_is_closed),
        TEST(deleting_an_active_droplet_inserts_its_destroy),
        TEST(deleting_during_a_cleanup_waits_for_its_end_and_needs_no_destroy),
        TEST(another_accounts_droplet_is_not_found),
        TEST(another_accounts_delete_does_not_hide_the_owners),
        TEST(many_deletes_are_one_transaction),
        TEST(deletes_are_accepted_while_the_creates_of_the_droplets_end),
        TEST(a_fence_moves_what_was_there_and_only_while_it_stands),
        TEST(a_fence_ends_a_destroy_that_waits_for_its_hypervisor),
        TEST(fences_are_loaded_in_order),
        TEST(a_due_row_is_taken_once_and_its_check_moved),
        TEST(what_is_still_queued_is_not_published_again),
        TEST(a_deadline_waits_for_no_queue),
        TEST(taken_never_goes_backward_nor_ahead_of_the_database),
        TEST(what_another_sweeper_holds_is_skipped),
        TEST(two_sweepers_never_take_the_same_row),
        TEST(the_places_of_droplets_are_told_in_the_order_asked),
        TEST(events_are_read_in_the_order_asked),
        TEST(a_batch_waits_for_nobody_longer_than_the_lock_wait),
        TEST(ids_of_two_processes_never_meet),
    };

    return cmocka_run_group_tests(tests, prepare, finish);
}
