#include "harpoon/worker/batch.h"

#include "harpoon/worker/batch_internal.h"
#include "harpoon/worker/metrics.h"
#include "lib/clock.h"
#include "lib/macros.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DARK_PERMILLE 200 /* a region darker than this: it is us, not them */

int batch_new(const struct pipelines_options *options, struct batch **ret, struct error *err)
{
    struct batch *b = calloc(1, sizeof *b);

    if (b == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    b->options = options;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->stored, NULL);
    *ret = b;
    return 0;
}

struct batch *batch_free(struct batch *b)
{
    if (b != NULL) {
        pthread_cond_destroy(&b->stored);
        pthread_mutex_destroy(&b->lock);
        free(b);
    }
    return NULL;
}

void batch_choose(struct batch *b, enum todo todo)
{
    b->chosen_count = 0;
    for (size_t i = 0; i < b->count; i++)
        if (b->tasks[i].todo == todo)
            b->chosen[b->chosen_count++] = &b->tasks[i];
}

void batch_hold(struct batch *b, struct task *t, const char *peer, const char *why)
{
    t->todo = TODO_HOLD;
    snprintf(b->away, sizeof b->away, "%s: %s", peer, why);
}

static bool is_pinned(const struct work *w)
{
    return !event_policy_get(w->row.type)->placed;
}

/* What the row is to be told about this work. */
static struct event_input *add_input(struct task *t, enum event_input_kind kind,
                                     enum event_reason reason, const char *detail)
{
    assert(t->input_count < INPUTS_MAX);
    struct transition *i = &t->inputs[t->input_count++];

    memset(&i->item, 0, sizeof i->item);
    i->item.id = t->work->row.id;
    i->item.in = (struct event_input){
        .kind = kind,
        .attempt = t->work->row.attempt,
        .hypervisor = t->work->target,
        .journal = t->work->row.journal,
        .reason = reason,
        .actor = "worker",
    };
    snprintf(i->detail, sizeof i->detail, "%s", detail);
    t->todo = TODO_STORE;
    return &i->item.in;
}

/* ---- sort ---- */

/* What a message asks for. It may be old: only the row decides. */
static void sort_task(struct batch *b, struct task *t)
{
    const struct work *w = t->work;
    bool named = w->row.state != EVENT_PENDING || is_pinned(w);

    if (event_is_late(&w->row, unix_ms()))
        t->todo = TODO_END; /* the sweeper ends it; what is late is not begun */
    else if (named && facts_is_fenced(b->options->facts, w->row.hypervisor))
        add_input(t, IN_FENCED, REASON_FENCED, "");
    else if (is_pinned(w))
        t->todo = TODO_DELIVER;
    else if (w->row.state == EVENT_PENDING)
        t->todo = TODO_PLACE;
    else
        add_input(t, IN_POKE, REASON_NONE, ""); /* is the row as the message says? then Start */
}

/* ---- place ---- */

static void take_placement(struct batch *b, struct task *t, const struct placement *p)
{
    switch (p->outcome) {
    case PLACED:
        metric_add(M_PLACEMENTS, 1, b->slug, "placed", NULL);
        t->work->target = p->hypervisor;
        t->todo = TODO_DELIVER;
        if (facts_is_fenced(b->options->facts, p->hypervisor))
            add_input(t, IN_REFUSED, REASON_FENCED, "placed on a fenced hypervisor");
        break;
    case PLACE_NO_ROOM:
        metric_add(M_PLACEMENTS, 1, b->slug, "no_room", NULL);
        add_input(t, IN_NO_ROOM, REASON_NO_ROOM, p->reason);
        break;
    case PLACE_STALE: /* a higher attempt is under way: this message is old */
        metric_add(M_PLACEMENTS, 1, b->slug, "stale", NULL);
        t->todo = TODO_END;
        break;
    }
}

static void take_dark(struct batch *b, unsigned permille)
{
    b->dark = permille > DARK_PERMILLE;
    metric_set(M_REGION_DARK, permille / 1000.0, b->slug, NULL);
}

static bool is_of_one_item(int result)
{
    return result == ERR_INVALID || result == ERR_TOO_LARGE || result == ERR_INTERNAL;
}

/* The scheduler did not take the list as it is: one by one, so that one of them does not keep the
 * others. Once it is away, the rest need not ask. Returns what it said. */
static int place_alone(struct batch *b, struct task *t, struct error *err)
{
    struct placement placement;
    unsigned dark;
    int r = placer_place(b->options->placers[b->region], &t->work, 1, &placement, &dark, err);

    if (r == 0) {
        take_dark(b, dark);
        take_placement(b, t, &placement);
    } else if (r == ERR_INTERNAL) {
        add_input(t, IN_NO_ROOM, REASON_OTHER, err->message);
    } else if (is_of_one_item(r)) {
        add_input(t, IN_REFUSED, REASON_OTHER, err->message);
    } else {
        batch_hold(b, t, "scheduler", err->message);
    }
    return r;
}

static void place(struct batch *b)
{
    struct error err;
    unsigned dark_permille = 0;
    int64_t started = mono_ms();

    batch_choose(b, TODO_PLACE);
    if (b->chosen_count == 0)
        return;
    for (size_t i = 0; i < b->chosen_count; i++)
        b->works[i] = b->chosen[i]->work;
    int r = placer_place(b->options->placers[b->region], b->works, b->chosen_count, b->placements,
                         &dark_permille, &err);
    metric_observe(M_STEP_SECONDS, (double)(mono_ms() - started) / 1000, "place", NULL);
    if (r == 0)
        take_dark(b, dark_permille);
    bool alone = is_of_one_item(r);
    for (size_t i = 0; i < b->chosen_count; i++) {
        if (r == 0) {
            take_placement(b, b->chosen[i], &b->placements[i]);
        } else if (alone) {
            int one = place_alone(b, b->chosen[i], &err);
            alone = one == 0 || is_of_one_item(one);
        } else {
            batch_hold(b, b->chosen[i], "scheduler", err.message);
        }
    }
}

