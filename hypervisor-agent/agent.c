#include "hypervisor-agent/agent.h"

#include "hypervisor-agent/hypervisor.h"
#include "hypervisor-agent/metrics.h"
#include "hypervisor-agent/owner.h"
#include "hypervisor-agent/probe.h"
#include "hypervisor-agent/run.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/uuid.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    JOURNAL_MAX_QUEUED = 16384, /* writes */
    PRUNE_MS = 10000,
};

const char *standing_name(enum standing s)
{
    static const char *const names[STANDINGS] = {"away", "ok", "later", "fenced"};

    return names[s];
}

/* ---- the loop's turns ---- */

static void on_turn_end(void *ctx)
{
    struct agent *a = ctx;

    while (a->turn != NULL) {
        struct hypervisor *hv = a->turn;
        a->turn = hv->next_in_turn;
        hv->in_turn = false;
        run_kick(hv);
        if (hv->save_now)
            save_flush(hv);
        talk_flush(hv);
    }
}

static void prune(void *ctx)
{
    struct agent *a = ctx;
    int64_t now = unix_ms();

    for (size_t i = 0; i < a->hypervisor_count; i++)
        hypervisor_prune(&a->hypervisors[i], now);
}

void agent_prune(struct agent *a)
{
    loop_call(a->loop, prune, a);
}

static void on_prune_timer(struct loop_timer *t)
{
    struct agent *a = OWNER_OF(t, struct agent, prune_timer);
    struct journal_stats stats;

    prune(a);
    journal_stats_get(a->journal, &stats);
    if (!stats.healthy) /* nothing is taken until something has been written */
        save_row(&a->hypervisors[0]);
    loop_timer_set(a->loop, t, loop_now_ms(a->loop) + PRUNE_MS);
}

/* ---- loading ---- */

static int compare_hypervisors(const void *key, const void *element)
{
    uint64_t id = *(const uint64_t *)key;
    const struct hypervisor *hv = element;

    return (id > hv->id.v) - (id < hv->id.v);
}

static struct hypervisor *find_hypervisor(struct agent *a, hypervisor_id id)
{
    return bsearch(&id.v, a->hypervisors, a->hypervisor_count, sizeof *a->hypervisors,
                   compare_hypervisors);
}

static int load_hypervisor(void *ctx, const struct journal_hypervisor *row, struct error *err)
{
    struct hypervisor *hv = find_hypervisor(ctx, row->id);

    UNUSED(err);
    if (hv == NULL)
        return 0; /* another process's number once: kept */
    memcpy(hv->journal_id, row->journal_id, sizeof hv->journal_id);
    memcpy(hv->installation, row->installation, sizeof hv->installation);
    hv->session_number = row->session;
    return 0;
}

/* Rows of an installation that is not the hypervisor's say nothing to it. */
static struct hypervisor *find_owner(struct agent *a, hypervisor_id id, const char *installation)
{
    struct hypervisor *hv = find_hypervisor(a, id);

    return hv != NULL && strcmp(hv->installation, installation) == 0 ? hv : NULL;
}

