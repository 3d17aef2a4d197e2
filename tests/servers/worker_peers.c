#include "tests/servers/worker_peers.h"

#include "lib/amqp/amqp.h"
#include "lib/clock.h"
#include "lib/macros.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEEN_MAX = 4000, ANSWERS_MAX = 64, TAGS_MAX = 4000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Everything below is guarded by lock. */
enum seen_kind { SEEN_PLACE, SEEN_RELEASE, SEEN_DELIVER, SEEN_BEGIN, SEEN_FORGET };
static struct seen {
    enum seen_kind kind;
    uint64_t event, droplet;
    unsigned attempt;
    char journal[UUID_TEXT];
    size_t excluded;
} seen[SEEN_MAX];
static size_t seen_count;
static struct router_job last_job;

static void see_locked(struct seen what)
{
    if (seen_count < SEEN_MAX)
        seen[seen_count++] = what;
}

static size_t count_seen(enum seen_kind kind, uint64_t event, unsigned attempt, uint64_t droplet,
                         const struct uuid *journal)
{
    char text[UUID_TEXT] = "";
    size_t n = 0;

    if (journal != NULL)
        uuid_format(journal, text);
    LOCK_SCOPE(&lock);
    for (size_t i = 0; i < seen_count; i++)
        n += seen[i].kind == kind && seen[i].event == event && seen[i].attempt == attempt &&
             (droplet == 0 || seen[i].droplet == droplet) &&
             (journal == NULL || strcmp(seen[i].journal, text) == 0);
    return n;
}

/* ---- the broker: the consumer's functions, without a connection ---- */

struct amqp_consumer {
    struct amqp_consumer_options options;
};
static struct amqp_consumer *consumer;
static bool acked[TAGS_MAX], rejected[TAGS_MAX], paused, idle;
static uint64_t last_tag;

int amqp_consumer_start(const struct amqp_consumer_options *options, struct amqp_consumer **ret,
                        struct error *err)
{
    UNUSED(err);
    consumer = calloc(1, sizeof *consumer);
    consumer->options = *options;
    *ret = consumer;
    return 0;
}

struct amqp_consumer *amqp_consumer_stop(struct amqp_consumer *c)
{
    free(c);
    return NULL;
}

static void set_tag(bool *tags, uint64_t tag)
{
    LOCK_SCOPE(&lock);

    tags[tag] = true;
}

void amqp_consumer_ack(struct amqp_consumer *c, uint64_t tag)
{
    UNUSED(c);
    set_tag(acked, tag);
}

void amqp_consumer_reject(struct amqp_consumer *c, uint64_t tag)
{
    UNUSED(c);
    set_tag(rejected, tag);
}

static void set_flag(bool *flag, bool value)
{
    LOCK_SCOPE(&lock);

    *flag = value;
}

static bool get_flag(const bool *flag)
{
    LOCK_SCOPE(&lock);

    return *flag;
}

void amqp_consumer_pause(struct amqp_consumer *c)
{
    UNUSED(c);
    set_flag(&paused, true);
}

void amqp_consumer_resume(struct amqp_consumer *c)
{
    UNUSED(c);
    set_flag(&paused, false);
}

void amqp_consumer_stats_get(struct amqp_consumer *c, struct amqp_consumer_stats *ret)
{
    UNUSED(c);
    *ret = (struct amqp_consumer_stats){.connected = true, .consuming = !get_flag(&paused)};
}

int64_t amqp_consumer_idle_since(struct amqp_consumer *c, size_t index)
{
    UNUSED(c);
    UNUSED(index);
    return get_flag(&idle) ? mono_ms() - 5000 : 0;
}

uint64_t broker_deliver(const char *queue, const void *body, size_t size)
{
    struct amqp_delivery d = {.queue = queue, .body = body, .size = size};

    pthread_mutex_lock(&lock);
    d.tag = ++last_tag;
    pthread_mutex_unlock(&lock);
    assert_true(d.tag < TAGS_MAX);
    consumer->options.on_message(consumer->options.ctx, &d);
    return d.tag;
}

