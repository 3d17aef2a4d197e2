#include "harpoon/worker/courier.h"

#include "lib/clock.h"
#include "lib/macros.h"
#include "lib/rendezvous.h"
#include "proto/router.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DELIVER_MS 3000
#define REFS_MS    2000
#define SERVICE    (&harpoon__router__v1__router__descriptor)

struct courier {
    const char *names[REGION_ROUTERS_MAX]; /* borrowed from the region */
    struct rpc_client *clients[REGION_ROUTERS_MAX];
    atomic_bool down[REGION_ROUTERS_MAX]; /* its last call failed */
    size_t count;
};

int courier_new(const struct region_routers *region, const struct rpc_tls *tls,
                struct courier **ret, struct error *err)
{
    struct courier *c = calloc(1, sizeof *c);
    int r = 0;

    if (c == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < region->router_count && r == 0; i++) {
        c->names[i] = region->routers[i];
        r = rpc_client_new(region->routers[i], tls, &c->clients[i], err);
        c->count += r == 0;
    }
    if (r < 0) {
        courier_free(c);
        return error_in(err, "router of %s", region->slug);
    }
    *ret = c;
    return 0;
}

struct courier *courier_free(struct courier *c)
{
    if (c != NULL) {
        for (size_t i = 0; i < c->count; i++)
            rpc_client_free(c->clients[i]);
        free(c);
    }
    return NULL;
}

bool courier_is_away(const struct courier *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (!c->down[i])
            return false;
    return true;
}

static size_t first_of(const struct courier *c, hypervisor_id hypervisor, size_t *ret_second)
{
    return rendezvous_find(hypervisor.v, c->names, c->count, ret_second);
}

/* ---- calls to several routers at a time ---- */

struct round;

struct round_call { /* to one router */
    struct round *round;
    size_t router;
    size_t *members; /* indices of the deliveries or refs it carries */
    size_t count;
};

struct round {
    struct courier *courier;
    struct round_call calls[REGION_ROUTERS_MAX];
    void *subjects; /* struct delivery or struct courier_ref */
    pthread_mutex_t lock;
    pthread_cond_t done;
    size_t open; /* guarded by lock: calls not answered yet */
};

static int round_init(struct round *round, struct courier *c, void *subjects, size_t count)
{
    size_t *members = calloc(REGION_ROUTERS_MAX * (count + 1), sizeof *members);

    memset(round, 0, sizeof *round);
    if (members == NULL)
        return -1;
    round->courier = c;
    round->subjects = subjects;
    for (size_t i = 0; i < REGION_ROUTERS_MAX; i++) {
        round->calls[i].round = round;
        round->calls[i].router = i;
        round->calls[i].members = members + i * count;
    }
    pthread_mutex_init(&round->lock, NULL);
    pthread_cond_init(&round->done, NULL);
    return 0;
}

static void round_fini(struct round *round)
{
    free(round->calls[0].members);
    pthread_cond_destroy(&round->done);
    pthread_mutex_destroy(&round->lock);
}

static void round_add(struct round *round, size_t router, size_t member)
{
    struct round_call *call = &round->calls[router];

    call->members[call->count++] = member;
}

static void round_end_call(struct round_call *call, bool failed)
{
    call->round->courier->down[call->router] = failed;
    LOCK_SCOPE(&call->round->lock);
    if (--call->round->open == 0)
        pthread_cond_signal(&call->round->done);
}

static void round_wait(struct round *round)
{
    LOCK_SCOPE(&round->lock);

    while (round->open > 0)
        pthread_cond_wait(&round->done, &round->lock);
}

/* ---- deliver ---- */

static void take_delivered(const Harpoon__Router__V1__Delivered *from, size_t router,
                           struct delivery *d)
{
    struct error err;

