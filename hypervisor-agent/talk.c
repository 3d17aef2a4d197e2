/* hypervisor-agent/talk.c: what a hypervisor has to say to its router: answers to deliveries,
 * questions about accepted jobs, reports until they are stored. Lists, sent at the end of a turn.
 */
#include "hypervisor-agent/hypervisor.h"
#include "hypervisor-agent/metrics.h"
#include "hypervisor-agent/owner.h"
#include "hypervisor-agent/run.h"

#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_ANSWERS = 8192, /* waiting; who is not answered asks again */
    LIST_MAX = 128,     /* entries of a message */
    REPORT_PAUSE_MS = 1000,
    REPORT_PAUSE_MAX_MS = 30000,
    CONFIRM_DOUBLINGS = 3,
    UNSENT_MS = 1000, /* the stream's queue was full */
};

typedef Harpoon__Agent__V1__FromAgent from_agent;
typedef Harpoon__Job__V1__Ref ref;
typedef Harpoon__Job__V1__Report report;

static int64_t now_ms(const struct hypervisor *hv)
{
    return loop_now_ms(hv->agent->loop);
}

/* ---- answers to deliveries ---- */

void talk_answer(struct hypervisor *hv, event_id event, uint32_t attempt,
                 Harpoon__Agent__V1__DeliverAnswer__Outcome outcome, bool closed,
                 const char *reason)
{
    static const char *const names[] = {"unspecified", "accepted", "refused", "finished"};

    metric_add(M_DELIVERIES, 1, names[outcome], NULL);
    if (hv->session.link == NULL || hv->answer_count == MAX_ANSWERS)
        return;
    if (hv->answer_count == hv->answer_limit) {
        size_t limit = hv->answer_limit ? hv->answer_limit * 2 : 16;
        struct delivered *grown = realloc(hv->answers, limit * sizeof *grown);
        if (grown == NULL)
            return;
        hv->answers = grown;
        hv->answer_limit = limit;
    }
    struct delivered *d = &hv->answers[hv->answer_count++];
    *d = (struct delivered){.event = event,
                            .attempt = attempt,
                            .outcome = outcome,
                            .closed = closed};
    snprintf(d->reason, sizeof d->reason, "%s", reason ? reason : "");
    hypervisor_join_turn(hv);
}

static void send_answers(struct hypervisor *hv, struct delivered *answers, size_t count)
{
    Harpoon__Agent__V1__DeliverAnswers list = HARPOON__AGENT__V1__DELIVER_ANSWERS__INIT;
    Harpoon__Agent__V1__DeliverAnswer items[LIST_MAX], *pointers[LIST_MAX];
    ref refs[LIST_MAX];
    from_agent message = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    struct error err = {0};

    for (size_t i = 0; i < count; i++) {
        refs[i] = (ref)HARPOON__JOB__V1__REF__INIT;
        refs[i].event_id = answers[i].event.v;
        refs[i].attempt = answers[i].attempt;
        items[i] = (Harpoon__Agent__V1__DeliverAnswer)HARPOON__AGENT__V1__DELIVER_ANSWER__INIT;
        items[i].ref = &refs[i];
        items[i].outcome = answers[i].outcome;
        items[i].closed = answers[i].closed;
        items[i].reason = answers[i].reason;
        pointers[i] = &items[i];
    }
    list.answers = pointers;
    list.n_answers = count;
    message.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_DELIVERED;
    message.delivered = &list;
    if (session_send(hv, &message, &err) < 0)
        log_debug("answers were not sent", F_HYPERVISOR(hv->id.v), F_ERROR(&err));
}

/* ---- what is due ---- */

static void talk_at(struct hypervisor *hv, int64_t at_mono_ms)
{
    if (at_mono_ms < hv->say_mono_ms)
        hv->say_mono_ms = at_mono_ms;
    if (at_mono_ms <= now_ms(hv))
        hypervisor_join_turn(hv);
    else
        loop_timer_set_by(hv->agent->loop, &hv->say_timer, at_mono_ms);
}

void talk_soon(struct hypervisor *hv, struct job *job, int64_t in_ms)
{
    job->say_mono_ms = now_ms(hv) + in_ms;
    talk_at(hv, job->say_mono_ms);
}

