#include "eventrouter/average.h"

#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static Harpoon__Agent__V1__Sample sample(uint32_t cpu, uint32_t creates)
{
    Harpoon__Agent__V1__Sample s = HARPOON__AGENT__V1__SAMPLE__INIT;
    s.cpu_permille = cpu;
    s.steal_permille = cpu / 2;
    s.iowait_permille = cpu / 4;
    s.memory_pressure_permille = cpu / 5;
    s.network_bytes_per_s = cpu * UINT64_C(1000);
    s.creates_in_flight = creates;
    s.at_unix_ms = cpu;
    return s;
}

static void loads_are_means_and_counts_the_last(void **state)
{
    UNUSED(state);
    struct average a = {0};
    Harpoon__Agent__V1__Sample one = sample(100, 7), two = sample(301, 3);
    average_add(&a, &one);
    average_add(&a, &two);
    struct average_result r = average_take(&a);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.cpu_permille, 201); /* 200.5 */
    assert_int_equal(r.steal_permille, 100);
    assert_int_equal(r.iowait_permille, 50);
    assert_int_equal(r.memory_pressure_permille, 40);
    assert_int_equal(r.network_bytes_per_s, 200500);
    assert_int_equal(r.creates_in_flight, 3);
    assert_int_equal(r.at_unix_ms, 301);
}

static void taking_begins_anew_and_keeps_the_capacity(void **state)
{
    UNUSED(state);
    struct average a = {0};
    Harpoon__Agent__V1__Capacity capacity = HARPOON__AGENT__V1__CAPACITY__INIT;
    Harpoon__Agent__V1__Sample one = sample(1000, 0), two = sample(10, 0);
    capacity.vcpus = 8;
    capacity.memory_mib = 16384;
    capacity.disk_gib = 100;
    one.capacity = &capacity;
    average_add(&a, &one);
    assert_int_equal(average_take(&a).cpu_permille, 1000);
    assert_int_equal(average_take(&a).count, 0);
    average_add(&a, &two);
    struct average_result r = average_take(&a);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.cpu_permille, 10);
    assert_int_equal(r.capacity.vcpus, 8);
    assert_int_equal(r.capacity.memory_mib, 16384);
    assert_int_equal(r.capacity.disk_gib, 100);
}

static void absurd_values_do_not_spoil_the_mean(void **state)
{
    UNUSED(state);
    struct average a = {0};
    Harpoon__Agent__V1__Sample absurd = sample(0, 0);
    absurd.cpu_permille = UINT32_MAX;
    absurd.network_bytes_per_s = UINT64_MAX;
    for (int i = 0; i < 20000; i++)
        average_add(&a, &absurd);
    struct average_result r = average_take(&a);
    assert_int_equal(r.count, 10000);
    assert_int_equal(r.cpu_permille, 1000);
    assert_true(r.network_bytes_per_s == UINT64_C(1) << 48);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_are_means_and_counts_the_last),
        cmocka_unit_test(taking_begins_anew_and_keeps_the_capacity),
        cmocka_unit_test(absurd_values_do_not_spoil_the_mean),
    };
    return cmocka_run_group_tests_name("average", tests, NULL, NULL);
}