    d->router = router;
    switch (from->outcome) {
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_ACCEPTED:
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_FINISHED:
        d->outcome = DELIVERY_ACCEPTED;
        break;
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_REFUSED:
        d->outcome = DELIVERY_REFUSED;
        break;
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_BUSY:
        d->outcome = DELIVERY_BUSY;
        break;
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_NOT_CONNECTED:
        d->outcome = DELIVERY_NOT_CONNECTED;
        break;
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_NO_ANSWER:
    case HARPOON__ROUTER__V1__OUTCOME__OUTCOME_UNSPECIFIED:
    case _HARPOON__ROUTER__V1__OUTCOME_IS_INT_SIZE:
        d->outcome = DELIVERY_NO_ANSWER;
        break;
    }
    d->closed = d->outcome == DELIVERY_REFUSED && from->closed;
    snprintf(d->reason, sizeof d->reason, "%s", from->reason);
    /* Without the journal's name nothing that depends on it can be stored. */
    if (uuid_parse(from->journal_id, &d->journal, &err) < 0 &&
        (d->outcome == DELIVERY_ACCEPTED || d->closed)) {
        d->outcome = d->closed ? DELIVERY_REFUSED : DELIVERY_NO_ANSWER;
        d->closed = false;
    }
}

static void on_delivered(void *ctx, const ProtobufCMessage *out, const struct error *err)
{
    struct round_call *call = ctx;
    struct delivery *deliveries = call->round->subjects;
    const Harpoon__Router__V1__DeliverReply *reply = (const void *)out;
    bool failed = err->code < 0 || reply == NULL || reply->n_delivered != call->count;

    for (size_t i = 0; i < call->count; i++) {
        struct delivery *d = &deliveries[call->members[i]];
        if (!failed) {
            take_delivered(reply->delivered[i], call->router, d);
        } else if (err->code == ERR_DEADLINE) { /* it may have got through */
            d->outcome = DELIVERY_NO_ANSWER;
            d->router = call->router;
        }
    }
    round_end_call(call, failed && err->code != ERR_DEADLINE);
}

static void send_deliver(struct courier *c, struct round_call *call, int64_t deadline_ms)
{
    struct delivery *deliveries = call->round->subjects;
    Harpoon__Router__V1__DeliverRequest request = HARPOON__ROUTER__V1__DELIVER_REQUEST__INIT;
    Harpoon__Router__V1__Target *targets = calloc(call->count, sizeof *targets);
    Harpoon__Router__V1__Target **list = calloc(call->count, sizeof(void *));

    if (targets == NULL || list == NULL) {
        round_end_call(call, true);
    } else {
        for (size_t i = 0; i < call->count; i++) {
            const struct delivery *d = &deliveries[call->members[i]];
            targets[i] = (Harpoon__Router__V1__Target)HARPOON__ROUTER__V1__TARGET__INIT;
            targets[i].hypervisor_id = d->hypervisor.v;
            targets[i].job = d->job;
            list[i] = &targets[i];
        }
        request.n_targets = call->count;
        request.targets = list;
        rpc_client_call_async(c->clients[call->router], SERVICE, "Deliver", &request.base,
                              deadline_ms, on_delivered, call);
    }
    free(targets);
    free(list);
}

typedef void (*send_fn)(struct courier *c, struct round_call *call, int64_t deadline_ms);

/* Sends every call that carries something and waits for all. */
static void run_round(struct courier *c, struct round *round, send_fn send, int64_t timeout_ms)
{
    int64_t deadline_ms = mono_ms() + timeout_ms;

    for (size_t i = 0; i < c->count; i++)
        round->open += round->calls[i].count > 0;
    for (size_t i = 0; i < c->count; i++)
        if (round->calls[i].count > 0)
            send(c, &round->calls[i], deadline_ms);
    round_wait(round);
}

/* One round: with `second` to the second in line, those that the first did not reach. */
static void deliver_round(struct courier *c, struct delivery *deliveries, size_t count, bool second)
{
    struct round round;
    size_t n = 0;

    if (round_init(&round, c, deliveries, count) < 0)
        return; /* all stay as they are */
    for (size_t i = 0; i < count; i++) {
        struct delivery *d = &deliveries[i];
        size_t next, first = first_of(c, d->hypervisor, &next);
        bool missed = d->outcome == DELIVERY_UNREACHED || d->outcome == DELIVERY_NOT_CONNECTED;
        if (second && (!missed || next == first))
            continue;
        round_add(&round, second ? next : first, i);
        n++;
    }
    if (n > 0)
        run_round(c, &round, send_deliver, DELIVER_MS);
    round_fini(&round);
}

