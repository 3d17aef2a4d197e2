/* The whole driver on libvirt's own test hypervisor, which has domains but neither files nor
 * guests. */
#include "hypervisor-agent/driver/driver.h"
#include "tests/unit/hypervisor-agent/driver/support.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    char state_dir[PATH_MAX];
    void *driver;
    virConnectPtr other; /* another client of the same hypervisor */
    struct test_job t;
};

static void setup(struct fixture *f)
{
    struct driver_config config = {.libvirt_uri = "test:///default",
                                   .installation_id = TEST_INSTALLATION,
                                   .max_parallel = 2};
    struct error err;

    memset(f, 0, sizeof(*f));
    scratch_make(f->state_dir);
    config.state_dir = f->state_dir;
    int r = driver_libvirt.open(&config, &f->driver, &err);
    if (r < 0)
        print_error("%s\n", err.message);
    assert_int_equal(r, 0);
    f->other = virConnectOpen("test:///default");
    assert_non_null(f->other);
    test_job_init(&f->t, 17, 4, 2);
}

static void teardown(struct fixture *f)
{
    virConnectClose(f->other);
    driver_libvirt.close(f->driver);
    scratch_remove(f->state_dir);
}

static struct outcome run(struct fixture *f, enum driver_action action)
{
    return run_operation(&driver_libvirt, f->driver, action, &f->t.job);
}

/* -1: no such domain; 0: defined; 1: running. */
static int state_of(struct fixture *f, const char *name)
{
    virDomainPtr domain = virDomainLookupByName(f->other, name);

    if (domain == NULL)
        return -1;
    int active = virDomainIsActive(domain);
    virDomainFree(domain);
    return active;
}

static void make_stranger(struct fixture *f, const char *name, const char *uuid)
{
    char xml[512];

    snprintf(xml, sizeof(xml),
             "<domain type='test'><name>%s</name><uuid>%s</uuid><memory>8192</memory>"
             "<os><type>hvm</type></os></domain>",
             name, uuid);
    virDomainPtr domain = virDomainDefineXML(f->other, xml);
    assert_non_null(domain);
    assert_int_equal(virDomainCreate(domain), 0);
    virDomainFree(domain);
}

static char *xml_of(struct fixture *f, const char *name)
{
    virDomainPtr domain = virDomainLookupByName(f->other, name);

    assert_non_null(domain);
    char *xml = virDomainGetXMLDesc(domain, 0);
    assert_non_null(xml);
    virDomainFree(domain);
    return xml;
}

struct listing {
    int count;
    struct driver_domain last;
};

static void note(void *ctx, const struct driver_domain *d)
{
    struct listing *l = ctx;

    l->count++;
    l->last = *d;
}

static struct listing list(struct fixture *f)
{
    struct listing l = {0};
    struct error err;

    assert_int_equal(driver_libvirt.list(f->driver, (hypervisor_id){7}, note, &l, &err), 0);
    return l;
}

static void a_create_defines_and_starts_the_domain(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    assert_int_equal(state_of(&f, "droplet-17"), 1);
    struct listing l = list(&f); /* and not the domain "test" that is there anyway */
    assert_int_equal(l.count, 1);
    assert_int_equal(l.last.hypervisor.v, 7);
    assert_int_equal(l.last.droplet.v, 17);
    assert_int_equal(l.last.event.v, 4);
    assert_int_equal(l.last.attempt, 2);
    assert_true(l.last.running);
    teardown(&f);
}

static void a_create_again_changes_nothing(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    char *before = xml_of(&f, "droplet-17");
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    char *after = xml_of(&f, "droplet-17");
    assert_string_equal(before, after); /* also the id of its run */
    free(before);
    free(after);
    assert_int_equal(list(&f).count, 1);
    teardown(&f);
}

static void a_create_cut_off_before_the_start_is_finished(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    virDomainPtr domain = virDomainLookupByName(f.other, "droplet-17");
    assert_int_equal(virDomainDestroy(domain), 0);
    virDomainFree(domain);
    assert_int_equal(state_of(&f, "droplet-17"), 0);
    assert_false(list(&f).last.running);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    assert_int_equal(state_of(&f, "droplet-17"), 1);
    teardown(&f);
}

static void another_attempts_domain_is_a_conflict(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    char *before = xml_of(&f, "droplet-17");
    f.t.job.attempt = 3;
    struct outcome o = run(&f, DRIVER_CREATE);
    assert_result(o, DRIVER_CONFLICT);
    assert_string_equal(o.reason, "not_ours");
    f.t.job.attempt = 2;
    f.t.job.event_id = 5;
    assert_result(run(&f, DRIVER_CREATE), DRIVER_CONFLICT);
    char *after = xml_of(&f, "droplet-17");
    assert_string_equal(before, after);
    free(before);
    free(after);
    teardown(&f);
}

