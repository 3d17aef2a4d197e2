#include "hypervisor-agent/journal.h"
#include "lib/log.h"
#include "support.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INSTALLATION "6f0a1f2e-31f5-4f0e-9d6f-0d7a9a0c0b11"
static const char payload[] = "what an agent was handed, as it came over the wire";

struct fixture {
    char folder[FOLDER_BYTES], copy[FOLDER_BYTES];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    log_open("test", LOG_ERROR + 1);
    folder_make(f->folder);
    folder_make(f->copy);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    folder_remove(f->folder);
    folder_remove(f->copy);
    free(f);
    return 0;
}

static struct journal *open_in(const char *folder)
{
    struct journal *j = NULL;
    struct error err;

    assert_ok(journal_open(folder_path(folder, "journal.db"), &j, &err), &err);
    return j;
}

static struct journal_change job_change(enum journal_change_kind kind, uint64_t event,
                                        uint32_t attempt, enum job_state state)
{
    struct journal_change c = {
        .kind = kind,
        .job = {.hypervisor = {7},
                .event = {event},
                .attempt = attempt,
                .kind = JOB_CREATE,
                .droplet = {event + 1000},
                .state = state,
                .accepted_ms = 1700000000000,
                .installation = INSTALLATION,
                .reason = "host_disk_full",
                .detail = "0 GiB left"},
    };

    if (kind == JOURNAL_PUT_JOB) {
        c.bytes = (const uint8_t *)payload;
        c.size = sizeof payload;
    }
    return c;
}

static struct journal_change mark_change(enum journal_change_kind kind, uint64_t droplet,
                                         uint64_t event)
{
    return (struct journal_change){.kind = kind,
                                   .mark = {.hypervisor = {7},
                                            .droplet = {droplet},
                                            .event = {event},
                                            .at_ms = 5,
                                            .installation = INSTALLATION}};
}

static struct journal_change hypervisor_change(uint64_t session)
{
    return (
        struct journal_change){.kind = JOURNAL_PUT_HYPERVISOR,
                               .hypervisor = {.id = {7},
                                              .journal_id = "0b0f6f0e-6a3e-4a4e-8b3e-2f3c4d5e6f70",
                                              .installation = INSTALLATION,
                                              .session = session}};
}

static void write_now(struct journal *j, struct journal_change change)
{
    struct error err;

    assert_ok(journal_write_now(j, &change, 1, &err), &err);
}

struct content {
    size_t hypervisors, marks, jobs;
    struct journal_hypervisor hypervisor;
    struct journal_mark mark;
    struct journal_job job; /* the last of each */
    bool payload_whole;
};

static int on_hypervisor(void *ctx, const struct journal_hypervisor *h, struct error *err)
{
    struct content *c = ctx;

    UNUSED(err);
    c->hypervisors++;
    c->hypervisor = *h;
    return 0;
}

static int on_mark(void *ctx, const struct journal_mark *m, struct error *err)
{
    struct content *c = ctx;

    UNUSED(err);
    c->marks++;
    c->mark = *m;
    return 0;
}

static int on_job(void *ctx, const struct journal_job *job, const uint8_t *bytes, size_t size,
                  struct error *err)
{
    struct content *c = ctx;

    UNUSED(err);
    c->jobs++;
    c->job = *job;
    c->payload_whole = size == sizeof payload && memcmp(bytes, payload, size) == 0;
    return 0;
}

static int read_into(struct journal *j, struct content *c, struct error *err)
{
    struct journal_reader reader = {on_hypervisor, on_mark, on_job, c};

    *c = (struct content){0};
    return journal_read(j, &reader, err);
}

static struct content read_all(struct journal *j)
{
    struct content c;
    struct error err;

    assert_ok(read_into(j, &c, &err), &err);
    return c;
}

static void what_was_written_is_there_after_a_crash(void **state)
{
    struct fixture *f = *state;
    struct journal *j = open_in(f->folder);

    write_now(j, hypervisor_change(1000));
    write_now(j, mark_change(JOURNAL_PUT_MARK, 3, 4));
    write_now(j, job_change(JOURNAL_PUT_JOB, 1, 2, JOB_ACCEPTED));
    folder_copy(f->folder, f->copy); /* it was not closed */
    struct journal *after = open_in(f->copy);
    struct content c = read_all(after);
    assert_int_equal(c.hypervisors, 1);
    assert_int_equal(c.hypervisor.session, 1000);
    assert_string_equal(c.hypervisor.installation, INSTALLATION);
    assert_int_equal(c.marks, 1);
    assert_int_equal(c.mark.event.v, 4);
    assert_int_equal(c.jobs, 1);
    assert_int_equal(c.job.attempt, 2);
    assert_int_equal(c.job.droplet.v, 1001);
    assert_int_equal(c.job.state, JOB_ACCEPTED);
    assert_string_equal(c.job.reason, "host_disk_full");
    assert_true(c.payload_whole);
    journal_close(after);
    journal_close(j);
}

