/* A small catalogue for the tests of this folder. */
#pragma once

#include "harpoon/store/catalog.h"

#include <stdlib.h>
#include <string.h>

static inline struct catalog *catalog_for_tests(void)
{
    struct catalog *c = calloc(1, sizeof *c);

    c->references = 1;
    c->region_count = 4;
    c->regions = calloc(c->region_count, sizeof *c->regions);
    c->regions[0] = (struct region){"ams3", strdup("Amsterdam 3"), true, strdup("ipv6,backups")};
    c->regions[1] = (struct region){"nyc1", strdup("New York 1"), true, strdup("")};
    c->regions[2] = (struct region){"nyc3", strdup("New York 3"), true, strdup("metadata")};
    c->regions[3] = (struct region){"sfo1", strdup("San Francisco 1"), false, strdup("")};
    c->size_count = 3;
    c->sizes = calloc(c->size_count, sizeof *c->sizes);
    c->sizes[0] = (struct size){"s-1", strdup("Basic"), 1, 512, 10, 0.5, 4, 0.00595, true};
    c->sizes[1] = (struct size){"s-2", strdup("Basic"), 2, 2048, 60, 3, 18, 0.02679, true};
    c->sizes[2] = (struct size){"s-old", strdup("Old"), 1, 512, 20, 1, 5, 0.007, false};
    c->image_count = 4;
    c->images = calloc(c->image_count, sizeof *c->images);
    c->images[0] =
        (struct image){.id = 1001, .slug = "debian-12-x64", .type = "base", .min_disk_gib = 7};
    c->images[1] =
        (struct image){.id = 1002, .slug = "huge-x64", .type = "base", .min_disk_gib = 50};
    c->images[2] = (struct image){.id = 1003, .account.v = 7, .type = "snapshot"};
    c->images[3] = (struct image){.id = 1004, .slug = "gone-x64", .type = "base", .deleted = true};
    for (size_t i = 0; i < c->image_count; i++) {
        c->images[i].name = strdup("12 x64");
        c->images[i].distribution = strdup("Debian");
        c->images[i].description = strdup("");
        c->images[i].url = strdup("file:///x");
        c->images[i].sha256 = strdup("0");
        c->images[i].created_at_ms = 1595356664000;
    }
    return c;
}
