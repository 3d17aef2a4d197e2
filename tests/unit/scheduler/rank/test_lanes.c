#include "scheduler/rank/filters.h"
#include "scheduler/rank/scorers.h"
#include "tests/unit/scheduler/support.h"

#include <string.h>

#define MAX_CREATES 8

static const struct resources popular[] = {
    {1, 768, 10},   {1, 1792, 25},   {2, 3584, 50},   {2, 14336, 60},    {4, 7168, 80},
    {4, 28672, 80}, {8, 14336, 160}, {8, 57344, 160}, {16, 114688, 320}, {16, 28672, 100},
};

/* Every index's answer must be the scan's, and reasons must be those of the filters. */
static void assert_same_choice(const struct fleet *f, const struct choose_request *q)
{
    struct choice by_index, by_scan;

    fleet_choose(f, q, &by_index);
    fleet_scan(f, q, &by_scan);
    assert_true(by_index.row == by_scan.row);
    if (by_scan.row != FLEET_NONE)
        assert_true(by_index.score == by_scan.score);
    assert_int_equal(by_index.asked, by_scan.asked);
    assert_memory_equal(by_index.refused, by_scan.refused, sizeof(by_scan.refused));
}

/* Counts one by one with the table of filters. */
static void assert_reasons(const struct fleet *f, const struct choose_request *q)
{
    uint32_t refused[FILTER_COUNT + 1] = {0};
    struct choice c;

    for (size_t row = 0; row < fleet_size(f); row++)
        refused[filters_find_refusal(f, row, q)]++;
    fleet_choose(f, q, &c);
    assert_int_equal(c.row == FLEET_NONE, refused[FILTER_COUNT] == 0);
    if (c.row == FLEET_NONE)
        assert_memory_equal(c.refused, refused, sizeof(c.refused));
}

struct world {
    struct fleet *f;
    struct dice dice;
    struct changes changes;
    uint64_t next_event, oldest_event;
    bool shrinks; /* capacity may fall below the claims */
};

static struct resources size_for(struct dice *d)
{
    if (dice_below(d, 20) > 0)
        return popular[dice_below(d, ARRAY_LEN(popular))];
    return SIZE(1 + dice_below(d, 32), 1 + dice_below(d, 90000), 1 + dice_below(d, 400));
}

static void change_hypervisor(struct world *w)
{
    struct dice *d = &w->dice;
    size_t row = dice_below(d, (uint32_t)fleet_size(w->f));
    uint32_t kind = dice_below(d, 12);

    if (kind == 0)
        fleet_set_status(w->f, row, HYPERVISOR_NEW + dice_below(d, 4));
    else if (kind == 1)
        fleet_set_session(w->f, row, dice_below(d, 4) > 0, dice_below(d, 4) > 0);
    else if (kind == 2 && w->shrinks)
        fleet_set_capacity(w->f, row, &SIZE(dice_below(d, 65), dice_below(d, 160000), 4000));
    else if (kind < 6)
        fleet_set_status(w->f, row, HYPERVISOR_UP);
    else if (kind < 8)
        fleet_set_session(w->f, row, true, true);
    else
        fleet_set_load(w->f, row,
                       &(struct load){.steal = (float)dice_below(d, 100) / 1000,
                                      .cpu = (float)dice_below(d, 1000) / 1000,
                                      .creates_in_flight = dice_below(d, MAX_CREATES + 2)},
                       1 + dice_below(d, 1000));
}

static void place_one(struct world *w)
{
    struct place_request q = {.event = {w->next_event},
                              .attempt = 1,
                              .droplet = {w->next_event},
                              .choose = {.size = size_for(&w->dice)}};
    struct placement p;
    struct choice by_scan;

    fleet_scan(w->f, &q.choose, &by_scan);
    fleet_place(w->f, &q, 1, &w->changes, &p);
    assert_int_equal(p.outcome == PLACED, by_scan.row != FLEET_NONE);
    w->next_event += p.outcome == PLACED;
    if (p.outcome == PLACED) {
        struct fleet_view v;
        fleet_view_get(w->f, by_scan.row, &v);
        assert_int_equal(p.hypervisor.v, v.hypervisor.id.v);
        assert_true(resources_fit(&v.claimed, &v.hypervisor.capacity));
    }
}

static void step(struct world *w)
{
    uint32_t kind = dice_below(&w->dice, 16);
    uint64_t excluded[2] = {1 + dice_below(&w->dice, 20), 1 + dice_below(&w->dice, 20)};
    struct choose_request q = {.size = size_for(&w->dice),
                               .excluded = excluded,
                               .excluded_count = dice_below(&w->dice, 3)};

    w->changes.count = 0;
    if (kind < 6)
        place_one(w);
    else if (kind < 11 && w->oldest_event < w->next_event)
        fleet_release_claim(w->f, (event_id){w->oldest_event++}, 1, &w->changes);
    else if (kind < 15)
        change_hypervisor(w);
    else if (dice_below(&w->dice, 50) == 0)
        assert_reasons(w->f, &q);
    else
        assert_same_choice(w->f, &q);
}

