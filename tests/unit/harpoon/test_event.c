/* Every (type, state, input) has its expectation here, and each rule of the protocol a sentence. */
#include "harpoon/event.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW      1000000000LL
#define DEADLINE (NOW + 600000)

static const hypervisor_id here = {7}, there = {8}, nowhere = {0};
static const struct uuid journal = {.b = {1}}, other_journal = {.b = {2}};
static const struct uuid no_journal;

/* A row as it is after it came to `state` by its second attempt, on `here` in `journal`. */
static struct event row_in(enum event_type type, enum event_state state)
{
    struct event row = {
        .id = {100},
        .droplet = {50},
        .account = {1},
        .type = type,
        .region = "nyc3",
        .state = state,
        .attempt = 2,
        .created_ms = NOW - 10000,
        .check_at_ms = state >= EVENT_SUCCEEDED ? 0 : NOW + 5000,
        .deadline_ms = type == EVENT_CREATE ? DEADLINE : 0,
        .droplet_status = type == EVENT_CREATE ? DROPLET_NEW : DROPLET_ACTIVE,
        .droplet_event = {100},
    };
    bool dispatched = state == EVENT_DISPATCHED || state == EVENT_RUNNING ||
                      state == EVENT_SUCCEEDED || state == EVENT_FAILED;

    if (dispatched || type != EVENT_CREATE)
        row.hypervisor = here;
    if (dispatched) {
        row.journal = journal;
        row.placed_ms = row.dispatched_ms = NOW - 1000;
    }
    if (type != EVENT_CREATE) {
        row.droplet_hypervisor = here;
        row.droplet_deleted = type == EVENT_DESTROY;
    }
    if (event_is_final(state))
        row.droplet_event.v = 0;
    return row;
}

/* An input that speaks of just what such a row names. */
static struct event_input input(enum event_input_kind kind)
{
    return (struct event_input){
        .kind = kind,
        .attempt = 2,
        .hypervisor = here,
        .journal = journal,
        .actor = "test",
    };
}

static struct event_change step_at(const struct event *row, const struct event_input *in,
                                   int64_t now_ms)
{
    struct event_change change;

    memset(&change, 0xff, sizeof change);
    event_step(row, in, now_ms, &change);
    return change;
}

static struct event_change step(const struct event *row, const struct event_input *in)
{
    return step_at(row, in, NOW);
}

/* ---- the whole table ----
 * One cell for each state: where the row goes (its letter, or = for unchanged), + for attempt n+1,
 * ! when claims must be released before; then what the bringer is told. */
static const char state_letters[] = " PDRSFC";
static const char answer_letters[] = "sduwbx"; /* stored discard unknown wait begin drop */

struct expectation {
    enum event_input_kind in;
    const char
        *cells[EVENT_STATES]; /* pending, dispatched, running, succeeded, failed, cancelled */
};

static const struct expectation of_create[EVENT_INPUTS] = {
    {IN_DELIVERED, {"D b", "= b", "= b", "= x", "= x", "= x"}},
    {IN_REFUSED, {"P+s", "= b", "= b", "= x", "= x", "= x"}},
    {IN_NOT_CONNECTED, {"P s", "= b", "= b", "= x", "= x", "= x"}},
    {IN_NO_ROOM, {"P s", "= w", "= w", "= x", "= x", "= x"}},
    {IN_RUNNING, {"= w", "R s", "= s", "= s", "= d", "= d"}},
    {IN_SUCCEEDED, {"= w", "S s", "S s", "= s", "= d", "= d"}},
    {IN_CLOSED, {"P+s", "P+s", "P+s", "= s", "= s", "= s"}},
    {IN_FENCED, {"= w", "P+s", "P+s", "= x", "= x", "= x"}},
    {IN_CANCEL, {"C s", "= w", "= w", "= x", "= x", "= x"}},
    {IN_DEADLINE, {"F s", "F s", "F s", "= x", "= x", "= x"}},
    {IN_POKE, {"P s", "= w", "= w", "= x", "= x", "= x"}},
    {IN_UNREADABLE, {"P s", "= w", "= w", "= x", "= x", "= x"}},
};

/* `running` is not stored for these: their rows are never in it, and nothing moves one that is. */
static const struct expectation of_pinned[EVENT_INPUTS] = {
    {IN_DELIVERED, {"D b", "= b", "= b", "= x", "= x", "= x"}},
    {IN_REFUSED, {"P+s", "= b", "= b", "= x", "= x", "= x"}},
    {IN_NOT_CONNECTED, {"P s", "= b", "= b", "= x", "= x", "= x"}},
    {IN_NO_ROOM, {"= w", "= w", "= w", "= x", "= x", "= x"}},
    {IN_RUNNING, {"= w", "= s", "= s", "= s", "= s", "= s"}},
    {IN_SUCCEEDED, {"= w", "S!s", "= s", "= s", "= s", "= s"}},
    {IN_CLOSED, {"P+s", "P+s", "= w", "= s", "= s", "= s"}},
    {IN_FENCED, {"S!s", "S!s", "= w", "= x", "= x", "= x"}},
    {IN_CANCEL, {"= w", "= w", "= w", "= x", "= x", "= x"}},
    {IN_DEADLINE, {"= w", "= w", "= w", "= x", "= x", "= x"}},
    {IN_POKE, {"P s", "= w", "= w", "= x", "= x", "= x"}},
    {IN_UNREADABLE, {"P s", "= w", "= w", "= x", "= x", "= x"}},
};

