#include "hypervisor-agent/driver/seed.h"

#include "hypervisor-agent/driver/files.h"
#include "hypervisor-agent/driver/program.h"
#include "tests/unit/hypervisor-agent/driver/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
    struct test_job t;
    struct droplet droplet;
    char folder[PATH_MAX], iso[PATH_MAX];
};

static void setup(struct fixture *f)
{
    struct error err;

    test_job_init(&f->t, 17, 4, 2);
    assert_int_equal(droplet_from_job(&f->t.job, (hypervisor_id){7}, &f->droplet, &err), 0);
    scratch_make(f->folder);
    assert_int_equal(files_path(f->iso, &err, "%s/seed.iso", f->folder), 0);
}

static void meta_data_names_the_guest_and_its_keys(void **state)
{
    struct test_job t;
    struct droplet d;
    struct error err;
    static char hostile[] = "key\"\n  - injected";

    (void)state;
    test_job_init(&t, 17, 4, 2);
    t.ssh_keys[1] = hostile;
    t.spec.n_ssh_keys = 2;
    assert_int_equal(droplet_from_job(&t.job, (hypervisor_id){7}, &d, &err), 0);
    char *text = seed_format_meta_data(&d, &t.spec);
    assert_string_equal(text,
                        "instance-id: \"7f3b1c52-4a55-5d0e-9a11-000000000011\"\n"
                        "local-hostname: \"web-1\"\n"
                        "public-keys:\n"
                        "  - \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst someone@example.com\"\n"
                        "  - \"key\\\"\\u000A  - injected\"\n");
    free(text);
    t.spec.n_ssh_keys = 0;
    text = seed_format_meta_data(&d, &t.spec);
    assert_non_null(strstr(text, "public-keys: []\n"));
    free(text);
}

static void network_config_has_every_address_and_one_way_out(void **state)
{
    struct test_job t;
    struct droplet d;
    struct error err;

    (void)state;
    test_job_init(&t, 17, 4, 2);
    assert_int_equal(droplet_from_job(&t.job, (hypervisor_id){7}, &d, &err), 0);
    char *text = seed_format_network_config(&d, &t.spec);
    assert_string_equal(text, "version: 2\n"
                              "ethernets:\n"
                              "  eth0:\n"
                              "    match:\n"
                              "      macaddress: \"02:00:00:00:00:11\"\n"
                              "    set-name: \"eth0\"\n"
                              "    dhcp4: false\n"
                              "    addresses:\n"
                              "      - \"203.0.113.7/24\"\n"
                              "      - \"10.0.0.7/16\"\n"
                              "    routes:\n"
                              "      - to: \"0.0.0.0/0\"\n"
                              "        via: \"203.0.113.1\"\n");
    free(text);
    t.spec.n_addresses = 0;
    text = seed_format_network_config(&d, &t.spec);
    assert_non_null(strstr(text, "dhcp4: true\n"));
    assert_null(strstr(text, "addresses"));
    assert_null(strstr(text, "routes"));
    free(text);
}

static char *extract(const struct fixture *f, const char *name)
{
    char inside[64], outside[PATH_MAX];
    const char *const argv[] = {"xorriso",  "-osirrox", "on",    "-indev", f->iso,
                                "-extract", inside,     outside, NULL};
    struct program_limits limits = {.timeout_ms = 30000, .cpu_s = 30, .output_bytes = 65536};
    struct error err;

    snprintf(inside, sizeof(inside), "/%s", name);
    assert_int_equal(files_path(outside, &err, "%s/out-%s", f->folder, name), 0);
    int r = program_run(argv, &limits, NULL, &err);
    if (r < 0)
        print_error("%s\n", err.message);
    assert_int_equal(r, 0);
    return scratch_read(outside, NULL);
}

static void a_seed_is_an_image_labelled_cidata_with_three_files(void **state)
{
    static uint8_t user_data[] = "#!/bin/sh\necho 'as given: \"$HOME\"'\n";
    struct fixture f;
    struct error err;
    struct stat st;

    (void)state;
    setup(&f);
    f.t.spec.user_data.data = user_data;
    f.t.spec.user_data.len = sizeof(user_data) - 1;
    assert_int_equal(seed_make(f.iso, &f.droplet, &f.t.spec, &err), 0);
    assert_int_equal(scratch_count(f.folder), 1);
    assert_int_equal(stat(f.iso, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    size_t len = 0;
    char *iso = scratch_read(f.iso, &len);
    assert_true(len > 32808 + 6);
    assert_memory_equal(iso + 32808, "cidata", 6);
    free(iso);

    char *got = extract(&f, "user-data"), *wanted = NULL;
    assert_string_equal(got, (char *)user_data);
    free(got);
    got = extract(&f, "meta-data");
    wanted = seed_format_meta_data(&f.droplet, &f.t.spec);
    assert_string_equal(got, wanted);
    free(got);
    free(wanted);
    got = extract(&f, "network-config");
    wanted = seed_format_network_config(&f.droplet, &f.t.spec);
    assert_string_equal(got, wanted);
    free(got);
    free(wanted);
    scratch_remove(f.folder);
}

static void leftovers_of_an_earlier_try_are_no_hindrance(void **state)
{
    struct fixture f;
    struct error err;
    char path[PATH_MAX];

    (void)state;
    setup(&f);
    assert_int_equal(files_path(path, &err, "%s.d", f.iso), 0);
    assert_int_equal(files_make_folder(path, 0700, &err), 0);
    assert_int_equal(files_path(path, &err, "%s.d/user-data", f.iso), 0);
    scratch_write(path, "of another");
    assert_int_equal(files_path(path, &err, "%s.new", f.iso), 0);
    scratch_write(path, "half");
    assert_int_equal(seed_make(f.iso, &f.droplet, &f.t.spec, &err), 0);
    assert_int_equal(scratch_count(f.folder), 1);
    char *got = extract(&f, "user-data");
    assert_string_equal(got, "#cloud-config\n{}\n");
    free(got);
    scratch_remove(f.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meta_data_names_the_guest_and_its_keys),
        cmocka_unit_test(network_config_has_every_address_and_one_way_out),
        cmocka_unit_test(a_seed_is_an_image_labelled_cidata_with_three_files),
        cmocka_unit_test(leftovers_of_an_earlier_try_are_no_hindrance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
