/* hypervisor-agent/map.h: values found by a 64-bit number, intrusive. Threads: the owner's. */
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

struct map_node { /* embed it; the map never frees it */
    struct map_node *next;
    uint64_t key;
};

struct map { /* all zero: empty */
    struct map_node **buckets;
    size_t bucket_count, count;
};

uint64_t map_mix(uint64_t v); /* spreads the bits of `v` */
/* NULL: not there. */
struct map_node *map_find(const struct map *m, uint64_t key);
/* `node->key` is set and not in the map. ERR_INTERNAL: no memory, nothing changed. */
int map_put(struct map *m, struct map_node *node, struct error *err) MUST_CHECK;
void map_remove(struct map *m, struct map_node *node); /* it is there */
void map_fini(struct map *m);                          /* frees the map's own memory */

/* Each node once; the one just given may be removed and freed. */
struct map_cursor {
    size_t bucket;
    struct map_node *next;
};
struct map_node *map_next(const struct map *m, struct map_cursor *c); /* *c starts all zero */
