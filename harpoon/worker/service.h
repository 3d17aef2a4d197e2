/* harpoon/worker/service.h: the service Harpoon of proto/harpoon.proto: routers and schedulers ask,
 * the batchers answer. Handlers run on loop threads and never block. */
#pragma once

#include "harpoon/worker/reads.h"
#include "harpoon/worker/transitions.h"
#include "lib/error.h"
#include "lib/rpc/rpc.h"

struct service;

struct service_options {
    const char *address;
    struct rpc_tls tls;
    struct reads *reads;             /* borrowed for its life */
    struct transitions *transitions; /* the same */
    int threads;
};
int service_start(const struct service_options *options, struct service **ret,
                  struct error *err) MUST_CHECK;
int service_port(const struct service *s);
/* No new calls; those in progress are answered by the batchers, which must still run. NULL is fine;
 * gives NULL. */
struct service *service_stop(struct service *s, int grace_ms);