static void run(size_t rows, size_t steps, bool shrinks)
{
    struct world w = {.f = fleet_new(MAX_CREATES),
                      .dice = {0x5eed + rows},
                      .next_event = 1,
                      .oldest_event = 1,
                      .shrinks = shrinks};

    for (uint64_t id = 1; id <= rows; id++)
        fleet_with(w.f, id, SIZE(64, 163840, 4000));
    for (size_t i = 0; i < steps; i++) {
        step(&w);
        if (i % 50000 == 49999) /* the fleet grows */
            fleet_with(w.f, 1000000 + i, SIZE(64, 163840, 4000));
    }
    for (size_t row = 0; row < fleet_size(w.f) && !shrinks; row++) {
        struct fleet_view v;
        fleet_view_get(w.f, row, &v);
        assert_true(resources_fit(&v.claimed, &v.hypervisor.capacity));
    }
    assert_true(w.next_event > steps / 16);
    changes_fini(&w.changes);
    fleet_free(w.f);
}

static void index_and_scan_agree_through_a_million_operations(void **state)
{
    (void)state;
    run(100, 1000000, false);
}

static void index_and_scan_agree_while_capacity_shrinks(void **state)
{
    (void)state;
    run(17, 200000, true);
}

static void index_and_scan_agree_on_a_large_fleet(void **state)
{
    (void)state;
    run(5000, 20000, true);
}

/* More sizes than there are lanes: each asked for twice, over and over. */
static void sizes_beyond_the_bound_are_answered_as_well(void **state)
{
    struct fleet *f = fleet_new(0);

    (void)state;
    for (uint64_t id = 1; id <= 300; id++)
        fleet_with(f, id, SIZE((uint32_t)(1 + id % 64), 65536, 1000));
    for (uint32_t i = 0; i < 400; i++) {
        struct choose_request q = {.size = SIZE(1 + i / 2 % 50, 1000, 10)};
        assert_same_choice(f, &q);
        place(f, i + 1, 1, q.size);
    }
    fleet_free(f);
}

static void lane_follows_after_more_changes_than_are_remembered(void **state)
{
    struct fleet *f = fleet_new(0);
    struct choose_request q = {.size = SIZE(4, 4096, 10)};

    (void)state;
    for (uint64_t id = 1; id <= 100000; id++)
        fleet_with(f, id, SIZE(64, 65536, 1000));
    for (int round = 0; round < 3; round++) {
        assert_same_choice(f, &q);
        for (size_t i = 0; i < 9000; i++)
            fleet_set_load(f, i, &(struct load){.steal = 0.5f}, 1);
        assert_same_choice(f, &q);
        fleet_set_load(f, 99999 - (size_t)round, &(struct load){.steal = -1.0f}, 1);
        assert_same_choice(f, &q);
    }
    fleet_free(f);
}

static void changed_weights_reach_the_lanes(void **state)
{
    struct fleet *f = fleet_new(0);
    struct choose_request q = {.size = SIZE(4, 4, 4)};
    float spread[SCORER_COUNT] = {[SCORER_best_fit] = -1.0f};
    struct choice c;

    (void)state;
    fleet_with(f, 1, SIZE(8, 8, 8));
    fleet_with(f, 2, SIZE(64, 64, 64));
    for (int i = 0; i < 3; i++) {
        fleet_choose(f, &q, &c);
        assert_int_equal(c.row, 0);
    }
    fleet_set_weights(f, spread);
    fleet_choose(f, &q, &c);
    assert_int_equal(c.row, 1);
    assert_same_choice(f, &q);
    fleet_free(f);
}

static void empty_fleet_has_no_room_at_any_time(void **state)
{
    struct fleet *f = fleet_new(0);
    struct choose_request q = {.size = SIZE(1, 1, 1)};

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_same_choice(f, &q);
    fleet_with(f, 1, SIZE(8, 8, 8));
    assert_same_choice(f, &q);
    fleet_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_and_scan_agree_through_a_million_operations),
        cmocka_unit_test(index_and_scan_agree_while_capacity_shrinks),
        cmocka_unit_test(index_and_scan_agree_on_a_large_fleet),
        cmocka_unit_test(sizes_beyond_the_bound_are_answered_as_well),
        cmocka_unit_test(lane_follows_after_more_changes_than_are_remembered),
        cmocka_unit_test(changed_weights_reach_the_lanes),
        cmocka_unit_test(empty_fleet_has_no_room_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
