#include "scheduler/rank/claims.h"

#include "tests/unit/scheduler/support.h"

static void add(struct claims *c, uint64_t event, uint32_t attempt, uint64_t droplet, int64_t at)
{
    struct claim claim = claim_of(event, attempt, droplet, 1);

    claim.at_unix_ms = at;
    claims_add(c, &claim);
}

static void claim_is_found_by_its_key_only(void **state)
{
    struct claims *c = claims_new();

    (void)state;
    add(c, 7, 2, 70, 0);
    assert_non_null(claims_find(c, (event_id){7}, 2));
    assert_null(claims_find(c, (event_id){7}, 1));
    assert_null(claims_find(c, (event_id){70}, 2));
    claims_free(c);
}

static void claims_of_a_droplet_are_those_of_all_its_events(void **state)
{
    struct claims *c = claims_new();
    size_t n = 0;

    (void)state;
    add(c, 1, 1, 70, 0);
    add(c, 2, 1, 70, 0);
    add(c, 3, 1, 71, 0);
    for (struct claim_node *i = claims_of_droplet(c, (droplet_id){70}); i; i = i->next_of_droplet) {
        assert_int_equal(i->claim.droplet.v, 70);
        n++;
    }
    assert_int_equal(n, 2);
    claims_free(c);
}

static void highest_attempt_is_of_this_event(void **state)
{
    struct claims *c = claims_new();

    (void)state;
    add(c, 1, 3, 70, 0);
    add(c, 1, 2, 70, 0);
    add(c, 2, 9, 71, 0);
    assert_int_equal(claims_highest_attempt(c, (event_id){1}), 3);
    assert_int_equal(claims_highest_attempt(c, (event_id){5}), 0);
    claims_free(c);
}

static void removed_claim_is_nowhere(void **state)
{
    struct claims *c = claims_new();

    (void)state;
    add(c, 1, 1, 70, 0);
    add(c, 1, 2, 70, 0);
    claims_remove(c, claims_find(c, (event_id){1}, 1));
    assert_int_equal(claims_count(c), 1);
    assert_int_equal(claims_of_event(c, (event_id){1})->claim.attempt, 2);
    assert_int_equal(claims_of_droplet(c, (droplet_id){70})->claim.attempt, 2);
    claims_remove(c, claims_find(c, (event_id){1}, 2));
    assert_null(claims_of_event(c, (event_id){1}));
    assert_null(claims_of_droplet(c, (droplet_id){70}));
    claims_free(c);
}

static void walk_goes_round_all_claims(void **state)
{
    struct claims *c = claims_new();
    struct claim seen[3];

    (void)state;
    for (uint64_t e = 1; e <= 5; e++)
        add(c, e, 1, e, 0);
    assert_int_equal(claims_walk(c, 1, 100, seen, 3), 3);
    assert_int_equal(seen[2].event.v, 3);
    assert_int_equal(claims_walk(c, 1, 100, seen, 3), 3);
    assert_int_equal(seen[0].event.v, 4);
    assert_int_equal(seen[1].event.v, 5);
    assert_int_equal(seen[2].event.v, 1);
    claims_free(c);
}

static void walk_passes_over_young_claims(void **state)
{
    struct claims *c = claims_new();
    struct claim seen[4];

    (void)state;
    add(c, 1, 1, 1, 1000);
    add(c, 2, 1, 2, 10);
    add(c, 3, 1, 3, 1000);
    assert_int_equal(claims_walk(c, 500, 100, seen, 4), 1);
    assert_int_equal(seen[0].event.v, 2);
    claims_free(c);
}

static void walk_looks_at_no_claim_twice_in_one_call(void **state)
{
    struct claims *c = claims_new();
    struct claim seen[10];

    (void)state;
    add(c, 1, 1, 1, 0);
    add(c, 2, 1, 2, 0);
    assert_int_equal(claims_walk(c, 1, 100, seen, 10), 2);
    claims_free(c);
}

static void walk_survives_the_removal_of_its_place(void **state)
{
    struct claims *c = claims_new();
    struct claim seen[1];

    (void)state;
    for (uint64_t e = 1; e <= 3; e++)
        add(c, e, 1, e, 0);
    assert_int_equal(claims_walk(c, 1, 1, seen, 1), 1); /* its place is now claim 2 */
    claims_remove(c, claims_find(c, (event_id){2}, 1));
    assert_int_equal(claims_walk(c, 1, 1, seen, 1), 1);
    assert_int_equal(seen[0].event.v, 3);
    claims_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claim_is_found_by_its_key_only),
        cmocka_unit_test(claims_of_a_droplet_are_those_of_all_its_events),
        cmocka_unit_test(highest_attempt_is_of_this_event),
        cmocka_unit_test(removed_claim_is_nowhere),
        cmocka_unit_test(walk_goes_round_all_claims),
        cmocka_unit_test(walk_passes_over_young_claims),
        cmocka_unit_test(walk_looks_at_no_claim_twice_in_one_call),
        cmocka_unit_test(walk_survives_the_removal_of_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
