/* A whole worker against a real MariaDB: the road of an event, and what is answered to agents and
 * schedulers. Its scheduler, its routers and its broker are the test's. */
#include "harpoon/store/events.h"
#include "harpoon/worker/worker.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/macros.h"
#include "proto/event.pb-c.h"
#include "proto/harpoon.pb-c.h"
#include "tests/servers/servers.h"
#include "tests/servers/worker_peers.h"
#include "tests/support/certificates.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CREATES     "events.nyc3.create"
#define ACTIONS     "events.nyc3.action"
#define PLACED      HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_PLACED
#define NO_ROOM     HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_NO_ROOM
#define STALE       HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_STALE
#define ACCEPTED    HARPOON__ROUTER__V1__OUTCOME__OUTCOME_ACCEPTED
#define REFUSED     HARPOON__ROUTER__V1__OUTCOME__OUTCOME_REFUSED
#define HERE        7  /* where the scheduler places */
#define FENCED      70 /* the worker remembers a fence for a second: one of its own */
#define REPLY(name) HARPOON__JOB__V1__ANSWER__ANSWER_##name

static struct sql *db;
static struct certificates *certificates;
static struct worker *worker;
static struct rpc_client *as_router, *as_scheduler;
static char password_file[] = "/tmp/worker-XXXXXX", installation_text[UUID_TEXT];
static const struct uuid journal = {.b = {1, 2, 3}}, new_journal = {.b = {9, 8, 7}};

/* ---- the database ---- */

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

static void insert_droplet(uint64_t droplet, uint64_t event, uint64_t hypervisor)
{
    struct error err;
    const struct sql_value v[] = {SQL_U(droplet), SQL_U(hypervisor != 0 ? DROPLET_ACTIVE : 1),
                                  SQL_U(event), SQL_U(hypervisor), SQL_U(0x0a000000 + droplet)};

    if (sql_exec(db,
                 "INSERT INTO droplets (id, account_id, name, region, size, image_id, vcpus,"
                 " memory_mib, disk_gib, status, event_id, hypervisor_id, ipv4, created_at, body)"
                 " VALUES (?, 1, 'web', 'nyc3', 's', 1, 1, 512, 10, ?, ?, ?, ?, 1, '{}')",
                 v, ARRAY_LEN(v), &err) < 0)
        fail_msg("%s", err.message);
}

static void insert_event(uint64_t event, uint64_t droplet, enum event_type type,
                         uint64_t hypervisor)
{
    struct error err;
    const struct sql_value v[] = {SQL_U(event), SQL_U(droplet), SQL_U(type), SQL_U(hypervisor),
                                  type == EVENT_CREATE ? SQL_I(unix_ms() + 600000) : SQL_N};

    if (sql_exec(db,
                 "INSERT INTO events (id, droplet_id, account_id, type, region, state, attempt,"
                 " hypervisor_id, deadline, check_at, created_at, params) VALUES (?, ?, 1, ?,"
                 " 'nyc3', 1, 1, ?, ?, UNIX_TIMESTAMP(NOW(3)) * 1000 + 5000,"
                 " UNIX_TIMESTAMP(NOW(3)) * 1000, '')",
                 v, ARRAY_LEN(v), &err) < 0)
        fail_msg("%s", err.message);
}

static void accept_create(uint64_t droplet, uint64_t event)
{
    insert_droplet(droplet, event, 0);
    insert_event(event, droplet, EVENT_CREATE, 0);
}

static void accept_destroy(uint64_t droplet, uint64_t event, uint64_t hypervisor)
{
    insert_droplet(droplet, event, hypervisor);
    insert_event(event, droplet, EVENT_DESTROY, hypervisor);
}

/* ---- messages ---- */

/* Publishes the row as it is, as the api does. */
static uint64_t publish_as(const struct event *row, uint32_t version)
{
    Harpoon__Event__V1__Event m = HARPOON__EVENT__V1__EVENT__INIT;
    Harpoon__Event__V1__Params params = HARPOON__EVENT__V1__PARAMS__INIT;
    Harpoon__Job__V1__DropletSpec spec = HARPOON__JOB__V1__DROPLET_SPEC__INIT;
    char journal_text[UUID_TEXT], uuid[] = "2b1c64f0-1f0a-5b5e-9a57-0d0e6f0a9d11", name[] = "web1";
    uint8_t body[1024];

    uuid_format(&row->journal, journal_text);
    spec.name = name;
    params.droplet_uuid = uuid;
    params.spec = row->type == EVENT_CREATE ? &spec : NULL;
    m.version = version;
    m.event_id = row->id.v;
    m.droplet_id = row->droplet.v;
    m.type = row->type;
    m.region = (char *)(uintptr_t)row->region;
    m.state = row->state;
    m.attempt = row->attempt;
    m.hypervisor_id = row->hypervisor.v;
    m.journal_id = uuid_is_zero(&row->journal) ? m.journal_id : journal_text;
    m.created_unix_ms = row->created_ms;
    m.deadline_unix_ms = row->deadline_ms;
    m.published_unix_ms = unix_ms();
    m.params = &params;
    m.n_excluded_hypervisor_ids = row->excluded_count;
    m.excluded_hypervisor_ids = (uint64_t *)(uintptr_t)row->excluded;
    return broker_deliver(row->type == EVENT_CREATE ? CREATES : ACTIONS, body,
                          harpoon__event__v1__event__pack(&m, body));
}

