/* hypervisor-agent/journal.h: the jobs this process's hypervisors have accepted, across crashes:
 * one SQLite file keyed (hypervisor, installation, event). A job is durable before it is
 * acknowledged, a result before it is reported. What is written together is there together or not
 * at all; writes are committed in the order submitted, many in one transaction.
 * Threads: submit from any; open, read and write_now before start, from one. */
#pragma once

#include "hypervisor-agent/jobs.h"
#include "lib/batcher.h"
#include "lib/error.h"
#include "lib/ids.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_ID_TEXT     37 /* bytes, with the final NUL; so is an installation id */
#define JOURNAL_REASON_TEXT 64
#define JOURNAL_DETAIL_TEXT 256

struct journal;

struct journal_hypervisor {
    hypervisor_id id;
    char journal_id[JOURNAL_ID_TEXT];   /* random, made with this row */
    char installation[JOURNAL_ID_TEXT]; /* whose jobs it takes; "": not learned yet */
    uint64_t session;                   /* no stream of this journal has had a higher number */
};
struct journal_job {
    hypervisor_id hypervisor;
    event_id event;
    uint32_t attempt;
    enum job_kind kind;
    droplet_id droplet;
    enum job_state state;
    enum job_ack ack;
    int64_t accepted_ms, began_ms, ended_ms; /* unix, 0: not yet */
    char installation[JOURNAL_ID_TEXT];
    char reason[JOURNAL_REASON_TEXT], detail[JOURNAL_DETAIL_TEXT];
};
/* A destroy has closed the droplet: no other job of it runs here again. */
struct journal_mark {
    hypervisor_id hypervisor;
    droplet_id droplet;
    event_id event; /* the destroy */
    int64_t at_ms;  /* unix */
    char installation[JOURNAL_ID_TEXT];
};

enum journal_change_kind {
    JOURNAL_PUT_JOB,    /* the whole row, with `bytes`: the packed job */
    JOURNAL_SET_JOB,    /* what may change of the row at just this attempt */
    JOURNAL_DELETE_JOB, /* if it is still at this attempt */
    JOURNAL_PUT_MARK,
    JOURNAL_DELETE_MARK,
    JOURNAL_PUT_HYPERVISOR,
};
struct journal_change {
    enum journal_change_kind kind;
    union {
        struct journal_job job;
        struct journal_mark mark;
        struct journal_hypervisor hypervisor;
    };
    const uint8_t *bytes; /* JOURNAL_PUT_JOB: the submitter's until done */
    size_t size;
};

/* Opens or creates the journal at `path`; it is this process's alone until closed. The caller owns
 * *ret. ERR_INTERNAL: damaged or not ours, do not start. ERR_CONFLICT: another process has it.
 * ERR_UNAVAILABLE: the disk. */
int journal_open(const char *path, struct journal **ret, struct error *err) MUST_CHECK;
/* Commits what was submitted, closes the file. NULL is fine; gives NULL. */
struct journal *journal_close(struct journal *j);

/* All that is there; each row's checksum is verified: ERR_INTERNAL, do not start. A callback that
 * answers less than 0 ends it. Any callback may be NULL. */
struct journal_reader {
    int (*hypervisor)(void *ctx, const struct journal_hypervisor *h, struct error *err);
    int (*mark)(void *ctx, const struct journal_mark *m, struct error *err);
    int (*job)(void *ctx, const struct journal_job *job, const uint8_t *bytes, size_t size,
               struct error *err);
    void *ctx;
};
int journal_read(struct journal *j, const struct journal_reader *reader,
                 struct error *err) MUST_CHECK;
/* One transaction, durable when it returns. */
int journal_write_now(struct journal *j, const struct journal_change *changes, size_t count,
                      struct error *err) MUST_CHECK;

struct journal_write { /* embed it; the journal's from submit until done */
    const struct journal_change *changes;
    size_t count;
    /* Once, on the flusher thread; must not block. `code` 0: durable. */
    void (*done)(struct journal_write *w, int code, const char *why);
};
/* From now on journal_submit only. `max_queued` writes may wait. */
int journal_start(struct journal *j, size_t max_queued, struct error *err) MUST_CHECK;
/* ERR_BUSY: too many wait; `done` will not come. */
int journal_submit(struct journal *j, struct journal_write *w, struct error *err) MUST_CHECK;

struct journal_stats {
    struct batcher_stats queue; /* of writes */
    uint64_t commits, failures;
    bool healthy; /* the last commit did not fail */
};
void journal_stats_get(struct journal *j, struct journal_stats *ret);
