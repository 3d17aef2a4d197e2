#include "hypervisor-agent/journal_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* `sum` is over all of the row but job, `job_sum` over job: SQLite itself does not notice a flipped
 * bit in a value. */
const char journal_schema[] =
    "CREATE TABLE hypervisors ("
    " hypervisor INTEGER PRIMARY KEY, journal_id TEXT NOT NULL, installation TEXT NOT NULL,"
    " session INTEGER NOT NULL, sum INTEGER NOT NULL);"
    "CREATE TABLE jobs ("
    " hypervisor INTEGER NOT NULL, installation TEXT NOT NULL, event INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, kind INTEGER NOT NULL, droplet INTEGER NOT NULL,"
    " state INTEGER NOT NULL, ack INTEGER NOT NULL, accepted_ms INTEGER NOT NULL,"
    " began_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, reason TEXT NOT NULL,"
    " detail TEXT NOT NULL, sum INTEGER NOT NULL, job BLOB NOT NULL, job_sum INTEGER NOT NULL,"
    " UNIQUE (hypervisor, installation, event));"
    "CREATE TABLE marks ("
    " hypervisor INTEGER NOT NULL, installation TEXT NOT NULL, droplet INTEGER NOT NULL,"
    " event INTEGER NOT NULL, at_ms INTEGER NOT NULL, sum INTEGER NOT NULL,"
    " PRIMARY KEY (hypervisor, installation, droplet)) WITHOUT ROWID;";

static const char PUT_JOB[] =
    "INSERT INTO jobs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,"
    " ?16)"
    " ON CONFLICT (hypervisor, installation, event) DO UPDATE SET attempt = ?4, kind = ?5,"
    " droplet = ?6, state = ?7, ack = ?8, accepted_ms = ?9, began_ms = ?10, ended_ms = ?11,"
    " reason = ?12, detail = ?13, sum = ?14, job = ?15, job_sum = ?16";
static const char SET_JOB[] =
    "UPDATE jobs SET kind = ?5, droplet = ?6, state = ?7, ack = ?8, accepted_ms = ?9,"
    " began_ms = ?10, ended_ms = ?11, reason = ?12, detail = ?13, sum = ?14"
    " WHERE hypervisor = ?1 AND installation = ?2 AND event = ?3 AND attempt = ?4";
static const char DELETE_JOB[] =
    "DELETE FROM jobs WHERE hypervisor = ?1 AND installation = ?2 AND event = ?3 AND attempt = ?4";
static const char PUT_MARK[] =
    "INSERT INTO marks VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    " ON CONFLICT (hypervisor, installation, droplet) DO NOTHING"; /* the first one stands */
static const char DELETE_MARK[] =
    "DELETE FROM marks WHERE hypervisor = ?1 AND installation = ?2 AND droplet = ?3";
static const char PUT_HYPERVISOR[] =
    "INSERT INTO hypervisors VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (hypervisor) DO UPDATE SET journal_id = ?2, installation = ?3, session = ?4,"
    " sum = ?5";

int journal_error(sqlite3 *db, const char *what, struct error *err)
{
    int code = sqlite3_errcode(db) & 0xff;
    bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;

    return error_set(err, damaged ? ERR_INTERNAL : ERR_UNAVAILABLE, "%s: %s", what,
                     sqlite3_errmsg(db));
}

/* ---- checksums: FNV-1a over the fields in the order of the columns ---- */

struct sum {
    uint64_t v;
};

static void sum_bytes(struct sum *s, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < size; i++)
        s->v = (s->v ^ p[i]) * 0x100000001B3ull;
}

static void sum_number(struct sum *s, uint64_t v)
{
    sum_bytes(s, &v, sizeof v);
}

static void sum_text(struct sum *s, const char *text)
{
    sum_bytes(s, text, strlen(text) + 1);
}

#define SUM_START                                                                                  \
    (struct sum)                                                                                   \
    {                                                                                              \
        0xCBF29CE484222325ull                                                                      \
    }

static int64_t sum_of_job(const struct journal_job *job)
{
    struct sum s = SUM_START;

    sum_number(&s, job->hypervisor.v);
    sum_text(&s, job->installation);
    sum_number(&s, job->event.v);
    sum_number(&s, job->attempt);
    sum_number(&s, job->kind);
    sum_number(&s, job->droplet.v);
    sum_number(&s, job->state);
    sum_number(&s, job->ack);
    sum_number(&s, (uint64_t)job->accepted_ms);
    sum_number(&s, (uint64_t)job->began_ms);
    sum_number(&s, (uint64_t)job->ended_ms);
    sum_text(&s, job->reason);
    sum_text(&s, job->detail);
    return (int64_t)s.v;
}

static int64_t sum_of_mark(const struct journal_mark *m)
{
    struct sum s = SUM_START;

    sum_number(&s, m->hypervisor.v);
    sum_text(&s, m->installation);
    sum_number(&s, m->droplet.v);
    sum_number(&s, m->event.v);
    sum_number(&s, (uint64_t)m->at_ms);
    return (int64_t)s.v;
}

