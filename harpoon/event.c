#include "harpoon/event.h"

#include "lib/macros.h"

#include <string.h>

#define SECONDS(n) ((int64_t)(n)*1000)

/* Not connected is not an attempt: the same claim for so long, then the next attempt elsewhere. */
#define SAME_CLAIM_MS SECONDS(15)
#define RETRY_MIN_MS  SECONDS(2)
/* Room returns with every create that ends. A look that was just taken is not taken again at once,
 * even past the deadline. */
#define MARGIN_MIN_MS 500
/* What the column holds; at five minutes each it lasts for months, then the last one stays. */
#define ATTEMPT_MAX UINT16_MAX

/* ---- the table ---- */

#define CREATE (1U << EVENT_CREATE)
#define PINNED (1U << EVENT_DESTROY | 1U << EVENT_CLEANUP)
#define ANY    (CREATE | PINNED)

enum match {        /* what the input must name for the row to be meant */
             M_ROW, /* nothing more */
             M_ATTEMPT,
             M_TARGET,  /* the attempt; of a pinned event its hypervisor too */
             M_JOB,     /* the attempt, the hypervisor and the journal that the row names */
             M_JOURNAL, /* the attempt and the hypervisor, with another journal */
             M_HOST,    /* the hypervisor */
};

enum guard {
    G_NONE,
    G_MORE,    /* another attempt is allowed, and the droplet is still wanted */
    G_LAST,    /* it is not */
    G_HOLD,    /* not connected: the claim is kept */
    G_MOVE,    /* not connected long enough, the region is not dark; another attempt */
    G_GIVE_UP, /* the same at the last attempt */
    G_LATE,    /* past the deadline */
};

struct event_move {
    unsigned types;
    enum event_state from;
    enum event_input_kind in;
    enum match match;
    enum guard guard;
    enum event_state to;
    unsigned attempt; /* added */
    enum event_release release_first;
    const char *log_what;
};

