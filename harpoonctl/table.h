/* harpoonctl/table.h: aligned columns on a terminal, without control characters from outside. */
#pragma once

#include <stdint.h>
#include <stdio.h>

struct table;

/* `headers` ends with NULL and is borrowed; one that begins with '>' is a column aligned right.
 * Out of memory ends the program. */
struct table *table_new(const char *const *headers);
void table_free(struct table *t);
/* Cells of the current row, from left to right; NULL and "" show as "-". */
void table_add(struct table *t, const char *text);
void table_add_u64(struct table *t, uint64_t value);   /* 0 shows as "-" */
void table_add_count(struct table *t, uint64_t value); /* 0 shows as 0 */
void table_end_row(struct table *t);
void table_print(const struct table *t, FILE *to);

/* "3s", "5m12s", "2h03m", "4d06h"; "-" when `at_ms` is 0. In *ret's 24 bytes. */
const char *table_format_age(int64_t at_ms, int64_t now_ms, char ret[24]);
/* RFC 3339 with seconds; "-" when 0. In *ret's 24 bytes. */
const char *table_format_time(int64_t at_ms, char ret[24]);
