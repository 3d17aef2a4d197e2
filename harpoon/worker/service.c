#include "harpoon/worker/service.h"

#include "harpoon/worker/metrics.h"
#include "lib/log.h"
#include "lib/macros.h"
#include "proto/harpoon.pb-c.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORTS_MAX 4000 /* in one call */

struct service {
    struct reads *reads;
    struct transitions *transitions;
    struct rpc_service service;
    struct rpc_server *server;
};

static void fail(struct rpc_call *call, int code, const char *why)
{
    struct error err;

    error_set(&err, code, "%s", why);
    rpc_fail(call, &err);
}

/* ---- reads ---- */

static void read_later(struct service *s, enum read_kind kind, struct rpc_call *call,
                       const ProtobufCMessage *in, size_t items)
{
    struct error err;

    if (items > READ_ITEMS_MAX)
        fail(call, ERR_TOO_LARGE, "too many items in one call");
    else if (reads_submit(s->reads, kind, call, in, &err) < 0)
        rpc_fail(call, &err);
}

static void on_attach(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    read_later(ctx, READ_ATTACH, call, in,
               ((const Harpoon__Internal__V1__AttachRequest *)in)->n_items);
}

static void on_confirm(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    read_later(ctx, READ_CONFIRM, call, in,
               ((const Harpoon__Internal__V1__ConfirmRequest *)in)->n_items);
}

static void on_claims_wanted(void *ctx, struct rpc_call *call, const ProtobufCMessage *in)
{
    read_later(ctx, READ_WANTED, call, in,
               ((const Harpoon__Internal__V1__ClaimsWantedRequest *)in)->n_claims);
}

/* ---- Report ---- */

struct report_call {
    struct rpc_call *call;
    size_t count;
    atomic_size_t open; /* reports not answered yet, and one for the handler itself */
    Harpoon__Job__V1__Answer *answers;
    struct transition *inputs;
};

static void report_call_free(struct report_call *c)
{
    if (c != NULL) {
        free(c->answers);
        free(c->inputs);
        free(c);
    }
}

static struct report_call *report_call_new(struct rpc_call *call, size_t count)
{
    struct report_call *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->call = call;
    c->count = count;
    c->answers = calloc(count + 1, sizeof *c->answers);
    c->inputs = calloc(count + 1, sizeof *c->inputs);
    atomic_init(&c->open, 1);
    if (c->answers == NULL || c->inputs == NULL) {
        report_call_free(c);
        return NULL;
    }
    return c;
}

/* Whoever answers the last one replies. */
static void close_one(struct report_call *c)
{
    Harpoon__Internal__V1__ReportReply reply = HARPOON__INTERNAL__V1__REPORT_REPLY__INIT;

    if (atomic_fetch_sub(&c->open, 1) != 1)
        return;
    reply.n_answers = c->count;
    reply.answers = c->answers;
    rpc_reply(c->call, &reply.base);
    report_call_free(c);
}

static Harpoon__Job__V1__Answer to_wire(enum event_answer answer)
{
    switch (answer) {
    case ANSWER_STORED:
        return HARPOON__JOB__V1__ANSWER__ANSWER_STORED;
    case ANSWER_DISCARD:
        return HARPOON__JOB__V1__ANSWER__ANSWER_DISCARD;
    case ANSWER_UNKNOWN:
        return HARPOON__JOB__V1__ANSWER__ANSWER_UNKNOWN;
    case ANSWER_START:
    case ANSWER_DROP:
    case ANSWER_WAIT:
        break;
    }
    return HARPOON__JOB__V1__ANSWER__ANSWER_WAIT;
}

static void count_report(enum event_input_kind kind, Harpoon__Job__V1__Answer answer)
{
    static const char *const answers[] = {
        [HARPOON__JOB__V1__ANSWER__ANSWER_STORED] = "stored",
        [HARPOON__JOB__V1__ANSWER__ANSWER_DISCARD] = "discard",
        [HARPOON__JOB__V1__ANSWER__ANSWER_UNKNOWN] = "unknown",
        [HARPOON__JOB__V1__ANSWER__ANSWER_WAIT] = "wait",
    };
    const char *result = kind == IN_RUNNING     ? "running"
                         : kind == IN_SUCCEEDED ? "succeeded"
                                                : "closed";

    metric_add(M_REPORTS, 1, result, answers[answer], NULL);
}

