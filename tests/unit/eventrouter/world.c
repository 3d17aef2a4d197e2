#include "world.h"

#include "eventrouter/metrics.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "tests/support/certificates.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct certificates *certificates;

int world_library_init(void **state)
{
    UNUSED(state);
    static struct router none; /* gauges are not scraped here */
    log_open("test", LOG_ERROR);
    eventrouter_metrics_init(&none);
    rpc_library_init();
    certificates = certificates_new();
    return 0;
}

int world_library_fini(void **state)
{
    UNUSED(state);
    certificates = certificates_free(certificates);
    rpc_library_fini();
    return 0;
}

const struct rpc_tls *world_role(const char *role)
{
    return certificates_role(certificates, role);
}

static void changed_unlock(struct world *w)
{
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void world_wait(struct world *w, bool (*fn)(void *ctx), void *ctx)
{
    int64_t until = unix_ms() + WAIT_MS;
    struct timespec ts = {until / 1000, (until % 1000) * 1000000};
    pthread_mutex_lock(&w->lock);
    while (!fn(ctx))
        assert_int_equal(pthread_cond_timedwait(&w->changed, &w->lock, &ts), 0);
    pthread_mutex_unlock(&w->lock);
}

void world_set(struct world *w, uint64_t *field, uint64_t value)
{
    LOCK_SCOPE(&w->lock);
    *field = value;
}

/* ---- Harpoon ---- */

static void on_attach(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct world *w = ctx;
    const Harpoon__Internal__V1__AttachRequest *q = (const void *)in;
    Harpoon__Internal__V1__AttachReply reply = HARPOON__INTERNAL__V1__ATTACH_REPLY__INIT;
    Harpoon__Internal__V1__AttachResult *rows = calloc(q->n_items + 1, sizeof(rows[0]));
    reply.results = calloc(q->n_items + 1, sizeof(reply.results[0]));
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < q->n_items; i++) {
        harpoon__internal__v1__attach_result__init(&rows[i]);
        rows[i].installation_id = (char *)"installation";
        rows[i].fenced = q->items[i]->hypervisor_id == w->fenced_hypervisor;
        rows[i].compared = true;
        reply.results[reply.n_results++] = &rows[i];
    }
    w->attaches += (unsigned)q->n_items;
    changed_unlock(w);
    rpc_reply(call, &reply.base);
    free(reply.results);
    free(rows);
}

static void refuse(struct rpc_call *call)
{
    struct error err;
    error_set(&err, ERR_INVALID, "one of them is odd");
    rpc_fail(call, &err);
}

static void on_confirm(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct world *w = ctx;
    const Harpoon__Internal__V1__ConfirmRequest *q = (const void *)in;
    Harpoon__Internal__V1__ConfirmReply reply = HARPOON__INTERNAL__V1__CONFIRM_REPLY__INIT;
    reply.answers = calloc(q->n_items + 1, sizeof(reply.answers[0]));
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < q->n_items; i++)
        reply.answers[reply.n_answers++] = q->items[i]->ref->event_id % 2
                                               ? HARPOON__JOB__V1__ANSWER__ANSWER_DROP
                                               : HARPOON__JOB__V1__ANSWER__ANSWER_START;
    w->confirms += (unsigned)q->n_items;
    changed_unlock(w);
    rpc_reply(call, &reply.base);
    free(reply.answers);
}

static void on_report(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct world *w = ctx;
    const Harpoon__Internal__V1__ReportRequest *q = (const void *)in;
    Harpoon__Internal__V1__ReportReply reply = HARPOON__INTERNAL__V1__REPORT_REPLY__INIT;
    bool odd = false;
    reply.answers = calloc(q->n_items + 1, sizeof(reply.answers[0]));
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < q->n_items; i++) {
        odd = odd || q->items[i]->report->ref->event_id == w->odd_event;
        reply.answers[reply.n_answers++] = HARPOON__JOB__V1__ANSWER__ANSWER_STORED;
    }
    if (q->n_items > w->largest_report)
        w->largest_report = (unsigned)q->n_items;
    w->reports += odd ? 0 : (unsigned)q->n_items;
    changed_unlock(w);
    if (odd)
        refuse(call);
    else
        rpc_reply(call, &reply.base);
    free(reply.answers);
}

