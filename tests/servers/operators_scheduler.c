#include "tests/servers/operators_scheduler.h"

#include "proto/scheduler.pb-c.h"
#include "tests/servers/operators_fixture.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KNOWN_MAX = 4000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char region[32];
    uint64_t id;
    Harpoon__Scheduler__V1__HypervisorStatus status;
} known[KNOWN_MAX];         /* guarded by lock; ascending in each region */
static size_t known_count;  /* guarded by lock */
static char story[65536];   /* guarded by lock */
static struct sql *look_db; /* the server's thread */
static struct rpc_tls tls;
static struct rpc_server *server;
static char address[32] = "127.0.0.1:0";

static void tell_locked(const char *format, ...) PRINTF(1, 2);
static void tell_locked(const char *format, ...)
{
    size_t len = strlen(story);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(story + len, sizeof story - len, format, args);
    va_end(args);
}

/* ---- SetStatus ---- */
static const char *status_name(Harpoon__Scheduler__V1__HypervisorStatus status)
{
    static const char *const names[] = {"?", "new", "up", "drained", "fenced"};

    return (unsigned)status < ARRAY_LEN(names) ? names[status] : "?";
}

static size_t find_locked(const char *region, uint64_t id)
{
    for (size_t i = 0; i < known_count; i++)
        if (known[i].id == id && strcmp(known[i].region, region) == 0)
            return i;
    return KNOWN_MAX;
}

static void on_set_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    const Harpoon__Scheduler__V1__SetStatusRequest *q = (const void *)in;
    Harpoon__Scheduler__V1__SetStatusReply out = HARPOON__SCHEDULER__V1__SET_STATUS_REPLY__INIT;
    static uint64_t changed[KNOWN_MAX], unknown[KNOWN_MAX];

    UNUSED(ctx);
    pthread_mutex_lock(&lock);
    out.changed_ids = changed;
    out.unknown_ids = unknown;
    for (size_t i = 0; q->all_new && i < known_count; i++) {
        if (known[i].status != HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_NEW ||
            strcmp(known[i].region, q->region) != 0)
            continue;
        known[i].status = q->status;
        changed[out.n_changed_ids++] = known[i].id;
    }
    for (size_t i = 0; i < q->n_hypervisor_ids; i++) {
        size_t k = find_locked(q->region, q->hypervisor_ids[i]);
        if (k == KNOWN_MAX) {
            unknown[out.n_unknown_ids++] = q->hypervisor_ids[i];
            continue;
        }
        tell_locked("status %s %" PRIu64 "; ", status_name(q->status), q->hypervisor_ids[i]);
        if (known[k].status != q->status)
            changed[out.n_changed_ids++] = known[k].id;
        known[k].status = q->status;
    }
    rpc_reply(call, &out.base);
    pthread_mutex_unlock(&lock);
}

/* ---- Release ---- */
static int on_state(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(int *)ctx = (int)sql_row_i64(row, 0);
    return 0;
}

/* The state of the droplet's unfinished event at this moment. */
static const char *state_now(uint64_t droplet)
{
    struct error err;
    int state = 0;

    if (sql_query(look_db,
                  "SELECT e.state FROM droplets d JOIN events e ON e.id = d.event_id"
                  " WHERE d.id = ?",
                  &SQL_U(droplet), 1, on_state, &state, &err) < 0)
        return err.message[0] != 0 ? "unreadable" : "?";
    return event_state_name((enum event_state)state);
}

static void on_release(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    const Harpoon__Scheduler__V1__ReleaseRequest *q = (const void *)in;
    Harpoon__Scheduler__V1__ReleaseReply out = HARPOON__SCHEDULER__V1__RELEASE_REPLY__INIT;

    UNUSED(ctx);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < q->n_items; i++) {
        if (q->items[i]->event_id != 0)
            tell_locked("release %" PRIu64 "/%" PRIu32, q->items[i]->event_id,
                        q->items[i]->attempt);
        else
            tell_locked("release droplet %" PRIu64, q->items[i]->droplet_id);
        tell_locked(" while %s; ", state_now(q->items[i]->droplet_id));
    }
    pthread_mutex_unlock(&lock);
    rpc_reply(call, &out.base);
}