static uint64_t publish(uint64_t event)
{
    struct event row = read_event(event);

    return publish_as(&row, 1);
}

static bool is_acked(void *tag)
{
    return broker_acked(*(uint64_t *)tag);
}

static void wait_acked(uint64_t tag)
{
    wait_until(is_acked, &tag, "the message is acknowledged");
}

static bool is_paused(void *unused)
{
    UNUSED(unused);
    return broker_is_paused();
}

static bool is_taking(void *unused)
{
    UNUSED(unused);
    return !broker_is_paused();
}

static void do_event(uint64_t event)
{
    wait_acked(publish(event));
}

/* A create that is in the journal of HERE, started. */
static void dispatch(uint64_t droplet, uint64_t event)
{
    accept_create(droplet, event);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    do_event(event);
    assert_int_equal(read_event(event).state, EVENT_DISPATCHED);
}

/* ---- questions ---- */

#define HARPOON_SERVICE (&harpoon__internal__v1__harpoon__descriptor)

static ProtobufCMessage *ask(struct rpc_client *as, const char *method, const ProtobufCMessage *in)
{
    ProtobufCMessage *out = NULL;
    struct error err;

    if (rpc_client_call(as, HARPOON_SERVICE, method, in, mono_ms() + 10000, &out, &err) < 0)
        fail_msg("%s: %s", method, err.message);
    return out;
}

static Harpoon__Job__V1__Answer report(uint64_t event, unsigned attempt,
                                       Harpoon__Job__V1__Result result, const struct uuid *from)
{
    Harpoon__Internal__V1__ReportRequest request = HARPOON__INTERNAL__V1__REPORT_REQUEST__INIT;
    Harpoon__Internal__V1__ReportItem item = HARPOON__INTERNAL__V1__REPORT_ITEM__INIT,
                                      *items[] = {&item};
    Harpoon__Job__V1__Report body = HARPOON__JOB__V1__REPORT__INIT;
    Harpoon__Job__V1__Ref ref = HARPOON__JOB__V1__REF__INIT;
    char text[UUID_TEXT], reason[] = "driver_failed";

    uuid_format(from, text);
    ref.event_id = event;
    ref.attempt = attempt;
    body.ref = &ref;
    body.result = result;
    if (result == HARPOON__JOB__V1__RESULT__RESULT_CLOSED)
        body.reason = reason;
    item.hypervisor_id = HERE;
    item.journal_id = text;
    item.report = &body;
    request.n_items = 1;
    request.items = items;
    ProtobufCMessage *out = ask(as_router, "Report", &request.base);
    const Harpoon__Internal__V1__ReportReply *reply = (const void *)out;
    assert_int_equal(reply->n_answers, 1);
    Harpoon__Job__V1__Answer ret = reply->answers[0];
    protobuf_c_message_free_unpacked(out, NULL);
    return ret;
}

#define RUNNING   HARPOON__JOB__V1__RESULT__RESULT_RUNNING
#define SUCCEEDED HARPOON__JOB__V1__RESULT__RESULT_SUCCEEDED
#define CLOSED    HARPOON__JOB__V1__RESULT__RESULT_CLOSED

static Harpoon__Job__V1__Answer confirm(uint64_t event, unsigned attempt, const struct uuid *from)
{
    Harpoon__Internal__V1__ConfirmRequest request = HARPOON__INTERNAL__V1__CONFIRM_REQUEST__INIT;
    Harpoon__Internal__V1__ConfirmItem item = HARPOON__INTERNAL__V1__CONFIRM_ITEM__INIT,
                                       *items[] = {&item};
    Harpoon__Job__V1__Ref ref = HARPOON__JOB__V1__REF__INIT;
    char text[UUID_TEXT];

    uuid_format(from, text);
    ref.event_id = event;
    ref.attempt = attempt;
    item.hypervisor_id = HERE;
    item.journal_id = text;
    item.ref = &ref;
    request.n_items = 1;
    request.items = items;
    ProtobufCMessage *out = ask(as_router, "Confirm", &request.base);
    Harpoon__Job__V1__Answer ret = ((Harpoon__Internal__V1__ConfirmReply *)out)->answers[0];
    protobuf_c_message_free_unpacked(out, NULL);
    return ret;
}

