/* harpoon/store/accept_params.h: what a create's event says, as the bytes of
 * harpoon.event.v1.Params. Pure. */
#pragma once

#include "harpoon/store/accept.h"
#include "lib/error.h"
#include "lib/uuid.h"

#include <stddef.h>
#include <stdint.h>

/* *ret is malloc'ed, the caller's. ERR_INTERNAL: no memory. */
int accept_params_pack(const struct accept_request *r, const struct accept_droplet *d,
                       const struct uuid *installation, uint8_t **ret, size_t *ret_size,
                       struct error *err) MUST_CHECK;
