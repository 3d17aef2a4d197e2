/* harpoon/store/tenants.h: what operators see of accounts and tokens, and the end of a token.
 * Blocks. Threads: any, a connection at a time. */
#pragma once

#include "harpoon/store/tokens.h"
#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;

#define TENANTS_PAGE_MAX 1000

struct account_record {
    struct account account;
    uint32_t droplets; /* not deleted */
    int64_t created_ms;
};

struct token_record {
    uint64_t id;
    account_id account;
    char name[256];
    bool read_only;
    int64_t created_ms, expires_ms, revoked_ms, used_ms; /* 0: never */
};

/* By ascending id, those above `after`, at most `limit` (1..TENANTS_PAGE_MAX): `ret` has room for
 * them. Returns how many. */
int64_t accounts_list(struct sql *db, uint64_t after, size_t limit, struct account_record *ret,
                      struct error *err) MUST_CHECK;
/* The same for tokens. `account` 0: of all. */
int64_t tokens_list(struct sql *db, account_id account, uint64_t after, size_t limit,
                    struct token_record *ret, struct error *err) MUST_CHECK;
/* ERR_NOT_FOUND. */
int accounts_find(struct sql *db, account_id id, struct account_record *ret,
                  struct error *err) MUST_CHECK;
int tokens_show(struct sql *db, uint64_t id, struct token_record *ret,
                struct error *err) MUST_CHECK;
/* From `now_ms` on it does not hold any more; one that was revoked before stays as it was. *ret is
 * it afterwards. ERR_NOT_FOUND. */
int tokens_revoke(struct sql *db, uint64_t id, int64_t now_ms, struct token_record *ret,
                  struct error *err) MUST_CHECK;
