/* harpoon/api/token_cache.h: tokens checked lately, so that a request needs no database and goes on
 * without one. Of a fixed size; a token that is not known is remembered for a moment too.
 * Threads: any; nothing blocks but token_cache_refresh. */
#pragma once

#include "harpoon/api/rate.h"
#include "harpoon/store/tokens.h"
#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;
struct token_cache;

enum token_verdict {
    TOKEN_KNOWN,   /* *ret is it */
    TOKEN_UNKNOWN, /* it does not hold, by the database a moment ago */
    TOKEN_ASK,     /* look it up, then token_cache_put or _put_unknown */
};

int token_cache_new(struct token_cache **ret, struct error *err) MUST_CHECK;
struct token_cache *token_cache_free(struct token_cache *c); /* NULL is fine; gives NULL */

/* `down`: the database is gone, so that what is known counts however old it is. Of a known one a
 * request is counted in `rate`. */
enum token_verdict token_cache_check(struct token_cache *c, const uint8_t hash[TOKEN_HASH],
                                     bool down, int64_t now_mono_ms, int64_t now_unix_ms,
                                     const struct rate_limits *limits, struct token *ret,
                                     struct rate_verdict *rate);
void token_cache_put(struct token_cache *c, const struct token *t, int64_t now_mono_ms);
void token_cache_put_unknown(struct token_cache *c, const uint8_t hash[TOKEN_HASH],
                             int64_t now_mono_ms);

/* Reads again what was used in the last ten minutes: a revoked token stops to hold within two of
 * these. Notes their last use once a minute. Blocks. ERR_UNAVAILABLE: all stays as it is. */
int token_cache_refresh(struct token_cache *c, struct sql *db, int64_t now_mono_ms,
                        int64_t now_unix_ms, struct error *err) MUST_CHECK;
