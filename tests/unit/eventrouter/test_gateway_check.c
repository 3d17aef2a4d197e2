#include "eventrouter/gateway_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define JOURNAL "11111111-2222-4333-8444-555555555555"

/* A report, by way of a message, with its reference. */
struct reported {
    Harpoon__Agent__V1__FromAgent m;
    Harpoon__Agent__V1__Reports reports;
    Harpoon__Job__V1__Report report, *list[1];
    Harpoon__Job__V1__Ref ref;
};

static Harpoon__Agent__V1__FromAgent *reported_init(struct reported *r)
{
    harpoon__agent__v1__from_agent__init(&r->m);
    harpoon__agent__v1__reports__init(&r->reports);
    harpoon__job__v1__report__init(&r->report);
    harpoon__job__v1__ref__init(&r->ref);
    r->ref.event_id = 1;
    r->ref.attempt = 1;
    r->report.ref = &r->ref;
    r->report.result = HARPOON__JOB__V1__RESULT__RESULT_SUCCEEDED;
    r->list[0] = &r->report;
    r->reports.reports = r->list;
    r->reports.n_reports = 1;
    r->m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_REPORTS;
    r->m.reports = &r->reports;
    return &r->m;
}

static void assert_refused(const Harpoon__Agent__V1__FromAgent *m, const char *field)
{
    struct error err;
    assert_int_equal(gateway_check_message(m, true, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, field));
}

static void report_is_read_only_after_attach(void **state)
{
    UNUSED(state);
    struct error err;
    struct reported r;
    assert_int_equal(gateway_check_message(reported_init(&r), true, &err), 0);
    assert_int_equal(gateway_check_message(&r.m, false, &err), ERR_INVALID);
}

static void report_that_names_nothing_is_refused(void **state)
{
    UNUSED(state);
    struct reported r;
    reported_init(&r)->reports->reports[0]->ref = NULL;
    assert_refused(&r.m, "reports[0].ref");
    reported_init(&r);
    r.ref.event_id = UINT64_C(1) << 53;
    assert_refused(&r.m, "reports[0].ref");
    reported_init(&r);
    r.ref.attempt = 0;
    assert_refused(&r.m, "reports[0].ref");
    reported_init(&r);
    r.report.result = HARPOON__JOB__V1__RESULT__RESULT_UNSPECIFIED;
    assert_refused(&r.m, "result");
    reported_init(&r);
    r.report.result = (Harpoon__Job__V1__Result)99;
    assert_refused(&r.m, "result");
}

static void text_without_end_is_refused(void **state)
{
    UNUSED(state);
    static char text[10000];
    struct reported r;
    memset(text, 'x', sizeof(text) - 1);
    reported_init(&r);
    r.report.reason = text;
    assert_refused(&r.m, "reason");
    reported_init(&r);
    r.report.detail = text;
    assert_refused(&r.m, "detail");
}

static void list_beyond_the_limit_is_refused_unread(void **state)
{
    UNUSED(state);
    struct reported r;
    reported_init(&r);
    r.reports.n_reports = LIST_MAX + 1;
    assert_refused(&r.m, "at most");
}

static void answer_without_an_outcome_is_refused(void **state)
{
    UNUSED(state);
    struct error err;
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    Harpoon__Agent__V1__DeliverAnswers answers = HARPOON__AGENT__V1__DELIVER_ANSWERS__INIT;
    Harpoon__Agent__V1__DeliverAnswer answer = HARPOON__AGENT__V1__DELIVER_ANSWER__INIT;
    Harpoon__Agent__V1__DeliverAnswer *list[] = {&answer};
    Harpoon__Job__V1__Ref ref = HARPOON__JOB__V1__REF__INIT;
    m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_DELIVERED;
    m.delivered = &answers;
    answers.answers = list;
    answers.n_answers = 1;
    assert_refused(&m, "delivered[0].ref");
    ref.event_id = 1;
    ref.attempt = 1;
    answer.ref = &ref;
    assert_refused(&m, "delivered[0].outcome");
    answer.outcome = HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_FINISHED;
    assert_int_equal(gateway_check_message(&m, true, &err), 0);
}

static void empty_message_is_refused(void **state)
{
    UNUSED(state);
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    assert_refused(&m, "empty");
}

static void attach_needs_a_journal(void **state)
{
    UNUSED(state);
    static const char *const journals[] = {"", "x", "00000000-0000-0000-0000-000000000000",
                                           JOURNAL "0"};
    struct error err;
    Harpoon__Agent__V1__Attach attach = HARPOON__AGENT__V1__ATTACH__INIT;
    for (size_t i = 0; i < ARRAY_LEN(journals); i++) {
        attach.journal_id = (char *)journals[i];
        assert_int_equal(gateway_check_attach(&attach, &err), ERR_INVALID);
        assert_non_null(strstr(err.message, "journal_id"));
    }
    attach.journal_id = (char *)JOURNAL;
    assert_int_equal(gateway_check_attach(&attach, &err), 0);
    attach.n_domains = DOMAINS_MAX + 1;
    assert_int_equal(gateway_check_attach(&attach, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(report_is_read_only_after_attach),
        cmocka_unit_test(report_that_names_nothing_is_refused),
        cmocka_unit_test(text_without_end_is_refused),
        cmocka_unit_test(list_beyond_the_limit_is_refused_unread),
        cmocka_unit_test(answer_without_an_outcome_is_refused),
        cmocka_unit_test(empty_message_is_refused),
        cmocka_unit_test(attach_needs_a_journal),
    };
    return cmocka_run_group_tests_name("gateway_check", tests, NULL, NULL);
}
