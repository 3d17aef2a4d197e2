/* tests/unit/hypervisor-agent/support.h: folders and files of the tests of hypervisor-agent/.
 * Includes cmocka with what it needs. */
#pragma once

#include "lib/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Fails with the error's own words when `r` is negative. */
#define assert_ok(r, err)                                                                          \
    do {                                                                                           \
        if ((r) < 0)                                                                               \
            fail_msg("%s", (err)->message);                                                        \
    } while (0)

#define FOLDER_BYTES 200

void folder_make(char ret[FOLDER_BYTES]);
void folder_remove(const char *folder);
/* Copies the folder's files as they are now: what a machine that fell over would find. */
void folder_copy(const char *from, const char *to);
/* "FOLDER/name"; valid until the 8th call after it. */
const char *folder_path(const char *folder, const char *name);
/* All of the file, ended by a NUL that does not count; the caller frees. A missing one is empty. */
char *file_read(const char *path, size_t *ret_size);
void file_write(const char *path, const void *bytes, size_t size);
/* How many lines of the file end in `end`. */
size_t file_count_lines(const char *path, const char *end);
