/* harpoon/droplet.h: what a droplet's row says, in words. Pure. */
#pragma once

#include "lib/ids.h"
#include "lib/uuid.h"

/* Stored in droplets.status: append only. */
enum droplet_status {
    DROPLET_NEW = 1, /* its create is under way */
    DROPLET_ACTIVE,
    DROPLET_OFF,
    DROPLET_ARCHIVE, /* its create failed, or it is gone */
};

/* The API's word; "unknown" for a number that is no status. */
const char *droplet_status_name(enum droplet_status status);
/* The UUID of a droplet's domain: version 5 of the installation and the id in decimal. */
void droplet_uuid_make(const struct uuid *installation, droplet_id id, struct uuid *ret);
