#include "hypervisor-agent/jobs.h"

#define TO(state, what)                                                                            \
    {                                                                                              \
        (JOB_##state), (what)                                                                      \
    }

/* What is not in these tables changes nothing. */
static const struct job_step create_steps[JOB_STATES][JOB_INPUTS] =
    {
        [JOB_NONE] =
            {
                [JOB_IN_HIGHER] = TO(ACCEPTED, JOB_DO_TAKE | JOB_DO_WRITE | JOB_DO_ACCEPT),
                [JOB_IN_BARRED] = TO(NONE, JOB_DO_REFUSE_CLOSED),
            },
        [JOB_ACCEPTED] =
            {
                [JOB_IN_SAME] = TO(ACCEPTED, JOB_DO_ACCEPT),
                [JOB_IN_LOWER] = TO(ACCEPTED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(ACCEPTED, JOB_DO_TAKE | JOB_DO_WRITE | JOB_DO_ACCEPT),
                [JOB_IN_BARRED] = TO(ACCEPTED, JOB_DO_REFUSE),
                [JOB_IN_START] = TO(BEGUN, JOB_DO_NOTE | JOB_DO_REPORT),
                [JOB_IN_FOUND] = TO(BEGUN, JOB_DO_NOTE | JOB_DO_REPORT),
                [JOB_IN_DROP] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_DESTROYED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
            },
        [JOB_BEGUN] =
            {
                [JOB_IN_SAME] = TO(BEGUN, JOB_DO_ACCEPT),
                [JOB_IN_LOWER] = TO(BEGUN, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(BEGUN, JOB_DO_REFUSE),
                [JOB_IN_BARRED] = TO(BEGUN, JOB_DO_REFUSE),
                [JOB_IN_DONE] = TO(SUCCEEDED, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_RETRY] = TO(BEGUN, JOB_DO_PAUSE),
                [JOB_IN_CONFLICT] = TO(UNDOING, JOB_DO_NOTE),
                [JOB_IN_FAILED] = TO(UNDOING, JOB_DO_NOTE),
                [JOB_IN_DISCARD] = TO(UNDOING, JOB_DO_NOTE),
                [JOB_IN_UNKNOWN] = TO(BEGUN, JOB_DO_NOTE | JOB_DO_ORPHAN),
                [JOB_IN_DESTROYED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
            },
        [JOB_UNDOING] =
            {
                [JOB_IN_SAME] = TO(UNDOING, JOB_DO_FINISHED),
                [JOB_IN_LOWER] = TO(UNDOING, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(UNDOING, JOB_DO_REFUSE),
                [JOB_IN_BARRED] = TO(UNDOING, JOB_DO_REFUSE),
                [JOB_IN_DONE] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_RETRY] = TO(UNDOING, JOB_DO_PAUSE),
                [JOB_IN_CONFLICT] = TO(UNDOING, JOB_DO_PAUSE),
                [JOB_IN_FAILED] = TO(UNDOING, JOB_DO_PAUSE),
                [JOB_IN_DESTROYED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
            },
        [JOB_SUCCEEDED] =
            {
                [JOB_IN_SAME] = TO(SUCCEEDED, JOB_DO_FINISHED | JOB_DO_REPORT),
                [JOB_IN_LOWER] = TO(SUCCEEDED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(SUCCEEDED, JOB_DO_REFUSE),
                [JOB_IN_BARRED] = TO(SUCCEEDED, JOB_DO_REFUSE),
                [JOB_IN_START] = TO(SUCCEEDED, JOB_DO_REPORT),
                [JOB_IN_STORED] = TO(SUCCEEDED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_DISCARD] = TO(UNDOING, JOB_DO_NOTE),
                [JOB_IN_UNKNOWN] = TO(SUCCEEDED, JOB_DO_NOTE | JOB_DO_ORPHAN),
                [JOB_IN_DESTROYED] = TO(CLOSED, JOB_DO_WRITE),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
            },
        [JOB_CLOSED] =
            {
                [JOB_IN_SAME] = TO(CLOSED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_LOWER] = TO(CLOSED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(ACCEPTED, JOB_DO_TAKE | JOB_DO_WRITE | JOB_DO_ACCEPT),
                [JOB_IN_BARRED] = TO(CLOSED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_START] = TO(CLOSED, JOB_DO_REPORT),
                [JOB_IN_STORED] = TO(CLOSED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_DISCARD] = TO(CLOSED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_UNKNOWN] = TO(CLOSED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
            },
};

/* A destroy made nothing, so there is nothing of it to undo, and it never gives up: the claim it
 * stands for is held until the domain is known to be absent. */
static const struct job_step destroy_steps[JOB_STATES][JOB_INPUTS] =
    {
        [JOB_NONE] =
            {
                [JOB_IN_HIGHER] = TO(ACCEPTED, JOB_DO_TAKE | JOB_DO_WRITE | JOB_DO_ACCEPT),
            },
        [JOB_ACCEPTED] =
            {
                [JOB_IN_SAME] = TO(ACCEPTED, JOB_DO_ACCEPT),
                [JOB_IN_LOWER] = TO(ACCEPTED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(ACCEPTED, JOB_DO_TAKE | JOB_DO_WRITE | JOB_DO_ACCEPT),
                [JOB_IN_START] = TO(BEGUN, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_DROP] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
            },
        [JOB_BEGUN] =
            {
                [JOB_IN_SAME] = TO(BEGUN, JOB_DO_ACCEPT),
                [JOB_IN_LOWER] = TO(BEGUN, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(BEGUN, JOB_DO_REFUSE),
                [JOB_IN_DONE] = TO(SUCCEEDED, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_RETRY] = TO(BEGUN, JOB_DO_PAUSE),
                [JOB_IN_CONFLICT] = TO(BEGUN, JOB_DO_PAUSE),
                [JOB_IN_FAILED] = TO(BEGUN, JOB_DO_PAUSE),
                [JOB_IN_DISCARD] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_UNKNOWN] = TO(BEGUN, JOB_DO_NOTE | JOB_DO_ORPHAN),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
            },
        [JOB_SUCCEEDED] =
            {
                [JOB_IN_SAME] = TO(SUCCEEDED, JOB_DO_FINISHED | JOB_DO_REPORT),
                [JOB_IN_LOWER] = TO(SUCCEEDED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(SUCCEEDED, JOB_DO_REFUSE),
                [JOB_IN_START] = TO(SUCCEEDED, JOB_DO_REPORT),
                [JOB_IN_STORED] = TO(SUCCEEDED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_DISCARD] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_REPORT),
                [JOB_IN_UNKNOWN] = TO(SUCCEEDED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE),
            },
        [JOB_CLOSED] =
            {
                [JOB_IN_SAME] = TO(CLOSED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_LOWER] = TO(CLOSED, JOB_DO_REFUSE_CLOSED),
                [JOB_IN_HIGHER] = TO(ACCEPTED, JOB_DO_TAKE | JOB_DO_WRITE | JOB_DO_ACCEPT),
                [JOB_IN_START] = TO(CLOSED, JOB_DO_REPORT),
                [JOB_IN_STORED] = TO(CLOSED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_DISCARD] = TO(CLOSED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_UNKNOWN] = TO(CLOSED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
                [JOB_IN_FENCED] = TO(CLOSED, JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE),
            },
};

struct job_step job_step(enum job_kind kind, enum job_state state, enum job_input in)
{
    struct job_step step = kind == JOB_DESTROY ? destroy_steps[state][in] : create_steps[state][in];

    if (step.effects == 0)
        step.next = state;
    return step;
}

enum job_input job_delivery(enum job_state state, uint32_t entry_attempt, uint32_t job_attempt,
                            bool barred)
{
    if (barred)
        return JOB_IN_BARRED;
    if (state == JOB_NONE || job_attempt > entry_attempt)
        return JOB_IN_HIGHER;
    return job_attempt < entry_attempt ? JOB_IN_LOWER : JOB_IN_SAME;
}

enum job_want job_wants(enum job_kind kind, enum job_state state, enum job_ack ack)
{
    if (state == JOB_UNDOING)
        return JOB_WANTS_UNDO;
    if (state != JOB_BEGUN || ack == JOB_ORPHAN)
        return JOB_WANTS_NOTHING;
    return kind == JOB_DESTROY ? JOB_WANTS_DESTROY : JOB_WANTS_CREATE;
}

const char *job_state_name(enum job_state state)
{
    static const char *const names[JOB_STATES] = {"none",    "accepted",  "begun",
                                                  "undoing", "succeeded", "closed"};

    return names[state];
}

const char *job_input_name(enum job_input in)
{
    static const char *const names[JOB_INPUTS] = {"same",    "lower",    "higher",    "barred",
                                                  "start",   "drop",     "found",     "done",
                                                  "retry",   "conflict", "failed",    "stored",
                                                  "discard", "unknown",  "destroyed", "fenced"};

    return names[in];
}
