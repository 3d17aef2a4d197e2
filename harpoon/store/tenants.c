#include "harpoon/store/tenants.h"

#include "lib/sql/sql.h"

#include <inttypes.h>
#include <stdio.h>

#define ACCOUNT_COLUMNS                                                                            \
    "SELECT id, uuid, email, name, droplet_limit, rate_limited, droplets, created_at FROM "        \
    "accounts"
#define TOKEN_COLUMNS                                                                              \
    "SELECT id, account_id, name, read_only, created_at, expires_at, revoked_at, used_at"          \
    " FROM tokens"

/* By primary key, a few a day. */
static const char LIST_ACCOUNTS[] = ACCOUNT_COLUMNS " WHERE id > ? ORDER BY id LIMIT ?";
static const char SHOW_ACCOUNT[] = ACCOUNT_COLUMNS " WHERE id = ?";
static const char LIST_TOKENS[] = TOKEN_COLUMNS " WHERE id > ? ORDER BY id LIMIT ?";
static const char LIST_OWN_TOKENS[] =
    TOKEN_COLUMNS " WHERE account_id = ? AND id > ? ORDER BY id LIMIT ?";
static const char SHOW_TOKEN[] = TOKEN_COLUMNS " WHERE id = ?";
static const char REVOKE[] = "UPDATE tokens SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?";

struct accounts {
    struct account_record *to;
    size_t count;
};

static int on_account(void *ctx, const struct sql_row *row, struct error *err)
{
    struct accounts *list = ctx;
    struct account_record *r = &list->to[list->count++];
    struct account *a = &r->account;

    UNUSED(err);
    *r = (struct account_record){
        .account = {.id.v = sql_row_u64(row, 0),
                    .droplet_limit = (uint32_t)sql_row_u64(row, 4),
                    .rate_limited = sql_row_u64(row, 5) != 0},
        .droplets = (uint32_t)sql_row_u64(row, 6),
        .created_ms = sql_row_i64(row, 7),
    };
    (void)snprintf(a->uuid, sizeof a->uuid, "%s", sql_row_text(row, 1));
    (void)snprintf(a->email, sizeof a->email, "%s", sql_row_text(row, 2));
    (void)snprintf(a->name, sizeof a->name, "%s", sql_row_text(row, 3));
    return 0;
}

struct tokens {
    struct token_record *to;
    size_t count;
};

static int on_token(void *ctx, const struct sql_row *row, struct error *err)
{
    struct tokens *list = ctx;
    struct token_record *t = &list->to[list->count++];

    UNUSED(err);
    *t = (struct token_record){
        .id = sql_row_u64(row, 0),
        .account.v = sql_row_u64(row, 1),
        .read_only = sql_row_u64(row, 3) != 0,
        .created_ms = sql_row_i64(row, 4),
        .expires_ms = sql_row_i64(row, 5),
        .revoked_ms = sql_row_i64(row, 6),
        .used_ms = sql_row_i64(row, 7),
    };
    (void)snprintf(t->name, sizeof t->name, "%s", sql_row_text(row, 2));
    return 0;
}

int64_t accounts_list(struct sql *db, uint64_t after, size_t limit, struct account_record *ret,
                      struct error *err)
{
    struct sql_value values[] = {SQL_U(after), SQL_U(limit)};
    struct accounts list = {.to = ret};

    return sql_query(db, LIST_ACCOUNTS, values, ARRAY_LEN(values), on_account, &list, err);
}

int64_t tokens_list(struct sql *db, account_id account, uint64_t after, size_t limit,
                    struct token_record *ret, struct error *err)
{
    struct sql_value values[] = {SQL_U(account.v), SQL_U(after), SQL_U(limit)};
    struct tokens list = {.to = ret};

    if (account.v != 0)
        return sql_query(db, LIST_OWN_TOKENS, values, 3, on_token, &list, err);
    return sql_query(db, LIST_TOKENS, values + 1, 2, on_token, &list, err);
}

int accounts_find(struct sql *db, account_id id, struct account_record *ret, struct error *err)
{
    struct sql_value value = SQL_U(id.v);
    struct account_record found = {0};
    struct accounts list = {.to = &found};
    int64_t n = sql_query(db, SHOW_ACCOUNT, &value, 1, on_account, &list, err);

    if (n == 0)
        return error_set(err, ERR_NOT_FOUND, "there is no account %" PRIu64, id.v);
    if (n > 0)
        *ret = found;
    return n < 0 ? (int)n : 0;
}

int tokens_show(struct sql *db, uint64_t id, struct token_record *ret, struct error *err)
{
    struct sql_value value = SQL_U(id);
    struct token_record found = {0};
    struct tokens list = {.to = &found};
    int64_t n = sql_query(db, SHOW_TOKEN, &value, 1, on_token, &list, err);

    if (n == 0)
        return error_set(err, ERR_NOT_FOUND, "there is no token %" PRIu64, id);
    if (n > 0)
        *ret = found;
    return n < 0 ? (int)n : 0;
}

int tokens_revoke(struct sql *db, uint64_t id, int64_t now_ms, struct token_record *ret,
                  struct error *err)
{
    struct sql_value values[] = {SQL_I(now_ms), SQL_U(id)};
    int64_t n = sql_exec(db, REVOKE, values, ARRAY_LEN(values), err);

    return n < 0 ? (int)n : tokens_show(db, id, ret, err);
}
