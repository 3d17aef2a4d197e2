#include "harpoon/worker/placer.h"

#include "lib/clock.h"
#include "lib/macros.h"
#include "proto/scheduler.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACE_MS   3000
#define RELEASE_MS 3000

#define SERVICE (&harpoon__scheduler__v1__scheduler__descriptor)

struct placer {
    char region[EVENT_REGION];
    struct rpc_pool *pool;
};

int placer_new(const char *region, const char *addresses, const struct rpc_tls *tls,
               struct placer **ret, struct error *err)
{
    struct placer *p = calloc(1, sizeof *p);

    if (p == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    snprintf(p->region, sizeof p->region, "%s", region);
    int r = rpc_pool_new(addresses, tls, &p->pool, err);
    if (r < 0) {
        free(p);
        return error_in(err, "schedulers");
    }
    *ret = p;
    return 0;
}

struct placer *placer_free(struct placer *p)
{
    if (p != NULL) {
        rpc_pool_free(p->pool);
        free(p);
    }
    return NULL;
}

/* ---- who leads ---- */

static const char *leader_of(const Harpoon__Scheduler__V1__Leader *leader)
{
    bool elsewhere = leader != NULL && leader->elsewhere;

    return elsewhere && leader->address[0] != 0 ? leader->address : NULL;
}

static const char *place_redirect(const ProtobufCMessage *out)
{
    return leader_of(((const Harpoon__Scheduler__V1__PlaceReply *)out)->leader);
}

static const char *release_redirect(const ProtobufCMessage *out)
{
    return leader_of(((const Harpoon__Scheduler__V1__ReleaseReply *)out)->leader);
}

static int check_leader(const Harpoon__Scheduler__V1__Leader *leader, struct error *err)
{
    if (leader != NULL && leader->elsewhere)
        return error_set(err, ERR_UNAVAILABLE, "no scheduler leads the region now");
    return 0;
}

/* ---- place ---- */

struct place_item {
    Harpoon__Scheduler__V1__PlaceItem item;
    Harpoon__Scheduler__V1__Resources size;
};

static void fill_item(struct work *w, struct place_item *ret)
{
    const Harpoon__Job__V1__DropletSpec *spec = w->message->params->spec;

    ret->item = (Harpoon__Scheduler__V1__PlaceItem)HARPOON__SCHEDULER__V1__PLACE_ITEM__INIT;
    ret->size = (Harpoon__Scheduler__V1__Resources)HARPOON__SCHEDULER__V1__RESOURCES__INIT;
    ret->size.vcpus = spec->vcpus;
    ret->size.memory_mib = spec->memory_mib;
    ret->size.disk_gib = spec->disk_gib;
    ret->item.event_id = w->row.id.v;
    ret->item.attempt = w->row.attempt;
    ret->item.droplet_id = w->row.droplet.v;
    ret->item.size = &ret->size;
    ret->item.pinned_hypervisor_id = w->message->params->pinned_hypervisor_id;
    ret->item.n_excluded_hypervisor_ids = w->row.excluded_count;
    ret->item.excluded_hypervisor_ids = w->row.excluded;
}

static int take_placements(const Harpoon__Scheduler__V1__PlaceReply *reply, size_t count,
                           struct placement *ret, struct error *err)
{
    if (check_leader(reply->leader, err) < 0)
        return err->code;
    if (reply->n_placements != count)
        return error_set(err, ERR_INTERNAL, "scheduler answered %zu of %zu placements",
                         reply->n_placements, count);
    for (size_t i = 0; i < count; i++) {
        const Harpoon__Scheduler__V1__Placement *p = reply->placements[i];
        memset(&ret[i], 0, sizeof ret[i]);
        switch (p->outcome) {
        case HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_PLACED:
            ret[i].outcome = PLACED;
            ret[i].hypervisor.v = p->hypervisor_id;
            break;
        case HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_STALE:
            ret[i].outcome = PLACE_STALE;
            break;
        case HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_NO_ROOM:
        case HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_UNSPECIFIED:
        case _HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME_IS_INT_SIZE:
            ret[i].outcome = PLACE_NO_ROOM;
            snprintf(ret[i].reason, sizeof ret[i].reason, "%s", p->reason);
            break;
        }
    }
    return 0;
}

int placer_place(struct placer *p, struct work *const *works, size_t count, struct placement *ret,
                 unsigned *ret_dark_permille, struct error *err)
{
    Harpoon__Scheduler__V1__PlaceRequest request = HARPOON__SCHEDULER__V1__PLACE_REQUEST__INIT;
    struct place_item *items = calloc(count, sizeof *items);
    Harpoon__Scheduler__V1__PlaceItem **list = calloc(count, sizeof(void *));
    ProtobufCMessage *reply = NULL;
    int r = ERR_INTERNAL;

    if (items != NULL && list != NULL) {
        for (size_t i = 0; i < count; i++) {
            fill_item(works[i], &items[i]);
            list[i] = &items[i].item;
        }
        request.region = p->region;
        request.n_items = count;
        request.items = list;
        r = rpc_pool_call(p->pool, SERVICE, "Place", &request.base, mono_ms() + PLACE_MS,
                          place_redirect, &reply, err);
    } else {
        error_set(err, ERR_INTERNAL, "out of memory");
    }
    if (r >= 0)
        r = take_placements((Harpoon__Scheduler__V1__PlaceReply *)reply, count, ret, err);
    if (r >= 0)
        *ret_dark_permille = ((Harpoon__Scheduler__V1__PlaceReply *)reply)->region_dark_permille;
    if (reply != NULL)
        protobuf_c_message_free_unpacked(reply, NULL);
    free(items);
    free(list);
    return r < 0 ? error_in(err, "place") : 0;
}

/* ---- release ---- */

int placer_release(struct placer *p, const struct release *releases, size_t count,
                   struct error *err)
{
    Harpoon__Scheduler__V1__ReleaseRequest request = HARPOON__SCHEDULER__V1__RELEASE_REQUEST__INIT;
    Harpoon__Scheduler__V1__ReleaseItem *items = calloc(count, sizeof *items);
    Harpoon__Scheduler__V1__ReleaseItem **list = calloc(count, sizeof(void *));
    ProtobufCMessage *reply = NULL;
    int r = ERR_INTERNAL;

    if (items != NULL && list != NULL) {
        for (size_t i = 0; i < count; i++) {
            items[i] =
                (Harpoon__Scheduler__V1__ReleaseItem)HARPOON__SCHEDULER__V1__RELEASE_ITEM__INIT;
            items[i].event_id = releases[i].event.v;
            items[i].attempt = releases[i].attempt;
            items[i].droplet_id = releases[i].droplet.v;
            list[i] = &items[i];
        }
        request.region = p->region;
        request.n_items = count;
        request.items = list;
        r = rpc_pool_call(p->pool, SERVICE, "Release", &request.base, mono_ms() + RELEASE_MS,
                          release_redirect, &reply, err);
    } else {
        error_set(err, ERR_INTERNAL, "out of memory");
    }
    if (r >= 0)
        r = check_leader(((Harpoon__Scheduler__V1__ReleaseReply *)reply)->leader, err);
    if (reply != NULL)
        protobuf_c_message_free_unpacked(reply, NULL);
    free(items);
    free(list);
    return r < 0 ? error_in(err, "release") : 0;
}
