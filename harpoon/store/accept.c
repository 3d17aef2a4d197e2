#include "harpoon/store/accept.h"

#include "harpoon/droplet.h"
#include "harpoon/event.h"
#include "harpoon/store/accept_params.h"
#include "harpoon/store/accept_tags.h"
#include "lib/sql/sql.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TRANSACTION_DROPLETS 1024       /* in one transaction at most, and */
#define TRANSACTION_BYTES    (4u << 20) /* so many bytes of params, or one request */
#define ANSWER_BYTES         4096       /* of a droplet in a stored answer, about, and */
#define TAG_BYTES            256        /* of each of its tags */
#define LIMIT_TRIES          4
#define NUMBER_TRIES         4

static const char NOW[] = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
static const char INSERT_DROPLET[] =
    "INSERT INTO droplets (id, account_id, name, region, size, image_id, vcpus, memory_mib,"
    " disk_gib, status, event_id, ipv4, private_ipv4, created_at, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
#define DROPLET_COLUMNS 15
static const char INSERT_EVENT[] =
    "INSERT INTO events (id, droplet_id, account_id, type, region, state, attempt, check_at,"
    " deadline, created_at, params) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
#define EVENT_COLUMNS 11
static const char READ_ACCOUNTS[] =
    "SELECT id, droplets, droplet_limit FROM accounts FORCE INDEX (PRIMARY) WHERE id IN (%s)";
static const char LOCK_ACCOUNTS[] = "SELECT id, droplets, droplet_limit FROM accounts"
                                    " FORCE INDEX (PRIMARY) WHERE id IN (%s) FOR UPDATE";
/* Last, so that the row of a busy account is locked for the commit only. */
static const char COUNT_ACCOUNT[] = "UPDATE accounts SET droplets = droplets + ? WHERE id = ?"
                                    " AND (droplet_limit = 0 OR droplets + ? <= droplet_limit)";
static const char IS_STORED[] = "SELECT id FROM droplets WHERE id = ?";

/* One account in a transaction. */
struct counted {
    uint64_t id;
    uint64_t added;    /* droplets that this transaction gives it */
    uint64_t droplets; /* as it was read */
    uint64_t limit;    /* 0: none */
    bool read;
    bool limited; /* it must be read first */
};

/* One transaction's worth of requests. */
struct chunk {
    const struct accept_env *env;
    struct accept_request *const *requests;
    size_t count;
    size_t droplets, tags;    /* in all */
    struct counted *accounts; /* by id */
    size_t account_count;
    bool strict;    /* a counter moved or a key was taken meanwhile: look first, and lock */
    bool completed; /* the body came to its end: only the commit was left */
    bool collided;  /* a number is somebody else's already */
};

/* ---- what the rows say ---- */
static int pack_droplets(struct chunk *c, int64_t now_ms, struct error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        struct accept_request *r = c->requests[i];
        r->created_ms = now_ms;
        r->deadline_ms = now_ms + c->env->create_deadline_ms;
        for (size_t k = 0; k < r->count; k++) {
            struct accept_droplet *d = &r->droplets[k];
            if (d->params != NULL)
                continue; /* an earlier try */
            int e =
                accept_params_pack(r, d, &c->env->installation, &d->params, &d->params_size, err);
            if (e < 0)
                return e;
        }
        if (r->key != NULL && r->answer == NULL)
            r->answer = r->make_answer(r->ctx);
        if (r->key != NULL && r->answer == NULL)
            return error_set(err, ERR_INTERNAL, "out of memory");
    }
    return 0;
}

