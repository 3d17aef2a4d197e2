#include "lib/rendezvous.h"

#include "tests/unit/lib/support.h"

#include <string.h>

static const char *const nodes[] = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"};

static void keys_spread_evenly(void **state)
{
    size_t owned[4] = {0}, second;

    UNUSED(state);
    for (uint64_t key = 0; key < 40000; key++) {
        size_t owner = rendezvous_find(key, nodes, 4, &second);
        owned[owner]++;
        assert_true(owner < 4 && second < 4 && second != owner);
    }
    for (size_t i = 0; i < 4; i++)
        assert_in_range(owned[i], 9500, 10500);
}

static void the_order_of_the_list_does_not_matter(void **state)
{
    const char *const turned[] = {nodes[2], nodes[0], nodes[3], nodes[1]};

    UNUSED(state);
    for (uint64_t key = 1; key < 5000; key++) {
        size_t second, second_turned;
        size_t a = rendezvous_find(key, nodes, 4, &second);
        size_t b = rendezvous_find(key, turned, 4, &second_turned);
        assert_string_equal(nodes[a], turned[b]);
        assert_string_equal(nodes[second], turned[second_turned]);
    }
}

static void a_node_that_leaves_moves_only_its_own_keys_to_their_second(void **state)
{
    UNUSED(state);
    for (uint64_t key = 1; key < 5000; key++) {
        size_t second;
        size_t before = rendezvous_find(key, nodes, 4, &second);
        size_t after = rendezvous_find(key, nodes, 3, NULL);
        assert_int_equal(after, before == 3 ? second : before);
    }
}

static void a_single_node_owns_everything(void **state)
{
    size_t second = 99;

    UNUSED(state);
    assert_int_equal(rendezvous_find(5, nodes, 1, &second), 0);
    assert_int_equal(second, 0);
}

/* The numbers are a promise between processes of different versions. */
static void the_hash_never_changes(void **state)
{
    static const size_t owners[] = {1, 1, 1, 0, 1, 3, 3, 2, 0, 0, 1, 3,
                                    1, 3, 1, 1, 0, 0, 1, 3, 3, 3, 2, 3};

    UNUSED(state);
    for (uint64_t key = 0; key < ARRAY_LEN(owners); key++)
        assert_int_equal(rendezvous_find(key, nodes, 4, NULL), owners[key]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_spread_evenly),
        cmocka_unit_test(the_order_of_the_list_does_not_matter),
        cmocka_unit_test(a_node_that_leaves_moves_only_its_own_keys_to_their_second),
        cmocka_unit_test(a_single_node_owns_everything),
        cmocka_unit_test(the_hash_never_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
