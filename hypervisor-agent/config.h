/* hypervisor-agent/config.h: the program's options, as text and as what they mean. */
#pragma once

#include "hypervisor-agent/driver/driver.h"
#include "lib/config.h"
#include "lib/error.h"
#include "lib/ids.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_MAX_HYPERVISORS 65536 /* of one process */
#define AGENT_MAX_ROUTERS     64

struct agent_config { /* as given */
    char *log_level, *admin_listen;
    char *region, *hypervisors, *driver, *state_dir, *routers;
    char *tls_ca, *tls_certificate, *tls_key; /* {id} stands for the hypervisor's number */
    char *sim_shape, *sim_ledger, *capacity_reserve;
    int64_t latency_ms, sim_fail_permille;
    char *libvirt_uri, *libvirt_virt_type, *libvirt_bridge;
    int64_t max_creates, max_jobs;
    int64_t confirm_after_ms, report_running_after_ms;
    int64_t retry_ms; /* the first pause before a driver operation is tried again */
    int64_t answer_timeout_ms;
    int64_t fleet_size;
    int64_t journal_keep_days, journal_keep_marks_days, journal_max_ended;
};
extern const struct config_program agent_program;

struct agent_setup {                   /* what it means; agent_setup_fini frees it */
    const struct agent_config *config; /* borrowed */
    uint64_t *hypervisors;             /* ascending */
    size_t hypervisor_count;
    char **routers;
    size_t router_count;
    struct driver_capacity sim_shape, reserve;
};
/* ERR_INVALID: says which option and what is expected. */
int agent_setup_init(const struct agent_config *config, struct agent_setup *ret,
                     struct error *err) MUST_CHECK;
void agent_setup_fini(struct agent_setup *s);

/* `pattern` with each {id} replaced; the caller frees it. NULL: no memory. */
char *agent_format_path(const char *pattern, hypervisor_id id);
