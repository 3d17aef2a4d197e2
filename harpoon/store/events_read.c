#include "harpoon/store/events.h"

#include "harpoon/store/events_row.h"
#include "lib/macros.h"

#include <stdlib.h>
#include <string.h>

#define EXTRA_COLUMNS ", e.replay_of, e.replayed_as"
#define FROM_EVENTS                                                                                \
    " FROM events e FORCE INDEX (PRIMARY) STRAIGHT_JOIN droplets d FORCE INDEX (PRIMARY)"          \
    " ON d.id = e.droplet_id WHERE e.id IN (%s)"

static const char READ_EVENTS[] =
    "SELECT " EVENTS_ROW_COLUMNS ", " EVENTS_DROPLET_COLUMNS EXTRA_COLUMNS FROM_EVENTS;
static const char READ_EVENTS_PARAMS[] =
    "SELECT " EVENTS_ROW_COLUMNS ", " EVENTS_DROPLET_COLUMNS EXTRA_COLUMNS ", e.params" FROM_EVENTS;
/* Its unfinished event counts once it names a hypervisor: dispatched, running, or pinned. */
static const char READ_PLACES[] =
    "SELECT d.id, d.gone_at, d.hypervisor_id, e.hypervisor_id FROM droplets d FORCE INDEX (PRIMARY)"
    " LEFT JOIN events e ON e.id = d.event_id WHERE d.id IN (%s)";
static const char READ_INSTALLATION[] = "SELECT id FROM installation";

/* Where the answers go: by id, to every place that asked for it. */
struct index {
    const uint64_t *ids;
    size_t count;
    size_t *order; /* of the ids, ascending */
};

struct read {
    struct index index;
    bool with_params;
    struct event_record *records;
    struct droplet_place *places;
};

static int compare_order(const void *a, const void *b, void *ctx)
{
    const uint64_t *ids = ctx;
    uint64_t x = ids[*(const size_t *)a], y = ids[*(const size_t *)b];

    return x < y ? -1 : x > y;
}

static int index_init(struct index *index, const uint64_t *ids, size_t count, struct error *err)
{
    *index = (struct index){.ids = ids, .count = count};
    index->order = malloc((count + 1) * sizeof *index->order);
    if (index->order == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < count; i++)
        index->order[i] = i;
    qsort_r(index->order, count, sizeof *index->order, compare_order, (void *)(uintptr_t)ids);
    return 0;
}

/* The first of those that asked for `id`; the others follow it in order. count: nobody did. */
static size_t index_find(const struct index *index, uint64_t id)
{
    size_t low = 0, high = index->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->ids[index->order[middle]] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool index_holds(const struct index *index, size_t at, uint64_t id)
{
    return at < index->count && index->ids[index->order[at]] == id;
}

void events_records_free(struct event_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(records[i].params);
        records[i].params = NULL;
    }
}

static int copy_params(const struct sql_row *row, size_t column, struct event_record *ret,
                       struct error *err)
{
    const void *params = sql_row_bytes(row, column, &ret->params_size);

    free(ret->params);
    ret->params = malloc(ret->params_size + 1);
    if (ret->params == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    memcpy(ret->params, params, ret->params_size);
    return 0;
}

static int on_event(void *ctx, const struct sql_row *row, struct error *err)
{
    struct read *read = ctx;
    uint64_t id = sql_row_u64(row, 0);
    size_t c = EVENTS_ROW_COUNT + EVENTS_DROPLET_COUNT;
    int r = 0;

    for (size_t at = index_find(&read->index, id); index_holds(&read->index, at, id) && r == 0;
         at++) {
        struct event_record *record = &read->records[read->index.order[at]];
        struct droplet_columns columns;
        events_row_decode(row, 0, &record->row);
        events_droplet_decode(row, EVENTS_ROW_COUNT, &record->row, &columns);
        record->replay_of = sql_row_u64(row, c);
        record->replayed_as = sql_row_u64(row, c + 1);
        if (read->with_params)
            r = copy_params(row, c + 2, record, err);
    }
    return r;
}

int events_read(struct sql *db, const uint64_t *ids, size_t count, bool with_params,
                struct event_record *ret, struct error *err)
{
    struct read read = {.with_params = with_params, .records = ret};

    memset(ret, 0, count * sizeof *ret);
    if (count == 0)
        return 0;
    if (index_init(&read.index, ids, count, err) < 0)
        return err->code;
    int64_t r = sql_query_ids(db, with_params ? READ_EVENTS_PARAMS : READ_EVENTS, ids, count,
                              on_event, &read, err);
    free(read.index.order);
    if (r < 0)
        events_records_free(ret, count);
    return r < 0 ? error_in(err, "reading events") : 0;
}

static int on_place(void *ctx, const struct sql_row *row, struct error *err)
{
    struct read *read = ctx;
    uint64_t id = sql_row_u64(row, 0);

    UNUSED(err);
    for (size_t at = index_find(&read->index, id); index_holds(&read->index, at, id); at++)
        read->places[read->index.order[at]] = (struct droplet_place){
            .droplet = {id},
            .gone = !sql_row_is_null(row, 1),
            .hypervisor = {sql_row_u64(row, 2)},
            .event_hypervisor = {sql_row_u64(row, 3)},
        };
    return 0;
}

int droplets_read_places(struct sql *db, const uint64_t *ids, size_t count,
                         struct droplet_place *ret, struct error *err)
{
    struct read read = {.places = ret};

    memset(ret, 0, count * sizeof *ret);
    if (count == 0)
        return 0;
    if (index_init(&read.index, ids, count, err) < 0)
        return err->code;
    int64_t r = sql_query_ids(db, READ_PLACES, ids, count, on_place, &read, err);
    free(read.index.order);
    return r < 0 ? error_in(err, "reading droplets") : 0;
}

struct installation {
    struct uuid *ret;
};

static int on_installation(void *ctx, const struct sql_row *row, struct error *err)
{
    return uuid_parse(sql_row_text(row, 0), ((struct installation *)ctx)->ret, err);
}

int installation_read(struct sql *db, struct uuid *ret, struct error *err)
{
    struct installation read = {ret};
    int64_t r = sql_query(db, READ_INSTALLATION, NULL, 0, on_installation, &read, err);

    if (r == 0)
        return error_set(err, ERR_NOT_FOUND, "the schema has no installation id: harpoon migrate");
    return r < 0 ? (int)r : 0;
}
