#include "scheduler/rank/choose.h"

#include "scheduler/rank/filters.h"
#include "scheduler/rank/scorers.h"
#include "tests/unit/scheduler/support.h"

#include <math.h>
#include <string.h>

static struct choice choose(const struct fleet *f, struct resources size)
{
    struct choose_request request = {.size = size};
    struct choice choice;

    fleet_choose(f, &request, &choice);
    return choice;
}

static void fullest_hypervisor_with_room_wins(void **state)
{
    struct fleet *f = fleet_new(0);

    (void)state;
    fleet_with(f, 1, SIZE(32, 32, 32));
    fleet_with(f, 2, SIZE(8, 8, 8));
    fleet_with(f, 3, SIZE(2, 2, 2));
    assert_int_equal(choose(f, SIZE(4, 4, 4)).row, 1);
    fleet_free(f);
}

static void of_equals_the_first_wins(void **state)
{
    struct fleet *f = fleet_new(0);

    (void)state;
    for (uint64_t id = 1; id <= 2000; id++)
        fleet_with(f, id, SIZE(8, 8, 8));
    assert_int_equal(choose(f, SIZE(1, 1, 1)).row, 0);
    fleet_set_status(f, 0, HYPERVISOR_DRAINED);
    assert_int_equal(choose(f, SIZE(1, 1, 1)).row, 1);
    fleet_free(f);
}

static void lopsided_remainder_loses_to_an_even_one(void **state)
{
    struct fleet *f = fleet_new(0);
    float weights[SCORER_COUNT] = {[SCORER_best_fit] = 1, [SCORER_fragmentation] = 0.5f};

    (void)state;
    fleet_set_weights(f, weights);
    /* Both would have as much left in all: one 11 vCPUs and 3 MiB, the other 7 and 7. */
    fleet_with(f, 1, SIZE(16, 16, 16));
    fleet_with(f, 2, SIZE(16, 16, 16));
    place(f, 1, 1, SIZE(1, 9, 4));
    fleet_set_status(f, 0, HYPERVISOR_DRAINED);
    place(f, 2, 1, SIZE(5, 5, 4));
    fleet_set_status(f, 0, HYPERVISOR_UP);
    assert_int_equal(choose(f, SIZE(4, 4, 4)).row, 1);
    fleet_free(f);
}

static void steal_pushes_away(void **state)
{
    struct fleet *f = fleet_new(0);

    (void)state;
    fleet_with(f, 1, SIZE(8, 8, 8));
    fleet_with(f, 2, SIZE(8, 8, 8));
    fleet_set_load(f, 0, &(struct load){.steal = 0.3f}, 10000);
    assert_int_equal(choose(f, SIZE(1, 1, 1)).row, 1);
    fleet_free(f);
}

static void excluded_hypervisor_is_not_chosen(void **state)
{
    struct fleet *f = fleet_new(0);
    uint64_t excluded[] = {1, 77};
    struct choose_request request = {.size = SIZE(1, 1, 1),
                                     .excluded = excluded,
                                     .excluded_count = 2};
    struct choice choice;

    (void)state;
    fleet_with(f, 1, SIZE(2, 2, 2));
    fleet_with(f, 2, SIZE(9, 9, 9));
    fleet_choose(f, &request, &choice);
    assert_int_equal(choice.row, 1);
    fleet_free(f);
}

static void pinned_hypervisor_is_chosen_or_none(void **state)
{
    struct fleet *f = fleet_new(0);
    struct choose_request request = {.size = SIZE(4, 4, 4), .pinned = {2}};
    struct choice choice;

    (void)state;
    fleet_with(f, 1, SIZE(4, 4, 4));
    fleet_with(f, 2, SIZE(64, 64, 64));
    fleet_choose(f, &request, &choice);
    assert_int_equal(choice.row, 1);
    fleet_set_capacity(f, 1, &SIZE(64, 3, 64));
    fleet_choose(f, &request, &choice);
    assert_true(choice.row == FLEET_NONE);
    assert_int_equal(choice.asked, 1);
    assert_int_equal(choice.refused[FILTER_MEMORY], 1);
    fleet_free(f);
}

