/* How densely the engine packs a trace of real virtual machines. */
#include "bench/replay.h"
#include "bench/report.h"
#include "lib/memory.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define USAGE                                                                                      \
    "usage: bench-packing --trace FILE.csv.gz --hosts N --vcpu V --memory-mib M\n"                 \
    "       [--hosts-file FILE]  shapes instead, a line each: vCPUs MiB [GiB of disk]\n"           \
    "       [--policy NAME]      default, best_fit, fragmentation, spread\n"                       \
    "       [--weights A=1,B=2]  of scorers: load, best_fit, fragmentation, slots\n"               \
    "       [--half first|second]  of the trace's machines, from an empty fleet\n"                 \
    "       [--search]           also the least hosts that reject none\n"

struct policy {
    const char *name;
    float weights[SCORER_COUNT];
};

static const struct policy policies[] = {
    {"best_fit", {[SCORER_best_fit] = 1}},
    {"fragmentation", {[SCORER_best_fit] = 1, [SCORER_fragmentation] = 0.5f}},
    {"spread", {[SCORER_best_fit] = -1}},
};

struct arguments {
    const char *trace, *half;
    struct resources *shapes;
    size_t shape_count, hosts;
    struct resources shape;
    float weights[SCORER_COUNT];
    bool search;
};

static bool set_policy(struct arguments *a, const char *name)
{
    for (enum scorer_id s = 0; s < SCORER_COUNT; s++)
        a->weights[s] = scorers[s].weight;
    if (strcmp(name, "default") == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(policies); i++)
        if (strcmp(policies[i].name, name) == 0) {
            memcpy(a->weights, policies[i].weights, sizeof(a->weights));
            return true;
        }
    return false;
}

/* "best_fit=1,slots=0.5"; scorers that are not named weigh nothing. */
static bool set_weights(struct arguments *a, char *text)
{
    char *rest = NULL, name[32];
    float weight;

    memset(a->weights, 0, sizeof(a->weights));
    for (char *t = strtok_r(text, ",", &rest); t; t = strtok_r(NULL, ",", &rest)) {
        enum scorer_id s = 0;
        if (sscanf(t, "%31[a-z_]=%f", name, &weight) != 2)
            return false;
        while (s < SCORER_COUNT && strcmp(scorers[s].name, name) != 0)
            s++;
        if (s == SCORER_COUNT)
            return false;
        a->weights[s] = weight;
    }
    return true;
}

static bool load_shapes(struct arguments *a, const char *path)
{
    FILE *file = fopen(path, "re");
    char line[128];
    bool good = file;

    while (good && fgets(line, sizeof(line), file)) {
        struct resources r = {0};
        good = sscanf(line, "%" SCNu32 " %" SCNu32 " %" SCNu32, &r.vcpus, &r.memory_mib,
                      &r.disk_gib) >= 2;
        a->shapes = must_resize(a->shapes, a->shape_count + 1, sizeof(*a->shapes));
        a->shapes[a->shape_count++] = r;
    }
    if (file)
        fclose(file);
    if (a->hosts == 0)
        a->hosts = a->shape_count;
    return good && a->shape_count > 0;
}

static bool take_option(struct arguments *a, int option)
{
    switch (option) {
    case 't':
        a->trace = optarg;
        return true;
    case 'n':
        return sscanf(optarg, "%zu", &a->hosts) == 1;
    case 'v':
        return sscanf(optarg, "%" SCNu32, &a->shape.vcpus) == 1;
    case 'm':
        return sscanf(optarg, "%" SCNu32, &a->shape.memory_mib) == 1;
    case 'f':
        return load_shapes(a, optarg);
    case 'p':
        return set_policy(a, optarg);
    case 'w':
        return set_weights(a, optarg);
    case 'h':
        a->half = optarg;
        return strcmp(optarg, "first") == 0 || strcmp(optarg, "second") == 0;
    case 's':
        return a->search = true;
    default:
        return false;
    }
}

static bool parse(struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {
        {"trace", required_argument, NULL, 't'},      {"hosts", required_argument, NULL, 'n'},
        {"vcpu", required_argument, NULL, 'v'},       {"memory-mib", required_argument, NULL, 'm'},
        {"hosts-file", required_argument, NULL, 'f'}, {"policy", required_argument, NULL, 'p'},
        {"weights", required_argument, NULL, 'w'},    {"half", required_argument, NULL, 'h'},
        {"search", no_argument, NULL, 's'},           {0}};

    set_policy(a, "default");
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!take_option(a, c))
            return false;
    if (a->shape_count == 0 && a->shape.vcpus && a->shape.memory_mib) {
        a->shapes = must_calloc(1, sizeof(*a->shapes));
        a->shapes[a->shape_count++] = a->shape;
    }
    return a->trace && a->hosts > 0 && a->hosts <= 1000000 && a->shape_count > 0 && optind == argc;
}

static bool rejects(const struct trace *t, struct arguments *a, size_t hosts)
{
    struct replay_figures f;

    replay(t, &(struct hosts){a->shapes, a->shape_count, hosts}, a->weights, &f);
    return f.rejected > 0;
}

/* 0: not even a million. */
static size_t search(const struct trace *t, struct arguments *a)
{
    size_t low = 0, high = a->hosts; /* low rejects */

    while (rejects(t, a, high)) {
        low = high;
        high *= 2;
        if (high > 1000000)
            return 0;
    }
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (rejects(t, a, middle))
            low = middle;
        else
            high = middle;
    }
    return high;
}

static void cut_half(struct trace *t, const char *half)
{
    size_t middle = t->count / 2;
    struct trace whole = *t;

    if (strcmp(half, "first") == 0)
        trace_cut(&whole, 0, middle, t);
    else
        trace_cut(&whole, middle, whole.count - middle, t);
    trace_fini(&whole);
}

static void run(const struct trace *t, struct arguments *a)
{
    struct report r = {"packing", a->hosts};
    struct replay_figures f;
    uint64_t begun = cpu_ns();

    replay(t, &(struct hosts){a->shapes, a->shape_count, a->hosts}, a->weights, &f);
    uint64_t taken = cpu_ns() - begun;
    report_value(&r, "rejected", (double)f.rejected, "vms");
    report_value(&r, "first_rejected_vm", (double)f.first_rejected_vm, "vm");
    report_value(&r, "mean_empty_hosts_pct", f.mean_empty_hosts_pct, "%");
    report_value(&r, "stranded_8c_pct", f.stranded_8c_pct, "%");
    report_value(&r, "replay_seconds", (double)taken / 1e9, "s");
    if (a->search)
        report_value(&r, "hosts_for_no_rejection", (double)search(t, a), "hosts");
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    struct trace t;

    if (!parse(&a, argc, argv)) {
        fputs(USAGE, stderr);
        free(a.shapes);
        return 2;
    }
    if (trace_load(a.trace, &t) == 0) {
        if (a.half)
            cut_half(&t, a.half);
        run(&t, &a);
        trace_fini(&t);
        free(a.shapes);
        return 0;
    }
    free(a.shapes);
    return 1;
}
