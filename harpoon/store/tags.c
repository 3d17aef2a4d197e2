/* Lock order: the tag, its droplets, what joins them. */
#include "harpoon/store/tags.h"

#include "lib/sql/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counted from the key alone: a droplet's delete takes its tags off in the same transaction. */
#define COLUMNS                                                                                    \
    "SELECT n.tag, (SELECT COUNT(*) FROM droplet_tags t FORCE INDEX (PRIMARY)"                     \
    " WHERE t.account_id = n.account_id AND t.tag = n.tag) FROM tags n"

static const char COUNT[] = "SELECT COUNT(*) FROM tags WHERE account_id = ?";
static const char PAGE[] = COLUMNS " WHERE n.account_id = ? ORDER BY n.tag LIMIT ? OFFSET ?";
static const char FIND[] = COLUMNS " WHERE n.account_id = ? AND n.tag = ?";
static const char INSERT[] = "INSERT IGNORE INTO tags (account_id, tag) VALUES (?, ?)";
static const char SHARE_TAG[] =
    "SELECT tag FROM tags WHERE account_id = ? AND tag = ? LOCK IN SHARE MODE";
static const char SHARE_DROPLETS[] =
    "SELECT account_id FROM droplets FORCE INDEX (PRIMARY) WHERE id IN (%s)"
    " AND deleted_at IS NULL LOCK IN SHARE MODE";
static const char ATTACH[] =
    "INSERT IGNORE INTO droplet_tags (account_id, tag, droplet_id) VALUES (?, ?, ?)";
static const char DETACH[] =
    "DELETE FROM droplet_tags WHERE account_id = ? AND tag = ? AND droplet_id = ?";
static const char COUNT_OF_EACH[] =
    "SELECT droplet_id, COUNT(*) FROM droplet_tags FORCE INDEX (droplet_id)"
    " WHERE droplet_id IN (%s) GROUP BY droplet_id";
static const char STRIP[] =
    "DELETE FROM droplet_tags WHERE account_id = ? AND tag = ? ORDER BY droplet_id LIMIT ?";
static const char STRIP_ALL[] = "DELETE FROM droplet_tags WHERE account_id = ? AND tag = ?";
static const char REMOVE[] = "DELETE FROM tags WHERE account_id = ? AND tag = ?";

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, "out of memory");
}

/* ---- reading ---- */
static int on_tag(void *ctx, const struct sql_row *row, struct error *err)
{
    struct tag_list *list = ctx;
    struct tag *grown = realloc(list->tags, (list->count + 1) * sizeof *list->tags);

    if (grown == NULL)
        return out_of_memory(err);
    list->tags = grown;
    struct tag *t = &grown[list->count++];
    (void)snprintf(t->name, sizeof t->name, "%s", sql_row_text(row, 0));
    t->droplets = sql_row_u64(row, 1);
    return 0;
}

static int on_total(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(uint64_t *)ctx = sql_row_u64(row, 0);
    return 0;
}

int tags_list(struct sql *db, account_id account, uint64_t offset, size_t limit,
              struct tag_list *ret, struct error *err)
{
    struct tag_list list = {0};
    struct sql_value values[] = {SQL_U(account.v), SQL_U(limit), SQL_U(offset)};

    int64_t r = sql_query(db, COUNT, values, 1, on_total, &list.total, err);
    if (r >= 0 && offset < list.total)
        r = sql_query(db, PAGE, values, ARRAY_LEN(values), on_tag, &list, err);
    if (r < 0) {
        tag_list_clear(&list);
        return error_in(err, "tags");
    }
    *ret = list;
    return 0;
}

void tag_list_clear(struct tag_list *list)
{
    free(list->tags);
    *list = (struct tag_list){0};
}

int tags_find(struct sql *db, account_id account, const char *name, struct tag *ret,
              struct error *err)
{
    struct tag_list list = {0};
    struct sql_value values[] = {SQL_U(account.v), SQL_T(name)};

    int64_t r = sql_query(db, FIND, values, ARRAY_LEN(values), on_tag, &list, err);
    if (r == 0)
        r = error_set(err, ERR_NOT_FOUND, "no such tag");
    else if (r > 0)
        *ret = list.tags[0];
    tag_list_clear(&list);
    return r < 0 ? (int)r : 0;
}

int tags_add(struct sql *db, account_id account, const char *name, struct error *err)
{
    struct sql_value values[] = {SQL_U(account.v), SQL_T(name)};
    int64_t r = sql_exec(db, INSERT, values, ARRAY_LEN(values), err);

    return r < 0 ? error_in(err, "tag") : 0;
}

/* ---- tagging ---- */
struct tagging {
    account_id account;
    const char *name;
    const droplet_id *droplets;
    size_t count;
    bool attach;
    size_t found;
    char canonical[TAG_TEXT];
    struct sql_value *values; /* a row of three for each droplet */
    uint64_t *ids;
};

