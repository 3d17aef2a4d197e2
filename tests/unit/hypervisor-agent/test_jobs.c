#include "hypervisor-agent/jobs.h"
#include "support.h"

/* Every move there is; a pair that is in no row changes nothing. */
struct move {
    enum job_state from;
    enum job_input in;
    enum job_state to;
    unsigned effects;
};

enum {
    TAKE = JOB_DO_TAKE | JOB_DO_WRITE | JOB_DO_ACCEPT,
    END = JOB_DO_WRITE | JOB_DO_REPORT,
    CLOSE = JOB_DO_WRITE | JOB_DO_ACKNOWLEDGE,
    FORGET = JOB_DO_NOTE | JOB_DO_ACKNOWLEDGE,
};

static const struct move create_moves[] = {
    {JOB_NONE, JOB_IN_HIGHER, JOB_ACCEPTED, TAKE},
    {JOB_NONE, JOB_IN_BARRED, JOB_NONE, JOB_DO_REFUSE_CLOSED},

    {JOB_ACCEPTED, JOB_IN_SAME, JOB_ACCEPTED, JOB_DO_ACCEPT},
    {JOB_ACCEPTED, JOB_IN_LOWER, JOB_ACCEPTED, JOB_DO_REFUSE_CLOSED},
    {JOB_ACCEPTED, JOB_IN_HIGHER, JOB_ACCEPTED, TAKE},
    {JOB_ACCEPTED, JOB_IN_BARRED, JOB_ACCEPTED, JOB_DO_REFUSE},
    {JOB_ACCEPTED, JOB_IN_START, JOB_BEGUN, JOB_DO_NOTE | JOB_DO_REPORT},
    {JOB_ACCEPTED, JOB_IN_FOUND, JOB_BEGUN, JOB_DO_NOTE | JOB_DO_REPORT},
    {JOB_ACCEPTED, JOB_IN_DROP, JOB_CLOSED, CLOSE},
    {JOB_ACCEPTED, JOB_IN_DESTROYED, JOB_CLOSED, END},
    {JOB_ACCEPTED, JOB_IN_FENCED, JOB_CLOSED, CLOSE},

    {JOB_BEGUN, JOB_IN_SAME, JOB_BEGUN, JOB_DO_ACCEPT},
    {JOB_BEGUN, JOB_IN_LOWER, JOB_BEGUN, JOB_DO_REFUSE_CLOSED},
    {JOB_BEGUN, JOB_IN_HIGHER, JOB_BEGUN, JOB_DO_REFUSE},
    {JOB_BEGUN, JOB_IN_BARRED, JOB_BEGUN, JOB_DO_REFUSE},
    {JOB_BEGUN, JOB_IN_DONE, JOB_SUCCEEDED, END},
    {JOB_BEGUN, JOB_IN_RETRY, JOB_BEGUN, JOB_DO_PAUSE},
    {JOB_BEGUN, JOB_IN_CONFLICT, JOB_UNDOING, JOB_DO_NOTE},
    {JOB_BEGUN, JOB_IN_FAILED, JOB_UNDOING, JOB_DO_NOTE},
    {JOB_BEGUN, JOB_IN_DISCARD, JOB_UNDOING, JOB_DO_NOTE},
    {JOB_BEGUN, JOB_IN_UNKNOWN, JOB_BEGUN, JOB_DO_NOTE | JOB_DO_ORPHAN},
    {JOB_BEGUN, JOB_IN_DESTROYED, JOB_CLOSED, END},
    {JOB_BEGUN, JOB_IN_FENCED, JOB_CLOSED, CLOSE},

    {JOB_UNDOING, JOB_IN_SAME, JOB_UNDOING, JOB_DO_FINISHED},
    {JOB_UNDOING, JOB_IN_LOWER, JOB_UNDOING, JOB_DO_REFUSE_CLOSED},
    {JOB_UNDOING, JOB_IN_HIGHER, JOB_UNDOING, JOB_DO_REFUSE},
    {JOB_UNDOING, JOB_IN_BARRED, JOB_UNDOING, JOB_DO_REFUSE},
    {JOB_UNDOING, JOB_IN_DONE, JOB_CLOSED, END},
    {JOB_UNDOING, JOB_IN_RETRY, JOB_UNDOING, JOB_DO_PAUSE},
    {JOB_UNDOING, JOB_IN_CONFLICT, JOB_UNDOING, JOB_DO_PAUSE},
    {JOB_UNDOING, JOB_IN_FAILED, JOB_UNDOING, JOB_DO_PAUSE},
    {JOB_UNDOING, JOB_IN_DESTROYED, JOB_CLOSED, END},
    {JOB_UNDOING, JOB_IN_FENCED, JOB_CLOSED, CLOSE},

    {JOB_SUCCEEDED, JOB_IN_SAME, JOB_SUCCEEDED, JOB_DO_FINISHED | JOB_DO_REPORT},
    {JOB_SUCCEEDED, JOB_IN_LOWER, JOB_SUCCEEDED, JOB_DO_REFUSE_CLOSED},
    {JOB_SUCCEEDED, JOB_IN_HIGHER, JOB_SUCCEEDED, JOB_DO_REFUSE},
    {JOB_SUCCEEDED, JOB_IN_BARRED, JOB_SUCCEEDED, JOB_DO_REFUSE},
    {JOB_SUCCEEDED, JOB_IN_START, JOB_SUCCEEDED, JOB_DO_REPORT},
    {JOB_SUCCEEDED, JOB_IN_STORED, JOB_SUCCEEDED, FORGET},
    {JOB_SUCCEEDED, JOB_IN_DISCARD, JOB_UNDOING, JOB_DO_NOTE},
    {JOB_SUCCEEDED, JOB_IN_UNKNOWN, JOB_SUCCEEDED, JOB_DO_NOTE | JOB_DO_ORPHAN},
    {JOB_SUCCEEDED, JOB_IN_DESTROYED, JOB_CLOSED, JOB_DO_WRITE},
    {JOB_SUCCEEDED, JOB_IN_FENCED, JOB_CLOSED, CLOSE},

    {JOB_CLOSED, JOB_IN_SAME, JOB_CLOSED, JOB_DO_REFUSE_CLOSED},
    {JOB_CLOSED, JOB_IN_LOWER, JOB_CLOSED, JOB_DO_REFUSE_CLOSED},
    {JOB_CLOSED, JOB_IN_HIGHER, JOB_ACCEPTED, TAKE},
    {JOB_CLOSED, JOB_IN_BARRED, JOB_CLOSED, JOB_DO_REFUSE_CLOSED},
    {JOB_CLOSED, JOB_IN_START, JOB_CLOSED, JOB_DO_REPORT},
    {JOB_CLOSED, JOB_IN_STORED, JOB_CLOSED, FORGET},
    {JOB_CLOSED, JOB_IN_DISCARD, JOB_CLOSED, FORGET},
    {JOB_CLOSED, JOB_IN_UNKNOWN, JOB_CLOSED, FORGET},
    {JOB_CLOSED, JOB_IN_FENCED, JOB_CLOSED, FORGET},
};