static void on_reported(void *ctx, struct transition *i, int result)
{
    struct report_call *c = ctx;
    Harpoon__Job__V1__Answer answer = HARPOON__JOB__V1__ANSWER__ANSWER_WAIT;

    if (result == 0)
        answer = to_wire(i->item.answer);
    c->answers[i - c->inputs] = answer;
    count_report(i->item.in.kind, answer);
    close_one(c);
}

/* False: it says nothing that could be stored. */
static bool fill_input(const Harpoon__Internal__V1__ReportItem *item, struct transition *ret)
{
    const Harpoon__Job__V1__Report *report = item->report;
    struct event_input *in = &ret->item.in;
    struct error err;

    if (report == NULL || report->ref == NULL)
        return false;
    switch (report->result) {
    case HARPOON__JOB__V1__RESULT__RESULT_RUNNING:
        in->kind = IN_RUNNING;
        break;
    case HARPOON__JOB__V1__RESULT__RESULT_SUCCEEDED:
        in->kind = IN_SUCCEEDED;
        break;
    case HARPOON__JOB__V1__RESULT__RESULT_CLOSED:
        in->kind = IN_CLOSED;
        break;
    case HARPOON__JOB__V1__RESULT__RESULT_UNSPECIFIED:
    case _HARPOON__JOB__V1__RESULT_IS_INT_SIZE:
        return false;
    }
    ret->item.id.v = report->ref->event_id;
    in->attempt = report->ref->attempt;
    in->hypervisor.v = item->hypervisor_id;
    in->actor = "agent";
    in->began_ms = report->began_unix_ms;
    in->ended_ms = report->ended_unix_ms;
    in->reason = event_reason_parse(report->reason);
    snprintf(ret->detail, sizeof ret->detail, "%s%s%s", report->reason,
             report->reason[0] != 0 && report->detail[0] != 0 ? ": " : "", report->detail);
    return in->attempt > 0 && uuid_parse(item->journal_id, &in->journal, &err) == 0;
}

static void on_report(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct service *s = ctx;
    const Harpoon__Internal__V1__ReportRequest *in = (const void *)message;
    struct error err;

    if (in->n_items > REPORTS_MAX) {
        fail(call, ERR_TOO_LARGE, "too many reports in one call");
        return;
    }
    struct report_call *c = report_call_new(call, in->n_items);
    if (c == NULL) {
        fail(call, ERR_INTERNAL, "out of memory");
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        struct transition *t = &c->inputs[i];
        c->answers[i] = HARPOON__JOB__V1__ANSWER__ANSWER_WAIT; /* it is said again */
        if (!fill_input(in->items[i], t))
            continue;
        t->done = on_reported;
        t->ctx = c;
        atomic_fetch_add(&c->open, 1);
        if (transitions_submit(s->transitions, t, &err) < 0)
            on_reported(c, t, err.code);
    }
    close_one(c);
}

/* ---- start and stop ---- */

static const struct rpc_method methods[] = {
    {.name = "Attach", .allow = RPC_ROLE_EVENTROUTER, .unary = on_attach},
    {.name = "Confirm", .allow = RPC_ROLE_EVENTROUTER, .unary = on_confirm},
    {.name = "Report", .allow = RPC_ROLE_EVENTROUTER, .unary = on_report},
    {.name = "ClaimsWanted", .allow = RPC_ROLE_SCHEDULER, .unary = on_claims_wanted},
};

static void on_denied(void *ctx, const struct rpc_peer *peer, const char *method, const char *why)
{
    UNUSED(ctx);
    metric_add(M_RPC_DENIED, 1, NULL);
    log_warn("call refused", F_PEER(peer->name), F_STR("method", method), F_STR("why", why));
}

int service_start(const struct service_options *options, struct service **ret, struct error *err)
{
    struct service *s = calloc(1, sizeof *s);

    if (s == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    s->reads = options->reads;
    s->transitions = options->transitions;
    s->service = (struct rpc_service){
        .descriptor = &harpoon__internal__v1__harpoon__descriptor,
        .methods = methods,
        .method_count = ARRAY_LEN(methods),
        .ctx = s,
    };
    int r = rpc_server_start(&(struct rpc_server_options){.address = options->address,
                                                          .tls = options->tls,
                                                          .services = &s->service,
                                                          .service_count = 1,
                                                          .threads = options->threads,
                                                          .on_denied = on_denied},
                             &s->server, err);
    if (r < 0) {
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int service_port(const struct service *s)
{
    return rpc_server_port(s->server);
}

struct service *service_stop(struct service *s, int grace_ms)
{
    if (s != NULL) {
        rpc_server_stop(s->server, grace_ms);
        free(s);
    }
    return NULL;
}