/* The only place that knows the legal moves. The first row that fits is taken. */
static const struct event_move moves[] = {
    {ANY, EVENT_PENDING, IN_DELIVERED, M_TARGET, G_NONE, EVENT_DISPATCHED, 0, 0, NULL},
    {ANY, EVENT_PENDING, IN_REFUSED, M_TARGET, G_MORE, EVENT_PENDING, 1, 0, "attempt refused"},
    {CREATE, EVENT_PENDING, IN_REFUSED, M_TARGET, G_LAST, EVENT_FAILED, 0, 0, "out of attempts"},
    {ANY, EVENT_PENDING, IN_CLOSED, M_TARGET, G_MORE, EVENT_PENDING, 1, 0, "attempt closed"},
    {CREATE, EVENT_PENDING, IN_CLOSED, M_TARGET, G_LAST, EVENT_FAILED, 0, 0, "out of attempts"},
    {ANY, EVENT_PENDING, IN_NOT_CONNECTED, M_TARGET, G_HOLD, EVENT_PENDING, 0, 0, NULL},
    {CREATE, EVENT_PENDING, IN_NOT_CONNECTED, M_TARGET, G_MOVE, EVENT_PENDING, 1, 0,
     "attempt not connected"},
    {CREATE, EVENT_PENDING, IN_NOT_CONNECTED, M_TARGET, G_GIVE_UP, EVENT_FAILED, 0, 0,
     "out of attempts"},
    {CREATE, EVENT_PENDING, IN_NO_ROOM, M_ATTEMPT, G_NONE, EVENT_PENDING, 0, 0, NULL},
    {CREATE, EVENT_PENDING, IN_CANCEL, M_ROW, G_NONE, EVENT_CANCELLED, 0, 0, "cancelled"},
    {CREATE, EVENT_PENDING, IN_DEADLINE, M_ROW, G_LATE, EVENT_FAILED, 0, 0, "deadline passed"},
    {PINNED, EVENT_PENDING, IN_FENCED, M_HOST, G_NONE, EVENT_SUCCEEDED, 0, RELEASE_DROPLET,
     "hypervisor fenced"},
    {ANY, EVENT_PENDING, IN_POKE, M_ROW, G_NONE, EVENT_PENDING, 0, 0, NULL},
    {ANY, EVENT_PENDING, IN_UNREADABLE, M_ROW, G_NONE, EVENT_PENDING, 0, 0, NULL},

    {PINNED, EVENT_DISPATCHED, IN_DELIVERED, M_JOURNAL, G_NONE, EVENT_DISPATCHED, 0, 0,
     "dispatched again"},
    {CREATE, EVENT_DISPATCHED, IN_RUNNING, M_JOB, G_NONE, EVENT_RUNNING, 0, 0, NULL},
    {CREATE, EVENT_DISPATCHED, IN_SUCCEEDED, M_JOB, G_NONE, EVENT_SUCCEEDED, 0, 0, NULL},
    {PINNED, EVENT_DISPATCHED, IN_SUCCEEDED, M_JOB, G_NONE, EVENT_SUCCEEDED, 0, RELEASE_DROPLET,
     NULL},
    {ANY, EVENT_DISPATCHED, IN_CLOSED, M_JOB, G_MORE, EVENT_PENDING, 1, 0, "attempt closed"},
    {CREATE, EVENT_DISPATCHED, IN_CLOSED, M_JOB, G_LAST, EVENT_FAILED, 0, RELEASE_ATTEMPT,
     "out of attempts"},
    {CREATE, EVENT_DISPATCHED, IN_FENCED, M_HOST, G_MORE, EVENT_PENDING, 1, 0, "hypervisor fenced"},
    {CREATE, EVENT_DISPATCHED, IN_FENCED, M_HOST, G_LAST, EVENT_FAILED, 0, RELEASE_ATTEMPT,
     "hypervisor fenced"},
    {PINNED, EVENT_DISPATCHED, IN_FENCED, M_HOST, G_NONE, EVENT_SUCCEEDED, 0, RELEASE_DROPLET,
     "hypervisor fenced"},
    {CREATE, EVENT_DISPATCHED, IN_DEADLINE, M_ROW, G_LATE, EVENT_FAILED, 0, 0, "deadline passed"},

    {CREATE, EVENT_RUNNING, IN_SUCCEEDED, M_JOB, G_NONE, EVENT_SUCCEEDED, 0, 0, NULL},
    {CREATE, EVENT_RUNNING, IN_CLOSED, M_JOB, G_MORE, EVENT_PENDING, 1, 0, "attempt closed"},
    {CREATE, EVENT_RUNNING, IN_CLOSED, M_JOB, G_LAST, EVENT_FAILED, 0, RELEASE_ATTEMPT,
     "out of attempts"},
    {CREATE, EVENT_RUNNING, IN_FENCED, M_HOST, G_MORE, EVENT_PENDING, 1, 0, "hypervisor fenced"},
    {CREATE, EVENT_RUNNING, IN_FENCED, M_HOST, G_LAST, EVENT_FAILED, 0, RELEASE_ATTEMPT,
     "hypervisor fenced"},
    {CREATE, EVENT_RUNNING, IN_DEADLINE, M_ROW, G_LATE, EVENT_FAILED, 0, 0, "deadline passed"},
};

/* ---- does a row fit ---- */

static bool same_hypervisor(const struct event *row, const struct event_input *in)
{
    return row->hypervisor.v == in->hypervisor.v;
}

static bool same_attempt(const struct event *row, const struct event_input *in)
{
    return row->attempt == in->attempt;
}

static bool same_job(const struct event *row, const struct event_input *in)
{
    return same_attempt(row, in) && same_hypervisor(row, in) &&
           uuid_equal(&row->journal, &in->journal);
}

