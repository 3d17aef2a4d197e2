#include "hypervisor-agent/hypervisor.h"

#include "hypervisor-agent/metrics.h"
#include "hypervisor-agent/owner.h"
#include "hypervisor-agent/packed.h"
#include "hypervisor-agent/run.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFUSED  HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_REFUSED
#define ACCEPTED HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_ACCEPTED
#define FINISHED HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_FINISHED

enum { PRUNE_BATCH = 200 };
#define DAY_MS  INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)

int hypervisor_init(struct hypervisor *hv, struct agent *a, hypervisor_id id, struct error *err)
{
    hv->agent = a;
    hv->id = id;
    hv->save_timer.fire = save_on_timer;
    hv->run_timer.fire = run_on_timer;
    hv->say_timer.fire = talk_on_timer;
    hv->fence_timer.fire = fence_on_timer;
    return session_init(hv, err);
}

void hypervisor_fini(struct hypervisor *hv)
{
    session_fini(hv);
    book_fini(&hv->book);
    free(hv->answers);
    free(hv->deletes);
    free(hv->domains);
    free(hv->probing.domains);
}

/* ---- a job's state ---- */

static void set_text(char **to, const char *text)
{
    free(*to);
    *to = text != NULL && text[0] != 0 ? strdup(text) : NULL; /* without memory: no words */
}

static void move(struct hypervisor *hv, struct job *job, enum job_state state, enum job_ack ack)
{
    bool was = job->in_ended;

    book_move(&hv->book, job, state, ack);
    hv->agent->ended += (size_t)job->in_ended - (size_t)was;
    session_tell_creates(hv);
}

static void log_end(const struct hypervisor *hv, const struct job *job)
{
    log_info(job->state == JOB_CLOSED ? "job closed" : "job succeeded", F_HYPERVISOR(hv->id.v),
             F_EVENT(job->node.key), F_ATTEMPT(job->attempt), F_DROPLET(job->droplet->node.key),
             F_STR("kind", job->kind == JOB_CREATE ? "create" : "destroy"),
             F_STR("reason", job->reason ? job->reason : ""),
             F_STR("detail", job->detail ? job->detail : ""),
             F_MS("took_ms", job->began_ms ? job->ended_ms - job->began_ms : 0));
}

static void enter(struct hypervisor *hv, struct job *job, enum job_state next, const char *reason,
                  const char *detail)
{
    if (next == job->state)
        return;
    if (reason != NULL && job->state != JOB_UNDOING) { /* the first cause is the one to tell */
        set_text(&job->reason, reason);
        set_text(&job->detail, detail);
    }
    if (next == JOB_BEGUN)
        job->began_ms = unix_ms();
    if (next == JOB_SUCCEEDED || next == JOB_CLOSED)
        job->ended_ms = unix_ms();
    move(hv, job, next, job->ack);
    if (next == JOB_SUCCEEDED || next == JOB_CLOSED)
        log_end(hv, job);
}

/* What is kept of an ended job is enough to undo it. */
static void strip(struct job *job)
{
    uint8_t *bytes = NULL;
    size_t size = 0;

    if (!packed_strip(job->bytes, job->size, &bytes, &size))
        return;
    free(job->bytes);
    job->bytes = bytes;
    job->size = size;
    job->row_durable = false;
}

static void acknowledge(struct hypervisor *hv, struct job *job, unsigned effects)
{
    if (effects & JOB_DO_REPORT) {
        move(hv, job, job->state, JOB_TO_REPORT);
        job->said = 0;
        job->running_stored = false;
        bool begun = job->state == JOB_BEGUN;
        talk_soon(hv, job, begun ? hv->agent->setup->config->report_running_after_ms : 0);
    } else if (effects & JOB_DO_ORPHAN) {
        move(hv, job, job->state, JOB_ORPHAN);
        log_warn("Harpoon does not know this event: nothing of it is touched",
                 F_HYPERVISOR(hv->id.v), F_EVENT(job->node.key), F_ATTEMPT(job->attempt),
                 F_DROPLET(job->droplet->node.key));
    } else if (effects & JOB_DO_ACKNOWLEDGE) {
        move(hv, job, job->state, JOB_ACKNOWLEDGED);
        strip(job);
    }
}

/* A destroy has begun: none of the others of its droplet begins or goes on. All of it is one write,
 * and the driver waits for that. */
