#include "scheduler/region.h"

#include "lib/clock.h"
#include "lib/memory.h"
#include "scheduler/lease.h"

#include <stdio.h>
#include <string.h>

static bool is_slug(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return len > 0 && len < REGION_NAME_SIZE && text[len] == '\0';
}

static void region_init(struct region *r, const char *name)
{
    *r = (struct region){.role = REGION_FOLLOWING, .liveness = liveness_new()};
    snprintf(r->name, sizeof(r->name), "%s", name);
    pthread_mutex_init(&r->lock, NULL);
}

int regions_init(struct regions *r, const char *names, struct error *err)
{
    char *copy = strdup(names), *rest = copy, *name;
    size_t most = 1;

    for (const char *c = names; *c; c++)
        most += *c == ',';
    *r = (struct regions){.list = must_calloc(most, sizeof(*r->list))};
    while (copy && (name = strsep(&rest, ","))) {
        if (!is_slug(name) || regions_find(r, name)) {
            error_set(err, ERR_INVALID, "regions: \"%s\" is twice there or no slug", name);
            free(copy);
            regions_fini(r);
            return ERR_INVALID;
        }
        region_init(&r->list[r->count++], name);
    }
    free(copy);
    return 0;
}

void regions_fini(struct regions *r)
{
    for (size_t i = 0; i < r->count; i++) {
        fleet_free(r->list[i].fleet);
        liveness_free(r->list[i].liveness);
        pthread_mutex_destroy(&r->list[i].lock);
    }
    free(r->list);
    *r = (struct regions){0};
}

struct region *regions_find(const struct regions *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->list[i].name, name) == 0)
            return &r->list[i];
    return NULL;
}

bool region_leads_locked(const struct region *r, int64_t now_mono_ms)
{
    return r->role == REGION_LEADING && now_mono_ms - r->renewed_mono_ms < LEASE_VALID_MS;
}

/* Freed outside the lock: a million claims take a while. */
static struct fleet *take_fleet_locked(struct region *r)
{
    struct fleet *old = r->fleet;

    r->fleet = NULL;
    r->generation++;
    return old;
}

void region_lose(struct region *r, uint64_t epoch)
{
    struct fleet *old = NULL;

    pthread_mutex_lock(&r->lock);
    if (r->epoch == epoch && r->role != REGION_FOLLOWING) {
        old = take_fleet_locked(r);
        r->role = REGION_FOLLOWING;
        r->leader[0] = '\0';
    }
    pthread_mutex_unlock(&r->lock);
    fleet_free(old);
}

void region_distrust(struct region *r, uint64_t generation)
{
    struct fleet *old = NULL;

    pthread_mutex_lock(&r->lock);
    if (r->generation == generation && r->role == REGION_LEADING) {
        old = take_fleet_locked(r);
        r->role = REGION_LOADING;
    }
    pthread_mutex_unlock(&r->lock);
    fleet_free(old);
}

void region_hold(struct region *r, uint64_t epoch, int64_t began_mono_ms)
{
    LOCK_SCOPE(&r->lock);
    r->role = REGION_LOADING;
    r->epoch = epoch;
    r->renewed_mono_ms = began_mono_ms;
    r->leader[0] = '\0';
}

void region_apply_presence_locked(struct region *r, size_t row, const struct presence *p,
                                  bool sampled)
{
    struct fleet_view v;

    fleet_view_get(r->fleet, row, &v);
    if (sampled)
        fleet_set_load(r->fleet, row, &p->load, unix_ms());
    fleet_set_session(r->fleet, row, p->connected,
                      p->compared || uuid_equal(&p->journal, &v.hypervisor.journal));
}

static void apply_known(void *ctx, struct presence *p)
{
    struct region *r = ctx;
    size_t row = fleet_find(r->fleet, p->id);

    if (row != FLEET_NONE)
        region_apply_presence_locked(r, row, p, p->sampled);
}

bool region_lead(struct region *r, uint64_t epoch, struct fleet *fleet)
{
    pthread_mutex_lock(&r->lock);
    bool leads = r->role == REGION_LOADING && r->epoch == epoch;
    if (leads) {
        r->fleet = fleet;
        r->generation++;
        r->role = REGION_LEADING;
        liveness_each(r->liveness, apply_known, r);
    }
    pthread_mutex_unlock(&r->lock);
    if (!leads)
        fleet_free(fleet);
    return leads;
}

void region_see_leader(struct region *r, const char *address, uint64_t epoch)
{
    LOCK_SCOPE(&r->lock);
    if (r->role != REGION_FOLLOWING)
        return;
    r->epoch = epoch;
    snprintf(r->leader, sizeof(r->leader), "%s", address);
}
