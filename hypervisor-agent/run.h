/* hypervisor-agent/run.h: the driver's operations of a hypervisor: bounded, one at a time for each
 * droplet, tried again after a pause. Loop thread. */
#pragma once

#include "hypervisor-agent/book.h"

#include <stdbool.h>

struct hypervisor;

/* `job` may want something of the driver: queues it. */
void run_queue(struct hypervisor *hv, struct job *job);
/* Begins what can begin. */
void run_kick(struct hypervisor *hv);
/* Removes what is there of `droplet`, for a fence. False: it is being worked on already, or the
 * driver is busy: ask again later; fence_step follows each end. */
bool run_remove(struct hypervisor *hv, droplet_id droplet);
/* Operations under way. */
unsigned run_count(const struct hypervisor *hv);