static const struct rpc_method harpoon_methods[] = {
    {.name = "Attach", .allow = RPC_ROLE_EVENTROUTER, .unary = on_attach},
    {.name = "Confirm", .allow = RPC_ROLE_EVENTROUTER, .unary = on_confirm},
    {.name = "Report", .allow = RPC_ROLE_EVENTROUTER, .unary = on_report},
};

/* ---- the scheduler ---- */

static void take_in(struct world *w, const Harpoon__Scheduler__V1__Observed *o)
{
    if (o->hypervisor_id >= HYPERVISORS)
        return;
    struct known *k = &w->known[o->hypervisor_id];
    k->told++;
    if (o->session < k->session)
        return;
    k->session = o->session;
    k->attached = o->attached;
    k->compared = o->compared;
    k->samples += o->samples;
    if (o->average) {
        k->cpu_permille = o->average->cpu_permille;
        k->vcpus = o->average->capacity->vcpus;
    }
}

static void on_observe(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    struct world *w = ctx;
    const Harpoon__Scheduler__V1__ObserveRequest *q = (const void *)in;
    Harpoon__Scheduler__V1__ObserveReply reply = HARPOON__SCHEDULER__V1__OBSERVE_REPLY__INIT;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < q->n_hypervisors; i++)
        take_in(w, q->hypervisors[i]);
    w->observes++;
    changed_unlock(w);
    rpc_reply(call, &reply.base);
}

static const struct rpc_method scheduler_methods[] = {
    {.name = "Observe", .allow = RPC_ROLE_EVENTROUTER, .unary = on_observe},
};

/* ---- start and stop ---- */

/* A port that was free a moment ago. */
static void free_address(char ret[64])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    snprintf(ret, 64, "127.0.0.1:%d", ntohs(at.sin_port));
}

static struct rpc_server *serve(const char *address, const char *role,
                                const struct rpc_service *service)
{
    struct error err;
    struct rpc_server *s = NULL;
    const struct rpc_server_options o = {.address = address,
                                         .tls = *world_role(role),
                                         .services = service,
                                         .service_count = 1};
    assert_int_equal(rpc_server_start(&o, &s, &err), 0);
    return s;
}

void world_start_harpoon(struct world *w)
{
    w->harpoon_service = (struct rpc_service){&harpoon__internal__v1__harpoon__descriptor,
                                              harpoon_methods, ARRAY_LEN(harpoon_methods), w};
    w->harpoon = serve(w->harpoon_address, "harpoon", &w->harpoon_service);
}

void world_stop_harpoon(struct world *w)
{
    w->harpoon = rpc_server_stop(w->harpoon, 0);
}

void world_start_scheduler(struct world *w)
{
    w->scheduler_service = (struct rpc_service){&harpoon__scheduler__v1__scheduler__descriptor,
                                                scheduler_methods, ARRAY_LEN(scheduler_methods), w};
    w->scheduler = serve(w->scheduler_address, "scheduler", &w->scheduler_service);
}

void world_stop_scheduler(struct world *w)
{
    w->scheduler = rpc_server_stop(w->scheduler, 0);
}

static void start_router(struct world *w, int i, int64_t sample_interval_ms)
{
    struct error err;
    const struct rpc_tls *tls = world_role("eventrouter");
    w->configs[i] = (struct eventrouter_config){
        .region = (char *)"nyc3",
        .name = (char *)"nyc3-1",
        .listen = w->router_addresses[i],
        .advertise = w->router_addresses[i],
        .peers = w->peers,
        .harpoon = w->harpoon_address,
        .schedulers = w->scheduler_address,
        .tls_ca = (char *)tls->ca,
        .tls_certificate = (char *)tls->certificate,
        .tls_key = (char *)tls->key,
        .sample_interval_ms = sample_interval_ms,
        .max_agents = 20,
        .agent_queue = 64,
        .rpc_threads = 2,
        .drain_ms = 200,
    };
    assert_int_equal(router_start(&w->configs[i], &w->routers[i], &err), 0);
    w->running[i] = true;
}