void talk_durable(struct hypervisor *hv, struct job *job)
{
    if (job->row_durable) {
        bool closed = job->state == JOB_CLOSED;
        for (; job->answers_wanted > 0; job->answers_wanted--)
            talk_answer(hv, job_event(job), job->attempt,
                        closed ? HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_REFUSED
                               : HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_ACCEPTED,
                        job_is_closed(job, job->attempt), closed ? job->reason : NULL);
    }
    if (!job_is_durable(job) || job->said > 0)
        return;
    if (job->state == JOB_ACCEPTED)
        talk_soon(hv, job, hv->agent->setup->config->confirm_after_ms);
    else if ((job->state == JOB_SUCCEEDED || job->state == JOB_CLOSED) &&
             job->ack != JOB_ACKNOWLEDGED)
        talk_soon(hv, job, 0);
}

void talk_restart(struct hypervisor *hv)
{
    const struct agent_config *config = hv->agent->setup->config;
    int64_t now_unix = unix_ms();

    for (struct job *job = hv->book.open.first; job != NULL; job = job->next) {
        int64_t in = 0;
        job->running_unheard = 0;
        job->said = 0;
        if (job->state == JOB_ACCEPTED)
            in = job->accepted_ms + config->confirm_after_ms - now_unix;
        else if (job->state == JOB_BEGUN)
            in = config->report_running_after_ms;
        if (in < 0)
            in = 0;
        talk_soon(hv, job, in > config->confirm_after_ms ? config->confirm_after_ms : in);
    }
}

enum saying { SAY_NOTHING, SAY_CONFIRM, SAY_REPORT };

/* A closed job is told of when nothing of it is under way any more. */
static bool is_over(const struct job *job)
{
    return job->op == NULL && (job->kind == JOB_DESTROY || !book_is_being_destroyed(job->droplet));
}

static enum saying saying_of(const struct job *job)
{
    if (job->state == JOB_ACCEPTED)
        return job->row_durable ? SAY_CONFIRM : SAY_NOTHING;
    /* Of an orphan Harpoon is asked once a stream whether it knows it after all. */
    if (job->ack == JOB_ACKNOWLEDGED || (job->ack == JOB_ORPHAN && job->said > 0))
        return SAY_NOTHING;
    if (job->state == JOB_BEGUN)
        return job->running_stored ? SAY_NOTHING : SAY_REPORT;
    if (!job_is_durable(job) || job->state == JOB_UNDOING)
        return SAY_NOTHING;
    return job->state == JOB_SUCCEEDED || is_over(job) ? SAY_REPORT : SAY_NOTHING;
}

static int64_t pause_of(const struct hypervisor *hv, const struct job *job)
{
    unsigned doublings = job->said > 0 ? job->said - 1u : 0;

    if (job->state == JOB_ACCEPTED) {
        if (doublings > CONFIRM_DOUBLINGS)
            doublings = CONFIRM_DOUBLINGS;
        return jitter_ms(hv->agent->setup->config->confirm_after_ms << doublings, 20);
    }
    int64_t pause = doublings > 5 ? REPORT_PAUSE_MAX_MS : (int64_t)REPORT_PAUSE_MS << doublings;
    return jitter_ms(pause < REPORT_PAUSE_MAX_MS ? pause : REPORT_PAUSE_MAX_MS, 30);
}

/* ---- questions and reports ---- */

static Harpoon__Job__V1__Result result_of(enum job_state state)
{
    switch (state) {
    case JOB_BEGUN:
        return HARPOON__JOB__V1__RESULT__RESULT_RUNNING;
    case JOB_SUCCEEDED:
        return HARPOON__JOB__V1__RESULT__RESULT_SUCCEEDED;
    case JOB_CLOSED:
        return HARPOON__JOB__V1__RESULT__RESULT_CLOSED;
    case JOB_NONE:
    case JOB_ACCEPTED:
    case JOB_UNDOING:
    case JOB_STATES:
        break;
    }
    return HARPOON__JOB__V1__RESULT__RESULT_UNSPECIFIED;
}

struct batch { /* of what is due, and the messages made of it */
    struct hypervisor *hv;
    struct job *confirm[LIST_MAX], *report[LIST_MAX];
    size_t confirms, reports;
};