bool broker_acked(uint64_t tag)
{
    return get_flag(&acked[tag]);
}

bool broker_rejected(uint64_t tag)
{
    return get_flag(&rejected[tag]);
}

bool broker_is_paused(void)
{
    return get_flag(&paused);
}

void broker_set_idle(bool value)
{
    set_flag(&idle, value);
}

/* ---- servers that keep their address ---- */

struct peer {
    struct rpc_server *server;
    struct rpc_service service;
    char address[32];
};

static void peer_start(struct peer *p, const struct rpc_tls *tls, const struct rpc_method *methods,
                       size_t method_count, const ProtobufCServiceDescriptor *descriptor)
{
    struct error err;
    struct rpc_server_options options = {.tls = *tls, .services = &p->service, .service_count = 1};

    if (p->address[0] == 0)
        strcpy(p->address, "127.0.0.1:0");
    p->service = (struct rpc_service){.descriptor = descriptor,
                                      .methods = methods,
                                      .method_count = method_count,
                                      .ctx = p};
    options.address = p->address;
    if (rpc_server_start(&options, &p->server, &err) < 0)
        fail_msg("%s", err.message);
    (void)snprintf(p->address, sizeof p->address, "127.0.0.1:%d", rpc_server_port(p->server));
}

static void peer_stop(struct peer *p)
{
    p->server = rpc_server_stop(p->server, 100);
}

/* ---- the scheduler ---- */

static struct peer scheduler;
static Harpoon__Scheduler__V1__Placement__Outcome place_outcome;
static uint64_t place_hypervisor;
static unsigned place_dark;
static bool place_alone; /* lists are refused */

static void on_place(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Harpoon__Scheduler__V1__PlaceRequest *in = (const void *)message;
    Harpoon__Scheduler__V1__PlaceReply reply = HARPOON__SCHEDULER__V1__PLACE_REPLY__INIT;
    Harpoon__Scheduler__V1__Placement *placements = calloc(in->n_items, sizeof *placements);
    Harpoon__Scheduler__V1__Placement **list = calloc(in->n_items, sizeof(void *));

    UNUSED(ctx);
    pthread_mutex_lock(&lock);
    if (place_alone && in->n_items > 1) {
        struct error err;
        pthread_mutex_unlock(&lock);
        (void)error_set(&err, ERR_INVALID, "one of them is not well formed");
        rpc_fail(call, &err);
        free(placements);
        free(list);
        return;
    }
    for (size_t i = 0; i < in->n_items; i++) {
        const Harpoon__Scheduler__V1__PlaceItem *item = in->items[i];
        placements[i] = (Harpoon__Scheduler__V1__Placement)HARPOON__SCHEDULER__V1__PLACEMENT__INIT;
        placements[i].outcome = place_outcome;
        placements[i].hypervisor_id = place_hypervisor;
        list[i] = &placements[i];
        see_locked((struct seen){.kind = SEEN_PLACE,
                                 .event = item->event_id,
                                 .attempt = item->attempt,
                                 .droplet = item->droplet_id,
                                 .excluded = item->n_excluded_hypervisor_ids});
    }
    reply.region_dark_permille = place_dark;
    pthread_mutex_unlock(&lock);
    reply.n_placements = in->n_items;
    reply.placements = list;
    rpc_reply(call, &reply.base);
    free(placements);
    free(list);
}

static void on_release(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Harpoon__Scheduler__V1__ReleaseRequest *in = (const void *)message;
    Harpoon__Scheduler__V1__ReleaseReply reply = HARPOON__SCHEDULER__V1__RELEASE_REPLY__INIT;

    UNUSED(ctx);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < in->n_items; i++)
        see_locked((struct seen){.kind = SEEN_RELEASE,
                                 .event = in->items[i]->event_id,
                                 .attempt = in->items[i]->attempt,
                                 .droplet = in->items[i]->droplet_id});
    pthread_mutex_unlock(&lock);
    rpc_reply(call, &reply.base);
}

