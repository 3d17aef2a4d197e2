/* hypervisor-agent/jobs.h: what becomes of one journal entry, pure: no I/O, no clock, no threads.
 * Accepted is not started; a lower attempt than one seen never runs; closed is for good. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The numbers of these three are in the journal: append only. */
enum job_kind { JOB_CREATE = 1, JOB_DESTROY = 2 };
enum job_state {
    JOB_NONE = 0,  /* no entry */
    JOB_ACCEPTED,  /* in the journal, and no more: the row has not said Start */
    JOB_BEGUN,     /* a destroy: closing the others of its droplet, then making it absent */
    JOB_UNDOING,   /* what this attempt made is being removed; then it is closed */
    JOB_SUCCEEDED, /* done; of a destroy: absent */
    JOB_CLOSED,    /* this journal never runs this attempt or a lower one (again) */
    JOB_STATES
};
enum job_ack {
    JOB_TO_REPORT = 0,    /* not yet stored by Harpoon */
    JOB_ACKNOWLEDGED = 1, /* stored, or nobody needs to hear it */
    JOB_ORPHAN = 2,       /* Harpoon knows no such event: touch nothing */
};

enum job_input {
    JOB_IN_SAME,   /* delivered: the attempt the entry is at, */
    JOB_IN_LOWER,  /* a lower one, */
    JOB_IN_HIGHER, /* a higher one, or the first of this event, */
    JOB_IN_BARRED, /* or any attempt at a droplet that a destroy has closed */
    JOB_IN_START,
    JOB_IN_DROP,
    JOB_IN_FOUND, /* its domain exists although nothing says that it was begun: the note was lost */
    JOB_IN_DONE,  /* the driver's answers to what job_wants() asked for */
    JOB_IN_RETRY,
    JOB_IN_CONFLICT,
    JOB_IN_FAILED,
    JOB_IN_STORED, /* Harpoon's answers to the report of the result */
    JOB_IN_DISCARD,
    JOB_IN_UNKNOWN,
    JOB_IN_DESTROYED, /* a destroy of its droplet begins */
    JOB_IN_FENCED,
    JOB_INPUTS
};

enum job_effect {                                /* bits */
                  JOB_DO_TAKE = 1 << 0,          /* the delivered job becomes the entry's */
                  JOB_DO_ACCEPT = 1 << 1,        /* answer accepted, once it is durable */
                  JOB_DO_REFUSE = 1 << 2,        /* answer refused; nothing durable says so */
                  JOB_DO_REFUSE_CLOSED = 1 << 3, /* answer refused and closed, if that is durable */
                  JOB_DO_FINISHED = 1 << 4,      /* answer finished: its report is on the way */
                  JOB_DO_WRITE = 1 << 5,         /* to the journal, at once: others wait for it */
                  JOB_DO_NOTE = 1 << 6,          /* to the journal with whatever is written next */
                  JOB_DO_REPORT = 1 << 7,        /* report the state (again), once it is durable */
                  JOB_DO_ACKNOWLEDGE = 1 << 8,   /* nobody needs to hear of it any more */
                  JOB_DO_ORPHAN = 1 << 9,
                  JOB_DO_PAUSE = 1 << 10, /* ask the driver again after a pause */
};

struct job_step {
    enum job_state next;
    unsigned effects; /* 0 and next the same state: ignored */
};
/* Never fails: what does not fit changes nothing. */
struct job_step job_step(enum job_kind kind, enum job_state state, enum job_input in);

/* Which delivery is this for an entry at (state, attempt)? `barred`: its droplet is closed by a
 * destroy (destroys are never barred). */
enum job_input job_delivery(enum job_state state, uint32_t entry_attempt, uint32_t job_attempt,
                            bool barred);

/* What the driver is to do for an entry. */
enum job_want {
    JOB_WANTS_NOTHING,
    JOB_WANTS_CREATE,
    JOB_WANTS_UNDO,
    JOB_WANTS_DESTROY, /* once every other job of the droplet is durably closed */
};
enum job_want job_wants(enum job_kind kind, enum job_state state, enum job_ack ack);

const char *job_state_name(enum job_state state);
const char *job_input_name(enum job_input in);
