#include "bench/trace.h"

#include "lib/memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

static int compare_end(const void *a, const void *b, void *ctx)
{
    const struct trace_vm *vms = ctx;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;

    if (vms[x].end_s != vms[y].end_s)
        return vms[x].end_s < vms[y].end_s ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void sort_by_end(struct trace *t)
{
    t->by_end = must_calloc(t->count, sizeof(*t->by_end));
    for (size_t i = 0; i < t->count; i++)
        t->by_end[i] = i;
    qsort_r(t->by_end, t->count, sizeof(*t->by_end), compare_end, t->vms);
}

static bool parse(const char *line, struct trace_vm *ret)
{
    int running = 0;
    int fields =
        sscanf(line, "%" SCNu32 ",%" SCNd64 ",%*u,%" SCNu32 ",%" SCNu32 ",%*u,%d,%" SCNd64,
               &ret->number, &ret->arrive_s, &ret->vcpus, &ret->memory_mib, &running, &ret->end_s);

    if (fields == 5 && running)
        ret->end_s = TRACE_NEVER;
    return (fields == 6 || (fields == 5 && running)) && ret->vcpus > 0 && ret->memory_mib > 0;
}

static int read_lines(gzFile file, const char *path, struct trace *t)
{
    char line[256];
    size_t size = 0;

    if (!gzgets(file, line, sizeof(line))) /* the header */
        return fprintf(stderr, "%s: empty\n", path), -1;
    while (gzgets(file, line, sizeof(line))) {
        if (t->count == size) {
            size = size ? size * 2 : 4096;
            t->vms = must_resize(t->vms, size, sizeof(*t->vms));
        }
        struct trace_vm *vm = &t->vms[t->count];
        if (!parse(line, vm) || (t->count && vm->arrive_s < vm[-1].arrive_s))
            return fprintf(stderr, "%s:%zu: not a VM in turn: %s", path, t->count + 2, line), -1;
        t->count++;
    }
    return t->count ? 0 : (fprintf(stderr, "%s: no VMs\n", path), -1);
}

int trace_load(const char *path, struct trace *ret)
{
    gzFile file = gzopen(path, "rb");
    int r;

    *ret = (struct trace){0};
    if (!file)
        return fprintf(stderr, "%s: cannot be read\n", path), -1;
    r = read_lines(file, path, ret);
    gzclose_r(file);
    if (r < 0)
        trace_fini(ret);
    else
        sort_by_end(ret);
    return r;
}

void trace_cut(const struct trace *t, size_t first, size_t count, struct trace *ret)
{
    *ret = (struct trace){.vms = must_calloc(count, sizeof(*t->vms)), .count = count};
    memcpy(ret->vms, t->vms + first, count * sizeof(*t->vms));
    sort_by_end(ret);
}

void trace_fini(struct trace *t)
{
    free(t->vms);
    free(t->by_end);
    *t = (struct trace){0};
}