static bool matches(enum match match, const struct event *row, const struct event_policy *policy,
                    const struct event_input *in)
{
    switch (match) {
    case M_ROW:
        return in->attempt == 0 || same_attempt(row, in);
    case M_ATTEMPT:
        return same_attempt(row, in);
    case M_TARGET:
        return same_attempt(row, in) && (policy->placed || same_hypervisor(row, in));
    case M_JOB:
        return same_job(row, in);
    case M_JOURNAL:
        return same_attempt(row, in) && same_hypervisor(row, in) &&
               !uuid_equal(&row->journal, &in->journal);
    case M_HOST:
        return same_hypervisor(row, in) && (in->attempt == 0 || same_attempt(row, in));
    }
    return false;
}

static bool has_more(const struct event *row, const struct event_policy *policy)
{
    if (row->type == EVENT_CREATE && row->droplet_deleted)
        return false; /* nobody wants it any more */
    return row->attempt < (policy->max_attempts != 0 ? policy->max_attempts : ATTEMPT_MAX);
}

static bool is_unreached(enum event_reason reason)
{
    return reason == REASON_NOT_CONNECTED || reason == REASON_NO_ANSWER || reason == REASON_BUSY;
}

/* Since when this attempt has found nobody to deliver to, counting from now if it is new. */
static int64_t unreached_since(const struct event *row, int64_t now_ms)
{
    return is_unreached(row->reason) && row->waiting_since_ms != 0 ? row->waiting_since_ms : now_ms;
}

static bool keeps_claim(const struct event *row, const struct event_policy *policy,
                        const struct event_input *in, int64_t now_ms)
{
    return !policy->placed || in->dark || now_ms - unreached_since(row, now_ms) < SAME_CLAIM_MS;
}

static bool allows(enum guard guard, const struct event *row, const struct event_policy *policy,
                   const struct event_input *in, int64_t now_ms)
{
    switch (guard) {
    case G_NONE:
        return true;
    case G_MORE:
    case G_MOVE:
        return has_more(row, policy);
    case G_LAST:
    case G_GIVE_UP:
        return !has_more(row, policy);
    case G_HOLD:
        return keeps_claim(row, policy, in, now_ms);
    case G_LATE:
        return event_is_late(row, now_ms);
    }
    return false;
}

static const struct event_move *find_move(const struct event *row,
                                          const struct event_policy *policy,
                                          const struct event_input *in, int64_t now_ms)
{
    for (size_t i = 0; i < ARRAY_LEN(moves); i++) {
        const struct event_move *m = &moves[i];
        if ((m->types & 1U << row->type) != 0 && m->from == row->state && m->in == in->kind &&
            matches(m->match, row, policy, in) && allows(m->guard, row, policy, in, now_ms))
            return m;
    }
    return NULL;
}

/* ---- what a move does ---- */

static int64_t clamp(int64_t v, int64_t least, int64_t most)
{
    return v < least ? least : v > most ? most : v;
}

/* An attempt that failed is followed at once by the second, later ones more slowly. */
static int64_t next_attempt_pause(const struct event *row, const struct event_policy *policy,
                                  int64_t now_ms)
{
    if (policy->placed)
        return row->attempt < 2 ? 0 : SECONDS(1) << (row->attempt - 2);
    return clamp((now_ms - row->created_ms) / 2, RETRY_MIN_MS, policy->retry_max_ms);
}

static void exclude(struct event *row, hypervisor_id hypervisor)
{
    if (hypervisor.v == 0)
        return;
    for (size_t i = 0; i < row->excluded_count; i++)
        if (row->excluded[i] == hypervisor.v)
            return;
    if (row->excluded_count == EVENT_EXCLUDED_MAX) { /* the oldest has had time to mend */
        memmove(row->excluded, row->excluded + 1, (EVENT_EXCLUDED_MAX - 1) * sizeof *row->excluded);
        row->excluded_count--;
    }
    row->excluded[row->excluded_count++] = hypervisor.v;
}

