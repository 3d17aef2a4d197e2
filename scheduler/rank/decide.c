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
    fleet_choose(f, &request->choose, &ret->choice);
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
