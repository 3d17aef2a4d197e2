#include "world.h"

#include "lib/clock.h"
#include "lib/rendezvous.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OUTCOME(name)    HARPOON__ROUTER__V1__OUTCOME__OUTCOME_##name
#define VERDICT(name)    HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_##name
#define INTERVAL_MS      5000
#define SHORT_TIMEOUT_MS 400

/* ---- attaching ---- */

static bool is_known_attached(void *ctx)
{
    const struct known *k = ctx;
    return k->attached && k->compared;
}

static bool is_known_gone(void *ctx)
{
    const struct known *k = ctx;
    return k->told > 0 && !k->attached;
}

static void agent_is_attached_and_the_scheduler_knows(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    assert_int_equal(a.verdict, VERDICT(OK));
    assert_string_equal(a.installation, "installation");
    world_wait(&w, is_known_attached, &w.known[7]);
    assert_int_equal(w.known[7].session, 1);
    agent_close(&a);
    world_wait(&w, is_known_gone, &w.known[7]);
    world_stop(&w);
}

static bool has_two_samples(void *ctx)
{
    return ((struct known *)ctx)->samples >= 2;
}

static void samples_reach_the_scheduler_as_an_average(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    world_wait(&w, is_known_attached, &w.known[7]); /* so that it is reached */
    agent_sample(&a, 500);
    agent_sample(&a, 500);
    world_wait(&w, has_two_samples, &w.known[7]);
    assert_int_equal(w.known[7].samples, 2);
    assert_int_equal(w.known[7].cpu_permille, 500);
    assert_int_equal(w.known[7].vcpus, 32); /* the attach said so, the samples nothing */
    agent_close(&a);
    world_stop(&w);
}

static void scheduler_that_was_away_is_told_everything_again(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a, b;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    agent_join(&b, &w, 8, 1);
    world_wait(&w, is_known_attached, &w.known[7]);
    world_wait(&w, is_known_attached, &w.known[8]);
    world_stop_scheduler(&w);
    agent_close(&b);
    memset(w.known, 0, sizeof(w.known)); /* nobody serves it now */
    world_start_scheduler(&w);
    world_wait(&w, is_known_attached, &w.known[7]);
    world_wait(&w, is_known_gone, &w.known[8]);
    agent_close(&a);
    world_stop(&w);
}

static void agent_waits_while_harpoon_is_away(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    const uint64_t to[] = {7};
    world_start(&w, 1, 1, INTERVAL_MS);
    world_stop_harpoon(&w);
    agent_join(&a, &w, 7, 1);
    assert_int_equal(a.verdict, VERDICT(LATER));
    Harpoon__Router__V1__DeliverReply *reply = worker_deliver(&w, to, 1, WAIT_MS);
    assert_int_equal(reply->delivered[0]->outcome, OUTCOME(NOT_CONNECTED));
    harpoon__router__v1__deliver_reply__free_unpacked(reply, NULL);
    world_start_harpoon(&w);
    agent_wait(&a, &a.attached, 2);
    assert_int_equal(a.verdict, VERDICT(OK));
    reply = worker_deliver(&w, to, 1, WAIT_MS);
    assert_int_equal(reply->delivered[0]->outcome, OUTCOME(ACCEPTED));
    harpoon__router__v1__deliver_reply__free_unpacked(reply, NULL);
    agent_close(&a);
    world_stop(&w);
}

static void newer_stream_takes_the_place_of_the_older(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent old, new;
    const uint64_t to[] = {7};
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&old, &w, 7, 1);
    agent_join(&new, &w, 7, 2);
    agent_wait(&old, &old.closed, 1);
    assert_int_equal(old.end.code, ERR_CONFLICT);
    Harpoon__Router__V1__DeliverReply *reply = worker_deliver(&w, to, 1, WAIT_MS);
    assert_int_equal(reply->delivered[0]->outcome, OUTCOME(ACCEPTED));
    assert_int_equal(agent_count(&new, &new.jobs), 1);
    assert_int_equal(agent_count(&old, &old.jobs), 0);
    harpoon__router__v1__deliver_reply__free_unpacked(reply, NULL);
    agent_close(&old);
    agent_close(&new);
    world_stop(&w);
}