static void said(struct hypervisor *hv, struct job *const *jobs, size_t count, int r)
{
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        if (r < 0) {
            job->say_mono_ms = now_ms(hv) + UNSENT_MS;
            continue;
        }
        if (job->said < UINT8_MAX)
            job->said++;
        if (job->state == JOB_BEGUN && job->running_unheard < UINT16_MAX)
            job->running_unheard++;
        job->say_mono_ms = now_ms(hv) + pause_of(hv, job);
    }
}

static void send_confirm(struct batch *b)
{
    Harpoon__Agent__V1__Refs list = HARPOON__AGENT__V1__REFS__INIT;
    from_agent message = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    ref refs[LIST_MAX], *pointers[LIST_MAX];
    struct error err = {0};

    for (size_t i = 0; i < b->confirms; i++) {
        refs[i] = (ref)HARPOON__JOB__V1__REF__INIT;
        refs[i].event_id = b->confirm[i]->node.key;
        refs[i].attempt = b->confirm[i]->attempt;
        pointers[i] = &refs[i];
    }
    list.refs = pointers;
    list.n_refs = b->confirms;
    message.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_CONFIRM;
    message.confirm = &list;
    if (b->confirms > 0)
        said(b->hv, b->confirm, b->confirms, session_send(b->hv, &message, &err));
    b->confirms = 0;
}

static void describe(const struct job *job, ref *ref_of, report *r)
{
    static char nothing[] = "";
    static const char *const names[] = {"unspecified", "running", "succeeded", "closed"};

    *ref_of = (ref)HARPOON__JOB__V1__REF__INIT;
    ref_of->event_id = job->node.key;
    ref_of->attempt = job->attempt;
    *r = (report)HARPOON__JOB__V1__REPORT__INIT;
    r->ref = ref_of;
    r->kind = job->kind == JOB_DESTROY ? HARPOON__JOB__V1__KIND__KIND_DESTROY
                                       : HARPOON__JOB__V1__KIND__KIND_CREATE;
    r->droplet_id = job->droplet->node.key;
    r->result = result_of(job->state);
    bool closed = job->state == JOB_CLOSED;
    r->reason = closed && job->reason ? job->reason : nothing;
    r->detail = closed && job->detail ? job->detail : nothing;
    r->began_unix_ms = job->began_ms;
    r->ended_unix_ms = job->state == JOB_BEGUN ? 0 : job->ended_ms;
    metric_add(M_REPORTS, 1, names[r->result], NULL);
}

static void send_reports(struct batch *b)
{
    Harpoon__Agent__V1__Reports list = HARPOON__AGENT__V1__REPORTS__INIT;
    from_agent message = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    report items[LIST_MAX], *pointers[LIST_MAX];
    ref refs[LIST_MAX];
    struct error err = {0};

    for (size_t i = 0; i < b->reports; i++) {
        describe(b->report[i], &refs[i], &items[i]);
        pointers[i] = &items[i];
    }
    list.reports = pointers;
    list.n_reports = b->reports;
    message.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_REPORTS;
    message.reports = &list;
    if (b->reports > 0)
        said(b->hv, b->report, b->reports, session_send(b->hv, &message, &err));
    b->reports = 0;
}

static void say_job(struct batch *b, struct job *job, enum saying what)
{
    if (what == SAY_CONFIRM) {
        b->confirm[b->confirms++] = job;
        if (b->confirms == LIST_MAX)
            send_confirm(b);
    } else {
        b->report[b->reports++] = job;
        if (b->reports == LIST_MAX)
            send_reports(b);
    }
}

static void say_due(struct hypervisor *hv)
{
    struct batch b = {.hv = hv};
    int64_t next = INT64_MAX;

    for (struct job *job = hv->book.open.first; job != NULL; job = job->next) {
        enum saying what = saying_of(job);
        if (what != SAY_NOTHING && job->say_mono_ms <= now_ms(hv))
            say_job(&b, job, what);
    }
    send_confirm(&b);
    send_reports(&b);
    for (struct job *job = hv->book.open.first; job != NULL; job = job->next)
        if (saying_of(job) != SAY_NOTHING && job->say_mono_ms < next)
            next = job->say_mono_ms;
    hv->say_mono_ms = next;
    if (next == INT64_MAX)
        loop_timer_clear(hv->agent->loop, &hv->say_timer);
    else
        loop_timer_set(hv->agent->loop, &hv->say_timer, next);
}

