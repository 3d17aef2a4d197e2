#include "eventrouter/route.h"

#include "lib/macros.h"
#include "lib/rendezvous.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *const peers[] = {"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1"};

static struct route_table table_of(size_t self, size_t count)
{
    return (struct route_table){.region = "nyc3", .peers = peers, .count = count, .self = self};
}

static void exactly_first_and_second_accept_and_others_point_to_the_first(void **state)
{
    UNUSED(state);
    for (uint64_t hypervisor = 1; hypervisor <= 1000; hypervisor++) {
        size_t second, first = rendezvous_find(hypervisor, peers, ARRAY_LEN(peers), &second);
        for (size_t self = 0; self < ARRAY_LEN(peers); self++) {
            struct route_table t = table_of(self, ARRAY_LEN(peers));
            struct route to = route_find(&t, "nyc3", hypervisor);
            if (self == first || self == second) {
                assert_int_equal(to.verdict, ROUTE_ACCEPT);
            } else {
                assert_int_equal(to.verdict, ROUTE_REDIRECT);
                assert_string_equal(to.address, peers[first]);
            }
        }
    }
}

static void another_region_is_refused_whoever_owns_it(void **state)
{
    UNUSED(state);
    for (size_t self = 0; self < ARRAY_LEN(peers); self++) {
        struct route_table t = table_of(self, ARRAY_LEN(peers));
        assert_int_equal(route_find(&t, "ams3", 1).verdict, ROUTE_REFUSE);
        assert_int_equal(route_find(&t, "nyc", 1).verdict, ROUTE_REFUSE);
    }
}

static void single_router_accepts_everybody_and_knows_no_other(void **state)
{
    UNUSED(state);
    struct route_table t = table_of(0, 1);
    for (uint64_t hypervisor = 1; hypervisor <= 100; hypervisor++) {
        assert_int_equal(route_find(&t, "nyc3", hypervisor).verdict, ROUTE_ACCEPT);
        assert_null(route_find_other(&t, hypervisor));
    }
}

/* An agent that is sent away must not be sent back. */
static void where_a_stopping_router_sends_to_accepts(void **state)
{
    UNUSED(state);
    for (uint64_t hypervisor = 1; hypervisor <= 1000; hypervisor++) {
        for (size_t self = 0; self < ARRAY_LEN(peers); self++) {
            struct route_table t = table_of(self, ARRAY_LEN(peers));
            const char *other = route_find_other(&t, hypervisor);
            assert_string_not_equal(other, peers[self]);
            for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
                struct route_table there = table_of(i, ARRAY_LEN(peers));
                if (peers[i] == other)
                    assert_int_equal(route_find(&there, "nyc3", hypervisor).verdict, ROUTE_ACCEPT);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_first_and_second_accept_and_others_point_to_the_first),
        cmocka_unit_test(another_region_is_refused_whoever_owns_it),
        cmocka_unit_test(single_router_accepts_everybody_and_knows_no_other),
        cmocka_unit_test(where_a_stopping_router_sends_to_accepts),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
