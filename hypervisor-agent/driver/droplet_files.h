/* hypervisor-agent/driver/droplet_files.h: the folder a droplet has on its host: disk, seed,
 * console, and a file that says who made them. The owner's file is the first to come and the last
 * to go, so that whatever is found after a crash has a name on it. Threads: any, one at a time for
 * a droplet. Blocks: on the disk. Errors: those of files.h. */
#pragma once

#include "hypervisor-agent/driver/droplet.h"
#include "hypervisor-agent/driver/files.h"

#include <limits.h>

/* Paths, all absolute. */
struct droplet_files {
    char folder[PATH_MAX];
    char owner[PATH_MAX];
    char disk[PATH_MAX];    /* qcow2, on top of an image */
    char seed[PATH_MAX];    /* NoCloud, ISO 9660 */
    char console[PATH_MAX]; /* what the guest wrote on its serial port */
};

struct droplet_owner {
    struct origin origin;
    char image_sha256[65]; /* the disk leans on it */
};

/* `root`: the folder of all droplets. ERR_INVALID: the paths get too long. */
int droplet_files_at(const char *root, const char *uuid, struct droplet_files *ret,
                     struct error *err) MUST_CHECK;
/* 1: there are files, made by *ret. 0: there are none (a folder without an owner is no one's).
 * ERR_CONFLICT: the owner's file is not one of ours. */
int droplet_files_owner(const struct droplet_files *files, struct droplet_owner *ret,
                        struct error *err) MUST_CHECK;
/* Makes the folder for `owner`; only when droplet_files_owner() said 0. */
int droplet_files_claim(const struct droplet_files *files, const struct droplet_owner *owner,
                        struct error *err) MUST_CHECK;
/* Removes the folder and all in it; none is fine. */
int droplet_files_remove(const struct droplet_files *files, struct error *err) MUST_CHECK;
/* Cuts a console that has grown beyond `max_bytes` down to its last `keep_bytes`, which go to
 * "<console>.old"; QEMU appends, so the console starts anew. */
int droplet_files_trim_console(const struct droplet_files *files, uint64_t max_bytes,
                               uint64_t keep_bytes, struct error *err) MUST_CHECK;
/* Calls `each` for every folder under `root` that has an owner. An error, the first one, when some
 * could not be read; the others are given all the same. */
int droplet_files_each(const char *root,
                       void (*each)(void *ctx, const struct droplet_files *files,
                                    const struct droplet_owner *owner),
                       void *ctx, struct error *err) MUST_CHECK;
/* Bytes the host's disk spends on what is under `root`; what vanishes meanwhile counts as nothing.
 */
uint64_t droplet_files_bytes(const char *root);
