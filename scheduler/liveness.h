/* scheduler/liveness.h: who of a region's hypervisors is there and how it fares, as its routers
 * say. Every replica keeps it, so that one that takes over knows at once. Pure: time is an
 * argument. Threads: none of its own, the region's lock guards it. */
#pragma once

#include "scheduler/rank/fleet.h"

/* A session counts as long as a router has named it within this time. */
#define SESSION_TIMEOUT_MS 15000
/* What a region keeps at most; further hypervisors are not taken in. */
#define LIVENESS_MAX 200000

struct sample {
    int64_t at_unix_ms;
    uint32_t cpu_permille, steal_permille, iowait_permille, memory_pressure_permille;
    uint64_t network_bytes_per_s;
    uint32_t creates_in_flight, domains;
    struct resources capacity;
};

/* What a router says of one hypervisor. */
struct sighting {
    hypervisor_id id;
    uint64_t session;
    bool attached; /* false: that session has ended */
    struct uuid journal;
    bool compared; /* the journal's domains have been compared */
    bool sampled;
    struct sample sample; /* of sampled */
};

struct presence {
    hypervisor_id id;
    uint64_t session;     /* the highest seen */
    uint64_t ended_below; /* sessions below this one have ended */
    struct uuid journal;
    bool compared;
    bool connected; /* as of the last sighting or expiry */
    bool sampled;
    struct sample sample; /* the last one */
    struct load load;     /* smoothed */
    int64_t seen_mono_ms, seen_unix_ms;
    /* Used by who makes rows for newcomers: */
    bool making;
    int64_t make_after_mono_ms;
};

struct liveness;

struct liveness *liveness_new(void);
struct liveness *liveness_free(struct liveness *l); /* NULL is fine; gives NULL */
/* Takes in what a router said. NULL: it is old news, or there are LIVENESS_MAX already. */
struct presence *liveness_see(struct liveness *l, const struct sighting *s, int64_t now_mono_ms,
                              int64_t now_unix_ms);
struct presence *liveness_find(const struct liveness *l, hypervisor_id id); /* NULL: never seen */
/* Ends what was not named for SESSION_TIMEOUT_MS, and calls `on_gone` for each. */
void liveness_expire(struct liveness *l, int64_t now_mono_ms,
                     void (*on_gone)(void *ctx, const struct presence *p), void *ctx);
void liveness_each(const struct liveness *l, void (*fn)(void *ctx, struct presence *p), void *ctx);
size_t liveness_connected(const struct liveness *l);
