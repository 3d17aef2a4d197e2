#include "hypervisor-agent/driver/droplet.h"

#include "tests/unit/hypervisor-agent/driver/support.h"

#include <string.h>

static void a_job_names_its_domain_uuid_and_card(void **state)
{
    struct test_job t;
    struct droplet d;
    struct error err;

    (void)state;
    test_job_init(&t, 17, 4, 2);
    assert_int_equal(droplet_from_job(&t.job, (hypervisor_id){7}, &d, &err), 0);
    assert_string_equal(d.name, "droplet-17");
    assert_string_equal(d.uuid, "7f3b1c52-4a55-5d0e-9a11-000000000011");
    assert_string_equal(d.mac, "02:00:00:00:00:11");
    assert_string_equal(d.origin.installation, TEST_INSTALLATION);
    assert_int_equal(d.origin.hypervisor.v, 7);
    assert_int_equal(d.origin.droplet.v, 17);
    assert_int_equal(d.origin.event.v, 4);
    assert_int_equal(d.origin.attempt, 2);
}

static void a_job_without_names_is_refused(void **state)
{
    static char *const uuids[] = {"", "web-1", "00000000-0000-0000-0000-000000000000",
                                  "../../../../../../../../../../../tmp"};
    static char *const installations[] = {
        "", "a b", "a\nevent 1", "<x/>",
        "1234567890123456789012345678901234567890123456789012345678901234"};
    struct test_job t;
    struct droplet d;
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(uuids); i++) {
        test_job_init(&t, 17, 4, 2);
        t.job.droplet_uuid = uuids[i];
        assert_int_equal(droplet_from_job(&t.job, (hypervisor_id){7}, &d, &err), ERR_INVALID);
    }
    for (size_t i = 0; i < ARRAY_LEN(installations); i++) {
        test_job_init(&t, 17, 4, 2);
        t.job.installation_id = installations[i];
        assert_int_equal(droplet_from_job(&t.job, (hypervisor_id){7}, &d, &err), ERR_INVALID);
    }
    test_job_init(&t, 0, 4, 2);
    assert_int_equal(droplet_from_job(&t.job, (hypervisor_id){7}, &d, &err), ERR_INVALID);
}

static void two_attempts_of_an_event_are_the_same_droplet_only(void **state)
{
    struct test_job first, second;
    struct droplet a, b;
    struct error err;

    (void)state;
    test_job_init(&first, 17, 4, 1);
    test_job_init(&second, 17, 4, 2);
    assert_int_equal(droplet_from_job(&first.job, (hypervisor_id){7}, &a, &err), 0);
    assert_int_equal(droplet_from_job(&second.job, (hypervisor_id){7}, &b, &err), 0);
    assert_true(origin_is_same_droplet(&a.origin, &b.origin));
    assert_false(origin_is_same_attempt(&a.origin, &b.origin));
    assert_true(origin_is_same_attempt(&a.origin, &a.origin));
    strcpy(b.origin.installation, "another");
    assert_false(origin_is_same_droplet(&a.origin, &b.origin));
}

static void a_spec_no_host_can_have_is_refused(void **state)
{
    static char not_an_address[] = "203.0.113.7/24\", \"8.8.8.8", v6_gateway[] = "fe80::1";
    static char upper[] = "ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct test_job t;
    struct error err;

    (void)state;
    test_job_init(&t, 17, 4, 2);
    assert_int_equal(droplet_check_spec(&t.spec, &err), 0);
    assert_int_equal(droplet_check_spec(NULL, &err), ERR_INVALID);
#define REFUSED_WITH(change)                                                                       \
    do {                                                                                           \
        test_job_init(&t, 17, 4, 2);                                                               \
        change;                                                                                    \
        assert_int_equal(droplet_check_spec(&t.spec, &err), ERR_INVALID);                          \
    } while (0)
    REFUSED_WITH(t.spec.vcpus = 0);
    REFUSED_WITH(t.spec.memory_mib = 0);
    REFUSED_WITH(t.spec.disk_gib = 0);
    REFUSED_WITH(t.spec.disk_gib = UINT32_MAX);
    REFUSED_WITH(t.spec.image = NULL);
    REFUSED_WITH(t.image.sha256 = upper);
    REFUSED_WITH(t.image.sha256 = upper + 1);
    REFUSED_WITH(t.url[0] = 0);
    REFUSED_WITH(t.spec.user_data.len = 1 << 20);
    REFUSED_WITH(t.addresses[0].address = not_an_address);
    REFUSED_WITH(t.addresses[0].prefix_length = 33);
    REFUSED_WITH(t.addresses[0].gateway = v6_gateway);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_names_its_domain_uuid_and_card),
        cmocka_unit_test(a_job_without_names_is_refused),
        cmocka_unit_test(two_attempts_of_an_event_are_the_same_droplet_only),
        cmocka_unit_test(a_spec_no_host_can_have_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
