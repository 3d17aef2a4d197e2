#include "lib/sql/internal.h"
#include "lib/sql/row.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS_MAX     10000
#define COLUMNS_MAX 64

/* `statement` with its %s replaced by the ids, in text the caller frees. */
static char *fill_in(const char *statement, const uint64_t *ids, size_t count, size_t *ret_size)
{
    const char *mark = strstr(statement, "%s");
    assert(mark);
    size_t before = (size_t)(mark - statement);
    size_t room = strlen(statement) + count * 21 + 1; /* 20 digits and a comma */
    char *text = malloc(room);
    if (!text)
        return NULL;
    memcpy(text, statement, before);
    size_t n = before;
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, room - n, "%s%" PRIu64, i ? "," : "", ids[i]);
    n += (size_t)snprintf(text + n, room - n, "%s", mark + 2);
    *ret_size = n;
    return text;
}

static int hand_on(MYSQL_RES *result, sql_row_fn on_row, void *ctx, struct error *err)
{
    struct sql_cell cells[COLUMNS_MAX];
    struct sql_row row = {.cells = cells, .columns = mysql_num_fields(result)};
    MYSQL_ROW values;
    if (row.columns > COLUMNS_MAX)
        return error_set(err, ERR_INTERNAL, "database: more than %d columns", COLUMNS_MAX);
    memset(cells, 0, sizeof cells);
    while ((values = mysql_fetch_row(result))) {
        const unsigned long *lengths = mysql_fetch_lengths(result);
        for (size_t i = 0; i < row.columns; i++) {
            cells[i].is_null = !values[i];
            cells[i].bytes = values[i] ? values[i] : "";
            cells[i].length = lengths[i];
        }
        int r = on_row(ctx, &row, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int64_t query_text(struct sql *db, const char *text, size_t size, sql_row_fn on_row,
                          void *ctx, struct error *err)
{
    MYSQL *mysql = db->mysql;
    if (mysql_real_query(mysql, text, size))
        return sql_failed(db, mysql_errno(mysql), mysql_error(mysql), err);
    MYSQL_RES *result = mysql_store_result(mysql);
    if (!result && mysql_errno(mysql)) /* a deadlock comes with the rows only */
        return sql_failed(db, mysql_errno(mysql), mysql_error(mysql), err);
    if (!result)
        return error_set(err, ERR_INTERNAL, "database: the statement gives no rows");
    int64_t rows = (int64_t)mysql_num_rows(result);
    db->in_rows = true;
    int r = hand_on(result, on_row, ctx, err);
    db->in_rows = false;
    mysql_free_result(result);
    return r < 0 ? r : rows;
}

int64_t sql_query_ids(struct sql *db, const char *statement, const uint64_t *ids, size_t count,
                      sql_row_fn on_row, void *ctx, struct error *err)
{
    size_t size;
    if (count == 0)
        return 0;
    if (count > IDS_MAX)
        return error_set(err, ERR_INTERNAL, "database: %zu ids in one statement", count);
    int r = sql_ensure(db, err);
    if (r < 0)
        return r;
    char *text = fill_in(statement, ids, count, &size);
    if (!text)
        return error_set(err, ERR_INTERNAL, "out of memory");
    int64_t rows = query_text(db, text, size, on_row, ctx, err);
    free(text);
    return rows;
}
