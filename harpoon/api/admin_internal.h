/* harpoon/api/admin_internal.h: what the files of the Admin service share. */
#pragma once

#include "harpoon/api/admin.h"
#include "harpoon/api/schedulers.h"
#include "harpoon/store/events.h"
#include "lib/batcher.h"
#include "lib/uuid.h"
#include "proto/admin.pb-c.h"

#include <stdatomic.h>
#include <stdbool.h>

#define ADMIN_ACTOR "operator"

/* One call on the service's thread. */
struct admin_call {
    struct admin *admin;
    const struct admin_method *method;
    struct rpc_call *rpc; /* answered by whoever handles it */
    const ProtobufCMessage *in;
    struct sql *db;
};

/* A handler answers with rpc_reply and gives 0, or gives a negative code with *err set. */
struct admin_method {
    const char *name;
    int (*run)(struct admin_call *c, struct error *err);
};

struct admin {
    struct admin_options options;
    struct schedulers *schedulers;
    struct batcher *queue; /* struct admin_call */
    struct rpc_service service;
    _Atomic bool stopping;
    bool installed; /* the service's thread only, as is `installation` */
    struct uuid installation;
};

/* The environment of transitions. ERR_UNAVAILABLE: the database. */
int admin_events_env(struct admin_call *c, struct events_env *ret, struct error *err) MUST_CHECK;
void admin_wake(struct admin *a);
/* For what takes many steps, before each: ERR_UNAVAILABLE when stopping. */
int admin_check_stopping(struct admin *a, struct error *err) MUST_CHECK;

/* ---- the handlers ---- */
int admin_list_events_call(struct admin_call *c, struct error *err);
int admin_show_event_call(struct admin_call *c, struct error *err);
int admin_cancel_event_call(struct admin_call *c, struct error *err);
int admin_replay_events_call(struct admin_call *c, struct error *err);
int admin_explain_droplet_call(struct admin_call *c, struct error *err);
int admin_list_queues_call(struct admin_call *c, struct error *err);
int admin_list_hypervisors_call(struct admin_call *c, struct error *err);
int admin_approve_call(struct admin_call *c, struct error *err);
int admin_fence_call(struct admin_call *c, struct error *err);
int admin_unfence_call(struct admin_call *c, struct error *err);
int admin_create_account_call(struct admin_call *c, struct error *err);
int admin_list_accounts_call(struct admin_call *c, struct error *err);
int admin_create_token_call(struct admin_call *c, struct error *err);
int admin_list_tokens_call(struct admin_call *c, struct error *err);
int admin_revoke_token_call(struct admin_call *c, struct error *err);
