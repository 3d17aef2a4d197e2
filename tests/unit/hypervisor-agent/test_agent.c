/* A whole agent, with its journal, the sim driver and real streams, and a router that says what it
 * is told to. */
#include "hypervisor-agent/journal.h"
#include "lib/clock.h"
#include "router.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

/* The pause doubles with each failure in a row from 1 ms: what must happen within WAIT_MS may not
 * fail 14 times, which at 700 it did in one run of forty. */
#define FAIL_PERMILLE 300

struct fixture {
    struct router *router;
    struct agent_under_test agent;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->router = router_start(0);
    agent_make(&f->agent, router_address(f->router));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    agent_remove(&f->agent);
    router_stop(f->router);
    free(f);
    return 0;
}

static struct fixture *started(void **state)
{
    struct fixture *f = *state;

    agent_begin(&f->agent);
    router_let_in(f->router);
    return f;
}

static struct job_given create(uint64_t event, uint64_t droplet, uint32_t attempt)
{
    return (struct job_given){.event = event, .droplet = droplet, .attempt = attempt};
}

static struct job_given destroy(uint64_t event, uint64_t droplet, uint32_t attempt)
{
    return (
        struct job_given){.event = event, .droplet = droplet, .attempt = attempt, .destroy = true};
}

/* ---- accepted is not started ---- */

static void a_job_begins_on_start_and_its_result_is_reported(void **state)
{
    struct fixture *f = started(state);

    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_sync(f->router);
    assert_int_equal(agent_lines(&f->agent, ""), 0);
    router_say_start(f->router, 1, 1);
    struct reported r = router_hear_report(f->router, 1);
    assert_int_equal(r.result, SUCCEEDED);
    assert_int_equal(r.attempt, 1);
    assert_int_equal(r.kind, HARPOON__JOB__V1__KIND__KIND_CREATE);
    assert_int_equal(agent_lines(&f->agent, " 7 10 1 create"), 1);
}

static void duplicates_are_answered_alike_and_run_once(void **state)
{
    struct fixture *f = started(state);
    struct job_given twice[] = {create(1, 10, 1), create(1, 10, 1)};

    router_say_deliver(f->router, twice, 2);
    from_agent *m = router_hear(f->router, SAID_DELIVERED);
    assert_int_equal(m->delivered->n_answers, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(m->delivered->answers[i]->outcome, ACCEPTED);
    said_free(m);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    router_say_start(f->router, 1, 1);
    router_store(f->router, 1, SUCCEEDED);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, FINISHED);
    assert_int_equal(router_hear_report(f->router, 1).result, SUCCEEDED); /* on its way */
    router_say_start(f->router, 1, 1);
    router_sync(f->router);
    assert_int_equal(agent_lines(&f->agent, ""), 1);
}

static void start_before_deliver_begins_nothing(void **state)
{
    struct fixture *f = started(state);

    router_say_start(f->router, 1, 1);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 2); /* nor does another attempt's */
    router_sync(f->router);
    assert_int_equal(agent_lines(&f->agent, ""), 0);
    router_say_start(f->router, 1, 1);
    router_store(f->router, 1, SUCCEEDED);
}

static void an_accepted_job_is_asked_about(void **state)
{
    struct fixture *f = *state;

    f->agent.config.confirm_after_ms = 20;
    started(state);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    assert_int_equal(router_deliver(f->router, create(2, 20, 1)).outcome, ACCEPTED);
    router_say_confirmed(f->router, 1, 1, ANSWER(WAIT));
    bool asked[3] = {false};
    while (!asked[1] || !asked[2]) {
        from_agent *m = router_hear(f->router, SAID_CONFIRM);
        for (size_t i = 0; i < m->confirm->n_refs; i++)
            asked[m->confirm->refs[i]->event_id] = true;
        said_free(m);
    }
    said_free(router_hear(f->router, SAID_CONFIRM)); /* until it is answered */
    router_say_confirmed(f->router, 1, 1, ANSWER(START));
    router_store(f->router, 1, SUCCEEDED);
    router_say_confirmed(f->router, 2, 1, ANSWER(DROP));
    router_say_start(f->router, 2, 1);
    assert_int_equal(router_hear_report(f->router, 2).result, CLOSED);
    assert_int_equal(agent_lines(&f->agent, "create"), 1);
}

