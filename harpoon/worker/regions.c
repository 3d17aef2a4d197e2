#include "harpoon/worker/regions.h"

#include "lib/macros.h"

#include <stdlib.h>
#include <string.h>

static int add_region(struct region_list *list, const char *slug, size_t len, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

    if (len == 0 || len >= EVENT_REGION || strspn(slug, allowed) < len)
        return error_set(err, ERR_INVALID, "regions: \"%.*s\" is not a slug", (int)len, slug);
    if (list->count == REGIONS_MAX)
        return error_set(err, ERR_INVALID, "regions: more than %d", REGIONS_MAX);
    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->regions[i].slug) == len && memcmp(list->regions[i].slug, slug, len) == 0)
            return error_set(err, ERR_INVALID, "regions: %.*s is named twice", (int)len, slug);
    struct region_routers *r = &list->regions[list->count++];
    memcpy(r->slug, slug, len);
    return 0;
}

static int parse_slugs(struct region_list *list, const char *regions, struct error *err)
{
    const char *at = regions;

    for (;;) {
        size_t len = strcspn(at, ",");
        int r = add_region(list, at, len, err);
        if (r < 0 || at[len] == 0)
            return r;
        at += len + 1;
    }
}

static struct region_routers *find(struct region_list *list, const char *slug)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->regions[i].slug, slug) == 0)
            return &list->regions[i];
    return NULL;
}

/* "nyc3=a|b", cut in place. */
static int parse_entry(struct region_list *list, char *entry, struct error *err)
{
    char *addresses = entry, *address;
    const char *slug = strsep(&addresses, "=");
    struct region_routers *r = find(list, slug);

    if (addresses == NULL)
        return error_set(err, ERR_INVALID, "routers: \"%s\" is not REGION=ADDRESS|ADDRESS", slug);
    if (r == NULL)
        return 0; /* of a region that others serve */
    if (r->router_count != 0)
        return error_set(err, ERR_INVALID, "routers: %s is named twice", slug);
    while ((address = strsep(&addresses, "|")) != NULL) {
        if (address[0] == 0)
            return error_set(err, ERR_INVALID, "routers: %s has an empty address", slug);
        if (r->router_count == REGION_ROUTERS_MAX)
            return error_set(err, ERR_INVALID, "routers: %s has more than %d", slug,
                             REGION_ROUTERS_MAX);
        r->routers[r->router_count++] = address;
    }
    return 0;
}

static int parse_all(struct region_list *list, const char *regions, struct error *err)
{
    char *rest = list->text, *entry;
    int r = parse_slugs(list, regions, err);

    while (r == 0 && (entry = strsep(&rest, ",")) != NULL)
        r = parse_entry(list, entry, err);
    for (size_t i = 0; i < list->count && r == 0; i++)
        if (list->regions[i].router_count == 0)
            r = error_set(err, ERR_INVALID, "routers: none of region %s", list->regions[i].slug);
    return r;
}

int regions_parse(const char *regions, const char *routers, struct region_list *ret,
                  struct error *err)
{
    memset(ret, 0, sizeof *ret);
    if (regions == NULL || routers == NULL)
        return error_set(err, ERR_INVALID, "a worker needs --regions and --routers");
    ret->text = strdup(routers);
    if (ret->text == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    int r = parse_all(ret, regions, err);
    if (r < 0)
        regions_free(ret);
    return r;
}

void regions_free(struct region_list *list)
{
    free(list->text);
    memset(list, 0, sizeof *list);
}
