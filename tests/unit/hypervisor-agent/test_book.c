#include "hypervisor-agent/book.h"
#include "support.h"

static struct job *add(struct book *b, uint64_t event, uint64_t droplet, enum job_kind kind,
                       enum job_state state, enum job_ack ack)
{
    struct job *job = book_add(b, (event_id){event}, book_droplet(b, (droplet_id){droplet}));

    job->kind = kind;
    job->attempt = 1;
    book_move(b, job, state, ack);
    return job;
}

static void what_is_added_is_found_until_it_is_removed(void **state)
{
    struct book b = {0};

    UNUSED(state);
    for (uint64_t i = 1; i <= 1000; i++)
        add(&b, i, i % 10 + 1, JOB_CREATE, JOB_ACCEPTED, JOB_TO_REPORT);
    for (uint64_t i = 1; i <= 1000; i++)
        assert_int_equal(job_event(book_find(&b, (event_id){i})).v, i);
    assert_null(book_find(&b, (event_id){1001}));
    assert_int_equal(b.droplets.count, 10);
    for (uint64_t i = 1; i <= 1000; i++)
        book_remove(&b, book_find(&b, (event_id){i}));
    assert_int_equal(b.jobs.count, 0);
    assert_int_equal(b.droplets.count, 0);
    assert_int_equal(b.open.count, 0);
    book_fini(&b);
}

static void an_acknowledged_end_is_kept_apart_from_what_is_open(void **state)
{
    struct book b = {0};
    struct job *one = add(&b, 1, 1, JOB_CREATE, JOB_BEGUN, JOB_TO_REPORT);
    struct job *two = add(&b, 2, 2, JOB_CREATE, JOB_BEGUN, JOB_TO_REPORT);

    UNUSED(state);
    book_move(&b, one, JOB_SUCCEEDED, JOB_TO_REPORT);
    assert_int_equal(b.open.count, 2);
    book_move(&b, one, JOB_SUCCEEDED, JOB_ACKNOWLEDGED);
    assert_int_equal(b.open.count, 1);
    assert_ptr_equal(b.open.first, two);
    assert_ptr_equal(b.ended.first, one);
    book_move(&b, one, JOB_SUCCEEDED, JOB_TO_REPORT); /* asked about again */
    assert_int_equal(b.ended.count, 0);
    assert_int_equal(b.states[JOB_SUCCEEDED], 1);
    assert_int_equal(b.states[JOB_BEGUN], 1);
    book_fini(&b);
}

static void a_droplet_with_a_mark_is_remembered_without_jobs(void **state)
{
    struct book b = {0};
    struct job *job = add(&b, 1, 7, JOB_DESTROY, JOB_SUCCEEDED, JOB_ACKNOWLEDGED);

    UNUSED(state);
    job->droplet->mark = MARK_DURABLE;
    book_remove(&b, job);
    assert_int_equal(book_find_droplet(&b, (droplet_id){7})->mark, MARK_DURABLE);
    book_fini(&b);
}

static void others_are_closed_only_when_that_is_durable(void **state)
{
    struct book b = {0};
    struct job *create = add(&b, 1, 7, JOB_CREATE, JOB_ACCEPTED, JOB_TO_REPORT);
    struct job *destroy = add(&b, 2, 7, JOB_DESTROY, JOB_BEGUN, JOB_TO_REPORT);

    UNUSED(state);
    assert_false(book_others_closed(destroy->droplet, destroy));
    book_move(&b, create, JOB_CLOSED, JOB_TO_REPORT);
    assert_false(book_others_closed(destroy->droplet, destroy));
    create->durable_attempt = create->attempt;
    create->durable_state = JOB_CLOSED;
    assert_true(book_others_closed(destroy->droplet, destroy));
    assert_true(book_is_being_destroyed(destroy->droplet));
    book_move(&b, destroy, JOB_SUCCEEDED, JOB_TO_REPORT);
    assert_false(book_is_being_destroyed(destroy->droplet));
    book_fini(&b);
}

static void the_digest_tells_what_is_open_in_any_order(void **state)
{
    struct book a = {0}, b = {0};

    UNUSED(state);
    assert_int_equal(book_digest(&a), 0);
    add(&a, 1, 1, JOB_CREATE, JOB_ACCEPTED, JOB_TO_REPORT);
    add(&a, 2, 2, JOB_CREATE, JOB_BEGUN, JOB_TO_REPORT);
    add(&a, 3, 3, JOB_CREATE, JOB_SUCCEEDED, JOB_ACKNOWLEDGED);
    add(&b, 2, 2, JOB_CREATE, JOB_BEGUN, JOB_TO_REPORT);
    add(&b, 4, 4, JOB_CREATE, JOB_SUCCEEDED, JOB_ORPHAN);
    struct job *one = add(&b, 1, 1, JOB_CREATE, JOB_ACCEPTED, JOB_TO_REPORT);
    assert_int_equal(book_digest(&a), book_digest(&b));
    assert_int_equal(book_open_count(&b), 2);
    book_move(&b, one, JOB_BEGUN, JOB_TO_REPORT);
    assert_int_not_equal(book_digest(&a), book_digest(&b));
    book_fini(&a);
    book_fini(&b);
}

static void what_the_journal_says_is_closed_is_so_for_lower_attempts_too(void **state)
{
    struct book b = {0};
    struct job *job = add(&b, 1, 7, JOB_CREATE, JOB_CLOSED, JOB_TO_REPORT);

    UNUSED(state);
    job->attempt = 3;
    assert_false(job_is_closed(job, 3));
    job->durable_attempt = 2; /* the third is not written yet */
    job->durable_state = JOB_ACCEPTED;
    assert_true(job_is_closed(job, 1));
    assert_false(job_is_closed(job, 2));
    job->durable_attempt = 3;
    assert_true(job_is_closed(job, 2));
    assert_false(job_is_closed(job, 3));
    job->durable_state = JOB_CLOSED;
    assert_true(job_is_closed(job, 3));
    assert_false(job_is_closed(job, 4));
    book_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_found_until_it_is_removed),
        cmocka_unit_test(an_acknowledged_end_is_kept_apart_from_what_is_open),
        cmocka_unit_test(a_droplet_with_a_mark_is_remembered_without_jobs),
        cmocka_unit_test(others_are_closed_only_when_that_is_durable),
        cmocka_unit_test(what_the_journal_says_is_closed_is_so_for_lower_attempts_too),
        cmocka_unit_test(the_digest_tells_what_is_open_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
