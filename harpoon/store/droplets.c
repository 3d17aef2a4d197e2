#include "harpoon/store/droplets.h"

#include "lib/sql/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                    \
    "SELECT d.id, d.name, d.region, d.size, d.image_id, d.vcpus, d.memory_mib, d.disk_gib,"        \
    " d.status, d.event_id, d.ipv4, d.private_ipv4, d.created_at, d.body"

static const char FIND[] =
    COLUMNS " FROM droplets d WHERE d.id = ? AND d.account_id = ? AND d.deleted_at IS NULL";
static const char WAS_THERE[] = "SELECT id FROM droplets WHERE id = ? AND account_id = ?";
/* As the tag is spelled, whatever the droplet's create wrote. */
static const char TAGS[] =
    "SELECT t.droplet_id, COALESCE(n.tag, t.tag) FROM droplet_tags t FORCE INDEX (droplet_id)"
    " LEFT JOIN tags n ON n.account_id = t.account_id AND n.tag = t.tag"
    " WHERE t.droplet_id IN (%s) ORDER BY t.droplet_id, t.tag";
static const char TAGGED[] =
    "SELECT t.droplet_id FROM droplet_tags t FORCE INDEX (PRIMARY)"
    " JOIN droplets d ON d.id = t.droplet_id WHERE t.account_id = ? AND t.tag = ?"
    " AND t.droplet_id > ? AND d.deleted_at IS NULL ORDER BY t.droplet_id LIMIT ?";

#define NEIGHBORS_MAX 1000
static const char NEIGHBORS[] =
    COLUMNS " FROM droplets s JOIN droplets d FORCE INDEX (account_hypervisors)"
            " ON d.account_id = s.account_id AND d.hypervisor_id = s.hypervisor_id"
            " WHERE s.id = ? AND s.account_id = ? AND s.hypervisor_id <> 0"
            " AND d.deleted_at IS NULL AND d.id <> s.id ORDER BY d.id DESC LIMIT ?";
static const char HOMES[] =
    "SELECT id, hypervisor_id FROM droplets FORCE INDEX (account_hypervisors)"
    " WHERE account_id = ? AND hypervisor_id > 0 AND deleted_at IS NULL"
    " ORDER BY hypervisor_id, id LIMIT ?";

/* The ids of a page come from a key alone; only the page's own rows are read. The total comes from
 * the account's counter when nothing is filtered. */
struct list_statements {
    const char *count, *page;
};
#define PAGE(inside)                                                                               \
    COLUMNS " FROM (" inside " LIMIT ? OFFSET ?) p JOIN droplets d ON d.id = p.id"                 \
            " ORDER BY d.id DESC"

static const struct list_statements ALL = {
    "SELECT droplets FROM accounts WHERE id = ?",
    PAGE("SELECT id FROM droplets FORCE INDEX (account_droplets)"
         " WHERE account_id = ? AND deleted_at IS NULL ORDER BY id DESC"),
};
static const struct list_statements NAMED = {
    "SELECT COUNT(*) FROM droplets FORCE INDEX (account_names)"
    " WHERE account_id = ? AND name = ? AND deleted_at IS NULL",
    PAGE("SELECT id FROM droplets FORCE INDEX (account_names)"
         " WHERE account_id = ? AND name = ? AND deleted_at IS NULL ORDER BY id DESC"),
};
static const struct list_statements WITH_TAG = {
    "SELECT COUNT(*) FROM droplet_tags t FORCE INDEX (PRIMARY) JOIN droplets d"
    " ON d.id = t.droplet_id WHERE t.account_id = ? AND t.tag = ? AND d.deleted_at IS NULL",
    PAGE("SELECT d.id FROM droplet_tags t FORCE INDEX (PRIMARY) JOIN droplets d"
         " ON d.id = t.droplet_id WHERE t.account_id = ? AND t.tag = ?"
         " AND d.deleted_at IS NULL ORDER BY t.droplet_id DESC"),
};
static const struct list_statements NAMED_WITH_TAG = {
    "SELECT COUNT(*) FROM droplet_tags t FORCE INDEX (PRIMARY) JOIN droplets d"
    " ON d.id = t.droplet_id WHERE t.account_id = ? AND t.tag = ? AND d.name = ?"
    " AND d.deleted_at IS NULL",
    PAGE("SELECT d.id FROM droplet_tags t FORCE INDEX (PRIMARY) JOIN droplets d"
         " ON d.id = t.droplet_id WHERE t.account_id = ? AND t.tag = ? AND d.name = ?"
         " AND d.deleted_at IS NULL ORDER BY t.droplet_id DESC"),
};

