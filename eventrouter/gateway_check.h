/* eventrouter/gateway_check.h: what an agent may say. Pure. */
#pragma once

#include "lib/error.h"
#include "proto/agent.pb-c.h"

#include <stdbool.h>

#define LIST_MAX    2000 /* refs, reports, answers of one message */
#define DOMAINS_MAX 4096 /* of a hypervisor */

/* 0, or ERR_INVALID: *err names the field. `attached`: an Attach came before. The lists' elements
 * are whole when it is 0. */
int gateway_check_message(const Harpoon__Agent__V1__FromAgent *m, bool attached,
                          struct error *err) MUST_CHECK;
int gateway_check_attach(const Harpoon__Agent__V1__Attach *attach, struct error *err) MUST_CHECK;
