/* The engine alone: how many decisions, metrics and refusals a second on one core, beside a plain
 * scan and what reading the scan's bytes costs. */
#include "bench/report.h"
#include "lib/memory.h"
#include "scheduler/rank/decide.h"
#include "scheduler/rank/filters.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define CLAIMS_EACH 4
#define BYTES_A_ROW 36 /* open, base, slots, and left and inverse of three resources */
#define BUDGET_NS   1000000000u
#define SAMPLES     200000
#define POPULAR     16
#define FIRST_EVENT 1000000000u
#define SHAPE       ((struct resources){64, 163840, 4000})
#define NO_HOST_HAS ((struct resources){64, 163840, 10})

struct bench {
    struct report report;
    struct fleet *fleet;
    struct changes changes;
    uint64_t dice, event;
    struct resources popular[POPULAR];
    uint32_t *samples;
};

static struct load some_load(uint64_t *dice)
{
    return (struct load){.cpu = (float)random_below(dice, 1000) / 1000,
                         .steal = (float)random_below(dice, 100) / 1000,
                         .iowait = (float)random_below(dice, 100) / 1000,
                         .memory_pressure = (float)random_below(dice, 100) / 1000};
}

static void fill(struct bench *b, uint64_t id)
{
    struct hypervisor h = {.id = {id}, .status = HYPERVISOR_UP, .capacity = SHAPE};
    struct load load = some_load(&b->dice);
    size_t row = fleet_add(b->fleet, &h);

    for (uint64_t i = 0; i < CLAIMS_EACH; i++) {
        uint32_t vcpus = 4 + random_below(&b->dice, 12);
        struct claim c = {.event = {id * CLAIMS_EACH + i},
                          .attempt = 1,
                          .droplet = {id * CLAIMS_EACH + i},
                          .hypervisor = {id},
                          .size = {vcpus, vcpus * (1024 + random_below(&b->dice, 1500)), 100}};
        fleet_load_claim(b->fleet, &c);
    }
    fleet_set_session(b->fleet, row, true, true);
    fleet_set_load(b->fleet, row, &load, 1);
}

static void world_init(struct bench *b, uint64_t hypervisors)
{
    *b = (struct bench){.report = {"rank", hypervisors},
                        .fleet = fleet_new(8),
                        .dice = 42,
                        .event = FIRST_EVENT,
                        .samples = must_calloc(SAMPLES, sizeof(*b->samples))};
    for (uint64_t id = 1; id <= hypervisors; id++)
        fill(b, id);
    for (uint32_t i = 0; i < POPULAR; i++)
        b->popular[i] =
            (struct resources){1u << i % 5, (1024u << i % 5) * (1 + i / 5), 25u << i % 5};
}

static void world_fini(struct bench *b)
{
    fleet_free(b->fleet);
    changes_fini(&b->changes);
    free(b->samples);
}

/* Choose, commit, release; gives whether there was room. */
static bool place_and_release(struct bench *b, const struct resources *size)
{
    struct place_request q = {.event = {++b->event},
                              .attempt = 1,
                              .droplet = {b->event},
                              .choose = {.size = *size}};
    struct placement p;

    b->changes.count = 0;
    fleet_place(b->fleet, &q, 1, &b->changes, &p);
    fleet_release_claim(b->fleet, q.event, 1, &b->changes);
    return p.outcome == PLACED;
}

static void op_popular(struct bench *b)
{
    if (!place_and_release(b, &b->popular[random_next(&b->dice) % POPULAR]))
        abort();
}

static void op_never_seen(struct bench *b)
{
    struct resources size = {1 + b->event % 8, 1024 + (uint32_t)(b->event % 16000), 10};

    if (!place_and_release(b, &size))
        abort();
}

static void op_metric(struct bench *b)
{
    struct load load = some_load(&b->dice);

    fleet_set_load(b->fleet, random_below(&b->dice, (uint32_t)b->report.hypervisors), &load, 1);
}

static void op_popular_and_metric(struct bench *b)
{
    op_metric(b);
    op_popular(b);
}

static void op_no_room(struct bench *b)
{
    if (place_and_release(b, &NO_HOST_HAS))
        abort();
}

