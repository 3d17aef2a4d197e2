/* hypervisor-agent/save.c: what changed in a book goes to the journal, all of a turn in one write;
 * what fails is written again. */
#include "hypervisor-agent/hypervisor.h"
#include "hypervisor-agent/owner.h"
#include "hypervisor-agent/run.h"

#include "lib/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NOTE_MS = 100,   /* what nobody waits for is written within */
    AGAIN_MS = 1000, /* after a failure */
};

struct save {
    struct journal_write write;
    struct loop_event event;
    struct hypervisor *hv;
    int code;
    struct journal_change *changes; /* owned, with their bytes */
    uint64_t *versions;             /* of jobs, by change */
    size_t count;
};

static void save_free(struct save *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->changes[i].kind == JOURNAL_PUT_JOB)
            free((void *)(uintptr_t)s->changes[i].bytes);
    free(s->changes);
    free(s->versions);
    free(s);
}

/* ---- what is to be written ---- */

static void save_soon(struct hypervisor *hv, int64_t in_ms)
{
    struct loop *loop = hv->agent->loop;

    loop_timer_set_by(loop, &hv->save_timer, loop_now_ms(loop) + in_ms);
}

static void make_dirty(struct hypervisor *hv, struct job *job)
{
    if (job->dirty)
        return;
    job->dirty = true;
    job->next_dirty = hv->dirty;
    hv->dirty = job;
}

void save_job(struct hypervisor *hv, struct job *job, bool now)
{
    job->version = ++hv->agent->version;
    make_dirty(hv, job);
    if (!now) {
        save_soon(hv, NOTE_MS);
        return;
    }
    hv->save_now = true;
    hypervisor_join_turn(hv);
}

void save_mark(struct hypervisor *hv, struct droplet *d)
{
    if (!d->dirty) {
        d->dirty = true;
        d->next_dirty = hv->dirty_droplets;
        hv->dirty_droplets = d;
    }
    hv->save_now = true;
    hypervisor_join_turn(hv);
}

void save_row(struct hypervisor *hv)
{
    hv->row_dirty = true;
    hv->save_now = true;
    hypervisor_join_turn(hv);
}

static struct journal_change *new_delete(struct hypervisor *hv)
{
    if (hv->delete_count == hv->delete_limit) {
        size_t limit = hv->delete_limit ? hv->delete_limit * 2 : 16;
        struct journal_change *grown = realloc(hv->deletes, limit * sizeof *grown);
        if (grown == NULL)
            return NULL;
        hv->deletes = grown;
        hv->delete_limit = limit;
    }
    save_soon(hv, NOTE_MS);
    struct journal_change *c = &hv->deletes[hv->delete_count++];
    memset(c, 0, sizeof *c);
    return c;
}

static void describe_key(const struct hypervisor *hv, const struct job *job,
                         struct journal_job *ret)
{
    ret->hypervisor = hv->id;
    ret->event = job_event(job);
    ret->attempt = job->attempt;
    memcpy(ret->installation, hv->installation, sizeof ret->installation);
}

static void describe_mark(const struct hypervisor *hv, const struct droplet *d,
                          struct journal_mark *ret)
{
    ret->hypervisor = hv->id;
    ret->droplet = droplet_number(d);
    ret->event = d->marked_by;
    ret->at_ms = d->marked_ms;
    memcpy(ret->installation, hv->installation, sizeof ret->installation);
}

void save_delete(struct hypervisor *hv, const struct job *job)
{
    struct journal_change *c = new_delete(hv);

    if (c == NULL)
        return;
    c->kind = JOURNAL_DELETE_JOB;
    describe_key(hv, job, &c->job);
}

void save_delete_mark(struct hypervisor *hv, const struct droplet *d)
{
    struct journal_change *c = new_delete(hv);

    if (c == NULL)
        return;
    c->kind = JOURNAL_DELETE_MARK;
    describe_mark(hv, d, &c->mark);
}

/* ---- one write of it all ---- */

static void describe_job(const struct hypervisor *hv, const struct job *job,
                         struct journal_change *c)
{
    c->kind = job->row_durable ? JOURNAL_SET_JOB : JOURNAL_PUT_JOB;
    describe_key(hv, job, &c->job);
    c->job.kind = job->kind;
    c->job.droplet = droplet_number(job->droplet);
    c->job.state = job->state;
    c->job.ack = job->ack;
    c->job.accepted_ms = job->accepted_ms;
    c->job.began_ms = job->began_ms;
    c->job.ended_ms = job->ended_ms;
    snprintf(c->job.reason, sizeof c->job.reason, "%s", job->reason ? job->reason : "");
    snprintf(c->job.detail, sizeof c->job.detail, "%s", job->detail ? job->detail : "");
}

static bool copy_bytes(const struct job *job, struct journal_change *c)
{
    uint8_t *copy = malloc(job->size ? job->size : 1);

    if (copy == NULL)
        return false;
    if (job->size > 0)
        memcpy(copy, job->bytes, job->size);
    c->bytes = copy;
    c->size = job->size;
    return true;
}

static size_t count_dirty(const struct hypervisor *hv)
{
    size_t n = hv->delete_count + hv->row_dirty;

    for (const struct job *job = hv->dirty; job != NULL; job = job->next_dirty)
        n++;
    for (const struct droplet *d = hv->dirty_droplets; d != NULL; d = d->next_dirty)
        n++;
    return n;
}

