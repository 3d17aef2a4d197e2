#include "harpoon/api/publisher.h"

#include "harpoon/event.h"
#include "lib/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXCHANGE       "events"
#define DEAD           "events.dead"
#define DELIVERY_LIMIT 50
#define STOP_GRACE_MS  2000
#define PARAMS_TAG     0x7A /* field 15, length-delimited */

/* What the library borrows for as long as one of its publishers lives. */
struct topology {
    size_t region_count;
    char (*regions)[EVENT_REGION];
    char (*names)[EVENT_QUEUE_NAME];
    struct amqp_queue_def *queues; /* two a region */
    struct amqp_queue_def dead;
    struct amqp_topology exchanges[2];
};

struct publisher {
    struct publisher_options options;
    pthread_mutex_t lock;
    struct amqp_publisher *amqp; /* guarded by lock; NULL: no regions yet */
    struct topology *topology;   /* set_regions only */
};

static void topology_free(struct topology *t)
{
    if (t == NULL)
        return;
    free(t->regions);
    free(t->names);
    free(t->queues);
    free(t);
}

static struct topology *topology_new(const struct publisher_options *o, const char *const *slugs,
                                     size_t count)
{
    static const enum event_type kinds[] = {EVENT_CREATE, EVENT_DESTROY};
    struct topology *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->region_count = count;
    t->regions = calloc(count + 1, sizeof *t->regions);
    t->names = calloc(2 * count + 1, sizeof *t->names);
    t->queues = calloc(2 * count + 1, sizeof *t->queues);
    if (t->regions == NULL || t->names == NULL || t->queues == NULL) {
        topology_free(t);
        return NULL;
    }
    for (size_t i = 0; i < 2 * count; i++) {
        (void)snprintf(t->regions[i / 2], EVENT_REGION, "%s", slugs[i / 2]);
        event_queue_name(slugs[i / 2], kinds[i % 2], t->names[i]);
        t->queues[i] = (struct amqp_queue_def){
            .name = t->names[i],
            .binding_key = t->names[i],
            .dead_letter_exchange = DEAD,
            .dead_letter_routing_key = DEAD,
            .delivery_limit = DELIVERY_LIMIT,
            .max_length = o->queue_max_length,
            .max_length_bytes = o->queue_max_bytes,
        };
    }
    t->dead = (struct amqp_queue_def){.name = DEAD, .binding_key = DEAD};
    t->exchanges[0] = (struct amqp_topology){DEAD, "topic", &t->dead, 1};
    t->exchanges[1] = (struct amqp_topology){EXCHANGE, "topic", t->queues, 2 * count};
    return t;
}

static bool topology_has(const struct topology *t, const char *const *slugs, size_t count)
{
    if (t == NULL || t->region_count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(t->regions[i], slugs[i]) != 0)
            return false;
    return true;
}

static void on_outcome(void *ctx, uint64_t token, enum amqp_outcome outcome)
{
    struct publisher *p = ctx;

    UNUSED(token);
    p->options.on_outcome(p->options.ctx, outcome);
}

static void on_notice(void *ctx, bool is_problem, const char *sentence, const char *detail)
{
    UNUSED(ctx);
    log_write(is_problem ? LOG_WARN : LOG_INFO, sentence,
              (const struct log_field[]){F_STR("module", "publisher"),
                                         F_STR("detail", detail),
                                         {.kind = LOG_END}});
}

int publisher_new(const struct publisher_options *options, struct publisher **ret,
                  struct error *err)
{
    struct publisher *p = calloc(1, sizeof *p);

    if (p == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    p->options = *options;
    pthread_mutex_init(&p->lock, NULL);
    *ret = p;
    return 0;
}

/* Puts another one in its place, then ends the old one, unlocked. */
static void replace(struct publisher *p, struct amqp_publisher *amqp, struct topology *topology)
{
    struct topology *old_topology = p->topology;

    pthread_mutex_lock(&p->lock);
    struct amqp_publisher *old = p->amqp;
    p->amqp = amqp;
    pthread_mutex_unlock(&p->lock);
    amqp_publisher_stop(old, STOP_GRACE_MS);
    p->topology = topology;
    topology_free(old_topology);
}

int publisher_set_regions(struct publisher *p, const char *const *slugs, size_t count,
                          struct error *err)
{
    struct amqp_publisher *amqp = NULL;

    if (count == 0 || topology_has(p->topology, slugs, count))
        return 0;
    struct topology *t = topology_new(&p->options, slugs, count);
    if (t == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    struct amqp_publisher_options options = {
        .connection = p->options.connection,
        .topologies = t->exchanges,
        .topology_count = ARRAY_LEN(t->exchanges),
        .on_outcome = on_outcome,
        .on_notice = on_notice,
        .ctx = p,
    };
    int r = amqp_publisher_start(&options, &amqp, err);
    if (r < 0) {
        topology_free(t);
        return error_in(err, "publisher");
    }
    replace(p, amqp, t);
    return 0;
}

struct publisher *publisher_stop(struct publisher *p)
{
    if (p == NULL)
        return NULL;
    replace(p, NULL, NULL);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

int publisher_encode(const Harpoon__Event__V1__Event *head, const uint8_t *params,
                     size_t params_size, uint8_t **ret, size_t *ret_size, struct error *err)
{
    size_t size = harpoon__event__v1__event__get_packed_size(head);
    uint8_t *bytes = malloc(size + params_size + 12), *p;

    if (bytes == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    p = bytes + harpoon__event__v1__event__pack(head, bytes);
    if (params != NULL) { /* packed once, for the row; fields may come in any order */
        *p++ = PARAMS_TAG;
        size_t left = params_size;
        for (; left > 0x7F; left >>= 7)
            *p++ = (uint8_t)(left | 0x80);
        *p++ = (uint8_t)left;
        memcpy(p, params, params_size);
        p += params_size;
    }
    *ret = bytes;
    *ret_size = (size_t)(p - bytes);
    return 0;
}

int publisher_publish(struct publisher *p, const char *queue, const Harpoon__Event__V1__Event *head,
                      const uint8_t *params, size_t params_size, struct error *err)
{
    char id[32];
    uint8_t *body = NULL;
    size_t size = 0;

    int r = publisher_encode(head, params, params_size, &body, &size, err);
    if (r < 0)
        return r;
    (void)snprintf(id, sizeof id, "%" PRIu64, head->event_id);
    struct amqp_message m = {
        .exchange = EXCHANGE,
        .routing_key = queue,
        .message_id = id,
        .body = body,
        .size = size,
        .token = head->event_id,
    };
    pthread_mutex_lock(&p->lock); /* publishing never blocks, so neither does this */
    r = p->amqp != NULL ? amqp_publisher_publish(p->amqp, &m, err)
                        : error_set(err, ERR_UNAVAILABLE, "the regions are not known yet");
    pthread_mutex_unlock(&p->lock);
    free(body);
    return r;
}

void publisher_stats_get(struct publisher *p, struct amqp_stats *ret)
{
    *ret = (struct amqp_stats){0};
    LOCK_SCOPE(&p->lock);
    if (p->amqp != NULL)
        amqp_publisher_stats_get(p->amqp, ret);
}

bool publisher_is_ready(struct publisher *p)
{
    struct amqp_stats stats;

    publisher_stats_get(p, &stats);
    return stats.connected && !stats.blocked;
}