/* ---- ListHypervisors ---- */
static void fill(size_t k, Harpoon__Scheduler__V1__Hypervisor *ret,
                 Harpoon__Scheduler__V1__Resources *capacity)
{
    harpoon__scheduler__v1__hypervisor__init(ret);
    harpoon__scheduler__v1__resources__init(capacity);
    capacity->vcpus = 64;
    capacity->memory_mib = 262144;
    capacity->disk_gib = 4000;
    ret->id = known[k].id;
    ret->region = known[k].region;
    ret->status = known[k].status;
    ret->connected = 1;
    ret->capacity = capacity;
    ret->seen_unix_ms = 1600000000000;
    if (known[k].status == HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_NEW)
        ret->not_placeable_because = (char *)(uintptr_t) "not approved yet";
}

static void on_list(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    const Harpoon__Scheduler__V1__ListHypervisorsRequest *q = (const void *)in;
    Harpoon__Scheduler__V1__ListHypervisorsReply out =
        HARPOON__SCHEDULER__V1__LIST_HYPERVISORS_REPLY__INIT;
    static Harpoon__Scheduler__V1__Hypervisor items[KNOWN_MAX];
    static Harpoon__Scheduler__V1__Resources capacities[KNOWN_MAX];
    static Harpoon__Scheduler__V1__Hypervisor *list[KNOWN_MAX];
    size_t limit = q->limit != 0 ? q->limit : 1000;

    UNUSED(ctx);
    pthread_mutex_lock(&lock);
    for (size_t k = 0; k < known_count && out.n_hypervisors < limit; k++) {
        if (strcmp(known[k].region, q->region) != 0 || known[k].id <= q->after_id)
            continue;
        fill(k, &items[out.n_hypervisors], &capacities[out.n_hypervisors]);
        list[out.n_hypervisors] = &items[out.n_hypervisors];
        out.n_hypervisors++;
    }
    out.hypervisors = list;
    rpc_reply(call, &out.base);
    pthread_mutex_unlock(&lock);
}

/* ---- life ---- */
void scheduler_start(void)
{
    static const struct rpc_method methods[] = {
        {.name = "SetStatus", .allow = RPC_ROLE_HARPOON, .unary = on_set_status},
        {.name = "Release", .allow = RPC_ROLE_HARPOON, .unary = on_release},
        {.name = "ListHypervisors", .allow = RPC_ROLE_HARPOON, .unary = on_list},
    };
    static const struct rpc_service service = {
        .descriptor = &harpoon__scheduler__v1__scheduler__descriptor,
        .methods = methods,
        .method_count = ARRAY_LEN(methods),
    };
    const struct rpc_server_options options = {
        .address = address,
        .tls = tls,
        .services = &service,
        .service_count = 1,
    };
    struct error err;

    if (rpc_server_start(&options, &server, &err) < 0)
        fail_msg("%s", err.message);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", rpc_server_port(server));
}

void scheduler_begin(const struct rpc_tls *with, struct sql *other)
{
    tls = *with;
    look_db = other;
    scheduler_start();
}

void scheduler_stop(void)
{
    server = rpc_server_stop(server, 0);
}

const char *scheduler_address(void)
{
    return address;
}

void scheduler_forget(void)
{
    LOCK_SCOPE(&lock);
    known_count = 0;
    story[0] = 0;
}

const char *scheduler_story(void)
{
    return story;
}

void scheduler_add(const char *region, uint64_t first, uint64_t count)
{
    LOCK_SCOPE(&lock);
    for (uint64_t id = first; id < first + count && known_count < KNOWN_MAX; id++) {
        (void)snprintf(known[known_count].region, sizeof known[known_count].region, "%s", region);
        known[known_count].id = id;
        known[known_count++].status =
            HARPOON__SCHEDULER__V1__HYPERVISOR_STATUS__HYPERVISOR_STATUS_NEW;
    }
}