static bool fill(struct save *s)
{
    struct hypervisor *hv = s->hv;
    struct journal_change *c = s->changes;

    for (size_t i = 0; i < hv->delete_count; i++, s->count++) /* first: it may be there anew */
        *c++ = hv->deletes[i];
    for (const struct job *job = hv->dirty; job != NULL; job = job->next_dirty, c++) {
        describe_job(hv, job, c);
        s->versions[c - s->changes] = job->version;
        s->count++;
        if (c->kind == JOURNAL_PUT_JOB && !copy_bytes(job, c))
            return false;
    }
    for (const struct droplet *d = hv->dirty_droplets; d != NULL; d = d->next_dirty, c++) {
        c->kind = JOURNAL_PUT_MARK;
        describe_mark(hv, d, &c->mark);
        s->count++;
    }
    if (hv->row_dirty) {
        c->kind = JOURNAL_PUT_HYPERVISOR;
        c->hypervisor.id = hv->id;
        c->hypervisor.session = hv->session_reserved;
        memcpy(c->hypervisor.journal_id, hv->journal_id, sizeof hv->journal_id);
        memcpy(c->hypervisor.installation, hv->installation, sizeof hv->installation);
        s->count++;
    }
    return true;
}

static void on_done(struct journal_write *w, int code, const char *why);
static void on_saved(struct loop_event *e);

static struct save *save_new(struct hypervisor *hv, size_t count)
{
    struct save *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->hv = hv;
    s->changes = calloc(count, sizeof *s->changes);
    s->versions = calloc(count, sizeof *s->versions);
    if (s->changes == NULL || s->versions == NULL || !fill(s)) {
        save_free(s);
        return NULL;
    }
    s->write = (struct journal_write){.changes = s->changes, .count = s->count, .done = on_done};
    s->event.run = on_saved;
    return s;
}

static void clear_dirty(struct hypervisor *hv)
{
    for (struct job *job = hv->dirty; job != NULL; job = job->next_dirty) {
        job->dirty = false;
        job->submitted = job->version;
    }
    for (struct droplet *d = hv->dirty_droplets; d != NULL; d = d->next_dirty)
        d->dirty = false;
    hv->dirty = NULL;
    hv->dirty_droplets = NULL;
    hv->row_dirty = false;
    hv->delete_count = 0;
}

/* Nobody may wait for what cannot be written now. */
static void refuse_waiting(struct hypervisor *hv, struct job *job)
{
    for (; job->answers_wanted > 0; job->answers_wanted--)
        talk_answer(hv, job_event(job), job->attempt,
                    HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_REFUSED, false,
                    "journal_unavailable");
}

void save_flush(struct hypervisor *hv)
{
    size_t count = count_dirty(hv);
    struct error err = {0};

    hv->save_now = false;
    if (count == 0 || hv->agent->closed)
        return;
    loop_timer_clear(hv->agent->loop, &hv->save_timer);
    struct save *s = save_new(hv, count);
    if (s != NULL && journal_submit(hv->agent->journal, &s->write, &err) == 0) {
        hv->saves++;
        clear_dirty(hv);
        return;
    }
    if (s != NULL)
        save_free(s);
    for (struct job *job = hv->dirty; job != NULL; job = job->next_dirty)
        refuse_waiting(hv, job);
    save_soon(hv, AGAIN_MS);
}

void save_on_timer(struct loop_timer *t)
{
    save_flush(OWNER_OF(t, struct hypervisor, save_timer));
}

/* ---- and what became of it ---- */

static void on_done(struct journal_write *w, int code, const char *why)
{
    struct save *s = OWNER_OF(w, struct save, write);

    (void)why; /* the journal has said so, once */
    s->code = code;
    loop_post(s->hv->agent->loop, &s->event);
}

static void job_saved(struct hypervisor *hv, const struct journal_change *c, uint64_t version,
                      int code)
{
    struct job *job = book_find(&hv->book, c->job.event);

    if (job == NULL)
        return;
    if (code < 0) {
        refuse_waiting(hv, job);
        if (job->submitted == version)
            make_dirty(hv, job);
        return;
    }
    if (version > job->durable && version <= job->version) {
        job->durable = version;
        job->durable_attempt = c->job.attempt;
        job->durable_state = c->job.state;
    }
    if (c->kind == JOURNAL_PUT_JOB && c->job.attempt == job->attempt && c->size == job->size)
        job->row_durable = true;
    talk_durable(hv, job);
}

static void mark_saved(struct hypervisor *hv, const struct journal_change *c, int code)
{
    struct droplet *d = book_find_droplet(&hv->book, c->mark.droplet);

    if (d == NULL || d->mark == MARK_NONE)
        return;
    if (code == 0)
        d->mark = MARK_DURABLE;
    else if (d->mark == MARK_WRITING)
        save_mark(hv, d);
}

static void on_saved(struct loop_event *e)
{
    struct save *s = OWNER_OF(e, struct save, event);
    struct hypervisor *hv = s->hv;

    hv->saves--;
    for (size_t i = 0; i < s->count; i++) {
        const struct journal_change *c = &s->changes[i];
        if (c->kind == JOURNAL_PUT_JOB || c->kind == JOURNAL_SET_JOB)
            job_saved(hv, c, s->versions[i], s->code);
        else if (c->kind == JOURNAL_PUT_MARK)
            mark_saved(hv, c, s->code);
        else if (c->kind == JOURNAL_PUT_HYPERVISOR && s->code < 0)
            hv->row_dirty = true;
    }
    if (s->code < 0) {
        hv->save_now = false;
        save_soon(hv, AGAIN_MS);
    }
    save_free(s);
    run_kick(hv); /* a destroy may have waited for its droplet to be closed */
    fence_step(hv);
}