static void check_cell(enum event_type type, enum event_state state, enum event_input_kind kind,
                       const char *cell)
{
    struct event row = row_in(type, state);
    struct event_input in = input(kind);
    char got[4] = "=  ";
    struct event_change change = step_at(&row, &in, kind == IN_DEADLINE ? DEADLINE : NOW);

    if (change.release_first != RELEASE_NONE) {
        assert_false(change.changed);
        assert_int_equal(change.answer, ANSWER_WAIT);
        got[1] = '!';
        in.released = true;
        change = step(&row, &in);
        assert_int_equal(change.release_first, RELEASE_NONE);
    }
    if (change.changed)
        got[0] = state_letters[change.row.state];
    if (change.row.attempt == row.attempt + 1)
        got[1] = '+';
    got[2] = answer_letters[change.answer];
    if (strcmp(got, cell) != 0)
        fail_msg("%s %s, input %d: expected \"%s\", got \"%s\"", event_type_name(type),
                 event_state_name(state), kind, cell, got);
    assert_int_equal(change.changed, cell[0] != '=');
    assert_int_equal(change.refused, cell[0] == '=');
    if (!change.changed)
        assert_memory_equal(&change.row, &row, sizeof row);
    if (change.changed && event_is_final(change.row.state))
        assert_int_equal(change.row.check_at_ms, 0);
    else if (change.changed)
        assert_true(change.row.check_at_ms >= NOW && change.row.check_at_ms <= NOW + 300000);
}

static void every_type_state_and_input_does_what_the_table_says(void **unused)
{
    (void)unused;
    for (enum event_type type = EVENT_CREATE; type <= EVENT_CLEANUP; type++)
        for (size_t i = 0; i < EVENT_INPUTS; i++) {
            const struct expectation *e = type == EVENT_CREATE ? &of_create[i] : &of_pinned[i];
            assert_int_equal(e->in, i);
            for (int s = EVENT_PENDING; s <= EVENT_CANCELLED; s++)
                check_cell(type, (enum event_state)s, e->in, e->cells[s - EVENT_PENDING]);
        }
}

/* ---- accepted is not started ---- */

static void a_delivery_stores_who_may_start_it(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    struct event_input in = input(IN_DELIVERED);
    row.reason = REASON_NOT_CONNECTED;
    row.waiting_since_ms = NOW - 5000;
    struct event_change c = step(&row, &in);

    assert_int_equal(c.row.hypervisor.v, here.v);
    assert_true(uuid_equal(&c.row.journal, &journal));
    assert_int_equal(c.row.dispatched_ms, NOW);
    assert_int_equal(c.row.check_at_ms, NOW + 120000);
    assert_int_equal(c.row.reason, REASON_NONE);
    assert_int_equal(c.row.waiting_since_ms, 0);
    assert_false(c.droplet_changed);
}

static void a_delivery_of_a_lower_attempt_is_dropped(void **unused)
{
    (void)unused;
    struct event_input in = input(IN_DELIVERED);
    in.attempt = 1;
    for (int s = EVENT_PENDING; s <= EVENT_CANCELLED; s++) {
        struct event row = row_in(EVENT_CREATE, (enum event_state)s);
        struct event_change c = step(&row, &in);
        assert_false(c.changed);
        assert_int_equal(c.answer, ANSWER_DROP);
    }
}

static void a_create_is_never_dispatched_to_a_second_place(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    struct event_input in = input(IN_DELIVERED);
    in.journal = other_journal;
    assert_false(step(&row, &in).changed);
    assert_int_equal(step(&row, &in).answer, ANSWER_WAIT);
    in = input(IN_DELIVERED);
    in.hypervisor = there;
    assert_false(step(&row, &in).changed);
    assert_int_equal(step(&row, &in).answer, ANSWER_WAIT);
}

static void a_destroy_is_dispatched_again_to_the_new_journal_of_its_hypervisor(void **unused)
{
    (void)unused;
    for (enum event_type type = EVENT_DESTROY; type <= EVENT_CLEANUP; type++) {
        struct event row = row_in(type, EVENT_DISPATCHED);
        struct event_input in = input(IN_DELIVERED);
        in.journal = other_journal;
        struct event_change c = step(&row, &in);
        assert_int_equal(c.row.state, EVENT_DISPATCHED);
        assert_int_equal(c.row.attempt, 2);
        assert_true(uuid_equal(&c.row.journal, &other_journal));
        assert_int_equal(c.answer, ANSWER_START);
        in.hypervisor = there;
        assert_false(step(&row, &in).changed);
        in.attempt = 3;
        assert_false(step(&row, &in).changed);
    }
}

