#include "harpoon/store/ids.h"

#include "lib/macros.h"
#include "lib/sql/sql.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RANGES_MAX 4
#define NAME_MAX_  33

static const char ADVANCE[] = "UPDATE id_blocks SET next = next + ? WHERE name = ?";
static const char READ_NEXT[] = "SELECT next FROM id_blocks WHERE name = ?";

struct range {
    uint64_t next, end;
};

struct ids {
    char name[NAME_MAX_];
    uint32_t block;
    pthread_mutex_t lock;
    struct range ranges[RANGES_MAX]; /* guarded by lock; used from the front */
    size_t count;                    /* guarded by lock */
};

int ids_new(const char *name, uint32_t block, struct ids **ret, struct error *err)
{
    struct ids *ids = calloc(1, sizeof *ids);

    if (ids == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    assert(strlen(name) < sizeof ids->name && block > 0);
    strcpy(ids->name, name);
    ids->block = block;
    pthread_mutex_init(&ids->lock, NULL);
    *ret = ids;
    return 0;
}

struct ids *ids_free(struct ids *ids)
{
    if (ids != NULL) {
        pthread_mutex_destroy(&ids->lock);
        free(ids);
    }
    return NULL;
}

static uint64_t available_locked(const struct ids *ids)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < ids->count; i++)
        sum += ids->ranges[i].end - ids->ranges[i].next;
    return sum;
}

struct fetch {
    const char *name;
    uint64_t size;
    uint64_t end; /* out */
};

static int on_next(void *ctx, const struct sql_row *row, struct error *err)
{
    struct fetch *f = ctx;

    UNUSED(err);
    f->end = sql_row_u64(row, 0);
    return 0;
}

static int fetch_block(struct sql *db, void *ctx, struct error *err)
{
    struct fetch *f = ctx;
    const struct sql_value advance[] = {SQL_U(f->size), SQL_T(f->name)};
    int64_t r = sql_exec(db, ADVANCE, advance, ARRAY_LEN(advance), err);

    if (r == 0)
        return error_set(err, ERR_NOT_FOUND, "no block of ids named %s", f->name);
    if (r > 0)
        r = sql_query(db, READ_NEXT, &advance[1], 1, on_next, f, err);
    return r < 0 ? (int)r : 0;
}

/* Room for it is certain unless others refilled meanwhile: then it is not needed, and lost. */
static void add_range(struct ids *ids, uint64_t first, uint64_t end)
{
    LOCK_SCOPE(&ids->lock);

    if (ids->count < RANGES_MAX)
        ids->ranges[ids->count++] = (struct range){first, end};
}

int ids_reserve(struct ids *ids, struct sql *db, size_t count, struct error *err)
{
    struct fetch f = {.name = ids->name, .size = count > ids->block ? count : ids->block};
    uint64_t left;

    pthread_mutex_lock(&ids->lock);
    left = available_locked(ids);
    pthread_mutex_unlock(&ids->lock);
    /* Some are kept in hand, so that another thread's taking does not leave us short. */
    if (left >= (uint64_t)count + ids->block / 4)
        return 0;
    int r = sql_transact(db, fetch_block, &f, err);
    if (r == 0)
        add_range(ids, f.end - f.size, f.end);
    else if (left >= count && r != ERR_NOT_FOUND)
        return 0; /* enough for now */
    return r;
}

int ids_take(struct ids *ids, size_t count, uint64_t *ret, struct error *err)
{
    LOCK_SCOPE(&ids->lock);

    if (available_locked(ids) < count)
        return error_set(err, ERR_BUSY, "no ids of %s reserved", ids->name);
    for (size_t i = 0; i < count; i++) {
        struct range *first = &ids->ranges[0];
        ret[i] = first->next++;
        if (first->next == first->end)
            memmove(first, first + 1, --ids->count * sizeof *first);
    }
    return 0;
}

void ids_drop(struct ids *ids)
{
    LOCK_SCOPE(&ids->lock);

    ids->count = 0;
}
