#include "harpoon/store/keys.h"

#include "lib/sql/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS "SELECT id, name, fingerprint, public_key FROM ssh_keys"

static const char COUNT[] = "SELECT COUNT(*) FROM ssh_keys WHERE account_id = ?";
static const char PAGE[] = COLUMNS " WHERE account_id = ? ORDER BY id LIMIT ? OFFSET ?";
static const char FIND[] = COLUMNS " WHERE id = ? AND account_id = ?";
static const char FIND_FINGERPRINT[] = COLUMNS " WHERE fingerprint = ? AND account_id = ?";
static const char INSERT[] = "INSERT INTO ssh_keys (id, account_id, name, fingerprint, public_key)"
                             " VALUES (?, ?, ?, ?, ?)";
static const char RENAME[] = "UPDATE ssh_keys SET name = ? WHERE id = ? AND account_id = ?";
static const char REMOVE[] = "DELETE FROM ssh_keys WHERE id = ? AND account_id = ?";

void ssh_key_clear(struct ssh_key *key)
{
    free(key->name);
    free(key->public_key);
    *key = (struct ssh_key){0};
}

void ssh_key_list_clear(struct ssh_key_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        ssh_key_clear(&list->keys[i]);
    free(list->keys);
    *list = (struct ssh_key_list){0};
}

static int on_key(void *ctx, const struct sql_row *row, struct error *err)
{
    struct ssh_key_list *list = ctx;
    struct ssh_key *grown = realloc(list->keys, (list->count + 1) * sizeof *list->keys);

    if (grown == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    list->keys = grown;
    struct ssh_key *k = &grown[list->count++];
    *k = (struct ssh_key){
        .id = sql_row_u64(row, 0),
        .name = strdup(sql_row_text(row, 1)),
        .public_key = strdup(sql_row_text(row, 3)),
    };
    (void)snprintf(k->fingerprint, sizeof k->fingerprint, "%s", sql_row_text(row, 2));
    if (k->name == NULL || k->public_key == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    return 0;
}

static int on_total(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(uint64_t *)ctx = sql_row_u64(row, 0);
    return 0;
}

int keys_list(struct sql *db, account_id account, uint64_t offset, size_t limit,
              struct ssh_key_list *ret, struct error *err)
{
    struct ssh_key_list list = {0};
    struct sql_value values[] = {SQL_U(account.v), SQL_U(limit), SQL_U(offset)};

    int64_t r = sql_query(db, COUNT, values, 1, on_total, &list.total, err);
    if (r >= 0 && offset < list.total)
        r = sql_query(db, PAGE, values, ARRAY_LEN(values), on_key, &list, err);
    if (r < 0) {
        ssh_key_list_clear(&list);
        return error_in(err, "ssh keys");
    }
    *ret = list;
    return 0;
}

int keys_find(struct sql *db, account_id account, const struct key_name *name, struct ssh_key *ret,
              struct error *err)
{
    struct ssh_key_list list = {0};
    struct sql_value values[] = {name->id != 0 ? SQL_U(name->id) : SQL_T(name->fingerprint),
                                 SQL_U(account.v)};

    int64_t r = sql_query(db, name->id != 0 ? FIND : FIND_FINGERPRINT, values, ARRAY_LEN(values),
                          on_key, &list, err);
    if (r == 0)
        r = error_set(err, ERR_NOT_FOUND, "no such ssh key");
    if (r < 0) {
        ssh_key_list_clear(&list);
        return (int)r;
    }
    *ret = list.keys[0]; /* its texts go along */
    free(list.keys);
    return 0;
}

int keys_add(struct sql *db, account_id account, struct ssh_key *key, uint64_t id,
             struct error *err)
{
    struct sql_value values[] = {SQL_U(id), SQL_U(account.v), SQL_T(key->name),
                                 SQL_T(key->fingerprint), SQL_T(key->public_key)};
    int64_t r = sql_exec(db, INSERT, values, ARRAY_LEN(values), err);

    if (r < 0)
        return (int)r;
    key->id = id;
    return 0;
}

static int one_row(int64_t matched, struct error *err)
{
    if (matched < 0)
        return (int)matched;
    return matched > 0 ? 0 : error_set(err, ERR_NOT_FOUND, "no such ssh key");
}

int keys_rename(struct sql *db, account_id account, uint64_t id, const char *name,
                struct error *err)
{
    struct sql_value values[] = {SQL_T(name), SQL_U(id), SQL_U(account.v)};
    return one_row(sql_exec(db, RENAME, values, ARRAY_LEN(values), err), err);
}

int keys_remove(struct sql *db, account_id account, uint64_t id, struct error *err)
{
    struct sql_value values[] = {SQL_U(id), SQL_U(account.v)};
    return one_row(sql_exec(db, REMOVE, values, ARRAY_LEN(values), err), err);
}
