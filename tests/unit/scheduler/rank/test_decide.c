#include "scheduler/rank/decide.h"

#include "tests/unit/scheduler/support.h"

#include <stdlib.h>
#include <string.h>

static void claim_beyond_memory_is_refused(void **state)
{
    struct fleet *f = fleet_new(0);
    struct placement p;

    (void)state;
    fleet_with(f, 1, SIZE(64, 4096, 1000));
    assert_int_equal(place(f, 1, 1, SIZE(1, 4096, 10)).outcome, PLACED);
    p = place(f, 2, 1, SIZE(1, 1, 10));
    assert_int_equal(p.outcome, PLACE_NO_ROOM);
    assert_int_equal(p.choice.refused[FILTER_MEMORY], 1);
    fleet_free(f);
}

static void same_question_gets_the_same_answer(void **state)
{
    struct fleet *f = fleet_new(0);
    struct placement first, again;

    (void)state;
    fleet_with(f, 1, SIZE(2, 2, 2));
    fleet_with(f, 2, SIZE(64, 64, 64));
    first = place(f, 1, 1, SIZE(2, 2, 2));
    fleet_set_session(f, fleet_find(f, first.hypervisor), false, false);
    fleet_set_status(f, fleet_find(f, first.hypervisor), HYPERVISOR_DRAINED);
    again = place(f, 1, 1, SIZE(2, 2, 2));
    assert_int_equal(again.outcome, PLACED);
    assert_int_equal(again.hypervisor.v, first.hypervisor.v);
    assert_int_equal(claims_count(fleet_claims(f)), 1);
    fleet_free(f);
}

static void next_attempt_releases_the_lower_ones(void **state)
{
    struct fleet *f = fleet_new(0);

    (void)state;
    fleet_with(f, 1, SIZE(4, 4, 4));
    place(f, 1, 1, SIZE(4, 4, 4));
    assert_int_equal(place(f, 1, 2, SIZE(4, 4, 4)).outcome, PLACED);
    assert_null(claims_find(fleet_claims(f), (event_id){1}, 1));
    assert_non_null(claims_find(fleet_claims(f), (event_id){1}, 2));
    fleet_free(f);
}

static void next_attempt_without_room_still_releases_the_lower_ones(void **state)
{
    struct fleet *f = fleet_new(0);
    struct place_request q = {.event = {1},
                              .attempt = 2,
                              .droplet = {1000001},
                              .choose = {.size = SIZE(4, 4, 4), .pinned = {9}}};
    struct changes changes = {0};
    struct placement p;

    (void)state;
    fleet_with(f, 1, SIZE(4, 4, 4));
    place(f, 1, 1, SIZE(4, 4, 4));
    fleet_place(f, &q, 1, &changes, &p);
    assert_int_equal(p.outcome, PLACE_NO_ROOM);
    assert_int_equal(changes.count, 1);
    assert_int_equal(changes.list[0].kind, CHANGE_RELEASE);
    assert_int_equal(claims_count(fleet_claims(f)), 0);
    changes_fini(&changes);
    fleet_free(f);
}

static void attempt_below_a_known_one_is_stale(void **state)
{
    struct fleet *f = fleet_new(0);

    (void)state;
    fleet_with(f, 1, SIZE(64, 64, 64));
    place(f, 1, 3, SIZE(1, 1, 1));
    assert_int_equal(place(f, 1, 2, SIZE(1, 1, 1)).outcome, PLACE_STALE);
    assert_int_equal(claims_count(fleet_claims(f)), 1);
    fleet_free(f);
}

static void release_is_idempotent(void **state)
{
    struct fleet *f = fleet_new(0);
    struct changes changes = {0};
    struct fleet_view v;

    (void)state;
    fleet_with(f, 1, SIZE(4, 4, 4));
    place(f, 1, 1, SIZE(3, 2, 1));
    assert_int_equal(fleet_release_claim(f, (event_id){1}, 1, &changes), 1);
    assert_int_equal(fleet_release_claim(f, (event_id){1}, 1, &changes), 0);
    assert_int_equal(changes.count, 1);
    fleet_view_get(f, 0, &v);
    assert_true(resources_equal(&v.claimed, &SIZE(0, 0, 0)));
    changes_fini(&changes);
    fleet_free(f);
}

