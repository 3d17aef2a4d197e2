#include "scheduler/liveness.h"

#include "tests/unit/scheduler/support.h"

static const struct uuid journal_a = {{0xa}}, journal_b = {{0xb}};

static struct sighting sighting(uint64_t session, bool attached, struct uuid journal)
{
    return (
        struct sighting){.id = {7}, .session = session, .attached = attached, .journal = journal};
}

static struct presence *see(struct liveness *l, struct sighting s, int64_t now)
{
    return liveness_see(l, &s, now, now);
}

static bool is_connected(const struct liveness *l)
{
    const struct presence *p = liveness_find(l, (hypervisor_id){7});

    return p && p->connected;
}

static void count_gone(void *ctx, const struct presence *p)
{
    UNUSED(p);
    ++*(int *)ctx;
}

static void attached_hypervisor_is_connected(void **state)
{
    struct liveness *l = liveness_new();

    (void)state;
    assert_null(liveness_find(l, (hypervisor_id){7}));
    assert_non_null(see(l, sighting(0, true, journal_a), 0));
    assert_true(is_connected(l));
    assert_int_equal(liveness_connected(l), 1);
    liveness_free(l);
}

static void end_of_an_earlier_session_does_not_count(void **state)
{
    struct liveness *l = liveness_new();

    (void)state;
    see(l, sighting(5, true, journal_a), 0);
    assert_null(see(l, sighting(4, false, journal_a), 1));
    assert_true(is_connected(l));
    liveness_free(l);
}

static void end_of_this_or_a_later_session_does(void **state)
{
    struct liveness *l = liveness_new();

    (void)state;
    see(l, sighting(5, true, journal_a), 0);
    assert_non_null(see(l, sighting(5, false, journal_a), 1));
    assert_false(is_connected(l));
    see(l, sighting(6, true, journal_a), 2);
    assert_true(is_connected(l));
    see(l, sighting(8, false, journal_a), 3);
    assert_false(is_connected(l));
    assert_int_equal(liveness_connected(l), 0);
    liveness_free(l);
}

static void end_of_another_journals_session_does_not_count(void **state)
{
    struct liveness *l = liveness_new();

    (void)state;
    see(l, sighting(50, true, journal_a), 0);
    see(l, sighting(50, false, journal_a), 1);
    see(l, sighting(1, true, journal_b), 2);
    assert_null(see(l, sighting(50, false, journal_a), 3)); /* said twice: the answer was lost */
    see(l, sighting(1, true, journal_b), 4);
    assert_true(is_connected(l));
    liveness_free(l);
}

static void router_that_has_not_noticed_the_end_is_not_believed(void **state)
{
    struct liveness *l = liveness_new();

    (void)state;
    see(l, sighting(5, true, journal_a), 0);
    see(l, sighting(5, false, journal_a), 1);
    assert_null(see(l, sighting(5, true, journal_a), 2));
    assert_false(is_connected(l));
    liveness_free(l);
}

static void session_ends_when_nobody_names_it(void **state)
{
    struct liveness *l = liveness_new();
    int gone = 0;

    (void)state;
    see(l, sighting(5, true, journal_a), 1000);
    liveness_expire(l, 1000 + SESSION_TIMEOUT_MS, count_gone, &gone);
    assert_int_equal(gone, 0);
    liveness_expire(l, 1001 + SESSION_TIMEOUT_MS, count_gone, &gone);
    liveness_expire(l, 1002 + SESSION_TIMEOUT_MS, count_gone, &gone);
    assert_int_equal(gone, 1);
    assert_false(is_connected(l));
    see(l, sighting(5, true, journal_a), 50000); /* it was only the routers */
    assert_true(is_connected(l));
    liveness_free(l);
}

static void new_journal_may_count_its_sessions_from_the_start(void **state)
{
    struct liveness *l = liveness_new();
    int gone = 0;

    (void)state;
    see(l, sighting(500, true, journal_a), 0);
    assert_null(see(l, sighting(1, true, journal_b), 1)); /* the old one is still there */
    liveness_expire(l, SESSION_TIMEOUT_MS * 2, count_gone, &gone);
    assert_non_null(see(l, sighting(1, true, journal_b), SESSION_TIMEOUT_MS * 2));
    assert_true(is_connected(l));
    see(l, sighting(1, false, journal_b), SESSION_TIMEOUT_MS * 2);
    assert_false(is_connected(l));
    liveness_free(l);
}

static void new_journal_may_begin_with_the_very_number_that_has_ended(void **state)
{
    struct liveness *l = liveness_new();

    (void)state;
    see(l, sighting(1, true, journal_a), 0);
    see(l, sighting(1, false, journal_a), 1);
    assert_non_null(see(l, sighting(1, true, journal_b), 2)); /* its host was made anew */
    assert_true(is_connected(l));
    liveness_free(l);
}

static void comparison_is_of_the_last_sighting(void **state)
{
    struct liveness *l = liveness_new();
    struct sighting s = sighting(5, true, journal_a);

    (void)state;
    s.compared = true;
    assert_true(see(l, s, 0)->compared);
    assert_false(see(l, sighting(6, true, journal_b), 1)->compared);
    liveness_free(l);
}

static void load_is_smoothed_and_creates_are_not(void **state)
{
    struct liveness *l = liveness_new();
    struct sighting s = sighting(5, true, journal_a);
    struct presence *p;

    (void)state;
    s.sampled = true;
    s.sample = (struct sample){.steal_permille = 100, .creates_in_flight = 3};
    p = see(l, s, 0);
    assert_float_equal(p->load.steal, 0.1f, 0.0001f);
    s.sample = (struct sample){.steal_permille = 600, .creates_in_flight = 5};
    p = see(l, s, 1);
    assert_float_equal(p->load.steal, 0.2f, 0.0001f);
    assert_int_equal(p->load.creates_in_flight, 5);
    s.sample = (struct sample){.steal_permille = UINT32_MAX};
    p = see(l, s, 2);
    assert_float_equal(p->load.steal, 0.36f, 0.0001f);
    liveness_free(l);
}

static void there_is_an_end_to_what_is_kept(void **state)
{
    struct liveness *l = liveness_new();

    (void)state;
    for (uint64_t id = 1; id <= LIVENESS_MAX; id++) {
        struct sighting s = {.id = {id}, .session = 1, .attached = true};
        assert_non_null(liveness_see(l, &s, 0, 0));
    }
    struct sighting one_more = {.id = {LIVENESS_MAX + 1}, .session = 1, .attached = true};
    assert_null(liveness_see(l, &one_more, 0, 0));
    liveness_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attached_hypervisor_is_connected),
        cmocka_unit_test(end_of_an_earlier_session_does_not_count),
        cmocka_unit_test(end_of_this_or_a_later_session_does),
        cmocka_unit_test(router_that_has_not_noticed_the_end_is_not_believed),
        cmocka_unit_test(session_ends_when_nobody_names_it),
        cmocka_unit_test(new_journal_may_count_its_sessions_from_the_start),
        cmocka_unit_test(end_of_another_journals_session_does_not_count),
        cmocka_unit_test(new_journal_may_begin_with_the_very_number_that_has_ended),
        cmocka_unit_test(comparison_is_of_the_last_sighting),
        cmocka_unit_test(load_is_smoothed_and_creates_are_not),
        cmocka_unit_test(there_is_an_end_to_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
