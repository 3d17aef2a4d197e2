/* harpoon: one binary, a role or a task by its first words. */
#include "harpoon/api/api.h"
#include "harpoon/config.h"
#include "harpoon/setup.h"
#include "harpoon/worker/worker.h"
#include "lib/daemon.h"
#include "lib/log.h"
#include "lib/rpc/rpc.h"
#include "lib/sql/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 2
#define USAGE     2 /* exit code: the command line is wrong */

static int fail(const struct error *err)
{
    log_error("not started", F_ERROR(err));
    return EXIT_FAILURE;
}

static int serve_admin(const struct harpoon_config *config, const struct daemon_check *checks,
                       size_t count, struct daemon **ret, struct error *err)
{
    if (config->admin_listen == NULL)
        return 0;
    return daemon_start(config->admin_listen, checks, count, ret, err);
}

static int run_api(const struct harpoon_config *config)
{
    struct daemon_check checks[API_CHECKS];
    struct daemon *daemon = NULL;
    struct api *api = NULL;
    struct error err;

    metrics_init(api_metrics, api_metrics_count);
    if (api_start(config, &api, &err) < 0)
        return fail(&err);
    if (serve_admin(config, checks, api_checks(api, checks), &daemon, &err) < 0) {
        api_stop(api);
        return fail(&err);
    }
    log_info("serving", F_STR("address", config->http_listen));
    daemon_wait();
    log_info("stopping");
    if (daemon != NULL)
        daemon_set_stopping(daemon);
    daemon_stop(daemon); /* asks the api what it shows, so it goes first */
    api_stop(api);
    return EXIT_SUCCESS;
}

static int run_worker(const struct harpoon_config *config)
{
    struct daemon_check checks[WORKER_CHECKS];
    struct daemon *daemon = NULL;
    struct worker *worker = NULL;
    struct error err;

    metrics_init(worker_metrics, worker_metrics_count);
    rpc_library_init();
    if (worker_start(config, &worker, &err) < 0)
        return fail(&err);
    if (serve_admin(config, checks, worker_checks(worker, checks), &daemon, &err) < 0) {
        worker_stop(worker);
        return fail(&err);
    }
    log_info("serving", F_STR("address", config->listen), F_STR("regions", config->regions));
    daemon_wait();
    log_info("stopping");
    if (daemon != NULL)
        daemon_set_stopping(daemon);
    daemon_stop(daemon); /* asks the worker what it shows, so it goes first */
    worker_stop(worker);
    rpc_library_fini();
    return EXIT_SUCCESS;
}

static const struct {
    const char *first, *second; /* second NULL: there is none */
    int (*run)(const struct harpoon_config *config);
    bool daemon;
} words[] = {
    {"api", NULL, run_api, true},
    {"worker", NULL, run_worker, true},
    {"migrate", NULL, setup_migrate, false},
    {"seed", NULL, setup_seed, false},
    {"account", "create", setup_account_create, false},
    {"token", "create", setup_token_create, false},
};

static bool is_word(size_t i, const char *const *given, size_t count)
{
    if (count != (words[i].second != NULL ? 2u : 1u) || strcmp(given[0], words[i].first) != 0)
        return false;
    return words[i].second == NULL || strcmp(given[1], words[i].second) == 0;
}

static int run_word(size_t i, const struct harpoon_config *config)
{
    enum log_level level = LOG_INFO;
    struct error err;
    char service[32];

    if (!words[i].daemon)
        return words[i].run(config);
    if (log_level_parse(config->log_level, &level, &err) < 0)
        return USAGE;
    (void)snprintf(service, sizeof service, "harpoon-%s", words[i].first);
    log_open(service, level);
    daemon_block_signals();
    sql_library_init();
    return words[i].run(config);
}

int main(int argc, char **argv)
{
    struct harpoon_config config;
    const char *given[WORDS_MAX];
    size_t count = WORDS_MAX;
    struct error err;
    int code = USAGE;

    if (harpoon_config_load(argc, argv, &config, given, &count, &err) < 0) {
        (void)fprintf(stderr, "harpoon: %s\n", err.message);
        return USAGE;
    }
    size_t i = 0;
    while (i < ARRAY_LEN(words) && !is_word(i, given, count))
        i++;
    if (i < ARRAY_LEN(words))
        code = run_word(i, &config);
    else
        (void)fprintf(stderr, "harpoon: say what to do: api, worker, migrate, seed, account create"
                              " or token create; --help tells more\n");
    harpoon_config_free(&config);
    return code;
}
