#include "lib/sql/internal.h"

#include <stdlib.h>
#include <string.h>

/* One packet must stay below the server's max_allowed_packet (16 MiB by default). */
#define PACKET_MAX (8u << 20)

/* The rows of one call, turned into the columns that array binding wants. */
struct array {
    const struct sql_value *values;
    size_t columns, rows;
    /* In the connection's scratch memory, [columns][rows]: */
    uint64_t *cells; /* integers, or addresses of bytes */
    unsigned long *lengths;
    char *indicators;
};

static const struct sql_value *value_at(const struct array *a, size_t row, size_t column)
{
    return &a->values[row * a->columns + column];
}

static size_t value_size(const struct sql_value *v)
{
    return v->type == SQL_BYTES ? v->size + 9 : 9;
}

/* How many rows from the first on fit into one packet; at least one. */
static size_t rows_that_fit(const struct array *a)
{
    size_t size = 0;
    for (size_t row = 0; row < a->rows; row++) {
        for (size_t column = 0; column < a->columns; column++)
            size += value_size(value_at(a, row, column));
        if (size > PACKET_MAX)
            return row ? row : 1;
    }
    return a->rows;
}

static int take_scratch(struct sql *db, struct array *a, struct error *err)
{
    size_t n = a->columns * a->rows;
    size_t size = n * (sizeof *a->cells + sizeof *a->lengths + sizeof *a->indicators);
    if (db->scratch_size < size) {
        void *bigger = realloc(db->scratch, size);
        if (!bigger)
            return error_set(err, ERR_INTERNAL, "out of memory");
        db->scratch = bigger;
        db->scratch_size = size;
    }
    a->cells = db->scratch;
    a->lengths = (unsigned long *)(a->cells + n);
    a->indicators = (char *)(a->lengths + n);
    return 0;
}

/* The one type of a column; SQL_NULL when all are. */
static int column_type(const struct array *a, size_t column, enum sql_type *ret, struct error *err)
{
    *ret = SQL_NULL;
    for (size_t row = 0; row < a->rows; row++) {
        enum sql_type type = value_at(a, row, column)->type;
        if (type == SQL_NULL)
            continue;
        if (*ret != SQL_NULL && *ret != type)
            return error_set(err, ERR_INTERNAL, "database: column %zu has two types", column);
        *ret = type;
    }
    return 0;
}

static uint64_t cell_of(const struct sql_value *v)
{
    switch (v->type) {
    case SQL_NULL:
        return 0;
    case SQL_I64:
        return (uint64_t)v->i64;
    case SQL_U64:
        return v->u64;
    case SQL_BYTES:
        return (uint64_t)(uintptr_t)(v->bytes ? v->bytes : "");
    }
    return 0;
}

static int bind_column(struct array *a, size_t column, MYSQL_BIND *b, struct error *err)
{
    size_t first = column * a->rows;
    enum sql_type type;
    int r = column_type(a, column, &type, err);
    if (r < 0)
        return r;
    for (size_t row = 0; row < a->rows; row++) {
        const struct sql_value *v = value_at(a, row, column);
        a->cells[first + row] = cell_of(v);
        a->lengths[first + row] = v->type == SQL_BYTES ? v->size : 0;
        a->indicators[first + row] =
            v->type == SQL_NULL ? STMT_INDICATOR_NULL : STMT_INDICATOR_NONE;
    }
    *b = (MYSQL_BIND){
        .buffer = &a->cells[first],
        .buffer_type = type == SQL_BYTES ? MYSQL_TYPE_STRING : MYSQL_TYPE_LONGLONG,
        .is_unsigned = type == SQL_U64,
        .length = type == SQL_BYTES ? &a->lengths[first] : NULL,
        .u.indicator = &a->indicators[first],
    };
    return 0;
}

static int64_t run_packet(struct sql *db, const char *text, struct array *a, struct error *err)
{
    MYSQL_BIND binds[a->columns];
    struct sql_statement *s;
    unsigned rows = (unsigned)a->rows;
    int r = sql_statement_find(db, text, &s, err);
    if (r < 0)
        return r;
    r = sql_statement_check(s, a->columns, err);
    if (r < 0)
        return r;
    r = take_scratch(db, a, err);
    for (size_t i = 0; r == 0 && i < a->columns; i++)
        r = bind_column(a, i, &binds[i], err);
    if (r < 0)
        return r;
    mysql_stmt_attr_set(sql_statement_handle(s), STMT_ATTR_ARRAY_SIZE, &rows);
    if (mysql_stmt_bind_param(sql_statement_handle(s), binds))
        return error_set(err, ERR_INTERNAL, "database: %s",
                         mysql_stmt_error(sql_statement_handle(s)));
    return sql_statement_run(db, s, err);
}

int64_t sql_exec_array(struct sql *db, const char *statement, const struct sql_value *values,
                       size_t columns, size_t rows, struct error *err)
{
    int64_t matched = 0;
    if (rows == 0)
        return 0;
    if (columns == 0)
        return error_set(err, ERR_INTERNAL, "database: an array without columns");
    int r = sql_ensure(db, err);
    if (r < 0)
        return r;
    for (size_t done = 0; done < rows;) {
        struct array a = {.values = values + done * columns,
                          .columns = columns,
                          .rows = rows - done};
        a.rows = rows_that_fit(&a);
        int64_t n = run_packet(db, statement, &a, err);
        if (n < 0)
            return n;
        matched += n;
        done += a.rows;
    }
    return matched;
}
