#include "harpoon/api/admin.h"

#include "harpoon/api/admin_internal.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <stdlib.h>

enum { QUEUED_MAX = 64 };

/* What is too much to look through ends by itself. */
static const char LIMIT_STATEMENTS[] = "SET SESSION max_statement_time = 2";

/* ---- the service's thread ---- */
int admin_events_env(struct admin_call *c, struct events_env *ret, struct error *err)
{
    struct admin *a = c->admin;

    if (!a->installed) {
        int r = installation_read(c->db, &a->installation, err);
        if (r < 0)
            return r;
        a->installed = true;
    }
    *ret = (struct events_env){.installation = &a->installation, .event_ids = a->options.event_ids};
    return 0;
}

void admin_wake(struct admin *a)
{
    if (a->options.wake != NULL)
        a->options.wake(a->options.ctx);
}

int admin_check_stopping(struct admin *a, struct error *err)
{
    return atomic_load(&a->stopping) ? error_set(err, ERR_UNAVAILABLE, "stopping") : 0;
}

static void finish(struct admin_call *c, int result, const struct error *err)
{
    struct admin *a = c->admin;

    if (result < 0) {
        if (result == ERR_INTERNAL)
            log_error("operator's call failed", F_STR("method", c->method->name), F_ERROR(err));
        rpc_fail(c->rpc, err);
    }
    if (a->options.on_call != NULL)
        a->options.on_call(a->options.ctx, c->method->name,
                           result < 0 ? error_info_get(result)->name : "ok");
    free(c);
}

static int run(struct admin_call *c, struct error *err)
{
    if (admin_check_stopping(c->admin, err) < 0)
        return err->code;
    if (rpc_call_deadline_mono_ms(c->rpc) <= mono_ms())
        return error_set(err, ERR_DEADLINE, "it waited too long behind other calls");
    if (sql_exec(c->db, LIMIT_STATEMENTS, NULL, 0, err) < 0)
        return err->code;
    return c->method->run(c, err);
}

/* A connection for as long as there is something to do. */
static void flush(void *ctx, void **items, size_t count)
{
    struct admin *a = ctx;
    struct sql *db = sql_new(a->options.mysql);
    struct error err;

    for (size_t i = 0; i < count; i++) {
        struct admin_call *c = items[i];
        c->db = db;
        int r = db != NULL ? run(c, &err) : error_set(&err, ERR_INTERNAL, "out of memory");
        finish(c, r, &err);
    }
    sql_free(db);
}

static void end_thread(void *ctx)
{
    UNUSED(ctx);
    sql_thread_end();
}

/* ---- from the loop thread ---- */
static void submit(struct admin *a, const struct admin_method *method, struct rpc_call *rpc,
                   const ProtobufCMessage *in)
{
    struct admin_call *c = calloc(1, sizeof *c);
    struct error err;

    if (c == NULL) {
        (void)error_set(&err, ERR_INTERNAL, "out of memory");
        rpc_fail(rpc, &err);
        return;
    }
    *c = (struct admin_call){.admin = a, .method = method, .rpc = rpc, .in = in};
    int r = batcher_submit(a->queue, c, &err);
    if (r < 0)
        finish(c, r, &err);
}

#define METHODS(M)                                                                                 \
    M(ListEvents, admin_list_events_call)                                                          \
    M(ShowEvent, admin_show_event_call)                                                            \
    M(CancelEvent, admin_cancel_event_call)                                                        \
    M(ReplayEvents, admin_replay_events_call)                                                      \
    M(ExplainDroplet, admin_explain_droplet_call)                                                  \
    M(ListQueues, admin_list_queues_call)                                                          \
    M(ListHypervisors, admin_list_hypervisors_call)                                                \
    M(ApproveHypervisors, admin_approve_call)                                                      \
    M(FenceHypervisor, admin_fence_call)                                                           \
    M(UnfenceHypervisor, admin_unfence_call)                                                       \
    M(CreateAccount, admin_create_account_call)                                                    \
    M(ListAccounts, admin_list_accounts_call)                                                      \
    M(CreateToken, admin_create_token_call)                                                        \
    M(ListTokens, admin_list_tokens_call)                                                          \
    M(RevokeToken, admin_revoke_token_call)

#define HANDLER(method_name, function)                                                             \
    static void on_##method_name(void *ctx, struct rpc_call *rpc, const ProtobufCMessage *in)      \
    {                                                                                              \
        static const struct admin_method method = {#method_name, function};                        \
        submit(ctx, &method, rpc, in);                                                             \
    }
METHODS(HANDLER)

#define ROW(method_name, function)                                                                 \
    {.name = #method_name, .allow = RPC_ROLE_OPERATOR, .unary = on_##method_name},
static const struct rpc_method rpc_methods[] = {METHODS(ROW)};

/* ---- start and stop ---- */
static int start_queue(struct admin *a, struct error *err)
{
    const struct batcher_options options = {
        .name = "admin",
        .max_batch = QUEUED_MAX,
        .max_queued = QUEUED_MAX,
        .flush = flush,
        .thread_end = end_thread,
        .ctx = a,
    };

    return batcher_start(&options, &a->queue, err);
}

int admin_start(const struct admin_options *options, struct admin **ret, struct error *err)
{
    struct admin *a = calloc(1, sizeof *a);

    if (a == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    a->options = *options;
    a->service = (struct rpc_service){
        .descriptor = &harpoon__admin__v1__admin__descriptor,
        .methods = rpc_methods,
        .method_count = ARRAY_LEN(rpc_methods),
        .ctx = a,
    };
    int r = schedulers_new(options->schedulers, options->tls, &a->schedulers, err);
    if (r == 0)
        r = start_queue(a, err);
    if (r < 0)
        admin_stop(a);
    else
        *ret = a;
    return r;
}

const struct rpc_service *admin_service(struct admin *a)
{
    return &a->service;
}

void admin_set_stopping(struct admin *a)
{
    atomic_store(&a->stopping, true);
}

struct admin *admin_stop(struct admin *a)
{
    if (a == NULL)
        return NULL;
    admin_set_stopping(a);
    batcher_stop(a->queue);
    schedulers_free(a->schedulers);
    free(a);
    return NULL;
}