static bool wanted(uint64_t event, unsigned attempt, uint64_t droplet)
{
    Harpoon__Internal__V1__ClaimsWantedRequest request =
        HARPOON__INTERNAL__V1__CLAIMS_WANTED_REQUEST__INIT;
    Harpoon__Internal__V1__ClaimItem item = HARPOON__INTERNAL__V1__CLAIM_ITEM__INIT,
                                     *items[] = {&item};

    item.event_id = event;
    item.attempt = attempt;
    item.droplet_id = droplet;
    request.n_claims = 1;
    request.claims = items;
    ProtobufCMessage *out = ask(as_scheduler, "ClaimsWanted", &request.base);
    bool ret = ((Harpoon__Internal__V1__ClaimsWantedReply *)out)->wanted[0];
    protobuf_c_message_free_unpacked(out, NULL);
    return ret;
}

/* ---- the road ---- */

static void a_create_is_placed_delivered_stored_and_only_then_started(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    do_event(100);
    struct event row = read_event(100);
    assert_int_equal(row.state, EVENT_DISPATCHED);
    assert_int_equal(row.hypervisor.v, HERE);
    assert_true(uuid_equal(&row.journal, &journal));
    assert_int_equal(scheduler_placed(100, 1), 1);
    assert_int_equal(router_delivered(100, 1), 1);
    assert_int_equal(router_begun(100, 1, &journal), 1);
    struct router_job job = router_last_job();
    assert_int_equal(job.kind, HARPOON__JOB__V1__KIND__KIND_CREATE);
    assert_int_equal(job.droplet, 50);
    assert_string_equal(job.installation, installation_text);
    assert_string_equal(job.name, "web1");
    assert_int_equal(report(100, 1, RUNNING, &journal), REPLY(STORED));
    assert_int_equal(report(100, 1, SUCCEEDED, &journal), REPLY(STORED));
    assert_int_equal(read_event(100).droplet_status, DROPLET_ACTIVE);
    assert_int_equal(scheduler_released(100, 1, 0), 0);
}

static void a_message_said_twice_dispatches_once_and_starts_again(void **unused)
{
    UNUSED(unused);
    dispatch(50, 100);
    struct event row = read_event(100);
    struct event pending = row;
    pending.state = EVENT_PENDING; /* the first message, delivered again */
    pending.hypervisor.v = 0;
    wait_acked(publish_as(&pending, 1));
    struct event again = read_event(100);
    assert_int_equal(again.dispatched_ms, row.dispatched_ms);
    assert_int_equal(router_begun(100, 1, &journal), 2);
}

static void a_late_message_of_a_cancelled_create_is_dropped_and_its_claim_released(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    struct event row = read_event(100);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    run("UPDATE events SET state = 6, check_at = NULL WHERE id = ?", 100);
    run("UPDATE droplets SET event_id = 0, status = 4, gone_at = 1 WHERE id = ?", 50);
    wait_acked(publish_as(&row, 1));
    assert_int_equal(router_begun(100, 1, &journal), 0);
    assert_int_equal(router_forgotten(100, 1, &journal), 1);
    assert_int_equal(read_event(100).state, EVENT_CANCELLED);
}

static void an_agent_of_the_second_router_is_found_there(void **unused)
{
    UNUSED(unused);
    for (uint64_t i = 0; i < 8; i++) { /* some have the one first in line, some the other */
        accept_create(50 + i, 100 + i);
        scheduler_places(PLACED, 20 + i, 0);
        router_answers(0, 20 + i, ACCEPTED, &journal, false, "");
        do_event(100 + i);
        assert_int_equal(read_event(100 + i).state, EVENT_DISPATCHED);
        assert_int_equal(router_begun(100 + i, 1, &journal), 1);
    }
}

