#include "lib/amqp/unacked.h"

#include <assert.h>
#include <stdlib.h>

void unacked_fini(struct unacked *u)
{
    free(u->entries);
    *u = (struct unacked){0};
}

void unacked_clear(struct unacked *u)
{
    u->count = 0;
}

bool unacked_add(struct unacked *u, uint64_t tag)
{
    assert(u->count == 0 || u->entries[u->count - 1].tag < tag);
    if (u->count == u->capacity) {
        size_t capacity = u->capacity ? u->capacity * 2 : 64;
        struct unacked_entry *entries = realloc(u->entries, capacity * sizeof *entries);
        if (!entries)
            return false;
        u->entries = entries;
        u->capacity = capacity;
    }
    u->entries[u->count++] = (struct unacked_entry){.tag = tag};
    return true;
}

static int compare(const void *key, const void *entry)
{
    uint64_t tag = *(const uint64_t *)key;
    uint64_t other = ((const struct unacked_entry *)entry)->tag;
    return tag < other ? -1 : tag > other;
}

bool unacked_mark(struct unacked *u, uint64_t tag, enum unacked_state how)
{
    if (u->count == 0)
        return false;
    struct unacked_entry *e = bsearch(&tag, u->entries, u->count, sizeof *e, compare);
    if (!e || e->state != UNACKED_OPEN)
        return false;
    e->state = how;
    return true;
}

static int settle_rejections(const struct unacked *u, unacked_settle_fn settle, void *ctx)
{
    for (size_t i = 0; i < u->count; i++) {
        const struct unacked_entry *e = &u->entries[i];
        int r = e->state == UNACKED_REJECT ? settle(ctx, e->tag, UNACKED_REJECT, false) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int settle_acknowledgements(const struct unacked *u, unacked_settle_fn settle, void *ctx)
{
    size_t i = 0, count = 0;
    uint64_t last = 0;
    int r = 0;
    for (; i < u->count && u->entries[i].state != UNACKED_OPEN; i++) {
        if (u->entries[i].state == UNACKED_ACK) {
            last = u->entries[i].tag;
            count++;
        }
    }
    if (count)
        r = settle(ctx, last, UNACKED_ACK, count > 1);
    for (; r >= 0 && i < u->count; i++) {
        if (u->entries[i].state == UNACKED_ACK)
            r = settle(ctx, u->entries[i].tag, UNACKED_ACK, false);
    }
    return r;
}

static void forget_settled(struct unacked *u)
{
    size_t kept = 0;
    for (size_t i = 0; i < u->count; i++) {
        if (u->entries[i].state == UNACKED_OPEN)
            u->entries[kept++] = u->entries[i];
    }
    u->count = kept;
}

int unacked_flush(struct unacked *u, unacked_settle_fn settle, void *ctx)
{
    int r = settle_rejections(u, settle, ctx);
    if (r >= 0)
        r = settle_acknowledgements(u, settle, ctx);
    forget_settled(u);
    return r < 0 ? r : 0;
}
