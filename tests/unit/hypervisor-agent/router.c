#include "router.h"

#include "hypervisor-agent/metrics.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "tests/support/certificates.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct certificates *certificates;

int router_group_setup(void **state)
{
    UNUSED(state);
    log_open("test", getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
    metrics_init(agent_metrics, M_COUNT);
    rpc_library_init();
    certificates = certificates_new();
    return 0;
}

int router_group_teardown(void **state)
{
    UNUSED(state);
    certificates = certificates_free(certificates);
    rpc_library_fini();
    return 0;
}

/* ---- the service ---- */

struct heard {
    struct heard *next;
    from_agent *message;
};
struct router {
    struct rpc_server *rpc;
    struct rpc_service service;
    char address[64];
    int port;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct heard *first, **last;
    struct rpc_stream *stream; /* the newest */
    unsigned streams, came[SAID_SAMPLE + 1];
};

static void on_open(void *ctx, struct rpc_stream *stream)
{
    struct router *r = ctx;

    LOCK_SCOPE(&r->lock);
    if (r->stream != NULL)
        rpc_stream_unref(r->stream);
    r->stream = rpc_stream_ref(stream);
    r->streams++;
    pthread_cond_broadcast(&r->changed);
}

static void on_message(void *ctx, struct rpc_stream *stream, const ProtobufCMessage *in)
{
    struct router *r = ctx;
    size_t size = protobuf_c_message_get_packed_size(in);
    uint8_t *bytes = malloc(size + 1);
    struct heard *h = calloc(1, sizeof *h);

    UNUSED(stream);
    protobuf_c_message_pack(in, bytes);
    h->message = harpoon__agent__v1__from_agent__unpack(NULL, size, bytes);
    free(bytes);
    LOCK_SCOPE(&r->lock);
    r->came[h->message->body_case]++;
    *r->last = h;
    r->last = &h->next;
    pthread_cond_broadcast(&r->changed);
}

static void on_close(void *ctx, struct rpc_stream *stream)
{
    struct router *r = ctx;

    LOCK_SCOPE(&r->lock);
    if (r->stream != stream)
        return;
    rpc_stream_unref(stream);
    r->stream = NULL;
}

static const struct rpc_method methods[] = {{.name = "Session",
                                             .allow = RPC_ROLE_HYPERVISOR,
                                             .on_open = on_open,
                                             .on_message = on_message,
                                             .on_close = on_close}};

struct router *router_start(int port)
{
    struct router *r = calloc(1, sizeof *r);
    struct error err;
    char address[64];

    r->last = &r->first;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    r->service = (struct rpc_service){.descriptor = &harpoon__agent__v1__agent_gateway__descriptor,
                                      .methods = methods,
                                      .method_count = 1,
                                      .ctx = r};
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    struct rpc_server_options options = {.address = address,
                                         .tls = *certificates_role(certificates, "eventrouter"),
                                         .services = &r->service,
                                         .service_count = 1};
    assert_ok(rpc_server_start(&options, &r->rpc, &err), &err);
    r->port = rpc_server_port(r->rpc);
    snprintf(r->address, sizeof r->address, "127.0.0.1:%d", r->port);
    return r;
}

struct router *router_stop(struct router *r)
{
    if (r == NULL)
        return NULL;
    rpc_server_stop(r->rpc, 0);
    router_forget(r);
    if (r->stream != NULL)
        rpc_stream_unref(r->stream);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

const char *router_address(const struct router *r)
{
    return r->address;
}

int router_port(const struct router *r)
{
    return r->port;
}

/* ---- hearing ---- */

static bool wait_until_locked(struct router *r, int64_t at_mono_ms)
{
    struct timespec at = {.tv_sec = at_mono_ms / 1000, .tv_nsec = at_mono_ms % 1000 * 1000000};

    return pthread_cond_timedwait(&r->changed, &r->lock, &at) != ETIMEDOUT;
}

void said_free(from_agent *m)
{
    harpoon__agent__v1__from_agent__free_unpacked(m, NULL);
}

static from_agent *pop_locked(struct router *r)
{
    struct heard *h = r->first;

    if (h == NULL)
        return NULL;
    from_agent *m = h->message;
    r->first = h->next;
    if (r->first == NULL)
        r->last = &r->first;
    free(h);
    return m;
}

from_agent *router_hear(struct router *r, from_case which)
{
    int64_t until = mono_ms() + WAIT_MS;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        from_agent *m = pop_locked(r);
        if (m != NULL && m->body_case == which) {
            pthread_mutex_unlock(&r->lock);
            return m;
        }
        if (m != NULL) {
            said_free(m);
        } else if (!wait_until_locked(r, until)) {
            pthread_mutex_unlock(&r->lock);
            fail_msg("the agent did not say what was waited for (%d)", which);
        }
    }
}

unsigned router_count(struct router *r, from_case which)
{
    LOCK_SCOPE(&r->lock);
    return r->came[which];
}

void router_forget(struct router *r)
{
    LOCK_SCOPE(&r->lock);
    for (from_agent *m; (m = pop_locked(r)) != NULL;)
        said_free(m);
}

unsigned router_streams(struct router *r)
{
    LOCK_SCOPE(&r->lock);
    return r->streams;
}

/* ---- saying ---- */

static struct rpc_stream *take_stream(struct router *r)
{
    int64_t until = mono_ms() + WAIT_MS;
    struct rpc_stream *s = NULL;

    pthread_mutex_lock(&r->lock);
    while (r->stream == NULL && wait_until_locked(r, until))
        ;
    if (r->stream != NULL)
        s = rpc_stream_ref(r->stream);
    pthread_mutex_unlock(&r->lock);
    assert_non_null(s);
    return s;
}

static void say(struct router *r, const Harpoon__Agent__V1__ToAgent *m)
{
    struct rpc_stream *s = take_stream(r);
    struct error err;

    assert_ok(rpc_stream_send(s, &m->base, &err), &err);
    rpc_stream_unref(s);
}

void router_cut(struct router *r)
{
    struct rpc_stream *s = take_stream(r);
    struct error err;

    error_set(&err, ERR_UNAVAILABLE, "cut");
    rpc_stream_finish(s, &err);
    rpc_stream_unref(s);
}

void router_say_attached(struct router *r, Harpoon__Agent__V1__Attached__Verdict verdict,
                         const char *address)
{
    static char installation[] = INSTALLATION;
    Harpoon__Agent__V1__Attached attached = HARPOON__AGENT__V1__ATTACHED__INIT;
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;

    attached.verdict = verdict;
    attached.installation_id = installation;
    attached.sample_interval_ms = 3600000;
    if (address != NULL)
        attached.address = (char *)(uintptr_t)address;
    m.body_case = HARPOON__AGENT__V1__TO_AGENT__BODY_ATTACHED;
    m.attached = &attached;
    say(r, &m);
}

void router_say_deliver(struct router *r, const struct job_given *given, size_t count)
{
    static char installation[] = INSTALLATION, uuid[] = "0b0f6f0e-6a3e-5a4e-8b3e-2f3c4d5e6f70";
    Harpoon__Agent__V1__Jobs list = HARPOON__AGENT__V1__JOBS__INIT;
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
    Harpoon__Job__V1__DropletSpec spec = HARPOON__JOB__V1__DROPLET_SPEC__INIT;
    Harpoon__Job__V1__Job jobs[16], *pointers[16];

    spec.vcpus = 1;
    spec.memory_mib = 1024;
    for (size_t i = 0; i < count; i++) {
        Harpoon__Job__V1__Job *job = &jobs[i];
        *job = (Harpoon__Job__V1__Job)HARPOON__JOB__V1__JOB__INIT;
        job->installation_id =
            given[i].installation ? (char *)(uintptr_t)given[i].installation : installation;
        job->event_id = given[i].event;
        job->attempt = given[i].attempt;
        job->droplet_id = given[i].droplet;
        job->droplet_uuid = uuid;
        job->kind = given[i].destroy ? HARPOON__JOB__V1__KIND__KIND_DESTROY
                                     : HARPOON__JOB__V1__KIND__KIND_CREATE;
        job->spec = given[i].destroy ? NULL : &spec;
        pointers[i] = job;
    }
    list.jobs = pointers;
    list.n_jobs = count;
    m.body_case = HARPOON__AGENT__V1__TO_AGENT__BODY_DELIVER;
    m.deliver = &list;
    say(r, &m);
}

static void say_ref(struct router *r, uint64_t event, uint32_t attempt, bool start)
{
    Harpoon__Agent__V1__Refs list = HARPOON__AGENT__V1__REFS__INIT;
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
    Harpoon__Job__V1__Ref ref = HARPOON__JOB__V1__REF__INIT, *pointer = &ref;

    ref.event_id = event;
    ref.attempt = attempt;
    list.refs = &pointer;
    list.n_refs = 1;
    m.body_case =
        start ? HARPOON__AGENT__V1__TO_AGENT__BODY_START : HARPOON__AGENT__V1__TO_AGENT__BODY_DROP;
    if (start)
        m.start = &list;
    else
        m.drop = &list;
    say(r, &m);
}

void router_say_start(struct router *r, uint64_t event, uint32_t attempt)
{
    say_ref(r, event, attempt, true);
}

void router_say_drop(struct router *r, uint64_t event, uint32_t attempt)
{
    say_ref(r, event, attempt, false);
}

static void say_answer(struct router *r, uint64_t event, uint32_t attempt,
                       Harpoon__Job__V1__Answer answer, Harpoon__Job__V1__Result result,
                       bool confirmed)
{
    Harpoon__Agent__V1__Answers list = HARPOON__AGENT__V1__ANSWERS__INIT;
    Harpoon__Agent__V1__Answered one = HARPOON__AGENT__V1__ANSWERED__INIT, *pointer = &one;
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
    Harpoon__Job__V1__Ref ref = HARPOON__JOB__V1__REF__INIT;

    ref.event_id = event;
    ref.attempt = attempt;
    one.ref = &ref;
    one.answer = answer;
    one.result = result;
    list.answers = &pointer;
    list.n_answers = 1;
    m.body_case = confirmed ? HARPOON__AGENT__V1__TO_AGENT__BODY_CONFIRMED
                            : HARPOON__AGENT__V1__TO_AGENT__BODY_REPORTED;
    if (confirmed)
        m.confirmed = &list;
    else
        m.reported = &list;
    say(r, &m);
}

void router_say_confirmed(struct router *r, uint64_t event, uint32_t attempt,
                          Harpoon__Job__V1__Answer answer)
{
    say_answer(r, event, attempt, answer, HARPOON__JOB__V1__RESULT__RESULT_UNSPECIFIED, true);
}

void router_say_reported(struct router *r, uint64_t event, uint32_t attempt,
                         Harpoon__Job__V1__Answer answer, Harpoon__Job__V1__Result result)
{
    say_answer(r, event, attempt, answer, result, false);
}

void router_say_drain(struct router *r, const char *address, uint32_t delay_ms)
{
    Harpoon__Agent__V1__Drain drain = HARPOON__AGENT__V1__DRAIN__INIT;
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;

    drain.address = (char *)(uintptr_t)address;
    drain.delay_ms = delay_ms;
    m.body_case = HARPOON__AGENT__V1__TO_AGENT__BODY_DRAIN;
    m.drain = &drain;
    say(r, &m);
}

/* ---- what tests do most ---- */

void router_let_in(struct router *r)
{
    said_free(router_hear(r, SAID_ATTACH));
    router_say_attached(r, OK, NULL);
}

struct answered router_deliver(struct router *r, struct job_given job)
{
    router_say_deliver(r, &job, 1);
    from_agent *m = router_hear(r, SAID_DELIVERED);
    assert_int_equal(m->delivered->n_answers, 1);
    const Harpoon__Agent__V1__DeliverAnswer *a = m->delivered->answers[0];
    assert_int_equal(a->ref->event_id, job.event);
    assert_int_equal(a->ref->attempt, job.attempt);
    struct answered ret = {.outcome = a->outcome, .closed = a->closed};
    snprintf(ret.reason, sizeof ret.reason, "%s", a->reason);
    said_free(m);
    return ret;
}

struct reported router_hear_report(struct router *r, uint64_t event)
{
    for (;;) {
        from_agent *m = router_hear(r, SAID_REPORTS);
        for (size_t i = 0; i < m->reports->n_reports; i++) {
            const Harpoon__Job__V1__Report *one = m->reports->reports[i];
            if (one->ref->event_id != event)
                continue;
            struct reported ret = {one->ref->event_id, one->ref->attempt, one->kind, one->result,
                                   ""};
            snprintf(ret.reason, sizeof ret.reason, "%s", one->reason);
            said_free(m);
            return ret;
        }
        said_free(m);
    }
}

struct reported router_store(struct router *r, uint64_t event, Harpoon__Job__V1__Result result)
{
    struct reported ret;

    do
        ret = router_hear_report(r, event);
    while (ret.result != (int)result);
    router_say_reported(r, event, ret.attempt, ANSWER(STORED), result);
    return ret;
}

void router_run(struct router *r, struct job_given job)
{
    assert_int_equal(router_deliver(r, job).outcome, ACCEPTED);
    router_say_start(r, job.event, job.attempt);
    router_store(r, job.event, SUCCEEDED);
}

void router_sync(struct router *r)
{
    static uint64_t number = 1000000;

    number++;
    assert_int_equal(router_deliver(r, (struct job_given){number, number, 1}).outcome, ACCEPTED);
    router_say_drop(r, number, 1);
    while (!router_deliver(r, (struct job_given){number, number, 1}).closed)
        ;
}

/* ---- the agent ---- */

void agent_make(struct agent_under_test *a, const char *routers)
{
    const struct rpc_tls *tls = certificates_hypervisor(certificates, "nyc3", HYPERVISOR);
    char text[32][FOLDER_BYTES * 2], *argv[32];
    struct error err;
    int n = 0;

    folder_make(a->folder);
    snprintf(a->ledger, sizeof a->ledger, "%s/ledger.log", a->folder);
    const char *const pairs[][2] = {
        {"--region", "nyc3"},    {"--hypervisors", "7"},
        {"--driver", "sim"},     {"--routers", routers},
        {"--tls-ca", tls->ca},   {"--tls-certificate", tls->certificate},
        {"--tls-key", tls->key}, {"--sim-ledger", a->ledger},
        {"--latency-ms", "0"},   {"--confirm-after-ms", "3600000"},
        {"--retry-ms", "1"},
    };
    snprintf(text[n++], sizeof text[0], "hypervisor-agent");
    snprintf(text[n++], sizeof text[0], "--state-dir");
    snprintf(text[n++], sizeof text[0], "%s/state", a->folder);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        snprintf(text[n++], sizeof text[0], "%s", pairs[i][0]);
        snprintf(text[n++], sizeof text[0], "%s", pairs[i][1]);
    }
    for (int i = 0; i < n; i++)
        argv[i] = text[i];
    assert_ok(config_load(&agent_program, n, argv, &a->config, NULL, NULL, &err), &err);
}

