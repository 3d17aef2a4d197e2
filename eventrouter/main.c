/* eventrouter/main.c: what is started and stopped, in which order. */
#include "eventrouter/forward.h"
#include "eventrouter/metrics.h"
#include "eventrouter/observe.h"
#include "eventrouter/router.h"
#include "lib/daemon.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static bool reaches_harpoon(void *ctx, char *why, size_t why_size)
{
    return forward_reaches_harpoon(((struct router *)ctx)->forward, why, why_size);
}

static bool reaches_scheduler(void *ctx, char *why, size_t why_size)
{
    return observer_reaches_scheduler(((struct router *)ctx)->observer, why, why_size);
}

/* A stream is a file descriptor: as many as we may have. */
static void raise_file_limit(const struct eventrouter_config *c)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < (rlim_t)c->max_agents)
        log_warn("fewer files may be open than agents may come",
                 F_U64("files", (uint64_t)limit.rlim_cur),
                 F_U64("max_agents", (uint64_t)c->max_agents));
}

static int start_daemon(struct router *r, struct daemon **ret, struct error *err)
{
    const struct daemon_check checks[] = {
        {"harpoon", reaches_harpoon, r},
        {"scheduler", reaches_scheduler, r},
    };

    if (!r->config->admin_listen)
        return 0;
    return daemon_start(r->config->admin_listen, checks, ARRAY_LEN(checks), ret, err);
}

static int serve(const struct eventrouter_config *c, struct error *err)
{
    struct router router;
    struct daemon *daemon = NULL;

    raise_file_limit(c);
    eventrouter_metrics_init(&router);
    int r = router_start(c, &router, err);
    if (r < 0)
        return r;
    r = start_daemon(&router, &daemon, err);
    if (r == 0) {
        log_info("started", F_STR("name", c->name), F_REGION(c->region), F_STR("listen", c->listen),
                 F_STR("advertise", c->advertise));
        int sig = daemon_wait();
        log_info("stopping", F_STR("signal", strsignal(sig)));
        if (daemon)
            daemon_set_stopping(daemon);
    }
    /* The admin port shows the draining, but must not look at what has gone. */
    router_drain(&router);
    daemon_stop(daemon);
    router_stop(&router);
    log_info("stopped");
    return r;
}

static int run(const struct eventrouter_config *c, struct error *err)
{
    enum log_level level;
    int r = log_level_parse(c->log_level, &level, err);

    if (r < 0)
        return r;
    log_open("eventrouter", level);
    daemon_block_signals();
    rpc_library_init();
    r = serve(c, err);
    rpc_library_fini();
    return r;
}

int main(int argc, char **argv)
{
    struct eventrouter_config config = {0};
    struct error err;
    int r = eventrouter_config_load(argc, argv, &config, &err);

    if (r == 0)
        r = run(&config, &err);
    eventrouter_config_free(&config);
    if (r < 0)
        fprintf(stderr, "eventrouter: %s\n", err.message);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
