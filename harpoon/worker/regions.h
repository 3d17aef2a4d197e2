/* harpoon/worker/regions.h: the regions a worker serves and each one's routers, from its options.
 * Pure. */
#pragma once

#include "harpoon/event.h"
#include "lib/error.h"

#include <stddef.h>

#define REGIONS_MAX        64
#define REGION_ROUTERS_MAX 16

struct region_routers {
    char slug[EVENT_REGION];
    const char *routers[REGION_ROUTERS_MAX]; /* into the list's text */
    size_t router_count;
};

struct region_list {
    struct region_routers regions[REGIONS_MAX];
    size_t count;
    char *text; /* a copy of `routers`, cut into pieces */
};

/* `regions`: "nyc3,ams3"; `routers`: "nyc3=127.0.0.1:1|127.0.0.1:2,ams3=127.0.0.1:3", which must
 * name each of them and may name others. ERR_INVALID says what is wrong where. */
int regions_parse(const char *regions, const char *routers, struct region_list *ret,
                  struct error *err) MUST_CHECK;
void regions_free(struct region_list *list); /* what is in it */