static void close_others(struct hypervisor *hv, struct job *destroy)
{
    struct droplet *d = destroy->droplet;

    if (d->mark == MARK_NONE) {
        d->mark = MARK_WRITING;
        d->marked_by = job_event(destroy);
        d->marked_ms = unix_ms();
        save_mark(hv, d);
    }
    for (struct job *job = d->jobs; job != NULL; job = job->sibling) {
        if (job == destroy || job->kind == JOB_DESTROY)
            continue;
        hypervisor_step(hv, job, JOB_IN_DESTROYED, "destroyed", NULL);
    }
}

void hypervisor_step(struct hypervisor *hv, struct job *job, enum job_input in, const char *reason,
                     const char *detail)
{
    struct job_step step = job_step(job->kind, job->state, in);

    if (step.effects == 0) {
        log_debug("an input that changes nothing", F_HYPERVISOR(hv->id.v), F_EVENT(job->node.key),
                  F_ATTEMPT(job->attempt), F_STR("state", job_state_name(job->state)),
                  F_STR("input", job_input_name(in)));
        return;
    }
    bool begins = step.next == JOB_BEGUN && job->state == JOB_ACCEPTED;
    enter(hv, job, step.next, reason, detail);
    acknowledge(hv, job, step.effects);
    if (step.effects & (JOB_DO_WRITE | JOB_DO_NOTE))
        save_job(hv, job, step.effects & JOB_DO_WRITE);
    if (begins && job->kind == JOB_DESTROY)
        close_others(hv, job);
    run_queue(hv, job);
}

void hypervisor_adopt(struct hypervisor *hv, struct job *job)
{
    if (job->ack != JOB_ORPHAN)
        return;
    move(hv, job, job->state, JOB_TO_REPORT);
    save_job(hv, job, false);
    run_queue(hv, job);
}

/* ---- deliveries ---- */

static void refuse(struct hypervisor *hv, const Harpoon__Job__V1__Job *in, const char *reason)
{
    talk_answer(hv, (event_id){in->event_id}, in->attempt, REFUSED, false, reason);
}

/* The delivered job becomes the entry's. */
static void take(struct hypervisor *hv, struct job *job, const Harpoon__Job__V1__Job *in)
{
    for (; job->answers_wanted > 0; job->answers_wanted--) /* to the lower attempt */
        talk_answer(hv, job_event(job), job->attempt, REFUSED, false, "superseded");
    free(job->bytes);
    job->bytes = packed_job(in, &job->size);
    job->attempt = in->attempt;
    job->kind = packed_kind(in);
    job->accepted_ms = unix_ms();
    job->began_ms = job->ended_ms = 0;
    set_text(&job->reason, NULL);
    set_text(&job->detail, NULL);
    job->row_durable = false;
    job->retry_mono_ms = 0;
    job->retries = 0;
    job->said = 0;
    job->running_unheard = 0;
    job->running_stored = false;
}

static void answer_delivery(struct hypervisor *hv, struct job *job, uint32_t attempt,
                            unsigned effects)
{
    event_id event = job_event(job);

    if (effects & JOB_DO_ACCEPT) {
        if (job->row_durable)
            talk_answer(hv, event, attempt, ACCEPTED, false, NULL);
        else
            job->answers_wanted++;
    } else if (effects & JOB_DO_FINISHED) {
        talk_answer(hv, event, attempt, FINISHED, false, NULL);
    } else if (effects & JOB_DO_REFUSE_CLOSED) {
        bool barred = job->kind == JOB_CREATE && job->droplet->mark == MARK_DURABLE;
        talk_answer(hv, event, attempt, REFUSED, barred || job_is_closed(job, attempt),
                    job->reason ? job->reason : "lower_attempt");
    } else {
        talk_answer(hv, event, attempt, REFUSED, false, "attempt_running");
    }
}

static void deliver_known(struct hypervisor *hv, struct job *job, const Harpoon__Job__V1__Job *in)
{
    bool barred = packed_kind(in) == JOB_CREATE && job->droplet->mark != MARK_NONE;
    enum job_input input = job_delivery(job->state, job->attempt, in->attempt, barred);

    if (job->droplet->node.key != in->droplet_id ||
        (job->kind != packed_kind(in) && job->state != JOB_NONE)) {
        refuse(hv, in, "invalid_job");
        return;
    }
    struct job_step step = job_step(packed_kind(in), job->state, input);
    if ((step.effects & JOB_DO_TAKE) && (job->op != NULL || job->queued)) {
        refuse(hv, in, "busy"); /* the driver is not done with an attempt that is closed */
        return;
    }
    if (step.effects & JOB_DO_TAKE) {
        take(hv, job, in);
        move(hv, job, step.next, JOB_TO_REPORT);
        save_job(hv, job, true);
        log_debug("job accepted", F_HYPERVISOR(hv->id.v), F_EVENT(in->event_id),
                  F_ATTEMPT(in->attempt), F_DROPLET(in->droplet_id),
                  F_STR("trace_id", in->trace_id));
    } else if (step.effects & JOB_DO_REPORT) {
        acknowledge(hv, job, JOB_DO_REPORT);
    }
    answer_delivery(hv, job, in->attempt, step.effects);
}

