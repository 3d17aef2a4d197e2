/* harpoon/api/admin_hypervisors.c: ListHypervisors, ApproveHypervisors, FenceHypervisor,
 * UnfenceHypervisor. */
#include "harpoon/api/admin_internal.h"
#include "harpoon/store/admin.h"
#include "lib/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE = 1000,
    LIST_MAX = 100000,
    IDS_MAX = 10000,
    FENCE_BATCH = 500,
    REASON_MAX = 200,
};

#define STATUS(word) HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_##word

static void free_message(void *message)
{
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
}

/* ---- ListHypervisors ---- */
/* The pages of all regions, until they are answered. */
struct pages {
    Harpoon__Scheduler__V1__ListHypervisorsReply **items; /* owned */
    size_t count;
    Harpoon__Scheduler__V1__Hypervisor **list; /* owned; what it points to is in the pages */
    size_t list_count;
};

static void pages_free(struct pages *p)
{
    for (size_t i = 0; i < p->count; i++)
        free_message(p->items[i]);
    free(p->items);
    free(p->list);
}

static int add_page(struct pages *p, Harpoon__Scheduler__V1__ListHypervisorsReply *page,
                    struct error *err)
{
    void *items = realloc(p->items, (p->count + 1) * sizeof *p->items);

    if (items != NULL)
        p->items = items;
    void *list = realloc(p->list, (p->list_count + page->n_hypervisors + 1) * sizeof *p->list);
    if (list != NULL)
        p->list = list;
    if (items == NULL || list == NULL) {
        free_message(page);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    p->items[p->count++] = page;
    for (size_t i = 0; i < page->n_hypervisors; i++)
        p->list[p->list_count++] = page->hypervisors[i];
    return 0;
}

static int add_region(struct admin_call *c, const char *region, struct pages *p, struct error *err)
{
    uint64_t after = 0;
    size_t got = PAGE;

    while (got == PAGE && p->list_count < LIST_MAX) {
        Harpoon__Scheduler__V1__ListHypervisorsReply *page = NULL;
        int r = admin_check_stopping(c->admin, err);
        if (r == 0)
            r = schedulers_list(c->admin->schedulers, region, after, PAGE, &page, err);
        if (r < 0)
            return r;
        got = page->n_hypervisors;
        r = add_page(p, page, err);
        if (r < 0)
            return r;
        if (got > 0)
            after = p->list[p->list_count - 1]->id;
    }
    return 0;
}

int admin_list_hypervisors_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__ListHypervisorsRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__ListHypervisorsReply out = HARPOON__ADMIN__V1__LIST_HYPERVISORS_REPLY__INIT;
    struct admin_region *regions = NULL;
    struct pages p = {0};
    size_t count = 0;
    int r = 0;

    if (in->region[0] != 0)
        r = add_region(c, in->region, &p, err);
    else
        r = admin_list_regions(c->db, &regions, &count, err);
    for (size_t i = 0; i < count && r == 0; i++)
        r = add_region(c, regions[i].slug, &p, err);
    if (r == 0) {
        out.hypervisors = p.list;
        out.n_hypervisors = p.list_count;
        rpc_reply(c->rpc, &out.base);
    }
    pages_free(&p);
    free(regions);
    return r;
}

/* ---- ApproveHypervisors ---- */
/* A fenced one comes back by `unfence` only, which looks at what is missing. */
static int refuse_fenced(struct admin_call *c, const uint64_t *ids, size_t count, struct error *err)
{
    struct fence_set fences;
    int r = fences_load(c->db, &fences, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < count && r == 0; i++)
        if (fences_hold(&fences, (hypervisor_id){ids[i]}))
            r = error_set(err, ERR_CONFLICT, "hypervisor %" PRIu64 " is fenced: unfence it",
                          ids[i]);
    fences_free(&fences);
    return r;
}

