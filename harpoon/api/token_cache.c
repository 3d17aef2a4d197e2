#include "harpoon/api/token_cache.h"

#include "lib/clock.h"
#include "lib/sql/sql.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SETS          4096 /* a power of two */
#define WAYS          4
#define FRESH_MS      60000  /* so long a check counts */
#define UNKNOWN_MS    2000   /* so long an unknown token is not asked about again */
#define USED_MS       600000 /* read again while it was used so lately */
#define NOTE_USED_MS  60000
#define REFRESH_BATCH 1000

struct entry {
    uint8_t hash[TOKEN_HASH];
    int64_t checked_mono_ms; /* 0: empty */
    int64_t used_mono_ms;
    int64_t noted_mono_ms; /* when its use was last stored */
    uint32_t round;        /* of the refresh that saw it last */
    bool known;
    struct token token;
    struct rate rate;
};

struct token_cache {
    pthread_mutex_t lock;
    struct entry *entries; /* guarded by lock, SETS * WAYS */
    uint32_t round;        /* refreshing thread only */
};

int token_cache_new(struct token_cache **ret, struct error *err)
{
    struct token_cache *c = calloc(1, sizeof *c);

    if (c != NULL)
        c->entries = calloc((size_t)SETS * WAYS, sizeof *c->entries);
    if (c == NULL || c->entries == NULL) {
        free(c);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return 0;
}

struct token_cache *token_cache_free(struct token_cache *c)
{
    if (c == NULL)
        return NULL;
    pthread_mutex_destroy(&c->lock);
    free(c->entries);
    free(c);
    return NULL;
}

/* The hash is SHA-256 already: any bits of it will do. */
static struct entry *set_of(struct token_cache *c, const uint8_t *hash)
{
    uint32_t bits;

    memcpy(&bits, hash, sizeof bits);
    return c->entries + (size_t)(bits % SETS) * WAYS;
}

static struct entry *find_locked(struct token_cache *c, const uint8_t *hash)
{
    struct entry *set = set_of(c, hash);

    for (size_t i = 0; i < WAYS; i++)
        if (set[i].checked_mono_ms != 0 && memcmp(set[i].hash, hash, TOKEN_HASH) == 0)
            return &set[i];
    return NULL;
}

/* An unknown token never displaces a known one: who guesses must not harm who knows. */
static struct entry *make_room_locked(struct token_cache *c, const uint8_t *hash, bool known)
{
    struct entry *set = set_of(c, hash), *best = NULL;

    for (size_t i = 0; i < WAYS; i++) {
        struct entry *e = &set[i];
        if (e->checked_mono_ms == 0)
            return e;
        if (e->known && !known)
            continue;
        if (best == NULL || (best->known && !e->known) ||
            (best->known == e->known && e->used_mono_ms < best->used_mono_ms))
            best = e;
    }
    return best;
}

enum token_verdict token_cache_check(struct token_cache *c, const uint8_t hash[TOKEN_HASH],
                                     bool down, int64_t now_mono_ms, int64_t now_unix_ms,
                                     const struct rate_limits *limits, struct token *ret,
                                     struct rate_verdict *rate)
{
    LOCK_SCOPE(&c->lock);
    struct entry *e = find_locked(c, hash);
    if (e == NULL)
        return TOKEN_ASK;
    int64_t age_ms = now_mono_ms - e->checked_mono_ms;
    if (!e->known)
        return down || age_ms < UNKNOWN_MS ? TOKEN_UNKNOWN : TOKEN_ASK;
    if (e->token.expires_at_ms != 0 && e->token.expires_at_ms <= now_unix_ms)
        return TOKEN_UNKNOWN;
    if (age_ms > FRESH_MS && !down)
        return TOKEN_ASK;
    e->used_mono_ms = now_mono_ms;
    *ret = e->token;
    rate_take(&e->rate, limits, e->token.account.rate_limited, now_unix_ms, rate);
    return TOKEN_KNOWN;
}

static void put_locked(struct token_cache *c, const uint8_t *hash, const struct token *t,
                       int64_t now_mono_ms)
{
    struct entry *e = find_locked(c, hash);

    if (e == NULL) {
        e = make_room_locked(c, hash, t != NULL);
        if (e == NULL)
            return;
        *e = (struct entry){.used_mono_ms = now_mono_ms};
        memcpy(e->hash, hash, TOKEN_HASH);
    }
    e->checked_mono_ms = now_mono_ms > 0 ? now_mono_ms : 1;
    e->known = t != NULL;
    if (t != NULL)
        e->token = *t;
}

void token_cache_put(struct token_cache *c, const struct token *t, int64_t now_mono_ms)
{
    LOCK_SCOPE(&c->lock);
    put_locked(c, t->hash, t, now_mono_ms);
}

void token_cache_put_unknown(struct token_cache *c, const uint8_t hash[TOKEN_HASH],
                             int64_t now_mono_ms)
{
    LOCK_SCOPE(&c->lock);
    put_locked(c, hash, NULL, now_mono_ms);
}

/* ---- refreshing ---- */
struct refreshing {
    struct token_cache *cache;
    int64_t now_mono_ms;
};

static void on_token(void *ctx, const struct token *t)
{
    struct refreshing *r = ctx;

    LOCK_SCOPE(&r->cache->lock);
    struct entry *e = find_locked(r->cache, t->hash);
    if (e == NULL)
        return; /* displaced meanwhile */
    put_locked(r->cache, t->hash, t, r->now_mono_ms);
    e->round = r->cache->round;
}

/* Ids of known entries used lately, from *slot on; moves *slot. Forgets those of long ago. */
static size_t collect(struct token_cache *c, size_t *slot, int64_t now_mono_ms,
                      uint64_t ids[REFRESH_BATCH])
{
    size_t n = 0;

    LOCK_SCOPE(&c->lock);
    for (; *slot < (size_t)SETS * WAYS && n < REFRESH_BATCH; (*slot)++) {
        struct entry *e = &c->entries[*slot];
        if (e->checked_mono_ms == 0 || !e->known)
            continue;
        if (now_mono_ms - e->used_mono_ms > USED_MS)
            e->checked_mono_ms = 0;
        else
            ids[n++] = e->token.id;
    }
    return n;
}

/* Those that the refresh asked for and did not see hold no more. */
static void drop_unseen(struct token_cache *c, int64_t began_mono_ms)
{
    LOCK_SCOPE(&c->lock);
    for (size_t i = 0; i < (size_t)SETS * WAYS; i++) {
        struct entry *e = &c->entries[i];
        if (e->checked_mono_ms != 0 && e->known && e->round != c->round &&
            e->checked_mono_ms < began_mono_ms)
            e->known = false;
    }
}

static size_t collect_used(struct token_cache *c, int64_t now_mono_ms, uint64_t ids[REFRESH_BATCH])
{
    size_t n = 0;

    LOCK_SCOPE(&c->lock);
    for (size_t i = 0; i < (size_t)SETS * WAYS && n < REFRESH_BATCH; i++) {
        struct entry *e = &c->entries[i];
        if (e->checked_mono_ms == 0 || !e->known || e->used_mono_ms <= e->noted_mono_ms ||
            (e->noted_mono_ms != 0 && now_mono_ms - e->noted_mono_ms < NOTE_USED_MS))
            continue;
        e->noted_mono_ms = now_mono_ms;
        ids[n++] = e->token.id;
    }
    return n;
}

int token_cache_refresh(struct token_cache *c, struct sql *db, int64_t now_mono_ms,
                        int64_t now_unix_ms, struct error *err)
{
    struct refreshing r = {.cache = c, .now_mono_ms = now_mono_ms};
    uint64_t ids[REFRESH_BATCH];

    c->round++;
    for (size_t slot = 0; slot < (size_t)SETS * WAYS;) {
        size_t n = collect(c, &slot, now_mono_ms, ids);
        if (n == 0)
            continue;
        int e = tokens_read(db, ids, n, now_unix_ms, on_token, &r, err);
        if (e < 0)
            return e;
    }
    drop_unseen(c, now_mono_ms);
    size_t used = collect_used(c, now_mono_ms, ids);
    return used > 0 ? tokens_store_used(db, ids, used, now_unix_ms, err) : 0;
}
