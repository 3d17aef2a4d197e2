#include "harpoon/api/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define START INT64_C(1700000000000)

static const struct rate_limits limits = {.hour = 100, .minute = 10};

/* Takes `n` at that time; returns how many were let through. */
static int take(struct rate *r, int n, int64_t now_ms, struct rate_verdict *v)
{
    int taken = 0;

    for (int i = 0; i < n; i++) {
        rate_take(r, &limits, true, now_ms, v);
        taken += !v->refused;
    }
    return taken;
}

static void burst_beyond_the_minute_is_refused(void **state)
{
    struct rate r = {0};
    struct rate_verdict v;

    (void)state;
    assert_int_equal(take(&r, 15, START, &v), 10);
    assert_true(v.refused);
    assert_int_equal(v.remaining, 0);
    assert_int_equal(v.retry_after_s, 60);
}

static void remaining_counts_down_from_the_limit_of_the_hour(void **state)
{
    struct rate r = {0};
    struct rate_verdict v;

    (void)state;
    assert_int_equal(take(&r, 1, START, &v), 1);
    assert_int_equal(v.limit, 100);
    assert_int_equal(v.remaining, 99);
    assert_int_equal(v.reset_s, START / 1000 + 3600);
    assert_int_equal(take(&r, 1, START + 1000, &v), 1);
    assert_int_equal(v.remaining, 98);
}

static void requests_of_the_minute_before_fade(void **state)
{
    struct rate r = {0};
    struct rate_verdict v;

    (void)state;
    assert_int_equal(take(&r, 10, START, &v), 10);
    assert_int_equal(take(&r, 10, START + 60000, &v), 0);   /* all of them still count */
    assert_int_equal(take(&r, 10, START + 90000, &v), 5);   /* half of them */
    assert_int_equal(take(&r, 20, START + 240000, &v), 10); /* none */
}

static void hour_is_refused_beyond_its_limit(void **state)
{
    struct rate r = {0};
    struct rate_verdict v;
    int taken = 0;

    (void)state;
    for (int minute = 0; minute < 30; minute++)
        taken += take(&r, 10, START + minute * INT64_C(120000), &v);
    assert_int_equal(taken, 100);
    assert_true(v.refused);
    assert_true(v.retry_after_s >= 1 && v.retry_after_s <= 3600);
}

static void account_without_limits_is_never_refused(void **state)
{
    struct rate r = {0};
    struct rate_verdict v;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        rate_take(&r, &limits, false, START, &v);
        assert_false(v.refused);
        assert_int_equal(v.remaining, 100);
    }
}

static void clock_that_went_back_begins_anew(void **state)
{
    struct rate r = {0};
    struct rate_verdict v;

    (void)state;
    assert_int_equal(take(&r, 10, START, &v), 10);
    assert_int_equal(take(&r, 10, START - 3600000, &v), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(burst_beyond_the_minute_is_refused),
        cmocka_unit_test(remaining_counts_down_from_the_limit_of_the_hour),
        cmocka_unit_test(requests_of_the_minute_before_fade),
        cmocka_unit_test(hour_is_refused_beyond_its_limit),
        cmocka_unit_test(account_without_limits_is_never_refused),
        cmocka_unit_test(clock_that_went_back_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