static void a_destroy_goes_to_its_own_hypervisor_only(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_DESTROY, EVENT_PENDING);
    struct event_input in = input(IN_DELIVERED);
    in.hypervisor = there;
    assert_false(step(&row, &in).changed);
    in = input(IN_FENCED);
    in.hypervisor = there;
    assert_false(step(&row, &in).changed);
}

static void only_the_row_that_names_it_lets_a_job_start(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);

    assert_int_equal(event_confirm(&row, 2, here, &journal), ANSWER_START);
    assert_int_equal(event_confirm(&row, 2, there, &journal), ANSWER_WAIT);
    assert_int_equal(event_confirm(&row, 2, here, &other_journal), ANSWER_WAIT);
    assert_int_equal(event_confirm(&row, 1, here, &journal), ANSWER_DROP);
    assert_int_equal(event_confirm(&row, 3, here, &journal), ANSWER_WAIT);
    assert_int_equal(event_confirm(NULL, 2, here, &journal), ANSWER_WAIT);
    row = row_in(EVENT_CREATE, EVENT_RUNNING);
    assert_int_equal(event_confirm(&row, 2, here, &journal), ANSWER_START);
    row = row_in(EVENT_CREATE, EVENT_PENDING);
    assert_int_equal(event_confirm(&row, 2, here, &journal), ANSWER_WAIT);
    assert_int_equal(event_confirm(&row, 2, nowhere, &no_journal), ANSWER_WAIT);
    for (int s = EVENT_SUCCEEDED; s <= EVENT_CANCELLED; s++) {
        row = row_in(EVENT_CREATE, (enum event_state)s);
        assert_int_equal(event_confirm(&row, 2, here, &journal), ANSWER_DROP);
    }
}

/* ---- closed before next ---- */

static void another_journals_closed_does_not_count(void **unused)
{
    (void)unused;
    struct event_input in = input(IN_CLOSED);
    in.journal = other_journal;
    for (int s = EVENT_DISPATCHED; s <= EVENT_RUNNING; s++) {
        struct event row = row_in(EVENT_CREATE, (enum event_state)s);
        struct event_change c = step(&row, &in);
        assert_false(c.changed);
        assert_int_equal(c.answer, ANSWER_WAIT);
    }
}

static void an_unjournalled_refusal_never_moves_what_was_dispatched(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    struct event_input in = input(IN_REFUSED);
    assert_false(step(&row, &in).changed);
    row = row_in(EVENT_DESTROY, EVENT_DISPATCHED);
    assert_false(step(&row, &in).changed);
}

static void the_next_attempt_starts_afresh_and_elsewhere(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_RUNNING);
    struct event_input in = input(IN_CLOSED);
    in.reason = REASON_HOST_DISK_FULL;
    row.running_ms = NOW - 500;
    struct event_change c = step(&row, &in);

    assert_int_equal(c.row.attempt, 3);
    assert_int_equal(c.row.hypervisor.v, 0);
    assert_true(uuid_is_zero(&c.row.journal));
    assert_int_equal(c.row.reason, REASON_HOST_DISK_FULL);
    assert_int_equal(c.row.excluded_count, 1);
    assert_int_equal(c.row.excluded[0], here.v);
    assert_int_equal(c.row.dispatched_ms, 0);
    assert_int_equal(c.row.running_ms, 0);
    assert_false(c.droplet_changed);
    assert_string_equal(c.log_what, "attempt closed");
}

static void the_second_attempt_is_made_at_once_and_later_ones_more_slowly(void **unused)
{
    (void)unused;
    static const int64_t pauses[] = {0, 0, 1000, 2000, 4000};
    struct event_input in = input(IN_REFUSED);
    for (unsigned attempt = 1; attempt < 5; attempt++) {
        struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
        row.attempt = in.attempt = attempt;
        assert_int_equal(step(&row, &in).row.check_at_ms, NOW + pauses[attempt]);
    }
}

static void at_most_thirty_two_hypervisors_are_excluded_the_latest_ones(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    struct event_input in = input(IN_REFUSED);
    for (uint64_t i = 0; i < 40; i++) {
        in.hypervisor.v = 1000 + i;
        row = step(&row, &in).row;
        row.attempt = 2;
    }
    assert_int_equal(row.excluded_count, EVENT_EXCLUDED_MAX);
    assert_int_equal(row.excluded[0], 1008);
    assert_int_equal(row.excluded[EVENT_EXCLUDED_MAX - 1], 1039);
    row = step(&row, &in).row;
    assert_int_equal(row.excluded_count, EVENT_EXCLUDED_MAX);
    assert_int_equal(row.excluded[0], 1008);
}

static void the_last_attempt_closed_releases_before_it_fails(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_RUNNING);
    struct event_input in = input(IN_CLOSED);
    row.attempt = in.attempt = 5;
    struct event_change c = step(&row, &in);
    assert_false(c.changed);
    assert_int_equal(c.release_first, RELEASE_ATTEMPT);
    assert_int_equal(c.answer, ANSWER_WAIT);
    in.released = true;
    c = step(&row, &in);
    assert_int_equal(c.row.state, EVENT_FAILED);
    assert_int_equal(c.row.reason, REASON_OUT_OF_ATTEMPTS);
    assert_int_equal(c.row.droplet_status, DROPLET_ARCHIVE);
    assert_int_equal(c.row.droplet_event.v, 0);
    assert_true(c.droplet_freed && c.row.droplet_gone);
    assert_int_equal(c.follow_up, 0);
    assert_int_equal(c.row.done_ms, NOW);
}

