/* harpoon/api/create.h: reads the body of POST /v2/droplets: what is asked for, or the one thing
 * that is wrong with it. Pure. */
#pragma once

#include "harpoon/store/accept.h"
#include "harpoon/store/catalog.h"
#include "harpoon/store/keys.h"
#include "lib/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CREATE_TAGS_MAX  50
#define CREATE_KEYS_MAX  100
#define CREATE_USER_DATA (64u << 10)

/* Points into the body and into the catalogue, and lives no longer than they do. */
struct create_order {
    const char *names[ACCEPT_NAMES_MAX];
    size_t name_count;
    bool several; /* asked for with `names`: the answer has another shape */
    const struct region *region;
    const struct size *size;
    const struct image *image;
    const char *tags[CREATE_TAGS_MAX];
    size_t tag_count;
    struct key_name keys[CREATE_KEYS_MAX];
    size_t key_count;
    const char *user_data; /* NULL: none */
    bool backups, ipv6, monitoring, agent;
    bool unknown; /* refused because the catalogue has no such thing: it may be too old */
};

/* ERR_INVALID names the field. `random` chooses among regions when the body leaves a choice. */
int create_parse(const json_t *body, const struct catalog *catalog, account_id account,
                 uint64_t random, struct create_order *ret, struct error *err) MUST_CHECK;

/* 1..255 of [A-Za-z0-9.-], the last one a letter or digit. */
bool create_is_name(const char *text);
/* 1..255 of [A-Za-z0-9_:-]. */
bool create_is_tag(const char *text);