static void release_of_an_attempt_spares_the_others(void **state)
{
    struct fleet *f = fleet_new(0);
    struct changes changes = {0};

    (void)state;
    fleet_with(f, 1, SIZE(4, 4, 4));
    place(f, 1, 2, SIZE(1, 1, 1));
    assert_int_equal(fleet_release_claim(f, (event_id){1}, 1, &changes), 0);
    assert_int_equal(claims_count(fleet_claims(f)), 1);
    fleet_free(f);
}

static void release_of_a_droplet_releases_every_claim_of_it(void **state)
{
    struct fleet *f = fleet_new(0);
    struct changes changes = {0};
    struct claim a = claim_of(1, 1, 70, 5), b = claim_of(2, 1, 70, 5), c = claim_of(3, 1, 71, 5);

    (void)state;
    fleet_with(f, 5, SIZE(9, 9, 9));
    fleet_load_claim(f, &a);
    fleet_load_claim(f, &b);
    fleet_load_claim(f, &c);
    assert_int_equal(fleet_release_droplet(f, (droplet_id){70}, &changes), 2);
    assert_int_equal(changes.count, 2);
    assert_int_equal(claims_count(fleet_claims(f)), 1);
    changes_fini(&changes);
    fleet_free(f);
}

static void refusal_is_remembered_until_something_changes(void **state)
{
    struct fleet *f = fleet_new(0);
    struct placement first, again;

    (void)state;
    fleet_with(f, 1, SIZE(4, 4, 4));
    first = place(f, 1, 1, SIZE(5, 5, 5));
    again = place(f, 2, 1, SIZE(5, 5, 5));
    assert_int_equal(first.outcome, PLACE_NO_ROOM);
    assert_int_equal(again.outcome, PLACE_NO_ROOM);
    assert_int_equal(again.choice.refused[FILTER_VCPUS], 1);
    assert_int_equal(place(f, 3, 1, SIZE(4, 4, 4)).outcome, PLACED); /* another size */
    fleet_set_capacity(f, 0, &SIZE(9, 9, 9));
    assert_int_equal(place(f, 2, 1, SIZE(5, 5, 5)).outcome, PLACED);
    fleet_free(f);
}

/* ---- a long life, against a model as plain as can be ---- */

#define HYPERVISORS 24
#define EVENTS      160
#define ATTEMPTS    5
#define MAX_CREATES 6

struct model {
    struct claim claims[EVENTS][ATTEMPTS + 1]; /* attempt 0: none; what memory should hold */
    struct claim stored[EVENTS][ATTEMPTS + 1]; /* what the changes make of a database */
    struct resources before[HYPERVISORS + 1];  /* claimed before this step, by id */
};

static bool is_there(const struct claim *c)
{
    return c->attempt != 0;
}

static void claimed_by_model(const struct model *m, uint64_t id, struct resources *ret,
                             uint32_t *ret_count)
{
    *ret = SIZE(0, 0, 0);
    *ret_count = 0;
    for (int e = 0; e < EVENTS; e++) {
        for (int a = 1; a <= ATTEMPTS; a++) {
            const struct claim *c = &m->claims[e][a];
            if (!is_there(c) || c->hypervisor.v != id)
                continue;
            ret->vcpus += c->size.vcpus;
            ret->memory_mib += c->size.memory_mib;
            ret->disk_gib += c->size.disk_gib;
            ++*ret_count;
        }
    }
}

static void store(struct model *m, struct changes *changes)
{
    struct net_changes net;

    changes_net(changes, &net);
    for (size_t i = 0; i < net.release_count; i++) {
        struct claim *c = &m->stored[net.releases[i].event.v - 1][net.releases[i].attempt];
        assert_true(is_there(c));
        *c = (struct claim){0};
    }
    for (size_t i = 0; i < net.take_count; i++) {
        struct claim *c = &m->stored[net.takes[i].event.v - 1][net.takes[i].attempt];
        assert_false(is_there(c));
        *c = net.takes[i];
    }
    net_changes_fini(&net);
    changes_fini(changes);
}

