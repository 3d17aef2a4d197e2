#include "hypervisor-agent/driver/host.h"

#include "hypervisor-agent/driver/files.h"
#include "lib/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { FILE_BYTES = 64 << 10 };

static const uint64_t MEMORY_RESERVE_MIB = 512;        /* or a 16th, if that is more */
static const uint64_t DISK_RESERVE_BYTES = 2ULL << 30; /* or a 20th of the file system */

int host_parse_cpu(const char *text, struct host_cpu *ret, struct error *err)
{
    uint64_t user, nice, system, idle, iowait, irq, softirq, steal = 0;

    /* guest time is in user time already */
    int n = sscanf(text,
                   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                   " %" SCNu64 " %" SCNu64,
                   &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal);
    if (n < 7)
        return error_set(err, ERR_INVALID, "no processor times in /proc/stat");
    *ret = (struct host_cpu){.busy = user + nice + system + irq + softirq,
                             .idle = idle,
                             .iowait = iowait,
                             .steal = steal};
    return 0;
}

int host_parse_memory_mib(const char *text, uint64_t *ret, struct error *err)
{
    const char *at = strstr(text, "MemTotal:");
    uint64_t kib;

    if (at == NULL || sscanf(at, "MemTotal: %" SCNu64 " kB", &kib) != 1)
        return error_set(err, ERR_INVALID, "no total in /proc/meminfo");
    *ret = kib >> 10;
    return 0;
}

int host_parse_pressure(const char *text, uint32_t *ret_permille, struct error *err)
{
    unsigned whole, hundredths;

    if (sscanf(text, "some avg10=%u.%2u ", &whole, &hundredths) != 2 || whole > 100)
        return error_set(err, ERR_INVALID, "no average in /proc/pressure/memory");
    *ret_permille = whole * 10 + hundredths / 10;
    return 0;
}

/* Whether a device's traffic stays on the host, or is counted at another device, too. */
static bool is_inner_device(const char *name)
{
    static const char *const prefixes[] = {"lo", "vnet", "tap", "virbr", "veth", "docker"};

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

uint64_t host_parse_network(const char *text)
{
    uint64_t in, out, sum = 0;
    char name[32];

    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        int n = sscanf(line, " %31[^: \n]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, name,
                       &in, &out);
        if (n == 3 && !is_inner_device(name))
            sum += in + out;
    }
    return sum;
}

/* Counters may step back: iowait does, and devices go away. */
static uint64_t grown(uint64_t before, uint64_t now)
{
    return now > before ? now - before : 0;
}

void host_compare(const struct host_counters *before, const struct host_counters *now,
                  struct driver_sample *ret)
{
    uint64_t busy = grown(before->cpu.busy, now->cpu.busy);
    uint64_t idle = grown(before->cpu.idle, now->cpu.idle);
    uint64_t iowait = grown(before->cpu.iowait, now->cpu.iowait);
    uint64_t steal = grown(before->cpu.steal, now->cpu.steal);
    uint64_t all = busy + idle + iowait + steal;
    int64_t ms = now->at_mono_ms - before->at_mono_ms;

    *ret = (struct driver_sample){.memory_pressure_permille = now->memory_pressure_permille};
    if (all > 0) {
        ret->cpu_permille = (uint32_t)(busy * 1000 / all);
        ret->iowait_permille = (uint32_t)(iowait * 1000 / all);
        ret->steal_permille = (uint32_t)(steal * 1000 / all);
    }
    if (ms > 0)
        ret->network_bytes_per_s =
            grown(before->network_bytes, now->network_bytes) * 1000 / (uint64_t)ms;
}

static int read_proc(const char *path, char ret[FILE_BYTES], struct error *err)
{
    int r = files_read(path, ret, FILE_BYTES, err);

    return r == 0 ? error_set(err, ERR_UNAVAILABLE, "there is no %s", path) : r;
}

int host_read_counters(struct host_counters *ret, struct error *err)
{
    struct host_counters c = {.at_mono_ms = mono_ms()};
    struct error no_pressure;
    char *text = malloc(FILE_BYTES);

    if (text == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    int r = read_proc("/proc/stat", text, err);
    if (r >= 0)
        r = host_parse_cpu(text, &c.cpu, err);
    if (r >= 0)
        r = read_proc("/proc/net/dev", text, err);
    if (r >= 0)
        c.network_bytes = host_parse_network(text);
    if (files_read("/proc/pressure/memory", text, FILE_BYTES, &no_pressure) > 0)
        (void)!host_parse_pressure(text, &c.memory_pressure_permille, &no_pressure);
    free(text);
    if (r < 0)
        return r;
    *ret = c;
    return 0;
}

static uint64_t less(uint64_t whole, uint64_t reserve, uint64_t least_reserve)
{
    uint64_t kept = reserve > least_reserve ? reserve : least_reserve;

    return whole > kept ? whole - kept : 0;
}

int host_read_capacity(const char *folder, uint64_t droplet_bytes, struct driver_capacity *ret,
                       struct error *err)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t memory_mib = 0;
    struct statvfs fs;
    char *text = malloc(FILE_BYTES);

    if (text == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    int r = read_proc("/proc/meminfo", text, err);
    if (r >= 0)
        r = host_parse_memory_mib(text, &memory_mib, err);
    free(text);
    if (r < 0)
        return r;
    if (statvfs(folder, &fs) < 0)
        return files_error(err, errno, "look at", folder);
    uint64_t usable = (uint64_t)fs.f_bavail * fs.f_frsize + droplet_bytes;
    uint64_t total = (uint64_t)fs.f_blocks * fs.f_frsize;
    *ret = (struct driver_capacity){
        .vcpus = processors > 0 ? (uint32_t)processors : 1,
        .memory_mib = (uint32_t)less(memory_mib, memory_mib / 16, MEMORY_RESERVE_MIB),
        .disk_gib = (uint32_t)(less(usable, total / 20, DISK_RESERVE_BYTES) >> 30),
    };
    return 0;
}
