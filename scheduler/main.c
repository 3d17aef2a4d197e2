/* scheduler/main.c: what is started and stopped, in which order. */
#include "lib/clock.h"
#include "lib/daemon.h"
#include "lib/log.h"
#include "scheduler/config.h"
#include "scheduler/metrics.h"
#include "scheduler/scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRACE_MS 2000

/* Everything of the running daemon, in the order of starting. */
struct process {
    const struct scheduler_config *config;
    struct scheduler scheduler;
    struct scheduler_gauges gauges;
    struct rpc_service service;
    struct rpc_server *server;
    struct daemon *daemon;
};

static void on_denied(void *ctx, const struct rpc_peer *peer, const char *method, const char *why)
{
    UNUSED(ctx);
    metric_add(M_DENIED, 1, NULL);
    log_warn("call denied", F_PEER(peer->name), F_STR("method", method), F_STR("why", why));
}

static void on_distrust(void *ctx)
{
    struct scheduler *s = ctx;

    leader_kick(s->leader);
}

static bool database_is_ready(void *ctx, char *why, size_t why_size)
{
    struct scheduler *s = ctx;

    return leader_reaches_database(s->leader, why, why_size);
}

/* Every region has a leader that this replica knows: itself or another. */
static bool regions_are_led(void *ctx, char *why, size_t why_size)
{
    struct scheduler *s = ctx;

    for (size_t i = 0; i < s->regions.count; i++) {
        struct region *r = &s->regions.list[i];
        pthread_mutex_lock(&r->lock);
        bool led = region_leads_locked(r, mono_ms()) ||
                   (r->role == REGION_FOLLOWING && r->leader[0] != '\0');
        pthread_mutex_unlock(&r->lock);
        if (!led) {
            snprintf(why, why_size, "nobody leads %s", r->name);
            return false;
        }
    }
    return true;
}

static int start_flusher(struct process *p, const struct sql_options *sql, struct error *err)
{
    struct flusher_options o = {
        .sql = sql,
        .regions = &p->scheduler.regions,
        .spacing_ms = (int)p->config->commit_spacing_ms,
        .max_cost = (size_t)p->config->max_queued,
        .on_distrust = on_distrust,
        .ctx = &p->scheduler,
    };

    return flusher_start(&o, &p->scheduler.flusher, err);
}

static int start_leader(struct process *p, const struct sql_options *sql, struct error *err)
{
    struct leader_options o = {
        .sql = sql,
        .regions = &p->scheduler.regions,
        .address = p->scheduler.address,
        .max_creates = (uint32_t)p->config->max_creates,
    };

    return leader_start(&o, &p->scheduler.leader, err);
}

static int start_reconciler(struct process *p, const struct rpc_tls *tls, struct error *err)
{
    struct reconciler_options o = {
        .regions = &p->scheduler.regions,
        .flusher = p->scheduler.flusher,
        .harpoon = p->config->harpoon,
        .tls = tls,
        .after_ms = p->config->reconcile_after_ms,
    };

    if (p->config->harpoon)
        return reconciler_start(&o, &p->scheduler.reconciler, err);
    log_warn("without --harpoon no claim is ever reconciled");
    return 0;
}

static int start_server(struct process *p, const struct rpc_tls *tls, struct error *err)
{
    struct rpc_server_options o = {
        .address = p->config->listen,
        .tls = *tls,
        .services = &p->service,
        .service_count = 1,
        .threads = (int)p->config->rpc_threads,
        .max_message = 16 << 20, /* an Observe of 50,000 hypervisors */
        .on_denied = on_denied,
    };

    service_init(&p->scheduler, &p->service);
    return rpc_server_start(&o, &p->server, err);
}

static int start_daemon(struct process *p, struct error *err)
{
    struct daemon_check checks[] = {
        {"mysql", database_is_ready, &p->scheduler},
        {"leases", regions_are_led, &p->scheduler},
    };

    p->gauges = (struct scheduler_gauges){&p->scheduler.regions, p->scheduler.flusher};
    scheduler_gauges_init(&p->gauges);
    if (!p->config->admin_listen)
        return 0;
    return daemon_start(p->config->admin_listen, checks, ARRAY_LEN(checks), &p->daemon, err);
}