static const struct move destroy_moves[] = {
    {JOB_NONE, JOB_IN_HIGHER, JOB_ACCEPTED, TAKE},

    {JOB_ACCEPTED, JOB_IN_SAME, JOB_ACCEPTED, JOB_DO_ACCEPT},
    {JOB_ACCEPTED, JOB_IN_LOWER, JOB_ACCEPTED, JOB_DO_REFUSE_CLOSED},
    {JOB_ACCEPTED, JOB_IN_HIGHER, JOB_ACCEPTED, TAKE},
    {JOB_ACCEPTED, JOB_IN_START, JOB_BEGUN, END},
    {JOB_ACCEPTED, JOB_IN_DROP, JOB_CLOSED, CLOSE},
    {JOB_ACCEPTED, JOB_IN_FENCED, JOB_CLOSED, CLOSE},

    {JOB_BEGUN, JOB_IN_SAME, JOB_BEGUN, JOB_DO_ACCEPT},
    {JOB_BEGUN, JOB_IN_LOWER, JOB_BEGUN, JOB_DO_REFUSE_CLOSED},
    {JOB_BEGUN, JOB_IN_HIGHER, JOB_BEGUN, JOB_DO_REFUSE},
    {JOB_BEGUN, JOB_IN_DONE, JOB_SUCCEEDED, END},
    {JOB_BEGUN, JOB_IN_RETRY, JOB_BEGUN, JOB_DO_PAUSE},
    {JOB_BEGUN, JOB_IN_CONFLICT, JOB_BEGUN, JOB_DO_PAUSE},
    {JOB_BEGUN, JOB_IN_FAILED, JOB_BEGUN, JOB_DO_PAUSE},
    {JOB_BEGUN, JOB_IN_DISCARD, JOB_CLOSED, END},
    {JOB_BEGUN, JOB_IN_UNKNOWN, JOB_BEGUN, JOB_DO_NOTE | JOB_DO_ORPHAN},
    {JOB_BEGUN, JOB_IN_FENCED, JOB_CLOSED, CLOSE},

    {JOB_SUCCEEDED, JOB_IN_SAME, JOB_SUCCEEDED, JOB_DO_FINISHED | JOB_DO_REPORT},
    {JOB_SUCCEEDED, JOB_IN_LOWER, JOB_SUCCEEDED, JOB_DO_REFUSE_CLOSED},
    {JOB_SUCCEEDED, JOB_IN_HIGHER, JOB_SUCCEEDED, JOB_DO_REFUSE},
    {JOB_SUCCEEDED, JOB_IN_START, JOB_SUCCEEDED, JOB_DO_REPORT},
    {JOB_SUCCEEDED, JOB_IN_STORED, JOB_SUCCEEDED, FORGET},
    {JOB_SUCCEEDED, JOB_IN_DISCARD, JOB_CLOSED, END},
    {JOB_SUCCEEDED, JOB_IN_UNKNOWN, JOB_SUCCEEDED, FORGET},
    {JOB_SUCCEEDED, JOB_IN_FENCED, JOB_CLOSED, CLOSE},

    {JOB_CLOSED, JOB_IN_SAME, JOB_CLOSED, JOB_DO_REFUSE_CLOSED},
    {JOB_CLOSED, JOB_IN_LOWER, JOB_CLOSED, JOB_DO_REFUSE_CLOSED},
    {JOB_CLOSED, JOB_IN_HIGHER, JOB_ACCEPTED, TAKE},
    {JOB_CLOSED, JOB_IN_START, JOB_CLOSED, JOB_DO_REPORT},
    {JOB_CLOSED, JOB_IN_STORED, JOB_CLOSED, FORGET},
    {JOB_CLOSED, JOB_IN_DISCARD, JOB_CLOSED, FORGET},
    {JOB_CLOSED, JOB_IN_UNKNOWN, JOB_CLOSED, FORGET},
    {JOB_CLOSED, JOB_IN_FENCED, JOB_CLOSED, FORGET},
};

