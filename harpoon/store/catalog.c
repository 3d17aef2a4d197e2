#include "harpoon/store/catalog.h"

#include "lib/clock.h"
#include "lib/sql/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGES_MAX 100000 /* more than that would not be a catalogue */

static const char INSTALLATION[] = "SELECT id, writer_epoch FROM installation";
static const char REGIONS[] = "SELECT slug, name, available, features FROM regions ORDER BY slug";
static const char SIZES[] =
    "SELECT slug, description, vcpus, memory_mib, disk_gib, CAST(transfer_tb AS CHAR),"
    " CAST(price_monthly AS CHAR), CAST(price_hourly AS CHAR), available"
    " FROM sizes ORDER BY price_monthly, slug";
static const char IMAGES[] =
    "SELECT id, account_id, slug, name, distribution, type, min_disk_gib,"
    " CAST(size_gigabytes AS CHAR), description, url, sha256, created_at, deleted_at"
    " FROM images ORDER BY id LIMIT 100000";

struct loading {
    struct catalog *catalog;
    size_t capacity;
};

/* Room for one more in an array; NULL: no memory. The new one is zeroed. */
static void *append(void **array, size_t *count, size_t *capacity, size_t size)
{
    if (*count == *capacity) {
        size_t more = *capacity == 0 ? 16 : *capacity * 2;
        void *grown = realloc(*array, more * size);
        if (grown == NULL)
            return NULL;
        *array = grown;
        *capacity = more;
    }
    void *slot = (char *)*array + (*count)++ * size;
    memset(slot, 0, size);
    return slot;
}

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, "out of memory");
}

static char *take_text(const struct sql_row *row, size_t column)
{
    return strdup(sql_row_text(row, column));
}

static int on_installation(void *ctx, const struct sql_row *row, struct error *err)
{
    struct catalog *c = ctx;

    c->writer_epoch = sql_row_u64(row, 1);
    return uuid_parse(sql_row_text(row, 0), &c->installation, err);
}

static int on_region(void *ctx, const struct sql_row *row, struct error *err)
{
    struct loading *l = ctx;
    struct region *r =
        append((void **)&l->catalog->regions, &l->catalog->region_count, &l->capacity, sizeof *r);

    if (r == NULL)
        return no_memory(err);
    (void)snprintf(r->slug, sizeof r->slug, "%s", sql_row_text(row, 0));
    r->name = take_text(row, 1);
    r->available = sql_row_u64(row, 2) != 0;
    r->features = take_text(row, 3);
    return r->name != NULL && r->features != NULL ? 0 : no_memory(err);
}

static int on_size(void *ctx, const struct sql_row *row, struct error *err)
{
    struct loading *l = ctx;
    struct size *s =
        append((void **)&l->catalog->sizes, &l->catalog->size_count, &l->capacity, sizeof *s);

    if (s == NULL)
        return no_memory(err);
    (void)snprintf(s->slug, sizeof s->slug, "%s", sql_row_text(row, 0));
    s->description = take_text(row, 1);
    s->vcpus = (uint32_t)sql_row_u64(row, 2);
    s->memory_mib = (uint32_t)sql_row_u64(row, 3);
    s->disk_gib = (uint32_t)sql_row_u64(row, 4);
    s->transfer_tb = strtod(sql_row_text(row, 5), NULL);
    s->price_monthly = strtod(sql_row_text(row, 6), NULL);
    s->price_hourly = strtod(sql_row_text(row, 7), NULL);
    s->available = sql_row_u64(row, 8) != 0;
    return s->description != NULL ? 0 : no_memory(err);
}

static int on_image(void *ctx, const struct sql_row *row, struct error *err)
{
    struct loading *l = ctx;
    struct image *i =
        append((void **)&l->catalog->images, &l->catalog->image_count, &l->capacity, sizeof *i);

    if (i == NULL)
        return no_memory(err);
    i->id = sql_row_u64(row, 0);
    i->account.v = sql_row_u64(row, 1);
    (void)snprintf(i->slug, sizeof i->slug, "%s", sql_row_text(row, 2));
    i->name = take_text(row, 3);
    i->distribution = take_text(row, 4);
    (void)snprintf(i->type, sizeof i->type, "%s", sql_row_text(row, 5));
    i->min_disk_gib = (uint32_t)sql_row_u64(row, 6);
    i->size_gigabytes = strtod(sql_row_text(row, 7), NULL);
    i->description = take_text(row, 8);
    i->url = take_text(row, 9);
    i->sha256 = take_text(row, 10);
    i->created_at_ms = sql_row_i64(row, 11);
    i->deleted = !sql_row_is_null(row, 12);
    if (i->name == NULL || i->distribution == NULL || i->description == NULL || i->url == NULL ||
        i->sha256 == NULL)
        return no_memory(err);
    return 0;
}

