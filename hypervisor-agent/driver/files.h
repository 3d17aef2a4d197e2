/* hypervisor-agent/driver/files.h: files that are there whole or not at all, also after a crash.
 * Threads: any. Blocks: on the disk. Errors: ERR_NO_CAPACITY the disk is full, ERR_UNAVAILABLE the
 * disk says no, ERR_INVALID a name is too long. */
#pragma once

#include "lib/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Puts a path together; `ret` holds PATH_MAX bytes. */
int files_path(char ret[PATH_MAX], struct error *err, const char *format, ...)
    PRINTF(3, 4) MUST_CHECK;
/* Makes the folder; it may be there already. Its entry is durable. */
int files_make_folder(const char *path, mode_t mode, struct error *err) MUST_CHECK;
/* Writes `data` to `path`, replacing what is there: all of it or nothing, durably. */
int files_write(const char *path, mode_t mode, const void *data, size_t len,
                struct error *err) MUST_CHECK;
/* Reads at most `size` - 1 bytes of a file and ends them with a NUL. 1: read. 0: there is none. */
int files_read(const char *path, char *ret, size_t size, struct error *err) MUST_CHECK;
/* Makes what another program has written durable, gives it `mode` and its name, replacing `path`.
 */
int files_settle(const char *unfinished, const char *path, mode_t mode,
                 struct error *err) MUST_CHECK;
/* A file that is gone already is fine. */
int files_remove(const char *path, struct error *err) MUST_CHECK;
/* An empty folder; gone already is fine. */
int files_remove_folder(const char *path, struct error *err) MUST_CHECK;
/* Makes the names in a folder durable. */
int files_sync_folder(const char *path, struct error *err) MUST_CHECK;
bool files_exists(const char *path);
/* Whether the file system that holds `path` (or would) has next to no room. */
bool files_is_full(const char *path);
/* Fills *err for a failed system call on `path` (errno) and returns its code. */
int files_error(struct error *err, int error_number, const char *what, const char *path);