void scheduler_start(const struct rpc_tls *tls)
{
    static const struct rpc_method methods[] = {
        {.name = "Place", .allow = RPC_ROLE_HARPOON, .unary = on_place},
        {.name = "Release", .allow = RPC_ROLE_HARPOON, .unary = on_release},
    };

    peer_start(&scheduler, tls, methods, ARRAY_LEN(methods),
               &harpoon__scheduler__v1__scheduler__descriptor);
}

void scheduler_stop(void)
{
    peer_stop(&scheduler);
}

const char *scheduler_address(void)
{
    return scheduler.address;
}

void scheduler_places(Harpoon__Scheduler__V1__Placement__Outcome outcome, uint64_t hypervisor,
                      unsigned dark_permille)
{
    LOCK_SCOPE(&lock);

    place_outcome = outcome;
    place_hypervisor = hypervisor;
    place_dark = dark_permille;
}

void scheduler_refuses_lists(bool refuse)
{
    LOCK_SCOPE(&lock);

    place_alone = refuse;
}

size_t scheduler_placed(uint64_t event, unsigned attempt)
{
    return count_seen(SEEN_PLACE, event, attempt, 0, NULL);
}

size_t scheduler_excluded(uint64_t event)
{
    size_t n = 0;

    LOCK_SCOPE(&lock);
    for (size_t i = 0; i < seen_count; i++)
        if (seen[i].kind == SEEN_PLACE && seen[i].event == event)
            n = seen[i].excluded;
    return n;
}

size_t scheduler_released(uint64_t event, unsigned attempt, uint64_t droplet)
{
    return count_seen(SEEN_RELEASE, event, attempt, droplet, NULL);
}

/* ---- the routers ---- */

static struct peer routers[ROUTERS];
static struct {
    size_t router;
    uint64_t hypervisor;
    Harpoon__Router__V1__Outcome outcome;
    char journal[UUID_TEXT], reason[64];
    bool closed;
} answers[ANSWERS_MAX];
static size_t answer_count;

void router_answers(size_t router, uint64_t hypervisor, Harpoon__Router__V1__Outcome outcome,
                    const struct uuid *journal, bool closed, const char *reason)
{
    LOCK_SCOPE(&lock);

    assert_true(answer_count < ANSWERS_MAX);
    answers[answer_count].router = router;
    answers[answer_count].hypervisor = hypervisor;
    answers[answer_count].outcome = outcome;
    answers[answer_count].closed = closed;
    uuid_format(journal, answers[answer_count].journal);
    (void)snprintf(answers[answer_count].reason, sizeof answers[answer_count].reason, "%s", reason);
    answer_count++;
}

/* What was set last for it. */
static void answer_locked(size_t router, const Harpoon__Router__V1__Target *target,
                          Harpoon__Router__V1__Delivered *ret)
{
    *ret = (Harpoon__Router__V1__Delivered)HARPOON__ROUTER__V1__DELIVERED__INIT;
    ret->hypervisor_id = target->hypervisor_id;
    ret->outcome = HARPOON__ROUTER__V1__OUTCOME__OUTCOME_NOT_CONNECTED;
    for (size_t i = 0; i < answer_count; i++) {
        if (answers[i].hypervisor != target->hypervisor_id ||
            (answers[i].router != router && answers[i].router != ROUTERS))
            continue;
        ret->outcome = answers[i].outcome;
        ret->journal_id = answers[i].journal;
        ret->closed = answers[i].closed;
        ret->reason = answers[i].reason;
    }
}

static void note_job_locked(const Harpoon__Job__V1__Job *job)
{
    last_job = (struct router_job){.event = job->event_id,
                                   .droplet = job->droplet_id,
                                   .attempt = job->attempt,
                                   .kind = job->kind};
    (void)snprintf(last_job.installation, sizeof last_job.installation, "%s", job->installation_id);
    (void)snprintf(last_job.uuid, sizeof last_job.uuid, "%s", job->droplet_uuid);
    (void)snprintf(last_job.name, sizeof last_job.name, "%s",
                   job->spec != NULL ? job->spec->name : "");
}

