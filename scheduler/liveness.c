#include "scheduler/liveness.h"

#include "lib/memory.h"

#define uthash_fatal(message) abort()
#include <string.h>
#include <uthash.h>

/* How much of the smoothed load a new sample replaces. */
#define SMOOTHING 0.2f

struct entry {
    struct presence presence;
    UT_hash_handle hh;
};

struct liveness {
    struct entry *by_id;
    size_t connected;
};

struct liveness *liveness_new(void)
{
    return must_calloc(1, sizeof(struct liveness));
}

struct liveness *liveness_free(struct liveness *l)
{
    struct entry *e, *next;

    if (!l)
        return NULL;
    HASH_ITER(hh, l->by_id, e, next)
    {
        HASH_DEL(l->by_id, e);
        free(e);
    }
    free(l);
    return NULL;
}

static struct entry *entry_find(const struct liveness *l, hypervisor_id id)
{
    struct entry *e = NULL;

    HASH_FIND(hh, l->by_id, &id.v, sizeof(id.v), e);
    return e;
}

static struct entry *entry_need(struct liveness *l, hypervisor_id id)
{
    struct entry *e = entry_find(l, id);

    if (e || HASH_COUNT(l->by_id) >= LIVENESS_MAX)
        return e;
    e = must_calloc(1, sizeof(*e));
    e->presence.id = id;
    HASH_ADD(hh, l->by_id, presence.id.v, sizeof(id.v), e);
    return e;
}

static void set_connected(struct liveness *l, struct presence *p, bool connected)
{
    if (p->connected && !connected)
        l->connected--;
    if (!p->connected && connected)
        l->connected++;
    p->connected = connected;
}

static float smooth(float old, uint32_t permille, bool first)
{
    float now = (float)(permille < 1000 ? permille : 1000) / 1000.0f;

    return first ? now : old + SMOOTHING * (now - old);
}

static void take_sample(struct presence *p, const struct sample *s)
{
    bool first = !p->sampled;

    p->load.cpu = smooth(p->load.cpu, s->cpu_permille, first);
    p->load.steal = smooth(p->load.steal, s->steal_permille, first);
    p->load.iowait = smooth(p->load.iowait, s->iowait_permille, first);
    p->load.memory_pressure = smooth(p->load.memory_pressure, s->memory_pressure_permille, first);
    p->load.creates_in_flight = s->creates_in_flight < 65536 ? s->creates_in_flight : 65536;
    p->sample = *s;
    p->sampled = true;
}

static bool is_of_journal(const struct presence *p, const struct sighting *s)
{
    return memcmp(&p->journal, &s->journal, sizeof(p->journal)) == 0;
}

/* Session numbers grow within one journal only. Another journal with a lower number is news when
 * the one that is known has gone; its end says nothing of the one that is known. */
static bool is_old_news(const struct presence *p, const struct sighting *s)
{
    bool same_journal = is_of_journal(p, s);

    if (!same_journal && !s->attached && p->seen_mono_ms != 0)
        return true;
    if (s->session >= p->session)
        return false;
    return same_journal || p->connected || !s->attached;
}

struct presence *liveness_see(struct liveness *l, const struct sighting *s, int64_t now_mono_ms,
                              int64_t now_unix_ms)
{
    struct entry *e = entry_need(l, s->id);
    struct presence *p = e ? &e->presence : NULL;

    if (!p || is_old_news(p, s))
        return NULL;
    if (s->attached && !is_of_journal(p, s)) /* numbered anew */
        p->ended_below = 0;
    p->session = s->session;
    if (!s->attached) {
        p->ended_below = s->session + 1;
        set_connected(l, p, false);
        return p;
    }
    if (s->session < p->ended_below) /* a router that has not noticed yet */
        return NULL;
    p->journal = s->journal;
    p->compared = s->compared;
    p->seen_mono_ms = now_mono_ms;
    p->seen_unix_ms = now_unix_ms;
    if (s->sampled)
        take_sample(p, &s->sample);
    set_connected(l, p, true);
    return p;
}

struct presence *liveness_find(const struct liveness *l, hypervisor_id id)
{
    struct entry *e = entry_find(l, id);

    return e ? &e->presence : NULL;
}

void liveness_expire(struct liveness *l, int64_t now_mono_ms,
                     void (*on_gone)(void *ctx, const struct presence *p), void *ctx)
{
    for (struct entry *e = l->by_id; e; e = e->hh.next) {
        struct presence *p = &e->presence;
        if (!p->connected || now_mono_ms - p->seen_mono_ms <= SESSION_TIMEOUT_MS)
            continue;
        set_connected(l, p, false);
        on_gone(ctx, p);
    }
}

void liveness_each(const struct liveness *l, void (*fn)(void *ctx, struct presence *p), void *ctx)
{
    for (struct entry *e = l->by_id; e; e = e->hh.next)
        fn(ctx, &e->presence);
}

size_t liveness_connected(const struct liveness *l)
{
    return l->connected;
}