static const struct move *find_move(enum job_kind kind, enum job_state from, enum job_input in)
{
    const struct move *moves = kind == JOB_CREATE ? create_moves : destroy_moves;
    size_t count = kind == JOB_CREATE ? ARRAY_LEN(create_moves) : ARRAY_LEN(destroy_moves);

    for (size_t i = 0; i < count; i++)
        if (moves[i].from == from && moves[i].in == in)
            return &moves[i];
    return NULL;
}

#define EACH_KIND(k)  for (enum job_kind k = JOB_CREATE; k <= JOB_DESTROY; k++)
#define EACH_STATE(s) for (enum job_state s = JOB_NONE; s < JOB_STATES; s++)
#define EACH_INPUT(i) for (enum job_input i = JOB_IN_SAME; i < JOB_INPUTS; i++)

static void every_pair_of_state_and_input_does_what_the_table_says(void **state)
{
    UNUSED(state);
    EACH_KIND(kind) EACH_STATE(from) EACH_INPUT(in)
    {
        const struct move *expected = find_move(kind, from, in);
        struct job_step step = job_step(kind, from, in);
        enum job_state to = expected ? expected->to : from;
        unsigned effects = expected ? expected->effects : 0;
        if (step.next != to || step.effects != effects)
            fail_msg("kind %d, %s on %s: %s with effects %#x, expected %s with %#x", kind,
                     job_state_name(from), job_input_name(in), job_state_name(step.next),
                     step.effects, job_state_name(to), effects);
    }
}

static void only_start_or_a_domain_that_is_there_begins_a_job(void **state)
{
    UNUSED(state);
    EACH_KIND(kind) EACH_STATE(from) EACH_INPUT(in)
    {
        if (job_step(kind, from, in).next != JOB_BEGUN || from == JOB_BEGUN)
            continue;
        assert_int_equal(from, JOB_ACCEPTED);
        assert_true(in == JOB_IN_START || in == JOB_IN_FOUND);
    }
}