static void on_deliver(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Harpoon__Router__V1__DeliverRequest *in = (const void *)message;
    size_t router = (size_t)((struct peer *)ctx - routers);
    Harpoon__Router__V1__DeliverReply reply = HARPOON__ROUTER__V1__DELIVER_REPLY__INIT;
    Harpoon__Router__V1__Delivered *delivered = calloc(in->n_targets, sizeof *delivered);
    Harpoon__Router__V1__Delivered **list = calloc(in->n_targets, sizeof(void *));

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < in->n_targets; i++) {
        const Harpoon__Job__V1__Job *job = in->targets[i]->job;
        answer_locked(router, in->targets[i], &delivered[i]);
        list[i] = &delivered[i];
        see_locked((struct seen){.kind = SEEN_DELIVER,
                                 .event = job->event_id,
                                 .attempt = job->attempt,
                                 .droplet = job->droplet_id});
        note_job_locked(job);
    }
    reply.n_delivered = in->n_targets;
    reply.delivered = list;
    rpc_reply(call, &reply.base);
    pthread_mutex_unlock(&lock);
    free(delivered);
    free(list);
}

static void take_refs(struct rpc_call *call, const ProtobufCMessage *message, enum seen_kind kind)
{
    const Harpoon__Router__V1__RefsRequest *in = (const void *)message;
    Harpoon__Router__V1__RefsReply reply = HARPOON__ROUTER__V1__REFS_REPLY__INIT;
    Harpoon__Router__V1__RefSent *sent = calloc(in->n_targets, sizeof *sent);
    Harpoon__Router__V1__RefSent **list = calloc(in->n_targets, sizeof(void *));

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < in->n_targets; i++) {
        const Harpoon__Router__V1__RefTarget *target = in->targets[i];
        struct seen s = {.kind = kind,
                         .event = target->ref->event_id,
                         .attempt = target->ref->attempt};
        (void)snprintf(s.journal, sizeof s.journal, "%s", target->journal_id);
        see_locked(s);
        sent[i] = (Harpoon__Router__V1__RefSent)HARPOON__ROUTER__V1__REF_SENT__INIT;
        sent[i].sent = true;
        list[i] = &sent[i];
    }
    pthread_mutex_unlock(&lock);
    reply.n_results = in->n_targets;
    reply.results = list;
    rpc_reply(call, &reply.base);
    free(sent);
    free(list);
}

static void on_begin(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    UNUSED(ctx);
    take_refs(call, in, SEEN_BEGIN);
}

static void on_forget(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    UNUSED(ctx);
    take_refs(call, in, SEEN_FORGET);
}

void router_start(size_t router, const struct rpc_tls *tls)
{
    static const struct rpc_method methods[] = {
        {.name = "Deliver", .allow = RPC_ROLE_HARPOON, .unary = on_deliver},
        {.name = "Begin", .allow = RPC_ROLE_HARPOON, .unary = on_begin},
        {.name = "Forget", .allow = RPC_ROLE_HARPOON, .unary = on_forget},
    };

    peer_start(&routers[router], tls, methods, ARRAY_LEN(methods),
               &harpoon__router__v1__router__descriptor);
}

void router_stop(size_t router)
{
    peer_stop(&routers[router]);
}

const char *router_address(size_t router)
{
    return routers[router].address;
}

size_t router_delivered(uint64_t event, unsigned attempt)
{
    return count_seen(SEEN_DELIVER, event, attempt, 0, NULL);
}

size_t router_begun(uint64_t event, unsigned attempt, const struct uuid *journal)
{
    return count_seen(SEEN_BEGIN, event, attempt, 0, journal);
}

size_t router_forgotten(uint64_t event, unsigned attempt, const struct uuid *journal)
{
    return count_seen(SEEN_FORGET, event, attempt, 0, journal);
}

struct router_job router_last_job(void)
{
    LOCK_SCOPE(&lock);

    return last_job;
}

void peers_forget(void)
{
    LOCK_SCOPE(&lock);

    seen_count = answer_count = 0;
    idle = false;
    place_outcome = HARPOON__SCHEDULER__V1__PLACEMENT__OUTCOME__OUTCOME_PLACED;
    place_hypervisor = 7;
    place_dark = 0;
    place_alone = false;
}