static void begin_attempt(struct event *row, const struct event_policy *policy,
                          const struct event_input *in, int64_t now_ms)
{
    int64_t check_at = now_ms + next_attempt_pause(row, policy, now_ms);

    row->attempt++;
    row->reason = in->kind == IN_FENCED ? REASON_FENCED : in->reason;
    if (policy->placed) {
        exclude(row, in->hypervisor);
        row->hypervisor.v = 0;
    }
    memset(&row->journal, 0, sizeof row->journal);
    row->waiting_since_ms = row->placed_ms = row->dispatched_ms = row->running_ms = 0;
    row->check_at_ms =
        row->deadline_ms != 0 && check_at > row->deadline_ms ? row->deadline_ms : check_at;
}

/* Pending it was and pending it stays: only why, and when to look again. */
static const char *keep_waiting(struct event *row, const struct event_input *in, int64_t now_ms)
{
    const char *what = NULL;

    if (in->kind != IN_POKE) {
        bool same =
            is_unreached(in->reason) ? is_unreached(row->reason) : row->reason == in->reason;
        if (!same || row->waiting_since_ms == 0) {
            row->waiting_since_ms = now_ms;
            what = in->kind == IN_NO_ROOM      ? "no room"
                   : in->kind == IN_UNREADABLE ? "message unreadable"
                                               : "not connected";
        }
        row->reason = in->reason;
    }
    row->check_at_ms = now_ms + event_margin_ms(row, now_ms);
    return what;
}

static void dispatch(struct event *row, const struct event_input *in, int64_t now_ms)
{
    row->hypervisor = in->hypervisor;
    row->journal = in->journal;
    row->reason = REASON_NONE;
    row->waiting_since_ms = 0;
    if (row->placed_ms == 0)
        row->placed_ms = now_ms;
    row->dispatched_ms = now_ms;
    row->check_at_ms = now_ms + event_margin_ms(row, now_ms);
}

static enum event_reason end_reason(const struct event *before, const struct event_input *in)
{
    switch (in->kind) {
    case IN_CANCEL:
        return REASON_CANCELLED;
    case IN_FENCED:
        return REASON_FENCED;
    case IN_DEADLINE:
        if (before->state != EVENT_PENDING)
            return REASON_HYPERVISOR_UNREACHABLE;
        return before->reason != REASON_NONE ? before->reason : REASON_DEADLINE;
    case IN_SUCCEEDED:
        return REASON_NONE;
    case IN_DELIVERED:
    case IN_REFUSED:
    case IN_NOT_CONNECTED:
    case IN_NO_ROOM:
    case IN_RUNNING:
    case IN_CLOSED:
    case IN_POKE:
    case IN_UNREADABLE:
        break;
    }
    return in->reason != REASON_NONE ? in->reason : REASON_OUT_OF_ATTEMPTS;
}

/* Which event must follow in the same transaction. */
static enum event_type follow_up_of(const struct event *before, const struct event *row,
                                    const struct event_input *in)
{
    if (row->type != EVENT_CREATE)
        return 0;
    if (row->state == EVENT_SUCCEEDED)
        return row->droplet_deleted ? EVENT_DESTROY : 0;
    /* Past its deadline nobody knows what it left. Closed or fenced, nothing is left; and while it
     * was pending nothing was made. */
    return in->kind == IN_DEADLINE && before->state != EVENT_PENDING ? EVENT_CLEANUP : 0;
}

static void end_droplet(struct event_change *ret)
{
    struct event *row = &ret->row;

    ret->droplet_changed = true;
    if (row->type == EVENT_CREATE && (row->state == EVENT_SUCCEEDED || ret->follow_up != 0)) {
        row->droplet_status = row->state == EVENT_SUCCEEDED ? DROPLET_ACTIVE : DROPLET_ARCHIVE;
        row->droplet_hypervisor = row->hypervisor;
    } else {
        row->droplet_status = DROPLET_ARCHIVE;
        row->droplet_hypervisor.v = 0;
        row->droplet_gone = ret->droplet_freed = true;
    }
    row->droplet_event.v = 0; /* the follow-up's id once the store has given it one */
}