static void another_installations_domain_is_left_alone_by_all(void **state)
{
    static char other[] = "22222222-2222-4222-8222-222222222222";
    struct fixture f;

    (void)state;
    setup(&f);
    f.t.job.installation_id = other;
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    assert_int_equal(list(&f).count, 0);
    driver_libvirt.set_installation(f.driver, other);
    assert_int_equal(list(&f).count, 1);
    driver_libvirt.set_installation(f.driver, NULL);
    assert_int_equal(list(&f).count, 1);
    test_job_init(&f.t, 17, 4, 2);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_CONFLICT);
    assert_result(run(&f, DRIVER_DESTROY), DRIVER_CONFLICT);
    assert_result(run(&f, DRIVER_UNDO), DRIVER_DONE);
    assert_int_equal(state_of(&f, "droplet-17"), 1);
    teardown(&f);
}

static void a_strangers_domain_is_never_touched(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    make_stranger(&f, "a-pet", f.t.uuid);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_CONFLICT);
    assert_result(run(&f, DRIVER_DESTROY), DRIVER_CONFLICT);
    assert_result(run(&f, DRIVER_UNDO), DRIVER_DONE);
    assert_int_equal(state_of(&f, "a-pet"), 1);
    assert_int_equal(state_of(&f, "droplet-17"), -1);
    assert_int_equal(list(&f).count, 0);
    teardown(&f);
}

static void a_stranger_with_our_name_stops_a_create_only(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    make_stranger(&f, "droplet-17", "99999999-9999-4999-8999-999999999999");
    assert_result(run(&f, DRIVER_CREATE), DRIVER_CONFLICT);
    assert_result(run(&f, DRIVER_DESTROY), DRIVER_DONE); /* ours is absent */
    assert_result(run(&f, DRIVER_UNDO), DRIVER_DONE);
    assert_int_equal(state_of(&f, "droplet-17"), 1);
    teardown(&f);
}

static void a_destroy_removes_the_domain_whoever_made_it(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    f.t.job.event_id = 90;
    f.t.job.attempt = 1;
    f.t.job.spec = NULL;
    f.t.job.kind = HARPOON__JOB__V1__KIND__KIND_DESTROY;
    assert_result(run(&f, DRIVER_DESTROY), DRIVER_DONE);
    assert_int_equal(state_of(&f, "droplet-17"), -1);
    assert_int_equal(list(&f).count, 0);
    assert_result(run(&f, DRIVER_DESTROY), DRIVER_DONE);
    teardown(&f);
}

static void a_stopped_domain_is_destroyed_too(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    virDomainPtr domain = virDomainLookupByName(f.other, "droplet-17");
    assert_int_equal(virDomainDestroy(domain), 0);
    virDomainFree(domain);
    assert_result(run(&f, DRIVER_DESTROY), DRIVER_DONE);
    assert_int_equal(state_of(&f, "droplet-17"), -1);
    teardown(&f);
}

static void an_undo_removes_what_its_attempt_made_and_no_more(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    f.t.job.attempt = 1;
    assert_result(run(&f, DRIVER_UNDO), DRIVER_DONE);
    assert_int_equal(state_of(&f, "droplet-17"), 1);
    f.t.job.attempt = 2;
    assert_result(run(&f, DRIVER_UNDO), DRIVER_DONE);
    assert_int_equal(state_of(&f, "droplet-17"), -1);
    assert_result(run(&f, DRIVER_UNDO), DRIVER_DONE);
    teardown(&f);
}

static void a_job_that_makes_no_sense_fails_for_good(void **state)
{
    static char no_uuid[] = "web-1";
    struct fixture f;

    (void)state;
    setup(&f);
    f.t.spec.vcpus = 0;
    struct outcome o = run(&f, DRIVER_CREATE);
    assert_result(o, DRIVER_FAILED);
    assert_string_equal(o.reason, "bad_job");
    test_job_init(&f.t, 17, 4, 2);
    f.t.job.droplet_uuid = no_uuid;
    assert_result(run(&f, DRIVER_CREATE), DRIVER_FAILED);
    assert_int_equal(list(&f).count, 0);
    teardown(&f);
}

