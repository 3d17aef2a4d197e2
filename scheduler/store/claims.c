#include "scheduler/store/claims.h"

#include "lib/memory.h"

#include <inttypes.h>

/* By primary key, a batch at a time: once for each claim that ends. */
static const char CLAIM_DELETE[] =
    "DELETE FROM claims WHERE region = ? AND event_id = ? AND attempt = ?";
/* A batch at a time: once for each droplet made. */
static const char CLAIM_INSERT[] =
    "INSERT INTO claims (region, event_id, attempt, droplet_id, hypervisor_id, vcpus, memory_mib, "
    "disk_gib, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
#define INSERT_COLUMNS 9
/* A range of the primary key: when a region is taken. Pages are short enough (some 20 ms) for
 * leases to be renewed between them. */
static const char CLAIMS_PAGE[] =
    "SELECT event_id, attempt, droplet_id, hypervisor_id, vcpus, memory_mib, disk_gib, at "
    "FROM claims FORCE INDEX (PRIMARY) WHERE region = ? AND event_id >= ? "
    "AND (event_id > ? OR attempt > ?) ORDER BY region, event_id, attempt LIMIT 5000";

int stored_claims_delete(struct sql *db, const char *region, const struct claim *claims,
                         size_t count, struct error *err)
{
    struct sql_value *values = must_calloc(count * 3, sizeof(*values));
    struct sql_value *v = values;

    for (size_t i = 0; i < count; i++) {
        *v++ = SQL_T(region);
        *v++ = SQL_U(claims[i].event.v);
        *v++ = SQL_U(claims[i].attempt);
    }
    int64_t n = sql_exec_array(db, CLAIM_DELETE, values, 3, count, err);
    free(values);
    if (n >= 0 && (size_t)n != count)
        return error_set(err, ERR_INTERNAL, "%zu claims to release in %s, %" PRIi64 " are stored",
                         count, region, n);
    return n < 0 ? (int)n : 0;
}

int stored_claims_insert(struct sql *db, const char *region, const struct claim *claims,
                         size_t count, struct error *err)
{
    struct sql_value *values = must_calloc(count * INSERT_COLUMNS, sizeof(*values));
    struct sql_value *v = values;

    for (size_t i = 0; i < count; i++) {
        *v++ = SQL_T(region);
        *v++ = SQL_U(claims[i].event.v);
        *v++ = SQL_U(claims[i].attempt);
        *v++ = SQL_U(claims[i].droplet.v);
        *v++ = SQL_U(claims[i].hypervisor.v);
        *v++ = SQL_U(claims[i].size.vcpus);
        *v++ = SQL_U(claims[i].size.memory_mib);
        *v++ = SQL_U(claims[i].size.disk_gib);
        *v++ = SQL_I(claims[i].at_unix_ms);
    }
    int64_t n = sql_exec_array(db, CLAIM_INSERT, values, INSERT_COLUMNS, count, err);
    free(values);
    if (n >= 0 && (size_t)n != count)
        return error_set(err, ERR_INTERNAL, "%zu claims to store in %s, %" PRIi64 " were", count,
                         region, n);
    return n < 0 ? (int)n : 0;
}

struct page {
    void (*on_claim)(void *ctx, const struct claim *claim);
    void *ctx;
};

static int on_row(void *ctx, const struct sql_row *row, struct error *err)
{
    struct page *page = ctx;
    struct claim claim = {
        .event = {sql_row_u64(row, 0)},
        .attempt = (uint32_t)sql_row_u64(row, 1),
        .droplet = {sql_row_u64(row, 2)},
        .hypervisor = {sql_row_u64(row, 3)},
        .size = {(uint32_t)sql_row_u64(row, 4), (uint32_t)sql_row_u64(row, 5),
                 (uint32_t)sql_row_u64(row, 6)},
        .at_unix_ms = sql_row_i64(row, 7),
    };

    UNUSED(err);
    page->on_claim(page->ctx, &claim);
    return 0;
}

int stored_claims_load(struct sql *db, const char *region, event_id after, uint32_t after_attempt,
                       void (*on_claim)(void *ctx, const struct claim *claim), void *ctx,
                       struct error *err)
{
    struct page page = {on_claim, ctx};
    struct sql_value values[] = {SQL_T(region), SQL_U(after.v), SQL_U(after.v),
                                 SQL_U(after_attempt)};

    return (int)sql_query(db, CLAIMS_PAGE, values, ARRAY_LEN(values), on_row, &page, err);
}
