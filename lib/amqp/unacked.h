/* lib/amqp/unacked.h: deliveries of one channel that wait for their acknowledgement, and the fewest
 * requests that settle those which have it. Pure; one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum unacked_state { UNACKED_OPEN, UNACKED_ACK, UNACKED_REJECT };

struct unacked_entry {
    uint64_t tag;
    enum unacked_state state;
};

struct unacked {
    struct unacked_entry *entries; /* ascending tags */
    size_t count, capacity;
};

/* What to send. Returns a negative code to stop; the entry counts as settled all the same. */
typedef int (*unacked_settle_fn)(void *ctx, uint64_t tag, enum unacked_state how, bool multiple);

void unacked_fini(struct unacked *u);
void unacked_clear(struct unacked *u);
/* The broker counts up, so tags come in ascending order. false: out of memory. */
bool unacked_add(struct unacked *u, uint64_t tag);
/* false: not waiting (unknown, or settled already): nothing changes. */
bool unacked_mark(struct unacked *u, uint64_t tag, enum unacked_state how);
/* Hands what is marked to `settle`: rejections one by one, then the acknowledgements that leave
 * nothing open before them in one, then the others; and forgets them. */
int unacked_flush(struct unacked *u, unacked_settle_fn settle, void *ctx);
