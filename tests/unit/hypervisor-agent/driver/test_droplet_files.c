#include "hypervisor-agent/driver/droplet_files.h"

#include "tests/unit/hypervisor-agent/driver/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct droplet_owner OWNER = {
    .origin =
        {.installation = "inst-1", .hypervisor = {7}, .droplet = {17}, .event = {4}, .attempt = 2},
    .image_sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
};

struct fixture {
    char root[PATH_MAX];
    struct droplet_files files;
};

static void setup(struct fixture *f)
{
    struct error err;

    scratch_make(f->root);
    assert_int_equal(droplet_files_at(f->root, "7f3b1c52-4a55-5d0e-9a11-000000000011", &f->files,
                                      &err),
                     0);
}

static void a_claimed_folder_tells_its_owner(void **state)
{
    struct fixture f;
    struct droplet_owner found;
    struct error err;

    (void)state;
    setup(&f);
    assert_int_equal(droplet_files_owner(&f.files, &found, &err), 0);
    assert_int_equal(droplet_files_claim(&f.files, &OWNER, &err), 0);
    assert_int_equal(droplet_files_owner(&f.files, &found, &err), 1);
    assert_true(origin_is_same_attempt(&found.origin, &OWNER.origin));
    assert_int_equal(found.origin.hypervisor.v, 7);
    assert_string_equal(found.image_sha256, OWNER.image_sha256);
    scratch_remove(f.root);
}

static void a_removal_leaves_nothing_and_may_be_repeated(void **state)
{
    struct fixture f;
    struct error err;
    char path[PATH_MAX];

    (void)state;
    setup(&f);
    assert_int_equal(droplet_files_claim(&f.files, &OWNER, &err), 0);
    scratch_write(f.files.disk, "disk");
    scratch_write(f.files.console, "console");
    assert_int_equal(files_path(path, &err, "%s.d", f.files.seed), 0);
    assert_int_equal(files_make_folder(path, 0700, &err), 0);
    assert_int_equal(files_path(path, &err, "%s.d/user-data", f.files.seed), 0);
    scratch_write(path, "half a seed");
    assert_int_equal(droplet_files_remove(&f.files, &err), 0);
    assert_int_equal(scratch_count(f.root), 0);
    assert_int_equal(droplet_files_remove(&f.files, &err), 0);
    scratch_remove(f.root);
}

static void what_lies_in_a_folder_without_owner_is_not_taken_over(void **state)
{
    struct fixture f;
    struct error err;

    (void)state;
    setup(&f);
    assert_int_equal(files_make_folder(f.files.folder, 0711, &err), 0);
    scratch_write(f.files.disk, "of a removal that was cut off");
    assert_int_equal(droplet_files_claim(&f.files, &OWNER, &err), 0);
    assert_false(files_exists(f.files.disk));
    scratch_remove(f.root);
}

static void an_owner_that_cannot_be_read_is_a_conflict(void **state)
{
    static const char *const strange[] = {
        "",
        "installation x\n",
        "installation inst-1\nhypervisor 7\ndroplet 17\nevent 4\nattempt 2\nimage ab",
        "installation inst-1\nhypervisor 7\ndroplet 17\nevent 4\nattempt 2\nimage ab\nmore\n",
    };
    struct fixture f;
    struct droplet_owner found;
    struct error err;

    (void)state;
    setup(&f);
    assert_int_equal(files_make_folder(f.files.folder, 0711, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
        scratch_write(f.files.owner, strange[i]);
        assert_int_equal(droplet_files_owner(&f.files, &found, &err), ERR_CONFLICT);
    }
    scratch_remove(f.root);
}

static void a_long_console_keeps_its_tail(void **state)
{
    struct fixture f;
    struct error err;
    struct stat st;
    char old[PATH_MAX];

    (void)state;
    setup(&f);
    assert_int_equal(droplet_files_trim_console(&f.files, 10, 4, &err), 0); /* none */
    assert_int_equal(droplet_files_claim(&f.files, &OWNER, &err), 0);
    scratch_write(f.files.console, "0123456789");
    assert_int_equal(droplet_files_trim_console(&f.files, 10, 4, &err), 0);
    assert_int_equal(stat(f.files.console, &st), 0);
    assert_int_equal(st.st_size, 10);
    scratch_write(f.files.console, "0123456789a");
    assert_int_equal(droplet_files_trim_console(&f.files, 10, 4, &err), 0);
    assert_int_equal(stat(f.files.console, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(files_path(old, &err, "%s.old", f.files.console), 0);
    char *tail = scratch_read(old, NULL);
    assert_string_equal(tail, "789a");
    free(tail);
    scratch_remove(f.root);
}

static void count_one(void *ctx, const struct droplet_files *files,
                      const struct droplet_owner *owner)
{
    int *seen = ctx;

    assert_int_equal(owner->origin.droplet.v, 17);
    assert_true(files_exists(files->owner));
    (*seen)++;
}

static void every_owner_is_visited_and_a_damaged_one_told(void **state)
{
    static const char *const names[] = {"7f3b1c52-4a55-5d0e-9a11-000000000001",
                                        "7f3b1c52-4a55-5d0e-9a11-000000000002",
                                        "7f3b1c52-4a55-5d0e-9a11-000000000003"};
    struct droplet_files files;
    struct fixture f;
    struct error err;
    int seen = 0;

    (void)state;
    setup(&f);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(droplet_files_at(f.root, names[i], &files, &err), 0);
        assert_int_equal(droplet_files_claim(&files, &OWNER, &err), 0);
    }
    assert_int_equal(droplet_files_each(f.root, count_one, &seen, &err), 0);
    assert_int_equal(seen, 3);
    scratch_write(files.owner, "nonsense");
    seen = 0;
    assert_int_equal(droplet_files_each(f.root, count_one, &seen, &err), ERR_CONFLICT);
    assert_int_equal(seen, 2);
    assert_true(droplet_files_bytes(f.root) > 0);
    scratch_remove(f.root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claimed_folder_tells_its_owner),
        cmocka_unit_test(a_removal_leaves_nothing_and_may_be_repeated),
        cmocka_unit_test(what_lies_in_a_folder_without_owner_is_not_taken_over),
        cmocka_unit_test(an_owner_that_cannot_be_read_is_a_conflict),
        cmocka_unit_test(a_long_console_keeps_its_tail),
        cmocka_unit_test(every_owner_is_visited_and_a_damaged_one_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
