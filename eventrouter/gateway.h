/* eventrouter/gateway.h: the agents' side: their streams, from Attach to the end. */
#pragma once

#include "eventrouter/router.h"
#include "eventrouter/sessions.h"
#include "proto/harpoon.pb-c.h"

void gateway_init(struct router *r, struct rpc_service *ret);
/* Harpoon's answer to an Attach (forward.h). */
void gateway_on_attached(void *ctx, struct session *s, uint32_t generation,
                         const Harpoon__Internal__V1__AttachResult *result);
/* Ends the streams that have been silent for too long. */
void gateway_sweep(struct router *r, int64_t now_mono_ms);
/* Tells every agent to go elsewhere, each in a time of its own within `spread_ms`. */
void gateway_drain(struct router *r, int spread_ms);
/* Ends every stream. */
void gateway_cut(struct router *r);
