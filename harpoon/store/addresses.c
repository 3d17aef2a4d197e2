#include "harpoon/store/addresses.h"

#include "lib/sql/sql.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NETWORK_SIZE (1u << (32 - ADDRESS_PREFIX_LENGTH))
#define POOLS_MAX    512 /* regions * kinds */
#define FREE_MAX     256 /* released ones taken at a time */

static const char LOCK_BLOCK[] =
    "SELECT first, size, used FROM address_blocks WHERE region = ? AND kind = ? FOR UPDATE";
static const char MOVE_BLOCK[] = "UPDATE address_blocks SET used = ? WHERE region = ? AND kind = ?";
static const char LOCK_FREE[] = "SELECT address FROM address_free WHERE region = ? AND kind = ?"
                                " ORDER BY address LIMIT 256 FOR UPDATE SKIP LOCKED";
static const char DELETE_FREE[] =
    "DELETE FROM address_free WHERE region = ? AND kind = ? AND address = ?";
static const char INSERT_FREE[] =
    "INSERT IGNORE INTO address_free (region, kind, address) VALUES (?, ?, ?)";
static const char BLOCKS[] = "SELECT region, first FROM address_blocks WHERE kind = ?";
static const char INSERT_BLOCK[] = "INSERT IGNORE INTO address_blocks (region, kind, first, size,"
                                   " used) VALUES (?, ?, ?, ?, 0)";

/* What is reserved of one kind in one region. */
struct pool {
    char region[32];
    enum address_kind kind;
    uint32_t *list; /* the next one last */
    size_t count, capacity;
};

struct addresses {
    uint32_t block;
    pthread_mutex_t lock;
    struct pool pools[POOLS_MAX]; /* guarded by lock */
    size_t pool_count;            /* guarded by lock */
};

uint32_t address_gateway(uint32_t address)
{
    return (address & ~(NETWORK_SIZE - 1)) + 1;
}

bool address_is_host(uint32_t address)
{
    uint32_t within = address & (NETWORK_SIZE - 1);
    return within > 1 && within < NETWORK_SIZE - 1;
}

const char *address_format(uint32_t address, char ret[ADDRESS_TEXT])
{
    (void)snprintf(ret, ADDRESS_TEXT, "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
                   address >> 8 & 255, address & 255);
    return ret;
}