static void unknown_pinned_hypervisor_is_named_as_such(void **state)
{
    struct fleet *f = fleet_new(0);
    struct choose_request request = {.size = SIZE(1, 1, 1), .pinned = {99}};
    struct choice choice;
    char reason[320];

    (void)state;
    fleet_with(f, 1, SIZE(4, 4, 4));
    fleet_choose(f, &request, &choice);
    assert_true(choice.row == FLEET_NONE);
    choice_format_reason(&choice, reason, sizeof(reason));
    assert_string_equal(reason, "no such hypervisor");
    fleet_free(f);
}

static void reason_counts_the_first_filter_that_refused_each(void **state)
{
    struct fleet *f = fleet_new(2);
    uint64_t excluded[] = {4};
    struct choose_request request = {.size = SIZE(4, 4, 4),
                                     .excluded = excluded,
                                     .excluded_count = 1};
    struct choice choice;
    char reason[320];

    (void)state;
    for (uint64_t id = 1; id <= 8; id++)
        fleet_with(f, id, SIZE(8, 8, 8));
    fleet_set_status(f, 0, HYPERVISOR_DRAINED);
    fleet_set_session(f, 1, false, true);
    fleet_set_session(f, 2, true, false);
    fleet_set_load(f, 4, &(struct load){.creates_in_flight = 2}, 10000);
    fleet_set_capacity(f, 5, &SIZE(3, 9, 9));
    fleet_set_capacity(f, 6, &SIZE(9, 3, 9));
    fleet_set_capacity(f, 7, &SIZE(9, 9, 3));
    fleet_choose(f, &request, &choice);
    assert_true(choice.row == FLEET_NONE);
    for (int i = 0; i < FILTER_COUNT; i++)
        assert_int_equal(choice.refused[i], 1);
    choice_format_reason(&choice, reason, sizeof(reason));
    assert_string_equal(reason, "none of 8 hypervisors has room: not approved or not in service 1, "
                                "not connected 1, journal not compared 1, tried before 1, too many "
                                "creates in flight 1, vcpus 1, memory 1, disk 1");
    fleet_free(f);
}

static void long_reason_is_cut_not_overrun(void **state)
{
    struct choice choice = {.row = FLEET_NONE, .asked = 15000};
    char reason[48];

    (void)state;
    memset(reason, '#', sizeof(reason));
    for (int i = 0; i < FILTER_COUNT; i++)
        choice.refused[i] = 1000;
    choice_format_reason(&choice, reason, 40);
    assert_int_equal(strlen(reason), 39);
    assert_int_equal(reason[40], '#');
}

static void creates_in_flight_are_those_sampled_and_those_taken_since(void **state)
{
    struct fleet *f = fleet_new(3);

    (void)state;
    fleet_with(f, 1, SIZE(64, 64, 64));
    fleet_set_load(f, 0, &(struct load){.creates_in_flight = 1}, 10000);
    assert_int_equal(place(f, 1, 1, SIZE(1, 1, 1)).outcome, PLACED);
    assert_int_equal(place(f, 2, 1, SIZE(1, 1, 1)).outcome, PLACED);
    assert_int_equal(place(f, 3, 1, SIZE(1, 1, 1)).outcome, PLACE_NO_ROOM);
    fleet_set_load(f, 0, &(struct load){.creates_in_flight = 2},
                   10000); /* it has them in hand now */
    assert_int_equal(place(f, 3, 1, SIZE(1, 1, 1)).outcome, PLACED);
    assert_int_equal(place(f, 4, 1, SIZE(1, 1, 1)).outcome, PLACE_NO_ROOM);
    fleet_free(f);
}

static void released_claim_is_no_create_in_flight(void **state)
{
    struct fleet *f = fleet_new(1);
    struct changes changes = {0};
    struct fleet_view v;

    (void)state;
    fleet_with(f, 1, SIZE(64, 64, 64));
    place(f, 1, 1, SIZE(1, 1, 1));
    fleet_release_claim(f, (event_id){1}, 1, &changes);
    assert_int_equal(place(f, 2, 1, SIZE(1, 1, 1)).outcome, PLACED);
    /* One taken before the last sample is in that sample, not in the count since. */
    fleet_set_load(f, 0, &(struct load){.creates_in_flight = 0}, 10000);
    place(f, 3, 1, SIZE(1, 1, 1));
    fleet_release_claim(f, (event_id){2}, 1, &changes);
    fleet_view_get(f, 0, &v);
    assert_int_equal(v.creates_in_flight, 1);
    changes_fini(&changes);
    fleet_free(f);
}