static void droplet_row(const struct accept_request *r, const struct accept_droplet *d,
                        struct sql_value v[DROPLET_COLUMNS])
{
    const struct sql_value row[DROPLET_COLUMNS] = {
        SQL_U(d->id.v),         SQL_U(r->account.v),        SQL_T(d->name),
        SQL_T(r->region->slug), SQL_T(r->size->slug),       SQL_U(r->image->id),
        SQL_U(r->size->vcpus),  SQL_U(r->size->memory_mib), SQL_U(r->size->disk_gib),
        SQL_U(DROPLET_NEW),     SQL_U(d->event.v),          SQL_U(d->public_ipv4),
        SQL_U(d->private_ipv4), SQL_I(r->created_ms),       SQL_T(r->body),
    };
    memcpy(v, row, sizeof row);
}

static void event_row(const struct accept_request *r, const struct accept_droplet *d,
                      struct sql_value v[EVENT_COLUMNS])
{
    int64_t margin_ms = event_policy_get(EVENT_CREATE)->pending_margin_ms;
    const struct sql_value row[EVENT_COLUMNS] = {
        SQL_U(d->event.v),
        SQL_U(d->id.v),
        SQL_U(r->account.v),
        SQL_U(EVENT_CREATE),
        SQL_T(r->region->slug),
        SQL_U(EVENT_PENDING),
        SQL_U(1),
        SQL_I(r->created_ms + margin_ms),
        SQL_I(r->deadline_ms),
        SQL_I(r->created_ms),
        SQL_B(d->params, d->params_size),
    };
    memcpy(v, row, sizeof row);
}

/* Fills the three tables' values of all admitted requests; returns the droplets there are. */
static size_t fill_rows(const struct chunk *c, struct sql_value *droplets, struct sql_value *events,
                        struct sql_value *tags, size_t *ret_tags)
{
    size_t n = 0, t = 0;

    for (size_t i = 0; i < c->count; i++) {
        const struct accept_request *r = c->requests[i];
        for (size_t k = 0; k < r->count && r->result == 0; k++, n++) {
            const struct accept_droplet *d = &r->droplets[k];
            droplet_row(r, d, droplets + n * DROPLET_COLUMNS);
            event_row(r, d, events + n * EVENT_COLUMNS);
            for (size_t j = 0; j < r->tag_count; j++, t++) {
                tags[t * ACCEPT_TAG_COLUMNS] = SQL_U(r->account.v);
                tags[t * ACCEPT_TAG_COLUMNS + 1] = SQL_T(r->tags[j]);
                tags[t * ACCEPT_TAG_COLUMNS + 2] = SQL_U(d->id.v);
            }
        }
    }
    *ret_tags = t;
    return n;
}

