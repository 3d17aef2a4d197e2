#include "harpoon/api/explain.h"

#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1600000600000) /* 2020-09-13T12:36:40Z */
#define AGO INT64_C(1600000000000) /* ten minutes before */

/* What one case begins with: a droplet whose create is pending since AGO. */
static struct admin_droplet droplet;
static struct admin_event event;
static struct explain_input in;
static struct explanation out;

static int setup(void **state)
{
    UNUSED(state);
    droplet = (struct admin_droplet){.id = {50},
                                     .name = "web",
                                     .region = "nyc3",
                                     .status = DROPLET_NEW,
                                     .event = {100},
                                     .created_ms = AGO};
    event = (struct admin_event){.row = {.id = {100},
                                         .droplet = {50},
                                         .type = EVENT_CREATE,
                                         .region = "nyc3",
                                         .state = EVENT_PENDING,
                                         .attempt = 1,
                                         .check_at_ms = NOW + 2000,
                                         .deadline_ms = NOW + 300000,
                                         .created_ms = AGO}};
    in =
        (struct explain_input){.droplet = &droplet, .event = &event, .last = &event, .now_ms = NOW};
    return 0;
}

/* Explains, and looks for what must be said. */
static void expect(const char *waiting_for, const char *sentence, const char *command)
{
    explain_droplet(&in, &out);
    assert_string_equal(out.waiting_for, waiting_for);
    if (strstr(out.sentence, sentence) == NULL)
        fail_msg("\"%s\" is not in: %s", sentence, out.sentence);
    if (strstr(out.command, command) == NULL)
        fail_msg("\"%s\" is not in: %s", command, out.command);
    size_t end = strlen(out.sentence);
    assert_true(end > 0 && out.sentence[end - 1] == '.'); /* whole, not cut */
}

static void a_fresh_create_waits_for_a_worker(void **state)
{
    UNUSED(state);
    expect("scheduler", "waits since 2020-09-13T12:26:40Z (10 min 0 s)", "harpoonctl queues");
    assert_int_equal(out.since_ms, AGO);
    assert_int_equal(out.next_check_ms, NOW + 2000);
    assert_int_equal(out.deadline_ms, NOW + 300000);
}

static void a_create_without_room_waits_for_capacity(void **state)
{
    UNUSED(state);
    event.row.reason = REASON_NO_ROOM;
    event.row.waiting_since_ms = NOW - 90000;
    expect("capacity", "(1 min 30 s) for a hypervisor of nyc3 with room; an operator must",
           "hypervisors list --region nyc3");
    assert_int_equal(out.since_ms, NOW - 90000);
}

static void a_create_whose_choice_is_silent_goes_elsewhere_by_itself(void **state)
{
    UNUSED(state);
    event.row.reason = REASON_NOT_CONNECTED;
    event.row.waiting_since_ms = NOW - 5000;
    expect("agent", "(5 s): the hypervisor chosen for it does not answer (not_connected)",
           "hypervisors list");
}

static void a_destroy_waits_for_its_hypervisor_and_a_fence_may_help(void **state)
{
    UNUSED(state);
    event.row.type = EVENT_DESTROY;
    event.row.hypervisor.v = 7;
    event.row.reason = REASON_NO_ANSWER;
    event.row.waiting_since_ms = NOW - 90000000;
    event.row.deadline_ms = 0;
    expect("hypervisor", "its destroy waits since",
           "hypervisors fence 7 --region nyc3 --yes-powered-off --reason TEXT");
    assert_non_null(strstr(out.sentence, "(1 d 1 h) for hypervisor 7 (no_answer)"));
    assert_int_equal(out.deadline_ms, 0);
}

static void a_later_attempt_says_what_became_of_the_one_before(void **state)
{
    UNUSED(state);
    event.row.attempt = 3;
    event.row.reason = REASON_HOST_DISK_FULL;
    expect("scheduler", "attempt 2 of its create ended (host_disk_full); attempt 3 begins in 2 s",
           "events show 100");
}

static void what_an_agent_does_needs_nobody_until_it_falls_silent(void **state)
{
    UNUSED(state);
    event.row.state = EVENT_DISPATCHED;
    event.row.hypervisor.v = 7;
    event.row.dispatched_ms = NOW - 1000;
    expect("agent", "was handed to the agent of hypervisor 7", "");
    assert_string_equal(out.command, "");
    event.row.state = EVENT_RUNNING;
    event.row.running_ms = NOW - 100000;
    expect("agent", "is being done by the agent of hypervisor 7", "");
    event.row.running_ms = NOW - 200000;
    expect("hypervisor", "nothing was heard since; an operator must", "hypervisors fence 7");
    in.fenced = true;
    expect("scheduler", "which was fenced: it goes on elsewhere", "");
}