static void deliver_new(struct hypervisor *hv, const Harpoon__Job__V1__Job *in)
{
    struct droplet *d = book_droplet(&hv->book, (droplet_id){in->droplet_id});

    if (d != NULL && d->mark != MARK_NONE && packed_kind(in) == JOB_CREATE) {
        talk_answer(hv, (event_id){in->event_id}, in->attempt, REFUSED, d->mark == MARK_DURABLE,
                    "destroyed");
        return;
    }
    if (hv->book.open.count >= (size_t)hv->agent->setup->config->max_jobs) {
        refuse(hv, in, "busy");
    } else {
        struct job *job = d != NULL ? book_add(&hv->book, (event_id){in->event_id}, d) : NULL;
        if (job != NULL) {
            deliver_known(hv, job, in);
            return;
        }
        refuse(hv, in, "busy");
    }
    if (d != NULL)
        book_tidy_droplet(&hv->book, d);
}

/* NULL: it can be taken. Otherwise the word why not; nothing in the journal says so. */
static const char *why_not(struct hypervisor *hv, const Harpoon__Job__V1__Job *in)
{
    struct journal_stats stats;

    if (hv->agent->stopping)
        return "stopping";
    if (hv->standing == STANDING_FENCED)
        return "fenced";
    if (!packed_is_valid(in))
        return "invalid_job";
    if (!hypervisor_learn_installation(hv, in->installation_id))
        return "foreign_installation";
    journal_stats_get(hv->agent->journal, &stats);
    if (!stats.healthy)
        return "journal_unavailable";
    return stats.queue.queued > stats.queue.limit / 2 ? "busy" : NULL;
}

void hypervisor_deliver(struct hypervisor *hv, const Harpoon__Agent__V1__Jobs *jobs)
{
    for (size_t i = 0; i < jobs->n_jobs; i++) {
        const Harpoon__Job__V1__Job *in = jobs->jobs[i];
        const char *why = why_not(hv, in);
        if (why != NULL) {
            refuse(hv, in, why);
            continue;
        }
        struct job *job = book_find(&hv->book, (event_id){in->event_id});
        if (job != NULL)
            deliver_known(hv, job, in);
        else
            deliver_new(hv, in);
    }
}

/* ---- start and drop ---- */

/* The row is the permission, and it names one attempt. */
static struct job *find_attempt(struct hypervisor *hv, event_id event, uint32_t attempt,
                                const char *what)
{
    struct job *job = book_find(&hv->book, event);

    if (job != NULL && job->attempt == attempt)
        return job;
    log_debug("no such attempt in the journal", F_STR("input", what), F_HYPERVISOR(hv->id.v),
              F_EVENT(event.v), F_ATTEMPT(attempt));
    return NULL;
}

void hypervisor_start_job(struct hypervisor *hv, event_id event, uint32_t attempt)
{
    struct job *job = find_attempt(hv, event, attempt, "start");

    if (job == NULL || hv->agent->stopping)
        return;
    /* Before Harpoon has answered the attach nothing begins; it is asked about again after. What is
     * not yet durable was not acknowledged, so that this Start cannot be meant for it. */
    if (job->state == JOB_ACCEPTED && (hv->standing != STANDING_OK || !job->row_durable))
        return;
    hypervisor_step(hv, job, JOB_IN_START, NULL, NULL);
}

void hypervisor_drop_job(struct hypervisor *hv, event_id event, uint32_t attempt)
{
    struct job *job = find_attempt(hv, event, attempt, "drop");

    if (job != NULL)
        hypervisor_step(hv, job, JOB_IN_DROP, "dropped", NULL);
}

/* ---- the attach ---- */

void hypervisor_set_standing(struct hypervisor *hv, enum standing standing)
{
    atomic_fetch_sub(&hv->agent->standings[hv->standing], 1);
    atomic_fetch_add(&hv->agent->standings[standing], 1);
    hv->standing = standing;
}