static void closed_after_a_delete_ends_without_another_attempt(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_RUNNING);
    struct event_input in = input(IN_CLOSED);
    row.droplet_deleted = true;
    assert_int_equal(step(&row, &in).release_first, RELEASE_ATTEMPT);
    in.released = true;
    struct event_change c = step(&row, &in);
    assert_int_equal(c.row.state, EVENT_FAILED);
    assert_int_equal(c.follow_up, 0);
    assert_true(c.droplet_freed);
}

static void a_refusal_at_the_last_attempt_fails_without_a_cleanup(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    struct event_input in = input(IN_REFUSED);
    row.attempt = in.attempt = 5;
    in.reason = REASON_HOST_DISK_FULL;
    struct event_change c = step(&row, &in);
    assert_int_equal(c.row.state, EVENT_FAILED);
    assert_int_equal(c.row.reason, REASON_HOST_DISK_FULL);
    assert_int_equal(c.follow_up, 0);
    assert_true(c.droplet_freed);
}

static void a_destroy_never_runs_out_of_attempts(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_DESTROY, EVENT_DISPATCHED);
    struct event_input in = input(IN_CLOSED);
    row.attempt = in.attempt = 4000;
    row.created_ms = NOW - 86400000;
    struct event_change c = step(&row, &in);
    assert_int_equal(c.row.state, EVENT_PENDING);
    assert_int_equal(c.row.attempt, 4001);
    assert_int_equal(c.row.hypervisor.v, here.v);
    assert_int_equal(c.row.check_at_ms, NOW + 300000);
    row.attempt = in.attempt = UINT16_MAX;
    assert_false(step(&row, &in).changed);
}

/* ---- not connected is not an attempt ---- */

static void not_connected_keeps_the_claim_for_fifteen_seconds(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    struct event_input in = input(IN_NOT_CONNECTED);
    in.reason = REASON_NOT_CONNECTED;
    struct event_change c = step(&row, &in);
    assert_int_equal(c.row.waiting_since_ms, NOW);
    assert_int_equal(c.row.check_at_ms, NOW + 2000);
    assert_string_equal(c.log_what, "not connected");
    in.reason = REASON_NO_ANSWER; /* the same wait by another word */
    c = step_at(&c.row, &in, NOW + 14999);
    assert_int_equal(c.row.attempt, 2);
    assert_int_equal(c.row.waiting_since_ms, NOW);
    assert_null(c.log_what);
    c = step_at(&c.row, &in, NOW + 15000);
    assert_int_equal(c.row.attempt, 3);
    assert_int_equal(c.row.excluded[0], here.v);
    assert_int_equal(c.row.waiting_since_ms, 0);
}

static void while_the_region_is_dark_there_is_no_next_attempt_and_no_failing(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    struct event_input in = input(IN_NOT_CONNECTED);
    in.reason = row.reason = REASON_NOT_CONNECTED;
    row.waiting_since_ms = NOW - 100000;
    row.attempt = in.attempt = 5;
    in.dark = true;
    assert_int_equal(step(&row, &in).row.state, EVENT_PENDING);
    in.dark = false;
    assert_int_equal(step(&row, &in).row.state, EVENT_FAILED);
    assert_int_equal(step(&row, &in).row.reason, REASON_NOT_CONNECTED);
}

static void a_destroy_waits_for_its_hypervisor_for_ever_backing_off(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CLEANUP, EVENT_PENDING);
    struct event_input in = input(IN_NOT_CONNECTED);
    in.reason = REASON_NOT_CONNECTED;
    row = step(&row, &in).row;
    assert_int_equal(row.check_at_ms, NOW + 2000);
    row = step_at(&row, &in, NOW + 60000).row;
    assert_int_equal(row.check_at_ms, NOW + 60000 + 30000);
    row = step_at(&row, &in, NOW + 86400000).row;
    assert_int_equal(row.check_at_ms, NOW + 86400000 + 300000);
    assert_int_equal(row.state, EVENT_PENDING);
    assert_int_equal(row.attempt, 2);
    assert_int_equal(row.reason, REASON_NOT_CONNECTED);
}

static void no_room_backs_off_to_thirty_seconds_and_is_said_once(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    struct event_input in = input(IN_NO_ROOM);
    in.reason = REASON_NO_ROOM;
    struct event_change c = step(&row, &in);
    assert_int_equal(c.row.check_at_ms, NOW + 500);
    assert_string_equal(c.log_what, "no room");
    c = step_at(&c.row, &in, NOW + 20000);
    assert_int_equal(c.row.check_at_ms, NOW + 20000 + 5000);
    assert_null(c.log_what);
    c = step_at(&c.row, &in, NOW + 300000);
    assert_int_equal(c.row.check_at_ms, NOW + 300000 + 30000);
    c = step_at(&c.row, &in, DEADLINE - 4000); /* never looked at later than its deadline */
    assert_int_equal(c.row.check_at_ms, DEADLINE);
}

