/* bench/trace.h: virtual machines that came and went, from a CSV file with the columns vm,
 * arrive_s, batch, vcpu, mem_mb, dur_bin, running_at_end, end_s; by gzip or not. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TRACE_NEVER INT64_MAX

struct trace_vm {
    int64_t arrive_s, end_s; /* TRACE_NEVER: still there when the trace ends */
    uint32_t vcpus, memory_mib;
    uint32_t number; /* the column vm */
};

struct trace {
    struct trace_vm *vms; /* by arrival */
    size_t count;
    size_t *by_end; /* places in `vms` */
};

/* 0, or -1 after saying on stderr what is wrong with the file. */
int trace_load(const char *path, struct trace *ret);
/* The VMs first … first+count-1 as a trace of their own. */
void trace_cut(const struct trace *t, size_t first, size_t count, struct trace *ret);
void trace_fini(struct trace *t);