int admin_approve_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__HypervisorsRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__HypervisorsReply out = HARPOON__ADMIN__V1__HYPERVISORS_REPLY__INIT;
    Harpoon__Scheduler__V1__SetStatusReply *reply = NULL;

    if (in->region[0] == 0)
        return error_set(err, ERR_INVALID, "a region is expected");
    if (in->n_ids > IDS_MAX)
        return error_set(err, ERR_INVALID, "more than %d hypervisors", IDS_MAX);
    if (in->all_new == (in->n_ids > 0))
        return error_set(err, ERR_INVALID, "either hypervisors or all new ones are expected");
    int r = refuse_fenced(c, in->ids, in->n_ids, err);
    if (r == 0)
        r = schedulers_set_status(c->admin->schedulers, in->region, in->ids, in->n_ids, in->all_new,
                                  STATUS(UP), &reply, err);
    if (r < 0)
        return r;
    if (reply->n_changed_ids > 0)
        log_info("operator approved hypervisors", F_REGION(in->region),
                 F_U64("count", reply->n_changed_ids));
    out.n_changed_ids = reply->n_changed_ids;
    out.changed_ids = reply->changed_ids;
    out.n_unknown_ids = reply->n_unknown_ids;
    out.unknown_ids = reply->unknown_ids;
    rpc_reply(c->rpc, &out.base);
    free_message(reply);
    return 0;
}

/* ---- FenceHypervisor ---- */
static int check_fence(const Harpoon__Admin__V1__FenceRequest *in, struct error *err)
{
    if (in->region[0] == 0 || in->hypervisor_id == 0)
        return error_set(err, ERR_INVALID, "a region and a hypervisor are expected");
    if (in->reason[0] == 0 || strlen(in->reason) > REASON_MAX)
        return error_set(err, ERR_INVALID, "a reason of at most %d bytes is expected", REASON_MAX);
    return 0;
}

/* Asks the scheduler to give a status to one hypervisor. */
static int set_status(struct admin_call *c, const Harpoon__Admin__V1__FenceRequest *in,
                      Harpoon__Scheduler__V1__HypervisorStatus status, struct error *err)
{
    Harpoon__Scheduler__V1__SetStatusReply *reply = NULL;
    int r = schedulers_set_status(c->admin->schedulers, in->region, &in->hypervisor_id, 1, false,
                                  status, &reply, err);

    if (r == 0 && reply->n_unknown_ids > 0)
        r = error_set(err, ERR_NOT_FOUND, "region %s has no hypervisor %" PRIu64, in->region,
                      in->hypervisor_id);
    free_message(reply);
    return r;
}

/* Brings the fence to a batch of events; what must release its claims first does so in between. */
static int fence_batch(struct admin_call *c, const Harpoon__Admin__V1__FenceRequest *in,
                       const struct events_env *env, const uint64_t *ids, size_t count,
                       uint32_t *moved, struct error *err)
{
    struct event_item *items = calloc(count, sizeof *items);
    size_t again = 0;

    if (items == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < count; i++)
        items[i] = (struct event_item){.id = {ids[i]},
                                       .in = {.kind = IN_FENCED,
                                              .hypervisor = {in->hypervisor_id},
                                              .detail = in->reason,
                                              .actor = ADMIN_ACTOR}};
    int r = events_apply(c->db, env, items, count, err);
    if (r == 0)
        r = schedulers_release(c->admin->schedulers, in->region, items, count, err);
    for (size_t i = 0; i < count && r == 0; i++) {
        *moved += items[i].outcome == OUTCOME_MOVED;
        if (items[i].outcome != OUTCOME_RELEASE_FIRST)
            continue;
        items[i].in.attempt = items[i].row.attempt; /* the one that was released */
        items[i].in.released = true;
        items[again++] = items[i];
    }
    if (r == 0)
        r = events_apply(c->db, env, items, again, err);
    for (size_t i = 0; i < again && r == 0; i++)
        *moved += items[i].outcome == OUTCOME_MOVED;
    free(items);
    return r;
}

