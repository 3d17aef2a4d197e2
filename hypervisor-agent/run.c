#include "hypervisor-agent/run.h"

#include "hypervisor-agent/hypervisor.h"
#include "hypervisor-agent/metrics.h"
#include "hypervisor-agent/owner.h"
#include "hypervisor-agent/packed.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BUSY_MS = 50, /* the driver has too much under way */
    CREATE_PAUSE_MAX_MS = 30000,
    REMOVE_PAUSE_MAX_MS = 300000, /* they have no deadline: they wait */
};

struct op {
    struct driver_task task;
    struct loop_event event;
    struct hypervisor *hv;
    struct droplet *droplet;
    struct job *job; /* NULL: a fenced domain's removal */
    enum job_want want;
    Harpoon__Job__V1__Job *message; /* owned */
    int64_t began_mono_ms;
};

static const char *const action_names[] = {
    [DRIVER_CREATE] = "create", [DRIVER_DESTROY] = "destroy", [DRIVER_UNDO] = "undo"};
static const char *const result_names[] = {[DRIVER_DONE] = "done",
                                           [DRIVER_RETRY] = "retry",
                                           [DRIVER_CONFLICT] = "conflict",
                                           [DRIVER_FAILED] = "failed"};

unsigned run_count(const struct hypervisor *hv)
{
    return hv->creates + hv->others;
}

/* ---- one operation ---- */

static unsigned *slot_of(struct hypervisor *hv, enum driver_action action)
{
    return action == DRIVER_CREATE ? &hv->creates : &hv->others;
}

static void op_free(struct op *op)
{
    harpoon__job__v1__job__free_unpacked(op->message, NULL);
    free(op);
}

static void op_report(const struct op *op)
{
    const char *action = action_names[op->task.action], *result = result_names[op->task.result];
    int64_t took = mono_ms() - op->began_mono_ms;

    metric_add(M_OPERATIONS, 1, action, result, NULL);
    metric_observe(M_OPERATION_DURATION, (double)took / 1000, action, NULL);
    if (op->task.result == DRIVER_DONE || op->hv->agent->stopping)
        return;
    log_warn("a driver operation did not succeed", F_HYPERVISOR(op->hv->id.v),
             F_EVENT(op->message->event_id), F_ATTEMPT(op->message->attempt),
             F_DROPLET(op->message->droplet_id), F_STR("action", action), F_STR("result", result),
             F_STR("reason", op->task.reason), F_STR("detail", op->task.detail),
             F_MS("took_ms", took));
}

static enum job_input input_of(const struct op *op)
{
    switch (op->task.result) {
    case DRIVER_DONE:
        return JOB_IN_DONE;
    case DRIVER_RETRY:
        return JOB_IN_RETRY;
    case DRIVER_CONFLICT:
        return JOB_IN_CONFLICT;
    case DRIVER_FAILED:
        return JOB_IN_FAILED;
    }
    return JOB_IN_RETRY;
}

/* A create that is put off again and again is not done late. */
static bool is_late(const struct op *op)
{
    int64_t deadline = op->message->deadline_unix_ms;

    return op->want == JOB_WANTS_CREATE && op->task.result == DRIVER_RETRY && deadline != 0 &&
           unix_ms() > deadline;
}

static void pause_job(struct hypervisor *hv, struct job *job)
{
    int64_t most = job_wants(job->kind, job->state, job->ack) == JOB_WANTS_CREATE
                       ? CREATE_PAUSE_MAX_MS
                       : REMOVE_PAUSE_MAX_MS;
    int64_t pause = hv->agent->setup->config->retry_ms << job->retries;

    if (pause < most)
        job->retries++;
    else
        pause = most;
    job->retry_mono_ms = loop_now_ms(hv->agent->loop) + jitter_ms(pause, 50);
}

static void job_ended(struct hypervisor *hv, struct op *op)
{
    struct job *job = op->job;

    job->op = NULL;
    if (op->want != job_wants(job->kind, job->state, job->ack)) {
        talk_durable(hv, job); /* closed meanwhile: only now that is to be told */
        run_queue(hv, job);
        return;
    }
    enum job_input in = input_of(op);
    if (in == JOB_IN_DONE || op->want != JOB_WANTS_CREATE)
        hypervisor_step(hv, job, in, NULL, NULL);
    else if (is_late(op))
        hypervisor_step(hv, job, JOB_IN_FAILED, "deadline", op->task.detail);
    else
        hypervisor_step(hv, job, in, op->task.reason[0] ? op->task.reason : "driver_failed",
                        op->task.detail);
    if (op->want == job_wants(job->kind, job->state, job->ack)) {
        pause_job(hv, job);
    } else { /* the next thing is a new thing */
        job->retries = 0;
        job->retry_mono_ms = 0;
    }
    run_queue(hv, job);
}

/* Closed jobs of a droplet are told of only once its destroy is done. */
static void droplet_ended(struct hypervisor *hv, struct droplet *d)
{
    if (book_is_being_destroyed(d))
        return;
    for (struct job *job = d->jobs; job != NULL; job = job->sibling)
        talk_durable(hv, job);
}