static void older_stream_does_not_take_the_place_of_the_newer(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent old, new;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&new, &w, 7, 5);
    agent_open(&old, &w, 0, "nyc3", 7);
    agent_attach(&old, JOURNAL, 4);
    agent_wait(&old, &old.closed, 1);
    assert_int_equal(old.end.code, ERR_CONFLICT);
    assert_int_equal(agent_count(&new, &new.closed), 0);
    agent_close(&old);
    /* Another journal numbers anew. */
    agent_open(&old, &w, 0, "nyc3", 7);
    agent_attach(&old, JOURNAL_2, 1);
    agent_wait(&old, &old.attached, 1);
    agent_wait(&new, &new.closed, 1);
    agent_close(&old);
    agent_close(&new);
    world_stop(&w);
}

static void agent_may_attach_again_on_its_stream(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    world_start(&w, 1, 1, INTERVAL_MS);
    world_set(&w, &w.fenced_hypervisor, 7);
    agent_join(&a, &w, 7, 1);
    assert_int_equal(a.verdict, VERDICT(FENCED));
    world_set(&w, &w.fenced_hypervisor, 0);
    agent_attach(&a, JOURNAL, 1);
    agent_wait(&a, &a.attached, 2);
    assert_int_equal(a.verdict, VERDICT(OK));
    agent_attach(&a, JOURNAL_2, 1); /* but not as another */
    agent_wait(&a, &a.closed, 1);
    assert_int_equal(a.end.code, ERR_INVALID);
    agent_close(&a);
    world_stop(&w);
}

/* ---- refused ---- */

static void certificate_of_another_region_is_refused(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_open(&a, &w, 0, "ams3", 7);
    agent_attach(&a, JOURNAL, 1);
    agent_wait(&a, &a.closed, 1);
    assert_int_equal(a.end.code, ERR_INVALID);
    assert_int_equal(agent_count(&a, &a.attached), 0);
    agent_close(&a);
    world_stop(&w);
}

static void garbage_ends_its_stream_and_no_other(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent good, first, empty, odd;
    const uint64_t to[] = {1};
    Harpoon__Agent__V1__FromAgent nothing = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&good, &w, 1, 1);
    agent_open(&first, &w, 0, "nyc3", 2);
    agent_sample(&first, 1); /* before Attach */
    agent_wait(&first, &first.closed, 1);
    assert_int_equal(first.end.code, ERR_INVALID);
    agent_join(&empty, &w, 3, 1);
    agent_send(&empty, &nothing);
    agent_wait(&empty, &empty.closed, 1);
    assert_int_equal(empty.end.code, ERR_INVALID);
    agent_open(&odd, &w, 0, "nyc3", 4);
    agent_attach(&odd, "my journal", 1);
    agent_wait(&odd, &odd.closed, 1);
    assert_int_equal(odd.end.code, ERR_INVALID);
    Harpoon__Router__V1__DeliverReply *reply = worker_deliver(&w, to, 1, WAIT_MS);
    assert_int_equal(reply->delivered[0]->outcome, OUTCOME(ACCEPTED));
    harpoon__router__v1__deliver_reply__free_unpacked(reply, NULL);
    agent_close(&good);
    agent_close(&first);
    agent_close(&empty);
    agent_close(&odd);
    world_stop(&w);
}