static int insert_rows(struct sql *db, struct chunk *c, struct error *err)
{
    size_t columns = c->droplets * (DROPLET_COLUMNS + EVENT_COLUMNS) + c->tags * ACCEPT_TAG_COLUMNS;
    struct sql_value *values = malloc(columns * sizeof *values);
    size_t tags = 0;

    if (values == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    struct sql_value *events = values + c->droplets * DROPLET_COLUMNS;
    struct sql_value *tag_values = events + c->droplets * EVENT_COLUMNS;
    size_t n = fill_rows(c, values, events, tag_values, &tags);
    int64_t r = sql_exec_array(db, INSERT_DROPLET, values, DROPLET_COLUMNS, n, err);
    if (r >= 0)
        r = accept_tags_insert(db, tag_values, tags, err);
    if (r >= 0)
        r = sql_exec_array(db, INSERT_EVENT, events, EVENT_COLUMNS, n, err);
    free(values);
    if (r == ERR_CONFLICT) { /* numbers that somebody else has: never ours to hand out */
        c->collided = true;
        return error_set(err, ERR_INTERNAL, "accepting: %s", err->message);
    }
    return r < 0 ? (int)r : 0;
}

/* ---- keys ---- */
static int find_used(struct sql *db, struct chunk *c, struct error *err)
{
    int r = 0;

    for (size_t i = 0; i < c->count && c->strict && r >= 0; i++) {
        if (c->requests[i]->key == NULL)
            continue;
        r = idempotency_exists(db, c->requests[i]->key, err);
        c->requests[i]->used = r > 0;
    }
    return r < 0 ? r : 0;
}

/* ERR_CONFLICT: somebody else was faster, look again. */
static int insert_answers(struct sql *db, const struct chunk *c, struct error *err)
{
    struct idempotency_row rows[TRANSACTION_DROPLETS];
    size_t n = 0;

    for (size_t i = 0; i < c->count; i++) {
        const struct accept_request *r = c->requests[i];
        if (r->key != NULL && r->result == 0)
            rows[n++] = (struct idempotency_row){r->key, ACCEPT_STATUS, r->answer};
    }
    return n > 0 ? idempotency_insert(db, rows, n, err) : 0;
}

/* ---- limits of accounts ---- */
static struct counted *find_account(struct chunk *c, uint64_t id)
{
    for (size_t i = 0; i < c->account_count; i++)
        if (c->accounts[i].id == id)
            return &c->accounts[i];
    return NULL;
}

static int compare_accounts(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int on_account(void *ctx, const struct sql_row *row, struct error *err)
{
    struct counted *a = find_account(ctx, sql_row_u64(row, 0));

    UNUSED(err);
    if (a == NULL)
        return 0;
    a->read = true;
    a->droplets = sql_row_u64(row, 1);
    a->limit = sql_row_u64(row, 2);
    return 0;
}

static int read_accounts(struct sql *db, struct chunk *c, struct error *err)
{
    uint64_t ids[TRANSACTION_DROPLETS];
    size_t n = 0;

    for (size_t i = 0; i < c->account_count; i++) {
        c->accounts[i].added = 0;
        c->accounts[i].read = false;
        if (c->strict || c->accounts[i].limited)
            ids[n++] = c->accounts[i].id;
    }
    if (n == 0)
        return 0;
    int64_t r =
        sql_query_ids(db, c->strict ? LOCK_ACCOUNTS : READ_ACCOUNTS, ids, n, on_account, c, err);
    return r < 0 ? (int)r : 0;
}

/* Decides in the order of arrival who still fits. */
static void admit(struct chunk *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct accept_request *r = c->requests[i];
        struct counted *a = find_account(c, r->account.v);
        bool asked = c->strict || a->limited;
        r->result = 0;
        if (r->used)
            r->result = error_set(&r->err, ERR_CONFLICT, "the key was used meanwhile");
        else if (asked && !a->read)
            r->result = error_set(&r->err, ERR_INVALID, "The account does not exist any more.");
        else if (asked && a->limit != 0 && a->droplets + a->added + r->count > a->limit)
            r->result = error_set(&r->err, ERR_NO_CAPACITY,
                                  "creating this/these droplet(s) will exceed your droplet limit"
                                  " (%" PRIu64 " of %" PRIu64 " in use)",
                                  a->droplets + a->added, a->limit);
        else
            a->added += r->count;
    }
}

/* ERR_CONFLICT: somebody else was faster, look again. */
static int count_accounts(struct sql *db, const struct chunk *c, struct error *err)
{
    struct sql_value values[TRANSACTION_DROPLETS * 3];
    size_t n = 0;

    for (size_t i = 0; i < c->account_count; i++) {
        const struct counted *a = &c->accounts[i];
        if (a->added == 0)
            continue;
        values[3 * n] = SQL_U(a->added);
        values[3 * n + 1] = SQL_U(a->id);
        values[3 * n + 2] = SQL_U(a->added);
        n++;
    }
    int64_t matched = sql_exec_array(db, COUNT_ACCOUNT, values, 3, n, err);
    if (matched < 0)
        return (int)matched;
    if ((size_t)matched != n)
        return error_set(err, ERR_CONFLICT, "an account's counter moved");
    return 0;
}

/* ---- the transaction ---- */
static int accept_body(struct sql *db, void *ctx, struct error *err)
{
    struct chunk *c = ctx;

    c->completed = false;
    int r = read_accounts(db, c, err);
    if (r < 0)
        return r;
    r = find_used(db, c, err);
    if (r < 0)
        return r;
    admit(c);
    r = insert_answers(db, c, err);
    if (r >= 0)
        r = insert_rows(db, c, err);
    if (r >= 0)
        r = count_accounts(db, c, err);
    c->completed = r >= 0;
    return r;
}

static int on_now(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(int64_t *)ctx = sql_row_i64(row, 0);
    return 0;
}

static int on_stored(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(row);
    UNUSED(err);
    *(bool *)ctx = true;
    return 0;
}

/* The connection went with the COMMIT on its way. Any row of it tells of all. */
static bool is_stored(struct sql *db, const struct chunk *c)
{
    struct error ignored;
    bool found = false;

    for (size_t i = 0; i < c->count && !found; i++) {
        struct sql_value id = SQL_U(c->requests[i]->droplets[0].id.v);
        if (c->requests[i]->result != 0)
            continue;
        return sql_query(db, IS_STORED, &id, 1, on_stored, &found, &ignored) > 0 && found;
    }
    return false;
}

static int store_chunk(struct sql *db, struct chunk *c, struct error *err)
{
    int64_t now_ms = 0;

    int64_t n = sql_query(db, NOW, NULL, 0, on_now, &now_ms, err);
    if (n < 0)
        return (int)n;
    int r = pack_droplets(c, now_ms, err);
    if (r < 0)
        return r;
    for (int i = 0; i < LIMIT_TRIES; i++) {
        r = sql_transact(db, accept_body, c, err);
        if (r != ERR_CONFLICT)
            break;
        c->strict = true;
    }
    if (r == ERR_CONFLICT)
        r = error_set(err, ERR_BUSY, "the account's droplets change too fast");
    if (r == ERR_UNAVAILABLE && c->completed && is_stored(db, c))
        r = 0;
    return r;
}

/* ---- what must be there before ---- */
static void put_back(const struct accept_env *env, struct accept_request *r)
{
    for (size_t k = 0; k < r->count; k++) {
        struct accept_droplet *d = &r->droplets[k];
        addresses_put_back(env->addresses, r->region->slug, ADDRESS_PUBLIC, d->public_ipv4);
        addresses_put_back(env->addresses, r->region->slug, ADDRESS_PRIVATE, d->private_ipv4);
        d->public_ipv4 = d->private_ipv4 = 0;
    }
}

static int reserve_numbers(struct sql *db, const struct accept_env *env, struct accept_request *r)
{
    const char *region = r->region->slug;

    int e = addresses_reserve(env->addresses, db, region, ADDRESS_PUBLIC, r->count, &r->err);
    if (e >= 0)
        e = addresses_reserve(env->addresses, db, region, ADDRESS_PRIVATE, r->count, &r->err);
    if (e >= 0)
        e = ids_reserve(env->droplet_ids, db, r->count, &r->err);
    if (e >= 0)
        e = ids_reserve(env->event_ids, db, r->count, &r->err);
    return e;
}

/* ERR_BUSY: others that share the blocks were faster than the reservation. */
static int take_reserved(const struct accept_env *env, struct accept_request *r)
{
    uint64_t droplets[ACCEPT_NAMES_MAX], events[ACCEPT_NAMES_MAX];
    const char *region = r->region->slug;
    bool whole = true;

    int e = ids_take(env->droplet_ids, r->count, droplets, &r->err);
    if (e >= 0)
        e = ids_take(env->event_ids, r->count, events, &r->err);
    if (e < 0)
        return e;
    for (size_t k = 0; k < r->count; k++) {
        struct accept_droplet *d = &r->droplets[k];
        d->id.v = droplets[k];
        d->event.v = events[k];
        d->public_ipv4 = addresses_take(env->addresses, region, ADDRESS_PUBLIC);
        d->private_ipv4 = addresses_take(env->addresses, region, ADDRESS_PRIVATE);
        whole = whole && d->public_ipv4 != 0 && d->private_ipv4 != 0;
    }
    if (whole)
        return 0;
    put_back(env, r);
    return error_set(&r->err, ERR_BUSY, "addresses were taken by others");
}

static int take_numbers(struct sql *db, const struct accept_env *env, struct accept_request *r)
{
    int e = ERR_BUSY;

    for (int i = 0; i < NUMBER_TRIES && e == ERR_BUSY; i++) {
        e = reserve_numbers(db, env, r);
        if (e >= 0)
            e = take_reserved(env, r);
    }
    return e;
}

/* ---- chunks ---- */
static int note_account(struct chunk *c, const struct accept_request *r, struct error *err)
{
    struct counted *a = find_account(c, r->account.v);

    if (a == NULL) {
        struct counted *grown = realloc(c->accounts, (c->account_count + 1) * sizeof *c->accounts);
        if (grown == NULL)
            return error_set(err, ERR_INTERNAL, "out of memory");
        c->accounts = grown;
        a = &grown[c->account_count++];
        *a = (struct counted){.id = r->account.v};
    }
    a->limited = a->limited || r->limited;
    return 0;
}

/* Tells each request what became of it. What may be in a row, or is in somebody else's, is not put
 * back. */
static void end_chunk(const struct chunk *c, int r, const struct error *err)
{
    bool lost = r < 0 && (c->collided || (r == ERR_UNAVAILABLE && c->completed));

    for (size_t i = 0; i < c->count; i++) {
        struct accept_request *request = c->requests[i];
        if (r < 0) {
            request->result = r;
            request->err = *err;
        }
        if (request->result < 0 && !lost)
            put_back(c->env, request);
    }
}

/* Stores the first requests of a list, as many as go into one transaction; returns how many. */
static size_t accept_chunk(struct sql *db, const struct accept_env *env,
                           struct accept_request *const *requests, size_t count)
{
    struct chunk c = {.env = env, .requests = requests};
    struct error err = {0};
    size_t bytes = 0;
    int r = 0;

    while (c.count < count && r >= 0) {
        const struct accept_request *next = requests[c.count];
        bytes += next->count * next->user_data_size;
        if (next->key != NULL)
            bytes += next->count * (ANSWER_BYTES + next->tag_count * TAG_BYTES);
        if (c.count > 0 &&
            (bytes > TRANSACTION_BYTES || c.droplets + next->count > TRANSACTION_DROPLETS))
            break;
        c.droplets += next->count;
        c.tags += next->count * next->tag_count;
        r = note_account(&c, next, &err);
        c.count++;
    }
    if (r >= 0) {
        qsort(c.accounts, c.account_count, sizeof *c.accounts, compare_accounts);
        r = store_chunk(db, &c, &err);
    }
    if (r == ERR_INTERNAL && c.count > 1) /* one that cannot be stored must not stop the others */
        for (size_t i = 0; i < c.count; i++)
            (void)accept_chunk(db, env, requests + i, 1);
    else
        end_chunk(&c, r, &err);
    free(c.accounts);
    return c.count;
}

void accept_creates(struct sql *db, const struct accept_env *env,
                    struct accept_request *const *requests, size_t count)
{
    struct accept_request **ready = malloc((count + 1) * sizeof *ready);
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct accept_request *r = requests[i];
        r->result = ready != NULL ? take_numbers(db, env, r)
                                  : error_set(&r->err, ERR_INTERNAL, "out of memory");
        if (r->result >= 0)
            ready[n++] = r;
    }
    for (size_t done = 0; done < n;)
        done += accept_chunk(db, env, ready + done, n - done);
    free(ready);
}

void accept_request_clear(struct accept_request *r)
{
    for (size_t k = 0; k < r->count; k++) {
        free(r->droplets[k].params);
        r->droplets[k].params = NULL;
    }
    free(r->answer);
    r->answer = NULL;
}
