#include "lib/rpc/rpc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MEMBERS   32
#define MAX_REDIRECTS 2

struct member {
    char *address;
    struct rpc_client *client;
};

struct rpc_pool {
    char *ca, *certificate, *key; /* for addresses learnt from a redirect */
    struct rpc_tls tls;
    size_t configured;
    pthread_mutex_t lock; /* guards what follows; members are only ever added */
    struct member members[MAX_MEMBERS];
    size_t count;
    size_t preferred; /* answered last */
};

static int add_locked(struct rpc_pool *p, const char *address, struct error *err)
{
    if (p->count == MAX_MEMBERS)
        return error_set(err, ERR_INVALID, "more than %d addresses", MAX_MEMBERS);
    struct member *m = &p->members[p->count];
    int r = rpc_client_new(address, &p->tls, &m->client, err);
    if (r < 0)
        return r;
    m->address = strdup(address);
    if (!m->address) {
        m->client = rpc_client_free(m->client);
        return error_set(err, ERR_INTERNAL, "no memory");
    }
    return (int)p->count++;
}

static int add_list(struct rpc_pool *p, const char *addresses, struct error *err)
{
    char *copy = strdup(addresses);
    int r = copy ? 0 : error_set(err, ERR_INTERNAL, "no memory");
    char *rest = copy;
    char *one;
    while (r >= 0 && (one = strsep(&rest, ",")) != NULL) {
        one += strspn(one, " ");
        one[strcspn(one, " ")] = '\0';
        if (*one)
            r = add_locked(p, one, err);
    }
    free(copy);
    if (r >= 0 && p->count == 0)
        r = error_set(err, ERR_INVALID, "no address in '%s'", addresses);
    p->configured = p->count;
    return r < 0 ? r : 0;
}

int rpc_pool_new(const char *addresses, const struct rpc_tls *tls, struct rpc_pool **ret,
                 struct error *err)
{
    struct rpc_pool *p = calloc(1, sizeof(*p));
    if (!p)
        return error_set(err, ERR_INTERNAL, "no memory");
    pthread_mutex_init(&p->lock, NULL);
    p->ca = strdup(tls->ca ? tls->ca : "");
    p->certificate = strdup(tls->certificate ? tls->certificate : "");
    p->key = strdup(tls->key ? tls->key : "");
    p->tls = (struct rpc_tls){p->ca, p->certificate, p->key};
    int r = p->ca && p->certificate && p->key ? add_list(p, addresses, err)
                                              : error_set(err, ERR_INTERNAL, "no memory");
    if (r < 0) {
        rpc_pool_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct rpc_pool *rpc_pool_free(struct rpc_pool *p)
{
    if (!p)
        return NULL;
    for (size_t i = 0; i < p->count; i++) {
        rpc_client_free(p->members[i].client);
        free(p->members[i].address);
    }
    free(p->ca);
    free(p->certificate);
    free(p->key);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

static size_t preferred_get(struct rpc_pool *p)
{
    LOCK_SCOPE(&p->lock);
    return p->preferred;
}

/* `to` is asked first from now on, unless another call has moved on from `from` already. */
static void preferred_set(struct rpc_pool *p, size_t from, size_t to)
{
    LOCK_SCOPE(&p->lock);
    if (p->preferred == from)
        p->preferred = to;
}

/* The member for `address`; a new one if there is room. */
static int member_find(struct rpc_pool *p, const char *address, struct error *err)
{
    LOCK_SCOPE(&p->lock);
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->members[i].address, address) == 0)
            return (int)i;
    return add_locked(p, address, err);
}

struct question { /* the arguments of one rpc_pool_call */
    const ProtobufCServiceDescriptor *service;
    const char *method;
    const ProtobufCMessage *in;
    int64_t deadline_mono_ms;
    rpc_redirect_fn redirect;
};

/* Asks `at` and follows where it points. The index of who gave the final answer. */
static int ask(struct rpc_pool *p, const struct question *q, size_t at, ProtobufCMessage **ret,
               struct error *err)
{
    for (int hop = 0;; hop++) {
        ProtobufCMessage *out;
        int r = rpc_client_call(p->members[at].client, q->service, q->method, q->in,
                                q->deadline_mono_ms, &out, err);
        if (r < 0)
            return error_in(err, "%s of %s", q->method, p->members[at].address);
        const char *to = q->redirect && hop < MAX_REDIRECTS ? q->redirect(out) : NULL;
        if (!to || strcmp(to, p->members[at].address) == 0) {
            *ret = out;
            return (int)at;
        }
        int next = member_find(p, to, err);
        protobuf_c_message_free_unpacked(out, NULL);
        if (next < 0)
            return next;
        at = (size_t)next;
    }
}

int rpc_pool_call(struct rpc_pool *p, const ProtobufCServiceDescriptor *service, const char *method,
                  const ProtobufCMessage *in, int64_t deadline_mono_ms, rpc_redirect_fn redirect,
                  ProtobufCMessage **ret, struct error *err)
{
    const struct question q = {service, method, in, deadline_mono_ms, redirect};
    size_t first = preferred_get(p);
    int r = ask(p, &q, first, ret, err);
    /* Then each address of the list, in turn. */
    for (size_t i = 0; r == ERR_UNAVAILABLE && i < p->configured; i++) {
        size_t at = (first + 1 + i) % p->configured;
        if (at != first)
            r = ask(p, &q, at, ret, err);
    }
    if (r >= 0)
        preferred_set(p, first, (size_t)r);
    else if (r == ERR_DEADLINE)
        preferred_set(p, first, (first + 1) % p->configured); /* it may be hung */
    return r < 0 ? r : 0;
}