struct waiting {
    struct journal_write write;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int done, code;
    unsigned order;
};
static unsigned done_count;

static void on_done(struct journal_write *w, int code, const char *why)
{
    struct waiting *one = (struct waiting *)(void *)w;

    UNUSED(why);
    LOCK_SCOPE(&one->lock);
    one->done = 1;
    one->code = code;
    one->order = ++done_count;
    pthread_cond_signal(&one->wake);
}

static void waiting_init(struct waiting *w, const struct journal_change *change)
{
    *w = (struct waiting){.write = {.changes = change, .count = 1, .done = on_done}};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
}

static int waiting_wait(struct waiting *w)
{
    LOCK_SCOPE(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->wake, &w->lock);
    return w->code;
}

static void what_is_said_to_be_done_is_durable(void **state)
{
    struct fixture *f = *state;
    struct journal *j = open_in(f->folder);
    struct journal_change change = job_change(JOURNAL_PUT_JOB, 1, 1, JOB_ACCEPTED);
    struct waiting w;
    struct error err;

    assert_ok(journal_start(j, 100, &err), &err);
    waiting_init(&w, &change);
    assert_ok(journal_submit(j, &w.write, &err), &err);
    assert_int_equal(waiting_wait(&w), 0);
    folder_copy(f->folder, f->copy);
    struct journal *after = open_in(f->copy);
    assert_int_equal(read_all(after).jobs, 1);
    journal_close(after);
    journal_close(j);
}

static void writes_are_committed_in_their_order_and_one_bad_one_alone_fails(void **state)
{
    enum { WRITES = 300, BAD = 150 };
    struct fixture *f = *state;
    struct journal *j = open_in(f->folder);
    static struct waiting w[WRITES];
    static struct journal_change changes[WRITES];
    struct error err;

    assert_ok(journal_start(j, WRITES, &err), &err);
    done_count = 0;
    for (size_t i = 0; i < WRITES; i++) {
        /* Each goes on where the one before left the only job. */
        changes[i] = i == 0 ? job_change(JOURNAL_PUT_JOB, 1, 1, JOB_ACCEPTED)
                            : job_change(JOURNAL_SET_JOB, 1, 1, JOB_BEGUN);
        changes[i].job.began_ms = (int64_t)i;
        if (i == BAD)
            changes[i].job.attempt = 2; /* which is not there */
        waiting_init(&w[i], &changes[i]);
        assert_ok(journal_submit(j, &w[i].write, &err), &err);
    }
    for (size_t i = 0; i < WRITES; i++) {
        assert_int_equal(waiting_wait(&w[i]), i == BAD ? ERR_INTERNAL : 0);
        assert_int_equal(w[i].order, i + 1);
    }
    journal_close(j);
    j = open_in(f->folder);
    assert_int_equal(read_all(j).job.began_ms, WRITES - 1);
    journal_close(j);
}

static void a_higher_attempt_takes_the_row(void **state)
{
    struct fixture *f = *state;
    struct journal *j = open_in(f->folder);
    struct error err;

    write_now(j, job_change(JOURNAL_PUT_JOB, 1, 1, JOB_CLOSED));
    write_now(j, job_change(JOURNAL_PUT_JOB, 1, 2, JOB_ACCEPTED));
    struct journal_change stale = job_change(JOURNAL_SET_JOB, 1, 1, JOB_BEGUN);
    assert_int_equal(journal_write_now(j, &stale, 1, &err), ERR_INTERNAL);
    struct content c = read_all(j);
    assert_int_equal(c.jobs, 1);
    assert_int_equal(c.job.attempt, 2);
    assert_int_equal(c.job.state, JOB_ACCEPTED);
    write_now(j, job_change(JOURNAL_DELETE_JOB, 1, 1, JOB_CLOSED)); /* not this one */
    assert_int_equal(read_all(j).jobs, 1);
    write_now(j, job_change(JOURNAL_DELETE_JOB, 1, 2, JOB_CLOSED));
    assert_int_equal(read_all(j).jobs, 0);
    journal_close(j);
}

static void what_is_written_together_is_there_together_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    struct journal *j = open_in(f->folder);
    struct error err;
    struct journal_change changes[] = {
        mark_change(JOURNAL_PUT_MARK, 1001, 9),
        job_change(JOURNAL_SET_JOB, 1, 1, JOB_CLOSED), /* there is no such row */
    };

    assert_int_equal(journal_write_now(j, changes, ARRAY_LEN(changes), &err), ERR_INTERNAL);
    assert_int_equal(read_all(j).marks, 0);
    write_now(j, job_change(JOURNAL_PUT_JOB, 1, 1, JOB_ACCEPTED));
    assert_ok(journal_write_now(j, changes, ARRAY_LEN(changes), &err), &err);
    struct content c = read_all(j);
    assert_int_equal(c.marks, 1);
    assert_int_equal(c.job.state, JOB_CLOSED);
    journal_close(j);
}

