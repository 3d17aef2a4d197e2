#include "scheduler/region.h"

#include "scheduler/lease.h"
#include "tests/unit/scheduler/support.h"

static const struct uuid journal = {{1}};

static struct region *one_region(struct regions *all)
{
    struct error err;

    assert_int_equal(regions_init(all, "nyc3", &err), 0);
    return &all->list[0];
}

static struct fleet *fleet_of_one(void)
{
    struct fleet *f = fleet_new(0);
    struct hypervisor h = {.id = {7},
                           .status = HYPERVISOR_UP,
                           .journal = journal,
                           .capacity = SIZE(4, 4, 4)};

    fleet_add(f, &h);
    return f;
}

static void names_must_be_slugs_and_differ(void **state)
{
    struct regions all;
    struct error err;

    (void)state;
    assert_int_equal(regions_init(&all, "nyc3,ams3", &err), 0);
    assert_int_equal(all.count, 2);
    assert_ptr_equal(regions_find(&all, "ams3"), &all.list[1]);
    assert_null(regions_find(&all, "sfo3"));
    regions_fini(&all);
    assert_int_equal(regions_init(&all, "nyc3,nyc3", &err), ERR_INVALID);
    assert_int_equal(regions_init(&all, "", &err), ERR_INVALID);
    assert_int_equal(regions_init(&all, "nyc3,", &err), ERR_INVALID);
    assert_int_equal(regions_init(&all, "NYC 3", &err), ERR_INVALID);
}

static void leader_without_renewal_does_not_lead(void **state)
{
    struct regions all;
    struct region *r = one_region(&all);

    (void)state;
    region_hold(r, 1, 1000);
    assert_false(region_leads_locked(r, 1000));
    assert_true(region_lead(r, 1, fleet_of_one()));
    assert_true(region_leads_locked(r, 1000 + LEASE_VALID_MS - 1));
    assert_false(region_leads_locked(r, 1000 + LEASE_VALID_MS));
    regions_fini(&all);
}

static void fleet_of_a_lost_lease_is_not_led_with(void **state)
{
    struct regions all;
    struct region *r = one_region(&all);

    (void)state;
    region_hold(r, 1, 1000);
    region_lose(r, 1);
    assert_false(region_lead(r, 1, fleet_of_one()));
    region_hold(r, 3, 1000);
    assert_false(region_lead(r, 2, fleet_of_one()));
    assert_null(r->fleet);
    regions_fini(&all);
}

static void late_news_of_a_lost_lease_leave_the_next_one_alone(void **state)
{
    struct regions all;
    struct region *r = one_region(&all);

    (void)state;
    region_hold(r, 1, 1000);
    region_lead(r, 1, fleet_of_one());
    region_lose(r, 1);
    region_hold(r, 3, 1000); /* after another had it */
    region_lead(r, 3, fleet_of_one());
    region_lose(r, 1); /* a commit that was on its way for long */
    assert_int_equal(r->role, REGION_LEADING);
    assert_non_null(r->fleet);
    regions_fini(&all);
}

static void failed_commit_drops_the_fleet_it_was_decided_on(void **state)
{
    struct regions all;
    struct region *r = one_region(&all);
    uint64_t first;

    (void)state;
    region_hold(r, 1, 1000);
    region_lead(r, 1, fleet_of_one());
    first = r->generation;
    region_distrust(r, first);
    assert_null(r->fleet);
    assert_int_equal(r->role, REGION_LOADING);
    region_hold(r, 2, 1000);
    region_lead(r, 2, fleet_of_one());
    region_distrust(r, first); /* late news of the first one */
    assert_non_null(r->fleet);
    assert_true(r->generation != first);
    regions_fini(&all);
}

static void who_takes_over_knows_who_is_there(void **state)
{
    struct regions all;
    struct region *r = one_region(&all);
    struct sighting s = {.id = {7}, .session = 1, .attached = true, .journal = journal};
    struct fleet_view v;

    (void)state;
    liveness_see(r->liveness, &s, 1000, 1000);
    region_hold(r, 1, 1000);
    region_lead(r, 1, fleet_of_one());
    fleet_view_get(r->fleet, 0, &v);
    assert_true(v.session);
    assert_true(v.compared); /* it is the journal that is stored */
    regions_fini(&all);
}

static void other_journal_is_not_compared(void **state)
{
    struct regions all;
    struct region *r = one_region(&all);
    struct sighting s = {.id = {7}, .session = 1, .attached = true, .journal = {{9}}};
    struct fleet_view v;

    (void)state;
    liveness_see(r->liveness, &s, 1000, 1000);
    region_hold(r, 1, 1000);
    region_lead(r, 1, fleet_of_one());
    fleet_view_get(r->fleet, 0, &v);
    assert_true(v.session);
    assert_false(v.compared);
    regions_fini(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_must_be_slugs_and_differ),
        cmocka_unit_test(leader_without_renewal_does_not_lead),
        cmocka_unit_test(fleet_of_a_lost_lease_is_not_led_with),
        cmocka_unit_test(late_news_of_a_lost_lease_leave_the_next_one_alone),
        cmocka_unit_test(failed_commit_drops_the_fleet_it_was_decided_on),
        cmocka_unit_test(who_takes_over_knows_who_is_there),
        cmocka_unit_test(other_journal_is_not_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
