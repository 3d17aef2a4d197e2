/* hypervisor-agent/hypervisor.h: one hypervisor: its book, its stream, its work. All of it belongs
 * to the loop thread. */
#pragma once

#include "hypervisor-agent/agent.h"
#include "hypervisor-agent/book.h"
#include "hypervisor-agent/jobs.h"
#include "hypervisor-agent/journal.h"
#include "hypervisor-agent/loop.h"
#include "hypervisor-agent/probe.h"
#include "hypervisor-agent/session.h"
#include "lib/ids.h"
#include "proto/agent.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSION_NUMBERS_RESERVED 1000 /* that the journal is told of at a time */

struct delivered { /* an answer to be sent */
    event_id event;
    uint32_t attempt;
    Harpoon__Agent__V1__DeliverAnswer__Outcome outcome;
    bool closed;
    char reason[JOURNAL_REASON_TEXT];
};

struct hypervisor {
    struct agent *agent;
    hypervisor_id id;
    char journal_id[JOURNAL_ID_TEXT], installation[JOURNAL_ID_TEXT];
    uint64_t session_number, session_reserved; /* up to which the journal knows */
    struct book book;

    enum standing standing;
    bool cleared; /* begun jobs may go on: OK was heard since this process began and since the last
                     fence */

    /* save.c */
    struct job *dirty;
    struct droplet *dirty_droplets;
    struct journal_change *deletes; /* rows to be deleted */
    size_t delete_count, delete_limit;
    int64_t marks_pruned_ms; /* unix */
    bool row_dirty;          /* journal id, installation, session */
    bool save_now;           /* at the end of this turn */
    bool in_turn;
    struct hypervisor *next_in_turn;
    struct loop_timer save_timer;
    size_t saves; /* under way */

    /* run.c */
    struct job *queue_first, *queue_last;
    unsigned creates, others; /* under way */
    struct loop_timer run_timer;

    /* talk.c */
    struct delivered *answers;
    size_t answer_count, answer_limit;
    struct loop_timer say_timer;
    int64_t say_mono_ms; /* nothing is due before */

    /* fence.c */
    bool fencing;
    struct loop_timer fence_timer;
    unsigned fence_rounds;

    struct session session;
    struct loop_timer drain_timer;
    struct probing probing;
    struct driver_domain *domains; /* as last listed */
    size_t domain_count;
    struct driver_capacity capacity; /* less the reserve */
    struct driver_sample sample;     /* the last */
};

/* Before the loop runs. hypervisor_fini after it, and after a failed init too. */
int hypervisor_init(struct hypervisor *hv, struct agent *a, hypervisor_id id,
                    struct error *err) MUST_CHECK;
void hypervisor_fini(struct hypervisor *hv);

/* ---- jobs.c's decisions, carried out ---- */
void hypervisor_deliver(struct hypervisor *hv, const Harpoon__Agent__V1__Jobs *jobs);
void hypervisor_start_job(struct hypervisor *hv, event_id event, uint32_t attempt);
void hypervisor_drop_job(struct hypervisor *hv, event_id event, uint32_t attempt);
/* Carries out what `in` makes of `job`; `reason` and `detail` (may be NULL) are kept with it. */
void hypervisor_step(struct hypervisor *hv, struct job *job, enum job_input in, const char *reason,
                     const char *detail);
/* Harpoon has answered the attach: go on with what was begun, ask and report what is open. */
void hypervisor_attached(struct hypervisor *hv);
/* Harpoon knows an orphan after all. */
void hypervisor_adopt(struct hypervisor *hv, struct job *job);
/* The domains there are, before an attach: jobs whose beginning was not noted. */
void hypervisor_match_domains(struct hypervisor *hv);
/* The probe's answers become the hypervisor's: capacity, and domains if it was asked for them. */
void hypervisor_take_probe(struct hypervisor *hv, struct probing *p);
/* The stream is gone. */
void hypervisor_detached(struct hypervisor *hv);
void hypervisor_set_standing(struct hypervisor *hv, enum standing standing);
/* Learns whose jobs these are. False: it knows another already. */
bool hypervisor_learn_installation(struct hypervisor *hv, const char *installation);
/* Asks for save and talk at the end of this turn. */
void hypervisor_join_turn(struct hypervisor *hv);
/* Forgets ended jobs and marks that are past keeping; bounded work a call. */
void hypervisor_prune(struct hypervisor *hv, int64_t now_unix_ms);

/* ---- save.c ---- */
/* `job` (or the mark) is to be written as it is now: at the end of this turn, or soon. */
void save_job(struct hypervisor *hv, struct job *job, bool now);
void save_mark(struct hypervisor *hv, struct droplet *d);
void save_row(struct hypervisor *hv);
/* Rows of what is forgotten; not tried again when it fails: the next start forgets them again. */
void save_delete(struct hypervisor *hv, const struct job *job);
void save_delete_mark(struct hypervisor *hv, const struct droplet *d);
/* Submits all that is dirty. */
void save_flush(struct hypervisor *hv);

/* ---- talk.c ---- */
void talk_answer(struct hypervisor *hv, event_id event, uint32_t attempt,
                 Harpoon__Agent__V1__DeliverAnswer__Outcome outcome, bool closed,
                 const char *reason);
/* Says what is due of it (confirm, report) in `in_ms`. */
void talk_soon(struct hypervisor *hv, struct job *job, int64_t in_ms);
/* What was waiting for `job` to be durable. */
void talk_durable(struct hypervisor *hv, struct job *job);
/* Sends answers, and reports and questions that are due. */
void talk_flush(struct hypervisor *hv);
void talk_confirmed(struct hypervisor *hv, const Harpoon__Agent__V1__Answers *answers);
void talk_reported(struct hypervisor *hv, const Harpoon__Agent__V1__Answers *answers);
/* A new stream: nothing said on the old one counts. */
void talk_restart(struct hypervisor *hv);

void save_on_timer(struct loop_timer *t);
void talk_on_timer(struct loop_timer *t);
void run_on_timer(struct loop_timer *t);

/* ---- fence.c ---- */
/* Harpoon said fenced: closes every job, removes our domains, then attaches again. */
void fence_begin(struct hypervisor *hv);
/* Something it may have waited for has happened. */
void fence_step(struct hypervisor *hv);
void fence_on_timer(struct loop_timer *t);