static void streams_beyond_the_limit_are_shed(void **state)
{
    UNUSED(state);
    enum { MAX = 20 };
    struct world w;
    struct agent a[MAX], more;
    world_start(&w, 1, 1, INTERVAL_MS);
    for (int i = 0; i < MAX; i++)
        agent_join(&a[i], &w, (uint64_t)i + 1, 1);
    agent_open(&more, &w, 0, "nyc3", 50);
    agent_wait(&more, &more.closed, 1);
    assert_int_equal(more.end.code, ERR_BUSY);
    agent_close(&more);
    for (int i = 0; i < MAX; i++)
        agent_close(&a[i]);
    world_stop(&w);
}

enum { CROWD = 17 };

static bool is_one_shed(void *ctx)
{
    const struct agent *a = ctx;
    for (int i = 0; i < CROWD; i++)
        if (a[i].closed && a[i].end.code == ERR_BUSY)
            return true;
    return false;
}

static void one_hypervisor_does_not_take_every_place(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a[CROWD], other;
    world_start(&w, 1, 1, INTERVAL_MS);
    for (int i = 0; i < CROWD; i++)
        agent_open(&a[i], &w, 0, "nyc3", 7); /* and says nothing */
    world_wait(&w, is_one_shed, a);
    agent_join(&other, &w, 8, 1);
    agent_close(&other);
    for (int i = 0; i < CROWD; i++)
        agent_close(&a[i]);
    world_stop(&w);
}

static void agent_that_attaches_without_end_is_cut(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    struct error err;
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    Harpoon__Agent__V1__Attach attach = HARPOON__AGENT__V1__ATTACH__INIT;
    attach.journal_id = (char *)JOURNAL;
    attach.session = 1;
    m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH;
    m.attach = &attach;
    world_start(&w, 1, 1, INTERVAL_MS);
    world_stop_harpoon(&w); /* none of them is answered */
    agent_join(&a, &w, 7, 1);
    while (agent_count(&a, &a.closed) == 0) /* those asked again make room for more */
        (void)!rpc_client_stream_send(a.stream, &m.base, &err);
    assert_int_equal(a.end.code, ERR_BUSY);
    agent_close(&a);
    world_stop(&w);
}

static void silent_stream_is_ended(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    world_start(&w, 1, 1, 100);
    agent_join(&a, &w, 7, 1);
    agent_wait(&a, &a.closed, 1);
    assert_int_equal(a.end.code, ERR_DEADLINE);
    agent_close(&a);
    world_stop(&w);
}

static void workers_methods_are_theirs_alone(void **state)
{
    UNUSED(state);
    struct world w;
    struct rpc_client *c;
    struct error err;
    ProtobufCMessage *out;
    Harpoon__Router__V1__DeliverRequest q = HARPOON__ROUTER__V1__DELIVER_REQUEST__INIT;
    Harpoon__Router__V1__SessionsRequest s = HARPOON__ROUTER__V1__SESSIONS_REQUEST__INIT;
    world_start(&w, 1, 1, INTERVAL_MS);
    assert_int_equal(rpc_client_new(w.router_addresses[0], world_role("operator"), &c, &err), 0);
    int64_t deadline = mono_ms() + WAIT_MS;
    assert_int_equal(rpc_client_call(c, ROUTER, "Deliver", &q.base, deadline, &out, &err),
                     ERR_FORBIDDEN);
    assert_int_equal(rpc_client_call(c, ROUTER, "Sessions", &s.base, deadline, &out, &err), 0);
    protobuf_c_message_free_unpacked(out, NULL);
    rpc_client_free(c);
    world_stop(&w);
}

/* ---- jobs ---- */

