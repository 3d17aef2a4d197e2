#include "hypervisor-agent/config.h"
#include "support.h"

#include <stdlib.h>

static int set_up(const char *hypervisors, const char *routers, const char *shape,
                  const char *driver, const char *certificate, struct agent_setup *ret,
                  struct error *err)
{
    static struct agent_config config;

    config = (struct agent_config){
        .hypervisors = (char *)(uintptr_t)hypervisors,
        .routers = (char *)(uintptr_t)routers,
        .sim_shape = (char *)(uintptr_t)shape,
        .capacity_reserve = (char *)(uintptr_t) "0,0,0",
        .driver = (char *)(uintptr_t)driver,
        .tls_certificate = (char *)(uintptr_t)certificate,
    };
    return agent_setup_init(&config, ret, err);
}

static void numbers_and_ranges_become_ascending_ids(void **state)
{
    struct agent_setup s;
    struct error err;

    UNUSED(state);
    assert_ok(set_up("20,1-3,7", "a:1,b:2", "1,2,3", "sim", "{id}.pem", &s, &err), &err);
    const uint64_t expected[] = {1, 2, 3, 7, 20};
    assert_int_equal(s.hypervisor_count, ARRAY_LEN(expected));
    assert_memory_equal(s.hypervisors, expected, sizeof expected);
    assert_int_equal(s.router_count, 2);
    assert_string_equal(s.routers[1], "b:2");
    assert_int_equal(s.sim_shape.memory_mib, 2);
    agent_setup_fini(&s);
}

static void what_makes_no_sense_is_refused(void **state)
{
    static const struct {
        const char *hypervisors, *routers, *shape, *driver, *certificate;
    } bad[] = {
        {"", "a:1", "1,2,3", "sim", "{id}"},
        {"3-1", "a:1", "1,2,3", "sim", "{id}"},
        {"0", "a:1", "1,2,3", "sim", "{id}"},
        {"1,,2", "a:1", "1,2,3", "sim", "{id}"},
        {"1-", "a:1", "1,2,3", "sim", "{id}"},
        {"1,1", "a:1", "1,2,3", "sim", "{id}"},
        {"1-5,3", "a:1", "1,2,3", "sim", "{id}"},
        {"-1", "a:1", "1,2,3", "sim", "{id}"},
        {"1-99999999", "a:1", "1,2,3", "sim", "{id}"},
        {"9007199254740992", "a:1", "1,2,3", "sim", "{id}"},
        {"99999999999999999999999", "a:1", "1,2,3", "sim", "{id}"},
        {"1", "", "1,2,3", "sim", "{id}"},
        {"1", "a:1,", "1,2,3", "sim", "{id}"},
        {"1", "a:1", "1,2", "sim", "{id}"},
        {"1", "a:1", "1,2,3,4", "sim", "{id}"},
        {"1", "a:1", "1,2,99999999999", "sim", "{id}"},
        {"1-2", "a:1", "1,2,3", "libvirt", "{id}"},
        {"1-2", "a:1", "1,2,3", "sim", "one.pem"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct agent_setup s;
        struct error err = {0};
        int r = set_up(bad[i].hypervisors, bad[i].routers, bad[i].shape, bad[i].driver,
                       bad[i].certificate, &s, &err);
        if (r != ERR_INVALID)
            fail_msg("row %zu: %d", i, r);
    }
}

static void a_path_is_of_its_hypervisor(void **state)
{
    char *path = agent_format_path("/pki/{id}/a-{id}.pem", (hypervisor_id){42});

    UNUSED(state);
    assert_string_equal(path, "/pki/42/a-42.pem");
    free(path);
    path = agent_format_path("{id", (hypervisor_id){42});
    assert_string_equal(path, "{id");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_ranges_become_ascending_ids),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_path_is_of_its_hypervisor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