/* What was taken a moment ago has not reached the agent when it made its sample. */
static void claim_taken_just_before_a_sample_came_is_still_in_flight(void **state)
{
    struct fleet *f = fleet_new(0);
    struct changes changes = {0};
    struct load load = {.creates_in_flight = 0};
    struct fleet_view v;

    (void)state;
    fleet_with(f, 1, SIZE(64, 64, 64));
    place(f, 1, 1, SIZE(1, 1, 1)); /* at 1 ms */
    place(f, 2, 1, SIZE(1, 1, 1));
    fleet_set_load(f, 0, &load, CREATES_LAG_MS);
    fleet_view_get(f, 0, &v);
    assert_int_equal(v.creates_in_flight, 2);
    fleet_release_claim(f, (event_id){1}, 1, &changes);
    fleet_view_get(f, 0, &v);
    assert_int_equal(v.creates_in_flight, 1);
    fleet_set_load(f, 0, &load, CREATES_LAG_MS);
    fleet_view_get(f, 0, &v);
    assert_int_equal(v.creates_in_flight, 1);
    fleet_set_load(f, 0, &load, 2 * CREATES_LAG_MS);
    fleet_view_get(f, 0, &v);
    assert_int_equal(v.creates_in_flight, 0);
    changes_fini(&changes);
    fleet_free(f);
}

static void clock_set_back_keeps_no_create_in_flight(void **state)
{
    struct fleet *f = fleet_new(0);
    struct load load = {.creates_in_flight = 0};
    struct fleet_view v;

    (void)state;
    fleet_with(f, 1, SIZE(64, 64, 64));
    fleet_set_load(f, 0, &load, 3600000);
    place(f, 1, 1, SIZE(1, 1, 1)); /* at 1 ms */
    fleet_set_load(f, 0, &load, 2 * CREATES_LAG_MS);
    fleet_view_get(f, 0, &v);
    assert_int_equal(v.creates_in_flight, 0);
    fleet_free(f);
}

/* ---- against a reference that is as plain as can be ---- */

static double share_left(uint32_t capacity, uint32_t claimed, uint32_t asked)
{
    return capacity ? ((double)capacity - claimed - asked) / capacity : 0;
}

static double reference_slots(uint32_t vcpus, uint32_t memory_mib)
{
    static const uint32_t slots[][2] = {
        {16, 28672}, {8, 14336}, {4, 7168}, {16, 57344}, {8, 28672}};
    double points = 0;

    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        uint32_t by_vcpus = vcpus / slots[i][0], by_memory = memory_mib / slots[i][1];
        points += slots[i][0] * (by_vcpus < by_memory ? by_vcpus : by_memory);
    }
    return points;
}

static double reference_score(const struct fleet_view *v, const struct load *load,
                              const struct resources *s)
{
    const struct resources *c = &v->hypervisor.capacity;
    double vcpus = share_left(c->vcpus, v->claimed.vcpus, s->vcpus);
    double memory = share_left(c->memory_mib, v->claimed.memory_mib, s->memory_mib);
    double disk = share_left(c->disk_gib, v->claimed.disk_gib, s->disk_gib);
    double points = -(load->steal + load->iowait / 2 + load->memory_pressure / 2 + load->cpu / 10);
    uint32_t left_vcpus = c->vcpus - v->claimed.vcpus;
    uint32_t left_memory = c->memory_mib - v->claimed.memory_mib;
    double lost = reference_slots(left_vcpus, left_memory) -
                  reference_slots(left_vcpus - s->vcpus, left_memory - s->memory_mib);

    return points - (vcpus + 2 * memory + disk) / 3 - lost / c->vcpus;
}

static bool reference_fits(const struct fleet_view *v, const struct choose_request *q,
                           uint32_t max_creates)
{
    const struct resources *c = &v->hypervisor.capacity;

    for (size_t i = 0; i < q->excluded_count; i++)
        if (q->excluded[i] == v->hypervisor.id.v)
            return false;
    return v->hypervisor.status == HYPERVISOR_UP && v->session && v->compared &&
           v->creates_in_flight < max_creates &&
           (uint64_t)v->claimed.vcpus + q->size.vcpus <= c->vcpus &&
           (uint64_t)v->claimed.memory_mib + q->size.memory_mib <= c->memory_mib &&
           (uint64_t)v->claimed.disk_gib + q->size.disk_gib <= c->disk_gib;
}

#define ROWS        700
#define MAX_CREATES 8

