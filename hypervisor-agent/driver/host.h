/* hypervisor-agent/driver/host.h: what this host has and how busy it is, from /proc. libvirt's own
 * figures are per NUMA node and know no stolen time.
 * The parsers are pure; the others read small files, threads: any. */
#pragma once

#include "hypervisor-agent/driver/driver.h"
#include "lib/error.h"

#include <stdint.h>

/* Counters since boot, in the kernel's ticks. */
struct host_cpu {
    uint64_t busy, idle, iowait, steal;
};

struct host_counters {
    struct host_cpu cpu;
    uint64_t network_bytes; /* in and out, of what leaves the host */
    uint32_t memory_pressure_permille;
    int64_t at_mono_ms;
};

/* Texts of /proc/stat, /proc/meminfo, /proc/pressure/memory and /proc/net/dev. ERR_INVALID: the
 * figure is not in it. */
int host_parse_cpu(const char *text, struct host_cpu *ret, struct error *err) MUST_CHECK;
int host_parse_memory_mib(const char *text, uint64_t *ret, struct error *err) MUST_CHECK;
int host_parse_pressure(const char *text, uint32_t *ret_permille, struct error *err) MUST_CHECK;
uint64_t host_parse_network(const char *text);

/* What happened between two readings. All 0 when no time went by. */
void host_compare(const struct host_counters *before, const struct host_counters *now,
                  struct driver_sample *ret);
/* Reads the counters as they are. A kernel without pressure figures has none: 0. */
int host_read_counters(struct host_counters *ret, struct error *err) MUST_CHECK;

/* What droplets may have of this host: its processors, its memory less what the host needs, and the
 * disk under `folder` that is free or is theirs already (`droplet_bytes`), less a reserve. */
int host_read_capacity(const char *folder, uint64_t droplet_bytes, struct driver_capacity *ret,
                       struct error *err) MUST_CHECK;