static int on_canonical(void *ctx, const struct sql_row *row, struct error *err)
{
    struct tagging *t = ctx;

    UNUSED(err);
    (void)snprintf(t->canonical, sizeof t->canonical, "%s", sql_row_text(row, 0));
    return 0;
}

static int on_droplet(void *ctx, const struct sql_row *row, struct error *err)
{
    struct tagging *t = ctx;

    UNUSED(err);
    t->found += sql_row_u64(row, 0) == t->account.v;
    return 0;
}

static int on_count(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(ctx);
    if (sql_row_u64(row, 1) > TAG_DROPLET_TAGS_MAX)
        return error_set(err, ERR_INVALID, "Droplet %" PRIu64 " would have more than %d tags.",
                         sql_row_u64(row, 0), TAG_DROPLET_TAGS_MAX);
    return 0;
}

/* Neither the tag nor a droplet goes before this transaction ends. */
static int lock_both(struct sql *db, struct tagging *t, struct error *err)
{
    struct sql_value values[] = {SQL_U(t->account.v), SQL_T(t->name)};

    t->found = 0;
    int64_t r = sql_query(db, SHARE_TAG, values, ARRAY_LEN(values), on_canonical, t, err);
    if (r == 0)
        return error_set(err, ERR_NOT_FOUND, "no such tag");
    if (r > 0)
        r = sql_query_ids(db, SHARE_DROPLETS, t->ids, t->count, on_droplet, t, err);
    if (r >= 0 && t->found != t->count)
        return error_set(err, ERR_NOT_FOUND, "no such droplet");
    return r < 0 ? (int)r : 0;
}

static int tagging_body(struct sql *db, void *ctx, struct error *err)
{
    struct tagging *t = ctx;
    int64_t r = lock_both(db, t, err);

    if (r < 0)
        return (int)r;
    for (size_t i = 0; i < t->count; i++) {
        t->values[3 * i] = SQL_U(t->account.v);
        t->values[3 * i + 1] = SQL_T(t->canonical);
        t->values[3 * i + 2] = SQL_U(t->droplets[i].v);
    }
    r = sql_exec_array(db, t->attach ? ATTACH : DETACH, t->values, 3, t->count, err);
    if (r >= 0 && t->attach)
        r = sql_query_ids(db, COUNT_OF_EACH, t->ids, t->count, on_count, t, err);
    return r < 0 ? (int)r : 0;
}

static int transact(struct sql *db, struct tagging *t, struct error *err)
{
    int r;

    t->values = malloc((3 * t->count + 1) * sizeof *t->values);
    t->ids = malloc((t->count + 1) * sizeof *t->ids);
    if (t->values == NULL || t->ids == NULL) {
        r = out_of_memory(err);
    } else {
        for (size_t i = 0; i < t->count; i++)
            t->ids[i] = t->droplets[i].v;
        r = sql_transact(db, tagging_body, t, err);
    }
    free(t->values);
    free(t->ids);
    return r;
}

int tags_attach(struct sql *db, account_id account, const char *name, const droplet_id *droplets,
                size_t count, struct error *err)
{
    struct tagging t = {account, name, droplets, count, .attach = true};

    return transact(db, &t, err);
}

int tags_detach(struct sql *db, account_id account, const char *name, const droplet_id *droplets,
                size_t count, struct error *err)
{
    struct tagging t = {account, name, droplets, count, .attach = false};

    return transact(db, &t, err);
}

/* ---- removing ---- */
int64_t tags_strip(struct sql *db, account_id account, const char *name, size_t most,
                   struct error *err)
{
    struct sql_value values[] = {SQL_U(account.v), SQL_T(name), SQL_U(most)};
    int64_t r = sql_exec(db, STRIP, values, ARRAY_LEN(values), err);

    return r < 0 ? error_in(err, "droplets of a tag") : r;
}

struct removal {
    account_id account;
    const char *name;
};

/* The tag first: who would put it on a droplet waits, and then finds none or makes a new one. */
static int removal_body(struct sql *db, void *ctx, struct error *err)
{
    const struct removal *t = ctx;
    struct sql_value values[] = {SQL_U(t->account.v), SQL_T(t->name)};

    int64_t r = sql_exec(db, REMOVE, values, ARRAY_LEN(values), err);
    if (r == 0)
        return error_set(err, ERR_NOT_FOUND, "no such tag");
    if (r > 0)
        r = sql_exec(db, STRIP_ALL, values, ARRAY_LEN(values), err);
    return r < 0 ? (int)r : 0;
}

int tags_remove(struct sql *db, account_id account, const char *name, struct error *err)
{
    struct removal removal = {account, name};

    return sql_transact(db, removal_body, &removal, err);
}