static void on_ended(struct loop_event *e)
{
    struct op *op = OWNER_OF(e, struct op, event);
    struct hypervisor *hv = op->hv;

    op_report(op);
    --*slot_of(hv, op->task.action);
    op->droplet->op = NULL;
    if (op->job != NULL)
        job_ended(hv, op);
    droplet_ended(hv, op->droplet);
    book_tidy_droplet(&hv->book, op->droplet);
    op_free(op);
    run_kick(hv);
    fence_step(hv);
}

static void on_done(struct driver_task *task) /* on any thread */
{
    struct op *op = task->ctx;

    loop_post(op->hv->agent->loop, &op->event);
}

/* False: the driver is busy. Takes `message` in any case. */
static bool begin(struct hypervisor *hv, struct droplet *d, struct job *job, enum job_want want,
                  enum driver_action action, Harpoon__Job__V1__Job *message)
{
    struct agent *a = hv->agent;
    struct op *op = calloc(1, sizeof *op);
    struct error err = {0};

    if (op == NULL) {
        harpoon__job__v1__job__free_unpacked(message, NULL);
        return false;
    }
    *op = (struct op){
        .task = {.action = action, .hypervisor = hv->id, .job = message, .done = on_done},
        .event = {.run = on_ended},
        .hv = hv,
        .droplet = d,
        .job = job,
        .want = want,
        .message = message,
        .began_mono_ms = mono_ms(),
    };
    op->task.ctx = op;
    d->op = op; /* `done` may come before begin returns */
    if (a->driver->begin(a->driver_self, &op->task, &err) < 0) {
        d->op = NULL;
        op_free(op);
        return false;
    }
    if (job != NULL)
        job->op = op;
    ++*slot_of(hv, action);
    return true;
}

/* ---- the queue of what waits for it ---- */

void run_queue(struct hypervisor *hv, struct job *job)
{
    if (job->queued || job->op != NULL ||
        job_wants(job->kind, job->state, job->ack) == JOB_WANTS_NOTHING)
        return;
    job->queued = true;
    job->next_queued = NULL;
    if (hv->queue_last != NULL)
        hv->queue_last->next_queued = job;
    else
        hv->queue_first = job;
    hv->queue_last = job;
    hypervisor_join_turn(hv);
}

enum turn { TURN_LEAVE, TURN_STAY, TURN_BEGUN, TURN_BUSY };

static enum driver_action action_of(enum job_want want)
{
    if (want == JOB_WANTS_CREATE)
        return DRIVER_CREATE;
    return want == JOB_WANTS_UNDO ? DRIVER_UNDO : DRIVER_DESTROY;
}

/* An entry whose bytes cannot be read cannot have come from the journal, which has checksums. */
static enum turn begin_job(struct hypervisor *hv, struct job *job, enum job_want want)
{
    Harpoon__Job__V1__Job *message = packed_open(job->bytes, job->size);

    if (message == NULL)
        return TURN_BUSY;
    return begin(hv, job->droplet, job, want, action_of(want), message) ? TURN_BEGUN : TURN_BUSY;
}

static enum turn try_job(struct hypervisor *hv, struct job *job)
{
    struct loop *loop = hv->agent->loop;
    enum job_want want = job_wants(job->kind, job->state, job->ack);

    if (want == JOB_WANTS_NOTHING)
        return TURN_LEAVE;
    if (job->retry_mono_ms > loop_now_ms(loop)) {
        loop_timer_set_by(loop, &hv->run_timer, job->retry_mono_ms);
        return TURN_STAY;
    }
    if (job->droplet->op != NULL)
        return TURN_STAY;
    if (want == JOB_WANTS_DESTROY &&
        (job->droplet->mark != MARK_DURABLE || !book_others_closed(job->droplet, job)))
        return TURN_STAY;
    if (*slot_of(hv, action_of(want)) >= (unsigned)hv->agent->setup->config->max_creates)
        return TURN_STAY;
    return begin_job(hv, job, want);
}

void run_kick(struct hypervisor *hv)
{
    struct job **at = &hv->queue_first, *last = NULL;
    struct loop *loop = hv->agent->loop;
    bool busy = false;

    if (!hv->cleared || hv->agent->stopping)
        return;
    while (*at != NULL) {
        struct job *job = *at;
        enum turn turn = busy ? TURN_STAY : try_job(hv, job);
        busy = busy || turn == TURN_BUSY;
        if (turn == TURN_STAY || turn == TURN_BUSY) {
            last = job;
            at = &job->next_queued;
            continue;
        }
        *at = job->next_queued;
        job->queued = false;
    }
    hv->queue_last = last;
    if (busy)
        loop_timer_set_by(loop, &hv->run_timer, loop_now_ms(loop) + BUSY_MS);
}

bool run_remove(struct hypervisor *hv, droplet_id droplet)
{
    struct droplet *d = book_droplet(&hv->book, droplet);

    if (d == NULL || d->op != NULL || hv->agent->stopping ||
        hv->others >= (unsigned)hv->agent->setup->config->max_creates)
        return false;
    Harpoon__Job__V1__Job *message = packed_removal(hv->installation, droplet, (event_id){0}, 0);
    bool begun = message != NULL && begin(hv, d, NULL, JOB_WANTS_NOTHING, DRIVER_DESTROY, message);
    if (!begun)
        book_tidy_droplet(&hv->book, d);
    return begun;
}

void run_on_timer(struct loop_timer *t)
{
    run_kick(OWNER_OF(t, struct hypervisor, run_timer));
}
