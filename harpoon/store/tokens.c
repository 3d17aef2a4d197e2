#include "harpoon/store/tokens.h"

#include "harpoon/digest.h"
#include "harpoon/store/ids.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/sql/sql.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TOKENS_BATCH_MAX 1000

#define TOKEN_COLUMNS                                                                              \
    "SELECT t.id, t.hash, t.read_only, t.expires_at, t.revoked_at, a.id, a.uuid, a.email, a.name," \
    " a.droplet_limit, a.rate_limited"

static const char FIND[] = TOKEN_COLUMNS " FROM tokens t JOIN accounts a ON a.id = t.account_id"
                                         " WHERE t.hash = ?";
static const char READ[] = TOKEN_COLUMNS " FROM tokens t FORCE INDEX (PRIMARY)"
                                         " JOIN accounts a ON a.id = t.account_id"
                                         " WHERE t.id IN (%s)";
static const char STORE_USED[] = "UPDATE tokens SET used_at = ? WHERE id = ?";
static const char INSERT_TOKEN[] =
    "INSERT INTO tokens (id, account_id, hash, name, read_only, created_at, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)";
static const char FIND_ACCOUNT[] = "SELECT id FROM accounts WHERE id = ?";
static const char FIND_EMAIL[] = "SELECT id FROM accounts WHERE email = ? ORDER BY id LIMIT 1";
static const char INSERT_ACCOUNT[] =
    "INSERT INTO accounts (id, uuid, email, name, droplet_limit, rate_limited, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)";

void token_make(char ret[TOKEN_TEXT])
{
    uint64_t random[4] = {random_u64(), random_u64(), random_u64(), random_u64()};
    size_t len = strlen(TOKEN_PREFIX);

    memcpy(ret, TOKEN_PREFIX, len);
    digest_format_hex((const uint8_t *)random, sizeof random, ret + len);
    explicit_bzero(random, sizeof random);
}

void token_hash(const char *text, uint8_t ret[TOKEN_HASH])
{
    digest_sha256(text, strlen(text), ret);
}

const char *token_from_header(const char *header)
{
    static const char scheme[] = "bearer";

    if (header == NULL || strncasecmp(header, scheme, sizeof scheme - 1) != 0)
        return NULL;
    header += sizeof scheme - 1;
    if (*header != ' ' && *header != '\t')
        return NULL;
    header += strspn(header, " \t");
    return *header != 0 ? header : NULL;
}

static void copy_text(char *to, size_t size, const struct sql_row *row, size_t column)
{
    (void)snprintf(to, size, "%s", sql_row_text(row, column));
}

/* False: it does not hold any more. */
static bool read_token(const struct sql_row *row, int64_t now_ms, struct token *ret)
{
    size_t size = 0;
    const void *hash = sql_row_bytes(row, 1, &size);

    *ret = (struct token){
        .id = sql_row_u64(row, 0),
        .read_only = sql_row_u64(row, 2) != 0,
        .expires_at_ms = sql_row_i64(row, 3),
        .account = {.id.v = sql_row_u64(row, 5),
                    .droplet_limit = (uint32_t)sql_row_u64(row, 9),
                    .rate_limited = sql_row_u64(row, 10) != 0},
    };
    if (size != TOKEN_HASH || !sql_row_is_null(row, 4) ||
        (ret->expires_at_ms != 0 && ret->expires_at_ms <= now_ms))
        return false;
    memcpy(ret->hash, hash, size);
    copy_text(ret->account.uuid, sizeof ret->account.uuid, row, 6);
    copy_text(ret->account.email, sizeof ret->account.email, row, 7);
    copy_text(ret->account.name, sizeof ret->account.name, row, 8);
    return true;
}

struct reading {
    int64_t now_ms;
    struct token token;
    bool found;
    void (*on_token)(void *ctx, const struct token *t);
    void *ctx;
};

static int on_row(void *ctx, const struct sql_row *row, struct error *err)
{
    struct reading *r = ctx;

    UNUSED(err);
    if (!read_token(row, r->now_ms, &r->token))
        return 0;
    r->found = true;
    if (r->on_token != NULL)
        r->on_token(r->ctx, &r->token);
    return 0;
}

int tokens_find(struct sql *db, const uint8_t hash[TOKEN_HASH], int64_t now_ms, struct token *ret,
                struct error *err)
{
    struct reading r = {.now_ms = now_ms};
    int64_t n =
        sql_query(db, FIND, (struct sql_value[]){SQL_B(hash, TOKEN_HASH)}, 1, on_row, &r, err);

