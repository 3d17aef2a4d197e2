/* A Harpoon, a scheduler, routers and agents in one process, over real sockets. */
#pragma once

#include "eventrouter/router.h"
#include "proto/agent.pb-c.h"
#include "proto/harpoon.pb-c.h"
#include "proto/router.pb-c.h"
#include "proto/scheduler.pb-c.h"

#include <pthread.h>

#define ROUTER    (&harpoon__router__v1__router__descriptor)
#define JOURNAL   "11111111-2222-4333-8444-555555555555"
#define JOURNAL_2 "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

enum { WAIT_MS = 20000, HYPERVISORS = 64, ROUTERS = 4 };

/* What the scheduler was told last of a hypervisor. */
struct known {
    unsigned told; /* times it was named */
    bool attached, compared;
    uint64_t session;
    unsigned samples; /* in all */
    uint32_t cpu_permille, vcpus;
};

struct world {
    char harpoon_address[64], scheduler_address[64], router_addresses[ROUTERS][64];
    char peers[ROUTERS * 64];
    int router_count;
    struct rpc_server *harpoon, *scheduler;
    struct rpc_service harpoon_service, scheduler_service;
    struct eventrouter_config configs[ROUTERS];
    struct router routers[ROUTERS];
    bool running[ROUTERS];
    struct rpc_client *worker; /* Harpoon's client to the first router */

    pthread_mutex_t lock; /* guards what follows, and what agents have received */
    pthread_cond_t changed;
    unsigned attaches, confirms, reports, observes;
    uint64_t fenced_hypervisor; /* Attach answers it so */
    uint64_t odd_event;         /* a request with it is refused as a whole */
    unsigned largest_report;    /* items of one request */
    struct known known[HYPERVISORS];
};

/* Once for all tests of the program. */
int world_library_init(void **state);
int world_library_fini(void **state);

/* Starts Harpoon, the scheduler and `routers` routers of nyc3 (the first `run` of them run). */
void world_start(struct world *w, int routers, int run, int64_t sample_interval_ms);
void world_stop(struct world *w);
void world_stop_router(struct world *w, int router);
void world_start_harpoon(struct world *w);
void world_stop_harpoon(struct world *w);
void world_start_scheduler(struct world *w);
void world_stop_scheduler(struct world *w);
/* Until `fn` says so, with the lock held; fails the test after WAIT_MS. */
void world_wait(struct world *w, bool (*fn)(void *ctx), void *ctx);
void world_set(struct world *w, uint64_t *field, uint64_t value);
const struct rpc_tls *world_role(const char *role);

/* ---- agents ---- */

struct agent {
    struct world *w;
    struct rpc_client *client;
    struct rpc_client_stream *stream;
    uint64_t hypervisor_id;
    bool accepts; /* jobs, as soon as they come */

    /* guarded by the world's lock */
    unsigned attached, jobs, starts, drops, confirmed, reported, drains, closed;
    Harpoon__Agent__V1__Attached__Verdict verdict;
    char address[64]; /* of a redirect or a drain */
    char installation[64];
    uint64_t last_start, last_drop;
    Harpoon__Job__V1__Answer last_confirmed, last_reported;
    Harpoon__Job__V1__Result last_result;
    struct error end;
};

void agent_open(struct agent *a, struct world *w, int router, const char *region,
                uint64_t hypervisor);
void agent_close(struct agent *a); /* and waits for its end */
void agent_attach(struct agent *a, const char *journal, uint64_t session);
/* Opens, attaches and waits for the verdict. */
void agent_join(struct agent *a, struct world *w, uint64_t hypervisor, uint64_t session);
void agent_sample(struct agent *a, uint32_t cpu_permille);
void agent_confirm(struct agent *a, uint64_t event);
void agent_report(struct agent *a, uint64_t event, Harpoon__Job__V1__Result result);
void agent_send(struct agent *a, const Harpoon__Agent__V1__FromAgent *m);
/* Until *counter is at least `least`. */
void agent_wait(struct agent *a, const unsigned *counter, unsigned least);

unsigned agent_count(struct agent *a, const unsigned *counter); /* as it is now */

/* ---- the worker ---- */

/* Delivers job i+1 to hypervisors[i]. The caller frees it. */
Harpoon__Router__V1__DeliverReply *worker_deliver(struct world *w, const uint64_t *hypervisors,
                                                  size_t count, int timeout_ms);
/* Begin or Forget of one event; whether it was sent. */
bool worker_refs(struct world *w, const char *method, uint64_t hypervisor, const char *journal,
                 uint64_t event);