void world_start(struct world *w, int routers, int run, int64_t sample_interval_ms)
{
    struct error err;
    memset(w, 0, sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->router_count = routers;
    free_address(w->harpoon_address);
    free_address(w->scheduler_address);
    for (int i = 0; i < routers; i++) {
        free_address(w->router_addresses[i]);
        strcat(strcat(w->peers, i ? "," : ""), w->router_addresses[i]);
    }
    world_start_harpoon(w);
    world_start_scheduler(w);
    for (int i = 0; i < run; i++)
        start_router(w, i, sample_interval_ms);
    assert_int_equal(rpc_client_new(w->router_addresses[0], world_role("harpoon"), &w->worker,
                                    &err),
                     0);
}

void world_stop_router(struct world *w, int i)
{
    router_drain(&w->routers[i]);
    router_stop(&w->routers[i]);
    w->running[i] = false;
}

void world_stop(struct world *w)
{
    rpc_client_free(w->worker);
    for (int i = 0; i < w->router_count; i++)
        if (w->running[i])
            router_stop(&w->routers[i]);
    world_stop_harpoon(w);
    world_stop_scheduler(w);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
}

/* ---- agents ---- */

static void accept_jobs(struct agent *a, const Harpoon__Agent__V1__Jobs *jobs)
{
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    Harpoon__Agent__V1__DeliverAnswers answers = HARPOON__AGENT__V1__DELIVER_ANSWERS__INIT;
    Harpoon__Agent__V1__DeliverAnswer *rows = calloc(jobs->n_jobs, sizeof(rows[0]));
    Harpoon__Job__V1__Ref *refs = calloc(jobs->n_jobs, sizeof(refs[0]));
    answers.answers = calloc(jobs->n_jobs, sizeof(answers.answers[0]));
    for (size_t i = 0; i < jobs->n_jobs; i++) {
        harpoon__agent__v1__deliver_answer__init(&rows[i]);
        harpoon__job__v1__ref__init(&refs[i]);
        refs[i].event_id = jobs->jobs[i]->event_id;
        refs[i].attempt = jobs->jobs[i]->attempt;
        rows[i].ref = &refs[i];
        rows[i].outcome = HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_ACCEPTED;
        answers.answers[answers.n_answers++] = &rows[i];
    }
    m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_DELIVERED;
    m.delivered = &answers;
    agent_send(a, &m);
    free(answers.answers);
    free(refs);
    free(rows);
}

static void note_attached(struct agent *a, const Harpoon__Agent__V1__Attached *m)
{
    a->verdict = m->verdict;
    snprintf(a->address, sizeof(a->address), "%s", m->address);
    snprintf(a->installation, sizeof(a->installation), "%s", m->installation_id);
    a->attached++;
}

static void note_locked(struct agent *a, const Harpoon__Agent__V1__ToAgent *m)
{
    switch (m->body_case) {
    case HARPOON__AGENT__V1__TO_AGENT__BODY_ATTACHED:
        note_attached(a, m->attached);
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_DELIVER:
        a->jobs += (unsigned)m->deliver->n_jobs;
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_START:
        a->starts += (unsigned)m->start->n_refs;
        a->last_start = m->start->refs[0]->event_id;
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_DROP:
        a->drops += (unsigned)m->drop->n_refs;
        a->last_drop = m->drop->refs[0]->event_id;
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_CONFIRMED:
        a->confirmed += (unsigned)m->confirmed->n_answers;
        a->last_confirmed = m->confirmed->answers[0]->answer;
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_REPORTED:
        a->reported += (unsigned)m->reported->n_answers;
        a->last_reported = m->reported->answers[0]->answer;
        a->last_result = m->reported->answers[0]->result;
        break;
    case HARPOON__AGENT__V1__TO_AGENT__BODY_DRAIN:
        snprintf(a->address, sizeof(a->address), "%s", m->drain->address);
        a->drains++;
        break;
    default:
        fail_msg("a message of no kind");
    }
}

static void on_message(void *ctx, const ProtobufCMessage *in)
{
    struct agent *a = ctx;
    const Harpoon__Agent__V1__ToAgent *m = (const Harpoon__Agent__V1__ToAgent *)in;
    pthread_mutex_lock(&a->w->lock);
    note_locked(a, m);
    bool accept = m->body_case == HARPOON__AGENT__V1__TO_AGENT__BODY_DELIVER && a->accepts;
    changed_unlock(a->w);
    if (accept)
        accept_jobs(a, m->deliver);
}

static void on_close(void *ctx, const struct error *err)
{
    struct agent *a = ctx;
    pthread_mutex_lock(&a->w->lock);
    a->end = *err;
    a->closed++;
    changed_unlock(a->w);
}

void agent_open(struct agent *a, struct world *w, int router, const char *region,
                uint64_t hypervisor)
{
    struct error err;
    const struct rpc_client_stream_callbacks callbacks = {on_message, on_close, a};
    *a = (struct agent){.w = w, .hypervisor_id = hypervisor, .accepts = true};
    const struct rpc_tls *tls = certificates_hypervisor(certificates, region, hypervisor);
    assert_int_equal(rpc_client_new(w->router_addresses[router], tls, &a->client, &err), 0);
    assert_int_equal(rpc_client_stream_open(a->client,
                                            &harpoon__agent__v1__agent_gateway__descriptor,
                                            "Session", &callbacks, 0, &a->stream, &err),
                     0);
}

struct counting {
    const unsigned *counter;
    unsigned least;
};

static bool has_counted(void *ctx)
{
    const struct counting *c = ctx;
    return *c->counter >= c->least;
}

unsigned agent_count(struct agent *a, const unsigned *counter)
{
    LOCK_SCOPE(&a->w->lock);
    return *counter;
}

void agent_wait(struct agent *a, const unsigned *counter, unsigned least)
{
    struct counting c = {counter, least};
    world_wait(a->w, has_counted, &c);
}

void agent_close(struct agent *a)
{
    rpc_client_stream_cancel(a->stream);
    agent_wait(a, &a->closed, 1);
    rpc_client_stream_free(a->stream);
    rpc_client_free(a->client);
}

void agent_send(struct agent *a, const Harpoon__Agent__V1__FromAgent *m)
{
    struct error err;
    assert_int_equal(rpc_client_stream_send(a->stream, &m->base, &err), 0);
}

void agent_attach(struct agent *a, const char *journal, uint64_t session)
{
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    Harpoon__Agent__V1__Attach attach = HARPOON__AGENT__V1__ATTACH__INIT;
    Harpoon__Agent__V1__Capacity capacity = HARPOON__AGENT__V1__CAPACITY__INIT;
    capacity.vcpus = 32;
    capacity.memory_mib = 65536;
    attach.journal_id = (char *)journal;
    attach.session = session;
    attach.capacity = &capacity;
    m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH;
    m.attach = &attach;
    agent_send(a, &m);
}

void agent_join(struct agent *a, struct world *w, uint64_t hypervisor, uint64_t session)
{
    agent_open(a, w, 0, "nyc3", hypervisor);
    agent_attach(a, JOURNAL, session);
    agent_wait(a, &a->attached, 1);
}

void agent_sample(struct agent *a, uint32_t cpu_permille)
{
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    Harpoon__Agent__V1__Sample sample = HARPOON__AGENT__V1__SAMPLE__INIT;
    sample.cpu_permille = cpu_permille;
    m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_SAMPLE;
    m.sample = &sample;
    agent_send(a, &m);
}

void agent_confirm(struct agent *a, uint64_t event)
{
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    Harpoon__Agent__V1__Refs refs = HARPOON__AGENT__V1__REFS__INIT;
    Harpoon__Job__V1__Ref ref = HARPOON__JOB__V1__REF__INIT, *list[] = {&ref};
    ref.event_id = event;
    ref.attempt = 1;
    refs.refs = list;
    refs.n_refs = 1;
    m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_CONFIRM;
    m.confirm = &refs;
    agent_send(a, &m);
}

void agent_report(struct agent *a, uint64_t event, Harpoon__Job__V1__Result result)
{
    Harpoon__Agent__V1__FromAgent m = HARPOON__AGENT__V1__FROM_AGENT__INIT;
    Harpoon__Agent__V1__Reports reports = HARPOON__AGENT__V1__REPORTS__INIT;
    Harpoon__Job__V1__Report report = HARPOON__JOB__V1__REPORT__INIT, *list[] = {&report};
    Harpoon__Job__V1__Ref ref = HARPOON__JOB__V1__REF__INIT;
    ref.event_id = event;
    ref.attempt = 1;
    report.ref = &ref;
    report.result = result;
    reports.reports = list;
    reports.n_reports = 1;
    m.body_case = HARPOON__AGENT__V1__FROM_AGENT__BODY_REPORTS;
    m.reports = &reports;
    agent_send(a, &m);
}

/* ---- the worker ---- */

Harpoon__Router__V1__DeliverReply *worker_deliver(struct world *w, const uint64_t *hypervisors,
                                                  size_t count, int timeout_ms)
{
    Harpoon__Router__V1__DeliverRequest q = HARPOON__ROUTER__V1__DELIVER_REQUEST__INIT;
    Harpoon__Router__V1__Target *targets = calloc(count, sizeof(targets[0]));
    Harpoon__Job__V1__Job *jobs = calloc(count, sizeof(jobs[0]));
    ProtobufCMessage *out = NULL;
    struct error err;
    q.targets = calloc(count, sizeof(q.targets[0]));
    for (size_t i = 0; i < count; i++) {
        harpoon__router__v1__target__init(&targets[i]);
        harpoon__job__v1__job__init(&jobs[i]);
        jobs[i].event_id = i + 1;
        jobs[i].attempt = 1;
        targets[i].hypervisor_id = hypervisors[i];
        targets[i].job = &jobs[i];
        q.targets[q.n_targets++] = &targets[i];
    }
    assert_int_equal(rpc_client_call(w->worker, ROUTER, "Deliver", &q.base, mono_ms() + timeout_ms,
                                     &out, &err),
                     0);
    free(q.targets);
    free(jobs);
    free(targets);
    return (Harpoon__Router__V1__DeliverReply *)out;
}

bool worker_refs(struct world *w, const char *method, uint64_t hypervisor, const char *journal,
                 uint64_t event)
{
    Harpoon__Router__V1__RefsRequest q = HARPOON__ROUTER__V1__REFS_REQUEST__INIT;
    Harpoon__Router__V1__RefTarget target = HARPOON__ROUTER__V1__REF_TARGET__INIT;
    Harpoon__Router__V1__RefTarget *targets[] = {&target};
    Harpoon__Job__V1__Ref ref = HARPOON__JOB__V1__REF__INIT;
    ProtobufCMessage *out = NULL;
    struct error err;
    ref.event_id = event;
    ref.attempt = 1;
    target.hypervisor_id = hypervisor;
    target.journal_id = (char *)journal;
    target.ref = &ref;
    q.targets = targets;
    q.n_targets = 1;
    assert_int_equal(rpc_client_call(w->worker, ROUTER, method, &q.base, mono_ms() + WAIT_MS, &out,
                                     &err),
                     0);
    const Harpoon__Router__V1__RefsReply *reply = (const void *)out;
    assert_int_equal(reply->n_results, 1);
    bool sent = reply->results[0]->sent;
    protobuf_c_message_free_unpacked(out, NULL);
    return sent;
}