void courier_deliver(struct courier *c, struct delivery *deliveries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        deliveries[i].outcome = DELIVERY_UNREACHED;
    deliver_round(c, deliveries, count, false);
    deliver_round(c, deliveries, count, true);
}

/* ---- begin and forget ---- */

static void on_refs(void *ctx, const ProtobufCMessage *out, const struct error *err)
{
    struct round_call *call = ctx;
    struct courier_ref *refs = call->round->subjects;
    const Harpoon__Router__V1__RefsReply *reply = (const void *)out;
    bool failed = err->code < 0 || reply == NULL || reply->n_results != call->count;

    for (size_t i = 0; i < call->count && !failed; i++)
        refs[call->members[i]].sent = reply->results[i]->sent;
    round_end_call(call, failed && err->code != ERR_DEADLINE);
}

struct ref_target {
    Harpoon__Router__V1__RefTarget target;
    Harpoon__Job__V1__Ref ref;
    char journal[UUID_TEXT];
};

static void fill_target(const struct courier_ref *from, struct ref_target *ret)
{
    ret->target = (Harpoon__Router__V1__RefTarget)HARPOON__ROUTER__V1__REF_TARGET__INIT;
    ret->ref = (Harpoon__Job__V1__Ref)HARPOON__JOB__V1__REF__INIT;
    uuid_format(&from->journal, ret->journal);
    ret->ref.event_id = from->event.v;
    ret->ref.attempt = from->attempt;
    ret->target.hypervisor_id = from->hypervisor.v;
    ret->target.journal_id = ret->journal;
    ret->target.ref = &ret->ref;
}

static void send_refs(struct courier *c, struct round_call *call, const char *method,
                      int64_t deadline_ms)
{
    struct courier_ref *refs = call->round->subjects;
    Harpoon__Router__V1__RefsRequest request = HARPOON__ROUTER__V1__REFS_REQUEST__INIT;
    struct ref_target *targets = calloc(call->count, sizeof *targets);
    Harpoon__Router__V1__RefTarget **list = calloc(call->count, sizeof(void *));

    if (targets == NULL || list == NULL) {
        round_end_call(call, true);
    } else {
        for (size_t i = 0; i < call->count; i++) {
            fill_target(&refs[call->members[i]], &targets[i]);
            list[i] = &targets[i].target;
        }
        request.n_targets = call->count;
        request.targets = list;
        rpc_client_call_async(c->clients[call->router], SERVICE, method, &request.base, deadline_ms,
                              on_refs, call);
    }
    free(targets);
    free(list);
}

static void send_begin(struct courier *c, struct round_call *call, int64_t deadline_ms)
{
    send_refs(c, call, "Begin", deadline_ms);
}

static void send_forget(struct courier *c, struct round_call *call, int64_t deadline_ms)
{
    send_refs(c, call, "Forget", deadline_ms);
}

static void refs_round(struct courier *c, struct courier_ref *refs, size_t count, bool second,
                       send_fn send)
{
    struct round round;
    size_t n = 0;

    if (round_init(&round, c, refs, count) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        size_t next, first = first_of(c, refs[i].hypervisor, &next);
        size_t known = refs[i].router < c->count ? refs[i].router : first;
        if (second && (refs[i].sent || refs[i].router < c->count || next == first))
            continue;
        round_add(&round, second ? next : known, i);
        n++;
    }
    if (n > 0)
        run_round(c, &round, send, REFS_MS);
    round_fini(&round);
}

void courier_begin(struct courier *c, struct courier_ref *refs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        refs[i].sent = false;
    refs_round(c, refs, count, false, send_begin);
    refs_round(c, refs, count, true, send_begin);
}

void courier_forget(struct courier *c, struct courier_ref *refs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        refs[i].sent = false;
    refs_round(c, refs, count, false, send_forget);
    refs_round(c, refs, count, true, send_forget);
}
