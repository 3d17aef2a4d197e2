#include "lib/backoff.h"

#include "tests/unit/lib/support.h"

static void pauses_double_up_to_the_cap(void **state)
{
    struct backoff b;
    int all = 100;

    UNUSED(state);
    backoff_init(&b, 100, 5000, 7);
    for (int i = 0; i < 200; i++) {
        int ms = backoff_next_ms(&b);
        assert_in_range(ms, all / 2, all);
        all = all * 2 > 5000 ? 5000 : all * 2;
    }
    backoff_reset(&b);
    assert_in_range(backoff_next_ms(&b), 50, 100);
}

static void one_seed_gives_one_sequence(void **state)
{
    struct backoff a, b, c;
    bool differs = false;

    UNUSED(state);
    backoff_init(&a, 1000, 60000, 42);
    backoff_init(&b, 1000, 60000, 42);
    backoff_init(&c, 1000, 60000, 43);
    for (int i = 0; i < 50; i++) {
        int ms = backoff_next_ms(&a);
        assert_int_equal(ms, backoff_next_ms(&b));
        differs |= ms != backoff_next_ms(&c);
    }
    assert_true(differs);
}

static void odd_bounds_do_no_harm(void **state)
{
    struct backoff b;

    UNUSED(state);
    backoff_init(&b, 0, 0, 1);
    assert_in_range(backoff_next_ms(&b), 0, 1);
    backoff_init(&b, INT32_MAX, INT32_MAX, 1);
    for (int i = 0; i < 100; i++)
        assert_true(backoff_next_ms(&b) >= INT32_MAX / 2);
    backoff_init(&b, 500, 100, 1);
    assert_in_range(backoff_next_ms(&b), 50, 100);
}

static void jitter_stays_within_its_percents(void **state)
{
    bool below = false, above = false;

    UNUSED(state);
    for (int i = 0; i < 1000; i++) {
        int64_t ms = jitter_ms(120000, 20);
        assert_in_range(ms, 96000, 144000);
        below |= ms < 120000;
        above |= ms > 120000;
    }
    assert_true(below && above);
    assert_int_equal(jitter_ms(0, 20), 0);
    assert_int_equal(jitter_ms(1000, 0), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_double_up_to_the_cap),
        cmocka_unit_test(one_seed_gives_one_sequence),
        cmocka_unit_test(odd_bounds_do_no_harm),
        cmocka_unit_test(jitter_stays_within_its_percents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
