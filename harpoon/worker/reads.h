/* harpoon/worker/reads.h: what agents, routers and schedulers ask, answered from the database by
 * one batcher on one connection; it also keeps the facts fresh and stores how far the queues were
 * taken. Threads: submit from any, never blocks. */
#pragma once

#include "harpoon/store/events.h"
#include "harpoon/worker/facts.h"
#include "lib/batcher.h"
#include "lib/error.h"
#include "lib/rpc/rpc.h"

#include <stdbool.h>
#include <stddef.h>

struct reads;

struct reads_options {
    const struct sql_options *mysql; /* copied */
    struct facts *facts;             /* borrowed for its life */
    size_t max_queued;
};

int reads_start(const struct reads_options *options, struct reads **ret,
                struct error *err) MUST_CHECK;

enum read_kind { READ_ATTACH, READ_CONFIRM, READ_WANTED };
#define READ_ITEMS_MAX 10000
/* Answers `call` later, from `in`, which is its message (at most READ_ITEMS_MAX items). On an error
 * the caller answers it. */
int reads_submit(struct reads *r, enum read_kind kind, struct rpc_call *call,
                 const ProtobufCMessage *in, struct error *err) MUST_CHECK;

/* Once a second: loads the facts and stores `taken` (copied). While the last one is not done yet it
 * does nothing. */
void reads_refresh(struct reads *r, const struct queue_taken *taken, size_t count);

bool reads_is_connected(struct reads *r);
void reads_stats_get(struct reads *r, struct batcher_stats *ret);
struct reads *reads_stop(struct reads *r); /* answers what is queued. NULL is fine; gives NULL */
