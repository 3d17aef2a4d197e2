/* harpoon/store/seed.h: what a new installation begins with. Each is idempotent: what is there
 * stays. Blocks. */
#pragma once

#include "lib/error.h"

#include <stddef.h>

struct sql;

/* After the schema: the installation's id and where ids begin. 1: made. 0: they were there. */
int seed_installation(struct sql *db, struct error *err) MUST_CHECK;

/* Regions (slugs, comma separated) with their addresses, sizes, public images, and the account
 * that has no limits. Returns how many regions were made. */
int seed_catalog(struct sql *db, const char *regions, struct error *err) MUST_CHECK;
/* Where agents fetch a public image: "SLUG=URL,SHA256". ERR_NOT_FOUND: no such slug. */
int seed_image(struct sql *db, const char *text, struct error *err) MUST_CHECK;
