#include "scheduler/rank/decide.h"

#include "scheduler/rank/rows.h"

static void release(struct fleet *f, struct claim_node *node, struct changes *changes)
{
    changes_add(changes, CHANGE_RELEASE, &node->claim);
    fleet_release(f, node);
}

static void release_lower_attempts(struct fleet *f, const struct place_request *request,
                                   struct changes *changes)
{
    struct claim_node *next;

    for (struct claim_node *n = claims_of_event(f->claims, request->event); n; n = next) {
        next = n->next_of_event;
        if (n->claim.attempt < request->attempt)
            release(f, n, changes);
    }
}

static const struct choice *find_refusal(const struct fleet *f, const struct resources *size)
{
    for (size_t i = 0; f->refusals.revision == f->revision && i < f->refusals.count; i++)
        if (resources_equal(&f->refusals.list[i].size, size))
            return &f->refusals.list[i].choice;
    return NULL;
}

static void remember_refusal(struct fleet *f, const struct resources *size, const struct choice *c)
{
    struct refusals *r = &f->refusals;

    if (r->revision != f->revision)
        r->count = 0;
    r->revision = f->revision;
    if (r->count == REFUSALS)
        return;
    r->list[r->count].size = *size;
    r->list[r->count++].choice = *c;
}

/* As fleet_choose; what was refused to anyone is refused again until some hypervisor changes. */
static void choose(struct fleet *f, const struct choose_request *request, struct choice *ret)
{
    bool anywhere = !request->pinned.v && request->excluded_count == 0;
    const struct choice *refusal = anywhere ? find_refusal(f, &request->size) : NULL;

    if (refusal) {
        *ret = *refusal;
        return;
    }
    fleet_choose(f, request, ret);
    if (anywhere && ret->row == FLEET_NONE)
        remember_refusal(f, &request->size, ret);
}

void fleet_place(struct fleet *f, const struct place_request *request, int64_t now_unix_ms,
                 struct changes *changes, struct placement *ret)
{
    uint32_t highest = claims_highest_attempt(f->claims, request->event);
    struct claim claim = {.event = request->event,
                          .attempt = request->attempt,
                          .droplet = request->droplet,
                          .size = request->choose.size,
                          .at_unix_ms = now_unix_ms};

    *ret = (struct placement){0};
    if (request->attempt < highest) {
        ret->outcome = PLACE_STALE;
        return;
    }
    if (request->attempt == highest) {
        ret->hypervisor = claims_find(f->claims, request->event, highest)->claim.hypervisor;
        return;
    }
    release_lower_attempts(f, request, changes);
    choose(f, &request->choose, &ret->choice);
    if (ret->choice.row == FLEET_NONE) {
        ret->outcome = PLACE_NO_ROOM;
        return;
    }
    claim.hypervisor.v = f->id[ret->choice.row];
    ret->hypervisor = claim.hypervisor;
    fleet_take(f, ret->choice.row, &claim);
    changes_add(changes, CHANGE_TAKE, &claim);
}

size_t fleet_release_claim(struct fleet *f, event_id event, uint32_t attempt,
                           struct changes *changes)
{
    struct claim_node *n = claims_find(f->claims, event, attempt);

    if (!n)
        return 0;
    release(f, n, changes);
    return 1;
}

size_t fleet_release_droplet(struct fleet *f, droplet_id droplet, struct changes *changes)
{
    size_t count = 0;
    struct claim_node *n;

    while ((n = claims_of_droplet(f->claims, droplet))) {
        release(f, n, changes);
        count++;
    }
    return count;
}
