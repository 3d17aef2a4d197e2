/* harpoon/store/droplets.h: droplets as their customers read them: those of one account, never the
 * deleted ones. Blocks: for the reader's thread. */
#pragma once

#include "harpoon/droplet.h"
#include "lib/error.h"
#include "lib/ids.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;

struct droplet_record {
    droplet_id id;
    char name[256], region[32], size[64];
    uint64_t image_id;
    uint32_t vcpus, memory_mib, disk_gib;
    enum droplet_status status;
    event_id event;              /* its unfinished one, 0: none */
    uint32_t ipv4, private_ipv4; /* 0: none */
    int64_t created_ms;
    char body[1025]; /* JSON of the rest */
    char **tags;     /* sorted */
    size_t tag_count;
};

struct droplet_list {
    struct droplet_record *records;
    size_t count;
    uint64_t total; /* of the whole collection */
};

struct droplet_filter {
    account_id account;
    const char *tag;  /* NULL: any */
    const char *name; /* NULL: any; the case of letters does not matter */
    uint64_t offset;
    size_t limit; /* 1..200 */
};

/* Newest first. *ret is the caller's: droplet_list_clear(). ERR_UNAVAILABLE. */
int droplets_list(struct sql *db, const struct droplet_filter *filter, struct droplet_list *ret,
                  struct error *err) MUST_CHECK;
/* *ret holds the one. ERR_NOT_FOUND: no such droplet of this account. */
int droplets_find(struct sql *db, account_id account, droplet_id id, struct droplet_list *ret,
                  struct error *err) MUST_CHECK;
/* Other droplets of the account on the hypervisor of this one, newest first, at most 1,000. */
int droplets_neighbors(struct sql *db, account_id account, droplet_id id, struct droplet_list *ret,
                       struct error *err) MUST_CHECK;

struct droplet_home {
    droplet_id droplet;
    hypervisor_id hypervisor;
};
/* Where the account's droplets are, by hypervisor, those without one left out. Returns how many are
 * in *ret, which the caller frees. ERR_INVALID: more than `most`. */
int64_t droplets_homes(struct sql *db, account_id account, size_t most, struct droplet_home **ret,
                       struct error *err) MUST_CHECK;
/* Was it ever this account's? 1: yes, perhaps deleted by now. 0: no. */
int droplets_was_there(struct sql *db, account_id account, droplet_id id,
                       struct error *err) MUST_CHECK;
void droplet_list_clear(struct droplet_list *list);

/* Ids of those with the tag, ascending behind `after`, at most `max`. Returns how many. */
int64_t droplets_tagged(struct sql *db, account_id account, const char *tag, droplet_id after,
                        droplet_id *ret, size_t max, struct error *err) MUST_CHECK;
