#include "eventrouter/forward_ask.h"

#include "eventrouter/metrics.h"
#include "lib/memory.h"

#define HARPOON (&harpoon__internal__v1__harpoon__descriptor)

void forward_item_free(struct forward_item *item)
{
    if (item->session) {
        if (item->kind == FORWARD_ATTACH)
            session_release_attach(item->session);
        else
            session_release(item->session, 1);
        session_unref(item->session);
    }
    if (item->message)
        protobuf_c_message_free_unpacked(item->message, NULL);
    free(item);
}

int forward_ask_attach(struct rpc_pool *harpoon, const char *region, struct forward_item **items,
                       size_t count, int64_t deadline_mono_ms,
                       Harpoon__Internal__V1__AttachReply **ret, struct error *err)
{
    Harpoon__Internal__V1__AttachRequest q = HARPOON__INTERNAL__V1__ATTACH_REQUEST__INIT;
    Harpoon__Internal__V1__AttachItem *rows = must_calloc(count, sizeof(rows[0]));
    ProtobufCMessage *out;

    q.items = must_calloc(count, sizeof(q.items[0]));
    q.n_items = count;
    for (size_t i = 0; i < count; i++) {
        harpoon__internal__v1__attach_item__init(&rows[i]);
        rows[i].hypervisor_id = items[i]->hypervisor_id;
        rows[i].region = (char *)region;
        rows[i].attach = (Harpoon__Agent__V1__Attach *)items[i]->message;
        q.items[i] = &rows[i];
    }
    int r = rpc_pool_call(harpoon, HARPOON, "Attach", &q.base, deadline_mono_ms, NULL, &out, err);
    free(q.items);
    free(rows);
    if (r < 0)
        return r;
    Harpoon__Internal__V1__AttachReply *reply = (Harpoon__Internal__V1__AttachReply *)out;
    if (reply->n_results != count) {
        r = error_set(err, ERR_INTERNAL, "Attach: %zu results for %zu items", reply->n_results,
                      count);
        protobuf_c_message_free_unpacked(out, NULL);
        return r;
    }
    *ret = reply;
    return 0;
}

static int take_answers(struct forward_item **items, size_t count,
                        const Harpoon__Job__V1__Answer *answers, size_t answer_count,
                        struct error *err)
{
    if (answer_count != count)
        return error_set(err, ERR_INTERNAL, "%zu answers to %zu items", answer_count, count);
    for (size_t i = 0; i < count; i++)
        items[i]->answer = answers[i];
    return 0;
}

int forward_ask_confirm(struct rpc_pool *harpoon, struct forward_item **items, size_t count,
                        int64_t deadline_mono_ms, struct error *err)
{
    Harpoon__Internal__V1__ConfirmRequest q = HARPOON__INTERNAL__V1__CONFIRM_REQUEST__INIT;
    Harpoon__Internal__V1__ConfirmItem *rows = must_calloc(count, sizeof(rows[0]));
    Harpoon__Job__V1__Ref *refs = must_calloc(count, sizeof(refs[0]));
    ProtobufCMessage *out;

    q.items = must_calloc(count, sizeof(q.items[0]));
    q.n_items = count;
    for (size_t i = 0; i < count; i++) {
        harpoon__internal__v1__confirm_item__init(&rows[i]);
        harpoon__job__v1__ref__init(&refs[i]);
        refs[i].event_id = items[i]->event_id;
        refs[i].attempt = items[i]->attempt;
        rows[i].hypervisor_id = items[i]->hypervisor_id;
        rows[i].journal_id = items[i]->journal_id;
        rows[i].ref = &refs[i];
        q.items[i] = &rows[i];
    }
    int r = rpc_pool_call(harpoon, HARPOON, "Confirm", &q.base, deadline_mono_ms, NULL, &out, err);
    free(q.items);
    free(refs);
    free(rows);
    if (r < 0)
        return r;
    const Harpoon__Internal__V1__ConfirmReply *reply = (Harpoon__Internal__V1__ConfirmReply *)out;
    r = take_answers(items, count, reply->answers, reply->n_answers, err);
    protobuf_c_message_free_unpacked(out, NULL);
    return r;
}