static void an_agent_that_is_not_connected_is_waited_for_with_the_same_claim(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    do_event(100);
    struct event row = read_event(100);
    assert_int_equal(row.state, EVENT_PENDING);
    assert_int_equal(row.attempt, 1);
    assert_int_equal(row.reason, REASON_NOT_CONNECTED);
    assert_true(row.waiting_since_ms > 0);
    assert_int_equal(router_delivered(100, 1), 2);
    run("UPDATE events SET t_waiting = t_waiting - 15000 WHERE id = ?", 100);
    scheduler_places(PLACED, HERE, 201);
    do_event(100);
    assert_int_equal(read_event(100).attempt, 1); /* the region is dark: it is us, not them */
    scheduler_places(PLACED, HERE, 200);
    do_event(100);
    row = read_event(100);
    assert_int_equal(row.attempt, 2);
    assert_int_equal(row.excluded[0], HERE);
    do_event(100);
    assert_int_equal(scheduler_placed(100, 2), 1);
    assert_int_equal(scheduler_excluded(100), 1);
}

static void a_dark_region_is_known_too_when_its_list_was_not_taken(void **unused)
{
    UNUSED(unused);
    for (uint64_t i = 0; i < 2; i++) {
        accept_create(50 + i, 100 + i);
        do_event(100 + i); /* nobody answers */
    }
    run("UPDATE events SET t_waiting = t_waiting - 15000 WHERE id >= ?", 100);
    scheduler_stop();
    uint64_t tags[] = {publish(100), publish(101)}; /* held, so that they are placed together */
    wait_until(is_paused, NULL, "nothing is taken any more");
    scheduler_places(PLACED, HERE, 201);
    scheduler_refuses_lists(true);
    scheduler_start(certificates_role(certificates, "scheduler"));
    for (uint64_t i = 0; i < 2; i++) {
        wait_acked(tags[i]);
        assert_int_equal(read_event(100 + i).attempt, 1);
    }
    wait_until(is_taking, NULL, "the queue is taken from again");
}

static void a_refusal_in_the_journal_is_followed_by_the_next_attempt(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    router_answers(ROUTERS, HERE, REFUSED, &journal, true, "host_disk_full");
    do_event(100);
    struct event row = read_event(100);
    assert_int_equal(row.state, EVENT_PENDING);
    assert_int_equal(row.attempt, 2);
    assert_int_equal(row.reason, REASON_HOST_DISK_FULL);
    assert_int_equal(router_begun(100, 1, NULL), 0);
}

static void no_room_is_stored_with_a_time_to_ask_again(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    scheduler_places(NO_ROOM, 0, 0);
    do_event(100);
    struct event row = read_event(100);
    assert_int_equal(row.reason, REASON_NO_ROOM);
    assert_int_equal(row.state, EVENT_PENDING);
    assert_int_equal(router_delivered(100, 1), 0);
}

static void a_message_older_than_the_scheduler_knows_is_acknowledged(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    scheduler_places(STALE, 0, 0);
    struct event before = read_event(100);
    do_event(100);
    struct event after = read_event(100);
    assert_int_equal(after.check_at_ms, before.check_at_ms);
    assert_int_equal(router_delivered(100, 1), 0);
}

static void a_dispatched_create_is_started_again_only_as_the_row_says(void **unused)
{
    UNUSED(unused);
    dispatch(50, 100);
    struct event row = read_event(100);
    wait_acked(publish_as(&row, 1)); /* by the sweeper */
    assert_int_equal(router_begun(100, 1, &journal), 2);
    assert_int_equal(router_delivered(100, 1), 1);
    run("UPDATE events SET state = 1, attempt = 2, hypervisor_id = 0 WHERE id = ?", 100);
    wait_acked(publish_as(&row, 1)); /* delivered late */
    assert_int_equal(router_begun(100, 1, &journal), 2);
    struct event after = read_event(100);
    assert_int_equal(after.attempt, 2);
    assert_int_equal(after.state, EVENT_PENDING);
}

static void what_is_past_its_deadline_is_not_begun(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    struct event row = read_event(100);
    row.deadline_ms = unix_ms() - 1;
    wait_acked(publish_as(&row, 1));
    assert_int_equal(scheduler_placed(100, 1), 0);
}

/* ---- destroys ---- */

static bool is_reported(void *event)
{
    return report(*(uint64_t *)event, 1, SUCCEEDED, &journal) == REPLY(STORED);
}