static void end(const struct event *before, const struct event_input *in, int64_t now_ms,
                struct event_change *ret)
{
    struct event *row = &ret->row;

    row->reason = end_reason(before, in);
    row->check_at_ms = 0;
    row->waiting_since_ms = 0;
    if (row->running_ms == 0 && row->state == EVENT_SUCCEEDED && in->began_ms != 0)
        row->running_ms = in->began_ms;
    row->done_ms = now_ms;
    if (row->droplet_event.v != row->id.v)
        return; /* the droplet has moved on without it */
    ret->follow_up = follow_up_of(before, row, in);
    end_droplet(ret);
}

static void make_move(const struct event_move *move, const struct event *before,
                      const struct event_policy *policy, const struct event_input *in,
                      int64_t now_ms, struct event_change *ret)
{
    struct event *row = &ret->row;

    row->state = move->to;
    ret->changed = true;
    ret->log_what = move->log_what;
    if (event_is_final(move->to)) {
        end(before, in, now_ms, ret);
    } else if (move->attempt != 0) {
        begin_attempt(row, policy, in, now_ms);
    } else if (move->to == EVENT_PENDING) {
        ret->log_what = keep_waiting(row, in, now_ms);
    } else if (move->to == EVENT_DISPATCHED) {
        dispatch(row, in, now_ms);
    } else {
        row->running_ms = in->began_ms != 0 ? in->began_ms : now_ms;
        row->check_at_ms = now_ms + event_margin_ms(row, now_ms);
    }
}

/* ---- what the bringer is told ---- */

/* Is the attempt spoken of over, by the row? */
static bool is_over(const struct event *row, unsigned attempt)
{
    return event_is_final(row->state) || row->attempt > attempt;
}

/* To a report of `running` or `succeeded` that moved nothing. */
static enum event_answer answer_result(const struct event *row, const struct event_policy *policy,
                                       const struct event_input *in)
{
    bool alive = row->state == EVENT_DISPATCHED || row->state == EVENT_RUNNING;

    if (policy->ends_absent) /* what is absent cannot be undone */
        return is_over(row, in->attempt) || (alive && same_job(row, in)) ? ANSWER_STORED
                                                                         : ANSWER_WAIT;
    if (same_attempt(row, in) && same_hypervisor(row, in)) {
        if (row->state == EVENT_SUCCEEDED)
            return ANSWER_STORED;
        if (alive)
            return same_job(row, in) ? ANSWER_STORED : ANSWER_WAIT;
    }
    /* A row behind the report is one the database has lost and will find again. */
    if (is_over(row, in->attempt) || (alive && same_attempt(row, in)))
        return ANSWER_DISCARD;
    return ANSWER_WAIT;
}

static enum event_answer answer_unmoved(const struct event *row, const struct event_policy *policy,
                                        const struct event_input *in)
{
    switch (in->kind) {
    case IN_RUNNING:
    case IN_SUCCEEDED:
        return answer_result(row, policy, in);
    case IN_CLOSED:
        if (is_over(row, in->attempt) ||
            (same_attempt(row, in) && !same_hypervisor(row, in) && row->hypervisor.v != 0))
            return ANSWER_STORED;
        return ANSWER_WAIT;
    case IN_DELIVERED:
    case IN_REFUSED:
    case IN_NOT_CONNECTED:
        return event_confirm(row, in->attempt, in->hypervisor, &in->journal);
    case IN_NO_ROOM:
    case IN_FENCED:
    case IN_CANCEL:
    case IN_DEADLINE:
    case IN_POKE:
    case IN_UNREADABLE:
        break;
    }
    return is_over(row, in->attempt != 0 ? in->attempt : row->attempt) ? ANSWER_DROP : ANSWER_WAIT;
}