static void drop_closes_only_what_is_not_begun(void **state)
{
    struct fixture *f = started(state);

    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_drop(f->router, 1, 1);
    router_sync(f->router);
    struct answered a = router_deliver(f->router, create(1, 10, 1));
    assert_int_equal(a.outcome, REFUSED);
    assert_true(a.closed);
    router_say_start(f->router, 1, 1);
    struct reported r = router_store(f->router, 1, CLOSED);
    assert_string_equal(r.reason, "dropped");
    assert_int_equal(agent_lines(&f->agent, ""), 0);

    router_run(f->router, create(1, 10, 2)); /* a higher attempt is another matter */
    router_say_drop(f->router, 1, 2);
    assert_int_equal(router_deliver(f->router, create(1, 10, 2)).outcome, FINISHED);
    assert_int_equal(agent_lines(&f->agent, "create"), 1);
    assert_int_equal(agent_lines(&f->agent, "destroy"), 0);
}

static void a_lower_attempt_than_one_seen_is_refused(void **state)
{
    struct fixture *f = started(state);

    assert_int_equal(router_deliver(f->router, create(1, 10, 2)).outcome, ACCEPTED);
    struct answered a = router_deliver(f->router, create(1, 10, 1));
    assert_int_equal(a.outcome, REFUSED);
    assert_true(a.closed);
    assert_int_equal(router_deliver(f->router, create(1, 10, 3)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 2);
    router_sync(f->router);
    assert_int_equal(agent_lines(&f->agent, ""), 0);
    router_say_start(f->router, 1, 3);
    router_store(f->router, 1, SUCCEEDED);
    a = router_deliver(f->router, create(1, 10, 4));
    assert_int_equal(a.outcome, REFUSED);
    assert_false(a.closed); /* it may still come to that */
}

static void what_is_not_for_this_agent_is_refused(void **state)
{
    struct fixture *f = *state;
    struct job_given job = create(1, 10, 1);

    f->agent.config.max_jobs = 1;
    started(state);
    job.installation = "11111111-2222-4333-8444-555555555555";
    struct answered a = router_deliver(f->router, job);
    assert_int_equal(a.outcome, REFUSED);
    assert_false(a.closed);
    assert_string_equal(a.reason, "foreign_installation");
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    a = router_deliver(f->router, create(1, 11, 2)); /* an event is of one droplet */
    assert_string_equal(a.reason, "invalid_job");
    a = router_deliver(f->router, create(2, 20, 1));
    assert_int_equal(a.outcome, REFUSED);
    assert_string_equal(a.reason, "busy");
}

/* ---- reports ---- */

static void a_result_is_reported_until_it_is_stored(void **state)
{
    struct fixture *f = started(state);

    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    assert_int_equal(router_hear_report(f->router, 1).result, SUCCEEDED);
    router_say_reported(f->router, 1, 1, ANSWER(WAIT), SUCCEEDED);
    assert_int_equal(router_hear_report(f->router, 1).result, SUCCEEDED); /* again */
    router_cut(f->router);
    from_agent *m = router_hear(f->router, SAID_ATTACH);
    assert_int_equal(m->attach->jobs_open, 1);
    assert_int_not_equal(m->attach->jobs_digest, 0);
    said_free(m);
    router_say_attached(f->router, OK, NULL);
    router_store(f->router, 1, SUCCEEDED);
    router_sync(f->router); /* the answer has been heard */
    router_cut(f->router);
    m = router_hear(f->router, SAID_ATTACH);
    assert_int_equal(m->attach->n_domains, 1);
    assert_int_equal(m->attach->domains[0]->droplet_id, 10);
    assert_int_equal(m->attach->domains[0]->event_id, 1);
    said_free(m);
    router_say_attached(f->router, OK, NULL);
    unsigned reports = router_count(f->router, SAID_REPORTS);
    router_sync(f->router);
    assert_int_equal(router_count(f->router, SAID_REPORTS), reports);
}

static void a_late_answer_to_running_is_not_taken_for_the_results(void **state)
{
    struct fixture *f = *state;

    f->agent.config.latency_ms = 200;
    f->agent.config.report_running_after_ms = 1;
    started(state);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    assert_int_equal(router_hear_report(f->router, 1).result, RUNNING);
    assert_int_equal(router_hear_report(f->router, 1).result, SUCCEEDED);
    router_say_reported(f->router, 1, 1, ANSWER(STORED), RUNNING);
    assert_int_equal(router_hear_report(f->router, 1).result, SUCCEEDED);

    assert_int_equal(router_deliver(f->router, create(2, 20, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 2, 1);
    assert_int_equal(router_hear_report(f->router, 2).result, RUNNING);
    assert_int_equal(router_hear_report(f->router, 2).result, SUCCEEDED);
    /* Nor when the router does not say which one it answers. */
    router_say_reported(f->router, 2, 1, ANSWER(STORED),
                        HARPOON__JOB__V1__RESULT__RESULT_UNSPECIFIED);
    assert_int_equal(router_hear_report(f->router, 2).result, SUCCEEDED);
}

static uint32_t hear_creates(struct router *r)
{
    from_agent *m = router_hear(r, SAID_SAMPLE);
    uint32_t n = m->sample->creates_in_flight;

    said_free(m);
    return n;
}

static void creates_in_flight_are_told_when_they_change(void **state)
{
    struct fixture *f = *state;

    f->agent.config.latency_ms = 100; /* and samples come every hour */
    started(state);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    assert_int_equal(hear_creates(f->router), 1);
    assert_int_equal(hear_creates(f->router), 0);
    router_store(f->router, 1, SUCCEEDED);
    agent_end(&f->agent);

    f->agent.config.latency_ms = 3600000;
    agent_begin(&f->agent);
    router_let_in(f->router);
    assert_int_equal(router_deliver(f->router, create(2, 20, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 2, 1);
    assert_int_equal(hear_creates(f->router), 1);
    router_cut(f->router);
    router_let_in(f->router);
    assert_int_equal(hear_creates(f->router), 1); /* the next router learns it, too */
}

static void discard_undoes_what_the_attempt_made(void **state)
{
    struct fixture *f = started(state);

    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    assert_int_equal(router_hear_report(f->router, 1).result, SUCCEEDED);
    router_say_reported(f->router, 1, 1, ANSWER(DISCARD), SUCCEEDED);
    assert_int_equal(router_hear_report(f->router, 1).result, CLOSED);
    router_say_reported(f->router, 1, 1, ANSWER(DISCARD), SUCCEEDED); /* as it was said twice */
    struct reported r = router_store(f->router, 1, CLOSED);
    assert_string_equal(r.reason, "discarded");
    assert_int_equal(agent_lines(&f->agent, " 7 10 1 destroy"), 1);
    struct answered a = router_deliver(f->router, create(1, 10, 1));
    assert_int_equal(a.outcome, REFUSED);
    assert_true(a.closed);
}

static void discard_of_a_running_job_undoes_it_when_the_driver_is_done(void **state)
{
    struct fixture *f = *state;

    f->agent.config.latency_ms = 200;
    f->agent.config.report_running_after_ms = 1;
    started(state);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    assert_int_equal(router_hear_report(f->router, 1).result, RUNNING);
    router_say_reported(f->router, 1, 1, ANSWER(DISCARD), RUNNING);
    router_store(f->router, 1, CLOSED);
    assert_int_equal(agent_lines(&f->agent, "create"), 1);
    assert_int_equal(agent_lines(&f->agent, "destroy"), 1);
}

static void unknown_touches_nothing(void **state)
{
    struct fixture *f = started(state);

    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    assert_int_equal(router_hear_report(f->router, 1).result, SUCCEEDED);
    router_say_reported(f->router, 1, 1, ANSWER(UNKNOWN), SUCCEEDED);
    router_sync(f->router);
    assert_int_equal(agent_lines(&f->agent, "destroy"), 0);
    agent_crash(&f->agent);
    agent_begin(&f->agent);
    from_agent *m = router_hear(f->router, SAID_ATTACH);
    assert_int_equal(m->attach->n_domains, 1);
    assert_int_equal(m->attach->jobs_open, 0);
    said_free(m);
    router_say_attached(f->router, OK, NULL);
    router_store(f->router, 1, SUCCEEDED); /* asked once more; it is known after all */
    router_sync(f->router);
    assert_int_equal(agent_lines(&f->agent, ""), 1);
}

static void a_create_that_fails_is_undone_and_closed_with_its_reason(void **state)
{
    struct fixture *f = *state;

    f->agent.config.sim_fail_permille = FAIL_PERMILLE; /* undoing fails as often, tried again */
    started(state);
    size_t closed = 0;
    for (uint64_t i = 1; i <= 40; i++) {
        assert_int_equal(router_deliver(f->router, create(i, i, 1)).outcome, ACCEPTED);
        router_say_start(f->router, i, 1);
        struct reported r = router_hear_report(f->router, i);
        router_say_reported(f->router, i, 1, ANSWER(STORED), (Harpoon__Job__V1__Result)r.result);
        if (r.result == CLOSED)
            assert_string_equal(r.reason, "driver_failed");
        closed += r.result == CLOSED;
    }
    assert_true(closed > 0);
    assert_int_equal(agent_lines(&f->agent, "create") - agent_lines(&f->agent, "destroy"),
                     40 - closed);
}

static void a_conflict_is_left_alone_and_closed(void **state)
{
    struct fixture *f = *state;
    static const char theirs[] = "1 7 10 9 create\n";

    file_write(f->agent.ledger, theirs, sizeof theirs - 1);
    started(state);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    struct reported r = router_store(f->router, 1, CLOSED);
    assert_string_equal(r.reason, "conflict");
    assert_int_equal(agent_lines(&f->agent, ""), 1);
}

/* ---- destroys ---- */

static void a_destroy_closes_the_others_of_its_droplet_first(void **state)
{
    struct fixture *f = started(state);

    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    assert_int_equal(router_deliver(f->router, destroy(2, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 2, 1);
    router_store(f->router, 2, SUCCEEDED);
    router_say_start(f->router, 1, 1); /* late */
    struct reported r = router_store(f->router, 1, CLOSED);
    assert_string_equal(r.reason, "destroyed");
    struct answered a = router_deliver(f->router, create(1, 10, 2));
    assert_true(a.outcome == REFUSED && a.closed);
    a = router_deliver(f->router, create(3, 10, 1)); /* not yet seen */
    assert_true(a.outcome == REFUSED && a.closed);
    assert_int_equal(agent_lines(&f->agent, ""), 0);
    agent_crash(&f->agent);
    agent_begin(&f->agent);
    router_let_in(f->router);
    a = router_deliver(f->router, create(3, 10, 1));
    assert_true(a.outcome == REFUSED && a.closed);
    router_run(f->router, destroy(4, 10, 1)); /* once more: nothing to be done */
    assert_int_equal(agent_lines(&f->agent, ""), 0);
}

static void a_destroy_waits_for_the_create_that_runs(void **state)
{
    struct fixture *f = *state;

    f->agent.config.latency_ms = 200;
    f->agent.config.report_running_after_ms = 1;
    started(state);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    assert_int_equal(router_deliver(f->router, destroy(2, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    assert_int_equal(router_hear_report(f->router, 1).result, RUNNING);
    router_say_start(f->router, 2, 1);
    router_store(f->router, 2, SUCCEEDED);
    char *ledger = file_read(f->agent.ledger, NULL);
    const char *made = strstr(ledger, "create"), *gone = strstr(ledger, "destroy");
    assert_true(made != NULL && gone != NULL && made < gone);
    free(ledger);
    assert_int_equal(agent_lines(&f->agent, ""), 2);
}

static void a_destroy_removes_what_any_attempt_made(void **state)
{
    struct fixture *f = started(state);

    router_run(f->router, create(1, 10, 3));
    router_run(f->router, destroy(2, 10, 1));
    assert_int_equal(agent_lines(&f->agent, " 7 10 3 destroy"), 1);
}

static void a_destroy_that_fails_is_tried_until_it_is_done(void **state)
{
    struct fixture *f = started(state);

    for (uint64_t i = 1; i <= 15; i++)
        router_run(f->router, create(i, i, 1));
    agent_end(&f->agent);
    f->agent.config.sim_fail_permille = FAIL_PERMILLE;
    agent_begin(&f->agent);
    router_let_in(f->router);
    for (uint64_t i = 1; i <= 15; i++)
        router_run(f->router, destroy(i + 100, i, 1));
    assert_int_equal(agent_lines(&f->agent, "destroy"), 15);
}

/* ---- restarts, fences, roads ---- */

static void a_begun_job_is_resumed_only_after_harpoon_has_answered(void **state)
{
    struct fixture *f = *state;

    f->agent.config.latency_ms = 3600000;
    f->agent.config.report_running_after_ms = 1;
    started(state);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 1, 1);
    assert_int_equal(router_hear_report(f->router, 1).result, RUNNING);
    router_sync(f->router); /* what is noted goes with the next write */
    agent_crash(&f->agent);
    f->agent.config.latency_ms = 0;
    agent_begin(&f->agent);
    said_free(router_hear(f->router, SAID_ATTACH));
    router_say_attached(f->router, LATER, NULL);
    assert_int_equal(router_deliver(f->router, create(2, 20, 1)).outcome, ACCEPTED);
    router_say_start(f->router, 2, 1);
    router_sync(f->router);
    router_sync(f->router);
    assert_int_equal(agent_lines(&f->agent, ""), 0);
    router_say_attached(f->router, OK, NULL);
    router_store(f->router, 1, SUCCEEDED);
    assert_int_equal(agent_lines(&f->agent, " 7 10 1 create"), 1);
    assert_int_equal(agent_lines(&f->agent, ""), 1);
}

static void a_job_whose_beginning_was_not_noted_is_found_by_its_domain(void **state)
{
    struct fixture *f = started(state);
    static const char ours[] = "1 7 10 1 create\n", maker[] = "7 10 1 1\n";

    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    agent_crash(&f->agent);
    file_write(f->agent.ledger, ours, sizeof ours - 1);
    file_write(folder_path(f->agent.folder, "ledger.log.events"), maker, sizeof maker - 1);
    f->agent.config.report_running_after_ms = 60000;
    agent_begin(&f->agent);
    said_free(router_hear(f->router, SAID_ATTACH));
    router_say_attached(f->router, LATER, NULL);
    router_sync(f->router);
    router_sync(f->router);
    assert_int_equal(router_count(f->router, SAID_REPORTS), 0); /* it is not gone on with yet */
    router_say_attached(f->router, OK, NULL);
    router_say_drop(f->router, 1, 1); /* too late: it is begun */
    router_store(f->router, 1, SUCCEEDED);
    assert_int_equal(agent_lines(&f->agent, ""), 1);
}

static void the_journal_keeps_its_id_and_sessions_grow(void **state)
{
    struct fixture *f = *state;
    char id[64];

    agent_begin(&f->agent);
    from_agent *m = router_hear(f->router, SAID_ATTACH);
    uint64_t session = m->attach->session;
    snprintf(id, sizeof id, "%s", m->attach->journal_id);
    assert_int_equal(strlen(id), 36);
    assert_int_equal(m->attach->capacity->vcpus, 512);
    said_free(m);
    agent_crash(&f->agent);
    agent_begin(&f->agent);
    m = router_hear(f->router, SAID_ATTACH);
    assert_string_equal(m->attach->journal_id, id);
    assert_true(m->attach->session > session);
    said_free(m);
    agent_end(&f->agent);
    folder_remove(folder_path(f->agent.folder, "state"));
    agent_begin(&f->agent);
    m = router_hear(f->router, SAID_ATTACH);
    assert_string_not_equal(m->attach->journal_id, id);
    said_free(m);
}

static void a_fenced_hypervisor_removes_all_and_attaches_again(void **state)
{
    struct fixture *f = started(state);

    router_run(f->router, create(1, 10, 1));
    router_run(f->router, create(2, 20, 1));
    assert_int_equal(router_deliver(f->router, create(3, 30, 1)).outcome, ACCEPTED);
    router_cut(f->router);
    said_free(router_hear(f->router, SAID_ATTACH));
    router_say_attached(f->router, FENCED, NULL);
    from_agent *m = router_hear(f->router, SAID_ATTACH);
    assert_int_equal(m->attach->n_domains, 0);
    assert_int_equal(m->attach->jobs_open, 0);
    said_free(m);
    assert_int_equal(agent_lines(&f->agent, "destroy"), 2);
    router_say_attached(f->router, FENCED, NULL); /* still */
    assert_string_equal(router_deliver(f->router, create(4, 40, 1)).reason, "fenced");
    router_say_attached(f->router, OK, NULL);
    router_say_start(f->router, 3, 1);
    struct reported r = router_store(f->router, 3, CLOSED);
    assert_string_equal(r.reason, "fenced");
    struct answered a = router_deliver(f->router, create(1, 10, 1));
    assert_true(a.outcome == REFUSED && a.closed);
    router_run(f->router, create(1, 10, 2)); /* it may be placed here again */
    assert_int_equal(agent_lines(&f->agent, "create"), 3);
}

static void a_redirect_is_followed(void **state)
{
    struct fixture *f = *state;
    struct router *other = router_start(0);

    agent_begin(&f->agent);
    said_free(router_hear(f->router, SAID_ATTACH));
    router_say_attached(f->router, HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_REDIRECT,
                        router_address(other));
    router_let_in(other);
    router_run(other, create(1, 10, 1));
    router_say_drain(other, router_address(f->router), 1);
    router_let_in(f->router);
    router_run(f->router, create(2, 20, 1));
    agent_end(&f->agent);
    router_stop(other);
}

/* Its stream broke first, and it has moved already. */
static void a_drain_of_a_stream_that_is_gone_moves_nobody(void **state)
{
    struct fixture *f = *state;
    struct router *other = router_start(0);

    agent_begin(&f->agent);
    router_let_in(f->router);
    router_say_drain(f->router, router_address(other), 300);
    router_sync(f->router);
    router_cut(f->router);
    router_let_in(other);
    int64_t until = mono_ms() + 600; /* when the drain would have been due */
    while (mono_ms() < until)
        router_sync(other);
    assert_int_equal(router_streams(other), 1);
    agent_end(&f->agent);
    router_stop(other);
}

static void redirects_in_a_circle_end(void **state)
{
    struct fixture *f = *state;

    agent_begin(&f->agent);
    for (int i = 0; i < 4; i++) {
        said_free(router_hear(f->router, SAID_ATTACH));
        router_say_attached(f->router, HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_REDIRECT,
                            router_address(f->router));
    }
    router_let_in(f->router);
    router_run(f->router, create(1, 10, 1));
}

static void the_second_router_is_taken_when_the_first_is_gone(void **state)
{
    struct fixture *f = *state;
    struct router *one = router_start(0), *two = router_start(0);
    char both[200];
    struct agent_under_test a = {0};

    snprintf(both, sizeof both, "%s,%s", router_address(one), router_address(two));
    agent_make(&a, both);
    agent_begin(&a);
    while (router_streams(one) + router_streams(two) == 0)
        clock_pause_ms(2);
    struct router *first = router_streams(one) ? one : two, *second = first == one ? two : one;
    router_let_in(first);
    router_sync(first);
    router_stop(first);
    router_let_in(second);
    router_run(second, create(1, 10, 1));
    agent_remove(&a);
    router_stop(second);
    UNUSED(f);
}

static void a_damaged_journal_keeps_the_agent_from_starting(void **state)
{
    struct fixture *f = started(state);
    struct agent *agent = NULL;
    struct error err;

    router_run(f->router, create(1, 10, 1));
    agent_end(&f->agent);
    file_write(folder_path(f->agent.folder, "state/journal.db"), "x", 1);
    assert_ok(agent_setup_init(&f->agent.config, &f->agent.setup, &err), &err);
    assert_int_equal(agent_start(&f->agent.setup, &agent, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.message, "journal"));
    agent_setup_fini(&f->agent.setup);
}

static void what_cannot_be_written_is_not_acknowledged(void **state)
{
    struct fixture *f = started(state);
    struct daemon_check checks[AGENT_CHECKS];
    struct answered a;
    char why[200];
    sqlite3 *db = NULL;

    agent_checks(f->agent.agent, checks);
    router_run(f->router, create(1, 10, 1));
    assert_true(checks[0].ready(checks[0].ctx, why, sizeof why));
    assert_int_equal(sqlite3_open(folder_path(f->agent.folder, "state/journal.db"), &db),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    a = router_deliver(f->router, create(2, 20, 1));
    assert_int_equal(a.outcome, REFUSED);
    assert_false(a.closed);
    assert_string_equal(a.reason, "journal_unavailable");
    assert_false(checks[0].ready(checks[0].ctx, why, sizeof why));
    router_say_start(f->router, 2, 1);
    assert_int_equal(router_deliver(f->router, create(3, 30, 1)).outcome, REFUSED);
    assert_int_equal(agent_lines(&f->agent, ""), 1);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    do
        a = router_deliver(f->router, create(2, 20, 1));
    while (a.outcome != ACCEPTED);
    router_say_start(f->router, 2, 1);
    router_store(f->router, 2, SUCCEEDED);
    assert_true(checks[0].ready(checks[0].ctx, why, sizeof why));
    assert_true(checks[1].ready(checks[1].ctx, why, sizeof why));
}

static void what_ended_long_ago_is_forgotten_but_not_that_it_was_destroyed(void **state)
{
    struct fixture *f = *state;

    f->agent.config.journal_keep_days = 0;
    started(state);
    router_run(f->router, create(1, 10, 1));
    router_run(f->router, destroy(2, 10, 1));
    router_sync(f->router);
    agent_end(&f->agent);
    agent_begin(&f->agent);
    router_let_in(f->router);
    agent_prune(f->agent.agent);
    struct answered a = router_deliver(f->router, create(1, 10, 1));
    assert_true(a.outcome == REFUSED && a.closed);
    assert_string_equal(a.reason, "destroyed");
    assert_int_equal(router_deliver(f->router, destroy(2, 10, 1)).outcome, ACCEPTED);
}

static void what_was_just_forgotten_may_be_taken_again(void **state)
{
    struct fixture *f = *state;

    f->agent.config.journal_keep_days = 0;
    started(state);
    router_run(f->router, create(1, 10, 1));
    router_sync(f->router);
    router_sync(f->router); /* the acknowledgement is written, too */
    agent_prune(f->agent.agent);
    assert_int_equal(router_deliver(f->router, create(1, 10, 1)).outcome, ACCEPTED);
    agent_crash(&f->agent);
    agent_begin(&f->agent);
    router_let_in(f->router);
    router_say_start(f->router, 1, 1);
    router_store(f->router, 1, SUCCEEDED);
    assert_int_equal(agent_lines(&f->agent, ""), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_begins_on_start_and_its_result_is_reported),
        TEST(duplicates_are_answered_alike_and_run_once),
        TEST(start_before_deliver_begins_nothing),
        TEST(an_accepted_job_is_asked_about),
        TEST(drop_closes_only_what_is_not_begun),
        TEST(a_lower_attempt_than_one_seen_is_refused),
        TEST(what_is_not_for_this_agent_is_refused),
        TEST(a_result_is_reported_until_it_is_stored),
        TEST(a_late_answer_to_running_is_not_taken_for_the_results),
        TEST(creates_in_flight_are_told_when_they_change),
        TEST(discard_undoes_what_the_attempt_made),
        TEST(discard_of_a_running_job_undoes_it_when_the_driver_is_done),
        TEST(unknown_touches_nothing),
        TEST(a_create_that_fails_is_undone_and_closed_with_its_reason),
        TEST(a_conflict_is_left_alone_and_closed),
        TEST(a_destroy_closes_the_others_of_its_droplet_first),
        TEST(a_destroy_waits_for_the_create_that_runs),
        TEST(a_destroy_removes_what_any_attempt_made),
        TEST(a_destroy_that_fails_is_tried_until_it_is_done),
        TEST(a_begun_job_is_resumed_only_after_harpoon_has_answered),
        TEST(a_job_whose_beginning_was_not_noted_is_found_by_its_domain),
        TEST(the_journal_keeps_its_id_and_sessions_grow),
        TEST(a_fenced_hypervisor_removes_all_and_attaches_again),
        TEST(a_redirect_is_followed),
        TEST(a_drain_of_a_stream_that_is_gone_moves_nobody),
        TEST(redirects_in_a_circle_end),
        TEST(the_second_router_is_taken_when_the_first_is_gone),
        TEST(a_damaged_journal_keeps_the_agent_from_starting),
        TEST(what_cannot_be_written_is_not_acknowledged),
        TEST(what_ended_long_ago_is_forgotten_but_not_that_it_was_destroyed),
        TEST(what_was_just_forgotten_may_be_taken_again),
    };
    return cmocka_run_group_tests(tests, router_group_setup, router_group_teardown);
}
