#include "scheduler/rank/claims.h"

#include "scheduler/memory.h"

#define uthash_fatal(message) abort()
#include <assert.h>
#include <uthash.h>

/* All claims of one event, or of one droplet. */
struct bucket {
    uint64_t key;
    struct claim_node *first;
    UT_hash_handle hh;
};

struct claims {
    struct bucket *events, *droplets;
    struct claim_node *oldest, *newest;
    struct claim_node *walk; /* the next to be looked at, NULL: from the oldest */
    size_t count;
};

struct claims *claims_new(void)
{
    return must_calloc(1, sizeof(struct claims));
}

static void buckets_free(struct bucket **table)
{
    struct bucket *b, *next;

    HASH_ITER(hh, *table, b, next)
    {
        HASH_DEL(*table, b);
        free(b);
    }
}

struct claims *claims_free(struct claims *c)
{
    if (!c)
        return NULL;
    buckets_free(&c->events);
    buckets_free(&c->droplets);
    for (struct claim_node *n = c->oldest, *next; n; n = next) {
        next = n->after;
        free(n);
    }
    free(c);
    return NULL;
}

size_t claims_count(const struct claims *c)
{
    return c->count;
}

static struct bucket *bucket_find(struct bucket *table, uint64_t key)
{
    struct bucket *b = NULL;

    HASH_FIND(hh, table, &key, sizeof(key), b);
    return b;
}

static struct bucket *bucket_need(struct bucket **table, uint64_t key)
{
    struct bucket *b = bucket_find(*table, key);

    if (b)
        return b;
    b = must_calloc(1, sizeof(*b));
    b->key = key;
    HASH_ADD(hh, *table, key, sizeof(b->key), b);
    return b;
}

static void bucket_drop_if_empty(struct bucket **table, struct bucket *b)
{
    if (b->first)
        return;
    HASH_DEL(*table, b);
    free(b);
}

struct claim_node *claims_add(struct claims *c, const struct claim *claim)
{
    struct claim_node *n = must_calloc(1, sizeof(*n));
    struct bucket *of_event = bucket_need(&c->events, claim->event.v);
    struct bucket *of_droplet = bucket_need(&c->droplets, claim->droplet.v);

    assert(!claims_find(c, claim->event, claim->attempt));
    n->claim = *claim;
    n->next_of_event = of_event->first;
    of_event->first = n;
    n->next_of_droplet = of_droplet->first;
    of_droplet->first = n;
    n->before = c->newest;
    *(c->newest ? &c->newest->after : &c->oldest) = n;
    c->newest = n;
    c->count++;
    return n;
}

void claims_remove(struct claims *c, struct claim_node *node)
{
    struct bucket *of_event = bucket_find(c->events, node->claim.event.v);
    struct bucket *of_droplet = bucket_find(c->droplets, node->claim.droplet.v);
    struct claim_node **link;

    for (link = &of_event->first; *link != node; link = &(*link)->next_of_event)
        ;
    *link = node->next_of_event;
    for (link = &of_droplet->first; *link != node; link = &(*link)->next_of_droplet)
        ;
    *link = node->next_of_droplet;
    bucket_drop_if_empty(&c->events, of_event);
    bucket_drop_if_empty(&c->droplets, of_droplet);

    *(node->before ? &node->before->after : &c->oldest) = node->after;
    *(node->after ? &node->after->before : &c->newest) = node->before;
    if (c->walk == node)
        c->walk = node->after;
    c->count--;
    free(node);
}

struct claim_node *claims_of_event(const struct claims *c, event_id event)
{
    struct bucket *b = bucket_find(c->events, event.v);

    return b ? b->first : NULL;
}

struct claim_node *claims_of_droplet(const struct claims *c, droplet_id droplet)
{
    struct bucket *b = bucket_find(c->droplets, droplet.v);

    return b ? b->first : NULL;
}

struct claim_node *claims_find(const struct claims *c, event_id event, uint32_t attempt)
{
    struct claim_node *n = claims_of_event(c, event);

    while (n && n->claim.attempt != attempt)
        n = n->next_of_event;
    return n;
}

uint32_t claims_highest_attempt(const struct claims *c, event_id event)
{
    uint32_t highest = 0;

    for (struct claim_node *n = claims_of_event(c, event); n; n = n->next_of_event)
        if (n->claim.attempt > highest)
            highest = n->claim.attempt;
    return highest;
}

size_t claims_walk(struct claims *c, int64_t before_unix_ms, size_t look, struct claim *into,
                   size_t room)
{
    size_t found = 0;

    if (look > c->count)
        look = c->count;
    for (; look > 0 && found < room; look--) {
        struct claim_node *n = c->walk ? c->walk : c->oldest;
        if (n->claim.at_unix_ms < before_unix_ms)
            into[found++] = n->claim;
        c->walk = n->after;
    }
    return found;
}

void claims_each(const struct claims *c, void (*fn)(void *ctx, const struct claim *claim),
                 void *ctx)
{
    for (const struct claim_node *n = c->oldest; n; n = n->after)
        fn(ctx, &n->claim);
}
