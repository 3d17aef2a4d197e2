#include "scheduler/rank/changes.h"

#include "lib/memory.h"

void changes_add(struct changes *c, enum change_kind kind, const struct claim *claim)
{
    if (c->count == c->size) {
        c->size = c->size ? c->size * 2 : 8;
        c->list = must_resize(c->list, c->size, sizeof(*c->list));
    }
    c->list[c->count++] = (struct change){kind, *claim};
}

void changes_append(struct changes *c, const struct changes *more)
{
    for (size_t i = 0; i < more->count; i++)
        changes_add(c, more->list[i].kind, &more->list[i].claim);
}

void changes_fini(struct changes *c)
{
    free(c->list);
    *c = (struct changes){0};
}

/* By key; of one key in the order in which they happened (they are neighbours in one array). */
static int compare(const void *a, const void *b)
{
    const struct change *x = *(const struct change *const *)a;
    const struct change *y = *(const struct change *const *)b;

    if (x->claim.event.v != y->claim.event.v)
        return x->claim.event.v < y->claim.event.v ? -1 : 1;
    if (x->claim.attempt != y->claim.attempt)
        return x->claim.attempt < y->claim.attempt ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool same_key(const struct change *a, const struct change *b)
{
    return a->claim.event.v == b->claim.event.v && a->claim.attempt == b->claim.attempt;
}

void changes_net(const struct changes *c, struct net_changes *ret)
{
    const struct change **order = must_calloc(c->count, sizeof(*order));
    struct net_changes n = {.releases = must_calloc(c->count, sizeof(struct claim)),
                            .takes = must_calloc(c->count, sizeof(struct claim))};

    for (size_t i = 0; i < c->count; i++)
        order[i] = &c->list[i];
    qsort(order, c->count, sizeof(*order), compare);
    for (size_t first = 0, last; first < c->count; first = last + 1) {
        for (last = first; last + 1 < c->count && same_key(order[first], order[last + 1]); last++)
            ;
        /* The first change of a key tells whether its row was there, the last whether it stays. */
        if (order[first]->kind == CHANGE_RELEASE)
            n.releases[n.release_count++] = order[first]->claim;
        if (order[last]->kind == CHANGE_TAKE)
            n.takes[n.take_count++] = order[last]->claim;
    }
    free(order);
    *ret = n;
}

void net_changes_fini(struct net_changes *n)
{
    free(n->releases);
    free(n->takes);
    *n = (struct net_changes){0};
}
