#include "harpoon/store/idempotency.h"

#include "lib/macros.h"
#include "lib/sql/sql.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS 5

static const char INSERT[] =
    "INSERT INTO idempotency (account_id, name, hash, status, answer, created_at)"
    " VALUES (?, ?, ?, ?, ?, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED))";
static const char FIND[] =
    "SELECT hash, status, answer FROM idempotency WHERE account_id = ? AND name = ?";
static const char EXISTS[] = "SELECT 1 FROM idempotency WHERE account_id = ? AND name = ?";
/* Ids ascend with time but for moments, so the old ones are among the first: by primary key, never
 * further than a slice. */
static const char LAST_OLD[] =
    "SELECT MAX(id), CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) FROM"
    " (SELECT id, created_at FROM idempotency ORDER BY id LIMIT 500) oldest"
    " WHERE created_at <= CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) - ?";
static const char REMOVE[] = "DELETE FROM idempotency WHERE id <= ? AND created_at <= ?";

int idempotency_insert(struct sql *db, const struct idempotency_row *rows, size_t count,
                       struct error *err)
{
    struct sql_value *values = malloc((count * COLUMNS + 1) * sizeof *values);

    if (values == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const struct idempotency_key *key = rows[i].key;
        const struct sql_value row[COLUMNS] = {
            SQL_U(key->account.v),
            SQL_T(key->name),
            SQL_B(key->hash, sizeof key->hash),
            SQL_U((uint64_t)rows[i].status),
            SQL_T(rows[i].answer),
        };
        memcpy(values + i * COLUMNS, row, sizeof row);
    }
    int64_t r = sql_exec_array(db, INSERT, values, COLUMNS, count, err);
    free(values);
    return r < 0 ? (int)r : 0;
}

static int on_answer(void *ctx, const struct sql_row *row, struct error *err)
{
    struct idempotency_answer *ret = ctx;
    size_t size = 0, answer_size = 0;
    const void *hash = sql_row_bytes(row, 0, &size);
    const void *answer = sql_row_bytes(row, 2, &answer_size);

    if (size != sizeof ret->hash)
        return error_set(err, ERR_INTERNAL, "a stored answer is damaged");
    memcpy(ret->hash, hash, size);
    ret->status = (int)sql_row_u64(row, 1);
    ret->text = strndup(answer, answer_size);
    return ret->text != NULL ? 0 : error_set(err, ERR_INTERNAL, "out of memory");
}

int idempotency_find(struct sql *db, const struct idempotency_key *key,
                     struct idempotency_answer *ret, struct error *err)
{
    struct sql_value values[] = {SQL_U(key->account.v), SQL_T(key->name)};
    struct idempotency_answer found = {0};
    int64_t n = sql_query(db, FIND, values, ARRAY_LEN(values), on_answer, &found, err);

    if (n < 0)
        return error_in(err, "stored answer");
    if (n == 0)
        return error_set(err, ERR_NOT_FOUND, "no answer is stored under this key");
    *ret = found;
    return 0;
}

static int on_row(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(ctx);
    UNUSED(row);
    UNUSED(err);
    return 0;
}

int idempotency_exists(struct sql *db, const struct idempotency_key *key, struct error *err)
{
    struct sql_value values[] = {SQL_U(key->account.v), SQL_T(key->name)};
    int64_t n = sql_query(db, EXISTS, values, ARRAY_LEN(values), on_row, NULL, err);

    return n < 0 ? (int)n : n > 0;
}

struct old {
    uint64_t last; /* 0: none */
    int64_t now_ms;
};

static int on_old(void *ctx, const struct sql_row *row, struct error *err)
{
    struct old *old = ctx;

    UNUSED(err);
    old->last = sql_row_u64(row, 0);
    old->now_ms = sql_row_i64(row, 1);
    return 0;
}

int64_t idempotency_prune(struct sql *db, int64_t keep_ms, struct error *err)
{
    struct sql_value keep = SQL_I(keep_ms);
    struct old old = {0};
    int64_t r = sql_query(db, LAST_OLD, &keep, 1, on_old, &old, err);

    if (r >= 0 && old.last == 0)
        return 0;
    if (r >= 0)
        r = sql_exec(db, REMOVE, (struct sql_value[]){SQL_U(old.last), SQL_I(old.now_ms - keep_ms)},
                     2, err);
    return r < 0 ? error_in(err, "old answers") : r;
}