static void an_unreadable_message_is_published_ever_more_rarely(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_DESTROY, EVENT_PENDING);
    struct event_input in = {.kind = IN_UNREADABLE, .reason = REASON_UNDECODABLE};
    struct event_change c = step(&row, &in);
    assert_int_equal(c.row.check_at_ms, NOW + 2000);
    assert_int_equal(c.row.reason, REASON_UNDECODABLE);
    assert_string_equal(c.log_what, "message unreadable");
    c = step_at(&c.row, &in, NOW + 86400000);
    assert_int_equal(c.row.check_at_ms, NOW + 86400000 + 300000);
    assert_null(c.log_what);
}

/* ---- deadlines and cancels ---- */

static void a_deadline_while_pending_fails_with_what_it_waited_for(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    struct event_input in = {.kind = IN_DEADLINE};
    assert_int_equal(step_at(&row, &in, DEADLINE).row.reason, REASON_DEADLINE);
    row.reason = REASON_NO_ROOM;
    struct event_change c = step_at(&row, &in, DEADLINE);
    assert_int_equal(c.row.state, EVENT_FAILED);
    assert_int_equal(c.row.reason, REASON_NO_ROOM);
    assert_int_equal(c.follow_up, 0);
    assert_true(c.droplet_freed);
    assert_false(step_at(&row, &in, DEADLINE - 1).changed);
}

static void a_deadline_after_dispatch_leaves_a_cleanup(void **unused)
{
    (void)unused;
    struct event_input in = {.kind = IN_DEADLINE};
    for (int s = EVENT_DISPATCHED; s <= EVENT_RUNNING; s++)
        for (int deleted = 0; deleted < 2; deleted++) {
            struct event row = row_in(EVENT_CREATE, (enum event_state)s);
            row.droplet_deleted = deleted;
            struct event_change c = step_at(&row, &in, DEADLINE);
            assert_int_equal(c.row.state, EVENT_FAILED);
            assert_int_equal(c.row.reason, REASON_HYPERVISOR_UNREACHABLE);
            assert_int_equal(c.follow_up, EVENT_CLEANUP);
            assert_int_equal(c.row.droplet_status, DROPLET_ARCHIVE);
            assert_int_equal(c.row.droplet_hypervisor.v, here.v);
            assert_false(c.droplet_freed || c.row.droplet_gone);
        }
}

static void a_destroy_has_no_deadline(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_DESTROY, EVENT_DISPATCHED);
    struct event_input in = {.kind = IN_DEADLINE};
    assert_false(step_at(&row, &in, NOW + 86400000LL * 365).changed);
    assert_false(event_is_late(&row, NOW + 86400000LL * 365));
}

static void a_late_success_is_discarded_its_cleanup_is_coming(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_FAILED);
    struct event_input in = input(IN_SUCCEEDED);
    row.droplet_event.v = 101;
    assert_int_equal(step(&row, &in).answer, ANSWER_DISCARD);
    assert_false(step(&row, &in).changed);
}

static void cancelling_a_pending_create_leaves_nothing_of_its_droplet(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    struct event_input in = {.kind = IN_CANCEL, .actor = "customer"};
    struct event_change c = step(&row, &in);
    assert_int_equal(c.row.state, EVENT_CANCELLED);
    assert_int_equal(c.row.reason, REASON_CANCELLED);
    assert_int_equal(c.follow_up, 0);
    assert_true(c.droplet_freed && c.row.droplet_gone);
    assert_int_equal(c.row.droplet_status, DROPLET_ARCHIVE);
    assert_int_equal(c.row.droplet_event.v, 0);
}

static void success_of_a_deleted_droplet_is_followed_by_its_destroy(void **unused)
{
    (void)unused;
    for (int s = EVENT_DISPATCHED; s <= EVENT_RUNNING; s++) {
        struct event row = row_in(EVENT_CREATE, (enum event_state)s);
        struct event_input in = input(IN_SUCCEEDED);
        row.droplet_deleted = true;
        struct event_change c = step(&row, &in);
        assert_int_equal(c.row.state, EVENT_SUCCEEDED);
        assert_int_equal(c.follow_up, EVENT_DESTROY);
        assert_int_equal(c.row.hypervisor.v, here.v);
        assert_false(c.droplet_freed);
    }
}

static void success_makes_the_droplet_live_on_its_hypervisor(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    struct event_input in = input(IN_SUCCEEDED);
    in.began_ms = NOW - 700;
    struct event_change c = step(&row, &in);
    assert_int_equal(c.row.droplet_status, DROPLET_ACTIVE);
    assert_int_equal(c.row.droplet_hypervisor.v, here.v);
    assert_int_equal(c.row.droplet_event.v, 0);
    assert_int_equal(c.follow_up, 0);
    assert_int_equal(c.row.running_ms, NOW - 700);
    assert_int_equal(c.row.done_ms, NOW);
    assert_false(c.droplet_freed);
}

