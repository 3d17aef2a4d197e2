#include "lib/sql/row.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sql_cell_settle(struct sql_cell *cell)
{
    if (cell->is_null) {
        cell->bytes = "";
        cell->length = 0;
    } else if (cell->is_integer) {
        cell->bytes = NULL; /* made when asked for */
    } else {
        cell->buffer[cell->length] = '\0';
        cell->bytes = cell->buffer;
    }
}

static struct sql_cell *cell_of(const struct sql_row *row, size_t column)
{
    assert(column < row->columns);
    return &row->cells[column];
}

bool sql_row_is_null(const struct sql_row *row, size_t column)
{
    return cell_of(row, column)->is_null;
}

int64_t sql_row_i64(const struct sql_row *row, size_t column)
{
    const struct sql_cell *cell = cell_of(row, column);
    if (cell->is_null)
        return 0;
    return cell->is_integer ? cell->integer : strtoll(cell->bytes, NULL, 10);
}

uint64_t sql_row_u64(const struct sql_row *row, size_t column)
{
    const struct sql_cell *cell = cell_of(row, column);
    if (cell->is_null)
        return 0;
    return cell->is_integer ? (uint64_t)cell->integer : strtoull(cell->bytes, NULL, 10);
}

static void write_digits(struct sql_cell *cell)
{
    int n = snprintf(cell->digits, sizeof cell->digits, cell->is_unsigned ? "%llu" : "%lld",
                     cell->integer);
    cell->length = (unsigned long)n;
    cell->bytes = cell->digits;
}

const char *sql_row_text(const struct sql_row *row, size_t column)
{
    struct sql_cell *cell = cell_of(row, column);
    if (!cell->bytes)
        write_digits(cell);
    return cell->bytes;
}

const void *sql_row_bytes(const struct sql_row *row, size_t column, size_t *ret_size)
{
    const char *bytes = sql_row_text(row, column);
    *ret_size = cell_of(row, column)->length;
    return bytes;
}

struct sql_value sql_text(const char *text)
{
    return text ? SQL_B(text, strlen(text)) : SQL_N;
}
