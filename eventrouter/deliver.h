/* eventrouter/deliver.h: the workers' side: Deliver, Begin, Forget, Sessions. Nothing blocks: a
 * Deliver is answered when its agents have. */
#pragma once

#include "eventrouter/router.h"

void deliver_init(struct router *r, struct rpc_service *ret);
