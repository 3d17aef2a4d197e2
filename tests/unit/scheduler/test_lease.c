#include "scheduler/lease.h"

#include "tests/unit/scheduler/support.h"

static void silent_lease_may_be_taken_after_its_time(void **state)
{
    struct lease_watch w = {0};
    int64_t now = 10000;

    (void)state;
    for (; now < 10000 + LEASE_SILENT_MS; now += LEASE_RENEW_MS) {
        lease_watch_see(&w, 1, 5, false, now);
        assert_false(lease_watch_may_take(&w));
    }
    lease_watch_see(&w, 1, 5, false, now);
    assert_true(lease_watch_may_take(&w));
}

static void renewed_lease_is_never_taken(void **state)
{
    struct lease_watch w = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        lease_watch_see(&w, 1, (uint64_t)i / 3, false, 10000 + i * LEASE_RENEW_MS);
        assert_false(lease_watch_may_take(&w));
    }
}

static void higher_epoch_begins_the_silence_anew(void **state)
{
    struct lease_watch w = {0};

    (void)state;
    lease_watch_see(&w, 1, 5, false, 0);
    lease_watch_see(&w, 1, 5, false, 1000);
    lease_watch_see(&w, 2, 5, false, 2000);
    assert_false(lease_watch_may_take(&w));
}

static void free_lease_is_taken_at_once(void **state)
{
    struct lease_watch w = {0};

    (void)state;
    lease_watch_see(&w, 0, 0, true, 10000);
    assert_true(lease_watch_may_take(&w));
}

static void watch_that_did_not_look_has_seen_nothing(void **state)
{
    struct lease_watch w = {0};

    (void)state;
    lease_watch_see(&w, 1, 5, false, 10000);
    lease_watch_see(&w, 1, 5, false, 10000 + LEASE_SILENT_MS * 10); /* stopped, or no database */
    assert_false(lease_watch_may_take(&w));
}

static void nothing_seen_is_nothing_to_take(void **state)
{
    struct lease_watch w = {0};

    (void)state;
    assert_false(lease_watch_may_take(&w));
}

static void leader_falls_silent_before_a_follower_may_take(void **state)
{
    (void)state;
    assert_true(LEASE_VALID_MS < LEASE_SILENT_MS);
    assert_true(LEASE_RENEW_MS * 2 < LEASE_VALID_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_lease_may_be_taken_after_its_time),
        cmocka_unit_test(renewed_lease_is_never_taken),
        cmocka_unit_test(higher_epoch_begins_the_silence_anew),
        cmocka_unit_test(free_lease_is_taken_at_once),
        cmocka_unit_test(watch_that_did_not_look_has_seen_nothing),
        cmocka_unit_test(nothing_seen_is_nothing_to_take),
        cmocka_unit_test(leader_falls_silent_before_a_follower_may_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