static int on_droplet(void *ctx, const struct sql_row *row, struct error *err)
{
    struct droplet_list *list = ctx;
    struct droplet_record *grown =
        realloc(list->records, (list->count + 1) * sizeof *list->records);

    if (grown == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    list->records = grown;
    struct droplet_record *d = &grown[list->count++];
    *d = (struct droplet_record){
        .id.v = sql_row_u64(row, 0),
        .image_id = sql_row_u64(row, 4),
        .vcpus = (uint32_t)sql_row_u64(row, 5),
        .memory_mib = (uint32_t)sql_row_u64(row, 6),
        .disk_gib = (uint32_t)sql_row_u64(row, 7),
        .status = (enum droplet_status)sql_row_u64(row, 8),
        .event.v = sql_row_u64(row, 9),
        .ipv4 = (uint32_t)sql_row_u64(row, 10),
        .private_ipv4 = (uint32_t)sql_row_u64(row, 11),
        .created_ms = sql_row_i64(row, 12),
    };
    (void)snprintf(d->name, sizeof d->name, "%s", sql_row_text(row, 1));
    (void)snprintf(d->region, sizeof d->region, "%s", sql_row_text(row, 2));
    (void)snprintf(d->size, sizeof d->size, "%s", sql_row_text(row, 3));
    (void)snprintf(d->body, sizeof d->body, "%s", sql_row_text(row, 13));
    return 0;
}

static int on_tag(void *ctx, const struct sql_row *row, struct error *err)
{
    struct droplet_list *list = ctx;
    uint64_t id = sql_row_u64(row, 0);

    for (size_t i = 0; i < list->count; i++) {
        struct droplet_record *d = &list->records[i];
        if (d->id.v != id)
            continue;
        char **grown = realloc(d->tags, (d->tag_count + 1) * sizeof *d->tags);
        char *tag = strdup(sql_row_text(row, 1));
        if (grown != NULL)
            d->tags = grown;
        if (grown == NULL || tag == NULL) {
            free(tag);
            return error_set(err, ERR_INTERNAL, "out of memory");
        }
        d->tags[d->tag_count++] = tag;
    }
    return 0;
}

static int read_tags(struct sql *db, struct droplet_list *list, struct error *err)
{
    uint64_t ids[NEIGHBORS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < list->count && n < ARRAY_LEN(ids); i++)
        ids[n++] = list->records[i].id.v;
    if (n == 0)
        return 0;
    int64_t r = sql_query_ids(db, TAGS, ids, n, on_tag, list, err);
    return r < 0 ? (int)r : 0;
}

/* The columns hold ASCII: the database refuses to compare them with anything else. */
static bool is_ascii(const char *text)
{
    for (; text != NULL && *text != 0; text++)
        if ((unsigned char)*text > 0x7E)
            return false;
    return true;
}

static int on_total(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(uint64_t *)ctx = sql_row_u64(row, 0);
    return 0;
}

static int read_list(struct sql *db, const struct droplet_filter *f, struct droplet_list *ret,
                     struct error *err)
{
    struct sql_value values[5] = {SQL_U(f->account.v)};
    const struct list_statements *s = &ALL;
    size_t n = 1;

    if (f->tag != NULL)
        values[n++] = SQL_T(f->tag);
    if (f->name != NULL)
        values[n++] = SQL_T(f->name);
    if (f->tag != NULL)
        s = f->name != NULL ? &NAMED_WITH_TAG : &WITH_TAG;
    else if (f->name != NULL)
        s = &NAMED;
    int64_t r = sql_query(db, s->count, values, n, on_total, &ret->total, err);
    if (r < 0 || f->offset >= ret->total)
        return r < 0 ? (int)r : 0;
    values[n++] = SQL_U(f->limit);
    values[n++] = SQL_U(f->offset);
    r = sql_query(db, s->page, values, n, on_droplet, ret, err);
    return r < 0 ? (int)r : read_tags(db, ret, err);
}

int droplets_list(struct sql *db, const struct droplet_filter *filter, struct droplet_list *ret,
                  struct error *err)
{
    struct droplet_list list = {0};
    bool possible = is_ascii(filter->tag) && is_ascii(filter->name);
    int r = possible ? read_list(db, filter, &list, err) : 0;

    if (r < 0) {
        droplet_list_clear(&list);
        return error_in(err, "droplets");
    }
    *ret = list;
    return 0;
}

int droplets_find(struct sql *db, account_id account, droplet_id id, struct droplet_list *ret,
                  struct error *err)
{
    struct droplet_list list = {0};
    struct sql_value values[] = {SQL_U(id.v), SQL_U(account.v)};

    int64_t r = sql_query(db, FIND, values, ARRAY_LEN(values), on_droplet, &list, err);
    if (r == 0)
        r = error_set(err, ERR_NOT_FOUND, "no such droplet");
    if (r > 0)
        r = read_tags(db, &list, err);
    if (r < 0) {
        droplet_list_clear(&list);
        return (int)r;
    }
    list.total = 1;
    *ret = list;
    return 0;
}

int droplets_neighbors(struct sql *db, account_id account, droplet_id id, struct droplet_list *ret,
                       struct error *err)
{
    struct droplet_list list = {0};
    struct sql_value values[] = {SQL_U(id.v), SQL_U(account.v), SQL_U(NEIGHBORS_MAX)};

    int64_t r = sql_query(db, NEIGHBORS, values, ARRAY_LEN(values), on_droplet, &list, err);
    if (r > 0)
        r = read_tags(db, &list, err);
    if (r < 0) {
        droplet_list_clear(&list);
        return error_in(err, "neighbors");
    }
    list.total = list.count;
    *ret = list;
    return 0;
}

struct homes {
    struct droplet_home *items;
    size_t count, room;
};

static int on_home(void *ctx, const struct sql_row *row, struct error *err)
{
    struct homes *p = ctx;

    if (p->count == p->room) {
        size_t room = 2 * p->room + 64;
        struct droplet_home *grown = realloc(p->items, room * sizeof *grown);
        if (grown == NULL)
            return error_set(err, ERR_INTERNAL, "out of memory");
        p->items = grown;
        p->room = room;
    }
    p->items[p->count++] = (struct droplet_home){
        .droplet.v = sql_row_u64(row, 0),
        .hypervisor.v = sql_row_u64(row, 1),
    };
    return 0;
}

int64_t droplets_homes(struct sql *db, account_id account, size_t most, struct droplet_home **ret,
                       struct error *err)
{
    struct homes p = {0};
    struct sql_value values[] = {SQL_U(account.v), SQL_U(most + 1)};

    int64_t r = sql_query(db, HOMES, values, ARRAY_LEN(values), on_home, &p, err);
    if (r >= 0 && p.count > most)
        r = error_set(err, ERR_INVALID, "There are more than %zu Droplets.", most);
    if (r < 0) {
        free(p.items);
        return r;
    }
    *ret = p.items;
    return (int64_t)p.count;
}

int droplets_was_there(struct sql *db, account_id account, droplet_id id, struct error *err)
{
    uint64_t found = 0;
    struct sql_value values[] = {SQL_U(id.v), SQL_U(account.v)};
    int64_t r = sql_query(db, WAS_THERE, values, ARRAY_LEN(values), on_total, &found, err);

    return r < 0 ? (int)r : found != 0;
}

void droplet_list_clear(struct droplet_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t t = 0; t < list->records[i].tag_count; t++)
            free(list->records[i].tags[t]);
        free(list->records[i].tags);
    }
    free(list->records);
    *list = (struct droplet_list){0};
}

struct tagged {
    droplet_id *ids;
    size_t count, max;
};

static int on_tagged(void *ctx, const struct sql_row *row, struct error *err)
{
    struct tagged *t = ctx;

    UNUSED(err);
    if (t->count < t->max)
        t->ids[t->count++].v = sql_row_u64(row, 0);
    return 0;
}

int64_t droplets_tagged(struct sql *db, account_id account, const char *tag, droplet_id after,
                        droplet_id *ret, size_t max, struct error *err)
{
    struct tagged t = {.ids = ret, .max = max};
    struct sql_value values[] = {SQL_U(account.v), SQL_T(tag), SQL_U(after.v), SQL_U(max)};

    if (!is_ascii(tag))
        return 0;
    int64_t r = sql_query(db, TAGGED, values, ARRAY_LEN(values), on_tagged, &t, err);
    return r < 0 ? error_in(err, "droplets with a tag") : (int64_t)t.count;
}