int forward_ask_report(struct rpc_pool *harpoon, const char *region, struct forward_item **items,
                       size_t count, int64_t deadline_mono_ms, struct error *err)
{
    Harpoon__Internal__V1__ReportRequest q = HARPOON__INTERNAL__V1__REPORT_REQUEST__INIT;
    Harpoon__Internal__V1__ReportItem *rows = must_calloc(count, sizeof(rows[0]));
    ProtobufCMessage *out;

    q.items = must_calloc(count, sizeof(q.items[0]));
    q.n_items = count;
    for (size_t i = 0; i < count; i++) {
        harpoon__internal__v1__report_item__init(&rows[i]);
        rows[i].hypervisor_id = items[i]->hypervisor_id;
        rows[i].region = (char *)region;
        rows[i].journal_id = items[i]->journal_id;
        rows[i].report = (Harpoon__Job__V1__Report *)items[i]->message;
        q.items[i] = &rows[i];
    }
    int r = rpc_pool_call(harpoon, HARPOON, "Report", &q.base, deadline_mono_ms, NULL, &out, err);
    free(q.items);
    free(rows);
    if (r < 0)
        return r;
    const Harpoon__Internal__V1__ReportReply *reply = (Harpoon__Internal__V1__ReportReply *)out;
    r = take_answers(items, count, reply->answers, reply->n_answers, err);
    protobuf_c_message_free_unpacked(out, NULL);
    return r;
}

/* ---- back to the agents ---- */

static int compare_sessions(const void *a, const void *b)
{
    uint64_t x = session_serial((*(struct forward_item *const *)a)->session);
    uint64_t y = session_serial((*(struct forward_item *const *)b)->session);

    return (x > y) - (x < y);
}

/* Which report it is an answer to. */
static Harpoon__Job__V1__Result result_of(const struct forward_item *item)
{
    if (item->kind != FORWARD_REPORT)
        return HARPOON__JOB__V1__RESULT__RESULT_UNSPECIFIED;
    return ((const Harpoon__Job__V1__Report *)item->message)->result;
}

/* `items` are one session's. */
static void answer_session(struct forward_item **items, size_t count)
{
    Harpoon__Agent__V1__ToAgent m = HARPOON__AGENT__V1__TO_AGENT__INIT;
    Harpoon__Agent__V1__Answers answers = HARPOON__AGENT__V1__ANSWERS__INIT;
    Harpoon__Agent__V1__Answered *rows = must_calloc(count, sizeof(rows[0]));
    Harpoon__Job__V1__Ref *refs = must_calloc(count, sizeof(refs[0]));
    bool report = items[0]->kind == FORWARD_REPORT;
    struct error err;

    answers.answers = must_calloc(count, sizeof(answers.answers[0]));
    for (size_t i = 0; i < count; i++) {
        if (items[i]->answer == HARPOON__JOB__V1__ANSWER__ANSWER_UNSPECIFIED)
            continue;
        harpoon__agent__v1__answered__init(&rows[i]);
        harpoon__job__v1__ref__init(&refs[i]);
        refs[i].event_id = items[i]->event_id;
        refs[i].attempt = items[i]->attempt;
        rows[i].ref = &refs[i];
        rows[i].answer = items[i]->answer;
        rows[i].result = result_of(items[i]);
        answers.answers[answers.n_answers++] = &rows[i];
    }
    m.body_case = report ? HARPOON__AGENT__V1__TO_AGENT__BODY_REPORTED
                         : HARPOON__AGENT__V1__TO_AGENT__BODY_CONFIRMED;
    m.confirmed = &answers; /* the same member of the union as `reported` */
    if (answers.n_answers > 0 && session_send(items[0]->session, &m, &err) == ERR_BUSY)
        metric_add(M_LAGGING, 1, NULL); /* it asks again */
    free(answers.answers);
    free(refs);
    free(rows);
}

void forward_answer(struct forward_item **items, size_t count)
{
    qsort(items, count, sizeof(items[0]), compare_sessions);
    for (size_t from = 0, to; from < count; from = to) {
        to = from + 1;
        while (to < count && items[to]->session == items[from]->session)
            to++;
        answer_session(items + from, to - from);
    }
}
