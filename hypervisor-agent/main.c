/* hypervisor-agent: starts and stops, in that order and back. */
#include "hypervisor-agent/agent.h"
#include "hypervisor-agent/config.h"
#include "hypervisor-agent/metrics.h"
#include "lib/config.h"
#include "lib/daemon.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/rpc/rpc.h"

#include <stdio.h>
#include <stdlib.h>

static int run(const struct agent_config *config, struct error *err)
{
    struct agent_setup setup;
    struct agent *agent = NULL;
    struct daemon *daemon = NULL;
    struct daemon_check checks[AGENT_CHECKS];
    int r = agent_setup_init(config, &setup, err);

    if (r < 0)
        return r;
    r = agent_start(&setup, &agent, err);
    if (r == 0) {
        agent_checks(agent, checks);
        metrics_on_scrape(agent_on_scrape, agent);
        if (config->admin_listen != NULL)
            r = daemon_start(config->admin_listen, checks, AGENT_CHECKS, &daemon, err);
    }
    if (r == 0) {
        log_info("started", F_REGION(config->region), F_U64("hypervisors", setup.hypervisor_count),
                 F_STR("driver", config->driver));
        int which = daemon_wait();
        log_info("stopping", F_I64("signal", which));
        if (daemon != NULL)
            daemon_set_stopping(daemon);
    }
    daemon_stop(daemon); /* scrapes ask the agent: before it is gone */
    agent_stop(agent);
    agent_setup_fini(&setup);
    return r;
}

int main(int argc, char **argv)
{
    struct agent_config config = {0};
    struct error err = {0};
    enum log_level level = LOG_INFO;

    daemon_block_signals();
    if (config_load(&agent_program, argc, argv, &config, NULL, NULL, &err) < 0 ||
        log_level_parse(config.log_level, &level, &err) < 0) {
        fprintf(stderr, "hypervisor-agent: %s\n", err.message);
        config_free(&agent_program, &config);
        return 2;
    }
    log_open("hypervisor-agent", level);
    metrics_init(agent_metrics, M_COUNT);
    rpc_library_init();
    int r = run(&config, &err);
    if (r < 0)
        log_error("cannot run", F_ERROR(&err));
    rpc_library_fini();
    config_free(&agent_program, &config);
    return r < 0 ? 1 : 0;
}
