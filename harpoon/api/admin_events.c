/* harpoon/api/admin_events.c: ListEvents, ShowEvent, CancelEvent, ReplayEvents, ExplainDroplet,
 * ListQueues. */
#include "harpoon/api/admin_internal.h"
#include "harpoon/api/explain.h"
#include "harpoon/api/timeline.h"
#include "harpoon/store/admin.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIST_DEFAULT = 100,
    LIST_MAX = 1000,
    REPLAY_MAX = 1000,
    REASON_MAX = 200, /* bytes; what the timeline's column holds with some words before it */
    DROPLET_EVENTS_MAX = 50,
};

/* Texts of answers are never NULL. */
static char *borrow(const char *s)
{
    return (char *)(uintptr_t)s;
}

static int check_reason(const char *reason, struct error *err)
{
    if (reason == NULL || reason[0] == 0)
        return error_set(err, ERR_INVALID, "a reason is expected: it stays in the timeline");
    if (strlen(reason) > REASON_MAX)
        return error_set(err, ERR_INVALID, "the reason is longer than %d bytes", REASON_MAX);
    return 0;
}

/* ---- ListEvents ---- */
static int parse_filter(const Harpoon__Admin__V1__ListEventsRequest *in, struct admin_filter *ret,
                        struct error *err)
{
    bool all = strcmp(in->state, "all") == 0;

    *ret = (struct admin_filter){
        .unfinished = in->state[0] == 0 && !in->dead,
        .dead = in->dead,
        .region = in->region,
        .before_id = in->before_id,
        .limit = in->limit == 0         ? LIST_DEFAULT
                 : in->limit > LIST_MAX ? LIST_MAX
                                        : in->limit,
    };
    if (in->state[0] != 0 && !all && !event_state_parse(in->state, &ret->state))
        return error_set(err, ERR_INVALID, "\"%.40s\" is no state of events", in->state);
    if (in->type[0] != 0 && !event_type_parse(in->type, &ret->type))
        return error_set(err, ERR_INVALID, "\"%.40s\" is no type of events", in->type);
    return 0;
}

int admin_list_events_call(struct admin_call *c, struct error *err)
{
    Harpoon__Admin__V1__ListEventsReply out = HARPOON__ADMIN__V1__LIST_EVENTS_REPLY__INIT;
    struct admin_filter filter;
    struct admin_event *events = NULL;
    struct timeline t;
    size_t count = 0;
    int r = parse_filter((const void *)c->in, &filter, err);

    if (r == 0)
        r = admin_list_events(c->db, &filter, &events, &count, err);
    if (r == 0)
        r = timeline_new(events, count, NULL, 0, &t, err);
    if (r == 0) {
        out.events = t.events;
        out.n_events = t.event_count;
        rpc_reply(c->rpc, &out.base);
        timeline_free(&t);
    }
    free(events);
    return r;
}

/* ---- ShowEvent ---- */
int admin_show_event_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__ShowEventRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__ShowEventReply out = HARPOON__ADMIN__V1__SHOW_EVENT_REPLY__INIT;
    struct admin_event event;
    struct admin_log *logs = NULL;
    struct timeline t;
    size_t log_count = 0;
    int r = admin_find_event(c->db, (event_id){in->event_id}, &event, err);

    if (r == 0)
        r = admin_list_logs(c->db, &in->event_id, 1, &logs, &log_count, err);
    if (r == 0)
        r = timeline_new(&event, 1, logs, log_count, &t, err);
    if (r == 0) {
        out.event = t.events[0];
        out.timeline = t.entries;
        out.n_timeline = t.entry_count;
        rpc_reply(c->rpc, &out.base);
        timeline_free(&t);
    }
    free(logs);
    return r;
}

/* ---- CancelEvent ---- */
static int apply_cancel(struct admin_call *c, uint64_t id, const char *reason, struct error *err)
{
    struct events_env env;
    struct event_item item = {
        .id = {id},
        .in = {.kind = IN_CANCEL, .detail = reason, .actor = ADMIN_ACTOR},
    };
    int r = admin_events_env(c, &env, err);

    if (r == 0)
        r = events_apply(c->db, &env, &item, 1, err);
    if (r < 0)
        return r;
    if (item.outcome == OUTCOME_UNKNOWN)
        return error_set(err, ERR_NOT_FOUND, "there is no event %" PRIu64, id);
    if (item.outcome == OUTCOME_MOVED)
        log_warn("operator cancelled an event", F_EVENT(id), F_DROPLET(item.row.droplet.v),
                 F_STR("reason", reason));
    else if (item.row.state != EVENT_CANCELLED) /* cancelled before is as good */
        return error_set(err, ERR_CONFLICT,
                         "event %" PRIu64 " is a %s that is %s: only a pending create can be "
                         "cancelled",
                         id, event_type_name(item.row.type), event_state_name(item.row.state));
    return 0;
}

