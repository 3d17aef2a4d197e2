#include "hypervisor-agent/journal.h"

#include "hypervisor-agent/journal_table.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    MAX_BATCH = 512, /* writes a transaction */
    SPACING_MS = 2,
    PATH_BYTES = 4096,
    BUSY_MS = 1000, /* a person writes to it with another program */
};

struct journal {
    sqlite3 *db; /* the flusher's once it runs */
    struct journal_statements statements;
    struct batcher *batcher; /* NULL until started */
    int lock_fd;
    atomic_ullong commits, failures;
    atomic_bool healthy;
};

/* ---- the file ---- */

static int io_error(const char *what, const char *path, struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "%s %s: %s", what, path, strerror(errno));
}

static int run_sql(sqlite3 *db, const char *sql, struct error *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return journal_error(db, "the journal", err);
    return 0;
}

/* The first column of the only row. */
static int read_pragma(sqlite3 *db, const char *pragma, char *ret, size_t size, struct error *err)
{
    sqlite3_stmt *s = NULL;
    int r = 0;

    if (sqlite3_prepare_v2(db, pragma, -1, &s, NULL) != SQLITE_OK)
        return journal_error(db, "the journal", err);
    if (sqlite3_step(s) == SQLITE_ROW)
        snprintf(ret, size, "%s", (const char *)sqlite3_column_text(s, 0));
    else
        r = journal_error(db, "the journal", err);
    sqlite3_finalize(s);
    return r;
}

static int open_database(const char *path, int flags, sqlite3 **ret, struct error *err)
{
    sqlite3 *db = NULL;

    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        int r = journal_error(db, path, err);
        sqlite3_close(db);
        return r;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    *ret = db;
    return 0;
}

/* Makes the name durable. */
static int sync_folder(const char *path, struct error *err)
{
    char copy[PATH_BYTES];

    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        int r = io_error("syncing the folder of", path, err);
        if (fd >= 0)
            close(fd);
        return r;
    }
    close(fd);
    return 0;
}

static int fill_new(const char *path, struct error *err)
{
    sqlite3 *db = NULL;
    char header[120];

    snprintf(header, sizeof header, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             JOURNAL_APPLICATION, JOURNAL_VERSION);
    int r = open_database(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, err);
    if (r < 0)
        return r;
    r = run_sql(db, "PRAGMA synchronous = EXTRA", err);
    if (r == 0)
        r = run_sql(db, header, err);
    if (r == 0)
        r = run_sql(db, journal_schema, err);
    sqlite3_close(db);
    return r;
}

/* Under another name first: a file that is there is whole, an empty one is damage. */
static int create_file(const char *path, struct error *err)
{
    char fresh[PATH_BYTES];

    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        return error_set(err, ERR_INVALID, "the journal's path is too long");
    if (unlink(fresh) != 0 && errno != ENOENT)
        return io_error("removing", fresh, err);
    int r = fill_new(fresh, err);
    if (r < 0)
        return r;
    if (rename(fresh, path) != 0)
        return io_error("naming", path, err);
    return sync_folder(path, err);
}

static int check_file(sqlite3 *db, struct error *err)
{
    char text[200];
    int r = read_pragma(db, "PRAGMA application_id", text, sizeof text, err);

    if (r < 0)
        return r;
    if (atol(text) != JOURNAL_APPLICATION)
        return error_set(err, ERR_INTERNAL, "not a journal of this program");
    r = read_pragma(db, "PRAGMA user_version", text, sizeof text, err);
    if (r < 0)
        return r;
    if (atol(text) != JOURNAL_VERSION)
        return error_set(err, ERR_INTERNAL, "the journal has version %s, this program knows %d",
                         text, JOURNAL_VERSION);
    r = read_pragma(db, "PRAGMA integrity_check(1)", text, sizeof text, err);
    if (r < 0)
        return r;
    if (strcmp(text, "ok") != 0)
        return error_set(err, ERR_INTERNAL, "the journal is damaged: %s", text);
    return 0;
}

static int open_file(struct journal *j, const char *path, struct error *err)
{
    char mode[20];

    if (access(path, F_OK) != 0 && errno == ENOENT) {
        int created = create_file(path, err);
        if (created < 0)
            return created;
    }
    int r = open_database(path, SQLITE_OPEN_READWRITE, &j->db, err);
    if (r == 0)
        r = check_file(j->db, err);
    if (r == 0)
        r = read_pragma(j->db, "PRAGMA journal_mode = WAL", mode, sizeof mode, err);
    if (r == 0 && strcmp(mode, "wal") != 0)
        r = error_set(err, ERR_UNAVAILABLE, "the file system has no write-ahead log: %s", mode);
    if (r == 0)
        r = run_sql(j->db, "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864", err);
    if (r == 0)
        r = journal_statements_prepare(j->db, &j->statements, err);
    return r;
}

