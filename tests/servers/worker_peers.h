/* tests/servers/worker_peers.h: all that a worker talks to beside the database, in the test's
 * hands: a broker without a network, a scheduler and two routers of region nyc3 over mutual TLS.
 * Threads: the test's. */
#pragma once

#include "harpoon/event.h"
#include "lib/rpc/rpc.h"
#include "proto/router.pb-c.h"
#include "proto/scheduler.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the broker ---- */
/* Gives the worker a message as if from `queue`; returns its tag. */
uint64_t broker_deliver(const char *queue, const void *body, size_t size);
bool broker_acked(uint64_t tag);
bool broker_rejected(uint64_t tag);
bool broker_is_paused(void);
void broker_set_idle(bool idle);

/* ---- the scheduler ---- */
void scheduler_start(const struct rpc_tls *tls);
void scheduler_stop(void);
const char *scheduler_address(void); /* the same after each start */
/* What Place answers from now on. */
void scheduler_places(Harpoon__Scheduler__V1__Placement__Outcome outcome, uint64_t hypervisor,
                      unsigned dark_permille);
void scheduler_refuses_lists(bool refuse); /* Place of more than one item is ERR_INVALID */
size_t scheduler_placed(uint64_t event, unsigned attempt); /* how often it was asked */
size_t scheduler_excluded(uint64_t event);                 /* exclusions of its last request */
/* How often this was released: (event, attempt), or with event 0 every claim of the droplet. */
size_t scheduler_released(uint64_t event, unsigned attempt, uint64_t droplet);

/* ---- the routers ---- */
#define ROUTERS 2
void router_start(size_t router, const struct rpc_tls *tls);
void router_stop(size_t router);
const char *router_address(size_t router);
/* What Deliver answers for a hypervisor; `router` ROUTERS: both. NOT_CONNECTED is the default. */
void router_answers(size_t router, uint64_t hypervisor, Harpoon__Router__V1__Outcome outcome,
                    const struct uuid *journal, bool closed, const char *reason);
size_t router_delivered(uint64_t event, unsigned attempt); /* jobs, at both routers */
size_t router_begun(uint64_t event, unsigned attempt, const struct uuid *journal);
size_t router_forgotten(uint64_t event, unsigned attempt, const struct uuid *journal);
/* The last job delivered; the texts stay until the next one. */
struct router_job {
    uint64_t event, droplet;
    unsigned attempt;
    Harpoon__Job__V1__Kind kind;
    char installation[64], uuid[64], name[64];
};
struct router_job router_last_job(void);

/* Forgets everything that was seen and set. */
void peers_forget(void);
