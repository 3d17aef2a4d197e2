#include "scheduler/rank/fleet.h"

#include "tests/unit/scheduler/support.h"

static void unknown_hypervisor_has_no_row(void **state)
{
    struct fleet *f = fleet_new(0);

    (void)state;
    fleet_with(f, 5, SIZE(1, 1, 1));
    assert_true(fleet_find(f, (hypervisor_id){6}) == FLEET_NONE);
    assert_true(fleet_find(f, (hypervisor_id){5}) == 0);
    fleet_free(f);
}

static void rows_are_found_when_the_fleet_has_grown(void **state)
{
    struct fleet *f = fleet_new(0);
    struct fleet_view v;

    (void)state;
    for (uint64_t id = 1; id <= 1000; id++)
        fleet_with(f, id * 3, SIZE((uint32_t)id, 1, 1));
    for (uint64_t id = 1; id <= 1000; id++) {
        fleet_view_get(f, fleet_find(f, (hypervisor_id){id * 3}), &v);
        assert_int_equal(v.hypervisor.capacity.vcpus, id);
    }
    fleet_free(f);
}

static void dark_permille_counts_approved_hypervisors_only(void **state)
{
    struct fleet *f = fleet_new(0);
    struct hypervisor new = {.id = {9}, .status = HYPERVISOR_NEW};

    (void)state;
    assert_int_equal(fleet_dark_permille(f), 0);
    for (uint64_t id = 1; id <= 4; id++)
        fleet_with(f, id, SIZE(1, 1, 1));
    fleet_add(f, &new);
    assert_int_equal(fleet_dark_permille(f), 0);
    fleet_set_session(f, 2, false, true);
    assert_int_equal(fleet_dark_permille(f), 250);
    fleet_set_status(f, 2, HYPERVISOR_DRAINED);
    assert_int_equal(fleet_dark_permille(f), 0);
    fleet_free(f);
}

static void capacity_lowered_below_the_claims_is_counted(void **state)
{
    struct fleet *f = fleet_new(0);
    struct fleet_counts counts;

    (void)state;
    fleet_with(f, 1, SIZE(8, 8, 8));
    assert_int_equal(place(f, 1, 1, SIZE(4, 4, 4)).outcome, PLACED);
    fleet_set_capacity(f, 0, &SIZE(8, 3, 8));
    fleet_counts_get(f, &counts);
    assert_int_equal(counts.over_claimed, 1);
    assert_int_equal(place(f, 2, 1, SIZE(1, 1, 1)).outcome, PLACE_NO_ROOM);
    fleet_set_capacity(f, 0, &SIZE(8, 8, 8));
    fleet_counts_get(f, &counts);
    assert_int_equal(counts.over_claimed, 0);
    fleet_free(f);
}

static void capacity_beyond_all_measure_counts_as_the_most(void **state)
{
    struct fleet *f = fleet_new(0);
    struct fleet_view v;

    (void)state;
    fleet_with(f, 1, SIZE(UINT32_MAX, UINT32_MAX, UINT32_MAX));
    fleet_view_get(f, 0, &v);
    assert_true(resources_equal(&v.hypervisor.capacity, &CAPACITY_MAX));
    fleet_free(f);
}

static void loaded_claim_takes_capacity_and_is_no_create_in_flight(void **state)
{
    struct fleet *f = fleet_new(1);
    struct claim claim = claim_of(1, 1, 1, 5);
    struct fleet_view v;

    (void)state;
    fleet_with(f, 5, SIZE(2, 2, 2));
    fleet_load_claim(f, &claim);
    fleet_view_get(f, 0, &v);
    assert_int_equal(v.claimed.vcpus, 1);
    assert_int_equal(v.claims, 1);
    assert_int_equal(v.creates_in_flight, 0);
    assert_int_equal(place(f, 2, 1, SIZE(1, 1, 1)).outcome, PLACED);
    fleet_free(f);
}

static void status_never_becomes_new_again(void **state)
{
    (void)state;
    for (int from = HYPERVISOR_UP; from <= HYPERVISOR_FENCED; from++) {
        assert_false(hypervisor_status_may(from, HYPERVISOR_NEW));
        for (int to = HYPERVISOR_UP; to <= HYPERVISOR_FENCED; to++)
            assert_true(hypervisor_status_may(from, to));
    }
}

static void every_change_raises_the_revision(void **state)
{
    struct fleet *f = fleet_new(0);
    uint64_t before;

    (void)state;
    fleet_with(f, 1, SIZE(4, 4, 4));
    before = fleet_revision(f);
    place(f, 1, 1, SIZE(1, 1, 1));
    assert_true(fleet_revision(f) > before);
    before = fleet_revision(f);
    fleet_set_load(f, 0, &(struct load){.steal = 0.5f}, 10000);
    assert_true(fleet_revision(f) > before);
    before = fleet_revision(f);
    fleet_set_session(f, 0, true, true); /* as it was */
    assert_true(fleet_revision(f) == before);
    fleet_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_hypervisor_has_no_row),
        cmocka_unit_test(rows_are_found_when_the_fleet_has_grown),
        cmocka_unit_test(dark_permille_counts_approved_hypervisors_only),
        cmocka_unit_test(capacity_lowered_below_the_claims_is_counted),
        cmocka_unit_test(capacity_beyond_all_measure_counts_as_the_most),
        cmocka_unit_test(loaded_claim_takes_capacity_and_is_no_create_in_flight),
        cmocka_unit_test(status_never_becomes_new_again),
        cmocka_unit_test(every_change_raises_the_revision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
