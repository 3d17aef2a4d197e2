#include "hypervisor-agent/driver/disk.h"

#include "hypervisor-agent/driver/files.h"
#include "hypervisor-agent/driver/program.h"
#include "tests/unit/hypervisor-agent/driver/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
    char folder[PATH_MAX], base[PATH_MAX], disk[PATH_MAX];
};

static void qemu_img_create(const char *options, const char *path, const char *size)
{
    const char *const argv[] = {"qemu-img", "create", "-q", "-f", "qcow2",
                                "-o",       options,  path, size, NULL};
    struct program_limits limits = {.timeout_ms = 30000, .cpu_s = 30, .output_bytes = 4096};
    struct error err;

    int r = program_run(argv, &limits, NULL, &err);
    if (r < 0)
        print_error("%s\n", err.message);
    assert_int_equal(r, 0);
}

static void setup(struct fixture *f)
{
    struct error err;

    scratch_make(f->folder);
    assert_int_equal(files_path(f->base, &err, "%s/base.qcow2", f->folder), 0);
    assert_int_equal(files_path(f->disk, &err, "%s/disk.qcow2", f->folder), 0);
    qemu_img_create("compat=1.1", f->base, "64M");
}

static void facts_of_an_image_that_leans_on_other_files_are_refused(void **state)
{
    static const char *const refused[] = {
        "",
        "[]",
        "{\"virtual-size\": 1}",
        "{\"format\": \"raw\", \"virtual-size\": 1}",
        "{\"format\": \"qcow2\"}",
        "{\"format\": \"qcow2\", \"virtual-size\": 0}",
        "{\"format\": \"qcow2\", \"virtual-size\": 1, \"backing-filename\": \"/etc/shadow\"}",
        "{\"format\": \"qcow2\", \"virtual-size\": 1, \"full-backing-filename\": \"json:{}\"}",
        "{\"format\": \"qcow2\", \"virtual-size\": 1,"
        " \"format-specific\": {\"data\": {\"data-file\": \"/etc/shadow\"}}}",
        "{\"format\": \"qcow2\", \"virtual-size\": 1,"
        " \"format-specific\": {\"data\": {\"encrypt\": {}}}}",
        "{\"format\": \"qcow2\", \"virtual-size\": 1,"
        " \"format-specific\": {\"data\": {\"corrupt\": true}}}",
        "{\"format\": \"qcow2\", \"virtual-size\": 1, \"dirty-flag\": true}",
    };
    struct disk_facts facts;
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_int_equal(disk_parse_facts(refused[i], &facts, &err), ERR_INVALID);
    assert_int_equal(disk_parse_facts("{\"format\": \"qcow2\", \"virtual-size\": 12345,"
                                      " \"dirty-flag\": false, \"format-specific\":"
                                      " {\"data\": {\"corrupt\": false}}}",
                                      &facts, &err),
                     0);
    assert_int_equal(facts.virtual_bytes, 12345);
}

static void an_overlay_has_the_size_asked_for_and_its_base(void **state)
{
    struct fixture f;
    struct error err;
    struct disk_facts facts;
    struct stat st;

    (void)state;
    setup(&f);
    assert_int_equal(disk_inspect(f.base, &facts, &err), 0);
    assert_int_equal(facts.virtual_bytes, 64 << 20);
    assert_int_equal(disk_make_overlay(f.base, f.disk, 3, &err), 0);
    assert_int_equal(scratch_count(f.folder), 2);
    assert_int_equal(stat(f.disk, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    const char *const argv[] = {"qemu-img", "info", "-f", "qcow2", f.disk, NULL};
    struct program_limits limits = {.timeout_ms = 30000, .cpu_s = 30, .output_bytes = 65536};
    char *output = NULL;
    assert_int_equal(program_run(argv, &limits, &output, &err), 0);
    assert_non_null(strstr(output, "3221225472 bytes"));
    assert_non_null(strstr(output, f.base));
    assert_non_null(strstr(output, "backing file format: qcow2"));
    free(output);
    scratch_remove(f.folder);
}

static void a_leftover_is_replaced_by_the_whole_disk(void **state)
{
    struct fixture f;
    struct error err;
    char unfinished[PATH_MAX];

    (void)state;
    setup(&f);
    assert_int_equal(files_path(unfinished, &err, "%s.new", f.disk), 0);
    scratch_write(unfinished, "half a disk");
    assert_int_equal(disk_make_overlay(f.base, f.disk, 1, &err), 0);
    assert_false(files_exists(unfinished));
    scratch_remove(f.folder);
}

static void an_overlay_without_its_base_leaves_nothing(void **state)
{
    struct fixture f;
    struct error err;

    (void)state;
    setup(&f);
    assert_int_equal(files_remove(f.base, &err), 0);
    assert_int_equal(disk_make_overlay(f.base, f.disk, 1, &err), ERR_INVALID);
    assert_int_equal(scratch_count(f.folder), 0);
    scratch_remove(f.folder);
}

static void images_with_a_backing_or_data_file_are_refused(void **state)
{
    struct fixture f;
    struct error err;
    struct disk_facts facts;
    char path[PATH_MAX], options[2 * PATH_MAX];

    (void)state;
    setup(&f);
    assert_int_equal(disk_make_overlay(f.base, f.disk, 1, &err), 0);
    assert_int_equal(disk_inspect(f.disk, &facts, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "backing file"));

    assert_int_equal(files_path(path, &err, "%s/data.qcow2", f.folder), 0);
    snprintf(options, sizeof(options), "data_file=%s/data.raw", f.folder);
    qemu_img_create(options, path, "1M");
    assert_int_equal(disk_inspect(path, &facts, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "data file"));
    scratch_remove(f.folder);
}

static void a_file_that_only_claims_to_be_an_image_is_refused(void **state)
{
    struct fixture f;
    struct error err;
    struct disk_facts facts;
    char path[PATH_MAX];

    (void)state;
    setup(&f);
    assert_int_equal(files_path(path, &err, "%s/raw", f.folder), 0);
    scratch_write(path, "this is not an image, yet long enough to be looked at as one");
    assert_int_equal(disk_inspect(path, &facts, &err), ERR_INVALID);
    scratch_write(path, "QFI\xfb");
    assert_int_equal(disk_inspect(path, &facts, &err), ERR_INVALID);
    scratch_remove(f.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_of_an_image_that_leans_on_other_files_are_refused),
        cmocka_unit_test(an_overlay_has_the_size_asked_for_and_its_base),
        cmocka_unit_test(a_leftover_is_replaced_by_the_whole_disk),
        cmocka_unit_test(an_overlay_without_its_base_leaves_nothing),
        cmocka_unit_test(images_with_a_backing_or_data_file_are_refused),
        cmocka_unit_test(a_file_that_only_claims_to_be_an_image_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
