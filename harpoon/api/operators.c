/* harpoon/api/operators.c: serves the operators' Admin service, beside the public API. */
#include "harpoon/api/admin.h"
#include "harpoon/api/internal.h"
#include "lib/log.h"
#include "lib/rpc/rpc.h"

#include <stdlib.h>

#define GRACE_MS 8000 /* more than a call to a scheduler and one to the database take */

struct operators {
    struct rpc_tls tls;
    struct admin *admin;
    struct rpc_server *server;
};

static void wake_sweeper(void *ctx)
{
    struct api *api = ctx;

    if (api->swept)
        sweeper_wake(api->sweeper);
}

static void on_call(void *ctx, const char *method, const char *outcome)
{
    UNUSED(ctx);
    metric_add(M_OPERATOR_CALLS, 1, method, outcome, NULL);
}

static void on_denied(void *ctx, const struct rpc_peer *peer, const char *method, const char *why)
{
    UNUSED(ctx);
    log_warn("call refused", F_PEER(peer->name), F_STR("method", method), F_STR("error", why));
}

static int check_config(const struct harpoon_config *c, struct error *err)
{
    const struct {
        const char *option, *value;
    } needed[] = {
        {"tls-ca", c->tls_ca},
        {"tls-certificate", c->tls_certificate},
        {"tls-key", c->tls_key},
        {"schedulers", c->schedulers},
    };

    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (needed[i].value == NULL)
            return error_set(err, ERR_INVALID, "--listen needs --%s too", needed[i].option);
    return 0;
}

static int start_admin(struct api *api, struct operators *o, struct error *err)
{
    const struct admin_options options = {
        .mysql = &api->mysql,
        .event_ids = api->event_ids,
        .addresses = api->addresses,
        .create_deadline_ms = api->config->create_deadline_s * 1000,
        .schedulers = api->config->schedulers,
        .tls = &o->tls,
        .wake = wake_sweeper,
        .on_call = on_call,
        .ctx = api,
    };

    return admin_start(&options, &o->admin, err);
}

static int start_server(struct api *api, struct operators *o, struct error *err)
{
    const struct rpc_server_options options = {
        .address = api->config->listen,
        .tls = o->tls,
        .services = admin_service(o->admin),
        .service_count = 1,
        .on_denied = on_denied,
    };

    return rpc_server_start(&options, &o->server, err);
}

int operators_start(struct api *api, struct error *err)
{
    const struct harpoon_config *c = api->config;

    if (c->listen == NULL)
        return 0;
    int r = check_config(c, err);
    if (r < 0)
        return r;
    struct operators *o = calloc(1, sizeof *o);
    if (o == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    api->operators = o;
    o->tls = (struct rpc_tls){c->tls_ca, c->tls_certificate, c->tls_key};
    rpc_library_init();
    r = start_admin(api, o, err);
    if (r == 0)
        r = start_server(api, o, err);
    return r;
}

void operators_stop(struct api *api)
{
    struct operators *o = api->operators;

    if (o == NULL)
        return;
    if (o->admin != NULL)
        admin_set_stopping(o->admin);
    rpc_server_stop(o->server, GRACE_MS);
    admin_stop(o->admin);
    rpc_library_fini();
    free(o);
    api->operators = NULL;
}
