/* hypervisor-agent/driver/image.h: the images this host holds, each a file named by its SHA-256. A
 * file under that name is whole and was checked; it is never written again, for disks lean on it.
 * Threads: any. Blocks: on the network and the disk. */
#pragma once

#include "lib/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct image_cache;

struct image_source {
    const char *url;          /* http, https or file */
    const char *sha256;       /* 64 lower-case hex digits */
    uint64_t max_bytes;       /* a larger file is refused */
    int64_t deadline_unix_ms; /* 0: none */
};

/* `folder` exists, and no other process uses it: unfinished downloads in it are removed. The caller
 * owns *ret; end it with image_cache_close(). */
int image_cache_open(const char *folder, struct image_cache **ret, struct error *err) MUST_CHECK;
/* Downloads under way give up; image_cache_get() answers ERR_UNAVAILABLE from now on. */
void image_cache_stop(struct image_cache *c);
/* Nobody may be in image_cache_get(). NULL is fine; gives NULL. */
struct image_cache *image_cache_close(struct image_cache *c);

/* Gives the path of the image, fetching it if it is not here; however many ask, one fetches and all
 * get its answer. The file stays while its time of use is young (image_cache_collect).
 * ERR_INVALID: what came is something else, too large, or the source says there is no such file.
 * ERR_UNAVAILABLE: the source or the network. ERR_NO_CAPACITY: the disk is full. ERR_DEADLINE. */
int image_cache_get(struct image_cache *c, const struct image_source *source, char ret[PATH_MAX],
                    struct error *err) MUST_CHECK;
/* Removes images last asked for before `before_unix_ms` which nothing leans on (`is_used` says so;
 * it must not call back). Returns how many. */
int image_cache_collect(struct image_cache *c, int64_t before_unix_ms,
                        bool (*is_used)(void *ctx, const char *sha256), void *ctx,
                        struct error *err) MUST_CHECK;