static void an_event_its_droplet_does_not_point_to_leaves_the_droplet_alone(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    struct event_input in = input(IN_SUCCEEDED);
    row.droplet_event.v = 999;
    struct event_change c = step(&row, &in);
    assert_true(c.changed);
    assert_false(c.droplet_changed || c.droplet_freed);
    assert_int_equal(c.row.droplet_event.v, 999);
    assert_int_equal(c.follow_up, 0);
}

/* ---- released when absent ---- */

static void absent_releases_every_claim_before_the_droplet_is_gone(void **unused)
{
    (void)unused;
    for (enum event_type type = EVENT_DESTROY; type <= EVENT_CLEANUP; type++) {
        struct event row = row_in(type, EVENT_DISPATCHED);
        struct event_input in = input(IN_SUCCEEDED);
        struct event_change c = step(&row, &in);
        assert_false(c.changed);
        assert_int_equal(c.release_first, RELEASE_DROPLET);
        in.released = true;
        c = step(&row, &in);
        assert_int_equal(c.row.state, EVENT_SUCCEEDED);
        assert_true(c.droplet_freed && c.row.droplet_gone);
        assert_int_equal(c.row.droplet_hypervisor.v, 0);
        assert_int_equal(c.row.droplet_status, DROPLET_ARCHIVE);
    }
}

static void absent_counts_only_from_the_journal_that_the_row_names(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_DESTROY, EVENT_DISPATCHED);
    struct event_input in = input(IN_SUCCEEDED);
    in.journal = other_journal;
    in.released = true;
    assert_false(step(&row, &in).changed);
    assert_int_equal(step(&row, &in).answer, ANSWER_WAIT);
}

static void a_fenced_hypervisor_ends_its_destroys_in_any_unfinished_state(void **unused)
{
    (void)unused;
    for (int s = EVENT_PENDING; s <= EVENT_DISPATCHED; s++) {
        struct event row = row_in(EVENT_DESTROY, (enum event_state)s);
        struct event_input in = input(IN_FENCED);
        in.journal = no_journal;
        assert_int_equal(step(&row, &in).release_first, RELEASE_DROPLET);
        in.released = true;
        struct event_change c = step(&row, &in);
        assert_int_equal(c.row.state, EVENT_SUCCEEDED);
        assert_int_equal(c.row.reason, REASON_FENCED);
        assert_true(c.droplet_freed);
    }
}

static void a_fence_of_another_attempts_hypervisor_moves_nothing(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    struct event_input in = input(IN_FENCED);
    in.attempt = 1;
    assert_false(step(&row, &in).changed);
    in = input(IN_FENCED);
    in.hypervisor = there;
    assert_false(step(&row, &in).changed);
}

static void a_fence_at_the_last_attempt_releases_and_fails(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_RUNNING);
    struct event_input in = input(IN_FENCED);
    row.attempt = in.attempt = 5;
    assert_int_equal(step(&row, &in).release_first, RELEASE_ATTEMPT);
    in.released = true;
    assert_int_equal(step(&row, &in).row.state, EVENT_FAILED);
    assert_int_equal(step(&row, &in).row.reason, REASON_FENCED);
    assert_int_equal(step(&row, &in).follow_up, 0);
}

/* ---- reports ---- */

static void a_result_of_a_superseded_attempt_is_discarded(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    struct event_input in = input(IN_SUCCEEDED);
    in.attempt = 1;
    assert_int_equal(step(&row, &in).answer, ANSWER_DISCARD);
    in = input(IN_RUNNING);
    in.hypervisor = there;
    assert_int_equal(step(&row, &in).answer, ANSWER_DISCARD);
    row = row_in(EVENT_CREATE, EVENT_SUCCEEDED);
    in = input(IN_SUCCEEDED);
    in.hypervisor = there;
    assert_int_equal(step(&row, &in).answer, ANSWER_DISCARD);
}

static void a_result_ahead_of_the_row_is_never_undone(void **unused)
{
    (void)unused;
    struct event_input in = input(IN_SUCCEEDED);
    in.attempt = 3;
    for (int s = EVENT_PENDING; s <= EVENT_RUNNING; s++) {
        struct event row = row_in(EVENT_CREATE, (enum event_state)s);
        assert_int_equal(step(&row, &in).answer, ANSWER_WAIT);
    }
}

static void a_closed_report_is_forgotten_once_it_cannot_matter(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    struct event_input in = input(IN_CLOSED);
    in.attempt = 1;
    assert_int_equal(step(&row, &in).answer, ANSWER_STORED);
    in.attempt = 3;
    assert_int_equal(step(&row, &in).answer, ANSWER_WAIT);
    in = input(IN_CLOSED);
    in.hypervisor = there;
    assert_int_equal(step(&row, &in).answer, ANSWER_STORED);
}