static void op_no_room_never_seen(struct bench *b)
{
    struct resources size = {64, 163840, 10 + (uint32_t)(b->event % 3000)};

    if (place_and_release(b, &size))
        abort();
}

static void op_scan(struct bench *b)
{
    struct choose_request q = {.size = b->popular[b->event++ % POPULAR]};
    struct choice c;

    fleet_scan(b->fleet, &q, &c);
    if (c.row == FLEET_NONE)
        abort();
}

/* As one would write it at first: every filter and scorer of every hypervisor, one by one. */
static void op_plain_scan(struct bench *b)
{
    struct choose_request q = {.size = b->popular[b->event++ % POPULAR]};
    size_t best = FLEET_NONE;
    float most = 0;

    for (size_t row = 0; row < fleet_size(b->fleet); row++) {
        if (filters_find_refusal(b->fleet, row, &q) != FILTER_COUNT)
            continue;
        float points = fleet_score(b->fleet, row, &q.size);
        if (best == FLEET_NONE || points > most) {
            best = row;
            most = points;
        }
    }
    if (best == FLEET_NONE)
        abort();
}

static void report_named(const struct bench *b, const char *name, const char *what, double value,
                         const char *unit)
{
    char full[64];

    snprintf(full, sizeof(full), "%s_%s", name, what);
    report_value(&b->report, full, value, unit);
}

/* Two rounds: by the processor's time, for the rate a core has; and by the clock, op by op. */
static void measure(struct bench *b, const char *name, void (*op)(struct bench *b))
{
    uint64_t begun, count = 0, taken = 0, n = 0;

    for (size_t i = 0; i < 4 * POPULAR; i++)
        op(b);
    begun = cpu_ns();
    for (size_t batch = 1; taken < BUDGET_NS;
         count += batch, batch = batch < 256 ? batch * 2 : 256) {
        for (size_t i = 0; i < batch; i++)
            op(b);
        taken = cpu_ns() - begun;
    }
    report_named(b, name, "per_second", (double)count * 1e9 / (double)taken, "1/s");
    begun = now_ns();
    for (uint64_t from = begun; n < SAMPLES && from - begun < BUDGET_NS; n++) {
        op(b);
        uint64_t to = now_ns();
        b->samples[n] = (uint32_t)(to - from);
        from = to;
    }
    report_named(b, name, "p50", samples_at(b->samples, n, 500), "ns");
    report_named(b, name, "p99", samples_at(b->samples, n, 990), "ns");
}

/* What no scan can beat: its bytes, read once by the C library's widest loads. */
static void measure_floor(const struct bench *b)
{
    size_t size = b->report.hypervisors * BYTES_A_ROW;
    char *bytes = must_calloc(size, 1);
    uint64_t best = UINT64_MAX;

    memset(bytes, 1, size);
    for (int round = 0; round < 500; round++) {
        uint64_t begun = now_ns();
        if (memchr(bytes, 2, size))
            abort();
        uint64_t taken = now_ns() - begun;
        best = taken < best ? taken : best;
    }
    report_value(&b->report, "memory_floor_of_a_scan", (double)best, "ns");
    free(bytes);
}

static void run(uint64_t hypervisors)
{
    struct bench b;

    world_init(&b, hypervisors);
    measure(&b, "popular", op_popular);
    measure(&b, "popular_with_a_metric_each", op_popular_and_metric);
    measure(&b, "never_seen", op_never_seen);
    measure(&b, "metric", op_metric);
    measure(&b, "no_room", op_no_room);
    measure(&b, "no_room_never_seen", op_no_room_never_seen);
    measure(&b, "scan", op_scan);
    measure(&b, "plain_scan", op_plain_scan);
    measure_floor(&b);
    world_fini(&b);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"hypervisors", required_argument, NULL, 'n'}, {0}};
    long hypervisors = 0;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        hypervisors = c == 'n' ? strtol(optarg, NULL, 10) : 0;
        if (hypervisors < 1 || hypervisors > 1000000) {
            fprintf(stderr, "usage: bench-rank [--hypervisors 1…1000000]  (15000 and 100000)\n");
            return 2;
        }
    }
    if (hypervisors) {
        run((uint64_t)hypervisors);
        return 0;
    }
    run(15000);
    run(100000);
    return 0;
}
