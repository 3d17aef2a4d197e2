#include "harpoon/store/accept_tags.h"

#include "lib/sql/sql.h"

#include <stdlib.h>
#include <strings.h>

static const char INSERT_NAME[] = "INSERT IGNORE INTO tags (account_id, tag) VALUES (?, ?)";
#define NAME_COLUMNS 2
static const char INSERT_TAG[] =
    "INSERT INTO droplet_tags (account_id, tag, droplet_id) VALUES (?, ?, ?)";

/* In the order of the key, so that two transactions lock them in the same one. */
static int compare_names(const void *a, const void *b)
{
    const struct sql_value *x = a, *y = b;

    if (x[0].u64 != y[0].u64)
        return x[0].u64 < y[0].u64 ? -1 : 1;
    return strcasecmp(x[1].bytes, y[1].bytes);
}

/* Each name of an account once: a thousand droplets mostly wear the same few. */
static size_t pick_names(const struct sql_value *rows, size_t count, struct sql_value *names)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        names[i * NAME_COLUMNS] = rows[i * ACCEPT_TAG_COLUMNS];
        names[i * NAME_COLUMNS + 1] = rows[i * ACCEPT_TAG_COLUMNS + 1];
    }
    qsort(names, count, NAME_COLUMNS * sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        struct sql_value *last = names + (n - 1) * NAME_COLUMNS, *next = names + i * NAME_COLUMNS;
        if (n > 0 && compare_names(last, next) == 0)
            continue;
        names[n * NAME_COLUMNS] = next[0];
        names[n * NAME_COLUMNS + 1] = next[1];
        n++;
    }
    return n;
}

int accept_tags_insert(struct sql *db, const struct sql_value *rows, size_t count,
                       struct error *err)
{
    if (count == 0)
        return 0;
    struct sql_value *names = malloc(count * NAME_COLUMNS * sizeof *names);
    if (names == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    size_t n = pick_names(rows, count, names);
    int64_t r = sql_exec_array(db, INSERT_NAME, names, NAME_COLUMNS, n, err);
    if (r >= 0)
        r = sql_exec_array(db, INSERT_TAG, rows, ACCEPT_TAG_COLUMNS, count, err);
    free(names);
    return r < 0 ? (int)r : 0;
}
