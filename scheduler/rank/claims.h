/* scheduler/rank/claims.h: capacity taken for (event, attempt), found by event, by droplet and in
 * turn. Pure: it knows no hypervisor's capacity. Threads: none of its own, the owner locks. */
#pragma once

#include "lib/ids.h"
#include "lib/macros.h"
#include "scheduler/rank/resources.h"

#include <stddef.h>
#include <stdint.h>

struct claim {
    event_id event;
    uint32_t attempt;
    droplet_id droplet;
    hypervisor_id hypervisor;
    struct resources size;
    int64_t at_unix_ms;
};

/* A claim in the table. Pointers are good until claims_remove. */
struct claim_node {
    struct claim claim;
    uint32_t row;  /* of the hypervisor in its fleet */
    uint64_t slot; /* of time, when it was taken (rank/fleet.c); 0: by an earlier leader */
    struct claim_node *next_of_event, *next_of_droplet;
    struct claim_node *before, *after; /* in the order of taking */
};

struct claims;

struct claims *claims_new(void);
struct claims *claims_free(struct claims *c); /* NULL is fine; gives NULL */
size_t claims_count(const struct claims *c);

/* Adds a copy; its (event, attempt) must not be there. */
struct claim_node *claims_add(struct claims *c, const struct claim *claim);
void claims_remove(struct claims *c, struct claim_node *node);

/* NULL: not there. */
struct claim_node *claims_find(const struct claims *c, event_id event, uint32_t attempt);
/* The first of the event's or droplet's claims (then next_of_event, next_of_droplet), NULL: none.
 */
struct claim_node *claims_of_event(const struct claims *c, event_id event);
struct claim_node *claims_of_droplet(const struct claims *c, droplet_id droplet);
/* The highest attempt of the event that holds a claim; 0: none. */
uint32_t claims_highest_attempt(const struct claims *c, event_id event);

/* Goes round all claims: looks at the next `look` of them and copies those taken before
 * `before_unix_ms`, at most `room`; returns how many. The place is kept in the table. */
size_t claims_walk(struct claims *c, int64_t before_unix_ms, size_t look, struct claim *into,
                   size_t room);
/* Every claim in the order of taking. */
void claims_each(const struct claims *c, void (*fn)(void *ctx, const struct claim *claim),
                 void *ctx);
