/* hypervisor-agent/driver/libvirt_steps.h: create, destroy and undo, each a chain of steps that
 * look first and then act, so that any of them may be cut off and run again.
 *
 * What makes a thing ours is written on it: the domain's metadata and the owner's file of its
 * folder. Everything is looked at before anything is touched; what is not ours ends the operation
 * there. Threads: one at a time for a droplet. Blocks. */
#pragma once

#include "hypervisor-agent/driver/driver.h"
#include "hypervisor-agent/driver/droplet.h"
#include "hypervisor-agent/driver/image.h"
#include "hypervisor-agent/driver/libvirt_connection.h"

#include <libvirt/libvirt.h>

/* What the steps work with. Borrowed. */
struct libvirt_site {
    const struct libvirt_kind *kind;
    const char *domain_type;   /* qemu, kvm, test */
    const char *bridge;        /* NULL: user mode */
    const char *droplets;      /* folder of droplets' folders */
    const char *agent_sockets; /* folder of guest agents' sockets; NULL: where libvirt likes */
    struct image_cache *images;
};

/* Carries out `task` and fills in its result, reason and detail. Returns whether the connection
 * broke meanwhile. */
bool libvirt_steps_run(const struct libvirt_site *site, virConnectPtr conn,
                       struct driver_task *task);
/* Reads who made a domain. 1: *ret says. 0: not one of ours, or gone. Negative: try again. */
int libvirt_steps_origin(virDomainPtr domain, struct origin *ret, struct error *err) MUST_CHECK;