static int load_lists(struct sql *db, struct catalog *c, struct error *err)
{
    static const struct {
        const char *statement;
        sql_row_fn on_row;
    } lists[] = {{REGIONS, on_region}, {SIZES, on_size}, {IMAGES, on_image}};

    int64_t n = sql_query(db, INSTALLATION, NULL, 0, on_installation, c, err);
    if (n < 0)
        return (int)n;
    if (n != 1)
        return error_set(err, ERR_NOT_FOUND, "the schema holds no installation; run migrate");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct loading l = {.catalog = c};
        n = sql_query(db, lists[i].statement, NULL, 0, lists[i].on_row, &l, err);
        if (n < 0)
            return (int)n;
    }
    if (c->image_count == IMAGES_MAX)
        return error_set(err, ERR_INTERNAL, "more than %d images", IMAGES_MAX);
    return 0;
}

int catalog_load(struct sql *db, struct catalog **ret, struct error *err)
{
    struct catalog *c = calloc(1, sizeof *c);

    if (c == NULL)
        return no_memory(err);
    c->references = 1;
    int r = load_lists(db, c, err);
    if (r < 0) {
        catalog_unref(c);
        return error_in(err, "catalogue");
    }
    c->loaded_mono_ms = mono_ms();
    *ret = c;
    return 0;
}

struct catalog *catalog_ref(struct catalog *c)
{
    __atomic_add_fetch(&c->references, 1, __ATOMIC_RELAXED);
    return c;
}

void catalog_unref(struct catalog *c)
{
    if (c == NULL || __atomic_sub_fetch(&c->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < c->region_count; i++) {
        free(c->regions[i].name);
        free(c->regions[i].features);
    }
    for (size_t i = 0; i < c->size_count; i++)
        free(c->sizes[i].description);
    for (size_t i = 0; i < c->image_count; i++) {
        free(c->images[i].name);
        free(c->images[i].distribution);
        free(c->images[i].description);
        free(c->images[i].url);
        free(c->images[i].sha256);
    }
    free(c->regions);
    free(c->sizes);
    free(c->images);
    free(c);
}

const struct region *catalog_find_region(const struct catalog *c, const char *slug)
{
    for (size_t i = 0; i < c->region_count; i++)
        if (strcmp(c->regions[i].slug, slug) == 0)
            return &c->regions[i];
    return NULL;
}

const struct size *catalog_find_size(const struct catalog *c, const char *slug)
{
    for (size_t i = 0; i < c->size_count; i++)
        if (strcmp(c->sizes[i].slug, slug) == 0)
            return &c->sizes[i];
    return NULL;
}

bool image_is_visible(const struct image *image, account_id account)
{
    return !image->deleted && (image->account.v == 0 || image->account.v == account.v);
}

const struct image *catalog_find_any_image(const struct catalog *c, uint64_t id)
{
    size_t low = 0, high = c->image_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->images[middle].id == id)
            return &c->images[middle];
        if (c->images[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct image *catalog_find_image(const struct catalog *c, account_id account, uint64_t id)
{
    const struct image *i = catalog_find_any_image(c, id);
    return i != NULL && image_is_visible(i, account) ? i : NULL;
}

const struct image *catalog_find_image_slug(const struct catalog *c, account_id account,
                                            const char *slug)
{
    for (size_t i = 0; i < c->image_count && *slug != 0; i++)
        if (strcmp(c->images[i].slug, slug) == 0 && image_is_visible(&c->images[i], account))
            return &c->images[i];
    return NULL;
}

const struct region *catalog_choose_region(const struct catalog *c, const char *prefix,
                                           uint64_t random)
{
    size_t len = strlen(prefix), fitting = 0;
    const struct region *exact = catalog_find_region(c, prefix);

    if (exact != NULL)
        return exact;
    for (size_t i = 0; i < c->region_count; i++)
        fitting += c->regions[i].available && strncmp(c->regions[i].slug, prefix, len) == 0;
    if (fitting == 0)
        return NULL;
    size_t chosen = (size_t)(random % fitting);
    for (size_t i = 0; i < c->region_count; i++) {
        if (!c->regions[i].available || strncmp(c->regions[i].slug, prefix, len) != 0)
            continue;
        if (chosen-- == 0)
            return &c->regions[i];
    }
    return NULL;
}
