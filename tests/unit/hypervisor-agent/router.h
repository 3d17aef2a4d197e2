/* tests/unit/hypervisor-agent/router.h: a router whose words the tests choose, and an agent with
 * one hypervisor, number 7, that talks to it. */
#pragma once

#include "hypervisor-agent/agent.h"
#include "lib/rpc/rpc.h"
#include "proto/agent.pb-c.h"
#include "support.h"

#define HYPERVISOR   7
#define INSTALLATION "6f0a1f2e-31f5-4f0e-9d6f-0d7a9a0c0b11"

enum { WAIT_MS = 20000 }; /* for what must happen */

typedef Harpoon__Agent__V1__FromAgent from_agent;
typedef Harpoon__Agent__V1__FromAgent__BodyCase from_case;
#define SAID_ATTACH    HARPOON__AGENT__V1__FROM_AGENT__BODY_ATTACH
#define SAID_DELIVERED HARPOON__AGENT__V1__FROM_AGENT__BODY_DELIVERED
#define SAID_CONFIRM   HARPOON__AGENT__V1__FROM_AGENT__BODY_CONFIRM
#define SAID_REPORTS   HARPOON__AGENT__V1__FROM_AGENT__BODY_REPORTS
#define SAID_SAMPLE    HARPOON__AGENT__V1__FROM_AGENT__BODY_SAMPLE

#define ACCEPTED  HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_ACCEPTED
#define REFUSED   HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_REFUSED
#define FINISHED  HARPOON__AGENT__V1__DELIVER_ANSWER__OUTCOME__OUTCOME_FINISHED
#define RUNNING   HARPOON__JOB__V1__RESULT__RESULT_RUNNING
#define SUCCEEDED HARPOON__JOB__V1__RESULT__RESULT_SUCCEEDED
#define CLOSED    HARPOON__JOB__V1__RESULT__RESULT_CLOSED
#define ANSWER(x) HARPOON__JOB__V1__ANSWER__ANSWER_##x
#define OK        HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_OK
#define FENCED    HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_FENCED
#define LATER     HARPOON__AGENT__V1__ATTACHED__VERDICT__VERDICT_LATER

/* The library and an authority, once for a group of tests. */
int router_group_setup(void **state);
int router_group_teardown(void **state);

struct router;
/* `port` 0: a free one. */
struct router *router_start(int port);
struct router *router_stop(struct router *r);
const char *router_address(const struct router *r);
int router_port(const struct router *r);

/* Waits for the next message of this kind, passing over others; the caller frees it with
 * said_free. Fails the test after WAIT_MS. */
from_agent *router_hear(struct router *r, from_case which);
void said_free(from_agent *m);
/* How many messages of this kind have come so far, heard or not. */
unsigned router_count(struct router *r, from_case which);
/* Forgets what was said so far. */
void router_forget(struct router *r);
/* How many streams have been opened so far. */
unsigned router_streams(struct router *r);
void router_cut(struct router *r); /* ends the stream */

void router_say_attached(struct router *r, Harpoon__Agent__V1__Attached__Verdict verdict,
                         const char *address);
struct job_given {
    uint64_t event, droplet;
    uint32_t attempt;
    bool destroy;
    const char *installation; /* NULL: INSTALLATION */
};
void router_say_deliver(struct router *r, const struct job_given *jobs, size_t count);
void router_say_start(struct router *r, uint64_t event, uint32_t attempt);
void router_say_drop(struct router *r, uint64_t event, uint32_t attempt);
void router_say_confirmed(struct router *r, uint64_t event, uint32_t attempt,
                          Harpoon__Job__V1__Answer answer);
void router_say_reported(struct router *r, uint64_t event, uint32_t attempt,
                         Harpoon__Job__V1__Answer answer, Harpoon__Job__V1__Result result);
void router_say_drain(struct router *r, const char *address, uint32_t delay_ms);

/* ---- what tests do most ---- */
/* Hears an attach and answers OK. */
void router_let_in(struct router *r);
struct answered {
    int outcome;
    bool closed;
    char reason[64];
};
/* Delivers one job, and gives what the agent answered. */
struct answered router_deliver(struct router *r, struct job_given job);
struct reported {
    uint64_t event;
    uint32_t attempt;
    int kind, result;
    char reason[64];
};
/* The next report of `event`, which must come alone in its message or first. */
struct reported router_hear_report(struct router *r, uint64_t event);
/* Hears reports of `event` until one is `result`, answers it STORED. */
struct reported router_store(struct router *r, uint64_t event, Harpoon__Job__V1__Result result);
/* A job of this droplet goes its whole road: delivered, started, succeeded, stored. */
void router_run(struct router *r, struct job_given job);
/* Everything the agent was told before this is done, what it noted is in the journal: it has
 * accepted and closed a job nobody starts. */
void router_sync(struct router *r);

/* ---- the agent ---- */
struct agent_under_test {
    char folder[FOLDER_BYTES], ledger[FOLDER_BYTES * 2];
    struct agent_config config;
    struct agent_setup setup;
    struct agent *agent;
};
/* Makes a folder; routers as --routers takes them. agent_begin starts it. */
void agent_make(struct agent_under_test *a, const char *routers);
void agent_begin(struct agent_under_test *a);
void agent_end(struct agent_under_test *a); /* stops it */
/* As after kill -9: the journal is as it is on disk now. */
void agent_crash(struct agent_under_test *a);
void agent_remove(struct agent_under_test *a); /* stops it, removes its folder */
size_t agent_lines(const struct agent_under_test *a, const char *end); /* of its ledger */
/* Waits until that many lines of the ledger end in `end`. */
void agent_wait_lines(const struct agent_under_test *a, const char *end, size_t count);
