#include "harpoon/api/schedulers.h"

#include "lib/clock.h"
#include "lib/macros.h"

#include <stdlib.h>

enum { CALL_MS = 5000 };
#define SERVICE (&harpoon__scheduler__v1__scheduler__descriptor)

struct schedulers {
    struct rpc_pool *pool;
};

int schedulers_new(const char *addresses, const struct rpc_tls *tls, struct schedulers **ret,
                   struct error *err)
{
    struct schedulers *s = calloc(1, sizeof *s);

    if (s == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    int r = rpc_pool_new(addresses, tls, &s->pool, err);
    if (r < 0) {
        free(s);
        return error_in(err, "schedulers");
    }
    *ret = s;
    return 0;
}

struct schedulers *schedulers_free(struct schedulers *s)
{
    if (s != NULL)
        rpc_pool_free(s->pool);
    free(s);
    return NULL;
}

/* ---- who leads ---- */
static const char *leader_of(const Harpoon__Scheduler__V1__Leader *leader)
{
    bool elsewhere = leader != NULL && leader->elsewhere;

    return elsewhere && leader->address[0] != 0 ? leader->address : NULL;
}

static const char *status_redirect(const ProtobufCMessage *out)
{
    return leader_of(((const Harpoon__Scheduler__V1__SetStatusReply *)out)->leader);
}

static const char *list_redirect(const ProtobufCMessage *out)
{
    return leader_of(((const Harpoon__Scheduler__V1__ListHypervisorsReply *)out)->leader);
}

static const char *release_redirect(const ProtobufCMessage *out)
{
    return leader_of(((const Harpoon__Scheduler__V1__ReleaseReply *)out)->leader);
}

/* Frees `out` when nobody who leads has answered. */
static int check_leader(const Harpoon__Scheduler__V1__Leader *leader, const char *region,
                        ProtobufCMessage *out, struct error *err)
{
    if (leader == NULL || !leader->elsewhere)
        return 0;
    protobuf_c_message_free_unpacked(out, NULL);
    return error_set(err, ERR_UNAVAILABLE, "no scheduler leads region %s now", region);
}

/* ---- calls ---- */
int schedulers_set_status(struct schedulers *s, const char *region, const uint64_t *ids,
                          size_t count, bool all_new,
                          Harpoon__Scheduler__V1__HypervisorStatus status,
                          Harpoon__Scheduler__V1__SetStatusReply **ret, struct error *err)
{
    Harpoon__Scheduler__V1__SetStatusRequest in = HARPOON__SCHEDULER__V1__SET_STATUS_REQUEST__INIT;
    ProtobufCMessage *out = NULL;

    in.region = (char *)(uintptr_t)region; /* only read, as the ids are */
    in.n_hypervisor_ids = count;
    in.hypervisor_ids = (uint64_t *)(uintptr_t)ids;
    in.all_new = all_new;
    in.status = status;
    int r = rpc_pool_call(s->pool, SERVICE, "SetStatus", &in.base, mono_ms() + CALL_MS,
                          status_redirect, &out, err);
    if (r == 0)
        r = check_leader(((Harpoon__Scheduler__V1__SetStatusReply *)out)->leader, region, out, err);
    if (r == 0)
        *ret = (Harpoon__Scheduler__V1__SetStatusReply *)out;
    return r;
}

int schedulers_list(struct schedulers *s, const char *region, uint64_t after, uint32_t limit,
                    Harpoon__Scheduler__V1__ListHypervisorsReply **ret, struct error *err)
{
    Harpoon__Scheduler__V1__ListHypervisorsRequest in =
        HARPOON__SCHEDULER__V1__LIST_HYPERVISORS_REQUEST__INIT;
    ProtobufCMessage *out = NULL;

    in.region = (char *)(uintptr_t)region;
    in.after_id = after;
    in.limit = limit;
    int r = rpc_pool_call(s->pool, SERVICE, "ListHypervisors", &in.base, mono_ms() + CALL_MS,
                          list_redirect, &out, err);
    if (r == 0)
        r = check_leader(((Harpoon__Scheduler__V1__ListHypervisorsReply *)out)->leader, region, out,
                         err);
    if (r == 0)
        *ret = (Harpoon__Scheduler__V1__ListHypervisorsReply *)out;
    return r;
}

static void fill_release(const struct event_item *from, Harpoon__Scheduler__V1__ReleaseItem *ret)
{
    *ret = (Harpoon__Scheduler__V1__ReleaseItem)HARPOON__SCHEDULER__V1__RELEASE_ITEM__INIT;
    ret->droplet_id = from->row.droplet.v;
    if (from->release != RELEASE_ATTEMPT)
        return; /* every claim of the droplet */
    ret->event_id = from->id.v;
    ret->attempt = from->row.attempt;
}

int schedulers_release(struct schedulers *s, const char *region, const struct event_item *items,
                       size_t count, struct error *err)
{
    Harpoon__Scheduler__V1__ReleaseRequest in = HARPOON__SCHEDULER__V1__RELEASE_REQUEST__INIT;
    Harpoon__Scheduler__V1__ReleaseItem *releases = calloc(count + 1, sizeof *releases);
    Harpoon__Scheduler__V1__ReleaseItem **list = calloc(count + 1, sizeof *list);
    ProtobufCMessage *out = NULL;
    int r = releases != NULL && list != NULL ? 0 : error_set(err, ERR_INTERNAL, "out of memory");

    for (size_t i = 0; i < count && r == 0; i++) {
        if (items[i].outcome != OUTCOME_RELEASE_FIRST)
            continue;
        fill_release(&items[i], &releases[in.n_items]);
        list[in.n_items] = &releases[in.n_items];
        in.n_items++;
    }
    in.items = list;
    in.region = (char *)(uintptr_t)region;
    if (r == 0 && in.n_items > 0)
        r = rpc_pool_call(s->pool, SERVICE, "Release", &in.base, mono_ms() + CALL_MS,
                          release_redirect, &out, err);
    if (r == 0 && out != NULL)
        r = check_leader(((Harpoon__Scheduler__V1__ReleaseReply *)out)->leader, region, out, err);
    if (r == 0 && out != NULL)
        protobuf_c_message_free_unpacked(out, NULL);
    free(releases);
    free(list);
    return r;
}