int admin_cancel_event_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__CancelEventRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__CancelEventReply out = HARPOON__ADMIN__V1__CANCEL_EVENT_REPLY__INIT;
    struct admin_event event;
    struct timeline t;
    int r = check_reason(in->reason, err);

    if (r == 0)
        r = apply_cancel(c, in->event_id, in->reason, err);
    if (r == 0)
        r = admin_find_event(c->db, (event_id){in->event_id}, &event, err);
    if (r == 0)
        r = timeline_new(&event, 1, NULL, 0, &t, err);
    if (r < 0)
        return r;
    out.event = t.events[0];
    rpc_reply(c->rpc, &out.base);
    timeline_free(&t);
    return 0;
}

/* ---- ReplayEvents ---- */
struct replays {
    struct admin_replayed *items;
    Harpoon__Admin__V1__Replayed *messages, **list;
    size_t count;
};

static int replay_all(struct admin_call *c, const Harpoon__Admin__V1__ReplayEventsRequest *in,
                      struct replays *p, struct error *err)
{
    const struct admin_replay_env env = {
        .event_ids = c->admin->options.event_ids,
        .addresses = c->admin->options.addresses,
        .create_deadline_ms = c->admin->options.create_deadline_ms,
        .actor = ADMIN_ACTOR,
        .reason = in->reason,
    };

    for (size_t i = 0; i < in->n_event_ids; i++) {
        struct admin_replayed *item = &p->items[i];
        Harpoon__Admin__V1__Replayed *m = &p->messages[i];
        item->event.v = in->event_ids[i];
        int r = admin_check_stopping(c->admin, err);
        if (r == 0)
            r = admin_replay(c->db, &env, in->dry_run, item, err);
        if (r == ERR_NO_CAPACITY || r == ERR_BUSY) /* the others may still go */
            (void)snprintf(item->refused, sizeof item->refused, "%.199s", err->message);
        else if (r < 0)
            return error_in(err, "%zu replayed, then event %" PRIu64, i, in->event_ids[i]);
        harpoon__admin__v1__replayed__init(m);
        m->event_id = item->event.v;
        m->new_event_id = item->as.v;
        m->refused_because = item->refused;
        p->list[p->count++] = m;
        if (r == 1)
            log_warn("operator replayed an event", F_EVENT(item->event.v),
                     F_U64("new_event_id", item->as.v), F_STR("reason", in->reason));
    }
    return 0;
}

int admin_replay_events_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__ReplayEventsRequest *in = (const void *)c->in;
    Harpoon__Admin__V1__ReplayEventsReply out = HARPOON__ADMIN__V1__REPLAY_EVENTS_REPLY__INIT;
    struct replays p = {0};
    int r = check_reason(in->reason, err);

    if (r == 0 && in->n_event_ids > REPLAY_MAX)
        r = error_set(err, ERR_INVALID, "more than %d events", REPLAY_MAX);
    if (r < 0)
        return r;
    p.items = calloc(in->n_event_ids + 1, sizeof *p.items);
    p.messages = calloc(in->n_event_ids + 1, sizeof *p.messages);
    p.list = calloc(in->n_event_ids + 1, sizeof *p.list);
    r = p.items != NULL && p.messages != NULL && p.list != NULL
            ? replay_all(c, in, &p, err)
            : error_set(err, ERR_INTERNAL, "out of memory");
    admin_wake(c->admin);
    if (r == 0) {
        out.results = p.list;
        out.n_results = p.count;
        rpc_reply(c->rpc, &out.base);
    }
    free(p.items);
    free(p.messages);
    free(p.list);
    return r;
}

/* ---- ExplainDroplet ---- */
struct story {
    struct admin_droplet droplet;
    struct admin_event *events; /* oldest first */
    size_t event_count;
    struct admin_log *logs;
    size_t log_count;
    const struct admin_event *unfinished, *last;
    struct admin_fence fence;
};