static void check_against_reference(const struct fleet *f, const struct load *loads,
                                    const struct choose_request *q)
{
    struct choice choice;
    double best = -1e30;
    size_t fit = 0;
    struct fleet_view v;

    fleet_choose(f, q, &choice);
    for (size_t row = 0; row < ROWS; row++) {
        fleet_view_get(f, row, &v);
        bool fits = reference_fits(&v, q, MAX_CREATES);
        assert_int_equal(fits, filters_find_refusal(f, row, q) == FILTER_COUNT);
        if (!fits)
            continue;
        fit++;
        best = fmax(best, reference_score(&v, &loads[row], &q->size));
    }
    assert_int_equal(choice.row != FLEET_NONE, fit > 0);
    if (fit == 0)
        return;
    fleet_view_get(f, choice.row, &v);
    assert_true(reference_fits(&v, q, MAX_CREATES));
    assert_true(reference_score(&v, &loads[choice.row], &q->size) >= best - 1e-5);
    for (size_t row = 0; row < choice.row; row++) /* ties go to the first */
        if (filters_find_refusal(f, row, q) == FILTER_COUNT)
            assert_true(fleet_score(f, row, &q->size) < choice.score);
}

static void change_something(struct fleet *f, struct load *loads, struct dice *d)
{
    size_t row = dice_below(d, ROWS);
    uint32_t kind = dice_below(d, 6);

    if (kind == 0)
        fleet_set_status(f, row, HYPERVISOR_NEW + dice_below(d, 4));
    else if (kind == 1)
        fleet_set_session(f, row, dice_below(d, 4) > 0, dice_below(d, 4) > 0);
    else if (kind == 2)
        fleet_set_capacity(f, row,
                           &SIZE(dice_below(d, 65), dice_below(d, 200000), dice_below(d, 2000)));
    else if (kind == 3) {
        loads[row] = (struct load){.steal = (float)dice_below(d, 1000) / 1000,
                                   .cpu = (float)dice_below(d, 1000) / 1000,
                                   .iowait = (float)dice_below(d, 1000) / 1000,
                                   .memory_pressure = (float)dice_below(d, 1000) / 1000,
                                   .creates_in_flight = dice_below(d, 10)};
        fleet_set_load(f, row, &loads[row], 10000);
    } else
        fleet_set_status(f, row, HYPERVISOR_UP);
}

static void choice_equals_that_of_a_plain_reference(void **state)
{
    static struct load loads[ROWS];
    struct dice dice = {0x5eed};
    struct fleet *f = fleet_new(MAX_CREATES);

    (void)state;
    for (uint64_t id = 1; id <= ROWS; id++)
        fleet_with(f, id, SIZE(64, 131072, 1000));
    for (uint64_t i = 1; i <= 3000; i++) {
        uint64_t excluded[3];
        struct choose_request q = {.size =
                                       SIZE(1 + dice_below(&dice, 32), 1 + dice_below(&dice, 65536),
                                            1 + dice_below(&dice, 500)),
                                   .excluded = excluded,
                                   .excluded_count = dice_below(&dice, 4)};
        for (size_t e = 0; e < q.excluded_count; e++)
            excluded[e] = 1 + dice_below(&dice, ROWS);
        change_something(f, loads, &dice);
        check_against_reference(f, loads, &q);
        place(f, i, 1, q.size);
    }
    fleet_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fullest_hypervisor_with_room_wins),
        cmocka_unit_test(of_equals_the_first_wins),
        cmocka_unit_test(lopsided_remainder_loses_to_an_even_one),
        cmocka_unit_test(steal_pushes_away),
        cmocka_unit_test(excluded_hypervisor_is_not_chosen),
        cmocka_unit_test(pinned_hypervisor_is_chosen_or_none),
        cmocka_unit_test(unknown_pinned_hypervisor_is_named_as_such),
        cmocka_unit_test(reason_counts_the_first_filter_that_refused_each),
        cmocka_unit_test(long_reason_is_cut_not_overrun),
        cmocka_unit_test(creates_in_flight_are_those_sampled_and_those_taken_since),
        cmocka_unit_test(released_claim_is_no_create_in_flight),
        cmocka_unit_test(claim_taken_just_before_a_sample_came_is_still_in_flight),
        cmocka_unit_test(clock_set_back_keeps_no_create_in_flight),
        cmocka_unit_test(choice_equals_that_of_a_plain_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