void agent_begin(struct agent_under_test *a)
{
    struct error err;

    assert_ok(agent_setup_init(&a->config, &a->setup, &err), &err);
    assert_ok(agent_start(&a->setup, &a->agent, &err), &err);
}

void agent_end(struct agent_under_test *a)
{
    if (a->agent == NULL)
        return;
    a->agent = agent_stop(a->agent);
    agent_setup_fini(&a->setup);
}

/* The files as they are now take the place of those that the stop leaves. */
void agent_crash(struct agent_under_test *a)
{
    char state[FOLDER_BYTES * 2], copy[FOLDER_BYTES];

    folder_make(copy);
    snprintf(state, sizeof state, "%s/state", a->folder);
    folder_copy(state, copy);
    agent_end(a);
    folder_remove(state);
    assert_int_equal(rename(copy, state), 0);
}

void agent_remove(struct agent_under_test *a)
{
    agent_end(a);
    config_free(&agent_program, &a->config);
    folder_remove(a->folder);
}

size_t agent_lines(const struct agent_under_test *a, const char *end)
{
    return file_count_lines(a->ledger, end);
}

void agent_wait_lines(const struct agent_under_test *a, const char *end, size_t count)
{
    int64_t until = mono_ms() + WAIT_MS;

    while (agent_lines(a, end) < count) {
        if (mono_ms() > until)
            fail_msg("the ledger has %zu lines that end in \"%s\", not %zu", agent_lines(a, end),
                     end, count);
        clock_pause_ms(2);
    }
}