static void closed_is_left_by_a_higher_attempt_only(void **state)
{
    UNUSED(state);
    EACH_KIND(kind) EACH_INPUT(in)
    {
        struct job_step step = job_step(kind, JOB_CLOSED, in);
        assert_true(step.next == JOB_CLOSED || in == JOB_IN_HIGHER);
    }
}

static void unknown_is_never_a_reason_to_undo(void **state)
{
    UNUSED(state);
    EACH_KIND(kind)
    EACH_STATE(from) assert_int_equal(job_step(kind, from, JOB_IN_UNKNOWN).next, from);
}

static void drop_removes_only_what_is_not_begun(void **state)
{
    UNUSED(state);
    EACH_KIND(kind) EACH_STATE(from)
    {
        struct job_step step = job_step(kind, from, JOB_IN_DROP);
        assert_true(from == JOB_ACCEPTED ? step.next == JOB_CLOSED : step.effects == 0);
    }
}

static void every_end_is_written_before_it_is_told(void **state)
{
    UNUSED(state);
    EACH_KIND(kind) EACH_STATE(from) EACH_INPUT(in)
    {
        struct job_step step = job_step(kind, from, in);
        if (step.next != from && (step.next == JOB_SUCCEEDED || step.next == JOB_CLOSED))
            assert_true(step.effects & JOB_DO_WRITE);
    }
}

static void a_fence_and_a_destroy_leave_no_create_that_could_run(void **state)
{
    UNUSED(state);
    for (enum job_state from = JOB_ACCEPTED; from < JOB_STATES; from++) {
        assert_int_equal(job_step(JOB_CREATE, from, JOB_IN_FENCED).next, JOB_CLOSED);
        assert_int_equal(job_step(JOB_CREATE, from, JOB_IN_DESTROYED).next, JOB_CLOSED);
    }
}

static void a_delivery_is_told_apart_by_its_attempt(void **state)
{
    UNUSED(state);
    assert_int_equal(job_delivery(JOB_NONE, 0, 1, false), JOB_IN_HIGHER);
    EACH_STATE(from)
    {
        if (from == JOB_NONE)
            continue;
        assert_int_equal(job_delivery(from, 3, 2, false), JOB_IN_LOWER);
        assert_int_equal(job_delivery(from, 3, 3, false), JOB_IN_SAME);
        assert_int_equal(job_delivery(from, 3, 4, false), JOB_IN_HIGHER);
        assert_int_equal(job_delivery(from, 3, 4, true), JOB_IN_BARRED);
    }
    assert_int_equal(job_delivery(JOB_NONE, 0, 1, true), JOB_IN_BARRED);
}

static void the_driver_is_wanted_only_for_what_is_begun_or_undone(void **state)
{
    UNUSED(state);
    EACH_KIND(kind) EACH_STATE(s)
    {
        enum job_want want = job_wants(kind, s, JOB_TO_REPORT);
        if (s == JOB_BEGUN)
            assert_int_equal(want, kind == JOB_CREATE ? JOB_WANTS_CREATE : JOB_WANTS_DESTROY);
        else
            assert_int_equal(want, s == JOB_UNDOING ? JOB_WANTS_UNDO : JOB_WANTS_NOTHING);
        if (s != JOB_UNDOING)
            assert_int_equal(job_wants(kind, s, JOB_ORPHAN), JOB_WANTS_NOTHING);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_state_and_input_does_what_the_table_says),
        cmocka_unit_test(only_start_or_a_domain_that_is_there_begins_a_job),
        cmocka_unit_test(closed_is_left_by_a_higher_attempt_only),
        cmocka_unit_test(unknown_is_never_a_reason_to_undo),
        cmocka_unit_test(drop_removes_only_what_is_not_begun),
        cmocka_unit_test(every_end_is_written_before_it_is_told),
        cmocka_unit_test(a_fence_and_a_destroy_leave_no_create_that_could_run),
        cmocka_unit_test(a_delivery_is_told_apart_by_its_attempt),
        cmocka_unit_test(the_driver_is_wanted_only_for_what_is_begun_or_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
