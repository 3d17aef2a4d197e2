/* tests/servers/operators_scheduler.h: a scheduler that knows some hypervisors and writes down what
 * it is asked. */
#pragma once

#include "lib/rpc/rpc.h"

struct sql;

/* `other`: a connection of its own, with which it looks at the events whose claims it releases. */
void scheduler_begin(const struct rpc_tls *tls, struct sql *other);
const char *scheduler_address(void); /* stays the same through stops and starts */
void scheduler_forget(void);