static void jobs_are_answered_in_the_order_asked(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a, b;
    const uint64_t to[] = {8, 7, 40, 8};
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    agent_join(&b, &w, 8, 1);
    Harpoon__Router__V1__DeliverReply *reply = worker_deliver(&w, to, 4, WAIT_MS);
    assert_int_equal(reply->n_delivered, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(reply->delivered[i]->hypervisor_id, to[i]);
        assert_int_equal(reply->delivered[i]->ref->event_id, i + 1);
        assert_int_equal(reply->delivered[i]->outcome,
                         to[i] == 40 ? OUTCOME(NOT_CONNECTED) : OUTCOME(ACCEPTED));
        assert_string_equal(reply->delivered[i]->journal_id, to[i] == 40 ? "" : JOURNAL);
    }
    harpoon__router__v1__deliver_reply__free_unpacked(reply, NULL);
    assert_int_equal(agent_count(&a, &a.jobs), 1);
    assert_int_equal(agent_count(&b, &b.jobs), 2);
    agent_close(&a);
    agent_close(&b);
    world_stop(&w);
}

static void job_without_an_answer_is_told_within_the_deadline(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a, b;
    const uint64_t to[] = {7, 8};
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    agent_join(&b, &w, 8, 1);
    a.accepts = false;
    Harpoon__Router__V1__DeliverReply *reply = worker_deliver(&w, to, 2, SHORT_TIMEOUT_MS);
    assert_int_equal(reply->delivered[0]->outcome, OUTCOME(NO_ANSWER));
    assert_string_equal(reply->delivered[0]->journal_id, JOURNAL);
    assert_int_equal(reply->delivered[1]->outcome, OUTCOME(ACCEPTED));
    harpoon__router__v1__deliver_reply__free_unpacked(reply, NULL);
    agent_close(&a);
    agent_close(&b);
    world_stop(&w);
}

struct hanging {
    struct world *w;
    unsigned done;
    Harpoon__Router__V1__Outcome outcome;
};

static void on_delivered(void *ctx, const ProtobufCMessage *out, const struct error *err)
{
    struct hanging *h = ctx;
    assert_int_equal(err->code, 0);
    pthread_mutex_lock(&h->w->lock);
    h->outcome = ((const Harpoon__Router__V1__DeliverReply *)out)->delivered[0]->outcome;
    h->done++;
    pthread_cond_broadcast(&h->w->changed);
    pthread_mutex_unlock(&h->w->lock);
}

static void end_of_the_stream_answers_what_was_sent(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    Harpoon__Router__V1__DeliverRequest q = HARPOON__ROUTER__V1__DELIVER_REQUEST__INIT;
    Harpoon__Router__V1__Target target = HARPOON__ROUTER__V1__TARGET__INIT, *targets[] = {&target};
    Harpoon__Job__V1__Job job = HARPOON__JOB__V1__JOB__INIT;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    a.accepts = false;
    job.event_id = 1;
    target.hypervisor_id = 7;
    target.job = &job;
    q.targets = targets;
    q.n_targets = 1;
    struct hanging h = {&w, 0, OUTCOME(UNSPECIFIED)};
    rpc_client_call_async(w.worker, ROUTER, "Deliver", &q.base, INT64_MAX, on_delivered, &h);
    agent_wait(&a, &a.jobs, 1);
    rpc_client_stream_cancel(a.stream);
    agent_wait(&a, &h.done, 1);
    assert_int_equal(h.outcome, OUTCOME(NO_ANSWER));
    agent_close(&a);
    world_stop(&w);
}

static void fenced_hypervisor_gets_neither_job_nor_start(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    const uint64_t to[] = {7};
    world_start(&w, 1, 1, INTERVAL_MS);
    world_set(&w, &w.fenced_hypervisor, 7);
    agent_join(&a, &w, 7, 1);
    Harpoon__Router__V1__DeliverReply *reply = worker_deliver(&w, to, 1, WAIT_MS);
    assert_int_equal(reply->delivered[0]->outcome, OUTCOME(NOT_CONNECTED));
    harpoon__router__v1__deliver_reply__free_unpacked(reply, NULL);
    assert_false(worker_refs(&w, "Begin", 7, JOURNAL, 1));
    assert_true(worker_refs(&w, "Forget", 7, JOURNAL, 1));
    agent_wait(&a, &a.drops, 1);
    assert_int_equal(agent_count(&a, &a.jobs), 0);
    assert_int_equal(agent_count(&a, &a.starts), 0);
    agent_close(&a);
    world_stop(&w);
}

