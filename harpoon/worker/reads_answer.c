#include <stdatomic.h>

#include "harpoon/worker/metrics.h"
#include "harpoon/worker/reads_internal.h"
#include "lib/log.h"
#include "lib/macros.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Items of several calls whose rows are read together. */
struct ref {
    struct read_task *task;
    size_t item, part; /* part: of an attach, which domain */
};

struct chunk {
    uint64_t ids[CHUNK];
    struct ref refs[CHUNK];
    struct event_record records[CHUNK];
    struct droplet_place places[CHUNK];
    size_t count;
};

struct chunk *chunk_new(void)
{
    return calloc(1, sizeof(struct chunk));
}

void chunk_free(struct chunk *c)
{
    free(c);
}

/* What is to be done with a chunk that is full, or the last one. */
typedef void (*chunk_fn)(struct reads *r);

static void add(struct reads *r, uint64_t id, struct ref ref, chunk_fn flush)
{
    struct chunk *c = r->chunk;

    c->ids[c->count] = id;
    c->refs[c->count++] = ref;
    if (c->count == CHUNK)
        flush(r);
}

static void fail_task(struct read_task *t, const struct error *err)
{
    t->result = err->code;
    t->err = *err;
}

static void fail_chunk(struct reads *r, const struct error *err)
{
    for (size_t i = 0; i < r->chunk->count; i++)
        fail_task(r->chunk->refs[i].task, err);
    r->chunk->count = 0;
}

static void no_memory(struct read_task *t)
{
    struct error err;

    error_set(&err, ERR_INTERNAL, "out of memory");
    fail_task(t, &err);
}

/* ---- Confirm ---- */

static enum event_answer answer_confirm(const Harpoon__Internal__V1__ConfirmItem *item,
                                        const struct event *row)
{
    struct uuid journal = {0};
    struct error err;

    if (uuid_parse(item->journal_id, &journal, &err) < 0)
        return ANSWER_WAIT; /* no row names it */
    return event_confirm(row->id.v != 0 ? row : NULL, item->ref->attempt,
                         (hypervisor_id){item->hypervisor_id}, &journal);
}

static void confirm_chunk(struct reads *r)
{
    struct chunk *c = r->chunk;
    struct error err;

    if (events_read(r->db, c->ids, c->count, false, c->records, &err) < 0) {
        fail_chunk(r, &err);
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        struct ref ref = c->refs[i];
        Harpoon__Job__V1__Answer *ret = &ref.task->answers[ref.item];
        switch (answer_confirm(ref.task->in.confirm->items[ref.item], &c->records[i].row)) {
        case ANSWER_START:
            *ret = HARPOON__JOB__V1__ANSWER__ANSWER_START;
            metric_add(M_CONFIRMS, 1, "start", NULL);
            break;
        case ANSWER_DROP:
            *ret = HARPOON__JOB__V1__ANSWER__ANSWER_DROP;
            metric_add(M_CONFIRMS, 1, "drop", NULL);
            break;
        case ANSWER_STORED:
        case ANSWER_DISCARD:
        case ANSWER_UNKNOWN:
        case ANSWER_WAIT:
            *ret = HARPOON__JOB__V1__ANSWER__ANSWER_WAIT;
            metric_add(M_CONFIRMS, 1, "wait", NULL);
            break;
        }
    }
    c->count = 0;
}

static void reply_confirm(struct read_task *t)
{
    Harpoon__Internal__V1__ConfirmReply reply = HARPOON__INTERNAL__V1__CONFIRM_REPLY__INIT;

    reply.n_answers = t->in.confirm->n_items;
    reply.answers = t->answers;
    rpc_reply(t->call, &reply.base);
}

