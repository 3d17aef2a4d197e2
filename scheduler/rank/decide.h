/* scheduler/rank/decide.h: claims are taken and released here, in memory, and each change is noted
 * for the commit. Pure. Nothing decided counts before that commit has succeeded. */
#pragma once

#include "scheduler/rank/changes.h"
#include "scheduler/rank/choose.h"

struct place_request {
    event_id event;
    uint32_t attempt; /* from 1 */
    droplet_id droplet;
    struct choose_request choose;
};

enum place_outcome {
    PLACED,
    PLACE_NO_ROOM,
    PLACE_STALE, /* a higher attempt of the event holds a claim */
};

struct placement {
    enum place_outcome outcome;
    hypervisor_id hypervisor; /* of PLACED */
    struct choice choice;     /* of PLACE_NO_ROOM: why */
};

/* Claims for (event, attempt), once: asked again the answer is the same. The event's lower attempts
 * are released, whether or not there is room for this one. `now_unix_ms` is stored in the claim. */
void fleet_place(struct fleet *f, const struct place_request *request, int64_t now_unix_ms,
                 struct changes *changes, struct placement *ret);

/* Releases one claim; gives how many were there (0 or 1). */
size_t fleet_release_claim(struct fleet *f, event_id event, uint32_t attempt,
                           struct changes *changes);
/* Releases every claim of the droplet; gives how many. */
size_t fleet_release_droplet(struct fleet *f, droplet_id droplet, struct changes *changes);