int addresses_new(uint32_t block, struct addresses **ret, struct error *err)
{
    struct addresses *a = calloc(1, sizeof *a);

    if (a == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    a->block = block;
    pthread_mutex_init(&a->lock, NULL);
    *ret = a;
    return 0;
}

struct addresses *addresses_free(struct addresses *a)
{
    if (a == NULL)
        return NULL;
    for (size_t i = 0; i < a->pool_count; i++)
        free(a->pools[i].list);
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}

/* NULL: it is not there, and `make` was false or there are too many. */
static struct pool *find_pool_locked(struct addresses *a, const char *region,
                                     enum address_kind kind, bool make)
{
    for (size_t i = 0; i < a->pool_count; i++)
        if (a->pools[i].kind == kind && strcmp(a->pools[i].region, region) == 0)
            return &a->pools[i];
    if (!make || a->pool_count == POOLS_MAX)
        return NULL;
    struct pool *p = &a->pools[a->pool_count++];
    (void)snprintf(p->region, sizeof p->region, "%s", region);
    p->kind = kind;
    return p;
}

/* Room for `more` beside what is there. */
static bool pool_grow(struct pool *p, size_t more)
{
    if (p->count + more <= p->capacity)
        return true;
    size_t capacity = (p->count + more) * 2;
    uint32_t *grown = realloc(p->list, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    p->list = grown;
    p->capacity = capacity;
    return true;
}

/* They are used after those that are there: the list is taken from its end. */
static bool pool_add(struct pool *p, const uint32_t *ascending, size_t count)
{
    if (!pool_grow(p, count))
        return false;
    memmove(p->list + count, p->list, p->count * sizeof *p->list);
    for (size_t i = 0; i < count; i++)
        p->list[i] = ascending[count - 1 - i];
    p->count += count;
    return true;
}

/* ---- refilling: one transaction, its result only kept when it was committed ---- */
struct refill {
    const char *region;
    enum address_kind kind;
    size_t wanted;
    bool block_found;
    uint32_t first, size, used;
    uint32_t *list; /* ascending */
    size_t count, capacity;
};

static int on_block(void *ctx, const struct sql_row *row, struct error *err)
{
    struct refill *f = ctx;

    UNUSED(err);
    f->block_found = true;
    f->first = (uint32_t)sql_row_u64(row, 0);
    f->size = (uint32_t)sql_row_u64(row, 1);
    f->used = (uint32_t)sql_row_u64(row, 2);
    return 0;
}

static int on_free(void *ctx, const struct sql_row *row, struct error *err)
{
    struct refill *f = ctx;

    UNUSED(err);
    if (f->count < f->capacity)
        f->list[f->count++] = (uint32_t)sql_row_u64(row, 0);
    return 0;
}

static int take_from_block(struct sql *db, struct refill *f, struct error *err)
{
    uint32_t used = f->used;

    while (used < f->size && f->count < f->wanted) {
        uint32_t address = f->first + used++;
        if (address_is_host(address))
            f->list[f->count++] = address;
    }
    if (used == f->used)
        return 0;
    struct sql_value values[] = {SQL_U(used), SQL_T(f->region), SQL_U(f->kind)};
    int64_t n = sql_exec(db, MOVE_BLOCK, values, ARRAY_LEN(values), err);
    return n < 0 ? (int)n : 0;
}

static int take_released(struct sql *db, struct refill *f, struct error *err)
{
    struct sql_value where[] = {SQL_T(f->region), SQL_U(f->kind)};
    struct sql_value values[FREE_MAX * 3];

    int64_t n = sql_query(db, LOCK_FREE, where, ARRAY_LEN(where), on_free, f, err);
    if (n <= 0)
        return (int)n;
    for (size_t i = 0; i < f->count; i++) {
        values[3 * i] = where[0];
        values[3 * i + 1] = where[1];
        values[3 * i + 2] = SQL_U(f->list[i]);
    }
    n = sql_exec_array(db, DELETE_FREE, values, 3, f->count, err);
    return n < 0 ? (int)n : 0;
}

static int refill_body(struct sql *db, void *ctx, struct error *err)
{
    struct refill *f = ctx;
    struct sql_value where[] = {SQL_T(f->region), SQL_U(f->kind)};

    f->count = 0;
    f->block_found = false;
    int64_t n = sql_query(db, LOCK_BLOCK, where, ARRAY_LEN(where), on_block, f, err);
    if (n < 0)
        return (int)n;
    if (!f->block_found)
        return error_set(err, ERR_NOT_FOUND, "region %s has no addresses", f->region);
    int r = take_from_block(db, f, err);
    if (r < 0 || f->count > 0)
        return r;
    return take_released(db, f, err);
}

static int refill(struct addresses *a, struct sql *db, struct pool *p, size_t wanted,
                  struct error *err)
{
    struct refill f = {.region = p->region, .kind = p->kind};

    f.wanted = wanted < a->block ? a->block : wanted;
    f.capacity = f.wanted < FREE_MAX ? FREE_MAX : f.wanted;
    f.list = malloc(f.capacity * sizeof *f.list);
    if (f.list == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    int r = sql_transact(db, refill_body, &f, err);
    if (r >= 0 && f.count == 0)
        r = error_set(err, ERR_NO_CAPACITY, "region %s has no addresses left", p->region);
    if (r >= 0) {
        LOCK_SCOPE(&a->lock);
        if (!pool_add(p, f.list, f.count))
            r = error_set(err, ERR_INTERNAL, "out of memory");
    }
    free(f.list);
    return r;
}

int addresses_reserve(struct addresses *a, struct sql *db, const char *region,
                      enum address_kind kind, size_t count, struct error *err)
{
    for (;;) {
        pthread_mutex_lock(&a->lock);
        struct pool *p = find_pool_locked(a, region, kind, true);
        size_t there = p != NULL ? p->count : 0;
        pthread_mutex_unlock(&a->lock);
        if (p == NULL)
            return error_set(err, ERR_INTERNAL, "more than %d address pools", POOLS_MAX);
        if (there >= count)
            return 0;
        int r = refill(a, db, p, count - there, err);
        if (r < 0)
            return r;
    }
}

uint32_t addresses_take(struct addresses *a, const char *region, enum address_kind kind)
{
    LOCK_SCOPE(&a->lock);
    struct pool *p = find_pool_locked(a, region, kind, false);
    return p != NULL && p->count > 0 ? p->list[--p->count] : 0;
}

void addresses_put_back(struct addresses *a, const char *region, enum address_kind kind,
                        uint32_t address)
{
    LOCK_SCOPE(&a->lock);
    struct pool *p = find_pool_locked(a, region, kind, false);
    if (address != 0 && p != NULL && pool_grow(p, 1)) /* without memory it is lost: harms nobody */
        p->list[p->count++] = address;
}

static int return_pool(struct sql *db, const struct pool *p, struct error *err)
{
    struct sql_value *values = calloc(3 * p->count + 1, sizeof *values);

    if (values == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < p->count; i++) {
        values[3 * i] = SQL_T(p->region);
        values[3 * i + 1] = SQL_U(p->kind);
        values[3 * i + 2] = SQL_U(p->list[i]);
    }
    int64_t n = sql_exec_array(db, INSERT_FREE, values, 3, p->count, err);
    free(values);
    return n < 0 ? (int)n : 0;
}

int addresses_return(struct addresses *a, struct sql *db, struct error *err)
{
    for (size_t i = 0; i < a->pool_count; i++) {
        struct pool *p = &a->pools[i];
        int r = return_pool(db, p, err);
        if (r < 0)
            return error_in(err, "addresses of %s", p->region);
        p->count = 0;
    }
    return 0;
}

void addresses_drop(struct addresses *a)
{
    LOCK_SCOPE(&a->lock);
    for (size_t i = 0; i < a->pool_count; i++)
        a->pools[i].count = 0;
}

/* ---- seeding ---- */
#define BLOCK_SIZE   (1u << 20)
#define BLOCKS_MAX   256
#define SHARED       0x64400000u /* 100.64.0.0/10, shared address space: room for four regions */
#define SHARED_MANY  4
#define RESERVED     0xF0000000u /* 240.0.0.0/4, for those behind them */
#define PRIVATE      0x0A000000u /* 10.0.0.0/8: networks of their own, so regions may share them */
#define PRIVATE_MANY 16

static uint32_t public_block(uint32_t number)
{
    return number < SHARED_MANY ? SHARED + number * BLOCK_SIZE
                                : RESERVED + (number - SHARED_MANY) * BLOCK_SIZE;
}

struct seeding {
    const char *region;
    bool there;
    bool used[BLOCKS_MAX];
};

static int on_seeded(void *ctx, const struct sql_row *row, struct error *err)
{
    struct seeding *s = ctx;

    UNUSED(err);
    if (strcmp(sql_row_text(row, 0), s->region) == 0)
        s->there = true;
    for (uint32_t i = 0; i < BLOCKS_MAX; i++)
        if (public_block(i) == (uint32_t)sql_row_u64(row, 1))
            s->used[i] = true;
    return 0;
}

int addresses_seed(struct sql *db, const char *region, struct error *err)
{
    struct seeding s = {.region = region};
    uint32_t i = 0;

    int64_t n =
        sql_query(db, BLOCKS, (struct sql_value[]){SQL_U(ADDRESS_PUBLIC)}, 1, on_seeded, &s, err);
    if (n < 0 || s.there)
        return n < 0 ? (int)n : 0;
    while (i < BLOCKS_MAX && s.used[i])
        i++;
    if (i == BLOCKS_MAX)
        return error_set(err, ERR_NO_CAPACITY, "no addresses left for region %s", region);
    struct sql_value values[] = {
        SQL_T(region),
        SQL_U(ADDRESS_PUBLIC),
        SQL_U(public_block(i)),
        SQL_U(BLOCK_SIZE),
        SQL_T(region),
        SQL_U(ADDRESS_PRIVATE),
        SQL_U(PRIVATE + i % PRIVATE_MANY * BLOCK_SIZE),
        SQL_U(BLOCK_SIZE),
    };
    n = sql_exec_array(db, INSERT_BLOCK, values, 4, 2, err);
    return n < 0 ? error_in(err, "addresses of %s", region) : 1;
}