bool hypervisor_learn_installation(struct hypervisor *hv, const char *installation)
{
    const struct agent *a = hv->agent;

    if (installation[0] == 0 || strlen(installation) >= sizeof hv->installation)
        return false;
    if (hv->installation[0] != 0)
        return strcmp(hv->installation, installation) == 0;
    snprintf(hv->installation, sizeof hv->installation, "%s", installation);
    save_row(hv);
    if (a->driver->set_installation != NULL)
        a->driver->set_installation(a->driver_self, installation);
    log_info("installation learned", F_HYPERVISOR(hv->id.v), F_STR("installation", installation));
    return true;
}

void hypervisor_match_domains(struct hypervisor *hv)
{
    for (size_t i = 0; i < hv->domain_count; i++) {
        struct driver_domain *domain = &hv->domains[i];
        const struct droplet *d = book_find_droplet(&hv->book, domain->droplet);
        for (struct job *job = d != NULL ? d->jobs : NULL; job != NULL; job = job->sibling) {
            if (job->kind != JOB_CREATE || job->attempt != domain->attempt)
                continue;
            if (domain->event.v == 0)
                domain->event = job_event(job);
            if (domain->event.v == job->node.key)
                hypervisor_step(hv, job, JOB_IN_FOUND, NULL, NULL);
        }
    }
}

void hypervisor_take_probe(struct hypervisor *hv, struct probing *p)
{
    const struct driver_capacity *reserve = &hv->agent->setup->reserve;

#define LESS(field)                                                                                \
    hv->capacity.field = p->capacity.field > reserve->field ? p->capacity.field - reserve->field : 0
    LESS(vcpus);
    LESS(memory_mib);
    LESS(disk_gib);
#undef LESS
    if (p->asked & PROBE_SAMPLE)
        hv->sample = p->sample;
    if (!(p->asked & PROBE_DOMAINS))
        return;
    free(hv->domains);
    hv->domains = p->domains;
    hv->domain_count = p->domain_count;
    p->domains = NULL;
    p->domain_count = 0;
}

static void resume(struct hypervisor *hv)
{
    for (struct job *job = hv->book.open.first; job != NULL; job = job->next) {
        if (job->state == JOB_BEGUN && job->kind == JOB_DESTROY)
            close_others(hv, job); /* it may not have come so far; done twice it is the same */
        run_queue(hv, job);
    }
    run_kick(hv);
}

void hypervisor_attached(struct hypervisor *hv)
{
    if (hv->standing == STANDING_OK && !hv->cleared) {
        hv->cleared = true;
        resume(hv);
    }
    talk_restart(hv);
}

void hypervisor_detached(struct hypervisor *hv)
{
    hypervisor_set_standing(hv, STANDING_AWAY);
    hv->answer_count = 0; /* who asked is gone, and asks again */
    for (struct job *job = hv->book.open.first; job != NULL; job = job->next)
        job->answers_wanted = 0;
}

void hypervisor_join_turn(struct hypervisor *hv)
{
    if (hv->in_turn)
        return;
    hv->in_turn = true;
    hv->next_in_turn = hv->agent->turn;
    hv->agent->turn = hv;
}

/* ---- forgetting ---- */

static void prune_marks(struct hypervisor *hv, int64_t now_unix_ms)
{
    int64_t keep_ms = hv->agent->setup->config->journal_keep_marks_days * DAY_MS;
    struct map_cursor c = {0};

    if (keep_ms == 0 || now_unix_ms < hv->marks_pruned_ms + HOUR_MS)
        return;
    hv->marks_pruned_ms = now_unix_ms;
    for (struct map_node *n; (n = map_next(&hv->book.droplets, &c)) != NULL;) {
        struct droplet *d = OWNER_OF(n, struct droplet, node);
        if (d->mark != MARK_DURABLE || d->jobs != NULL || d->marked_ms + keep_ms > now_unix_ms)
            continue;
        save_delete_mark(hv, d);
        d->mark = MARK_NONE;
        book_tidy_droplet(&hv->book, d);
    }
}

void hypervisor_prune(struct hypervisor *hv, int64_t now_unix_ms)
{
    const struct agent_config *config = hv->agent->setup->config;
    int64_t keep_ms = config->journal_keep_days * DAY_MS;

    for (int n = 0; n < PRUNE_BATCH && hv->book.ended.first != NULL; n++) {
        struct job *job = hv->book.ended.first;
        bool full = hv->agent->ended > (size_t)config->journal_max_ended;
        if (!full && job->ended_ms + keep_ms > now_unix_ms)
            break;
        if (job->durable != job->version || job->dirty || job->op != NULL || job->queued)
            break;
        save_delete(hv, job);
        hv->agent->ended--;
        book_remove(&hv->book, job);
    }
    prune_marks(hv, now_unix_ms);
}
