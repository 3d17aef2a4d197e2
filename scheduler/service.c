/* scheduler/service.c: who may call what, and Status. */
#include "lib/clock.h"
#include "lib/memory.h"
#include "scheduler/answer.h"

#include <stdio.h>
#include <stdlib.h>

struct status_message {
    Harpoon__Scheduler__V1__RegionStatus message;
    char leader[ADDRESS_SIZE];
};

static void region_status_get(const struct scheduler *s, struct region *r,
                              struct status_message *ret)
{
    Harpoon__Scheduler__V1__RegionStatus *m = &ret->message;
    struct fleet_counts counts = {0};

    LOCK_SCOPE(&r->lock);
    harpoon__scheduler__v1__region_status__init(m);
    m->leading = region_leads_locked(r, mono_ms());
    if (m->leading)
        fleet_counts_get(r->fleet, &counts);
    snprintf(ret->leader, sizeof(ret->leader), "%s", m->leading ? s->address : r->leader);
    m->region = r->name;
    m->leader_address = ret->leader;
    m->epoch = r->epoch;
    m->hypervisors = (uint32_t)counts.hypervisors;
    m->connected = (uint32_t)liveness_connected(r->liveness);
    m->claims = counts.claims;
    m->decisions_total = r->decisions;
}

void service_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    Harpoon__Scheduler__V1__StatusReply reply = HARPOON__SCHEDULER__V1__STATUS_REPLY__INIT;
    struct scheduler *s = ctx;
    size_t count = s->regions.count;
    struct status_message *messages = must_calloc(count, sizeof(*messages));
    Harpoon__Scheduler__V1__RegionStatus **list = must_calloc(count, sizeof(*list));

    UNUSED(in);
    for (size_t i = 0; i < count; i++) {
        region_status_get(s, &s->regions.list[i], &messages[i]);
        list[i] = &messages[i].message;
    }
    reply.replica = (char *)s->address;
    reply.n_regions = count;
    reply.regions = list;
    rpc_reply(call, &reply.base);
    free(list);
    free(messages);
}

static const struct rpc_method methods[] = {
    {.name = "Place", .allow = RPC_ROLE_HARPOON, .unary = service_place},
    {.name = "Release", .allow = RPC_ROLE_HARPOON, .unary = service_release},
    {.name = "Observe", .allow = RPC_ROLE_EVENTROUTER, .unary = service_observe},
    {.name = "ListHypervisors", .allow = RPC_ROLE_HARPOON, .unary = service_list_hypervisors},
    {.name = "SetStatus", .allow = RPC_ROLE_HARPOON, .unary = service_set_status},
    {.name = "Status", .allow = RPC_ROLE_HARPOON | RPC_ROLE_OPERATOR, .unary = service_status},
};

void service_init(struct scheduler *s, struct rpc_service *ret)
{
    *ret = (struct rpc_service){.descriptor = &harpoon__scheduler__v1__scheduler__descriptor,
                                .methods = methods,
                                .method_count = ARRAY_LEN(methods),
                                .ctx = s};
}