static void a_destroy_releases_every_claim_before_its_end_is_stored(void **unused)
{
    UNUSED(unused);
    accept_destroy(50, 100, HERE);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    do_event(100);
    assert_int_equal(scheduler_placed(100, 1), 0);
    assert_int_equal(router_last_job().kind, HARPOON__JOB__V1__KIND__KIND_DESTROY);
    assert_int_equal(router_begun(100, 1, &journal), 1);
    assert_int_equal(report(100, 1, RUNNING, &journal), REPLY(STORED));
    assert_int_equal(read_event(100).state, EVENT_DISPATCHED);
    scheduler_stop();
    assert_int_equal(report(100, 1, SUCCEEDED, &journal), REPLY(WAIT));
    assert_int_equal(read_event(100).state, EVENT_DISPATCHED);
    scheduler_start(certificates_role(certificates, "scheduler"));
    uint64_t id = 100;
    wait_until(is_reported, &id, "the report is stored"); /* the channel backs off */
    assert_true(scheduler_released(0, 0, 50) >= 1);
    struct event row = read_event(100);
    assert_int_equal(row.state, EVENT_SUCCEEDED);
    assert_true(row.droplet_gone);
}

static void a_destroy_whose_agent_lost_its_journal_is_dispatched_again(void **unused)
{
    UNUSED(unused);
    accept_destroy(50, 100, HERE);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    do_event(100);
    router_answers(ROUTERS, HERE, ACCEPTED, &new_journal, false, "");
    do_event(100);
    struct event row = read_event(100);
    assert_int_equal(row.state, EVENT_DISPATCHED);
    assert_true(uuid_equal(&row.journal, &new_journal));
    assert_int_equal(router_begun(100, 1, &new_journal), 1);
}

static void a_destroy_that_its_agent_has_closed_is_tried_again(void **unused)
{
    UNUSED(unused);
    accept_destroy(50, 100, HERE);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    do_event(100);
    router_answers(ROUTERS, HERE, REFUSED, &new_journal, true, "driver_failed");
    do_event(100);
    struct event row = read_event(100);
    assert_int_equal(row.state, EVENT_PENDING);
    assert_int_equal(row.attempt, 2);
    assert_int_equal(row.hypervisor.v, HERE);
}

static void fence(void)
{
    run("INSERT INTO fences (hypervisor_id, region, at, actor, reason) VALUES (?, 'nyc3', 1, 'op',"
        " 'dead')",
        FENCED);
}

static bool is_ended_by(void *event)
{
    do_event(*(uint64_t *)event);
    return read_event(*(uint64_t *)event).state == EVENT_SUCCEEDED;
}

static void a_destroy_of_a_fenced_hypervisor_ends_without_its_agent(void **unused)
{
    UNUSED(unused);
    uint64_t id = 100;
    accept_destroy(50, 100, FENCED);
    fence();
    wait_until(is_ended_by, &id, "the worker has seen the fence");
    struct event row = read_event(100);
    assert_int_equal(row.reason, REASON_FENCED);
    assert_true(row.droplet_gone);
    assert_true(scheduler_released(0, 0, 50) >= 1);
}

/* ---- reports ---- */

static void the_last_attempt_closed_is_released_and_failed(void **unused)
{
    UNUSED(unused);
    dispatch(50, 100);
    run("UPDATE events SET attempt = 5 WHERE id = ?", 100);
    assert_int_equal(report(100, 5, CLOSED, &journal), REPLY(STORED));
    struct event row = read_event(100);
    assert_int_equal(row.state, EVENT_FAILED);
    assert_int_equal(row.reason, REASON_DRIVER_FAILED);
    assert_int_equal(scheduler_released(100, 5, 50), 1);
}

static void reports_are_answered_from_the_row(void **unused)
{
    UNUSED(unused);
    dispatch(50, 100);
    assert_int_equal(report(999, 1, SUCCEEDED, &journal), REPLY(UNKNOWN));
    assert_int_equal(report(100, 1, SUCCEEDED, &new_journal), REPLY(WAIT));
    assert_int_equal(report(100, 1, CLOSED, &journal), REPLY(STORED));
    assert_int_equal(read_event(100).attempt, 2);
    assert_int_equal(report(100, 1, SUCCEEDED, &journal), REPLY(DISCARD));
    assert_int_equal(report(100, 1, CLOSED, &journal), REPLY(STORED));
    assert_int_equal(report(100, 0, CLOSED, &journal), REPLY(WAIT)); /* says nothing */
}

static void confirms_are_answered_from_the_row(void **unused)
{
    UNUSED(unused);
    dispatch(50, 100);
    assert_int_equal(confirm(100, 1, &journal), REPLY(START));
    assert_int_equal(confirm(100, 1, &new_journal), REPLY(WAIT));
    assert_int_equal(confirm(999, 1, &journal), REPLY(WAIT));
    report(100, 1, CLOSED, &journal);
    assert_int_equal(confirm(100, 1, &journal), REPLY(DROP));
}

