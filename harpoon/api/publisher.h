/* harpoon/api/publisher.h: the only place in Harpoon that publishes. Declares the topology:
 * exchange `events` with two queues a region, and the dead letters' exchange and queue. What cannot
 * be published stays due in its row: nothing is tried twice here. Threads: any; nothing blocks but
 * start, stop and publisher_set_regions. */
#pragma once

#include "lib/amqp/amqp.h"
#include "lib/error.h"
#include "proto/event.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct publisher;

struct publisher_options {
    struct amqp_options connection; /* texts are borrowed for its life */
    int64_t queue_max_length, queue_max_bytes;
    /* On a thread of the publisher, once for each message that was taken; must not block. */
    void (*on_outcome)(void *ctx, enum amqp_outcome outcome);
    void *ctx;
};

int publisher_new(const struct publisher_options *options, struct publisher **ret,
                  struct error *err) MUST_CHECK;
/* Tells it the regions there are (slugs, copied; sorted). A change connects anew with the new
 * topology. Blocks for a moment. */
int publisher_set_regions(struct publisher *p, const char *const *slugs, size_t count,
                          struct error *err) MUST_CHECK;
/* Sends what it holds for a moment, then ends. NULL is fine; gives NULL. */
struct publisher *publisher_stop(struct publisher *p);

/* Publishes one event to `queue`. `head` is the message; its params, when `params` is not NULL, are
 * these packed bytes. ERR_BUSY, ERR_UNAVAILABLE: not published, its check_at brings it back. */
int publisher_publish(struct publisher *p, const char *queue, const Harpoon__Event__V1__Event *head,
                      const uint8_t *params, size_t params_size, struct error *err) MUST_CHECK;

/* False: not connected, or the broker refuses for want of memory or disk. */
bool publisher_is_ready(struct publisher *p);
void publisher_stats_get(struct publisher *p, struct amqp_stats *ret);

/* The bytes of a message whose params are packed already; the caller frees. Pure. */
int publisher_encode(const Harpoon__Event__V1__Event *head, const uint8_t *params,
                     size_t params_size, uint8_t **ret, size_t *ret_size,
                     struct error *err) MUST_CHECK;