static void a_destroy_is_never_told_to_undo(void **unused)
{
    (void)unused;
    for (int s = EVENT_PENDING; s <= EVENT_CANCELLED; s++)
        for (unsigned attempt = 1; attempt <= 3; attempt++) {
            struct event row = row_in(EVENT_CLEANUP, (enum event_state)s);
            struct event_input in = input(IN_SUCCEEDED);
            in.attempt = attempt;
            in.hypervisor = there;
            assert_int_not_equal(step(&row, &in).answer, ANSWER_DISCARD);
        }
}

/* ---- claims ---- */

static void a_claim_is_wanted_while_its_attempt_is_the_rows(void **unused)
{
    (void)unused;
    for (int s = EVENT_PENDING; s <= EVENT_RUNNING; s++) {
        struct event row = row_in(EVENT_CREATE, (enum event_state)s);
        assert_true(event_wanted(&row, 2));
        assert_false(event_wanted(&row, 1));
        assert_true(event_wanted(&row, 3)); /* the database is behind: never on a guess */
    }
}

static void a_claim_is_wanted_while_the_droplet_lives_on_it(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_SUCCEEDED);
    assert_true(event_wanted(&row, 2));
    assert_false(event_wanted(&row, 1));
    row.droplet_gone = true;
    assert_false(event_wanted(&row, 2));
}

static void a_claim_is_wanted_until_its_droplets_destroy_or_cleanup_has_ended(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_FAILED);
    assert_false(event_wanted(&row, 2));
    row.droplet_event.v = 101;
    assert_true(event_wanted(&row, 2));
    assert_true(event_wanted(&row, 1));
    row.droplet_event.v = 0;
    row.droplet_gone = true;
    assert_false(event_wanted(&row, 2));
}

static void a_claim_without_an_event_is_judged_by_its_droplet(void **unused)
{
    (void)unused;
    assert_true(event_wanted_by_droplet(false, false));
    assert_true(event_wanted_by_droplet(true, false));
    assert_false(event_wanted_by_droplet(true, true));
}

/* ---- when to look again ---- */

static void a_pending_row_is_due_only_when_its_message_must_have_been_taken(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_PENDING);
    row.check_at_ms = NOW; /* published at NOW - 5 s */
    assert_true(event_is_due(&row, NOW, NOW));
    assert_true(event_is_due(&row, NOW, NOW - 5000));
    assert_false(event_is_due(&row, NOW, NOW - 5001));
    assert_false(event_is_due(&row, NOW, 0));
    assert_false(event_is_due(&row, NOW - 1, NOW));
    assert_true(event_is_due(&row, DEADLINE, 0)); /* its deadline waits for no queue */
    row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    row.check_at_ms = NOW;
    assert_true(event_is_due(&row, NOW, 0));
    row = row_in(EVENT_CREATE, EVENT_SUCCEEDED);
    assert_false(event_is_due(&row, NOW, NOW));
}

static void nobody_looks_later_than_the_deadline(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_CREATE, EVENT_DISPATCHED);
    assert_int_equal(event_margin_ms(&row, NOW), 120000);
    assert_int_equal(event_margin_ms(&row, DEADLINE - 50000), 50000);
    assert_int_equal(event_margin_ms(&row, DEADLINE), 500);
    row = row_in(EVENT_CREATE, EVENT_FAILED);
    assert_int_equal(event_margin_ms(&row, NOW), 0);
}

static void a_dispatched_destroy_is_looked_at_ever_more_rarely(void **unused)
{
    (void)unused;
    struct event row = row_in(EVENT_DESTROY, EVENT_DISPATCHED);
    row.dispatched_ms = NOW;
    assert_int_equal(event_margin_ms(&row, NOW), 30000);
    assert_int_equal(event_margin_ms(&row, NOW + 200000), 100000);
    assert_int_equal(event_margin_ms(&row, NOW + 86400000), 300000);
}

/* ---- words ---- */

static void words_are_read_as_they_are_written(void **unused)
{
    (void)unused;
    for (int t = EVENT_CREATE; t <= EVENT_CLEANUP; t++) {
        enum event_type type;
        assert_true(event_type_parse(event_type_name((enum event_type)t), &type));
        assert_int_equal(type, t);
    }
    for (int s = EVENT_PENDING; s <= EVENT_CANCELLED; s++) {
        enum event_state state;
        assert_true(event_state_parse(event_state_name((enum event_state)s), &state));
        assert_int_equal(state, s);
    }
    for (int r = 1; r < REASON_COUNT; r++) {
        assert_true(event_reason_name((enum event_reason)r)[0] != 0);
        assert_int_equal(event_reason_parse(event_reason_name((enum event_reason)r)), r);
    }
    enum event_type type;
    enum event_state state;
    assert_false(event_type_parse("resurrect", &type));
    assert_false(event_state_parse("", &state));
    assert_int_equal(event_reason_parse("gremlins"), REASON_OTHER);
    assert_int_equal(event_reason_parse(NULL), REASON_NONE);
    assert_string_equal(event_type_name((enum event_type)99), "unknown");
    assert_string_equal(event_state_name((enum event_state)0), "unknown");
    assert_string_equal(event_reason_name((enum event_reason)999), "other");
}

