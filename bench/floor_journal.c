#include "bench/floor.h"

#include "lib/clock.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

#define WRITES 3 /* of a job: accepted, begun, ended */

/* The columns are those of an agent's journal. */
static const char SCHEMA[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;"
    "CREATE TABLE jobs ("
    " hypervisor INTEGER NOT NULL, installation TEXT NOT NULL, event INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, kind INTEGER NOT NULL, droplet INTEGER NOT NULL,"
    " state INTEGER NOT NULL, ack INTEGER NOT NULL, accepted_ms INTEGER NOT NULL,"
    " began_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, reason TEXT NOT NULL,"
    " detail TEXT NOT NULL, sum INTEGER NOT NULL, job BLOB NOT NULL, job_sum INTEGER NOT NULL,"
    " UNIQUE (hypervisor, installation, event));";
static const char INSERT_JOB[] =
    "INSERT INTO jobs VALUES (?1, '6f9619ff-8b86-4011-b42d-00c04fc964ff', ?2, 1, 1, ?2, 1, 1, ?3,"
    " 0, 0, '', '', ?3, ?4, ?3)";
static const char UPDATE_JOB[] =
    "UPDATE jobs SET state = ?4, began_ms = ?3, ended_ms = ?3, sum = ?3 WHERE hypervisor = ?1"
    " AND installation = '6f9619ff-8b86-4011-b42d-00c04fc964ff' AND event = ?2 AND attempt = 1";

struct floor_journal {
    const struct floor_options *options;
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *insert, *update;
    void *job;
};

static void check(struct floor_journal *j, int code)
{
    if (code != SQLITE_OK && code != SQLITE_DONE)
        floor_die("the journal", sqlite3_errmsg(j->db));
}

static sqlite3_stmt *prepare(struct floor_journal *j, const char *sql)
{
    sqlite3_stmt *s = NULL;

    check(j, sqlite3_prepare_v2(j->db, sql, -1, &s, NULL));
    return s;
}

struct floor_journal *floor_journal_open(const struct floor_options *o)
{
    struct floor_journal *j = calloc(1, sizeof *j);

    if (j == NULL || (j->job = calloc(1, o->params_bytes + 64)) == NULL)
        floor_die("the journal", "out of memory");
    j->options = o;
    check(j, sqlite3_open(o->journal, &j->db));
    check(j, sqlite3_exec(j->db, SCHEMA, NULL, NULL, NULL));
    j->begin = prepare(j, "BEGIN IMMEDIATE");
    j->commit = prepare(j, "COMMIT");
    j->insert = prepare(j, INSERT_JOB);
    j->update = prepare(j, UPDATE_JOB);
    return j;
}

static void step(struct floor_journal *j, sqlite3_stmt *s)
{
    check(j, sqlite3_step(s));
    check(j, sqlite3_reset(s));
}

static void write_job(struct floor_journal *j, uint64_t event, int state)
{
    sqlite3_stmt *s = state == 1 ? j->insert : j->update;

    check(j, sqlite3_bind_int64(s, 1, (int64_t)(1 + event % 1000)));
    check(j, sqlite3_bind_int64(s, 2, (int64_t)event));
    check(j, sqlite3_bind_int64(s, 3, unix_ms()));
    if (state == 1)
        check(j,
              sqlite3_bind_blob(s, 4, j->job, (int)j->options->params_bytes + 64, SQLITE_STATIC));
    else
        check(j, sqlite3_bind_int(s, 4, state));
    step(j, s);
}

static int64_t thread_cpu_us(void)
{
    struct rusage r;

    getrusage(RUSAGE_THREAD, &r);
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 + r.ru_utime.tv_usec +
           r.ru_stime.tv_usec;
}

int64_t floor_journal_run(struct floor_journal *j)
{
    int64_t before = thread_cpu_us();
    size_t commits = j->options->journal_commits, count = j->options->count;
    size_t groups = commits < WRITES ? 1 : commits / WRITES;

    for (size_t g = 0; g < groups; g++) {
        for (int state = 1; state <= WRITES; state++) {
            step(j, j->begin);
            for (size_t k = count * g / groups; k < count * (g + 1) / groups; k++)
                write_job(j, k + 1, state);
            step(j, j->commit);
        }
    }
    return thread_cpu_us() - before;
}

int64_t floor_journal_one(struct floor_journal *j, uint64_t event)
{
    int64_t began = mono_us();

    step(j, j->begin);
    write_job(j, event, 1);
    step(j, j->commit);
    return mono_us() - began;
}

struct floor_journal *floor_journal_close(struct floor_journal *j)
{
    sqlite3_finalize(j->begin);
    sqlite3_finalize(j->commit);
    sqlite3_finalize(j->insert);
    sqlite3_finalize(j->update);
    sqlite3_close(j->db);
    free(j->job);
    free(j);
    return NULL;
}