void event_step(const struct event *row, const struct event_input *in, int64_t now_ms,
                struct event_change *ret)
{
    const struct event_policy *policy = event_policy_get(row->type);
    const struct event_move *move = policy != NULL ? find_move(row, policy, in, now_ms) : NULL;

    memset(ret, 0, sizeof *ret);
    ret->row = *row;
    ret->answer = ANSWER_WAIT;
    if (policy == NULL)
        return;
    if (move == NULL) {
        ret->refused = true;
        ret->answer = answer_unmoved(row, policy, in);
    } else if (move->release_first != RELEASE_NONE && !in->released) {
        ret->release_first = move->release_first;
    } else {
        make_move(move, row, policy, in, now_ms, ret);
        ret->answer = in->kind == IN_DELIVERED ? ANSWER_START : ANSWER_STORED;
    }
}

/* ---- questions ---- */

enum event_answer event_confirm(const struct event *row, unsigned attempt, hypervisor_id hypervisor,
                                const struct uuid *journal)
{
    if (row == NULL)
        return ANSWER_WAIT;
    if (is_over(row, attempt))
        return ANSWER_DROP;
    if ((row->state == EVENT_DISPATCHED || row->state == EVENT_RUNNING) &&
        row->attempt == attempt && row->hypervisor.v == hypervisor.v &&
        uuid_equal(&row->journal, journal))
        return ANSWER_START;
    return ANSWER_WAIT;
}

bool event_wanted(const struct event *row, unsigned attempt)
{
    if (!event_is_final(row->state) && attempt >= row->attempt)
        return true;
    if (row->type == EVENT_CREATE && row->state == EVENT_SUCCEEDED && attempt == row->attempt &&
        !row->droplet_gone)
        return true;
    return row->droplet_event.v != 0 && row->droplet_event.v != row->id.v;
}

bool event_wanted_by_droplet(bool droplet_known, bool droplet_gone)
{
    return !droplet_known || !droplet_gone;
}

int64_t event_margin_ms(const struct event *row, int64_t now_ms)
{
    const struct event_policy *policy = event_policy_get(row->type);
    int64_t ms = 0;

    if (policy == NULL || event_is_final(row->state))
        return 0;
    if (row->state == EVENT_RUNNING) {
        ms = policy->running_margin_ms;
    } else if (row->state == EVENT_DISPATCHED) {
        ms = policy->dispatched_margin_ms;
        if (!policy->placed)
            ms = clamp((now_ms - row->dispatched_ms) / 2, ms, policy->retry_max_ms);
    } else if (row->waiting_since_ms == 0) {
        ms = policy->pending_margin_ms;
    } else if (policy->placed && is_unreached(row->reason)) {
        ms = RETRY_MIN_MS;
    } else if (row->reason == REASON_NO_ROOM) {
        ms = clamp((now_ms - row->waiting_since_ms) / 4, MARGIN_MIN_MS, policy->retry_max_ms);
    } else {
        ms = clamp((now_ms - row->waiting_since_ms) / 2, RETRY_MIN_MS, policy->retry_max_ms);
    }
    if (row->deadline_ms != 0 && now_ms + ms > row->deadline_ms)
        ms = row->deadline_ms - now_ms;
    return ms < MARGIN_MIN_MS ? MARGIN_MIN_MS : ms;
}

bool event_is_due(const struct event *row, int64_t now_ms, int64_t taken_ms)
{
    const struct event_policy *policy = event_policy_get(row->type);

    if (policy == NULL || event_is_final(row->state) || row->check_at_ms > now_ms)
        return false;
    return row->state != EVENT_PENDING || event_is_late(row, now_ms) ||
           (taken_ms != 0 && row->check_at_ms <= taken_ms + policy->pending_margin_ms);
}

bool event_is_late(const struct event *row, int64_t now_ms)
{
    return !event_is_final(row->state) && row->deadline_ms != 0 && now_ms >= row->deadline_ms;
}