static void creates_and_other_actions_have_a_queue_each(void **unused)
{
    (void)unused;
    char name[EVENT_QUEUE_NAME];
    assert_string_equal(event_queue_name("nyc3", EVENT_CREATE, name), "events.nyc3.create");
    assert_string_equal(event_queue_name("nyc3", EVENT_DESTROY, name), "events.nyc3.action");
    assert_string_equal(event_queue_name("nyc3", EVENT_CLEANUP, name), "events.nyc3.action");
}

static void an_unknown_type_changes_nothing(void **unused)
{
    (void)unused;
    struct event row = row_in((enum event_type)9, EVENT_PENDING);
    struct event_input in = input(IN_DELIVERED);
    struct event_change c = step(&row, &in);
    assert_false(c.changed);
    assert_int_equal(c.answer, ANSWER_WAIT);
    assert_int_equal(event_margin_ms(&row, NOW), 0);
    assert_false(event_is_due(&row, NOW + 100000, NOW));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_state_and_input_does_what_the_table_says),
        cmocka_unit_test(a_delivery_stores_who_may_start_it),
        cmocka_unit_test(a_delivery_of_a_lower_attempt_is_dropped),
        cmocka_unit_test(a_create_is_never_dispatched_to_a_second_place),
        cmocka_unit_test(a_destroy_is_dispatched_again_to_the_new_journal_of_its_hypervisor),
        cmocka_unit_test(a_destroy_goes_to_its_own_hypervisor_only),
        cmocka_unit_test(only_the_row_that_names_it_lets_a_job_start),
        cmocka_unit_test(another_journals_closed_does_not_count),
        cmocka_unit_test(an_unjournalled_refusal_never_moves_what_was_dispatched),
        cmocka_unit_test(the_next_attempt_starts_afresh_and_elsewhere),
        cmocka_unit_test(the_second_attempt_is_made_at_once_and_later_ones_more_slowly),
        cmocka_unit_test(at_most_thirty_two_hypervisors_are_excluded_the_latest_ones),
        cmocka_unit_test(the_last_attempt_closed_releases_before_it_fails),
        cmocka_unit_test(closed_after_a_delete_ends_without_another_attempt),
        cmocka_unit_test(a_refusal_at_the_last_attempt_fails_without_a_cleanup),
        cmocka_unit_test(a_destroy_never_runs_out_of_attempts),
        cmocka_unit_test(not_connected_keeps_the_claim_for_fifteen_seconds),
        cmocka_unit_test(while_the_region_is_dark_there_is_no_next_attempt_and_no_failing),
        cmocka_unit_test(a_destroy_waits_for_its_hypervisor_for_ever_backing_off),
        cmocka_unit_test(no_room_backs_off_to_thirty_seconds_and_is_said_once),
        cmocka_unit_test(an_unreadable_message_is_published_ever_more_rarely),
        cmocka_unit_test(a_deadline_while_pending_fails_with_what_it_waited_for),
        cmocka_unit_test(a_deadline_after_dispatch_leaves_a_cleanup),
        cmocka_unit_test(a_destroy_has_no_deadline),
        cmocka_unit_test(a_late_success_is_discarded_its_cleanup_is_coming),
        cmocka_unit_test(cancelling_a_pending_create_leaves_nothing_of_its_droplet),
        cmocka_unit_test(success_of_a_deleted_droplet_is_followed_by_its_destroy),
        cmocka_unit_test(success_makes_the_droplet_live_on_its_hypervisor),
        cmocka_unit_test(an_event_its_droplet_does_not_point_to_leaves_the_droplet_alone),
        cmocka_unit_test(absent_releases_every_claim_before_the_droplet_is_gone),
        cmocka_unit_test(absent_counts_only_from_the_journal_that_the_row_names),
        cmocka_unit_test(a_fenced_hypervisor_ends_its_destroys_in_any_unfinished_state),
        cmocka_unit_test(a_fence_of_another_attempts_hypervisor_moves_nothing),
        cmocka_unit_test(a_fence_at_the_last_attempt_releases_and_fails),
        cmocka_unit_test(a_result_of_a_superseded_attempt_is_discarded),
        cmocka_unit_test(a_result_ahead_of_the_row_is_never_undone),
        cmocka_unit_test(a_closed_report_is_forgotten_once_it_cannot_matter),
        cmocka_unit_test(a_destroy_is_never_told_to_undo),
        cmocka_unit_test(a_claim_is_wanted_while_its_attempt_is_the_rows),
        cmocka_unit_test(a_claim_is_wanted_while_the_droplet_lives_on_it),
        cmocka_unit_test(a_claim_is_wanted_until_its_droplets_destroy_or_cleanup_has_ended),
        cmocka_unit_test(a_claim_without_an_event_is_judged_by_its_droplet),
        cmocka_unit_test(a_pending_row_is_due_only_when_its_message_must_have_been_taken),
        cmocka_unit_test(nobody_looks_later_than_the_deadline),
        cmocka_unit_test(a_dispatched_destroy_is_looked_at_ever_more_rarely),
        cmocka_unit_test(words_are_read_as_they_are_written),
        cmocka_unit_test(creates_and_other_actions_have_a_queue_each),
        cmocka_unit_test(an_unknown_type_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
