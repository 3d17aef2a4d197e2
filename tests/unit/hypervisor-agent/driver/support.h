/* tests/unit/hypervisor-agent/driver/support.h: a folder for a test's files, a job to play with,
 * and a driver's operation as a plain call. */
#pragma once

#include "hypervisor-agent/driver/driver.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A new empty folder below TMPDIR, removed with all in it by scratch_remove(). */
void scratch_make(char ret[PATH_MAX]);
void scratch_remove(const char *path);
/* How many files and folders are below `path`. */
int scratch_count(const char *path);
/* Writes a small file; reads one whole (NUL-terminated, the caller frees; NULL: there is none). */
void scratch_write(const char *path, const char *text);
char *scratch_read(const char *path, size_t *ret_len);

#define TEST_INSTALLATION "11111111-1111-4111-8111-111111111111"

/* A create of a small droplet; the tests change what they are about. */
struct test_job {
    Harpoon__Job__V1__Job job;
    Harpoon__Job__V1__DropletSpec spec;
    Harpoon__Job__V1__Image image;
    Harpoon__Job__V1__Address addresses[2];
    Harpoon__Job__V1__Address *address_list[2];
    char *ssh_keys[2];
    char uuid[37];
    char url[PATH_MAX + 16];
};

void test_job_init(struct test_job *t, uint64_t droplet, uint64_t event, uint32_t attempt);

/* What an operation came to. */
struct outcome {
    enum driver_result result;
    char reason[64];
    char detail[256];
};

/* Runs one operation to its end. */
struct outcome run_operation(const struct driver *driver, void *self, enum driver_action action,
                             const Harpoon__Job__V1__Job *job);
#define assert_result(got, wanted)                                                                 \
    do {                                                                                           \
        struct outcome got_ = (got);                                                               \
        if (got_.result != (wanted))                                                               \
            print_error("%s: %s\n", got_.reason, got_.detail);                                     \
        assert_int_equal(got_.result, (wanted));                                                   \
    } while (0)
