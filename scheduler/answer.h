/* scheduler/answer.h: what the handlers' answers have in common. */
#pragma once

#include "lib/rpc/rpc.h"
#include "proto/scheduler.pb-c.h"
#include "scheduler/scheduler.h"

/* The leader part of an answer that was not acted on. */
struct elsewhere {
    Harpoon__Scheduler__V1__Leader message;
    char address[ADDRESS_SIZE];
};

void elsewhere_get_locked(const struct region *r, struct elsewhere *ret);
/* The same, taking the lock. */
void elsewhere_get(struct region *r, struct elsewhere *ret);

/* The region of a request, or NULL with *err: ERR_INVALID, not one of this installation's. */
struct region *request_region(const struct scheduler *s, const char *name, struct error *err);
/* Fails the call with `code` and a sentence. */
void answer_error(struct rpc_call *call, int code, const char *sentence);
/* Fails the call because its commit did. */
void answer_uncommitted(struct rpc_call *call);
/* Room for a request's changes, or an answer that says there is none. */
bool reserve_or_answer(struct scheduler *s, struct rpc_call *call, size_t cost);
