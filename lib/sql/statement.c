#include "lib/sql/internal.h"
#include "lib/sql/row.h"

#include <stdlib.h>
#include <string.h>

#define STATEMENTS_MAX 1000 /* more than that are texts made up on the way */

struct sql_statement {
    const char *text; /* the key: where the caller's constant lives */
    char *copy;       /* and what it said, should the address be used again for another */
    MYSQL_STMT *handle;
    size_t placeholders, columns;
    MYSQL_BIND *binds; /* of the columns */
    struct sql_cell *cells;
};

MYSQL_STMT *sql_statement_handle(struct sql_statement *s)
{
    return s->handle;
}

static struct sql_statement *statement_free(struct sql_statement *s)
{
    if (!s)
        return NULL;
    if (s->handle)
        mysql_stmt_close(s->handle);
    for (size_t i = 0; s->cells && i < s->columns; i++)
        free(s->cells[i].buffer);
    free(s->cells);
    free(s->binds);
    free(s->copy);
    free(s);
    return NULL;
}
AUTO_DEFINE(statement_free, struct sql_statement *)

void sql_statements_close(struct sql *db)
{
    for (size_t i = 0; i < db->statement_count; i++)
        statement_free(db->statements[i]);
    db->statement_count = 0;
}

static int statement_failed(struct sql *db, struct sql_statement *s, struct error *err)
{
    char text[MYSQL_ERRMSG_SIZE];
    unsigned number = mysql_stmt_errno(s->handle); /* both go with the handle */
    strncpy(text, mysql_stmt_error(s->handle), sizeof text - 1);
    text[sizeof text - 1] = '\0';
    return sql_failed(db, number, text, err);
}

static bool is_integer(enum enum_field_types type)
{
    return type == MYSQL_TYPE_TINY || type == MYSQL_TYPE_SHORT || type == MYSQL_TYPE_INT24 ||
           type == MYSQL_TYPE_LONG || type == MYSQL_TYPE_LONGLONG || type == MYSQL_TYPE_YEAR;
}

/* After the first run: for INSERT … RETURNING the server tells the columns only then. */
static bool describe_columns(struct sql_statement *s)
{
    MYSQL_RES *meta = mysql_stmt_result_metadata(s->handle);
    if (!meta)
        return false;
    unsigned n = mysql_num_fields(meta);
    const MYSQL_FIELD *fields = mysql_fetch_fields(meta);
    if (!s->binds)
        s->binds = calloc(n, sizeof *s->binds);
    if (!s->cells)
        s->cells = calloc(n, sizeof *s->cells);
    if (s->binds && s->cells)
        s->columns = n;
    for (unsigned i = 0; i < s->columns; i++) {
        s->cells[i].is_integer = is_integer(fields[i].type);
        s->cells[i].is_unsigned = fields[i].flags & UNSIGNED_FLAG;
    }
    mysql_free_result(meta);
    return s->columns > 0;
}

/* Room for `size` bytes and a NUL. */
static bool cell_reserve(struct sql_cell *cell, size_t size)
{
    size_t capacity = cell->capacity ? cell->capacity : 256;
    while (capacity <= size)
        capacity *= 2;
    if (capacity == cell->capacity)
        return true;
    char *buffer = realloc(cell->buffer, capacity);
    if (!buffer)
        return false;
    cell->buffer = buffer;
    cell->capacity = capacity;
    return true;
}

static bool bind_columns(struct sql_statement *s)
{
    for (size_t i = 0; i < s->columns; i++) {
        struct sql_cell *cell = &s->cells[i];
        MYSQL_BIND *b = &s->binds[i];
        *b = (MYSQL_BIND){.is_null = &cell->is_null, .length = &cell->length};
        if (cell->is_integer) {
            b->buffer_type = MYSQL_TYPE_LONGLONG;
            b->buffer = &cell->integer;
            b->is_unsigned = cell->is_unsigned;
        } else {
            if (!cell_reserve(cell, 0))
                return false;
            b->buffer_type = MYSQL_TYPE_STRING;
            b->buffer = cell->buffer;
            b->buffer_length = cell->capacity - 1;
        }
    }
    return s->columns == 0 || !mysql_stmt_bind_result(s->handle, s->binds);
}

static int prepare(struct sql *db, const char *text, struct sql_statement **ret, struct error *err)
{
    AUTO(statement_free) struct sql_statement *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_INTERNAL, "out of memory");
    s->text = text;
    s->copy = strdup(text);
    s->handle = mysql_stmt_init(db->mysql);
    if (!s->copy || !s->handle)
        return error_set(err, ERR_INTERNAL, "out of memory");
    if (mysql_stmt_prepare(s->handle, text, strlen(text)))
        return statement_failed(db, s, err);
    s->placeholders = mysql_stmt_param_count(s->handle);
    *ret = s;
    s = NULL;
    return 0;
}

static int remember(struct sql *db, struct sql_statement *s, struct error *err)
{
    if (!db->statements) {
        db->statements = calloc(STATEMENTS_MAX, sizeof *db->statements);
        if (!db->statements)
            return error_set(err, ERR_INTERNAL, "out of memory");
    }
    if (db->statement_count == STATEMENTS_MAX)
        return error_set(err, ERR_INTERNAL, "database: too many different statements");
    db->statements[db->statement_count++] = s;
    return 0;
}

int sql_statement_find(struct sql *db, const char *text, struct sql_statement **ret,
                       struct error *err)
{
    for (size_t i = 0; i < db->statement_count; i++) {
        if (db->statements[i]->text == text && !strcmp(db->statements[i]->copy, text)) {
            *ret = db->statements[i];
            return 0;
        }
    }
    int r = prepare(db, text, ret, err);
    if (r < 0)
        return r;
    r = remember(db, *ret, err);
    if (r < 0)
        *ret = statement_free(*ret);
    return r;
}

