#include "scheduler/rank/claims.h"

#include "lib/memory.h"

#include <assert.h>

/* All claims of one event, or of one droplet. Tables probe in turn and are at most half full, so
 * that a look-up is one cache line, mostly. */
struct bucket {
    uint64_t key;
    struct claim_node *first; /* NULL: free */
};

struct table {
    struct bucket *list;
    size_t mask, used;
};

#define TABLE_START 64

struct claims {
    struct table events, droplets;
    struct claim_node *oldest, *newest;
    struct claim_node *walk; /* the next to be looked at, NULL: from the oldest */
    size_t count;
};

static void table_init(struct table *t, size_t size)
{
    *t = (struct table){.list = must_calloc(size, sizeof(*t->list)), .mask = size - 1};
}

struct claims *claims_new(void)
{
    struct claims *c = must_calloc(1, sizeof(*c));

    table_init(&c->events, TABLE_START);
    table_init(&c->droplets, TABLE_START);
    return c;
}

struct claims *claims_free(struct claims *c)
{
    if (!c)
        return NULL;
    free(c->events.list);
    free(c->droplets.list);
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

static size_t home_of(const struct table *t, uint64_t key)
{
    key ^= key >> 32;
    key *= 0x9e3779b97f4a7c15u;
    return (key ^ key >> 32) & t->mask;
}

/* Where the key is, or would be. */
static struct bucket *bucket_at(const struct table *t, uint64_t key)
{
    size_t i = home_of(t, key);

    while (t->list[i].first && t->list[i].key != key)
        i = (i + 1) & t->mask;
    return &t->list[i];
}

static void table_grow(struct table *t)
{
    struct table larger;

    table_init(&larger, (t->mask + 1) * 2);
    for (size_t i = 0; i <= t->mask; i++)
        if (t->list[i].first)
            *bucket_at(&larger, t->list[i].key) = t->list[i];
    larger.used = t->used;
    free(t->list);
    *t = larger;
}

/* Puts `node` in front of those of the key; gives who was first. */
static struct claim_node *table_push(struct table *t, uint64_t key, struct claim_node *node)
{
    struct bucket *b = bucket_at(t, key);
    struct claim_node *before = b->first;

    if (!before && ++t->used * 2 > t->mask) {
        table_grow(t);
        b = bucket_at(t, key);
    }
    *b = (struct bucket){key, node};
    return before;
}

/* Takes an empty bucket out; those behind it that it pushed away move up. */
static void table_close_gap(struct table *t, struct bucket *gap)
{
    size_t hole = (size_t)(gap - t->list);

    t->used--;
    for (size_t i = (hole + 1) & t->mask; t->list[i].first; i = (i + 1) & t->mask) {
        size_t home = home_of(t, t->list[i].key);
        if (((i - home) & t->mask) < ((i - hole) & t->mask))
            continue;
        t->list[hole] = t->list[i];
        t->list[i].first = NULL;
        hole = i;
    }
}

struct claim_node *claims_add(struct claims *c, const struct claim *claim)
{
    struct claim_node *n = must_calloc(1, sizeof(*n));

    assert(!claims_find(c, claim->event, claim->attempt));
    n->claim = *claim;
    n->next_of_event = table_push(&c->events, claim->event.v, n);
    n->next_of_droplet = table_push(&c->droplets, claim->droplet.v, n);
    n->before = c->newest;
    *(c->newest ? &c->newest->after : &c->oldest) = n;
    c->newest = n;
    c->count++;
    return n;
}

void claims_remove(struct claims *c, struct claim_node *node)
{
    struct bucket *of_event = bucket_at(&c->events, node->claim.event.v);
    struct bucket *of_droplet = bucket_at(&c->droplets, node->claim.droplet.v);
    struct claim_node **link;

    for (link = &of_event->first; *link != node; link = &(*link)->next_of_event)
        ;
    *link = node->next_of_event;
    for (link = &of_droplet->first; *link != node; link = &(*link)->next_of_droplet)
        ;
    *link = node->next_of_droplet;
    if (!of_event->first)
        table_close_gap(&c->events, of_event);
    if (!of_droplet->first)
        table_close_gap(&c->droplets, of_droplet);

    *(node->before ? &node->before->after : &c->oldest) = node->after;
    *(node->after ? &node->after->before : &c->newest) = node->before;
    if (c->walk == node)
        c->walk = node->after;
    c->count--;
    free(node);
}

struct claim_node *claims_of_event(const struct claims *c, event_id event)
{
    return bucket_at(&c->events, event.v)->first;
}

struct claim_node *claims_of_droplet(const struct claims *c, droplet_id droplet)
{
    return bucket_at(&c->droplets, droplet.v)->first;
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
