/* harpoon/store/ids.h: ids from `id_blocks`, a block per process at a time. Taking one is memory
 * only; refilling is one UPDATE in a transaction of its own. Ids ascend within a block and are
 * never handed out twice; what a process does not use is lost. Threads: any. */
#pragma once

#include "lib/error.h"

#include <stddef.h>
#include <stdint.h>

struct sql;
struct ids;

/* `name`: the row of id_blocks ("event", "droplet"; copied); `block`: ids fetched at a time. */
int ids_new(const char *name, uint32_t block, struct ids **ret, struct error *err) MUST_CHECK;
struct ids *ids_free(struct ids *ids); /* NULL is fine; gives NULL */

/* Makes sure that `count` ids can be taken, fetching a block if not. Blocks on the database when it
 * must; outside of any transaction. ERR_UNAVAILABLE, ERR_BUSY. ERR_NOT_FOUND: no such row. */
int ids_reserve(struct ids *ids, struct sql *db, size_t count, struct error *err) MUST_CHECK;
/* Takes `count` (all or none), ascending, into `ret`. ERR_BUSY: not so many reserved. */
int ids_take(struct ids *ids, size_t count, uint64_t *ret, struct error *err) MUST_CHECK;
/* Forgets what is reserved: the database was promoted. */
void ids_drop(struct ids *ids);
