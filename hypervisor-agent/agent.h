/* hypervisor-agent/agent.h: this process: its hypervisors, and what they share. */
#pragma once

#include "hypervisor-agent/config.h"
#include "hypervisor-agent/driver/driver.h"
#include "hypervisor-agent/journal.h"
#include "hypervisor-agent/loop.h"
#include "lib/daemon.h"
#include "lib/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hypervisor;
struct probe;

/* What Harpoon last said of a hypervisor, on the stream it has now. */
enum standing {
    STANDING_AWAY, /* no stream, or no answer yet */
    STANDING_OK,
    STANDING_LATER,
    STANDING_FENCED,
    STANDINGS
};

struct agent {
    const struct agent_setup *setup; /* borrowed */
    const struct driver *driver;
    void *driver_self;
    struct journal *journal;
    struct loop *loop;
    struct probe *probe;
    char boot_id[40];

    struct hypervisor *hypervisors; /* ascending by id */
    size_t hypervisor_count;

    /* the loop thread's */
    struct hypervisor *turn; /* those with something to write or say at the end of this turn */
    uint64_t version;        /* of journal entries, one series for all */
    size_t ended;            /* entries in all the books' `ended` */
    bool stopping;           /* begin nothing, connect nowhere */
    bool closed;             /* the journal takes nothing more */
    int64_t losses_since_ms; /* mono: streams lost together are lost for one reason */
    size_t losses;
    struct loop_timer prune_timer;

    /* for other threads */
    atomic_int standings[STANDINGS];
    atomic_size_t inbound_bytes; /* of messages that wait for the loop */
    pthread_mutex_t links_lock;
    pthread_cond_t links_gone;
    size_t links; /* streams not yet closed; guarded by links_lock */
};

/* Opens journal and driver, loads the books, connects in the background. `setup` is borrowed until
 * agent_stop. ERR_INTERNAL: the journal is damaged or not ours, do not start. */
int agent_start(const struct agent_setup *setup, struct agent **ret, struct error *err) MUST_CHECK;
/* Ends the streams, waits for the driver's operations under way, notes their results. NULL is fine;
 * gives NULL. */
struct agent *agent_stop(struct agent *a);

/* Forgets what is past keeping, as it does every few seconds. Not on its loop thread. */
void agent_prune(struct agent *a);

#define AGENT_CHECKS 2
/* The rows of /readyz, valid until agent_stop. */
void agent_checks(struct agent *a, struct daemon_check ret[AGENT_CHECKS]);

/* Sets the gauges; for metrics_on_scrape, with a `struct agent` that runs. Not on its loop thread.
 */
void agent_on_scrape(void *agent);
const char *standing_name(enum standing s);
