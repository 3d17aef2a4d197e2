#include "eventrouter/gateway_check.h"

#include "lib/uuid.h"

#include <string.h>

#define ID_MAX     (UINT64_C(1) << 53) /* ids are below it */
#define TEXT_MAX   256                 /* bytes of a word */
#define DETAIL_MAX 8192                /* bytes for people */

static int check_count(size_t count, const char *list, struct error *err)
{
    if (count <= LIST_MAX)
        return 0;
    return error_set(err, ERR_INVALID, "%s: %zu, at most %d", list, count, LIST_MAX);
}

static int check_ref(const Harpoon__Job__V1__Ref *ref, const char *list, size_t i,
                     struct error *err)
{
    if (ref && ref->event_id > 0 && ref->event_id < ID_MAX && ref->attempt > 0)
        return 0;
    return error_set(err, ERR_INVALID, "%s[%zu].ref: names no attempt of an event", list, i);
}

static int check_text(const char *text, size_t most, const char *list, size_t i, const char *field,
                      struct error *err)
{
    if (strnlen(text, most + 1) <= most)
        return 0;
    return error_set(err, ERR_INVALID, "%s[%zu].%s: longer than %zu bytes", list, i, field, most);
}

static int check_delivered(const Harpoon__Agent__V1__DeliverAnswers *m, struct error *err)
{
    int r = check_count(m->n_answers, "delivered", err);

    for (size_t i = 0; r == 0 && i < m->n_answers; i++) {
        const Harpoon__Agent__V1__DeliverAnswer *a = m->answers[i];
        r = check_ref(a->ref, "delivered", i, err);
        if (r == 0)
            r = check_text(a->reason, TEXT_MAX, "delivered", i, "reason", err);
        if (r == 0 && (a->outcome < HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_ACCEPTED ||
                       a->outcome > HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_FINISHED))
            r = error_set(err, ERR_INVALID, "delivered[%zu].outcome: %d is none", i,
                          (int)a->outcome);
    }
    return r;
}

static int check_confirm(const Harpoon__Agent__V1__Refs *m, struct error *err)
{
    int r = check_count(m->n_refs, "confirm", err);

    for (size_t i = 0; r == 0 && i < m->n_refs; i++)
        r = check_ref(m->refs[i], "confirm", i, err);
    return r;
}

static int check_reports(const Harpoon__Agent__V1__Reports *m, struct error *err)
{
    int r = check_count(m->n_reports, "reports", err);

    for (size_t i = 0; r == 0 && i < m->n_reports; i++) {
        const Harpoon__Job__V1__Report *report = m->reports[i];
        r = check_ref(report->ref, "reports", i, err);
        if (r == 0)
            r = check_text(report->reason, TEXT_MAX, "reports", i, "reason", err);
        if (r == 0)
            r = check_text(report->detail, DETAIL_MAX, "reports", i, "detail", err);
        if (r == 0 && (report->result < HARPOON__JOB__V1__RESULT__RESULT_RUNNING ||
                       report->result > HARPOON__JOB__V1__RESULT__RESULT_CLOSED))
            r = error_set(err, ERR_INVALID, "reports[%zu].result: %d is none", i,
                          (int)report->result);
    }
    return r;
}

int gateway_check_message(const Harpoon__Agent__V1__FromAgent *m, bool attached, struct error *err)
{
    if (!attached && m->body_case != HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH)
        return error_set(err, ERR_INVALID, "a stream begins with attach");
    switch (m->body_case) {
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_DELIVERED:
        return check_delivered(m->delivered, err);
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_CONFIRM:
        return check_confirm(m->confirm, err);
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_REPORTS:
        return check_reports(m->reports, err);
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH: /* gateway_check_attach */
    case HARPOON__AGENT__V1__FROM_AGENT__BODY_SAMPLE:
        return 0;
    case HARPOON__AGENT__V1__FROM_AGENT__BODY__NOT_SET:
    case _HARPOON__AGENT__V1__FROM_AGENT__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return error_set(err, ERR_INVALID, "an empty message, or one of another version");
}

int gateway_check_attach(const Harpoon__Agent__V1__Attach *attach, struct error *err)
{
    struct uuid journal;

    if (uuid_parse(attach->journal_id, &journal, err) < 0 || uuid_is_zero(&journal))
        return error_set(err, ERR_INVALID, "attach.journal_id: not a UUID");
    if (attach->n_domains > DOMAINS_MAX)
        return error_set(err, ERR_INVALID, "attach.domains: %zu, at most %d", attach->n_domains,
                         DOMAINS_MAX);
    int r = check_text(attach->version, TEXT_MAX, "attach", 0, "version", err);
    if (r == 0)
        r = check_text(attach->boot_id, TEXT_MAX, "attach", 0, "boot_id", err);
    return r;
}