static int start_all(struct process *p, const struct sql_options *sql, struct error *err)
{
    struct rpc_tls tls = scheduler_config_tls(p->config);
    int r = regions_init(&p->scheduler.regions, p->config->regions, err);

    if (r == 0)
        r = start_flusher(p, sql, err);
    if (r == 0)
        r = start_leader(p, sql, err);
    if (r == 0)
        r = start_daemon(p, err);
    if (r == 0)
        r = start_reconciler(p, &tls, err);
    if (r == 0)
        r = start_server(p, &tls, err);
    return r;
}

/* No new questions, then no decisions, then their commits, then the leases. */
static void stop_all(struct process *p)
{
    if (p->daemon)
        daemon_set_stopping(p->daemon);
    rpc_server_stop(p->server, GRACE_MS);
    reconciler_stop(p->scheduler.reconciler);
    daemon_stop(p->daemon);
    flusher_stop(p->scheduler.flusher);
    leader_stop(p->scheduler.leader);
    regions_fini(&p->scheduler.regions);
}

static int serve(const struct scheduler_config *config, struct error *err)
{
    struct process p = {.config = config};
    struct sql_options sql;
    char *password = NULL;
    int r = scheduler_config_check_serve(config, err);

    if (r == 0)
        r = scheduler_config_read_password(config, &password, err);
    if (r < 0)
        return r;
    daemon_block_signals();
    scheduler_metrics_init();
    sql_library_init();
    rpc_library_init();
    p.scheduler.address = config->advertise ? config->advertise : config->listen;
    scheduler_config_sql(config, "scheduler", password, &sql);
    r = start_all(&p, &sql, err);
    if (r == 0) {
        log_info("started", F_STR("listen", config->listen), F_REGION(config->regions));
        int sig = daemon_wait();
        log_info("stopping", F_STR("signal", strsignal(sig)));
    }
    stop_all(&p);
    rpc_library_fini();
    explicit_bzero(password, strlen(password));
    free(password);
    return r;
}

static void on_applied(const char *file)
{
    log_info("schema file applied", F_STR("file", file));
}

static int migrate(const struct scheduler_config *config, struct error *err)
{
    AUTO(sql_free) struct sql *db = NULL;
    struct sql_options sql;
    char *password;
    int r = scheduler_config_read_password(config, &password, err);

    if (r < 0)
        return r;
    sql_library_init();
    scheduler_config_sql(config, "scheduler_migrate", password, &sql);
    db = sql_new(&sql);
    r = db ? sql_migrate(db, config->schema, on_applied, err)
           : error_set(err, ERR_INTERNAL, "out of memory");
    explicit_bzero(password, strlen(password));
    free(password);
    if (r >= 0)
        log_info("schema is up to date", F_U64("applied", (uint64_t)r));
    return r;
}

static int run(const struct scheduler_config *config, const char *const *words, size_t word_count,
               struct error *err)
{
    enum log_level level;
    int r = log_level_parse(config->log_level, &level, err);

    if (r < 0)
        return r;
    log_open("scheduler", level);
    if (word_count == 1 && strcmp(words[0], "serve") == 0)
        return serve(config, err);
    if (word_count == 1 && strcmp(words[0], "migrate") == 0)
        return migrate(config, err);
    return error_set(err, ERR_INVALID, "expected one word, serve or migrate; try --help");
}

int main(int argc, char **argv)
{
    struct scheduler_config config = {0};
    const char *words[2];
    size_t word_count = ARRAY_LEN(words);
    struct error err;
    int r = scheduler_config_load(argc, argv, &config, words, &word_count, &err);

    if (r >= 0)
        r = run(&config, words, word_count, &err);
    scheduler_config_free(&config);
    if (r < 0)
        fprintf(stderr, "scheduler: %s\n", err.message);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