static void many_droplets_live_side_by_side(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    for (uint64_t i = 1; i <= 20; i++) {
        test_job_init(&f.t, i, 100 + i, 1);
        assert_result(run(&f, DRIVER_CREATE), DRIVER_DONE);
    }
    assert_int_equal(list(&f).count, 20);
    for (uint64_t i = 1; i <= 20; i++) {
        test_job_init(&f.t, i, 200 + i, 1);
        assert_result(run(&f, DRIVER_DESTROY), DRIVER_DONE);
    }
    assert_int_equal(list(&f).count, 0);
    teardown(&f);
}

static void one_process_works_in_a_state_folder(void **state)
{
    struct fixture f;
    struct driver_config config = {.libvirt_uri = "test:///default"};
    struct error err;
    void *second = NULL;

    (void)state;
    setup(&f);
    config.state_dir = f.state_dir;
    assert_int_equal(driver_libvirt.open(&config, &second, &err), ERR_CONFLICT);
    teardown(&f);
}

static void a_configuration_that_cannot_work_is_refused(void **state)
{
    static const char *const uris[] = {NULL,
                                       "",
                                       "xen:///",
                                       "qemu:///embed",
                                       "qemu:///embed?root=relative",
                                       "qemu:///embed?root=/a-path-that-is-far-too-long-for-the-"
                                       "sockets-of-qemu"};
    struct driver_config config = {0};
    char folder[PATH_MAX];
    struct error err;
    void *driver = NULL;

    (void)state;
    scratch_make(folder);
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        config = (struct driver_config){.state_dir = folder, .libvirt_uri = uris[i]};
        assert_int_equal(driver_libvirt.open(&config, &driver, &err), ERR_INVALID);
    }
    config = (struct driver_config){.state_dir = folder,
                                    .libvirt_uri = "test:///default",
                                    .libvirt_virt_type = "xen"};
    assert_int_equal(driver_libvirt.open(&config, &driver, &err), ERR_INVALID);
    config = (struct driver_config){.state_dir = "relative", .libvirt_uri = "test:///default"};
    assert_int_equal(driver_libvirt.open(&config, &driver, &err), ERR_INVALID);
    scratch_remove(folder);
}

static void without_a_hypervisor_operations_are_for_later(void **state)
{
    struct driver_config config = {.libvirt_uri = "qemu:///system?socket=/nowhere/libvirt-sock"};
    struct listing l = {0};
    struct test_job t;
    char folder[PATH_MAX];
    struct error err;
    void *driver = NULL;

    (void)state;
    scratch_make(folder);
    config.state_dir = folder;
    test_job_init(&t, 17, 4, 2);
    assert_int_equal(driver_libvirt.open(&config, &driver, &err), 0);
    struct outcome o = run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job);
    assert_result(o, DRIVER_RETRY);
    assert_string_equal(o.reason, "libvirt_away");
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_DESTROY, &t.job), DRIVER_RETRY);
    assert_int_equal(driver_libvirt.list(driver, (hypervisor_id){7}, note, &l, &err),
                     ERR_UNAVAILABLE);
    driver_libvirt.close(driver);
    scratch_remove(folder);
}

static void capacity_and_samples_are_the_hosts(void **state)
{
    struct driver_capacity capacity = {0};
    struct driver_sample sample;
    struct fixture f;
    struct error err;

    (void)state;
    setup(&f);
    assert_int_equal(driver_libvirt.capacity(f.driver, (hypervisor_id){7}, &capacity, &err), 0);
    assert_true(capacity.vcpus > 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(driver_libvirt.sample(f.driver, (hypervisor_id){7}, &sample, &err), 0);
        assert_true(sample.cpu_permille <= 1000);
    }
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_create_defines_and_starts_the_domain),
        cmocka_unit_test(a_create_again_changes_nothing),
        cmocka_unit_test(a_create_cut_off_before_the_start_is_finished),
        cmocka_unit_test(another_attempts_domain_is_a_conflict),
        cmocka_unit_test(another_installations_domain_is_left_alone_by_all),
        cmocka_unit_test(a_strangers_domain_is_never_touched),
        cmocka_unit_test(a_stranger_with_our_name_stops_a_create_only),
        cmocka_unit_test(a_destroy_removes_the_domain_whoever_made_it),
        cmocka_unit_test(a_stopped_domain_is_destroyed_too),
        cmocka_unit_test(an_undo_removes_what_its_attempt_made_and_no_more),
        cmocka_unit_test(a_job_that_makes_no_sense_fails_for_good),
        cmocka_unit_test(many_droplets_live_side_by_side),
        cmocka_unit_test(one_process_works_in_a_state_folder),
        cmocka_unit_test(a_configuration_that_cannot_work_is_refused),
        cmocka_unit_test(without_a_hypervisor_operations_are_for_later),
        cmocka_unit_test(capacity_and_samples_are_the_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