static uint32_t highest_in_model(const struct model *m, int e)
{
    uint32_t highest = 0;

    for (uint32_t a = 1; a <= ATTEMPTS; a++)
        if (is_there(&m->claims[e][a]))
            highest = a;
    return highest;
}

/* Few enough that the same is often asked again. */
static struct resources size_among_few(struct dice *d)
{
    return SIZE(1u << dice_below(d, 4), 2048u << dice_below(d, 4), 10 + 90 * dice_below(d, 2));
}

static struct choice choose_anew(const struct fleet *f, const struct choose_request *q)
{
    struct choice c;

    fleet_choose(f, q, &c);
    return c;
}

static void step_place(struct fleet *f, struct model *m, struct dice *d, struct changes *changes)
{
    int e = (int)dice_below(d, EVENTS);
    uint32_t highest = highest_in_model(m, e);
    struct place_request q = {
        .event = {(uint64_t)e + 1},
        .attempt = 1 + dice_below(d, ATTEMPTS),
        .droplet = {(uint64_t)e / 2 + 1},
        .choose = {.size = size_among_few(d)},
    };
    struct placement p;
    struct fleet_view v;

    fleet_place(f, &q, 7, changes, &p);
    if (q.attempt < highest) {
        assert_int_equal(p.outcome, PLACE_STALE);
        return;
    }
    if (q.attempt == highest) {
        assert_int_equal(p.outcome, PLACED);
        assert_int_equal(p.hypervisor.v, m->claims[e][highest].hypervisor.v);
        return;
    }
    for (uint32_t a = 1; a < q.attempt; a++)
        m->claims[e][a] = (struct claim){0};
    if (p.outcome == PLACE_NO_ROOM) {
        assert_true(choose_anew(f, &q.choose).row == FLEET_NONE);
        return;
    }
    assert_int_equal(p.outcome, PLACED);
    m->claims[e][q.attempt] = (struct claim){.event = q.event,
                                             .attempt = q.attempt,
                                             .droplet = q.droplet,
                                             .hypervisor = p.hypervisor,
                                             .size = q.choose.size,
                                             .at_unix_ms = 7};
    fleet_view_get(f, fleet_find(f, p.hypervisor), &v);
    assert_true(resources_fit(&v.claimed, &v.hypervisor.capacity));
    assert_true(v.hypervisor.status == HYPERVISOR_UP && v.session && v.compared);
    assert_true(v.creates_in_flight <= MAX_CREATES);
}

static void step_release(struct fleet *f, struct model *m, struct dice *d, struct changes *changes)
{
    int e = (int)dice_below(d, EVENTS);
    uint32_t a = 1 + dice_below(d, ATTEMPTS);
    size_t n = fleet_release_claim(f, (event_id){(uint64_t)e + 1}, a, changes);

    assert_int_equal(n, is_there(&m->claims[e][a]));
    m->claims[e][a] = (struct claim){0};
}

static void step_release_droplet(struct fleet *f, struct model *m, struct dice *d,
                                 struct changes *changes)
{
    uint64_t droplet = 1 + dice_below(d, EVENTS / 2);
    size_t expected = 0;

    for (int e = 0; e < EVENTS; e++) {
        for (int a = 1; a <= ATTEMPTS; a++) {
            if (is_there(&m->claims[e][a]) && m->claims[e][a].droplet.v == droplet) {
                expected++;
                m->claims[e][a] = (struct claim){0};
            }
        }
    }
    assert_int_equal(fleet_release_droplet(f, (droplet_id){droplet}, changes), expected);
}

static void step_hypervisor(struct fleet *f, struct dice *d)
{
    size_t row = dice_below(d, HYPERVISORS);

    switch (dice_below(d, 4)) {
    case 0:
        fleet_set_capacity(f, row,
                           &SIZE(dice_below(d, 33), dice_below(d, 65537), dice_below(d, 1001)));
        break;
    case 1:
        fleet_set_status(f, row, dice_below(d, 5) ? HYPERVISOR_UP : HYPERVISOR_DRAINED);
        break;
    case 2:
        fleet_set_session(f, row, dice_below(d, 5) > 0, dice_below(d, 5) > 0);
        break;
    case 3:
        fleet_set_load(f, row, &(struct load){.creates_in_flight = dice_below(d, 3)}, 10000);
        break;
    }
}

