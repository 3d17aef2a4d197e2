/* hypervisor-agent/driver/disk.h: qcow2 files, made and looked into by qemu-img, which is always
 * told the format: a guest's disk that is probed may name any file of the host as its backing file.
 * Threads: any. Blocks: on a program and the disk. */
#pragma once

#include "lib/error.h"

#include <stdint.h>

/* What qemu-img says of an image. */
struct disk_facts {
    uint64_t virtual_bytes;
};

/* Reads what `qemu-img info --output=json` printed. Pure.
 * ERR_INVALID: not JSON, not qcow2, or an image that leans on other files (backing, data file), is
 * encrypted or damaged. */
int disk_parse_facts(const char *json, struct disk_facts *ret, struct error *err) MUST_CHECK;

/* Looks into the image at `path`, which nobody trusts yet.
 * ERR_INVALID: not an image a droplet can be made from. ERR_UNAVAILABLE, ERR_DEADLINE: try again.
 */
int disk_inspect(const char *path, struct disk_facts *ret, struct error *err) MUST_CHECK;

/* Makes at `path` a qcow2 file of `disk_gib` GiB on top of the qcow2 file `base` (both absolute):
 * whole or not at all, also across a crash. A leftover of an earlier try is replaced, a file at
 * `path` too. The mode is 0600. ERR_NO_CAPACITY: the host's disk is full. */
int disk_make_overlay(const char *base, const char *path, uint32_t disk_gib,
                      struct error *err) MUST_CHECK;
