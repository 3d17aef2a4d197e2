/* harpoon/store/idempotency.h: what was answered to requests with an Idempotency-Key. A row is
 * inserted in the transaction that does what the request asks: both are there or neither. Those
 * with a `db` block on it. Threads: any, a connection at a time. */
#pragma once

#include "harpoon/digest.h"
#include "lib/error.h"
#include "lib/ids.h"

#include <stddef.h>
#include <stdint.h>

struct sql;

#define IDEMPOTENCY_KEEP_MS INT64_C(86400000)

/* A request that names a key, and what it asks. */
struct idempotency_key {
    account_id account;
    const char *name; /* 1..255 printable ASCII; borrowed */
    uint8_t hash[DIGEST_SHA256];
};

struct idempotency_row {
    const struct idempotency_key *key;
    int status;
    const char *answer;
};

/* Inside the transaction. ERR_CONFLICT: a key is taken. */
int idempotency_insert(struct sql *db, const struct idempotency_row *rows, size_t count,
                       struct error *err) MUST_CHECK;

struct idempotency_answer {
    uint8_t hash[DIGEST_SHA256]; /* of the request that was answered */
    int status;
    char *text; /* malloc'ed: the caller's */
};
/* The answer stored under the key's account and name, whatever was asked. ERR_NOT_FOUND. */
int idempotency_find(struct sql *db, const struct idempotency_key *key,
                     struct idempotency_answer *ret, struct error *err) MUST_CHECK;
/* 1: there is one. 0: there is none. */
int idempotency_exists(struct sql *db, const struct idempotency_key *key,
                       struct error *err) MUST_CHECK;

/* Removes rows older than `keep_ms`, the oldest first, at most IDEMPOTENCY_SLICE of them. Returns
 * how many. */
#define IDEMPOTENCY_SLICE 500
int64_t idempotency_prune(struct sql *db, int64_t keep_ms, struct error *err) MUST_CHECK;
