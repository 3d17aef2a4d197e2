/* The promises, checked after every step: once, no over-commit, released when absent; and at the
 * end: done or explained. */
#include "tests/simulation/world.h"

static bool is_legal(const struct event *before, const struct event *after)
{
    enum event_state from = before->state, to = after->state;
    bool same_attempt = before->attempt == after->attempt;
    bool next_attempt = before->attempt + 1 == after->attempt;

    switch (from) {
    case EVENT_PENDING:
        return (to == EVENT_DISPATCHED && same_attempt) ||
               (to == EVENT_PENDING && (same_attempt || next_attempt)) || to == EVENT_FAILED ||
               to == EVENT_CANCELLED || (to == EVENT_SUCCEEDED && before->type != EVENT_CREATE);
    case EVENT_DISPATCHED:
        return (to == EVENT_RUNNING && same_attempt) || to == EVENT_SUCCEEDED ||
               to == EVENT_FAILED || (to == EVENT_PENDING && next_attempt) ||
               (to == EVENT_DISPATCHED && same_attempt && before->type != EVENT_CREATE);
    case EVENT_RUNNING:
        return to == EVENT_SUCCEEDED || to == EVENT_FAILED || (to == EVENT_PENDING && next_attempt);
    case EVENT_SUCCEEDED:
    case EVENT_FAILED:
    case EVENT_CANCELLED:
        break;
    }
    return false;
}

void check_move(struct world *w, const struct event *before, const struct event *after)
{
    if (!is_legal(before, after))
        world_fail(w, "event %llu moved from %s attempt %u to %s attempt %u",
                   (unsigned long long)after->id.v, event_state_name(before->state),
                   before->attempt, event_state_name(after->state), after->attempt);
    if (!event_is_final(after->state) && after->check_at_ms == 0)
        world_fail(w, "event %llu is unfinished and nobody will look again",
                   (unsigned long long)after->id.v);
    if (after->state == EVENT_FAILED && after->reason == REASON_NONE)
        world_fail(w, "event %llu failed without a reason", (unsigned long long)after->id.v);
}

static const struct claim *claim_of(const struct world *w, const struct domain *d)
{
    struct claim_node *node = claims_find(fleet_claims(w->fleet), (event_id){d->event}, d->attempt);

    return node != NULL ? &node->claim : NULL;
}

static void check_droplet(struct world *w, uint64_t droplet)
{
    unsigned lives = 0;

    for (unsigned h = 1; h <= HOSTS; h++) {
        const struct domain *d = &w->hosts[h].domains[droplet];
        const struct claim *claim;
        if (d->event == 0 || w->hosts[h].fenced)
            continue;
        lives++;
        claim = claim_of(w, d);
        if (claim == NULL || claim->hypervisor.v != h)
            world_fail(w, "droplet %llu lives on host %u without the claim of (%llu, %u)",
                       (unsigned long long)droplet, h, (unsigned long long)d->event, d->attempt);
    }
    if (lives > 1)
        world_fail(w, "droplet %llu has %u virtual machines", (unsigned long long)droplet, lives);
}

void check_step(struct world *w)
{
    for (uint64_t droplet = 1; droplet <= DROPLETS; droplet++)
        check_droplet(w, droplet);
    for (size_t row = 0; row < fleet_size(w->fleet); row++) {
        struct fleet_view view;
        fleet_view_get(w->fleet, row, &view);
        if (!resources_fit(&view.claimed, &view.hypervisor.capacity))
            world_fail(w, "the claims on host %zu exceed its capacity", row + 1);
    }
}

static bool lives_somewhere(const struct world *w, uint64_t droplet)
{
    for (unsigned h = 1; h <= HOSTS; h++)
        if (w->hosts[h].domains[droplet].event != 0)
            return true;
    return false;
}

static void check_claim(void *ctx, const struct claim *claim)
{
    struct world *w = ctx;
    const struct droplet *d = &w->droplets[claim->droplet.v];
    const struct event *row = &w->rows[claim->event.v];

    if (d->gone || row->state != EVENT_SUCCEEDED || row->attempt != claim->attempt)
        world_fail(w, "claim (%llu, %u) of droplet %llu is left and nobody wants it",
                   (unsigned long long)claim->event.v, claim->attempt,
                   (unsigned long long)claim->droplet.v);
}

void check_end(struct world *w)
{
    for (size_t i = 1; i <= w->row_count; i++)
        if (!event_is_final(w->rows[i].state))
            world_fail(w, "event %zu (%s) is stuck: %s, attempt %u, reason %s", i,
                       event_type_name(w->rows[i].type), event_state_name(w->rows[i].state),
                       w->rows[i].attempt, event_reason_name(w->rows[i].reason));
    for (uint64_t droplet = 1; droplet <= DROPLETS; droplet++) {
        const struct droplet *d = &w->droplets[droplet];
        bool should = d->exists && !d->deleted && d->status == DROPLET_ACTIVE;
        if (should && !lives_somewhere(w, droplet) && !d->killed)
            world_fail(w, "droplet %llu is active and lives nowhere", (unsigned long long)droplet);
        if (!should && lives_somewhere(w, droplet))
            world_fail(w, "droplet %llu is gone and still lives", (unsigned long long)droplet);
    }
    claims_each(fleet_claims(w->fleet), check_claim, w);
}
