/* harpoon/api/catalog_cache.h: the newest snapshot of the catalogue. It is served for as long as it
 * takes when the database is gone. Threads: any; only catalog_cache_reload blocks. */
#pragma once

#include "harpoon/api/view.h"
#include "lib/error.h"

#include <stdint.h>

struct sql;
struct catalog_cache;

int catalog_cache_new(struct catalog_cache **ret, struct error *err) MUST_CHECK;
struct catalog_cache *catalog_cache_free(struct catalog_cache *c); /* NULL is fine; gives NULL */
/* One more reference (view_unref), NULL: none was ever loaded. */
struct view *catalog_cache_get(struct catalog_cache *c);
/* How old it is; INT64_MAX: there is none. */
int64_t catalog_cache_age_ms(struct catalog_cache *c, int64_t now_mono_ms);
int catalog_cache_reload(struct catalog_cache *c, struct sql *db, struct error *err) MUST_CHECK;
