#include "scheduler/load.h"

#include "lib/log.h"
#include "scheduler/store/claims.h"
#include "scheduler/store/hypervisors.h"

AUTO_DEFINE(fleet_free, struct fleet *)

struct filling {
    const char *region;
    struct fleet *fleet;
    struct claim last; /* the last of its page */
    hypervisor_id last_hypervisor;
    size_t lost; /* hypervisors that claims name and that have no row */
};

static void on_hypervisor(void *ctx, const struct hypervisor *h)
{
    struct filling *load = ctx;

    fleet_add(load->fleet, h);
    load->last_hypervisor = h->id;
}

static void on_claim(void *ctx, const struct claim *claim)
{
    struct filling *load = ctx;

    if (fleet_find(load->fleet, claim->hypervisor) == FLEET_NONE) {
        /* Rows of hypervisors are never deleted, so this was a human. Keep the claim. */
        struct hypervisor lost = {.id = claim->hypervisor, .status = HYPERVISOR_DRAINED};
        if (load->lost++ == 0)
            log_error("claim on a hypervisor that has no row", F_REGION(load->region),
                      F_EVENT(claim->event.v), F_HYPERVISOR(claim->hypervisor.v));
        fleet_add(load->fleet, &lost);
    }
    fleet_load_claim(load->fleet, claim);
    load->last = *claim;
}

int load_fleet(struct sql *db, const char *region, uint32_t max_creates,
               int (*between)(void *ctx, struct error *err), void *ctx, struct fleet **ret,
               struct error *err)
{
    AUTO(fleet_free) struct fleet *fleet = fleet_new(max_creates);
    struct filling load = {.region = region, .fleet = fleet};
    int r;

    while ((r = stored_hypervisors_load(db, region, load.last_hypervisor, on_hypervisor, &load,
                                        err)) > 0) {
        r = between(ctx, err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    while ((r = stored_claims_load(db, region, load.last.event, load.last.attempt, on_claim, &load,
                                   err)) > 0) {
        r = between(ctx, err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    if (load.lost > 1)
        log_error("more hypervisors have no row", F_REGION(region), F_U64("count", load.lost));
    *ret = fleet;
    fleet = NULL;
    return 0;
}
