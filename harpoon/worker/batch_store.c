#include "harpoon/worker/batch_internal.h"
#include "harpoon/worker/metrics.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/macros.h"

/* ---- store ---- */

static void on_done(void *ctx, struct transition *i, int result)
{
    struct task *t = ctx;
    struct batch *b = t->batch;

    UNUSED(i);
    LOCK_SCOPE(&b->lock);
    if (result < 0)
        t->result = result;
    if (--b->open == 0)
        pthread_cond_signal(&b->stored);
}

static void submit(struct batch *b, struct task *t)
{
    struct error err;

    for (unsigned k = 0; k < t->input_count; k++) {
        t->inputs[k].done = on_done;
        t->inputs[k].ctx = t;
        int r = transitions_submit(b->options->transitions, &t->inputs[k], &err);
        if (r < 0)
            on_done(t, &t->inputs[k], r);
    }
}

static void store(struct batch *b)
{
    size_t inputs = 0;

    batch_choose(b, TODO_STORE);
    for (size_t i = 0; i < b->chosen_count; i++)
        inputs += b->chosen[i]->input_count;
    pthread_mutex_lock(&b->lock);
    b->open = inputs;
    pthread_mutex_unlock(&b->lock);
    for (size_t i = 0; i < b->chosen_count; i++)
        submit(b, b->chosen[i]);
    pthread_mutex_lock(&b->lock);
    while (b->open > 0)
        pthread_cond_wait(&b->stored, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

/* ---- then act: the row is the permission ---- */

static struct courier_ref ref_of(const struct task *t, const struct event_input *in)
{
    return (struct courier_ref){
        .hypervisor = in->hypervisor,
        .journal = in->journal,
        .event = t->work->row.id,
        .attempt = in->attempt,
        .router = t->work->router,
    };
}

static void act(struct batch *b, struct task *t)
{
    const struct event_item *last = &t->inputs[t->input_count - 1].item;
    const struct event_input *in = &last->in;
    enum event_answer answer = last->answer;

    if (last->outcome == OUTCOME_UNKNOWN) {
        log_warn("message of an event without a row", F_EVENT(t->work->row.id.v),
                 F_REGION(b->slug));
        return;
    }
    if (in->kind == IN_POKE) /* asked only to see the row */
        answer = event_confirm(&last->row, in->attempt, in->hypervisor, &in->journal);
    if ((in->kind == IN_POKE || in->kind == IN_DELIVERED) && answer == ANSWER_START)
        b->starts[b->start_count++] = ref_of(t, in);
    else if (in->kind == IN_DELIVERED && answer == ANSWER_DROP)
        b->drops[b->drop_count++] = ref_of(t, in);
    /* A missed comparison alone releases nothing: whether the claim is wanted, the row says. */
    if (event_policy_get(t->work->row.type)->placed && t->work->target.v != 0)
        transitions_release_unwanted(b->options->transitions, &last->row, in->attempt);
}

static void send(struct batch *b)
{
    struct courier *c = b->options->couriers[b->region];
    int64_t started = mono_ms();

    if (b->start_count > 0) {
        courier_begin(c, b->starts, b->start_count);
        metric_observe(M_STEP_SECONDS, (double)(mono_ms() - started) / 1000, "start", NULL);
    }
    if (b->drop_count > 0)
        courier_forget(c, b->drops, b->drop_count);
    for (size_t i = 0; i < b->start_count; i++)
        metric_add(M_STARTS, 1, b->slug, b->starts[i].sent ? "yes" : "no", NULL);
    for (size_t i = 0; i < b->drop_count; i++)
        metric_add(M_DROPS, 1, b->slug, b->drops[i].sent ? "yes" : "no", NULL);
}

void batch_store(struct batch *b)
{
    b->start_count = b->drop_count = 0;
    store(b);
    for (size_t i = 0; i < b->chosen_count; i++) {
        struct task *t = b->chosen[i];
        if (t->result == 0) {
            t->todo = TODO_END;
            act(b, t);
        } else {
            batch_hold(b, t, "database or scheduler", "what was done could not be stored");
        }
    }
    send(b);
}

void batch_finish(struct batch *b)
{
    bool well = true;

    for (size_t i = 0; i < b->count; i++)
        well = well && b->tasks[i].todo != TODO_HOLD;
    /* Before the works go back: nobody takes them again before the pause. */
    intake_report(b->options->intake, b->region, well, b->away);
    for (size_t i = 0; i < b->count; i++)
        if (b->tasks[i].todo == TODO_HOLD)
            intake_hold(b->tasks[i].work);
        else
            intake_end(b->tasks[i].work);
}
