/* hypervisor-agent/probe.h: asks the driver what may block, on a thread of its own: which domains
 * there are, capacity, a sample. */
#pragma once

#include "hypervisor-agent/driver/driver.h"
#include "hypervisor-agent/loop.h"
#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>

struct probe;
struct hypervisor;

enum probe_question { PROBE_DOMAINS = 1, PROBE_SAMPLE = 2 }; /* bits; capacity always */

struct probing { /* embed it: one question of a hypervisor at a time */
    struct loop_event event;
    struct probing *next;
    struct hypervisor *hv;
    hypervisor_id id;
    unsigned asked;
    bool busy; /* the probe's until `done` */
    /* On the loop thread. error.code 0: the answers are there. */
    void (*done)(struct hypervisor *hv, struct probing *p);
    struct error error;
    struct driver_domain *domains; /* the taker's */
    size_t domain_count;
    struct driver_capacity capacity;
    struct driver_sample sample;
};

int probe_start(const struct driver *driver, void *driver_self, struct loop *loop,
                struct probe **ret, struct error *err) MUST_CHECK;
/* What is asked is still answered. NULL is fine; gives NULL. */
struct probe *probe_stop(struct probe *p);
/* Loop thread. `asked` bits; `done` comes once. False: busy with another, ask again later. */
bool probe_ask(struct probe *p, struct hypervisor *hv, struct probing *probing, hypervisor_id id,
               unsigned asked, void (*done)(struct hypervisor *hv, struct probing *p));