static void start_and_drop_reach_only_the_journal_they_name(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    assert_false(worker_refs(&w, "Begin", 7, JOURNAL_2, 11));
    assert_false(worker_refs(&w, "Forget", 7, JOURNAL_2, 12));
    assert_false(worker_refs(&w, "Begin", 8, JOURNAL, 13));
    assert_true(worker_refs(&w, "Begin", 7, JOURNAL, 14));
    assert_true(worker_refs(&w, "Forget", 7, JOURNAL, 15));
    agent_wait(&a, &a.drops, 1);
    assert_int_equal(agent_count(&a, &a.starts), 1);
    assert_int_equal(a.last_start, 14);
    assert_int_equal(a.last_drop, 15);
    agent_close(&a);
    world_stop(&w);
}

/* ---- what agents ask ---- */

static void questions_of_agents_are_answered_by_harpoon(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a, b;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    agent_join(&b, &w, 8, 1);
    agent_confirm(&a, 2);
    agent_confirm(&b, 3);
    agent_report(&a, 4, HARPOON__JOB__V1__RESULT__RESULT_CLOSED);
    agent_wait(&a, &a.confirmed, 1);
    agent_wait(&b, &b.confirmed, 1);
    agent_wait(&a, &a.reported, 1);
    assert_int_equal(a.last_confirmed, HARPOON__JOB__V1__ANSWER__ANSWER_START);
    assert_int_equal(b.last_confirmed, HARPOON__JOB__V1__ANSWER__ANSWER_DROP);
    assert_int_equal(a.last_reported, HARPOON__JOB__V1__ANSWER__ANSWER_STORED);
    assert_int_equal(a.last_result, HARPOON__JOB__V1__RESULT__RESULT_CLOSED);
    assert_int_equal(agent_count(&b, &b.reported), 0);
    agent_close(&a);
    agent_close(&b);
    world_stop(&w);
}

static void reports_gather_and_one_that_is_odd_costs_the_others_nothing(void **state)
{
    UNUSED(state);
    enum { REPORTS = 150 };
    struct world w;
    struct agent a;
    world_start(&w, 1, 1, INTERVAL_MS);
    world_set(&w, &w.odd_event, 77);
    agent_join(&a, &w, 7, 1);
    for (uint64_t event = 1; event <= REPORTS; event++)
        agent_report(&a, event, HARPOON__JOB__V1__RESULT__RESULT_SUCCEEDED);
    agent_wait(&a, &a.reported, REPORTS - 1);
    assert_int_equal(agent_count(&a, &w.reports), REPORTS - 1);
    assert_true(agent_count(&a, &w.largest_report) > 1);
    assert_int_equal(agent_count(&a, &a.closed), 0);
    agent_close(&a);
    world_stop(&w);
}

