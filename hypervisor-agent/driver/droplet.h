/* hypervisor-agent/driver/droplet.h: what follows from a job alone: who made what is made, and what
 * it is called. Pure. */
#pragma once

#include "hypervisor-agent/driver/driver.h"
#include "lib/error.h"
#include "lib/ids.h"
#include "lib/uuid.h"
#include "proto/job.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

enum { ORIGIN_INSTALLATION = 64 };

/* Who made a domain or a file: kept with it, so that it is known again after any crash. */
struct origin {
    char installation[ORIGIN_INSTALLATION];
    hypervisor_id hypervisor;
    droplet_id droplet;
    event_id event;
    uint32_t attempt;
};

bool origin_is_same_droplet(const struct origin *a, const struct origin *b);
bool origin_is_same_attempt(const struct origin *a, const struct origin *b);

/* A droplet by the names it has on a host. */
struct droplet {
    struct origin origin;                  /* what this job makes would carry */
    char uuid[UUID_TEXT];                  /* of the domain and the guest's SMBIOS */
    char name[32];                         /* of the domain: "droplet-17" */
    char mac[sizeof("02:00:00:00:00:00")]; /* of the guest's card, from the uuid */
};

/* Checks what is needed to name things. ERR_INVALID: the job cannot be meant for a driver. */
int droplet_from_job(const Harpoon__Job__V1__Job *job, hypervisor_id hypervisor,
                     struct droplet *ret, struct error *err) MUST_CHECK;
/* Checks what a create needs besides. ERR_INVALID. */
int droplet_check_spec(const Harpoon__Job__V1__DropletSpec *spec, struct error *err) MUST_CHECK;
