#include "eventrouter/route.h"

#include "lib/rendezvous.h"

#include <string.h>

struct route route_find(const struct route_table *t, const char *region, uint64_t hypervisor)
{
    size_t second;
    size_t first;

    if (strcmp(region, t->region) != 0)
        return (struct route){ROUTE_REFUSE, NULL};
    first = rendezvous_find(hypervisor, t->peers, t->count, &second);
    if (t->self == first || t->self == second)
        return (struct route){ROUTE_ACCEPT, NULL};
    return (struct route){ROUTE_REDIRECT, t->peers[first]};
}

const char *route_find_other(const struct route_table *t, uint64_t hypervisor)
{
    size_t second;
    size_t first = rendezvous_find(hypervisor, t->peers, t->count, &second);

    if (first != t->self)
        return t->peers[first];
    return second != t->self ? t->peers[second] : NULL;
}
