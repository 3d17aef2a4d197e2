/* harpoon/store/catalog.h: regions, sizes and images as one snapshot in memory, with the
 * installation they belong to. A snapshot never changes; holders count references.
 * Threads: any; catalog_load blocks on the database. */
#pragma once

#include "lib/error.h"
#include "lib/ids.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;

struct region {
    char slug[32];
    char *name;
    bool available;
    char *features; /* comma separated */
};

struct size {
    char slug[64];
    char *description;
    uint32_t vcpus, memory_mib, disk_gib;
    double transfer_tb, price_monthly, price_hourly;
    bool available;
};

struct image {
    uint64_t id;
    account_id account; /* 0: public */
    char slug[64];      /* "": none */
    char *name, *distribution, *description;
    char type[16]; /* base, snapshot, backup, custom */
    uint32_t min_disk_gib;
    double size_gigabytes;
    char *url, *sha256; /* where agents fetch it */
    int64_t created_at_ms;
    bool deleted; /* shown with the droplets that were made from it, and nowhere else */
};

struct catalog {
    int references; /* atomic */
    struct uuid installation;
    uint64_t writer_epoch;
    int64_t loaded_mono_ms;
    struct region *regions; /* by slug */
    size_t region_count;
    struct size *sizes; /* by price, then slug */
    size_t size_count;
    struct image *images; /* by id */
    size_t image_count;
};

/* Reads all of it. *ret has one reference, the caller's. ERR_NOT_FOUND: the schema holds no
 * installation yet. ERR_UNAVAILABLE. */
int catalog_load(struct sql *db, struct catalog **ret, struct error *err) MUST_CHECK;
struct catalog *catalog_ref(struct catalog *c);
void catalog_unref(struct catalog *c); /* NULL is fine */
static inline __attribute__((unused)) void auto_catalog_unref(struct catalog **c)
{
    catalog_unref(*c);
}

/* NULL: no such one. */
const struct region *catalog_find_region(const struct catalog *c, const char *slug);
const struct size *catalog_find_size(const struct catalog *c, const char *slug);
/* Those that `account` may see: public ones and its own, deleted ones not. */
const struct image *catalog_find_image(const struct catalog *c, account_id account, uint64_t id);
const struct image *catalog_find_image_slug(const struct catalog *c, account_id account,
                                            const char *slug);
/* Also deleted ones. */
const struct image *catalog_find_any_image(const struct catalog *c, uint64_t id);
bool image_is_visible(const struct image *image, account_id account);
/* An available region whose slug is `prefix` or begins with it; of several the one that `random`
 * says. An exact name wins, available or not. */
const struct region *catalog_choose_region(const struct catalog *c, const char *prefix,
                                           uint64_t random);
