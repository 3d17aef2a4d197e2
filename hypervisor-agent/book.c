#include "hypervisor-agent/book.h"

#include "hypervisor-agent/owner.h"

#include <assert.h>
#include <stdlib.h>

struct job *book_find(const struct book *b, event_id event)
{
    struct map_node *n = map_find(&b->jobs, event.v);

    return n != NULL ? OWNER_OF(n, struct job, node) : NULL;
}

struct droplet *book_find_droplet(const struct book *b, droplet_id droplet)
{
    struct map_node *n = map_find(&b->droplets, droplet.v);

    return n != NULL ? OWNER_OF(n, struct droplet, node) : NULL;
}

struct droplet *book_droplet(struct book *b, droplet_id droplet)
{
    struct droplet *d = book_find_droplet(b, droplet);
    struct error err;

    if (d != NULL)
        return d;
    d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->node.key = droplet.v;
    if (map_put(&b->droplets, &d->node, &err) < 0) {
        free(d);
        return NULL;
    }
    return d;
}

void book_tidy_droplet(struct book *b, struct droplet *d)
{
    if (d->jobs != NULL || d->mark != MARK_NONE || d->op != NULL || d->dirty)
        return;
    map_remove(&b->droplets, &d->node);
    free(d);
}

/* ---- the lists ---- */

static void list_add(struct book_list *l, struct job *job)
{
    job->next = NULL;
    job->previous = l->last;
    if (l->last != NULL)
        l->last->next = job;
    else
        l->first = job;
    l->last = job;
    l->count++;
}

static void list_remove(struct book_list *l, struct job *job)
{
    if (job->previous != NULL)
        job->previous->next = job->next;
    else
        l->first = job->next;
    if (job->next != NULL)
        job->next->previous = job->previous;
    else
        l->last = job->previous;
    l->count--;
}

static bool is_creating(const struct job *job)
{
    return job->state == JOB_BEGUN && job->kind == JOB_CREATE;
}

static bool is_ended(enum job_state state, enum job_ack ack)
{
    return (state == JOB_SUCCEEDED || state == JOB_CLOSED) && ack == JOB_ACKNOWLEDGED;
}

struct job *book_add(struct book *b, event_id event, struct droplet *droplet)
{
    struct job *job = calloc(1, sizeof *job);
    struct error err;

    if (job == NULL)
        return NULL;
    job->node.key = event.v;
    if (map_put(&b->jobs, &job->node, &err) < 0) {
        free(job);
        return NULL;
    }
    job->droplet = droplet;
    job->sibling = droplet->jobs;
    droplet->jobs = job;
    list_add(&b->open, job);
    b->states[JOB_NONE]++;
    return job;
}

void book_move(struct book *b, struct job *job, enum job_state state, enum job_ack ack)
{
    bool ended = is_ended(state, ack);

    b->states[job->state]--;
    b->states[state]++;
    b->orphans += (size_t)(ack == JOB_ORPHAN) - (size_t)(job->ack == JOB_ORPHAN);
    b->creates -= is_creating(job);
    job->state = state;
    job->ack = ack;
    b->creates += is_creating(job);
    if (ended == job->in_ended)
        return;
    list_remove(ended ? &b->open : &b->ended, job);
    list_add(ended ? &b->ended : &b->open, job);
    job->in_ended = ended;
}

static void job_free(struct job *job)
{
    free(job->reason);
    free(job->detail);
    free(job->bytes);
    free(job);
}

void book_remove(struct book *b, struct job *job)
{
    struct droplet *d = job->droplet;
    struct job **at = &d->jobs;

    assert(job->op == NULL && !job->queued && !job->dirty);
    while (*at != job)
        at = &(*at)->sibling;
    *at = job->sibling;
    list_remove(job->in_ended ? &b->ended : &b->open, job);
    map_remove(&b->jobs, &job->node);
    b->states[job->state]--;
    b->orphans -= job->ack == JOB_ORPHAN;
    b->creates -= is_creating(job);
    job_free(job);
    book_tidy_droplet(b, d);
}

void book_fini(struct book *b)
{
    struct map_cursor c = {0};

    for (struct map_node *n; (n = map_next(&b->jobs, &c)) != NULL;)
        job_free(OWNER_OF(n, struct job, node));
    c = (struct map_cursor){0};
    for (struct map_node *n; (n = map_next(&b->droplets, &c)) != NULL;)
        free(OWNER_OF(n, struct droplet, node));
    map_fini(&b->jobs);
    map_fini(&b->droplets);
}

/* ---- questions ---- */

bool book_others_closed(const struct droplet *d, const struct job *except)
{
    for (const struct job *job = d->jobs; job != NULL; job = job->sibling) {
        if (job == except || job->kind == JOB_DESTROY)
            continue;
        if (job->state != JOB_CLOSED || !job_is_durable(job))
            return false;
    }
    return true;
}

bool book_is_being_destroyed(const struct droplet *d)
{
    for (const struct job *job = d->jobs; job != NULL; job = job->sibling)
        if (job->kind == JOB_DESTROY && job->state == JOB_BEGUN)
            return true;
    return false;
}

static bool is_counted(const struct job *job)
{
    return job->ack != JOB_ORPHAN;
}

uint64_t book_digest(const struct book *b)
{
    uint64_t digest = 0;

    for (const struct job *job = b->open.first; job != NULL; job = job->next)
        if (is_counted(job))
            digest += map_mix(map_mix(map_mix(job->node.key) + job->attempt) + job->state);
    return digest;
}

uint32_t book_open_count(const struct book *b)
{
    return (uint32_t)(b->open.count - b->orphans);
}
