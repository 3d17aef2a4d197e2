#include "lib/clock.h"
#include "lib/sql/internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_S  3600 /* a change to a large table */
#define FILE_MAX    (4 << 20)
#define LOCK_WAIT_S 60

/* What a file has done so far is counted, because DDL commits by itself: a migration that was
 * interrupted goes on with the statement that failed. */
static const char TABLE[] = "CREATE TABLE IF NOT EXISTS schema_migrations ("
                            "file VARCHAR(127) CHARACTER SET ascii NOT NULL PRIMARY KEY, "
                            "statements INT UNSIGNED NOT NULL, applied_at BIGINT NULL) "
                            "ENGINE=InnoDB";
static const char LOCK[] = "SELECT GET_LOCK(CONCAT(DATABASE(), '.schema_migrations'), ?)";
static const char FIND[] = "SELECT statements, applied_at IS NOT NULL FROM schema_migrations "
                           "WHERE file = ?";
static const char NOTE[] =
    "INSERT INTO schema_migrations (file, statements, applied_at) "
    "VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE statements = VALUES(statements), "
    "applied_at = VALUES(applied_at)";

struct progress {
    uint64_t statements;
    bool applied;
};

static int is_migration(const struct dirent *entry)
{
    const char *n = entry->d_name;
    for (int i = 0; i < 4; i++) {
        if (!isdigit((unsigned char)n[i]))
            return 0;
    }
    size_t size = strlen(n);
    return n[4] == '_' && size > 9 && size < 128 && !strcmp(n + size - 4, ".sql");
}

static int on_lock(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(ctx);
    if (sql_row_i64(row, 0) == 1)
        return 0;
    return error_set(err, ERR_BUSY, "another migration is at work");
}

static int on_progress(void *ctx, const struct sql_row *row, struct error *err)
{
    struct progress *p = ctx;
    UNUSED(err);
    p->statements = sql_row_u64(row, 0);
    p->applied = sql_row_u64(row, 1) != 0;
    return 0;
}

static char *read_file(const char *path, struct error *err)
{
    FILE *f = fopen(path, "re");
    char *text = f ? malloc(FILE_MAX) : NULL;
    if (!f || !text) {
        error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    } else {
        size_t n = fread(text, 1, FILE_MAX, f);
        if (ferror(f) || n == FILE_MAX) {
            error_set(err, ERR_INVALID, "%s: cannot be read, or too large", path);
            free(text);
            text = NULL;
        } else {
            text[n] = '\0';
        }
    }
    if (f)
        fclose(f);
    return text;
}

static int note(struct sql *db, const char *file, uint64_t statements, bool applied,
                struct error *err)
{
    struct sql_value values[] = {SQL_T(file), SQL_U(statements),
                                 applied ? SQL_I(unix_ms()) : SQL_N};
    int64_t r = sql_exec(db, NOTE, values, ARRAY_LEN(values), err);
    return r < 0 ? (int)r : 0;
}

static int run_script(struct sql *db, const char *file, const char *script, uint64_t done,
                      struct error *err)
{
    uint64_t n = 0;
    int r = 0;
    for (char *text; r == 0 && (text = sql_script_next(&script)); free(text)) {
        if (n++ < done)
            continue;
        r = sql_ensure(db, err);
        if (r == 0)
            r = sql_run_text(db, text, strlen(text), err);
        if (r == 0)
            r = note(db, file, n, false, err);
        if (r < 0)
            error_in(err, "%s, statement %d (%.40s…)", file, (int)n, text);
    }
    if (r == 0 && *script)
        r = error_set(err, ERR_INTERNAL, "out of memory");
    return r < 0 ? r : note(db, file, n, true, err);
}

/* 1: applied now. 0: was applied before. */
static int apply(struct sql *db, const char *folder, const char *file, struct error *err)
{
    char path[PATH_MAX];
    struct progress progress = {0};
    struct sql_value name = SQL_T(file);
    int64_t found = sql_query(db, FIND, &name, 1, on_progress, &progress, err);
    if (found < 0)
        return (int)found;
    if (progress.applied)
        return 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path)
        return error_set(err, ERR_INVALID, "%s: the path is too long", file);
    char *script = read_file(path, err);
    if (!script)
        return err->code;
    int r = run_script(db, file, script, progress.statements, err);
    free(script);
    return r < 0 ? r : 1;
}

static int prepare(struct sql *db, struct error *err)
{
    static const char no_limit[] = "SET SESSION max_statement_time=0, innodb_lock_wait_timeout=50";
    struct sql_value wait = SQL_I(LOCK_WAIT_S);
    int r = sql_connect(db, err);
    if (r == 0)
        r = sql_run_text(db, no_limit, sizeof no_limit - 1, err);
    if (r < 0)
        return r;
    int64_t n = sql_query(db, LOCK, &wait, 1, on_lock, NULL, err);
    if (n < 0)
        return (int)n;
    return sql_run_text(db, TABLE, sizeof TABLE - 1, err);
}

static int apply_all(struct sql *db, const char *folder, struct dirent **files, int count,
                     void (*on_applied)(const char *file), struct error *err)
{
    int applied = 0;
    for (int i = 0; i < count; i++) {
        if (i && !strncmp(files[i]->d_name, files[i - 1]->d_name, 4))
            return error_set(err, ERR_INVALID, "%s and %s have one number", files[i - 1]->d_name,
                             files[i]->d_name);
        int r = apply(db, folder, files[i]->d_name, err);
        if (r < 0)
            return r;
        if (r > 0 && on_applied)
            on_applied(files[i]->d_name);
        applied += r;
    }
    return applied;
}

/* On a connection of its own making, which may wait long and holds a lock that ends with it. */
int sql_migrate(struct sql *db, const char *folder, void (*on_applied)(const char *file),
                struct error *err)
{
    struct dirent **files;
    int count = scandir(folder, &files, is_migration, alphasort);
    if (count < 0)
        return error_set(err, ERR_INVALID, "%s: %s", folder, strerror(errno));
    int usual_s = db->timeout_s;
    sql_drop(db);
    db->timeout_s = PATIENCE_S;
    int r = prepare(db, err);
    db->doomed = 0;
    db->pinned = r == 0; /* another connection would not hold the lock */
    if (r == 0)
        r = apply_all(db, folder, files, count, on_applied, err);
    db->pinned = false;
    sql_drop(db);
    db->timeout_s = usual_s;
    for (int i = 0; i < count; i++)
        free(files[i]);
    free(files);
    return r;
}
