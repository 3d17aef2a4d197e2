/* lib/sql/row.h: one row as on_row sees it, from a prepared statement or from one in text form. */
#pragma once

#include "lib/sql/sql.h"

#include <mysql.h>

struct sql_cell {
    bool is_integer, is_unsigned;
    my_bool is_null;
    unsigned long length; /* of the bytes */
    long long integer;    /* is_integer */
    char *buffer;         /* owned, `capacity` bytes: text of a prepared statement */
    size_t capacity;
    const char *bytes; /* what a reader gets: NUL-terminated */
    char digits[24];   /* an integer asked for as text */
};

struct sql_row {
    struct sql_cell *cells;
    size_t columns;
};

/* After a fetch: ends the text and points `bytes` at it. */
void sql_cell_settle(struct sql_cell *cell);