static void an_unreadable_message_needs_an_operator(void **state)
{
    UNUSED(state);
    event.row.reason = REASON_UNDECODABLE;
    event.row.waiting_since_ms = AGO;
    expect("operator", "could not be read by a worker", "events show 100");
}

static void a_living_droplet_waits_for_nobody_unless_its_hypervisor_is_fenced(void **state)
{
    UNUSED(state);
    droplet.event.v = 0;
    droplet.status = DROPLET_ACTIVE;
    droplet.hypervisor.v = 7;
    in.event = NULL;
    event.row.state = EVENT_SUCCEEDED;
    event.row.done_ms = AGO + 3000;
    expect("nobody", "it is active on hypervisor 7 since 2020-09-13T12:26:43Z", "");
    in.fenced = true;
    in.fenced_ms = NOW - 60000;
    expect("nobody", "lived on hypervisor 7, which is fenced since 2020-09-13T12:35:40Z", "");
}

static void a_failed_create_may_be_replayed_and_a_cancelled_one_not(void **state)
{
    UNUSED(state);
    droplet.event.v = 0;
    droplet.status = DROPLET_ARCHIVE;
    in.event = NULL;
    event.row.state = EVENT_FAILED;
    event.row.reason = REASON_HOST_DISK_FULL;
    event.row.done_ms = AGO;
    expect("operator", "its create failed: host_disk_full since", "dead replay 100 --reason TEXT");
    event.row.state = EVENT_CANCELLED;
    event.row.reason = REASON_CANCELLED;
    explain_droplet(&in, &out);
    assert_string_equal(out.command, "");
}

static void what_is_deleted_waits_for_nobody(void **state)
{
    UNUSED(state);
    droplet.event.v = 0;
    droplet.status = DROPLET_ARCHIVE;
    droplet.deleted_ms = AGO;
    droplet.gone_ms = AGO + 1000;
    in.event = NULL;
    expect("nobody", "nothing of it exists since 2020-09-13T12:26:41Z", "");
    in.last = NULL;
    expect("nobody", "nothing of it exists", "");
}

/* Every row there can be has its sentence, whole, and a known word for who is waited for. */
static void every_state_and_reason_has_its_sentence(void **state)
{
    static const char *const words[] = {"nobody", "scheduler",  "capacity", "router",
                                        "agent",  "hypervisor", "operator"};

    UNUSED(state);
    for (int type = EVENT_CREATE; type <= EVENT_TYPES; type++) {
        for (int s = EVENT_PENDING; s <= EVENT_RUNNING; s++) {
            for (int reason = REASON_NONE; reason < REASON_COUNT; reason++) {
                bool known = false;
                event.row.type = (enum event_type)type;
                event.row.state = (enum event_state)s;
                event.row.reason = (enum event_reason)reason;
                event.row.hypervisor.v = type == EVENT_CREATE ? 0 : UINT64_C(9007199254740991);
                event.row.waiting_since_ms = reason % 2 != 0 ? AGO : 0;
                expect((explain_droplet(&in, &out), out.waiting_for), "", "");
                for (size_t i = 0; i < ARRAY_LEN(words); i++)
                    known |= strcmp(words[i], out.waiting_for) == 0;
                assert_true(known);
            }
        }
    }
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fresh_create_waits_for_a_worker),
        TEST(a_create_without_room_waits_for_capacity),
        TEST(a_create_whose_choice_is_silent_goes_elsewhere_by_itself),
        TEST(a_destroy_waits_for_its_hypervisor_and_a_fence_may_help),
        TEST(a_later_attempt_says_what_became_of_the_one_before),
        TEST(what_an_agent_does_needs_nobody_until_it_falls_silent),
        TEST(an_unreadable_message_needs_an_operator),
        TEST(a_living_droplet_waits_for_nobody_unless_its_hypervisor_is_fenced),
        TEST(a_failed_create_may_be_replayed_and_a_cancelled_one_not),
        TEST(what_is_deleted_waits_for_nobody),
        TEST(every_state_and_reason_has_its_sentence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
