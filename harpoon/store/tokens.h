/* harpoon/store/tokens.h: accounts, and the bearer tokens that speak for them. A token is stored as
 * its SHA-256 only. Those with a `db` block on it. Threads: any, a connection at a time. */
#pragma once

#include "lib/error.h"
#include "lib/ids.h"
#include "lib/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;

#define TOKEN_PREFIX "hpn_v1_"
#define TOKEN_TEXT   72 /* prefix, 64 hex digits, NUL */
#define TOKEN_HASH   32

struct account {
    account_id id;
    char uuid[UUID_TEXT];
    char email[256], name[256];
    uint32_t droplet_limit; /* 0: none */
    bool rate_limited;
};

struct token {
    uint64_t id;
    uint8_t hash[TOKEN_HASH];
    bool read_only;
    int64_t expires_at_ms; /* 0: never */
    struct account account;
};

/* 256 random bits behind the prefix. */
void token_make(char ret[TOKEN_TEXT]);
void token_hash(const char *text, uint8_t ret[TOKEN_HASH]);
/* The token in an Authorization header ("Bearer TOKEN", the scheme in any case), borrowed from it.
 * NULL: there is none. */
const char *token_from_header(const char *header);

/* ERR_NOT_FOUND: no such token, or it is revoked or expired at `now_ms`. ERR_UNAVAILABLE. */
int tokens_find(struct sql *db, const uint8_t hash[TOKEN_HASH], int64_t now_ms, struct token *ret,
                struct error *err) MUST_CHECK;
/* Reads those of `ids` (1..1,000) that still hold; calls on_token for each. */
int tokens_read(struct sql *db, const uint64_t *ids, size_t count, int64_t now_ms,
                void (*on_token)(void *ctx, const struct token *t), void *ctx,
                struct error *err) MUST_CHECK;
/* Notes that these were used at `now_ms`. */
int tokens_store_used(struct sql *db, const uint64_t *ids, size_t count, int64_t now_ms,
                      struct error *err) MUST_CHECK;

struct token_order {
    account_id account; /* 0: by `email` */
    const char *email;
    const char *name;
    bool read_only;
    int64_t expires_at_ms; /* 0: never */
    uint64_t *ret_id;      /* out: the token's number; NULL: nobody asks */
};
/* Makes a token; `ret` is the only place that ever holds it. ERR_NOT_FOUND: no such account. */
int tokens_create(struct sql *db, const struct token_order *order, char ret[TOKEN_TEXT],
                  struct error *err) MUST_CHECK;

/* Makes an account, or finds the one with that email (its limits stay). 1: made. 0: it was there.
 */
int accounts_create(struct sql *db, struct account *account, struct error *err) MUST_CHECK;