static int load_mark(void *ctx, const struct journal_mark *row, struct error *err)
{
    struct hypervisor *hv = find_owner(ctx, row->hypervisor, row->installation);

    if (hv == NULL)
        return 0;
    struct droplet *d = book_droplet(&hv->book, row->droplet);
    if (d == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    d->mark = MARK_DURABLE;
    d->marked_by = row->event;
    d->marked_ms = row->at_ms;
    return 0;
}

static char *load_text(const char *text)
{
    return text[0] != 0 ? strdup(text) : NULL;
}

static int load_job(void *ctx, const struct journal_job *row, const uint8_t *bytes, size_t size,
                    struct error *err)
{
    struct agent *a = ctx;
    struct hypervisor *hv = find_owner(a, row->hypervisor, row->installation);

    if (hv == NULL)
        return 0;
    struct droplet *d = book_droplet(&hv->book, row->droplet);
    struct job *job = d != NULL ? book_add(&hv->book, row->event, d) : NULL;
    uint8_t *copy = malloc(size ? size : 1);
    if (job == NULL || copy == NULL) {
        free(copy);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    if (size > 0)
        memcpy(copy, bytes, size);
    job->bytes = copy;
    job->size = size;
    job->attempt = row->attempt;
    job->kind = row->kind;
    job->accepted_ms = row->accepted_ms;
    job->began_ms = row->began_ms;
    job->ended_ms = row->ended_ms;
    job->reason = load_text(row->reason);
    job->detail = load_text(row->detail);
    job->version = job->submitted = job->durable = ++a->version;
    job->durable_attempt = row->attempt;
    job->durable_state = row->state;
    job->row_durable = true;
    book_move(&hv->book, job, row->state, row->ack);
    a->ended += job->in_ended;
    return 0;
}

/* Journal ids for those that have none; numbers for the streams to come. */
static int write_hypervisors(struct agent *a, struct error *err)
{
    struct journal_change *changes = calloc(a->hypervisor_count, sizeof *changes);

    if (changes == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    for (size_t i = 0; i < a->hypervisor_count; i++) {
        struct hypervisor *hv = &a->hypervisors[i];
        if (hv->journal_id[0] == 0) {
            struct uuid id;
            uuid_make_random(&id);
            uuid_format(&id, hv->journal_id);
        }
        hv->session_reserved = hv->session_number + SESSION_NUMBERS_RESERVED;
        changes[i].kind = JOURNAL_PUT_HYPERVISOR;
        changes[i].hypervisor.id = hv->id;
        changes[i].hypervisor.session = hv->session_reserved;
        memcpy(changes[i].hypervisor.journal_id, hv->journal_id, sizeof hv->journal_id);
        memcpy(changes[i].hypervisor.installation, hv->installation, sizeof hv->installation);
    }
    int r = journal_write_now(a->journal, changes, a->hypervisor_count, err);
    free(changes);
    return r;
}

static int open_journal(struct agent *a, const char *folder, struct error *err)
{
    char path[PATH_MAX];
    struct journal_reader reader = {.hypervisor = load_hypervisor,
                                    .mark = load_mark,
                                    .job = load_job,
                                    .ctx = a};

    if (snprintf(path, sizeof path, "%s/journal.db", folder) >= (int)sizeof path)
        return error_set(err, ERR_INVALID, "state-dir: too long");
    int r = journal_open(path, &a->journal, err);
    if (r == 0)
        r = journal_read(a->journal, &reader, err);
    if (r == 0)
        r = write_hypervisors(a, err);
    if (r == 0)
        r = journal_start(a->journal, JOURNAL_MAX_QUEUED, err);
    return r;
}

static int make_folder(const char *given, char ret[PATH_MAX], struct error *err)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s", given);
    for (char *at = path + 1; *at != 0; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return error_set(err, ERR_UNAVAILABLE, "state-dir %s: %s", path, strerror(errno));
        *at = '/';
    }
    if (mkdir(path, 0711) != 0 && errno != EEXIST)
        return error_set(err, ERR_UNAVAILABLE, "state-dir %s: %s", path, strerror(errno));
    if (realpath(path, ret) == NULL)
        return error_set(err, ERR_UNAVAILABLE, "state-dir %s: %s", path, strerror(errno));
    return 0;
}

static int open_driver(struct agent *a, const char *folder, struct error *err)
{
    const struct agent_config *c = a->setup->config;
    char ledger[PATH_MAX + 32];
    int64_t parallel = 2 * c->max_creates * (int64_t)a->hypervisor_count;

    snprintf(ledger, sizeof ledger, "%s/sim-ledger.log", folder);
    struct driver_config config = {
        .state_dir = folder,
        .installation_id =
            a->hypervisors[0].installation[0] ? a->hypervisors[0].installation : NULL,
        .libvirt_uri = c->libvirt_uri,
        .libvirt_virt_type = c->libvirt_virt_type,
        .libvirt_bridge = c->libvirt_bridge,
        .sim_ledger = c->sim_ledger != NULL ? c->sim_ledger : ledger,
        .sim_shape = a->setup->sim_shape,
        .sim_latency_ms = (int)c->latency_ms,
        .sim_fail_permille = (int)c->sim_fail_permille,
        .max_parallel = parallel < INT_MAX ? (int)parallel : INT_MAX,
    };

    a->driver = strcmp(c->driver, "sim") == 0 ? &driver_sim : &driver_libvirt;
    int r = a->driver->open(&config, &a->driver_self, err);
    if (r < 0) {
        a->driver_self = NULL;
        return error_in(err, "driver %s", a->driver->name);
    }
    return 0;
}

static void read_boot_id(struct agent *a)
{
    FILE *in = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (in == NULL || fgets(a->boot_id, sizeof a->boot_id, in) == NULL)
        a->boot_id[0] = 0;
    a->boot_id[strcspn(a->boot_id, "\n")] = 0;
    if (in != NULL)
        fclose(in);
}

static int make_hypervisors(struct agent *a, struct error *err)
{
    const struct agent_setup *setup = a->setup;

    a->hypervisors = calloc(setup->hypervisor_count, sizeof *a->hypervisors);
    if (a->hypervisors == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    a->hypervisor_count = setup->hypervisor_count;
    atomic_store(&a->standings[STANDING_AWAY], (int)a->hypervisor_count);
    for (size_t i = 0; i < a->hypervisor_count; i++) {
        int r = hypervisor_init(&a->hypervisors[i], a, (hypervisor_id){setup->hypervisors[i]}, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- start and stop ---- */

static void start_sessions(void *ctx)
{
    struct agent *a = ctx;

    a->prune_timer.fire = on_prune_timer;
    loop_timer_set(a->loop, &a->prune_timer, loop_now_ms(a->loop) + PRUNE_MS);
    for (size_t i = 0; i < a->hypervisor_count; i++)
        session_start(&a->hypervisors[i]);
}

static int open_all(struct agent *a, struct error *err)
{
    char folder[PATH_MAX];
    int r = make_folder(a->setup->config->state_dir, folder, err);

    if (r == 0)
        r = make_hypervisors(a, err);
    if (r == 0)
        r = open_journal(a, folder, err);
    if (r == 0)
        r = open_driver(a, folder, err);
    if (r == 0)
        r = loop_start(on_turn_end, a, &a->loop, err);
    if (r == 0)
        r = probe_start(a->driver, a->driver_self, a->loop, &a->probe, err);
    return r;
}

int agent_start(const struct agent_setup *setup, struct agent **ret, struct error *err)
{
    struct agent *a = calloc(1, sizeof *a);

    if (a == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    a->setup = setup;
    pthread_mutex_init(&a->links_lock, NULL);
    pthread_cond_init(&a->links_gone, NULL);
    read_boot_id(a);
    int r = open_all(a, err);
    if (r < 0) {
        agent_stop(a);
        return r;
    }
    loop_call(a->loop, start_sessions, a);
    *ret = a;
    return 0;
}

static void stop_sessions(void *ctx)
{
    struct agent *a = ctx;

    a->stopping = true;
    for (size_t i = 0; i < a->hypervisor_count; i++)
        session_stop(&a->hypervisors[i]);
}

static void wait_for_links(struct agent *a)
{
    pthread_mutex_lock(&a->links_lock);
    while (a->links > 0)
        pthread_cond_wait(&a->links_gone, &a->links_lock);
    pthread_mutex_unlock(&a->links_lock);
}

static void save_all(void *ctx)
{
    struct agent *a = ctx;

    for (size_t i = 0; i < a->hypervisor_count; i++)
        save_flush(&a->hypervisors[i]);
    a->closed = true;
}

struct agent *agent_stop(struct agent *a)
{
    if (a == NULL)
        return NULL;
    if (a->loop != NULL) {
        loop_call(a->loop, stop_sessions, a);
        wait_for_links(a);
    }
    a->probe = probe_stop(a->probe);
    if (a->driver_self != NULL)
        a->driver->close(a->driver_self);
    if (a->loop != NULL)
        loop_call(a->loop, save_all, a); /* behind what the driver ended with */
    a->journal = journal_close(a->journal);
    a->loop = loop_stop(a->loop);
    for (size_t i = 0; i < a->hypervisor_count; i++)
        hypervisor_fini(&a->hypervisors[i]);
    free(a->hypervisors);
    pthread_cond_destroy(&a->links_gone);
    pthread_mutex_destroy(&a->links_lock);
    free(a);
    return NULL;
}

/* ---- for people ---- */

static bool is_journal_ready(void *ctx, char *why, size_t why_size)
{
    struct agent *a = ctx;
    struct journal_stats stats;

    journal_stats_get(a->journal, &stats);
    if (!stats.healthy)
        snprintf(why, why_size, "the last commit failed");
    return stats.healthy;
}

static bool are_sessions_ready(void *ctx, char *why, size_t why_size)
{
    struct agent *a = ctx;
    int attached = atomic_load(&a->standings[STANDING_OK]);
    int fenced = atomic_load(&a->standings[STANDING_FENCED]);

    snprintf(why, why_size, "%d of %zu attached, %d fenced", attached + fenced, a->hypervisor_count,
             fenced);
    return (size_t)(attached + fenced) == a->hypervisor_count;
}

void agent_checks(struct agent *a, struct daemon_check ret[AGENT_CHECKS])
{
    ret[0] = (struct daemon_check){"journal", is_journal_ready, a};
    ret[1] = (struct daemon_check){"sessions", are_sessions_ready, a};
}

struct counted {
    struct agent *agent;
    size_t jobs[JOB_STATES], orphans;
};

static void count_jobs(void *ctx)
{
    struct counted *c = ctx;

    for (size_t i = 0; i < c->agent->hypervisor_count; i++) {
        const struct book *b = &c->agent->hypervisors[i].book;
        for (size_t s = 0; s < JOB_STATES; s++)
            c->jobs[s] += b->states[s];
        c->orphans += b->orphans;
    }
}

static void scrape_journal(struct agent *a)
{
    static uint64_t commits, failures, refused; /* as last told: scrapes come one at a time */
    struct journal_stats s;

    journal_stats_get(a->journal, &s);
    metric_add(M_JOURNAL_COMMITS, (double)(s.commits - commits), NULL);
    metric_add(M_JOURNAL_FAILURES, (double)(s.failures - failures), NULL);
    metric_add(M_JOURNAL_REFUSED, (double)(s.queue.refused - refused), NULL);
    commits = s.commits;
    failures = s.failures;
    refused = s.queue.refused;
    metric_set(M_JOURNAL_QUEUE, (double)s.queue.queued, NULL);
    metric_set(M_JOURNAL_QUEUE_LIMIT, (double)s.queue.limit, NULL);
    metric_set(M_JOURNAL_QUEUE_AGE, (double)s.queue.oldest_ms / 1000, NULL);
}

void agent_on_scrape(void *agent)
{
    struct agent *a = agent;
    struct counted c = {.agent = a};

    loop_call(a->loop, count_jobs, &c);
    for (enum job_state s = JOB_ACCEPTED; s < JOB_STATES; s++)
        metric_set(M_JOBS, (double)c.jobs[s], job_state_name(s), NULL);
    metric_set(M_ORPHANS, (double)c.orphans, NULL);
    for (enum standing s = STANDING_AWAY; s < STANDINGS; s++)
        metric_set(M_SESSIONS, atomic_load(&a->standings[s]), standing_name(s), NULL);
    scrape_journal(a);
}