static int64_t sum_of_hypervisor(const struct journal_hypervisor *h)
{
    struct sum s = SUM_START;

    sum_number(&s, h->id.v);
    sum_text(&s, h->journal_id);
    sum_text(&s, h->installation);
    sum_number(&s, h->session);
    return (int64_t)s.v;
}

static int64_t sum_of_bytes(const void *bytes, size_t size)
{
    struct sum s = SUM_START;

    sum_bytes(&s, bytes, size);
    return (int64_t)s.v;
}

/* ---- writing ---- */

int journal_statements_prepare(sqlite3 *db, struct journal_statements *ret, struct error *err)
{
    static const char *const text[] = {
        [JOURNAL_PUT_JOB] = PUT_JOB,         [JOURNAL_SET_JOB] = SET_JOB,
        [JOURNAL_DELETE_JOB] = DELETE_JOB,   [JOURNAL_PUT_MARK] = PUT_MARK,
        [JOURNAL_DELETE_MARK] = DELETE_MARK, [JOURNAL_PUT_HYPERVISOR] = PUT_HYPERVISOR,
    };

    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        if (sqlite3_prepare_v3(db, text[i], -1, SQLITE_PREPARE_PERSISTENT, &ret->change[i], NULL) !=
            SQLITE_OK)
            return journal_error(db, "preparing the journal's statements", err);
    return 0;
}

void journal_statements_fini(struct journal_statements *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->change); i++) {
        sqlite3_finalize(s->change[i]);
        s->change[i] = NULL;
    }
}

static void bind_number(sqlite3_stmt *s, int at, uint64_t v)
{
    sqlite3_bind_int64(s, at, (int64_t)v);
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC); /* outlives the step */
}

static void bind_key(sqlite3_stmt *s, hypervisor_id hypervisor, const char *installation,
                     uint64_t number)
{
    bind_number(s, 1, hypervisor.v);
    bind_text(s, 2, installation);
    bind_number(s, 3, number);
}

static void bind_job(sqlite3_stmt *s, const struct journal_job *job)
{
    bind_number(s, 5, job->kind);
    bind_number(s, 6, job->droplet.v);
    bind_number(s, 7, job->state);
    bind_number(s, 8, job->ack);
    sqlite3_bind_int64(s, 9, job->accepted_ms);
    sqlite3_bind_int64(s, 10, job->began_ms);
    sqlite3_bind_int64(s, 11, job->ended_ms);
    bind_text(s, 12, job->reason);
    bind_text(s, 13, job->detail);
    sqlite3_bind_int64(s, 14, sum_of_job(job));
}

static void bind_mark(sqlite3_stmt *s, const struct journal_mark *m)
{
    bind_number(s, 4, m->event.v);
    sqlite3_bind_int64(s, 5, m->at_ms);
    sqlite3_bind_int64(s, 6, sum_of_mark(m));
}

static void bind_hypervisor(sqlite3_stmt *s, const struct journal_hypervisor *h)
{
    bind_number(s, 1, h->id.v);
    bind_text(s, 2, h->journal_id);
    bind_text(s, 3, h->installation);
    bind_number(s, 4, h->session);
    sqlite3_bind_int64(s, 5, sum_of_hypervisor(h));
}

static void bind_change(sqlite3_stmt *s, const struct journal_change *c)
{
    switch (c->kind) {
    case JOURNAL_PUT_JOB:
        sqlite3_bind_blob64(s, 15, c->size ? (const void *)c->bytes : "", c->size, SQLITE_STATIC);
        sqlite3_bind_int64(s, 16, sum_of_bytes(c->bytes, c->size));
        bind_job(s, &c->job);
        break;
    case JOURNAL_SET_JOB:
        bind_job(s, &c->job);
        break;
    case JOURNAL_DELETE_JOB:
        break;
    case JOURNAL_PUT_MARK:
        bind_mark(s, &c->mark);
        break;
    case JOURNAL_DELETE_MARK:
        break;
    case JOURNAL_PUT_HYPERVISOR:
        bind_hypervisor(s, &c->hypervisor);
        return;
    }
    if (c->kind == JOURNAL_PUT_MARK || c->kind == JOURNAL_DELETE_MARK) {
        bind_key(s, c->mark.hypervisor, c->mark.installation, c->mark.droplet.v);
    } else {
        bind_key(s, c->job.hypervisor, c->job.installation, c->job.event.v);
        bind_number(s, 4, c->job.attempt);
    }
}

int journal_apply(sqlite3 *db, struct journal_statements *s, const struct journal_change *change,
                  struct error *err)
{
    sqlite3_stmt *statement = s->change[change->kind];