static void claims_are_wanted_as_the_rows_say(void **unused)
{
    UNUSED(unused);
    dispatch(50, 100);
    assert_true(wanted(100, 1, 50));
    report(100, 1, CLOSED, &journal);
    assert_false(wanted(100, 1, 50));
    assert_true(wanted(100, 2, 50));
    assert_true(wanted(999, 1, 50)); /* its droplet is known and not gone */
    assert_true(wanted(999, 1, 999));
    run("UPDATE droplets SET gone_at = 1 WHERE id = ?", 50);
    assert_false(wanted(999, 1, 50));
}

static void attaching_tells_the_fence_and_the_domains_that_are_not_wanted(void **unused)
{
    UNUSED(unused);
    Harpoon__Internal__V1__AttachRequest request = HARPOON__INTERNAL__V1__ATTACH_REQUEST__INIT;
    Harpoon__Internal__V1__AttachItem item = HARPOON__INTERNAL__V1__ATTACH_ITEM__INIT,
                                      *items[] = {&item};
    Harpoon__Agent__V1__Attach attach = HARPOON__AGENT__V1__ATTACH__INIT;
    Harpoon__Agent__V1__Domain domains[4], *list[4];
    static const uint64_t droplets[] = {50, 51, 52, 999};
    char region[] = "nyc3";

    insert_droplet(50, 0, FENCED);     /* lives here */
    insert_droplet(51, 0, FENCED + 1); /* lives elsewhere */
    insert_droplet(52, 0, FENCED);
    run("UPDATE droplets SET gone_at = 1 WHERE id = ?", 52);
    for (size_t i = 0; i < 4; i++) {
        domains[i] = (Harpoon__Agent__V1__Domain)HARPOON__AGENT__V1__DOMAIN__INIT;
        domains[i].droplet_id = droplets[i];
        list[i] = &domains[i];
    }
    attach.jobs_open = 3;
    attach.n_domains = 4;
    attach.domains = list;
    item.hypervisor_id = FENCED;
    item.region = region;
    item.attach = &attach;
    request.n_items = 1;
    request.items = items;
    for (int fenced = 0; fenced < 2; fenced++) {
        ProtobufCMessage *out = ask(as_router, "Attach", &request.base);
        const Harpoon__Internal__V1__AttachResult *r =
            ((Harpoon__Internal__V1__AttachReply *)out)->results[0];
        assert_int_equal(r->fenced, fenced);
        assert_true(r->compared);
        assert_string_equal(r->installation_id, installation_text);
        assert_int_equal(r->n_orphans, 3);
        assert_int_equal(r->orphans[0]->droplet_id, 51);
        protobuf_c_message_free_unpacked(out, NULL);
        if (fenced == 0)
            fence();
    }
    assert_int_equal(run("UPDATE fences SET at = 2 WHERE hypervisor_id = ? AND jobs_open = 3"
                         " AND domains = 4",
                         FENCED),
                     1);
}

static void a_question_by_the_wrong_role_is_refused(void **unused)
{
    UNUSED(unused);
    Harpoon__Internal__V1__ReportRequest request = HARPOON__INTERNAL__V1__REPORT_REQUEST__INIT;
    ProtobufCMessage *out;
    struct error err;
    assert_int_equal(rpc_client_call(as_scheduler, HARPOON_SERVICE, "Report", &request.base,
                                     mono_ms() + 10000, &out, &err),
                     ERR_FORBIDDEN);
}

/* ---- when peers are away ---- */

static void while_the_scheduler_is_away_messages_are_held_and_none_are_taken(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    scheduler_stop();
    uint64_t tag = publish(100);
    wait_until(is_paused, NULL, "nothing is taken any more");
    assert_false(broker_acked(tag));
    assert_int_equal(read_event(100).state, EVENT_PENDING);
    scheduler_start(certificates_role(certificates, "scheduler"));
    wait_acked(tag);
    assert_int_equal(read_event(100).state, EVENT_DISPATCHED);
    wait_until(is_taking, NULL, "the queue is taken from again");
}

static void while_all_routers_are_away_messages_are_held(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    router_stop(0);
    router_stop(1);
    uint64_t tag = publish(100);
    wait_until(is_paused, NULL, "nothing is taken any more");
    assert_false(broker_acked(tag));
    router_start(0, certificates_role(certificates, "eventrouter"));
    router_start(1, certificates_role(certificates, "eventrouter"));
    wait_acked(tag);
    assert_int_equal(read_event(100).state, EVENT_DISPATCHED);
    wait_until(is_taking, NULL, "the queue is taken from again");
}

static bool is_connected(void *unused)
{
    struct error err;

    UNUSED(unused);
    return sql_connect(db, &err) == 0;
}

