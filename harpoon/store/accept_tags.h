/* harpoon/store/accept_tags.h: the tags of accepted droplets, in the transaction that accepts them.
 * Blocks. */
#pragma once

#include "lib/error.h"

#include <stddef.h>

struct sql;
struct sql_value;

#define ACCEPT_TAG_COLUMNS 3 /* account, tag, droplet */

/* Stores `count` rows of three values; makes the tags that are not there yet. */
int accept_tags_insert(struct sql *db, const struct sql_value *rows, size_t count,
                       struct error *err) MUST_CHECK;