    if (n < 0)
        return error_in(err, "token");
    if (!r.found)
        return error_set(err, ERR_NOT_FOUND, "no such token");
    *ret = r.token;
    return 0;
}

int tokens_read(struct sql *db, const uint64_t *ids, size_t count, int64_t now_ms,
                void (*on_token)(void *ctx, const struct token *t), void *ctx, struct error *err)
{
    struct reading r = {.now_ms = now_ms, .on_token = on_token, .ctx = ctx};
    int64_t n = sql_query_ids(db, READ, ids, count, on_row, &r, err);

    return n < 0 ? error_in(err, "tokens") : 0;
}

int tokens_store_used(struct sql *db, const uint64_t *ids, size_t count, int64_t now_ms,
                      struct error *err)
{
    struct sql_value values[TOKENS_BATCH_MAX * 2];

    if (count > TOKENS_BATCH_MAX)
        count = TOKENS_BATCH_MAX;
    for (size_t i = 0; i < count; i++) {
        values[2 * i] = SQL_I(now_ms);
        values[2 * i + 1] = SQL_U(ids[i]);
    }
    int64_t n = sql_exec_array(db, STORE_USED, values, 2, count, err);
    return n < 0 ? error_in(err, "last use of tokens") : 0;
}

static int on_account(void *ctx, const struct sql_row *row, struct error *err)
{
    account_id *id = ctx;

    UNUSED(err);
    id->v = sql_row_u64(row, 0);
    return 0;
}

/* 1 and *ret: found. */
static int find_account(struct sql *db, account_id id, const char *email, account_id *ret,
                        struct error *err)
{
    struct sql_value by_id = SQL_U(id.v), by_email = SQL_T(email);
    int64_t n = id.v != 0 ? sql_query(db, FIND_ACCOUNT, &by_id, 1, on_account, ret, err)
                          : sql_query(db, FIND_EMAIL, &by_email, 1, on_account, ret, err);

    return n < 0 ? (int)n : n > 0;
}

/* One id for a row that people make now and then. */
static int take_id(struct sql *db, const char *name, uint64_t *ret, struct error *err)
{
    struct ids *ids = NULL;
    int r = ids_new(name, 1, &ids, err);

    if (r < 0)
        return r;
    r = ids_reserve(ids, db, 1, err);
    if (r >= 0)
        r = ids_take(ids, 1, ret, err);
    ids_free(ids);
    return r;
}

int tokens_create(struct sql *db, const struct token_order *order, char ret[TOKEN_TEXT],
                  struct error *err)
{
    account_id account = {0};
    uint64_t id = 0;
    uint8_t hash[TOKEN_HASH];
    char text[TOKEN_TEXT];

    int r = find_account(db, order->account, order->email, &account, err);
    if (r == 0)
        r = error_set(err, ERR_NOT_FOUND, "no such account");
    if (r > 0)
        r = take_id(db, "token", &id, err);
    if (r < 0)
        return r;
    token_make(text);
    token_hash(text, hash);
    struct sql_value values[] = {
        SQL_U(id),
        SQL_U(account.v),
        SQL_B(hash, sizeof hash),
        SQL_T(order->name),
        SQL_U(order->read_only),
        SQL_I(unix_ms()),
        order->expires_at_ms != 0 ? SQL_I(order->expires_at_ms) : SQL_N,
    };
    int64_t n = sql_exec(db, INSERT_TOKEN, values, ARRAY_LEN(values), err);
    if (n < 0)
        return error_in(err, "token");
    memcpy(ret, text, sizeof text);
    if (order->ret_id != NULL)
        *order->ret_id = id;
    return 0;
}

int accounts_create(struct sql *db, struct account *account, struct error *err)
{
    struct uuid uuid;
    account_id there = {0};

    int r = find_account(db, (account_id){0}, account->email, &there, err);
    if (r > 0)
        account->id = there;
    if (r != 0)
        return r > 0 ? 0 : r;
    if (account->id.v == 0)
        r = take_id(db, "account", &account->id.v, err);
    if (r < 0)
        return r;
    uuid_make_random(&uuid);
    uuid_format(&uuid, account->uuid);
    struct sql_value values[] = {
        SQL_U(account->id.v), SQL_T(account->uuid),          SQL_T(account->email),
        SQL_T(account->name), SQL_U(account->droplet_limit), SQL_U(account->rate_limited),
        SQL_I(unix_ms()),
    };
    int64_t n = sql_exec(db, INSERT_ACCOUNT, values, ARRAY_LEN(values), err);
    return n < 0 ? error_in(err, "account %s", account->email) : 1;
}
