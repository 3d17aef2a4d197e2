/* harpoon/api/schedulers.h: what operators ask of the schedulers, of whichever leads the region.
 * Blocks, for at most five seconds a call; threads: any. */
#pragma once

#include "harpoon/store/events.h"
#include "lib/error.h"
#include "lib/rpc/rpc.h"
#include "proto/scheduler.pb-c.h"

#include <stddef.h>
#include <stdint.h>

struct schedulers;

/* `addresses`: the replicas, comma separated. */
int schedulers_new(const char *addresses, const struct rpc_tls *tls, struct schedulers **ret,
                   struct error *err) MUST_CHECK;
struct schedulers *schedulers_free(struct schedulers *s); /* NULL is fine; gives NULL */

/* Durable when it returns 0. *ret is the caller's: protobuf_c_message_free_unpacked(). */
int schedulers_set_status(struct schedulers *s, const char *region, const uint64_t *ids,
                          size_t count, bool all_new,
                          Harpoon__Scheduler__V1__HypervisorStatus status,
                          Harpoon__Scheduler__V1__SetStatusReply **ret,
                          struct error *err) MUST_CHECK;
/* One page behind `after`; *ret as above. */
int schedulers_list(struct schedulers *s, const char *region, uint64_t after, uint32_t limit,
                    Harpoon__Scheduler__V1__ListHypervisorsReply **ret,
                    struct error *err) MUST_CHECK;
/* Releases what items[i].release asks for, of those with OUTCOME_RELEASE_FIRST. Durable when it
 * returns 0. */
int schedulers_release(struct schedulers *s, const char *region, const struct event_item *items,
                       size_t count, struct error *err) MUST_CHECK;
