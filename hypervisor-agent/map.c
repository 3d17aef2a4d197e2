#include "hypervisor-agent/map.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_BUCKETS = 8 };

uint64_t map_mix(uint64_t v) /* the finish of splitmix64 */
{
    v += 0x9E3779B97F4A7C15ull;
    v = (v ^ (v >> 30)) * 0xBF58476D1CE4E5B9ull;
    v = (v ^ (v >> 27)) * 0x94D049BB133111EBull;
    return v ^ (v >> 31);
}

static size_t bucket_of(const struct map *m, uint64_t key)
{
    return (size_t)(map_mix(key) & (m->bucket_count - 1));
}

struct map_node *map_find(const struct map *m, uint64_t key)
{
    if (m->count == 0)
        return NULL;
    struct map_node *n = m->buckets[bucket_of(m, key)];
    while (n != NULL && n->key != key)
        n = n->next;
    return n;
}

static int grow(struct map *m, struct error *err)
{
    struct map bigger = {.bucket_count = m->bucket_count ? m->bucket_count * 2 : FIRST_BUCKETS};

    bigger.buckets = calloc(bigger.bucket_count, sizeof(struct map_node *));
    if (bigger.buckets == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < m->bucket_count; i++) {
        for (struct map_node *n = m->buckets[i], *next; n != NULL; n = next) {
            size_t to = bucket_of(&bigger, n->key);
            next = n->next;
            n->next = bigger.buckets[to];
            bigger.buckets[to] = n;
        }
    }
    free(m->buckets);
    m->buckets = bigger.buckets;
    m->bucket_count = bigger.bucket_count;
    return 0;
}

int map_put(struct map *m, struct map_node *node, struct error *err)
{
    if (m->count >= m->bucket_count) {
        int r = grow(m, err);
        if (r < 0)
            return r;
    }
    struct map_node **head = &m->buckets[bucket_of(m, node->key)];
    node->next = *head;
    *head = node;
    m->count++;
    return 0;
}

void map_remove(struct map *m, struct map_node *node)
{
    assert(m->count > 0);
    struct map_node **at = &m->buckets[bucket_of(m, node->key)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    m->count--;
}

void map_fini(struct map *m)
{
    free(m->buckets);
    *m = (struct map){0};
}

struct map_node *map_next(const struct map *m, struct map_cursor *c)
{
    struct map_node *n = c->next;

    while (n == NULL && c->bucket < m->bucket_count)
        n = m->buckets[c->bucket++];
    c->next = n != NULL ? n->next : NULL;
    return n;
}