int sql_statement_check(const struct sql_statement *s, size_t count, struct error *err)
{
    if (s->placeholders == count)
        return 0;
    return error_set(err, ERR_INTERNAL, "database: %zu values for %zu placeholders", count,
                     s->placeholders);
}

/* Rows are taken from the server at once, so that an error in the middle of them is known before
 * the first is handed on. */
int64_t sql_statement_run(struct sql *db, struct sql_statement *s, struct error *err)
{
    if (mysql_stmt_execute(s->handle))
        return statement_failed(db, s, err);
    if (mysql_stmt_field_count(s->handle) == 0)
        return (int64_t)mysql_stmt_affected_rows(s->handle);
    if ((!s->columns && !describe_columns(s)) || !bind_columns(s)) {
        mysql_stmt_free_result(s->handle);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    if (mysql_stmt_store_result(s->handle))
        return statement_failed(db, s, err);
    return (int64_t)mysql_stmt_num_rows(s->handle);
}

static enum enum_field_types bind_value(MYSQL_BIND *b, const struct sql_value *v)
{
    switch (v->type) {
    case SQL_NULL:
        return MYSQL_TYPE_NULL;
    case SQL_I64:
        b->buffer = (void *)&v->i64;
        return MYSQL_TYPE_LONGLONG;
    case SQL_U64:
        b->buffer = (void *)&v->u64;
        b->is_unsigned = 1;
        return MYSQL_TYPE_LONGLONG;
    case SQL_BYTES:
        b->buffer = (void *)(v->bytes ? v->bytes : "");
        b->buffer_length = v->size;
        return MYSQL_TYPE_STRING;
    }
    return MYSQL_TYPE_NULL;
}

static int run_with(struct sql *db, const char *text, const struct sql_value *values, size_t count,
                    struct sql_statement **ret, int64_t *ret_rows, struct error *err)
{
    MYSQL_BIND binds[count ? count : 1];
    unsigned no_array = 0;
    int r = sql_ensure(db, err);
    if (r < 0)
        return r;
    r = sql_statement_find(db, text, ret, err);
    if (r < 0)
        return r;
    r = sql_statement_check(*ret, count, err);
    if (r < 0)
        return r;
    memset(binds, 0, sizeof binds);
    for (size_t i = 0; i < count; i++)
        binds[i].buffer_type = bind_value(&binds[i], &values[i]);
    mysql_stmt_attr_set((*ret)->handle, STMT_ATTR_ARRAY_SIZE, &no_array);
    if (count && mysql_stmt_bind_param((*ret)->handle, binds))
        return statement_failed(db, *ret, err);
    *ret_rows = sql_statement_run(db, *ret, err);
    return *ret_rows < 0 ? (int)*ret_rows : 0;
}

int64_t sql_exec(struct sql *db, const char *statement, const struct sql_value *values,
                 size_t count, struct error *err)
{
    struct sql_statement *s;
    int64_t rows;
    int r = run_with(db, statement, values, count, &s, &rows, err);
    if (r < 0)
        return r;
    if (s->columns)
        mysql_stmt_free_result(s->handle);
    return rows;
}

/* Makes room for what did not fit and reads it again. */
static bool refetch_long_cells(struct sql_statement *s)
{
    bool grown = false;
    for (size_t i = 0; i < s->columns; i++) {
        struct sql_cell *cell = &s->cells[i];
        if (cell->is_integer || cell->is_null || cell->length < cell->capacity)
            continue;
        if (!cell_reserve(cell, cell->length))
            return false;
        s->binds[i].buffer = cell->buffer;
        s->binds[i].buffer_length = cell->capacity - 1;
        if (mysql_stmt_fetch_column(s->handle, &s->binds[i], (unsigned)i, 0))
            return false;
        grown = true;
    }
    return !grown || !mysql_stmt_bind_result(s->handle, s->binds);
}

static int hand_on(struct sql *db, struct sql_statement *s, sql_row_fn on_row, void *ctx,
                   struct error *err)
{
    struct sql_row row = {.cells = s->cells, .columns = s->columns};
    for (;;) {
        int r = mysql_stmt_fetch(s->handle);
        if (r == MYSQL_NO_DATA)
            return 0;
        if (r == MYSQL_DATA_TRUNCATED && !refetch_long_cells(s))
            return error_set(err, ERR_INTERNAL, "database: a value that does not fit");
        if (r != 0 && r != MYSQL_DATA_TRUNCATED)
            return statement_failed(db, s, err);
        for (size_t i = 0; i < s->columns; i++)
            sql_cell_settle(&s->cells[i]);
        r = on_row(ctx, &row, err);
        if (r < 0)
            return r;
    }
}

int64_t sql_query(struct sql *db, const char *statement, const struct sql_value *values,
                  size_t count, sql_row_fn on_row, void *ctx, struct error *err)
{
    struct sql_statement *s;
    int64_t rows;
    int r = run_with(db, statement, values, count, &s, &rows, err);
    if (r < 0)
        return r;
    if (!s->columns)
        return error_set(err, ERR_INTERNAL, "database: the statement gives no rows");
    db->in_rows = true;
    r = hand_on(db, s, on_row, ctx, err);
    db->in_rows = false;
    if (db->mysql) /* else the statement is gone too */
        mysql_stmt_free_result(s->handle);
    return r < 0 ? r : rows;
}