static void report_is_said_again_until_harpoon_is_back(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    world_start(&w, 1, 1, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    world_stop_harpoon(&w);
    agent_report(&a, 1, HARPOON__JOB__V1__RESULT__RESULT_SUCCEEDED);
    world_start_harpoon(&w);
    /* It says it again until it is heard. */
    int64_t until = mono_ms() + WAIT_MS;
    while (agent_count(&a, &a.reported) == 0 && mono_ms() < until) {
        agent_report(&a, 2, HARPOON__JOB__V1__RESULT__RESULT_SUCCEEDED);
        clock_pause_ms(20);
    }
    agent_wait(&a, &a.reported, 1);
    agent_close(&a);
    world_stop(&w);
}

/* ---- several routers ---- */

/* A hypervisor whose first and second in line are not, or are, router 0. */
static uint64_t hypervisor_of(const struct world *w, bool here, const char **ret_first)
{
    const char *peers[ROUTERS];
    for (int i = 0; i < w->router_count; i++)
        peers[i] = w->router_addresses[i];
    for (uint64_t id = 1;; id++) {
        size_t second, first = rendezvous_find(id, peers, (size_t)w->router_count, &second);
        *ret_first = peers[first];
        if (here == (first == 0 || second == 0))
            return id;
    }
}

static void agent_of_other_routers_is_sent_to_its_first(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a, b;
    const char *first;
    world_start(&w, 4, 1, INTERVAL_MS);
    uint64_t theirs = hypervisor_of(&w, false, &first);
    agent_open(&a, &w, 0, "nyc3", theirs);
    agent_attach(&a, JOURNAL, 1);
    agent_wait(&a, &a.closed, 1);
    assert_int_equal(a.verdict, VERDICT(REDIRECT));
    assert_string_equal(a.address, first);
    assert_int_equal(a.end.code, 0);
    uint64_t ours = hypervisor_of(&w, true, &first);
    agent_join(&b, &w, ours, 1);
    assert_int_equal(b.verdict, VERDICT(OK));
    agent_close(&a);
    agent_close(&b);
    world_stop(&w);
}

static void stopping_router_sends_its_agents_to_the_other(void **state)
{
    UNUSED(state);
    struct world w;
    struct agent a;
    world_start(&w, 2, 2, INTERVAL_MS);
    agent_join(&a, &w, 7, 1);
    world_stop_router(&w, 0);
    agent_wait(&a, &a.closed, 1);
    assert_int_equal(agent_count(&a, &a.drains), 1);
    assert_string_equal(a.address, w.router_addresses[1]);
    assert_int_equal(a.end.code, ERR_UNAVAILABLE);
    agent_close(&a);
    agent_open(&a, &w, 1, "nyc3", 7);
    agent_attach(&a, JOURNAL, 2);
    agent_wait(&a, &a.attached, 1);
    assert_int_equal(a.verdict, VERDICT(OK));
    agent_close(&a);
    world_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agent_is_attached_and_the_scheduler_knows),
        cmocka_unit_test(samples_reach_the_scheduler_as_an_average),
        cmocka_unit_test(scheduler_that_was_away_is_told_everything_again),
        cmocka_unit_test(agent_waits_while_harpoon_is_away),
        cmocka_unit_test(newer_stream_takes_the_place_of_the_older),
        cmocka_unit_test(older_stream_does_not_take_the_place_of_the_newer),
        cmocka_unit_test(agent_may_attach_again_on_its_stream),
        cmocka_unit_test(certificate_of_another_region_is_refused),
        cmocka_unit_test(garbage_ends_its_stream_and_no_other),
        cmocka_unit_test(streams_beyond_the_limit_are_shed),
        cmocka_unit_test(one_hypervisor_does_not_take_every_place),
        cmocka_unit_test(agent_that_attaches_without_end_is_cut),
        cmocka_unit_test(silent_stream_is_ended),
        cmocka_unit_test(workers_methods_are_theirs_alone),
        cmocka_unit_test(jobs_are_answered_in_the_order_asked),
        cmocka_unit_test(job_without_an_answer_is_told_within_the_deadline),
        cmocka_unit_test(end_of_the_stream_answers_what_was_sent),
        cmocka_unit_test(fenced_hypervisor_gets_neither_job_nor_start),
        cmocka_unit_test(start_and_drop_reach_only_the_journal_they_name),
        cmocka_unit_test(questions_of_agents_are_answered_by_harpoon),
        cmocka_unit_test(reports_gather_and_one_that_is_odd_costs_the_others_nothing),
        cmocka_unit_test(report_is_said_again_until_harpoon_is_back),
        cmocka_unit_test(agent_of_other_routers_is_sent_to_its_first),
        cmocka_unit_test(stopping_router_sends_its_agents_to_the_other),
    };
    return cmocka_run_group_tests_name("router", tests, world_library_init, world_library_fini);
}
