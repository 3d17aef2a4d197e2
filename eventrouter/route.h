/* eventrouter/route.h: which router of the region holds a hypervisor. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct route_table {
    const char *region;
    const char *const *peers; /* addresses of all the region's routers */
    size_t count;             /* at least 1 */
    size_t self;              /* index of this router */
};

enum route_verdict {
    ROUTE_ACCEPT,   /* first or second in line: who comes to the second could not reach the first */
    ROUTE_REDIRECT, /* neither: go to `address`, the first */
    ROUTE_REFUSE,   /* another region's */
};
struct route {
    enum route_verdict verdict;
    const char *address; /* of a redirect */
};

struct route route_find(const struct route_table *t, const char *region, uint64_t hypervisor);
/* Where it goes when this router is about to stop: the first in line that is another one. NULL:
 * there is no other. */
const char *route_find_other(const struct route_table *t, uint64_t hypervisor);