static void while_the_database_is_away_messages_are_held(void **unused)
{
    UNUSED(unused);
    accept_create(50, 100);
    struct event row = read_event(100);
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    server_do("stop", NULL, NULL, NULL);
    uint64_t tag = publish_as(&row, 1);
    wait_until(is_paused, NULL, "nothing is taken any more");
    assert_false(broker_acked(tag));
    assert_int_equal(router_begun(100, 1, NULL), 0);
    server_do("start", NULL, NULL, NULL);
    wait_acked(tag);
    wait_until(is_taking, NULL, "the queue is taken from again");
    wait_until(is_connected, NULL, "our own connection is back");
    assert_int_equal(read_event(100).state, EVENT_DISPATCHED);
    assert_int_equal(router_begun(100, 1, &journal), 1);
}

/* ---- messages ---- */

static bool is_noted(void *event)
{
    return read_event(*(uint64_t *)event).reason == REASON_UNDECODABLE;
}

static void a_message_that_cannot_be_read_is_a_dead_letter_with_a_reason_in_its_row(void **unused)
{
    UNUSED(unused);
    uint64_t id = 100;
    accept_create(50, 100);
    struct event row = read_event(100);
    uint64_t tag = publish_as(&row, 2);
    assert_true(broker_rejected(tag));
    wait_until(is_noted, &id, "the row says why");
    uint64_t garbage = broker_deliver(CREATES, "\xff\xff", 2);
    assert_true(broker_rejected(garbage));
    assert_false(broker_acked(tag) || broker_acked(garbage));
}

static int64_t taken(const char *queue)
{
    struct error err;
    const struct sql_value v[] = {SQL_T(queue), SQL_I(unix_ms() - 2000)};

    /* The rows that were stored within the last two seconds. */
    return sql_exec(db, "UPDATE queues SET taken_at = taken_at WHERE name = ? AND taken_at >= ?", v,
                    2, &err);
}

static bool both_are_fresh(void *unused)
{
    UNUSED(unused);
    return taken(CREATES) == 1 && taken(ACTIONS) == 1;
}

static void an_idle_queue_counts_as_taken_until_now(void **unused)
{
    UNUSED(unused);
    run("DELETE FROM queues", 0);
    broker_set_idle(true);
    wait_until(both_are_fresh, NULL, "taken_at is stored");
}

static void many_messages_go_through_in_batches(void **unused)
{
    UNUSED(unused);
    uint64_t tags[300];
    router_answers(ROUTERS, HERE, ACCEPTED, &journal, false, "");
    for (uint64_t i = 0; i < 300; i++)
        accept_create(1000 + i, 2000 + i);
    for (uint64_t i = 0; i < 300; i++)
        tags[i] = publish(2000 + i);
    for (uint64_t i = 0; i < 300; i++) {
        wait_acked(tags[i]);
        assert_int_equal(router_begun(2000 + i, 1, &journal), 1);
    }
}

/* ---- the test's own start and end ---- */

static int forget(void **unused)
{
    UNUSED(unused);
    static const char *const tables[] = {
        "DELETE FROM droplets",     "DELETE FROM events", "DELETE FROM event_log",
        "DELETE FROM address_free", "DELETE FROM fences",
    };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        run(tables[i], 0);
    peers_forget();
    return 0;
}

static void prepare_database(void)
{
    struct error err;
    struct uuid installation;
    char schema[4096];

    sql_library_init();
    db = sql_new(&(struct sql_options){
        .socket = server_setting("HARPOON_TEST_SOCKET"),
        .user = "tester",
        .password = server_setting("HARPOON_TEST_PASSWORD"),
        .database = "test",
    });
    (void)snprintf(schema, sizeof schema, "%s/harpoon/schema",
                   server_setting("HARPOON_TEST_SOURCE"));
    if (sql_migrate(db, schema, NULL, &err) < 0)
        fail_msg("%s", err.message);
    uuid_make_random(&installation);
    uuid_format(&installation, installation_text);
    run("DELETE FROM installation", 0);
    run("DELETE FROM id_blocks", 0);
    const struct sql_value v[] = {SQL_T(installation_text)};
    assert_int_equal(sql_exec(db, "INSERT INTO installation VALUES (?, 1)", v, 1, &err), 1);
    run("INSERT INTO id_blocks VALUES ('event', 100000)", 0);
}

static void write_password(void)
{
    int fd = mkstemp(password_file);
    const char *password = server_setting("HARPOON_TEST_PASSWORD");

    assert_true(fd >= 0);
    assert_int_equal(write(fd, password, strlen(password)), (ssize_t)strlen(password));
    close(fd);
}

