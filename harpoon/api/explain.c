#include "harpoon/api/explain.h"

#include "lib/clock.h"
#include "lib/macros.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Longer than this an agent that is there would have spoken. */
enum { AGENT_PATIENCE_MS = 120000 };

struct writer {
    const struct explain_input *in;
    struct explanation *out;
};

static const char *span(int64_t ms, char ret[24])
{
    int64_t s = ms > 0 ? ms / 1000 : 0;

    if (s < 60)
        (void)snprintf(ret, 24, "%d s", (int)s);
    else if (s < 3600)
        (void)snprintf(ret, 24, "%d min %d s", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        (void)snprintf(ret, 24, "%d h %d min", (int)(s / 3600), (int)(s / 60 % 60));
    else
        (void)snprintf(ret, 24, "%d d %d h", (int)(s / 86400), (int)(s / 3600 % 24));
    return ret;
}

/* "since 2020-07-21T18:37:44Z (5 min 12 s)" */
static const char *since(struct writer *w, int64_t at_ms, char ret[64])
{
    char time[21], age[24];

    clock_format_rfc3339(at_ms, time);
    (void)snprintf(ret, 64, "since %s (%s)", time, span(w->in->now_ms - at_ms, age));
    w->out->since_ms = at_ms;
    return ret;
}

#define SAY(w, ...)     (void)snprintf((w)->out->sentence, sizeof(w)->out->sentence, __VA_ARGS__)
#define HELP(w, ...)    (void)snprintf((w)->out->command, sizeof(w)->out->command, __VA_ARGS__)
#define REGION(w)       ((w)->in->droplet->region)
#define LIST_COMMAND(w) HELP(w, "harpoonctl hypervisors list --region %s", REGION(w))

static void help_to_fence(struct writer *w, hypervisor_id h)
{
    HELP(w, "harpoonctl hypervisors fence %" PRIu64 " --region %s --yes-powered-off --reason TEXT",
         h.v, REGION(w));
}

/* ---- nothing is unfinished ---- */
static void explain_gone(struct writer *w)
{
    const struct admin_droplet *d = w->in->droplet;
    char at[64];

    SAY(w, "it was deleted and nothing of it exists %s; nobody must act.",
        since(w, d->gone_ms != 0 ? d->gone_ms : d->deleted_ms, at));
}

static void explain_failed(struct writer *w)
{
    const struct admin_event *last = w->in->last;
    const char *reason = last != NULL ? event_reason_name(last->row.reason) : "";
    char at[64];

    w->out->waiting_for = "operator";
    SAY(w, "its create %s%s%s %s; an operator may replay it, or its customer delete it.",
        last != NULL ? event_state_name(last->row.state) : "failed", reason[0] != 0 ? ": " : "",
        reason, since(w, last != NULL ? last->row.done_ms : w->in->droplet->created_ms, at));
    if (last != NULL && last->row.type == EVENT_CREATE && last->row.state == EVENT_FAILED)
        HELP(w, "harpoonctl dead replay %" PRIu64 " --reason TEXT", last->row.id.v);
}

static void explain_living(struct writer *w)
{
    const struct admin_droplet *d = w->in->droplet;
    const struct admin_event *last = w->in->last;
    int64_t at_ms = last != NULL && last->row.done_ms != 0 ? last->row.done_ms : d->created_ms;
    char at[64];

    if (w->in->fenced)
        SAY(w,
            "it lived on hypervisor %" PRIu64
            ", which is fenced %s: it does not run; its customer must delete it.",
            d->hypervisor.v, since(w, w->in->fenced_ms, at));
    else
        SAY(w, "it is %s on hypervisor %" PRIu64 " %s; nobody must act.",
            droplet_status_name(d->status), d->hypervisor.v, since(w, at_ms, at));
}

static void explain_settled(struct writer *w)
{
    const struct admin_droplet *d = w->in->droplet;

    if (d->deleted_ms != 0)
        explain_gone(w);
    else if (d->hypervisor.v != 0)
        explain_living(w);
    else
        explain_failed(w);
}

/* ---- a pending event ---- */
static void explain_no_room(struct writer *w, const struct event *e)
{
    char at[64];

    w->out->waiting_for = "capacity";
    SAY(w,
        "its %s waits %s for a hypervisor of %s with room; an operator must add, approve or "
        "unfence some.",
        event_type_name(e->type), since(w, e->waiting_since_ms, at), REGION(w));
    LIST_COMMAND(w);
}

static void explain_unreached(struct writer *w, const struct event *e)
{
    char at[64];
    bool pinned = e->hypervisor.v != 0;

    w->out->waiting_for = pinned ? "hypervisor" : "agent";
    since(w, e->waiting_since_ms, at);
    if (!pinned) {
        SAY(w,
            "its %s waits %s: the hypervisor chosen for it does not answer (%s); it is tried "
            "again by itself, then elsewhere.",
            event_type_name(e->type), at, event_reason_name(e->reason));
        LIST_COMMAND(w);
        return;
    }
    SAY(w,
        "its %s waits %s for hypervisor %" PRIu64
        " (%s); an operator must bring it back, or fence it when it is powered off or wiped.",
        event_type_name(e->type), at, e->hypervisor.v, event_reason_name(e->reason));
    help_to_fence(w, e->hypervisor);
}

static void explain_retry(struct writer *w, const struct event *e)
{
    char left[24];
    int64_t wait_ms = e->check_at_ms - w->in->now_ms;

    w->out->waiting_for = "scheduler";
    w->out->since_ms = e->created_ms;
    SAY(w, "attempt %u of its %s ended (%s); attempt %u begins in %s by itself.", e->attempt - 1,
        event_type_name(e->type), event_reason_name(e->reason), e->attempt, span(wait_ms, left));
    HELP(w, "harpoonctl events show %" PRIu64, e->id.v);
}

static void explain_fresh(struct writer *w, const struct event *e)
{
    char at[64];
    bool pinned = e->hypervisor.v != 0;

    w->out->waiting_for = pinned ? "router" : "scheduler";
    SAY(w,
        "its %s waits %s to be taken from its queue and %s; it is published again by itself, and "
        "when this lasts, an operator must look at the workers.",
        event_type_name(e->type), since(w, e->created_ms, at), pinned ? "delivered" : "placed");
    HELP(w, "harpoonctl queues");
}

static void explain_pending(struct writer *w, const struct event *e)
{
    char at[64];

    switch (e->reason) {
    case REASON_NO_ROOM:
        explain_no_room(w, e);
        return;
    case REASON_NOT_CONNECTED:
    case REASON_NO_ANSWER:
    case REASON_BUSY:
        if (e->waiting_since_ms != 0) {
            explain_unreached(w, e);
            return;
        }
        break;
    case REASON_UNDECODABLE:
        w->out->waiting_for = "operator";
        SAY(w,
            "the message of its %s could not be read by a worker %s; an operator must look whether "
            "all workers run the same version.",
            event_type_name(e->type), since(w, e->waiting_since_ms, at));
        HELP(w, "harpoonctl events show %" PRIu64, e->id.v);
        return;
    default:
        break;
    }
    if (e->attempt > 1)
        explain_retry(w, e);
    else
        explain_fresh(w, e);
}

/* ---- in an agent's hands ---- */
static void explain_dispatched(struct writer *w, const struct event *e)
{
    int64_t at_ms = e->state == EVENT_RUNNING ? e->running_ms : e->dispatched_ms;
    const char *doing = e->state == EVENT_RUNNING ? "is being done by" : "was handed to";
    bool silent = w->in->now_ms - at_ms > AGENT_PATIENCE_MS;
    char at[64];

    since(w, at_ms, at);
    if (w->in->fenced) {
        w->out->waiting_for = "scheduler";
        SAY(w,
            "its %s %s hypervisor %" PRIu64 " %s, which was fenced: it goes on elsewhere or ends "
            "by itself.",
            event_type_name(e->type), doing, e->hypervisor.v, at);
    } else if (!silent) {
        w->out->waiting_for = "agent";
        SAY(w, "its %s %s the agent of hypervisor %" PRIu64 " %s; nobody must act.",
            event_type_name(e->type), doing, e->hypervisor.v, at);
    } else {
        w->out->waiting_for = "hypervisor";
        SAY(w,
            "its %s %s the agent of hypervisor %" PRIu64
            " %s and nothing was heard since; an operator must bring the hypervisor back, or fence "
            "it when it is powered off or wiped.",
            event_type_name(e->type), doing, e->hypervisor.v, at);
        help_to_fence(w, e->hypervisor);
    }
}

hypervisor_id explain_hypervisor(const struct admin_droplet *droplet,
                                 const struct admin_event *event)
{
    if (event != NULL && event->row.hypervisor.v != 0)
        return event->row.hypervisor;
    return droplet->hypervisor;
}

void explain_droplet(const struct explain_input *in, struct explanation *ret)
{
    struct writer w = {in, ret};

    memset(ret, 0, sizeof *ret);
    ret->waiting_for = "nobody";
    if (in->event == NULL) {
        explain_settled(&w);
        return;
    }
    ret->next_check_ms = in->event->row.check_at_ms;
    ret->deadline_ms = in->event->row.deadline_ms;
    if (in->event->row.state == EVENT_PENDING)
        explain_pending(&w, &in->event->row);
    else
        explain_dispatched(&w, &in->event->row);
}
