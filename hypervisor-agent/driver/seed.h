/* hypervisor-agent/driver/seed.h: the NoCloud seed, a small ISO 9660 image that tells the guest who
 * it is: hostname, SSH keys, addresses, user data. No network is needed to read it. */
#pragma once

#include "hypervisor-agent/driver/droplet.h"

/* The texts in it, which the caller frees; NULL: out of memory. Pure. */
char *seed_format_meta_data(const struct droplet *droplet,
                            const Harpoon__Job__V1__DropletSpec *spec);
char *seed_format_network_config(const struct droplet *droplet,
                                 const Harpoon__Job__V1__DropletSpec *spec);

/* Makes the seed at `path`, replacing what is there: whole or not at all. The mode is 0600, for
 * user data may hold secrets. Works in the folder "<path>.d", which is gone afterwards. Blocks.
 * ERR_NO_CAPACITY: the host's disk is full. ERR_UNAVAILABLE, ERR_DEADLINE: try again. */
int seed_make(const char *path, const struct droplet *droplet,
              const Harpoon__Job__V1__DropletSpec *spec, struct error *err) MUST_CHECK;