/* ---- deliver ---- */

static void fill_job(struct batch *b, const struct work *w, Harpoon__Job__V1__Job *ret)
{
    const Harpoon__Event__V1__Params *params = w->message->params;

    *ret = (Harpoon__Job__V1__Job)HARPOON__JOB__V1__JOB__INIT;
    ret->installation_id = b->installation;
    ret->event_id = w->row.id.v;
    ret->attempt = w->row.attempt;
    ret->kind =
        is_pinned(w) ? HARPOON__JOB__V1__KIND__KIND_DESTROY : HARPOON__JOB__V1__KIND__KIND_CREATE;
    ret->droplet_id = w->row.droplet.v;
    ret->droplet_uuid = params->droplet_uuid;
    ret->deadline_unix_ms = w->row.deadline_ms;
    ret->spec = params->spec;
    ret->trace_id = params->trace_id;
}

static void take_refusal(struct task *t, const struct delivery *d)
{
    enum event_reason reason = event_reason_parse(d->reason);

    if (reason == REASON_NONE)
        reason = REASON_REFUSED;
    if (!d->closed) {
        add_input(t, IN_REFUSED, reason, d->reason);
        return;
    }
    /* A destroy may be in the row with a journal that was lost since: this one's word counts once
     * the row names it. */
    if (is_pinned(t->work))
        add_input(t, IN_DELIVERED, REASON_NONE, "")->journal = d->journal;
    add_input(t, IN_CLOSED, reason, d->reason)->journal = d->journal;
}

static void not_connected(struct batch *b, struct task *t, enum event_reason reason)
{
    add_input(t, IN_NOT_CONNECTED, reason, event_reason_name(reason))->dark = b->dark;
}

static void take_delivery(struct batch *b, struct task *t, const struct delivery *d)
{
    static const char *const outcomes[] = {
        [DELIVERY_UNREACHED] = "unreached", [DELIVERY_ACCEPTED] = "accepted",
        [DELIVERY_REFUSED] = "refused",     [DELIVERY_NOT_CONNECTED] = "not_connected",
        [DELIVERY_NO_ANSWER] = "no_answer", [DELIVERY_BUSY] = "busy",
    };

    metric_add(M_DELIVERIES, 1, b->slug, outcomes[d->outcome], NULL);
    t->work->router = d->router;
    switch (d->outcome) {
    case DELIVERY_ACCEPTED:
        add_input(t, IN_DELIVERED, REASON_NONE, "")->journal = d->journal;
        break;
    case DELIVERY_REFUSED:
        take_refusal(t, d);
        break;
    case DELIVERY_NOT_CONNECTED:
        not_connected(b, t, REASON_NOT_CONNECTED);
        break;
    case DELIVERY_NO_ANSWER:
        not_connected(b, t, REASON_NO_ANSWER);
        break;
    case DELIVERY_BUSY:
        not_connected(b, t, REASON_BUSY);
        break;
    case DELIVERY_UNREACHED:
        if (courier_is_away(b->options->couriers[b->region]))
            batch_hold(b, t, "routers", "none can be asked");
        else
            not_connected(b, t, REASON_NOT_CONNECTED);
        break;
    }
}

static void deliver(struct batch *b)
{
    int64_t started = mono_ms();

    batch_choose(b, TODO_DELIVER);
    if (b->chosen_count == 0)
        return;
    for (size_t i = 0; i < b->chosen_count; i++) {
        const struct work *w = b->chosen[i]->work;
        fill_job(b, w, &b->jobs[i]);
        b->deliveries[i] = (struct delivery){.hypervisor = w->target, .job = &b->jobs[i]};
    }
    courier_deliver(b->options->couriers[b->region], b->deliveries, b->chosen_count);
    metric_observe(M_STEP_SECONDS, (double)(mono_ms() - started) / 1000, "deliver", NULL);
    for (size_t i = 0; i < b->chosen_count; i++)
        take_delivery(b, b->chosen[i], &b->deliveries[i]);
}

/* ---- all of it ---- */

static void begin(struct batch *b, struct work **works, size_t count)
{
    b->count = count;
    b->region = intake_region_index(works[0]->region);
    b->slug = b->options->regions->regions[b->region].slug;
    b->dark = false;
    b->away[0] = 0;
    for (size_t i = 0; i < count; i++) {
        struct task *t = &b->tasks[i];
        t->batch = b;
        t->work = works[i];
        t->work->target = t->work->row.hypervisor;
        t->work->router = COURIER_ANY;
        t->input_count = 0;
        t->result = 0;
    }
}

void batch_run(struct batch *b, struct work **works, size_t count)
{
    struct uuid installation;

    assert(count > 0 && count <= BATCH_MAX);
    begin(b, works, count);
    if (facts_installation(b->options->facts, &installation)) {
        uuid_format(&installation, b->installation);
        for (size_t i = 0; i < count; i++)
            sort_task(b, &b->tasks[i]);
        place(b);
        deliver(b);
        batch_store(b);
    } else {
        for (size_t i = 0; i < count; i++)
            batch_hold(b, &b->tasks[i], "database", "the installation is not known yet");
    }
    batch_finish(b);
}
