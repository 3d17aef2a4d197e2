/* harpoon/store/accept.h: accepts creates: droplet, tags and event of a whole batch in one
 * transaction, the accounts' counters last. Blocks: for the flusher's thread. */
#pragma once

#include "harpoon/store/addresses.h"
#include "harpoon/store/catalog.h"
#include "harpoon/store/idempotency.h"
#include "harpoon/store/ids.h"
#include "lib/error.h"
#include "lib/ids.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;

#define ACCEPT_NAMES_MAX 10
#define ACCEPT_STATUS    202 /* of a stored answer */

struct accept_droplet {
    const char *name; /* in */
    droplet_id id;    /* out, as all below */
    event_id event;
    uint32_t public_ipv4, private_ipv4;
    uint8_t *params; /* harpoon.event.v1.Params; accept_request_clear() */
    size_t params_size;
};

/* One request for 1..10 droplets: all of them are accepted or none. What it points to is borrowed
 * until it has a result. */
struct accept_request {
    account_id account;
    bool limited; /* the account has a droplet limit */
    const struct region *region;
    const struct size *size;
    const struct image *image;
    const char **tags;
    size_t tag_count;
    const char **ssh_keys; /* public keys */
    size_t ssh_key_count;
    const void *user_data;
    size_t user_data_size;
    const char *body; /* for droplets.body */
    const char *trace_id;
    struct accept_droplet droplets[ACCEPT_NAMES_MAX];
    size_t count;
    /* Stored with its answer, which make_answer gives (malloc'ed) when all numbers and times are
     * known. NULL: none. Never the same key twice in a batch. */
    const struct idempotency_key *key;
    char *(*make_answer)(void *ctx);
    void *ctx;

    char *answer; /* out: as stored; accept_request_clear(), or the caller takes it */
    bool used;    /* out: the key was taken by a request that came first */
    int result;   /* out: 0: committed, else as below, with `err` */
    struct error err;
    int64_t created_ms, deadline_ms;
};

struct accept_env {
    struct uuid installation;
    struct ids *droplet_ids, *event_ids;
    struct addresses *addresses;
    int64_t create_deadline_ms; /* after it was accepted */
};

/* Accepts `count` requests; each has its own result afterwards: 0, ERR_NO_CAPACITY (the account's
 * limit, or the region has no addresses left), ERR_CONFLICT (`used`: idempotency_find() has the
 * answer), ERR_BUSY, ERR_UNAVAILABLE (not stored, or nobody can say). */
void accept_creates(struct sql *db, const struct accept_env *env,
                    struct accept_request *const *requests, size_t count);
/* Frees what accept_creates put into it. */
void accept_request_clear(struct accept_request *r);
