#include "scheduler/store/leases.h"

#include <stdio.h>

/* At start, once a region. */
static const char LEASE_MAKE[] =
    "INSERT INTO leases (region, epoch, holder, counter) VALUES (?, 0, '', 0) "
    "ON DUPLICATE KEY UPDATE region = VALUES(region)";
/* Twice a second in every replica; a row a region. */
static const char LEASES[] = "SELECT region, epoch, counter, holder FROM leases";
/* By primary key: once when a leader died or a commit failed. */
static const char LEASE_LOCK[] = "SELECT epoch FROM leases WHERE region = ? AND epoch = ? "
                                 "AND counter = ? FOR UPDATE NOWAIT";
static const char LEASE_LOCK_OWN[] =
    "SELECT epoch FROM leases WHERE region = ? AND epoch = ? FOR UPDATE NOWAIT";
static const char LEASE_TAKE[] =
    "UPDATE leases SET epoch = epoch + 1, counter = counter + 1, holder = ? "
    "WHERE region = ? AND epoch = ?";
/* By primary key: twice a second for each region led. */
static const char LEASE_RENEW[] =
    "UPDATE leases SET counter = counter + 1 WHERE region = ? AND epoch = ?";
static const char LEASE_GIVE_BACK[] =
    "UPDATE leases SET holder = '', counter = counter + 1 WHERE region = ? AND epoch = ?";
/* By primary key: in every commit of claims. */
static const char LEASE_HOLD[] =
    "SELECT epoch FROM leases WHERE region = ? AND epoch = ? LOCK IN SHARE MODE";

int lease_make(struct sql *db, const char *region, struct error *err)
{
    struct sql_value values[] = {SQL_T(region)};
    int64_t n = sql_exec(db, LEASE_MAKE, values, ARRAY_LEN(values), err);

    return n < 0 ? (int)n : 0;
}

struct page {
    void (*on_lease)(void *ctx, const struct lease *lease);
    void *ctx;
};

static int on_row(void *ctx, const struct sql_row *row, struct error *err)
{
    struct page *page = ctx;
    struct lease lease = {.epoch = sql_row_u64(row, 1), .counter = sql_row_u64(row, 2)};

    UNUSED(err);
    snprintf(lease.region, sizeof(lease.region), "%s", sql_row_text(row, 0));
    snprintf(lease.holder, sizeof(lease.holder), "%s", sql_row_text(row, 3));
    page->on_lease(page->ctx, &lease);
    return 0;
}

int leases_load(struct sql *db, void (*on_lease)(void *ctx, const struct lease *lease), void *ctx,
                struct error *err)
{
    struct page page = {on_lease, ctx};
    int64_t n = sql_query(db, LEASES, NULL, 0, on_row, &page, err);

    return n < 0 ? (int)n : 0;
}

static int on_held(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(ctx);
    UNUSED(row);
    UNUSED(err);
    return 0;
}

struct taking {
    const char *lock; /* statement: region, epoch and, of another's lease, counter */
    size_t lock_values;
    const char *region, *holder;
    uint64_t epoch, counter;
};

static int take(struct sql *db, void *ctx, struct error *err)
{
    const struct taking *t = ctx;
    struct sql_value lock[] = {SQL_T(t->region), SQL_U(t->epoch), SQL_U(t->counter)};
    struct sql_value update[] = {SQL_T(t->holder), SQL_T(t->region), SQL_U(t->epoch)};
    int64_t n = sql_query(db, t->lock, lock, t->lock_values, on_held, NULL, err);

    if (n <= 0)
        return (int)n;
    return (int)sql_exec(db, LEASE_TAKE, update, ARRAY_LEN(update), err);
}

int lease_take(struct sql *db, const struct lease *seen, const char *holder, struct error *err)
{
    struct taking t = {.lock = LEASE_LOCK,
                       .lock_values = 3,
                       .region = seen->region,
                       .holder = holder,
                       .epoch = seen->epoch,
                       .counter = seen->counter};

    return sql_transact(db, take, &t, err);
}

int lease_retake(struct sql *db, const char *region, uint64_t epoch, const char *holder,
                 struct error *err)
{
    struct taking t = {.lock = LEASE_LOCK_OWN,
                       .lock_values = 2,
                       .region = region,
                       .holder = holder,
                       .epoch = epoch};

    return sql_transact(db, take, &t, err);
}

int lease_renew(struct sql *db, const char *region, uint64_t epoch, struct error *err)
{
    struct sql_value values[] = {SQL_T(region), SQL_U(epoch)};

    return (int)sql_exec(db, LEASE_RENEW, values, ARRAY_LEN(values), err);
}

int lease_give_back(struct sql *db, const char *region, uint64_t epoch, struct error *err)
{
    struct sql_value values[] = {SQL_T(region), SQL_U(epoch)};

    return (int)sql_exec(db, LEASE_GIVE_BACK, values, ARRAY_LEN(values), err);
}

int lease_hold(struct sql *db, const char *region, uint64_t epoch, struct error *err)
{
    struct sql_value values[] = {SQL_T(region), SQL_U(epoch)};

    return (int)sql_query(db, LEASE_HOLD, values, ARRAY_LEN(values), on_held, NULL, err);
}