void talk_flush(struct hypervisor *hv)
{
    size_t sent = 0;

    for (; sent < hv->answer_count; sent += LIST_MAX) {
        size_t left = hv->answer_count - sent;
        send_answers(hv, &hv->answers[sent], left < LIST_MAX ? left : LIST_MAX);
    }
    hv->answer_count = 0;
    if (hv->standing != STANDING_OK && hv->standing != STANDING_LATER)
        return;
    if (now_ms(hv) >= hv->say_mono_ms)
        say_due(hv);
}

void talk_on_timer(struct loop_timer *t)
{
    hypervisor_join_turn(OWNER_OF(t, struct hypervisor, say_timer));
}

/* ---- and what is said to that ---- */

static const char *answer_name(Harpoon__Job__V1__Answer answer)
{
    static const char *const names[] = {"unspecified", "stored", "discard", "unknown",
                                        "start",       "drop",   "wait"};

    return (unsigned)answer < ARRAY_LEN(names) ? names[answer] : "other";
}

void talk_confirmed(struct hypervisor *hv, const Harpoon__Agent__V1__Answers *answers)
{
    for (size_t i = 0; i < answers->n_answers; i++) {
        const Harpoon__Agent__V1__Answered *a = answers->answers[i];
        if (a->ref == NULL)
            continue;
        metric_add(M_ANSWERS, 1, answer_name(a->answer), NULL);
        if (a->answer == HARPOON__JOB__V1__ANSWER__ANSWER_START)
            hypervisor_start_job(hv, (event_id){a->ref->event_id}, a->ref->attempt);
        else if (a->answer == HARPOON__JOB__V1__ANSWER__ANSWER_DROP)
            hypervisor_drop_job(hv, (event_id){a->ref->event_id}, a->ref->attempt);
    }
}

/* The answer to a report of `running` must not be taken for one to the result that followed it. A
 * router that does not say which it is answers in order. */
static bool is_of_running(struct job *job, Harpoon__Job__V1__Result result)
{
    bool running =
        result == HARPOON__JOB__V1__RESULT__RESULT_RUNNING ||
        (result == HARPOON__JOB__V1__RESULT__RESULT_UNSPECIFIED && job->running_unheard > 0);

    if (running && job->running_unheard > 0)
        job->running_unheard--;
    return running;
}

static bool is_of_state(const struct job *job, Harpoon__Job__V1__Result result)
{
    return result == HARPOON__JOB__V1__RESULT__RESULT_UNSPECIFIED ||
           result == result_of(job->state);
}

static void on_reported(struct hypervisor *hv, struct job *job, Harpoon__Job__V1__Answer answer,
                        Harpoon__Job__V1__Result result)
{
    bool running = is_of_running(job, result);
    bool applies =
        running ? job->state == JOB_BEGUN || job->state == JOB_SUCCEEDED : is_of_state(job, result);

    if (!applies || job->ack == JOB_ACKNOWLEDGED)
        return;
    if (answer == HARPOON__JOB__V1__ANSWER__ANSWER_DISCARD) {
        hypervisor_step(hv, job, JOB_IN_DISCARD, "discarded", NULL);
    } else if (answer == HARPOON__JOB__V1__ANSWER__ANSWER_UNKNOWN) {
        hypervisor_step(hv, job, JOB_IN_UNKNOWN, NULL, NULL);
    } else if (answer == HARPOON__JOB__V1__ANSWER__ANSWER_STORED) {
        if (!running)
            hypervisor_step(hv, job, JOB_IN_STORED, NULL, NULL);
        else if (job->state == JOB_BEGUN)
            job->running_stored = true;
        if (running)
            hypervisor_adopt(hv, job);
    }
}

void talk_reported(struct hypervisor *hv, const Harpoon__Agent__V1__Answers *answers)
{
    for (size_t i = 0; i < answers->n_answers; i++) {
        const Harpoon__Agent__V1__Answered *a = answers->answers[i];
        if (a->ref == NULL)
            continue;
        metric_add(M_ANSWERS, 1, answer_name(a->answer), NULL);
        struct job *job = book_find(&hv->book, (event_id){a->ref->event_id});
        if (job != NULL && job->attempt == a->ref->attempt)
            on_reported(hv, job, a->answer, a->result);
    }
    run_kick(hv);
}
