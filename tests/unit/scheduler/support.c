#include "tests/unit/scheduler/support.h"

uint64_t dice_roll(struct dice *d)
{
    d->state ^= d->state << 13;
    d->state ^= d->state >> 7;
    d->state ^= d->state << 17;
    return d->state;
}

uint32_t dice_below(struct dice *d, uint32_t below)
{
    return (uint32_t)((dice_roll(d) >> 11) % below);
}

size_t fleet_with(struct fleet *f, uint64_t id, struct resources capacity)
{
    struct hypervisor h = {.id = {id}, .status = HYPERVISOR_UP, .capacity = capacity};
    size_t row = fleet_add(f, &h);

    fleet_set_session(f, row, true, true);
    return row;
}

struct placement place(struct fleet *f, uint64_t event, uint32_t attempt, struct resources size)
{
    struct place_request request = {.event = {event},
                                    .attempt = attempt,
                                    .droplet = {event + 1000000},
                                    .choose = {.size = size}};
    struct changes changes = {0};
    struct placement placement;

    fleet_place(f, &request, 1, &changes, &placement);
    changes_fini(&changes);
    return placement;
}

struct claim claim_of(uint64_t event, uint32_t attempt, uint64_t droplet, uint64_t hypervisor)
{
    return (struct claim){.event = {event},
                          .attempt = attempt,
                          .droplet = {droplet},
                          .hypervisor = {hypervisor},
                          .size = SIZE(1, 1, 1)};
}
