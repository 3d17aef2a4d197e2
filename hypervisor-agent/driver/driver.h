/* hypervisor-agent/driver/driver.h: what makes, removes and lists domains: a table of functions a
 * driver fills in. Each operation looks first and then acts: done twice it gives the same answer. A
 * foreign domain is never touched. */
#pragma once

#include "lib/error.h"
#include "lib/ids.h"
#include "proto/job.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A domain of ours, as its metadata tells. */
struct driver_domain {
    hypervisor_id hypervisor;
    droplet_id droplet;
    event_id event; /* that made it */
    uint32_t attempt;
    bool running;
};

struct driver_capacity {
    uint32_t vcpus, memory_mib, disk_gib;
};

struct driver_sample {
    uint32_t cpu_permille, steal_permille, iowait_permille, memory_pressure_permille;
    uint64_t network_bytes_per_s;
};

enum driver_action {
    DRIVER_CREATE,  /* the domain of task->job exists and runs, made by this (event, attempt) */
    DRIVER_DESTROY, /* no domain, disk or seed of task->job's droplet exists, whoever made it */
    DRIVER_UNDO, /* what task->job's (event, attempt) made is gone; what another made is left alone
                  */
};

enum driver_result {
    DRIVER_DONE,
    DRIVER_RETRY,    /* not now: try again after a pause (outcome unknown, libvirt away) */
    DRIVER_CONFLICT, /* something that is not ours is in the way: nothing was touched */
    DRIVER_FAILED,   /* it will not work here: undo, then report closed with task->reason */
};

/* One operation under way. The caller owns it until `done`, which comes exactly once, on any
 * thread. */
struct driver_task {
    enum driver_action action;
    hypervisor_id hypervisor;
    const Harpoon__Job__V1__Job *job; /* valid until done */
    enum driver_result result;
    char reason[64];  /* a word: host_disk_full, image_unavailable, … */
    char detail[256]; /* for people */
    void (*done)(struct driver_task *task);
    void *ctx;
};

struct driver_config {
    const char *state_dir; /* the agent's, absolute */
    const char
        *installation_id; /* of the domains that are ours; may be learned later: set_installation */
    const char *libvirt_uri;       /* libvirt */
    const char *libvirt_virt_type; /* libvirt: "qemu" or "kvm"; NULL: qemu */
    const char *libvirt_bridge;    /* libvirt: of the host, for the guests' card; NULL: user mode */
    const char *sim_ledger;        /* sim: path of the ledger */
    struct driver_capacity sim_shape;
    int sim_latency_ms;    /* sim: of each operation, ±50 % */
    int sim_fail_permille; /* sim: operations that answer DRIVER_FAILED */
    int max_parallel;      /* operations at a time */
};

struct driver {
    const char *name;
    int (*open)(const struct driver_config *config, void **ret, struct error *err);
    void (*close)(void *self); /* waits for operations under way */
    /* Never blocks; ERR_BUSY: too many under way, `done` will not come. */
    int (*begin)(void *self, struct driver_task *task, struct error *err);
    /* Every domain of ours on `hypervisor`. May block. */
    int (*list)(void *self, hypervisor_id hypervisor,
                void (*each)(void *ctx, const struct driver_domain *d), void *ctx,
                struct error *err);
    int (*capacity)(void *self, hypervisor_id hypervisor, struct driver_capacity *ret,
                    struct error *err);
    int (*sample)(void *self, hypervisor_id hypervisor, struct driver_sample *ret,
                  struct error *err);
    /* May be NULL. The installation whose domains are ours, once it is learned: until then list()
     * gives those of any. Copied. Never blocks. */
    void (*set_installation)(void *self, const char *installation_id);
};

extern const struct driver driver_sim;
extern const struct driver driver_libvirt;