static void the_first_mark_of_a_droplet_stands(void **state)
{
    struct fixture *f = *state;
    struct journal *j = open_in(f->folder);

    write_now(j, mark_change(JOURNAL_PUT_MARK, 3, 4));
    write_now(j, mark_change(JOURNAL_PUT_MARK, 3, 5));
    assert_int_equal(read_all(j).marks, 1);
    assert_int_equal(read_all(j).mark.event.v, 4);
    write_now(j, mark_change(JOURNAL_DELETE_MARK, 3, 4));
    assert_int_equal(read_all(j).marks, 0);
    journal_close(j);
}

/* ---- what must not be opened ---- */

static void make_closed(const char *folder)
{
    struct journal *j = open_in(folder);

    write_now(j, hypervisor_change(1000));
    for (uint64_t event = 1; event <= 50; event++)
        write_now(j, job_change(JOURNAL_PUT_JOB, event, 1, JOB_ACCEPTED));
    write_now(j, mark_change(JOURNAL_PUT_MARK, 3, 4));
    journal_close(j);
}

/* Opened and read, as at a start. */
static int load(const char *folder, struct error *err)
{
    struct journal *j = NULL;
    struct content c;
    int r = journal_open(folder_path(folder, "journal.db"), &j, err);

    if (r == 0)
        r = read_into(j, &c, err);
    journal_close(j);
    return r;
}

static void a_truncated_file_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *path = folder_path(f->folder, "journal.db");
    struct error err;
    size_t size;

    make_closed(f->folder);
    assert_int_equal(load(f->folder, &err), 0);
    char *whole = file_read(path, &size);
    for (size_t keep = 0; keep < size; keep += size / 7) {
        file_write(path, whole, keep);
        if (load(f->folder, &err) != ERR_INTERNAL)
            fail_msg("%zu of %zu bytes were taken for a journal", keep, size);
    }
    free(whole);
}

/* Every place where `value` lies in the file, with one bit turned over. */
static size_t flip_each(struct fixture *f, const char *value)
{
    const char *path = folder_path(f->folder, "journal.db");
    struct error err;
    size_t size, found = 0, length = strlen(value);
    char *whole = file_read(path, &size);

    for (size_t at = 0; at + length <= size; at++) {
        if (memcmp(whole + at, value, length) != 0)
            continue;
        found++;
        whole[at + length / 2] ^= 4;
        file_write(path, whole, size);
        if (load(f->folder, &err) != ERR_INTERNAL)
            fail_msg("a flipped bit of \"%s\" at %zu went unnoticed", value, at);
        whole[at + length / 2] ^= 4;
    }
    file_write(path, whole, size);
    free(whole);
    return found;
}

static void a_flipped_bit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;

    make_closed(f->folder);
    assert_true(flip_each(f, payload) >= 50);
    assert_true(flip_each(f, "host_disk_full") >= 50);
    assert_true(flip_each(f, "0b0f6f0e-6a3e") >= 1);
    assert_true(flip_each(f, "SQLite format 3") == 1);
    assert_int_equal(load(f->folder, &err), 0);
}

static void a_file_that_is_not_ours_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *path = folder_path(f->folder, "journal.db");
    struct error err;
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE jobs (a)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(load(f->folder, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.message, "not a journal"));
    file_write(path, "a letter", 8);
    assert_int_equal(load(f->folder, &err), ERR_INTERNAL);
    file_write(path, "", 0);
    assert_int_equal(load(f->folder, &err), ERR_INTERNAL);
}

static void a_newer_version_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;
    sqlite3 *db = NULL;

    make_closed(f->folder);
    assert_int_equal(sqlite3_open(folder_path(f->folder, "journal.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 2", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(load(f->folder, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.message, "version 2"));
}

static void a_second_opener_is_refused(void **state)
{
    struct fixture *f = *state;
    struct journal *j = open_in(f->folder);
    struct error err;

    assert_int_equal(load(f->folder, &err), ERR_CONFLICT);
    journal_close(j);
    assert_int_equal(load(f->folder, &err), 0);
}

static void a_start_that_was_cut_short_leaves_nothing_in_the_way(void **state)
{
    struct fixture *f = *state;
    struct error err;

    file_write(folder_path(f->folder, "journal.db.new"), "half", 4);
    assert_int_equal(load(f->folder, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_there_after_a_crash),
        TEST(what_is_said_to_be_done_is_durable),
        TEST(writes_are_committed_in_their_order_and_one_bad_one_alone_fails),
        TEST(a_higher_attempt_takes_the_row),
        TEST(what_is_written_together_is_there_together_or_not_at_all),
        TEST(the_first_mark_of_a_droplet_stands),
        TEST(a_truncated_file_is_refused),
        TEST(a_flipped_bit_is_refused),
        TEST(a_file_that_is_not_ours_is_refused),
        TEST(a_newer_version_is_refused),
        TEST(a_second_opener_is_refused),
        TEST(a_start_that_was_cut_short_leaves_nothing_in_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
