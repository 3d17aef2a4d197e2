#include "scheduler/store/hypervisors.h"

#include "lib/memory.h"

#include <inttypes.h>
#include <string.h>

#define IDS_MAX 10000 /* of sql_query_ids */

/* Once in a hypervisor's life. */
static const char HYPERVISOR_MAKE[] =
    "INSERT INTO hypervisors (id, region, status, journal_id, vcpus, memory_mib, disk_gib, "
    "created_at, seen_minute) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON DUPLICATE KEY UPDATE id = VALUES(id)";
#define MAKE_COLUMNS 9
static const char HYPERVISORS_MADE[] =
    "SELECT id, status, journal_id, vcpus, memory_mib, disk_gib, region FROM hypervisors "
    "FORCE INDEX (PRIMARY) WHERE id IN (%s)";
/* By primary key: when its capacity, its journal or an operator's mind has changed. */
static const char HYPERVISOR_UPDATE[] =
    "UPDATE hypervisors SET status = ?, journal_id = ?, vcpus = ?, memory_mib = ?, disk_gib = ?, "
    "seen_minute = ? WHERE id = ? AND region = ?";
#define UPDATE_COLUMNS 8
/* A range of region_hypervisors: when a region is taken. */
static const char HYPERVISORS_PAGE[] =
    "SELECT id, status, journal_id, vcpus, memory_mib, disk_gib FROM hypervisors "
    "FORCE INDEX (region_hypervisors) WHERE region = ? AND id > ? ORDER BY region, id LIMIT 2000";

static uint64_t minute_of(int64_t at_unix_ms)
{
    return (uint64_t)(at_unix_ms / 60000);
}

static void read_row(const struct sql_row *row, struct hypervisor *ret)
{
    uint64_t status = sql_row_u64(row, 1);
    size_t size;
    const void *journal = sql_row_bytes(row, 2, &size);

    if (status < HYPERVISOR_NEW || status > HYPERVISOR_FENCED)
        status = HYPERVISOR_DRAINED; /* of a newer version: keep what it has, place nothing more */
    *ret = (struct hypervisor){
        .id = {sql_row_u64(row, 0)},
        .status = (enum hypervisor_status)status,
        .capacity = {(uint32_t)sql_row_u64(row, 3), (uint32_t)sql_row_u64(row, 4),
                     (uint32_t)sql_row_u64(row, 5)},
    };
    if (size == sizeof(ret->journal.b))
        memcpy(ret->journal.b, journal, size);
}

struct made {
    const char *region;
    struct newcomer *newcomers;
    size_t count;
};

static int compare_newcomers(const void *a, const void *b)
{
    uint64_t x = ((const struct newcomer *)a)->hypervisor.id.v;
    uint64_t y = ((const struct newcomer *)b)->hypervisor.id.v;

    return x < y ? -1 : x > y;
}

static int on_made(void *ctx, const struct sql_row *row, struct error *err)
{
    struct made *made = ctx;
    struct newcomer key = {.hypervisor.id = {sql_row_u64(row, 0)}};
    struct newcomer *n =
        bsearch(&key, made->newcomers, made->count, sizeof(key), compare_newcomers);

    UNUSED(err);
    if (n && strcmp(sql_row_text(row, 6), made->region) == 0) {
        n->ours = true;
        read_row(row, &n->hypervisor);
    }
    return 0;
}

static int insert_newcomers(struct sql *db, const char *region, const struct newcomer *newcomers,
                            size_t count, int64_t now_unix_ms, struct error *err)
{
    struct sql_value *values = must_calloc(count * MAKE_COLUMNS, sizeof(*values));
    struct sql_value *v = values;

    for (size_t i = 0; i < count; i++) {
        const struct hypervisor *h = &newcomers[i].hypervisor;
        *v++ = SQL_U(h->id.v);
        *v++ = SQL_T(region);
        *v++ = SQL_U(h->status);
        *v++ = SQL_B(h->journal.b, sizeof(h->journal.b));
        *v++ = SQL_U(h->capacity.vcpus);
        *v++ = SQL_U(h->capacity.memory_mib);
        *v++ = SQL_U(h->capacity.disk_gib);
        *v++ = SQL_I(now_unix_ms);
        *v++ = SQL_U(minute_of(now_unix_ms));
    }
    int64_t n = sql_exec_array(db, HYPERVISOR_MAKE, values, MAKE_COLUMNS, count, err);
    free(values);
    return n < 0 ? (int)n : 0;
}

int stored_hypervisors_make(struct sql *db, const char *region, struct newcomer *newcomers,
                            size_t count, int64_t now_unix_ms, struct error *err)
{
    struct made made = {region, newcomers, count};
    uint64_t *ids = must_calloc(count, sizeof(*ids));
    int r;

    qsort(newcomers, count, sizeof(*newcomers), compare_newcomers);
    for (size_t i = 0; i < count; i++) {
        ids[i] = newcomers[i].hypervisor.id.v;
        newcomers[i].ours = false;
    }
    r = insert_newcomers(db, region, newcomers, count, now_unix_ms, err);
    for (size_t first = 0; r >= 0 && first < count; first += IDS_MAX) {
        size_t n = count - first < IDS_MAX ? count - first : IDS_MAX;
        r = (int)sql_query_ids(db, HYPERVISORS_MADE, ids + first, n, on_made, &made, err);
    }
    free(ids);
    return r < 0 ? r : 0;
}

int stored_hypervisors_update(struct sql *db, const char *region,
                              const struct hypervisor *hypervisors, size_t count,
                              int64_t now_unix_ms, struct error *err)
{
    struct sql_value *values = must_calloc(count * UPDATE_COLUMNS, sizeof(*values));
    struct sql_value *v = values;

    for (size_t i = 0; i < count; i++) {
        const struct hypervisor *h = &hypervisors[i];
        *v++ = SQL_U(h->status);
        *v++ = SQL_B(h->journal.b, sizeof(h->journal.b));
        *v++ = SQL_U(h->capacity.vcpus);
        *v++ = SQL_U(h->capacity.memory_mib);
        *v++ = SQL_U(h->capacity.disk_gib);
        *v++ = SQL_U(minute_of(now_unix_ms));
        *v++ = SQL_U(h->id.v);
        *v++ = SQL_T(region);
    }
    int64_t n = sql_exec_array(db, HYPERVISOR_UPDATE, values, UPDATE_COLUMNS, count, err);
    free(values);
    if (n >= 0 && (size_t)n != count)
        return error_set(err, ERR_INTERNAL, "%zu hypervisors to store in %s, %" PRIi64 " are there",
                         count, region, n);
    return n < 0 ? (int)n : 0;
}

struct page {
    void (*on_hypervisor)(void *ctx, const struct hypervisor *h);
    void *ctx;
};

static int on_row(void *ctx, const struct sql_row *row, struct error *err)
{
    struct page *page = ctx;
    struct hypervisor h;

    UNUSED(err);
    read_row(row, &h);
    page->on_hypervisor(page->ctx, &h);
    return 0;
}

int stored_hypervisors_load(struct sql *db, const char *region, hypervisor_id after,
                            void (*on_hypervisor)(void *ctx, const struct hypervisor *h), void *ctx,
                            struct error *err)
{
    struct page page = {on_hypervisor, ctx};
    struct sql_value values[] = {SQL_T(region), SQL_U(after.v)};

    return (int)sql_query(db, HYPERVISORS_PAGE, values, ARRAY_LEN(values), on_row, &page, err);
}
