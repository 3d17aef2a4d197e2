/* harpoon/api/tagging.h: the body of tagging and untagging: {"resources": [{"resource_id": "7",
 * "resource_type": "droplet"}, …]}. Pure. Threads: any. */
#pragma once

#include "lib/error.h"
#include "lib/ids.h"

#include <jansson.h>
#include <stddef.h>

/* *ret: the droplets, ascending, none twice, at least one; the caller frees. ERR_INVALID names what
 * is wrong. ERR_NOT_FOUND: a resource that can be tagged and that nobody can have, as there are
 * only droplets. */
int tagging_parse(const json_t *body, droplet_id **ret, size_t *ret_count,
                  struct error *err) MUST_CHECK;