    bind_change(statement, change);
    int stepped = sqlite3_step(statement);
    int r = 0;
    if (stepped != SQLITE_DONE)
        r = journal_error(db, "writing to the journal", err);
    else if (change->kind == JOURNAL_SET_JOB && sqlite3_changes(db) != 1)
        r = error_set(err, ERR_INTERNAL, "the journal has no event %" PRIu64 " at attempt %u",
                      change->job.event.v, change->job.attempt);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return r;
}

/* ---- reading ---- */

static uint64_t number(sqlite3_stmt *s, int column)
{
    return (uint64_t)sqlite3_column_int64(s, column);
}

/* A text that does not fit is cut: its checksum tells. */
static void text(sqlite3_stmt *s, int column, char *ret, size_t size)
{
    const unsigned char *t = sqlite3_column_text(s, column);

    snprintf(ret, size, "%s", t != NULL ? (const char *)t : "");
}

static int damaged(const char *table, struct error *err)
{
    return error_set(err, ERR_INTERNAL, "a row of %s is damaged: its checksum is wrong", table);
}

static int read_hypervisor(sqlite3_stmt *s, const struct journal_reader *reader, struct error *err)
{
    struct journal_hypervisor h = {.id = {number(s, 0)}, .session = number(s, 3)};

    text(s, 1, h.journal_id, sizeof h.journal_id);
    text(s, 2, h.installation, sizeof h.installation);
    if (sum_of_hypervisor(&h) != sqlite3_column_int64(s, 4))
        return damaged("hypervisors", err);
    return reader->hypervisor != NULL ? reader->hypervisor(reader->ctx, &h, err) : 0;
}

static int read_mark(sqlite3_stmt *s, const struct journal_reader *reader, struct error *err)
{
    struct journal_mark m = {
        .hypervisor = {number(s, 0)},
        .droplet = {number(s, 2)},
        .event = {number(s, 3)},
        .at_ms = sqlite3_column_int64(s, 4),
    };

    text(s, 1, m.installation, sizeof m.installation);
    if (sum_of_mark(&m) != sqlite3_column_int64(s, 5))
        return damaged("marks", err);
    return reader->mark != NULL ? reader->mark(reader->ctx, &m, err) : 0;
}

static int read_job(sqlite3_stmt *s, const struct journal_reader *reader, struct error *err)
{
    struct journal_job job = {
        .hypervisor = {number(s, 0)},
        .event = {number(s, 2)},
        .attempt = (uint32_t)number(s, 3),
        .kind = (enum job_kind)number(s, 4),
        .droplet = {number(s, 5)},
        .state = (enum job_state)number(s, 6),
        .ack = (enum job_ack)number(s, 7),
        .accepted_ms = sqlite3_column_int64(s, 8),
        .began_ms = sqlite3_column_int64(s, 9),
        .ended_ms = sqlite3_column_int64(s, 10),
    };

    text(s, 1, job.installation, sizeof job.installation);
    text(s, 11, job.reason, sizeof job.reason);
    text(s, 12, job.detail, sizeof job.detail);
    const uint8_t *bytes = sqlite3_column_blob(s, 14);
    size_t size = (size_t)sqlite3_column_bytes(s, 14);
    bool known = (job.kind == JOB_CREATE || job.kind == JOB_DESTROY) && job.state > JOB_NONE &&
                 job.state < JOB_STATES && job.ack <= JOB_ORPHAN;
    if (!known || sum_of_job(&job) != sqlite3_column_int64(s, 13) ||
        sum_of_bytes(bytes, size) != sqlite3_column_int64(s, 15))
        return damaged("jobs", err);
    return reader->job != NULL ? reader->job(reader->ctx, &job, bytes, size, err) : 0;
}

static int read_rows(sqlite3 *db, const char *select,
                     int (*row)(sqlite3_stmt *s, const struct journal_reader *reader,
                                struct error *err),
                     const struct journal_reader *reader, struct error *err)
{
    sqlite3_stmt *s = NULL;
    int r = 0, stepped = SQLITE_DONE;

    if (sqlite3_prepare_v2(db, select, -1, &s, NULL) != SQLITE_OK)
        return journal_error(db, "reading the journal", err);
    while (r >= 0 && (stepped = sqlite3_step(s)) == SQLITE_ROW)
        r = row(s, reader, err);
    if (r >= 0 && stepped != SQLITE_DONE)
        r = journal_error(db, "reading the journal", err);
    sqlite3_finalize(s);
    return r < 0 ? r : 0;
}

int journal_table_read(sqlite3 *db, const struct journal_reader *reader, struct error *err)
{
    int r = read_rows(db, "SELECT * FROM hypervisors ORDER BY hypervisor", read_hypervisor, reader,
                      err);

    if (r == 0)
        r = read_rows(db, "SELECT * FROM marks", read_mark, reader, err);
    if (r == 0) /* oldest first: that is how they are pruned */
        r = read_rows(db, "SELECT * FROM jobs ORDER BY ended_ms, rowid", read_job, reader, err);
    return r;
}