void reads_answer_confirms(struct reads *r, struct read_task **tasks, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        struct read_task *t = tasks[k];
        size_t n = t->in.confirm->n_items;
        t->answers = calloc(n + 1, sizeof *t->answers);
        if (t->answers == NULL)
            no_memory(t);
        for (size_t i = 0; i < n && t->answers != NULL; i++) {
            t->answers[i] = HARPOON__JOB__V1__ANSWER__ANSWER_WAIT;
            if (t->in.confirm->items[i]->ref != NULL)
                add(r, t->in.confirm->items[i]->ref->event_id, (struct ref){t, i, 0},
                    confirm_chunk);
        }
    }
    confirm_chunk(r);
    for (size_t k = 0; k < count; k++)
        if (tasks[k]->result < 0)
            rpc_fail(tasks[k]->call, &tasks[k]->err);
        else
            reply_confirm(tasks[k]);
}

/* ---- ClaimsWanted ---- */

static void set_wanted(struct ref ref, bool wanted)
{
    ref.task->wanted[ref.item] = wanted;
    metric_add(M_CLAIMS_ASKED, 1, wanted ? "yes" : "no", NULL);
}

/* Those whose event has no row any more: `left` of them, at the chunk's front. */
static int wanted_by_droplet(struct reads *r, size_t left, struct error *err)
{
    struct chunk *c = r->chunk;

    for (size_t i = 0; i < left; i++)
        c->ids[i] = c->refs[i].task->in.wanted->claims[c->refs[i].item]->droplet_id;
    if (droplets_read_places(r->db, c->ids, left, c->places, err) < 0)
        return err->code;
    for (size_t i = 0; i < left; i++) {
        bool known = c->places[i].droplet.v != 0;
        if (!known)
            log_warn("claim of a droplet without a row", F_DROPLET(c->ids[i]));
        set_wanted(c->refs[i], event_wanted_by_droplet(known, c->places[i].gone));
    }
    return 0;
}

static void wanted_chunk(struct reads *r)
{
    struct chunk *c = r->chunk;
    struct error err;
    size_t left = 0;

    if (events_read(r->db, c->ids, c->count, false, c->records, &err) < 0) {
        fail_chunk(r, &err);
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        struct ref ref = c->refs[i];
        const struct event *row = &c->records[i].row;
        if (row->id.v != 0)
            set_wanted(ref, event_wanted(row, ref.task->in.wanted->claims[ref.item]->attempt));
        else
            c->refs[left++] = ref;
    }
    c->count = left;
    if (wanted_by_droplet(r, left, &err) < 0)
        fail_chunk(r, &err);
    c->count = 0;
}

static void reply_wanted(struct read_task *t)
{
    Harpoon__Internal__V1__ClaimsWantedReply reply =
        HARPOON__INTERNAL__V1__CLAIMS_WANTED_REPLY__INIT;

    reply.n_wanted = t->in.wanted->n_claims;
    reply.wanted = t->wanted;
    rpc_reply(t->call, &reply.base);
}

void reads_answer_wanted(struct reads *r, struct read_task **tasks, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        struct read_task *t = tasks[k];
        size_t n = t->in.wanted->n_claims;
        t->wanted = calloc(n + 1, sizeof *t->wanted);
        if (t->wanted == NULL)
            no_memory(t);
        for (size_t i = 0; i < n && t->wanted != NULL; i++)
            add(r, t->in.wanted->claims[i]->event_id, (struct ref){t, i, 0}, wanted_chunk);
    }
    wanted_chunk(r);
    for (size_t k = 0; k < count; k++)
        if (tasks[k]->result < 0)
            rpc_fail(tasks[k]->call, &tasks[k]->err);
        else
            reply_wanted(tasks[k]);
}

/* ---- Attach ---- */

/* A domain is wanted where its droplet lives, or where its unfinished event works on it. */
static bool is_wanted_there(const struct droplet_place *place, uint64_t hypervisor)
{
    return place->droplet.v != 0 && !place->gone &&
           (place->hypervisor.v == hypervisor || place->event_hypervisor.v == hypervisor);
}

