/* hypervisor-agent/driver/libvirt_domain.h: a domain as libvirt wants to read it, and what of it is
 * ours: metadata that says who made it. Pure. */
#pragma once

#include "hypervisor-agent/driver/droplet.h"
#include "hypervisor-agent/driver/droplet_files.h"

#define LIBVIRT_DOMAIN_NAMESPACE "urn:harpoon:droplet:1"

/* All that goes into a domain's XML. Everything is borrowed. */
struct libvirt_plan {
    const char *type; /* of the domain: qemu, kvm, test */
    const struct droplet *droplet;
    const Harpoon__Job__V1__DropletSpec *spec;
    const struct droplet_files *files; /* NULL: a domain without devices (test:///) */
    const char *bridge;                /* of the host; NULL: user mode */
    const char *agent_socket;          /* the guest agent's; NULL: where libvirt likes */
};

/* The XML, which the caller frees. ERR_UNAVAILABLE: out of memory. */
int libvirt_domain_format(const struct libvirt_plan *plan, char **ret,
                          struct error *err) MUST_CHECK;
/* Reads our metadata element. 1: *ret is who made it. 0: it is not one of ours. */
int libvirt_domain_parse_origin(const char *xml, struct origin *ret);
