#include "eventrouter/delivery.h"

#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define OUTCOME(name) HARPOON__ROUTER__V1__OUTCOME__OUTCOME_##name
#define JOURNAL       "11111111-2222-4333-8444-555555555555"

enum { A = 1, B = 2 }; /* sessions */

struct result {
    int calls;
    size_t count;
    struct delivery_answer answers[8];
};

static void on_done(void *ctx, const struct delivery_answer *answers, size_t count)
{
    struct result *r = ctx;
    assert_true(count <= ARRAY_LEN(r->answers));
    r->calls++;
    r->count = count;
    memcpy(r->answers, answers, count * sizeof(answers[0]));
}

static struct delivery *begin(struct deliveries *d, size_t count, int64_t deadline,
                              struct result *result)
{
    struct error err;
    struct delivery *call = NULL;
    *result = (struct result){0};
    assert_int_equal(deliveries_begin(d, count, deadline, on_done, result, &call, &err), 0);
    return call;
}

static size_t say(struct deliveries *d, uint64_t session, uint64_t event, uint32_t attempt,
                  Harpoon__Router__V1__Outcome outcome)
{
    const struct delivery_said said = {event, attempt, outcome, outcome == OUTCOME(REFUSED),
                                       "host_disk_full"};
    return deliveries_answer(d, session, &said);
}

static void call_ends_with_its_last_answer_in_the_order_asked(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(100);
    struct result result;
    struct delivery *call = begin(d, 3, 1000, &result);
    deliveries_await(d, call, 0, A, JOURNAL, 10, 1);
    deliveries_settle(d, call, 1, OUTCOME(NOT_CONNECTED));
    deliveries_await(d, call, 2, B, JOURNAL, 12, 1);
    deliveries_ready(d, call);
    assert_int_equal(deliveries_waiting(d), 2);
    assert_int_equal(say(d, B, 12, 1, OUTCOME(REFUSED)), 1);
    assert_int_equal(result.calls, 0);
    assert_int_equal(say(d, A, 10, 1, OUTCOME(ACCEPTED)), 1);
    assert_int_equal(result.calls, 1);
    assert_int_equal(result.count, 3);
    assert_int_equal(result.answers[0].outcome, OUTCOME(ACCEPTED));
    assert_string_equal(result.answers[0].journal_id, JOURNAL);
    assert_int_equal(result.answers[1].outcome, OUTCOME(NOT_CONNECTED));
    assert_string_equal(result.answers[1].journal_id, "");
    assert_int_equal(result.answers[2].outcome, OUTCOME(REFUSED));
    assert_true(result.answers[2].closed);
    assert_string_equal(result.answers[2].reason, "host_disk_full");
    assert_int_equal(deliveries_waiting(d), 0);
    deliveries_free(d);
}

static void answer_before_all_is_sent_does_not_end_the_call(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(100);
    struct result result;
    struct delivery *call = begin(d, 2, 1000, &result);
    deliveries_await(d, call, 0, A, JOURNAL, 10, 1);
    assert_int_equal(say(d, A, 10, 1, OUTCOME(ACCEPTED)), 1);
    deliveries_settle(d, call, 1, OUTCOME(BUSY));
    assert_int_equal(result.calls, 0);
    deliveries_ready(d, call);
    assert_int_equal(result.calls, 1);
    deliveries_free(d);
}

static void answer_for_another_attempt_or_of_another_session_is_passed_over(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(100);
    struct result result;
    struct delivery *call = begin(d, 1, 1000, &result);
    deliveries_await(d, call, 0, A, JOURNAL, 10, 2);
    deliveries_ready(d, call);
    assert_int_equal(say(d, A, 10, 1, OUTCOME(ACCEPTED)), 0);
    assert_int_equal(say(d, A, 11, 2, OUTCOME(ACCEPTED)), 0);
    assert_int_equal(say(d, B, 10, 2, OUTCOME(ACCEPTED)), 0);
    assert_int_equal(result.calls, 0);
    assert_int_equal(say(d, A, 10, 2, OUTCOME(FINISHED)), 1);
    assert_int_equal(result.answers[0].outcome, OUTCOME(FINISHED));
    assert_int_equal(say(d, A, 10, 2, OUTCOME(FINISHED)), 0);
    deliveries_free(d);
}

static void two_calls_for_the_same_job_hear_the_same_answer(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(100);
    struct result first, second;
    struct delivery *one = begin(d, 1, 1000, &first);
    struct delivery *two = begin(d, 1, 1000, &second);
    deliveries_await(d, one, 0, A, JOURNAL, 10, 1);
    deliveries_await(d, two, 0, A, JOURNAL, 10, 1);
    deliveries_ready(d, one);
    deliveries_ready(d, two);
    assert_int_equal(say(d, A, 10, 1, OUTCOME(ACCEPTED)), 2);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    deliveries_free(d);
}

