#include "bench/replay.h"

#include "scheduler/rank/decide.h"

#define BIG_VCPUS      8
#define BIG_MEMORY_MIB 14336

struct state {
    const struct trace *trace;
    struct fleet *fleet;
    struct changes changes;
    size_t next, ended; /* into vms, into by_end */
    double empty_sum, stranded_sum;
    uint64_t means;
    struct replay_figures *figures;
};

static struct fleet *fleet_of(const struct hosts *hosts, const float weights[SCORER_COUNT])
{
    struct fleet *f = fleet_new(0);

    fleet_set_weights(f, weights);
    for (size_t i = 0; i < hosts->count; i++) {
        struct hypervisor h = {.id = {i + 1},
                               .status = HYPERVISOR_UP,
                               .capacity = hosts->shapes[i % hosts->shape_count]};
        fleet_set_session(f, fleet_add(f, &h), true, true);
    }
    return f;
}

static void create(struct state *s, size_t vm)
{
    const struct trace_vm *v = &s->trace->vms[vm];
    struct place_request q = {.event = {vm + 1},
                              .attempt = 1,
                              .droplet = {vm + 1},
                              .choose = {.size = {v->vcpus, v->memory_mib, 0}}};
    struct placement p;

    s->changes.count = 0;
    fleet_place(s->fleet, &q, 1, &s->changes, &p);
    if (p.outcome == PLACED)
        return;
    if (s->figures->rejected++ == 0)
        s->figures->first_rejected_vm = v->number;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void take_means(struct state *s)
{
    uint64_t empty = 0, vcpus = 0, memory = 0, fit = 0;
    size_t hosts = fleet_size(s->fleet);

    for (size_t row = 0; row < hosts; row++) {
        struct fleet_view v;
        fleet_view_get(s->fleet, row, &v);
        uint64_t left_vcpus = v.hypervisor.capacity.vcpus - v.claimed.vcpus;
        uint64_t left_memory = v.hypervisor.capacity.memory_mib - v.claimed.memory_mib;
        empty += v.claims == 0;
        vcpus += left_vcpus;
        memory += left_memory;
        fit += lesser(left_vcpus / BIG_VCPUS, left_memory / BIG_MEMORY_MIB);
    }
    uint64_t sum = lesser(vcpus / BIG_VCPUS, memory / BIG_MEMORY_MIB);
    s->empty_sum += (double)empty / (double)hosts;
    s->stranded_sum += sum ? 1 - (double)fit / (double)sum : 0;
    s->means++;
}

static void run_until(struct state *s, int64_t now_s)
{
    const struct trace *t = s->trace;

    for (; s->ended < t->count && t->vms[t->by_end[s->ended]].end_s <= now_s; s->ended++) {
        s->changes.count = 0;
        fleet_release_claim(s->fleet, (event_id){t->by_end[s->ended] + 1}, 1, &s->changes);
    }
    for (; s->next < t->count && t->vms[s->next].arrive_s <= now_s; s->next++)
        create(s, s->next);
}

void replay(const struct trace *t, const struct hosts *hosts, const float weights[SCORER_COUNT],
            struct replay_figures *ret)
{
    struct state s = {.trace = t, .fleet = fleet_of(hosts, weights), .figures = ret};
    int64_t warm_s = t->vms[0].arrive_s + WARM_UP_S;

    *ret = (struct replay_figures){.first_rejected_vm = -1};
    while (s.next < t->count) {
        int64_t now_s = t->vms[s.next].arrive_s;
        run_until(&s, now_s);
        if (now_s >= warm_s)
            take_means(&s);
    }
    if (s.means) {
        ret->mean_empty_hosts_pct = 100 * s.empty_sum / (double)s.means;
        ret->stranded_8c_pct = 100 * s.stranded_sum / (double)s.means;
    }
    changes_fini(&s.changes);
    fleet_free(s.fleet);
}