static void attach_chunk(struct reads *r)
{
    struct chunk *c = r->chunk;
    struct error err;

    if (droplets_read_places(r->db, c->ids, c->count, c->places, &err) < 0) {
        fail_chunk(r, &err);
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        struct ref ref = c->refs[i];
        const Harpoon__Internal__V1__AttachItem *item = ref.task->in.attach->items[ref.item];
        Harpoon__Internal__V1__AttachResult *result = &ref.task->attached[ref.item];
        if (is_wanted_there(&c->places[i], item->hypervisor_id))
            continue;
        result->orphans[result->n_orphans++] = item->attach->domains[ref.part];
        metric_add(M_ORPHANS, 1, item->region, NULL);
        log_warn("domain where it is not wanted", F_HYPERVISOR(item->hypervisor_id),
                 F_DROPLET(c->ids[i]), F_EVENT(item->attach->domains[ref.part]->event_id));
    }
    c->count = 0;
}

static void add_attached(struct reads *r, struct read_task *t, size_t i)
{
    const Harpoon__Internal__V1__AttachItem *item = t->in.attach->items[i];
    Harpoon__Internal__V1__AttachResult *result = &t->attached[i];
    struct error err;
    size_t domains = item->attach != NULL ? item->attach->n_domains : 0;

    if (facts_is_fenced(r->facts, (hypervisor_id){item->hypervisor_id})) {
        result->fenced = true;
        if (fences_store_attach(r->db, (hypervisor_id){item->hypervisor_id},
                                item->attach != NULL ? item->attach->jobs_open : 0,
                                (uint32_t)domains, &err) < 0)
            fail_task(t, &err);
    }
    metric_add(M_ATTACHES, 1, item->region, result->fenced ? "yes" : "no", NULL);
    result->compared = true;
    result->orphans = calloc(domains + 1, sizeof(void *));
    if (result->orphans == NULL)
        no_memory(t);
    for (size_t d = 0; d < domains && result->orphans != NULL; d++)
        add(r, item->attach->domains[d]->droplet_id, (struct ref){t, i, d}, attach_chunk);
}

static void make_attached(struct reads *r, struct read_task *t, char *installation)
{
    size_t n = t->in.attach->n_items;

    t->attached = calloc(n + 1, sizeof *t->attached);
    t->attached_list = calloc(n + 1, sizeof(void *));
    if (t->attached == NULL || t->attached_list == NULL) {
        no_memory(t);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        t->attached[i] =
            (Harpoon__Internal__V1__AttachResult)HARPOON__INTERNAL__V1__ATTACH_RESULT__INIT;
        t->attached[i].installation_id = installation;
        t->attached_list[i] = &t->attached[i];
        t->attached_count++;
        add_attached(r, t, i);
    }
}

static void reply_attach(struct read_task *t)
{
    Harpoon__Internal__V1__AttachReply reply = HARPOON__INTERNAL__V1__ATTACH_REPLY__INIT;

    reply.n_results = t->in.attach->n_items;
    reply.results = t->attached_list;
    rpc_reply(t->call, &reply.base);
}

/* A fence must hold from the moment it is stored: here the table itself is asked. */
static int refresh_fences(struct reads *r, char installation[UUID_TEXT], struct error *err)
{
    struct fence_set fences;
    struct uuid uuid;

    if (!facts_installation(r->facts, &uuid))
        return error_set(err, ERR_UNAVAILABLE, "the installation is not known yet");
    uuid_format(&uuid, installation);
    int e = fences_load(r->db, &fences, err);
    if (e == 0)
        facts_set_fences(r->facts, &fences);
    return e;
}

void reads_answer_attaches(struct reads *r, struct read_task **tasks, size_t count)
{
    char installation[UUID_TEXT];
    struct error err;
    int e = refresh_fences(r, installation, &err);

    for (size_t k = 0; k < count; k++)
        if (e < 0)
            fail_task(tasks[k], &err);
        else
            make_attached(r, tasks[k], installation);
    attach_chunk(r);
    for (size_t k = 0; k < count; k++)
        if (tasks[k]->result < 0)
            rpc_fail(tasks[k]->call, &tasks[k]->err);
        else
            reply_attach(tasks[k]);
}