static void deadline_leaves_no_answer_to_those_that_wait(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(100);
    struct result result;
    struct delivery *call = begin(d, 2, 1000, &result);
    deliveries_await(d, call, 0, A, JOURNAL, 10, 1);
    deliveries_await(d, call, 1, A, JOURNAL, 11, 1);
    deliveries_ready(d, call);
    say(d, A, 11, 1, OUTCOME(ACCEPTED));
    deliveries_expire(d, 999);
    assert_int_equal(result.calls, 0);
    deliveries_expire(d, 1000);
    assert_int_equal(result.calls, 1);
    assert_int_equal(result.answers[0].outcome, OUTCOME(NO_ANSWER));
    assert_string_equal(result.answers[0].journal_id, JOURNAL); /* it may be in that journal */
    assert_int_equal(result.answers[1].outcome, OUTCOME(ACCEPTED));
    assert_int_equal(say(d, A, 10, 1, OUTCOME(ACCEPTED)), 0); /* too late, and harmless */
    deliveries_free(d);
}

static void deadline_waits_for_a_call_that_is_being_sent(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(100);
    struct result result;
    struct delivery *call = begin(d, 2, 1000, &result);
    deliveries_await(d, call, 0, A, JOURNAL, 10, 1);
    deliveries_expire(d, 2000);
    assert_int_equal(result.calls, 0);
    deliveries_await(d, call, 1, B, JOURNAL, 11, 1);
    deliveries_ready(d, call);
    assert_int_equal(result.calls, 0);
    deliveries_expire(d, 2000);
    assert_int_equal(result.calls, 1);
    deliveries_free(d);
}

static void end_of_a_session_answers_its_jobs_and_no_others(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(100);
    struct result first, second;
    struct delivery *one = begin(d, 2, 1000, &first);
    struct delivery *two = begin(d, 1, 1000, &second);
    deliveries_await(d, one, 0, A, JOURNAL, 10, 1);
    deliveries_await(d, one, 1, A, JOURNAL, 11, 1);
    deliveries_await(d, two, 0, B, JOURNAL, 12, 1);
    deliveries_ready(d, one);
    deliveries_ready(d, two);
    deliveries_end_session(d, A);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.answers[0].outcome, OUTCOME(NO_ANSWER));
    assert_int_equal(first.answers[1].outcome, OUTCOME(NO_ANSWER));
    assert_int_equal(second.calls, 0);
    deliveries_end_session(d, B);
    assert_int_equal(second.calls, 1);
    deliveries_free(d);
}

static void what_could_not_be_sent_keeps_its_first_outcome(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(100);
    struct result result;
    struct delivery *call = begin(d, 2, 1000, &result);
    deliveries_await(d, call, 0, A, JOURNAL, 10, 1);
    deliveries_await(d, call, 1, A, JOURNAL, 11, 1);
    deliveries_end_session(d, A); /* between the booking and the sending */
    deliveries_settle(d, call, 0, OUTCOME(NOT_CONNECTED));
    deliveries_settle(d, call, 1, OUTCOME(NOT_CONNECTED));
    deliveries_ready(d, call);
    assert_int_equal(result.calls, 1);
    assert_int_equal(result.answers[0].outcome, OUTCOME(NO_ANSWER));
    deliveries_free(d);
}

static void calls_beyond_the_limit_are_shed(void **state)
{
    UNUSED(state);
    struct error err;
    struct deliveries *d = deliveries_new(2);
    struct result result, shed;
    struct delivery *call = begin(d, 2, 1000, &result), *more;
    deliveries_await(d, call, 0, A, JOURNAL, 10, 1);
    deliveries_await(d, call, 1, A, JOURNAL, 11, 1);
    deliveries_ready(d, call);
    assert_int_equal(deliveries_begin(d, 1, 1000, on_done, &shed, &more, &err), ERR_BUSY);
    deliveries_end_session(d, A);
    call = begin(d, 2, 1000, &result);
    deliveries_settle(d, call, 0, OUTCOME(BUSY));
    deliveries_settle(d, call, 1, OUTCOME(BUSY));
    deliveries_ready(d, call);
    deliveries_free(d);
}

static void empty_call_ends_at_once(void **state)
{
    UNUSED(state);
    struct deliveries *d = deliveries_new(2);
    struct result result;
    deliveries_ready(d, begin(d, 0, 1000, &result));
    assert_int_equal(result.calls, 1);
    assert_int_equal(result.count, 0);
    deliveries_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(call_ends_with_its_last_answer_in_the_order_asked),
        cmocka_unit_test(answer_before_all_is_sent_does_not_end_the_call),
        cmocka_unit_test(answer_for_another_attempt_or_of_another_session_is_passed_over),
        cmocka_unit_test(two_calls_for_the_same_job_hear_the_same_answer),
        cmocka_unit_test(deadline_leaves_no_answer_to_those_that_wait),
        cmocka_unit_test(deadline_waits_for_a_call_that_is_being_sent),
        cmocka_unit_test(end_of_a_session_answers_its_jobs_and_no_others),
        cmocka_unit_test(what_could_not_be_sent_keeps_its_first_outcome),
        cmocka_unit_test(calls_beyond_the_limit_are_shed),
        cmocka_unit_test(empty_call_ends_at_once),
    };
    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