static int fence_events(struct admin_call *c, const Harpoon__Admin__V1__FenceRequest *in,
                        uint32_t *moved, struct error *err)
{
    uint64_t ids[FENCE_BATCH];
    event_id after = {0};
    struct events_env env;
    int64_t n = FENCE_BATCH;
    int r = admin_events_env(c, &env, err);

    while (r == 0 && n == FENCE_BATCH) {
        if (admin_check_stopping(c->admin, err) < 0)
            return err->code;
        n = admin_find_unfinished_on(c->db, (hypervisor_id){in->hypervisor_id}, after, ids,
                                     FENCE_BATCH, err);
        if (n <= 0)
            return (int)n;
        after.v = ids[n - 1];
        r = fence_batch(c, in, &env, ids, (size_t)n, moved, err);
    }
    return r;
}

/* First no new placements, then the word for all who ask, then what was under way. Each step can be
 * done again: so can the whole. */
int admin_fence_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__FenceRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__FenceReply out = HARPOON__ADMIN__V1__FENCE_REPLY__INIT;
    hypervisor_id hypervisor = {in->hypervisor_id};
    int r = check_fence(in, err);

    if (r == 0 && !in->vouch)
        r = error_set(err, ERR_INVALID,
                      "a fence needs your word that the hypervisor is powered off or wiped");
    if (r == 0)
        r = set_status(c, in, STATUS(FENCED), err);
    if (r == 0)
        r = admin_store_fence(c->db, hypervisor, in->region, ADMIN_ACTOR, in->reason, err);
    if (r >= 0) {
        log_warn("operator fenced a hypervisor", F_HYPERVISOR(hypervisor.v), F_REGION(in->region),
                 F_STR("reason", in->reason));
        r = fence_events(c, in, &out.events_moved, err);
    }
    if (r >= 0) /* what came between is looked at again by the workers, who know the fence by now */
        r = events_touch_hypervisor(c->db, hypervisor, err) < 0 ? err->code : 0;
    admin_wake(c->admin);
    if (r < 0)
        return r;
    out.state = (char *)(uintptr_t) "fenced";
    rpc_reply(c->rpc, &out.base);
    return 0;
}

/* ---- UnfenceHypervisor ---- */
/* Is it the scheduler alone who still holds it fenced: an unfence that broke off between its two
 * steps? */
static int is_half_unfenced(struct admin_call *c, const Harpoon__Admin__V1__FenceRequest *in,
                            struct error *err)
{
    Harpoon__Scheduler__V1__ListHypervisorsReply *page = NULL;
    int r = schedulers_list(c->admin->schedulers, in->region, in->hypervisor_id - 1, 1, &page, err);

    if (r < 0)
        return r;
    if (page->n_hypervisors > 0 && page->hypervisors[0]->id == in->hypervisor_id)
        r = page->hypervisors[0]->status == STATUS(FENCED);
    free_message(page);
    return r;
}

int admin_unfence_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__FenceRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__FenceReply out = HARPOON__ADMIN__V1__FENCE_REPLY__INIT;
    struct error other;
    int r = check_fence(in, err);

    if (r == 0)
        r = admin_lift_fence(c->db, (hypervisor_id){in->hypervisor_id}, err);
    if (r == ERR_NOT_FOUND) {
        int half = is_half_unfenced(c, in, &other);
        if (half < 0)
            *err = other;
        r = half < 0 ? half : half > 0 ? 0 : r;
    }
    if (r == 0)
        r = set_status(c, in, STATUS(UP), err);
    if (r < 0)
        return r;
    log_warn("operator lifted a fence", F_HYPERVISOR(in->hypervisor_id), F_REGION(in->region),
             F_STR("reason", in->reason));
    out.state = (char *)(uintptr_t) "up";
    rpc_reply(c->rpc, &out.base);
    return 0;
}
