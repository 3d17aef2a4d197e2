#include "hypervisor-agent/link.h"

#include "hypervisor-agent/hypervisor.h"
#include "hypervisor-agent/metrics.h"
#include "hypervisor-agent/owner.h"
#include "hypervisor-agent/session.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/rpc/rpc.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_QUEUED_OUT = 256, /* messages on the stream */
    MAX_INBOUND = 4096,   /* messages of a link that wait for the loop */
};
#define MAX_INBOUND_BYTES ((size_t)256 << 20) /* of the process */

struct link {
    struct hypervisor *hv;
    struct rpc_client *client;
    struct rpc_client_stream *stream;
    bool cut;            /* the loop's: its session has another */
    atomic_uint inbound; /* messages that wait for the loop */
    atomic_bool overflown;
    struct loop_event overflow, closed;
    struct error why; /* of closed */
};

struct inbound {
    struct loop_event event;
    struct link *link;
    Harpoon__Agent__V1__ToAgent *message;
    size_t size;
};

/* ---- on the loop ---- */

static void link_free(struct link *l)
{
    struct agent *a = l->hv->agent;

    rpc_client_stream_free(l->stream);
    rpc_client_free(l->client);
    free(l);
    LOCK_SCOPE(&a->links_lock);
    a->links--;
    pthread_cond_signal(&a->links_gone);
}

static void run_inbound(struct loop_event *e)
{
    struct inbound *in = OWNER_OF(e, struct inbound, event);
    struct link *l = in->link;

    atomic_fetch_sub(&l->inbound, 1);
    atomic_fetch_sub(&l->hv->agent->inbound_bytes, in->size);
    if (!l->cut)
        session_on_message(l->hv, in->message);
    harpoon__agent__v1__to_agent__free_unpacked(in->message, NULL);
    free(in);
}

static void run_closed(struct loop_event *e)
{
    struct link *l = OWNER_OF(e, struct link, closed);

    if (!l->cut)
        session_on_close(l->hv, &l->why);
    link_free(l);
}

static void run_overflow(struct loop_event *e)
{
    struct link *l = OWNER_OF(e, struct link, overflow);

    metric_add(M_OVERFLOWS, 1, NULL);
    log_warn("more came in than can be handled: the stream is cut", F_HYPERVISOR(l->hv->id.v));
    if (!l->cut)
        session_renew(l->hv, 0);
}

/* ---- on the library's threads ---- */

/* The message is the library's: a copy of it goes to the loop. */
static struct inbound *inbound_new(struct link *l, const ProtobufCMessage *in)
{
    size_t size = protobuf_c_message_get_packed_size(in);
    uint8_t *bytes = malloc(size ? size : 1);
    struct inbound *ret = calloc(1, sizeof *ret);

    if (bytes != NULL && ret != NULL) {
        protobuf_c_message_pack(in, bytes);
        ret->message = harpoon__agent__v1__to_agent__unpack(NULL, size, bytes);
    }
    free(bytes);
    if (ret == NULL || ret->message == NULL) {
        free(ret);
        return NULL;
    }
    ret->event.run = run_inbound;
    ret->link = l;
    ret->size = size;
    return ret;
}

static void on_message(void *ctx, const ProtobufCMessage *in)
{
    struct link *l = ctx;
    struct agent *a = l->hv->agent;
    struct inbound *one = NULL;

    if (atomic_load(&l->overflown))
        return;
    if (atomic_load(&l->inbound) < MAX_INBOUND &&
        atomic_load(&a->inbound_bytes) < MAX_INBOUND_BYTES)
        one = inbound_new(l, in);
    if (one == NULL) {
        /* Not one message is left out of a stream that goes on: attaching anew tells all again. */
        atomic_store(&l->overflown, true);
        loop_post(a->loop, &l->overflow);
        return;
    }
    atomic_fetch_add(&l->inbound, 1);
    atomic_fetch_add(&a->inbound_bytes, one->size);
    loop_post(a->loop, &one->event);
}

static void on_close(void *ctx, const struct error *err)
{
    struct link *l = ctx;

    l->why = *err;
    loop_post(l->hv->agent->loop, &l->closed);
}

/* ---- the session's side ---- */

static int open_client(struct link *l, const char *address, struct error *err)
{
    const struct agent_config *config = l->hv->agent->setup->config;
    char *certificate = agent_format_path(config->tls_certificate, l->hv->id);
    char *key = agent_format_path(config->tls_key, l->hv->id);
    struct rpc_tls tls = {.ca = config->tls_ca, .certificate = certificate, .key = key};
    int r = certificate != NULL && key != NULL ? rpc_client_new(address, &tls, &l->client, err)
                                               : error_set(err, ERR_INTERNAL, "out of memory");

    free(certificate);
    free(key);
    return r;
}

int link_open(struct hypervisor *hv, const char *address, struct link **ret, struct error *err)
{
    struct agent *a = hv->agent;
    struct link *l = calloc(1, sizeof *l);

    if (l == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    l->hv = hv;
    l->overflow.run = run_overflow;
    l->closed.run = run_closed;
    pthread_mutex_lock(&a->links_lock);
    a->links++;
    pthread_mutex_unlock(&a->links_lock);
    struct rpc_client_stream_callbacks callbacks = {on_message, on_close, l};
    int r = open_client(l, address, err);
    if (r == 0)
        r = rpc_client_stream_open(l->client, &harpoon__agent__v1__agent_gateway__descriptor,
                                   "Session", &callbacks, MAX_QUEUED_OUT, &l->stream, err);
    if (r < 0) {
        link_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

int link_send(struct link *l, const Harpoon__Agent__V1__FromAgent *message, struct error *err)
{
    return rpc_client_stream_send(l->stream, &message->base, err);
}

void link_cut(struct link *l)
{
    l->cut = true;
    rpc_client_stream_cancel(l->stream);
}
