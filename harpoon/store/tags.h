/* harpoon/store/tags.h: the tags of accounts and what wears them. A name finds its tag in any case
 * of letters; the first spelling is the tag's. Blocks: for the reader's thread. */
#pragma once

#include "lib/error.h"
#include "lib/ids.h"

#include <stddef.h>
#include <stdint.h>

struct sql;

#define TAG_TEXT             256
#define TAG_DROPLET_TAGS_MAX 256 /* of one droplet */

struct tag {
    char name[TAG_TEXT];
    uint64_t droplets; /* not deleted */
};

struct tag_list {
    struct tag *tags; /* malloc'ed */
    size_t count;
    uint64_t total;
};

/* By name. *ret is the caller's: tag_list_clear(). */
int tags_list(struct sql *db, account_id account, uint64_t offset, size_t limit,
              struct tag_list *ret, struct error *err) MUST_CHECK;
void tag_list_clear(struct tag_list *list);
/* ERR_NOT_FOUND. */
int tags_find(struct sql *db, account_id account, const char *name, struct tag *ret,
              struct error *err) MUST_CHECK;
/* One that is there already stays as it is. */
int tags_add(struct sql *db, account_id account, const char *name, struct error *err) MUST_CHECK;

/* `droplets` ascending, none twice, 1..10,000: all of them or none. One that wears the tag already
 * stays as it is. ERR_NOT_FOUND: no such tag, or not all are droplets of the account. ERR_INVALID:
 * one would have more than TAG_DROPLET_TAGS_MAX. */
int tags_attach(struct sql *db, account_id account, const char *name, const droplet_id *droplets,
                size_t count, struct error *err) MUST_CHECK;
/* The same, taking the tag off. One that does not wear it stays as it is. */
int tags_detach(struct sql *db, account_id account, const char *name, const droplet_id *droplets,
                size_t count, struct error *err) MUST_CHECK;

/* Takes the tag off at most `most` droplets; returns how many. */
int64_t tags_strip(struct sql *db, account_id account, const char *name, size_t most,
                   struct error *err) MUST_CHECK;
/* Takes it off those that are left and removes it, in one transaction: strip it first, so that few
 * are left. ERR_NOT_FOUND. */
int tags_remove(struct sql *db, account_id account, const char *name, struct error *err) MUST_CHECK;
