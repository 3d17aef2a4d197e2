/* lib/rpc/tag.h: what goes into a completion queue and comes back from it. Internal to lib/rpc. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Embedded in whatever waits for a batch of operations; `fn` runs on the queue's thread. `fence`
 * is stored before the tag enters the library and loaded when it returns: ThreadSanitizer cannot
 * see the hand-over inside the library, and this makes it visible at no cost. */
struct rpc_tag {
    void (*fn)(struct rpc_tag *tag, bool ok);
    atomic_uint fence;
};

static inline void rpc_tag_out(struct rpc_tag *tag)
{
    atomic_store_explicit(&tag->fence, 1, memory_order_release);
}

static inline void rpc_tag_in(struct rpc_tag *tag)
{
    (void)atomic_load_explicit(&tag->fence, memory_order_acquire);
}

#define RPC_TAG_OWNER(tag, type, field) ((type *)(void *)((char *)(tag)-offsetof(type, field)))
