#include "harpoonctl/table.h"

#include "lib/clock.h"
#include "lib/macros.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2 };

struct table {
    const char *const *headers;
    size_t columns;
    char **cells; /* owned, row by row */
    size_t count, room;
    size_t *widths;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("harpoonctl: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text != 0; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static bool is_right(const char *header)
{
    return header[0] == '>';
}

static const char *title_of(const char *header)
{
    return is_right(header) ? header + 1 : header;
}

struct table *table_new(const char *const *headers)
{
    struct table *t = must(calloc(1, sizeof *t));

    t->headers = headers;
    while (headers[t->columns] != NULL)
        t->columns++;
    t->widths = must(calloc(t->columns + 1, sizeof *t->widths));
    for (size_t i = 0; i < t->columns; i++)
        t->widths[i] = width_of(title_of(headers[i]));
    return t;
}

void table_free(struct table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t->widths);
    free(t);
}

void table_add(struct table *t, const char *text)
{
    char *cell = must(strdup(text != NULL && text[0] != 0 ? text : "-"));
    size_t *widest = &t->widths[t->count % t->columns];

    for (char *p = cell; *p != 0; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            *p = '?';
    if (t->count == t->room) {
        t->room = t->room != 0 ? 2 * t->room : 64;
        t->cells = must(realloc(t->cells, t->room * sizeof *t->cells));
    }
    t->cells[t->count++] = cell;
    if (width_of(cell) > *widest)
        *widest = width_of(cell);
}

void table_add_count(struct table *t, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    table_add(t, text);
}

void table_add_u64(struct table *t, uint64_t value)
{
    if (value != 0)
        table_add_count(t, value);
    else
        table_add(t, NULL);
}

void table_end_row(struct table *t)
{
    while (t->count % t->columns != 0)
        table_add(t, NULL);
}

static void print_cell(FILE *to, const char *text, size_t width, bool right, bool last)
{
    size_t fill = width - width_of(text);

    if (right)
        fprintf(to, "%*s%s", (int)fill, "", text);
    else
        fprintf(to, "%s%*s", text, last ? 0 : (int)fill, "");
    fprintf(to, "%*s", last ? 0 : GAP, "");
}

void table_print(const struct table *t, FILE *to)
{
    for (size_t i = 0; i < t->columns; i++)
        print_cell(to, title_of(t->headers[i]), t->widths[i], is_right(t->headers[i]),
                   i + 1 == t->columns);
    fputc('\n', to);
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % t->columns;
        bool last = column + 1 == t->columns;
        print_cell(to, t->cells[i], t->widths[column], is_right(t->headers[column]), last);
        if (last)
            fputc('\n', to);
    }
}

const char *table_format_age(int64_t at_ms, int64_t now_ms, char ret[24])
{
    int64_t s = now_ms > at_ms ? (now_ms - at_ms) / 1000 : 0;

    if (at_ms == 0)
        (void)snprintf(ret, 24, "-");
    else if (s < 60)
        (void)snprintf(ret, 24, "%ds", (int)s);
    else if (s < 3600)
        (void)snprintf(ret, 24, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        (void)snprintf(ret, 24, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
    else
        (void)snprintf(ret, 24, "%" PRId64 "d%02dh", s / 86400, (int)(s / 3600 % 24));
    return ret;
}

const char *table_format_time(int64_t at_ms, char ret[24])
{
    if (at_ms == 0)
        (void)snprintf(ret, 24, "-");
    else
        clock_format_rfc3339(at_ms, ret);
    return ret;
}
