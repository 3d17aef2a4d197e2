#include "hypervisor-agent/driver/host.h"

#include "tests/unit/hypervisor-agent/driver/support.h"

#include <unistd.h>

static void processor_times_are_split_by_kind(void **state)
{
    struct host_cpu cpu;
    struct error err;

    (void)state;
    assert_int_equal(host_parse_cpu("cpu  10 20 30 400 50 6 7 80 9 1\ncpu0 1 2 3 4 5 6 7 8 9 0\n",
                                    &cpu, &err),
                     0);
    assert_int_equal(cpu.busy, 10 + 20 + 30 + 6 + 7);
    assert_int_equal(cpu.idle, 400);
    assert_int_equal(cpu.iowait, 50);
    assert_int_equal(cpu.steal, 80);
    assert_int_equal(host_parse_cpu("cpu0 1 2 3\n", &cpu, &err), ERR_INVALID);
    assert_int_equal(host_parse_cpu("", &cpu, &err), ERR_INVALID);
}

static void figures_are_found_among_others(void **state)
{
    struct error err;
    uint64_t mib = 0;
    uint32_t permille = 0;

    (void)state;
    assert_int_equal(host_parse_memory_mib("MemTotal:       24684092 kB\nMemFree: 1 kB\n", &mib,
                                           &err),
                     0);
    assert_int_equal(mib, 24105);
    assert_int_equal(host_parse_memory_mib("MemFree: 1 kB\n", &mib, &err), ERR_INVALID);
    assert_int_equal(
        host_parse_pressure("some avg10=12.34 avg60=0.00 avg300=0.00 total=1\nfull avg10=1.00\n",
                            &permille, &err),
        0);
    assert_int_equal(permille, 123);
    assert_int_equal(host_parse_pressure("full avg10=1.00\n", &permille, &err), ERR_INVALID);
}

static void network_counts_what_leaves_the_host_once(void **state)
{
    (void)state;
    assert_int_equal(
        host_parse_network(
            "Inter-|   Receive                  |  Transmit\n"
            " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n"
            "    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
            "  eth0:1000 1 0 0 0 0 0 0 30 1 0 0 0 0 0 0\n"
            " vnet3: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
            "  eth1: 2 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n"),
        1037);
    assert_int_equal(host_parse_network(""), 0);
}

static void a_sample_is_what_grew_between_two_readings(void **state)
{
    struct host_counters before = {.cpu = {100, 100, 100, 100},
                                   .network_bytes = 1000,
                                   .at_mono_ms = 1};
    struct host_counters now = {.cpu = {150, 130, 115, 105},
                                .network_bytes = 3000,
                                .memory_pressure_permille = 42,
                                .at_mono_ms = 2001};
    struct driver_sample sample;

    (void)state;
    host_compare(&before, &now, &sample);
    assert_int_equal(sample.cpu_permille, 500);
    assert_int_equal(sample.iowait_permille, 150);
    assert_int_equal(sample.steal_permille, 50);
    assert_int_equal(sample.memory_pressure_permille, 42);
    assert_int_equal(sample.network_bytes_per_s, 1000);
}

static void counters_that_step_back_count_as_nothing(void **state)
{
    struct host_counters before = {.cpu = {100, 100, 100, 100},
                                   .network_bytes = 1000,
                                   .at_mono_ms = 9};
    struct host_counters now = {.cpu = {90, 90, 90, 90}, .network_bytes = 1, .at_mono_ms = 9};
    struct driver_sample sample;

    (void)state;
    host_compare(&before, &now, &sample);
    assert_int_equal(sample.cpu_permille, 0);
    assert_int_equal(sample.steal_permille, 0);
    assert_int_equal(sample.network_bytes_per_s, 0);
}

static void this_host_has_less_for_droplets_than_it_has(void **state)
{
    struct driver_capacity none, some;
    struct host_counters counters;
    char folder[PATH_MAX];
    struct error err;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    (void)state;
    scratch_make(folder);
    assert_int_equal(host_read_capacity(folder, 0, &none, &err), 0);
    assert_int_equal(host_read_capacity(folder, 64ULL << 30, &some, &err), 0);
    assert_true(none.vcpus >= 1);
    assert_true(none.memory_mib < (uint64_t)pages * (uint64_t)page >> 20);
    /* What droplets take of the disk already is theirs; others may write meanwhile. */
    assert_true(some.disk_gib >= none.disk_gib + 32);
    assert_int_equal(host_read_counters(&counters, &err), 0);
    assert_true(counters.cpu.busy > 0);
    scratch_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processor_times_are_split_by_kind),
        cmocka_unit_test(figures_are_found_among_others),
        cmocka_unit_test(network_counts_what_leaves_the_host_once),
        cmocka_unit_test(a_sample_is_what_grew_between_two_readings),
        cmocka_unit_test(counters_that_step_back_count_as_nothing),
        cmocka_unit_test(this_host_has_less_for_droplets_than_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