static void connect_client(const char *role, const char *address, struct rpc_client **ret)
{
    struct error err;

    if (rpc_client_new(address, certificates_role(certificates, role), ret, &err) < 0)
        fail_msg("%s", err.message);
}

static int prepare(void **unused)
{
    static char schedulers[64], routers[128], listen[] = "127.0.0.1:0", user[] = "tester",
                                              database[] = "test", regions[] = "nyc3";
    static struct harpoon_config config;
    struct error err;
    char address[32];

    UNUSED(unused);
    log_open("worker-test", LOG_ERROR);
    metrics_init(worker_metrics, worker_metrics_count);
    rpc_library_init();
    prepare_database();
    write_password();
    certificates = certificates_new();
    peers_forget();
    scheduler_start(certificates_role(certificates, "scheduler"));
    router_start(0, certificates_role(certificates, "eventrouter"));
    router_start(1, certificates_role(certificates, "eventrouter"));
    const struct rpc_tls *tls = certificates_role(certificates, "harpoon");
    (void)snprintf(schedulers, sizeof schedulers, "%s", scheduler_address());
    (void)snprintf(routers, sizeof routers, "nyc3=%s|%s", router_address(0), router_address(1));
    config = (struct harpoon_config){
        .listen = listen,
        .tls_ca = (char *)(uintptr_t)tls->ca,
        .tls_certificate = (char *)(uintptr_t)tls->certificate,
        .tls_key = (char *)(uintptr_t)tls->key,
        .regions = regions,
        .schedulers = schedulers,
        .routers = routers,
        .mysql_socket = (char *)(uintptr_t)server_setting("HARPOON_TEST_SOCKET"),
        .mysql_user = user,
        .mysql_password_file = password_file,
        .mysql_database = database,
        .pipelines = 2,
        .prefetch = 100,
    };
    if (worker_start(&config, &worker, &err) < 0)
        fail_msg("%s", err.message);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", worker_port(worker));
    connect_client("eventrouter", address, &as_router);
    connect_client("scheduler", address, &as_scheduler);
    return 0;
}

static int finish(void **unused)
{
    UNUSED(unused);
    rpc_client_free(as_router);
    rpc_client_free(as_scheduler);
    worker_stop(worker);
    scheduler_stop();
    router_stop(0);
    router_stop(1);
    certificates_free(certificates);
    sql_free(db);
    sql_thread_end();
    unlink(password_file);
    rpc_library_fini();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_create_is_placed_delivered_stored_and_only_then_started),
        TEST(a_message_said_twice_dispatches_once_and_starts_again),
        TEST(a_late_message_of_a_cancelled_create_is_dropped_and_its_claim_released),
        TEST(an_agent_of_the_second_router_is_found_there),
        TEST(an_agent_that_is_not_connected_is_waited_for_with_the_same_claim),
        TEST(a_dark_region_is_known_too_when_its_list_was_not_taken),
        TEST(a_refusal_in_the_journal_is_followed_by_the_next_attempt),
        TEST(no_room_is_stored_with_a_time_to_ask_again),
        TEST(a_message_older_than_the_scheduler_knows_is_acknowledged),
        TEST(a_dispatched_create_is_started_again_only_as_the_row_says),
        TEST(what_is_past_its_deadline_is_not_begun),
        TEST(a_destroy_releases_every_claim_before_its_end_is_stored),
        TEST(a_destroy_whose_agent_lost_its_journal_is_dispatched_again),
        TEST(a_destroy_that_its_agent_has_closed_is_tried_again),
        TEST(a_destroy_of_a_fenced_hypervisor_ends_without_its_agent),
        TEST(the_last_attempt_closed_is_released_and_failed),
        TEST(reports_are_answered_from_the_row),
        TEST(confirms_are_answered_from_the_row),
        TEST(claims_are_wanted_as_the_rows_say),
        TEST(attaching_tells_the_fence_and_the_domains_that_are_not_wanted),
        TEST(a_question_by_the_wrong_role_is_refused),
        TEST(while_the_scheduler_is_away_messages_are_held_and_none_are_taken),
        TEST(while_all_routers_are_away_messages_are_held),
        TEST(while_the_database_is_away_messages_are_held),
        TEST(a_message_that_cannot_be_read_is_a_dead_letter_with_a_reason_in_its_row),
        TEST(an_idle_queue_counts_as_taken_until_now),
        TEST(many_messages_go_through_in_batches),
    };

    return cmocka_run_group_tests(tests, prepare, finish);
}
