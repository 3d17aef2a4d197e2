/* hypervisor-agent/link.h: one stream to one router. What the RPC library brings on its threads is
 * handed to the loop; the link frees itself once its end has been handed over. */
#pragma once

#include "lib/error.h"
#include "proto/agent.pb-c.h"

struct hypervisor;
struct link;

/* Loop thread. session_on_message and session_on_close follow on the loop, the latter once and
 * last, unless link_cut came before. */
int link_open(struct hypervisor *hv, const char *address, struct link **ret,
              struct error *err) MUST_CHECK;
int link_send(struct link *l, const Harpoon__Agent__V1__FromAgent *message,
              struct error *err) MUST_CHECK;
/* Nothing more of it reaches the session. The link is gone for the caller. */
void link_cut(struct link *l);
