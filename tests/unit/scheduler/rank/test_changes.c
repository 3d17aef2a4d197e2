#include "scheduler/rank/changes.h"

#include "tests/unit/scheduler/support.h"

static void take(struct changes *c, uint64_t event, uint32_t attempt, uint64_t hypervisor)
{
    struct claim claim = claim_of(event, attempt, event, hypervisor);

    changes_add(c, CHANGE_TAKE, &claim);
}

static void release(struct changes *c, uint64_t event, uint32_t attempt)
{
    struct claim claim = claim_of(event, attempt, event, 1);

    changes_add(c, CHANGE_RELEASE, &claim);
}

static void claim_taken_and_released_is_not_written(void **state)
{
    struct changes c = {0};
    struct net_changes net;

    (void)state;
    take(&c, 1, 1, 5);
    release(&c, 1, 1);
    changes_net(&c, &net);
    assert_int_equal(net.take_count, 0);
    assert_int_equal(net.release_count, 0);
    net_changes_fini(&net);
    changes_fini(&c);
}

static void claim_released_and_taken_again_is_deleted_and_inserted(void **state)
{
    struct changes c = {0};
    struct net_changes net;

    (void)state;
    release(&c, 1, 1);
    take(&c, 1, 1, 6);
    changes_net(&c, &net);
    assert_int_equal(net.release_count, 1);
    assert_int_equal(net.take_count, 1);
    assert_int_equal(net.takes[0].hypervisor.v, 6);
    net_changes_fini(&net);
    changes_fini(&c);
}

static void last_take_of_many_is_what_is_stored(void **state)
{
    struct changes c = {0};
    struct net_changes net;

    (void)state;
    take(&c, 1, 1, 5);
    release(&c, 1, 1);
    take(&c, 1, 1, 9);
    changes_net(&c, &net);
    assert_int_equal(net.release_count, 0);
    assert_int_equal(net.take_count, 1);
    assert_int_equal(net.takes[0].hypervisor.v, 9);
    net_changes_fini(&net);
    changes_fini(&c);
}

static void rows_ascend_by_event_and_attempt(void **state)
{
    struct changes c = {0};
    struct net_changes net;

    (void)state;
    take(&c, 9, 1, 1);
    take(&c, 2, 3, 1);
    take(&c, 2, 1, 1);
    changes_net(&c, &net);
    assert_int_equal(net.take_count, 3);
    assert_int_equal(net.takes[0].attempt, 1);
    assert_int_equal(net.takes[1].attempt, 3);
    assert_int_equal(net.takes[2].event.v, 9);
    net_changes_fini(&net);
    changes_fini(&c);
}

static void no_changes_are_no_rows(void **state)
{
    struct changes c = {0};
    struct net_changes net;

    (void)state;
    changes_net(&c, &net);
    assert_int_equal(net.take_count + net.release_count, 0);
    net_changes_fini(&net);
}

/* Applying the net rows to a table gives what applying every change in order gives. */
#define KEYS 12
static void net_rows_lead_where_all_changes_lead(void **state)
{
    struct dice dice = {20240611};

    (void)state;
    for (int round = 0; round < 2000; round++) {
        uint64_t after[KEYS], stored[KEYS]; /* hypervisor, 0: no row */
        struct changes c = {0};
        struct net_changes net;
        for (int k = 0; k < KEYS; k++)
            after[k] = stored[k] = dice_below(&dice, 2);
        for (int i = 0; i < 30; i++) {
            uint32_t k = dice_below(&dice, KEYS);
            if (after[k]) {
                release(&c, k + 1, 1);
                after[k] = 0;
            } else {
                after[k] = 1 + dice_below(&dice, 1000);
                take(&c, k + 1, 1, after[k]);
            }
        }
        changes_net(&c, &net);
        for (size_t i = 0; i < net.release_count; i++) {
            uint64_t k = net.releases[i].event.v - 1;
            assert_true(stored[k] != 0); /* a DELETE that finds its row */
            stored[k] = 0;
        }
        for (size_t i = 0; i < net.take_count; i++) {
            uint64_t k = net.takes[i].event.v - 1;
            assert_true(stored[k] == 0); /* an INSERT that finds none */
            stored[k] = net.takes[i].hypervisor.v;
        }
        assert_memory_equal(stored, after, sizeof(after));
        net_changes_fini(&net);
        changes_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claim_taken_and_released_is_not_written),
        cmocka_unit_test(claim_released_and_taken_again_is_deleted_and_inserted),
        cmocka_unit_test(last_take_of_many_is_what_is_stored),
        cmocka_unit_test(rows_ascend_by_event_and_attempt),
        cmocka_unit_test(no_changes_are_no_rows),
        cmocka_unit_test(net_rows_lead_where_all_changes_lead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