/* Two processes with one journal would both run its jobs. */
static int lock_file(struct journal *j, const char *path, struct error *err)
{
    char name[PATH_BYTES];

    if (snprintf(name, sizeof name, "%s.lock", path) >= (int)sizeof name)
        return error_set(err, ERR_INVALID, "the journal's path is too long");
    j->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->lock_fd < 0)
        return io_error("opening", name, err);
    if (flock(j->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, ERR_CONFLICT, "another process has it");
    return 0;
}

int journal_open(const char *path, struct journal **ret, struct error *err)
{
    struct journal *j = calloc(1, sizeof *j);

    if (j == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    j->lock_fd = -1;
    atomic_store(&j->healthy, true);
    int r = lock_file(j, path, err);
    if (r == 0)
        r = open_file(j, path, err);
    if (r < 0) {
        journal_close(j);
        return error_in(err, "journal %s", path);
    }
    *ret = j;
    return 0;
}

struct journal *journal_close(struct journal *j)
{
    if (j == NULL)
        return NULL;
    j->batcher = batcher_stop(j->batcher);
    journal_statements_fini(&j->statements);
    sqlite3_close(j->db);
    if (j->lock_fd >= 0)
        close(j->lock_fd);
    free(j);
    return NULL;
}

int journal_read(struct journal *j, const struct journal_reader *reader, struct error *err)
{
    return journal_table_read(j->db, reader, err);
}

/* ---- transactions ---- */

static int apply_all(struct journal *j, const struct journal_change *changes, size_t count,
                     struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        int r = journal_apply(j->db, &j->statements, &changes[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int end_transaction(struct journal *j, int r, struct error *err)
{
    if (r == 0)
        r = run_sql(j->db, "COMMIT", err);
    if (r < 0 && !sqlite3_get_autocommit(j->db))
        sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    if (r == 0)
        atomic_fetch_add(&j->commits, 1);
    return r;
}

int journal_write_now(struct journal *j, const struct journal_change *changes, size_t count,
                      struct error *err)
{
    int r = run_sql(j->db, "BEGIN IMMEDIATE", err);

    if (r == 0)
        r = apply_all(j, changes, count, err);
    return end_transaction(j, r, err);
}

static int commit_writes(struct journal *j, struct journal_write **writes, size_t count,
                         struct error *err)
{
    int r = run_sql(j->db, "BEGIN IMMEDIATE", err);

    for (size_t i = 0; r == 0 && i < count; i++)
        r = apply_all(j, writes[i]->changes, writes[i]->count, err);
    return end_transaction(j, r, err);
}

static void finish(struct journal *j, struct journal_write *w, int r, const struct error *err)
{
    bool was = atomic_exchange(&j->healthy, r == 0);

    if (r < 0)
        atomic_fetch_add(&j->failures, 1);
    if (r < 0 && was)
        log_error("the journal cannot be written", F_ERROR(err));
    else if (r == 0 && !was)
        log_info("the journal can be written again");
    w->done(w, r, r < 0 ? err->message : "");
}

/* One that fails must not take its neighbours with it. */
static void flush(void *ctx, void **items, size_t count)
{
    struct journal *j = ctx;
    struct journal_write **writes = (struct journal_write **)items;
    struct error err = {0};
    int r = commit_writes(j, writes, count, &err);

    for (size_t i = 0; i < count; i++) {
        int one = r;
        if (r < 0 && count > 1)
            one = commit_writes(j, &writes[i], 1, &err);
        finish(j, writes[i], one, &err);
    }
}

int journal_start(struct journal *j, size_t max_queued, struct error *err)
{
    struct batcher_options options = {
        .name = "journal",
        .max_batch = MAX_BATCH,
        .max_queued = max_queued,
        .spacing_ms = SPACING_MS,
        .flush = flush,
        .ctx = j,
    };

    return batcher_start(&options, &j->batcher, err);
}

int journal_submit(struct journal *j, struct journal_write *w, struct error *err)
{
    return batcher_submit(j->batcher, w, err);
}

void journal_stats_get(struct journal *j, struct journal_stats *ret)
{
    *ret = (struct journal_stats){
        .commits = atomic_load(&j->commits),
        .failures = atomic_load(&j->failures),
        .healthy = atomic_load(&j->healthy),
    };
    batcher_stats_get(j->batcher, &ret->queue);
}