/* Nothing grew that has no room, and memory holds what the model holds. */
static void check_hypervisors(const struct fleet *f, struct model *m, bool thoroughly)
{
    for (uint64_t id = 1; id <= HYPERVISORS; id++) {
        struct resources *before = &m->before[id], claimed;
        struct fleet_view v;
        uint32_t count;
        fleet_view_get(f, fleet_find(f, (hypervisor_id){id}), &v);
        if (!resources_fit(&v.claimed, before))
            assert_true(resources_fit(&v.claimed, &v.hypervisor.capacity));
        *before = v.claimed;
        if (!thoroughly)
            continue;
        claimed_by_model(m, id, &claimed, &count);
        assert_true(resources_equal(&claimed, &v.claimed));
        assert_int_equal(count, v.claims);
    }
}

static bool are_equal(const struct claim *a, const struct claim *b)
{
    return a->event.v == b->event.v && a->attempt == b->attempt && a->droplet.v == b->droplet.v &&
           a->hypervisor.v == b->hypervisor.v && resources_equal(&a->size, &b->size) &&
           a->at_unix_ms == b->at_unix_ms;
}

static void is_in_model(void *ctx, const struct claim *claim)
{
    const struct model *m = ctx;

    assert_true(are_equal(claim, &m->claims[claim->event.v - 1][claim->attempt]));
}

/* The fleet, the model and what was stored hold the same claims. */
static void check_all_claims(struct fleet *f, struct model *m)
{
    size_t count = 0;

    for (int e = 0; e < EVENTS; e++) {
        for (int a = 1; a <= ATTEMPTS; a++) {
            assert_true(are_equal(&m->claims[e][a], &m->stored[e][a]));
            count += is_there(&m->claims[e][a]);
        }
    }
    assert_int_equal(claims_count(fleet_claims(f)), count);
    claims_each(fleet_claims(f), is_in_model, m);
}

static void live(uint64_t seed, int steps)
{
    struct model *m = calloc(1, sizeof(*m));
    struct fleet *f = fleet_new(MAX_CREATES);
    struct dice d = {seed};
    struct changes changes = {0}; /* several steps share a commit */

    for (uint64_t id = 1; id <= HYPERVISORS; id++)
        fleet_with(f, id, SIZE(32, 65536, 1000));
    for (int i = 0; i < steps; i++) {
        uint32_t kind = dice_below(&d, 100);
        if (kind < 55)
            step_place(f, m, &d, &changes);
        else if (kind < 85)
            step_release(f, m, &d, &changes);
        else if (kind < 88)
            step_release_droplet(f, m, &d, &changes);
        else
            step_hypervisor(f, &d);
        check_hypervisors(f, m, i % 97 == 0);
        if (dice_below(&d, 8) == 0)
            store(m, &changes);
    }
    store(m, &changes);
    check_hypervisors(f, m, true);
    check_all_claims(f, m);
    fleet_free(f);
    free(m);
}

static void claims_are_true_through_300000_random_steps(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++)
        live(seed * 0x9e3779b97f4a7c15u, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claim_beyond_memory_is_refused),
        cmocka_unit_test(same_question_gets_the_same_answer),
        cmocka_unit_test(next_attempt_releases_the_lower_ones),
        cmocka_unit_test(next_attempt_without_room_still_releases_the_lower_ones),
        cmocka_unit_test(attempt_below_a_known_one_is_stale),
        cmocka_unit_test(release_is_idempotent),
        cmocka_unit_test(release_of_an_attempt_spares_the_others),
        cmocka_unit_test(release_of_a_droplet_releases_every_claim_of_it),
        cmocka_unit_test(refusal_is_remembered_until_something_changes),
        cmocka_unit_test(claims_are_true_through_300000_random_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