static int read_logs(struct admin_call *c, struct story *s, struct error *err)
{
    uint64_t ids[DROPLET_EVENTS_MAX];

    for (size_t i = 0; i < s->event_count; i++)
        ids[i] = s->events[i].row.id.v;
    return admin_list_logs(c->db, ids, s->event_count, &s->logs, &s->log_count, err);
}

static int read_story(struct admin_call *c, droplet_id id, struct story *s, struct error *err)
{
    int r = admin_find_droplet(c->db, id, &s->droplet, err);

    if (r == 0)
        r = admin_list_droplet_events(c->db, id, DROPLET_EVENTS_MAX, &s->events, &s->event_count,
                                      err);
    if (r == 0)
        r = read_logs(c, s, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < s->event_count; i++) {
        if (s->events[i].row.id.v == s->droplet.event.v)
            s->unfinished = &s->events[i];
        if (s->events[i].row.type != EVENT_CLEANUP)
            s->last = &s->events[i];
    }
    hypervisor_id h = explain_hypervisor(&s->droplet, s->unfinished);
    return h.v != 0 ? admin_find_fence(c->db, h, &s->fence, err) : 0;
}

static int reply_story(struct admin_call *c, const struct story *s, struct error *err)
{
    Harpoon__Admin__V1__ExplainDropletReply out = HARPOON__ADMIN__V1__EXPLAIN_DROPLET_REPLY__INIT;
    const struct explain_input in = {
        .droplet = &s->droplet,
        .event = s->unfinished,
        .last = s->last,
        .fenced = s->fence.found,
        .fenced_ms = s->fence.at_ms,
        .now_ms = unix_ms(),
    };
    struct explanation why;
    struct timeline t;
    int r = timeline_new(s->events, s->event_count, s->logs, s->log_count, &t, err);

    if (r < 0)
        return r;
    explain_droplet(&in, &why);
    out.droplet_id = s->droplet.id.v;
    out.name = borrow(s->droplet.name);
    out.status =
        borrow(s->droplet.deleted_ms != 0 ? "deleted" : droplet_status_name(s->droplet.status));
    out.sentence = why.sentence;
    out.waiting_for = borrow(why.waiting_for);
    out.since_unix_ms = why.since_ms;
    out.next_check_unix_ms = why.next_check_ms;
    out.deadline_unix_ms = why.deadline_ms;
    out.command = why.command;
    out.events = t.events;
    out.n_events = t.event_count;
    out.timeline = t.entries;
    out.n_timeline = t.entry_count;
    rpc_reply(c->rpc, &out.base);
    timeline_free(&t);
    return 0;
}

int admin_explain_droplet_call(struct admin_call *c, struct error *err)
{
    const Harpoon__Admin__V1__ExplainDropletRequest *in = (const void *)c->in;
    struct story s = {0};
    int r = read_story(c, (droplet_id){in->droplet_id}, &s, err);

    if (r == 0)
        r = reply_story(c, &s, err);
    free(s.events);
    free(s.logs);
    return r;
}

/* ---- ListQueues ---- */
static void fill_queue(const struct admin_queue *from, Harpoon__Admin__V1__QueueInfo *ret)
{
    harpoon__admin__v1__queue_info__init(ret);
    ret->name = borrow(from->name);
    ret->region = borrow(from->region);
    ret->pending = from->pending;
    ret->due = from->due;
    ret->dispatched = from->dispatched;
    ret->running = from->running;
    ret->oldest_unix_ms = from->oldest_ms;
    ret->taken_at_unix_ms = from->taken_at_ms;
}

int admin_list_queues_call(struct admin_call *c, struct error *err)
{
    Harpoon__Admin__V1__ListQueuesReply out = HARPOON__ADMIN__V1__LIST_QUEUES_REPLY__INIT;
    struct admin_queue *queues = NULL;
    size_t count = 0;
    int r = admin_list_queues(c->db, &queues, &count, err);

    if (r < 0)
        return r;
    Harpoon__Admin__V1__QueueInfo *messages = calloc(count + 1, sizeof *messages);
    Harpoon__Admin__V1__QueueInfo **list = calloc(count + 1, sizeof *list);
    if (messages == NULL || list == NULL) {
        r = error_set(err, ERR_INTERNAL, "out of memory");
    } else {
        for (size_t i = 0; i < count; i++) {
            fill_queue(&queues[i], &messages[i]);
            list[i] = &messages[i];
        }
        out.queues = list;
        out.n_queues = count;
        rpc_reply(c->rpc, &out.base);
    }
    free(messages);
    free(list);
    free(queues);
    return r;
}
