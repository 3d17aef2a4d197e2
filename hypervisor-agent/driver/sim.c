/* The sim driver: any number of hypervisors whose domains exist in the ledger alone. One thread
 * does what is due. */
#include "hypervisor-agent/driver/driver.h"
#include "hypervisor-agent/driver/ledger.h"
#include "hypervisor-agent/map.h"
#include "hypervisor-agent/owner.h"
#include "lib/backoff.h"
#include "lib/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct sim_domain {
    struct map_node node; /* key: the droplet */
    uint32_t attempt;
    event_id event; /* 0: the ledger's events do not say */
};
struct sim_host {
    struct map_node node; /* key: the hypervisor */
    struct map domains;
};
struct sim_due {
    int64_t at_mono_ms;
    uint64_t turn; /* those due together: in the order begun */
    struct driver_task *task;
};

struct sim {
    struct ledger *ledger;
    struct driver_capacity shape;
    int latency_ms, fail_permille;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct map hosts;    /* guarded by lock */
    struct sim_due *due; /* a heap of `limit`, [0] is the next; guarded by lock */
    size_t count, limit;
    uint64_t turns;
    bool stopping;
    bool broken; /* no memory while replaying */
};

/* ---- the domains ---- */

static struct sim_host *find_host_locked(struct sim *s, hypervisor_id id)
{
    struct map_node *n = map_find(&s->hosts, id.v);

    return n != NULL ? OWNER_OF(n, struct sim_host, node) : NULL;
}

static struct sim_domain *find_domain_locked(struct sim *s, hypervisor_id host, droplet_id droplet)
{
    struct sim_host *h = find_host_locked(s, host);
    struct map_node *n = h != NULL ? map_find(&h->domains, droplet.v) : NULL;

    return n != NULL ? OWNER_OF(n, struct sim_domain, node) : NULL;
}

static struct sim_host *make_host_locked(struct sim *s, hypervisor_id id, struct error *err)
{
    struct sim_host *h = find_host_locked(s, id);

    if (h != NULL)
        return h;
    h = calloc(1, sizeof *h);
    if (h == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }
    h->node.key = id.v;
    if (map_put(&s->hosts, &h->node, err) < 0) {
        free(h);
        return NULL;
    }
    return h;
}

static int add_domain_locked(struct sim *s, const struct ledger_line *line, event_id event,
                             struct error *err)
{
    struct sim_host *h = make_host_locked(s, line->hypervisor, err);
    struct sim_domain *d = h != NULL ? calloc(1, sizeof *d) : NULL;

    if (d == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    d->node.key = line->droplet.v;
    d->attempt = line->attempt;
    d->event = event;
    int r = map_put(&h->domains, &d->node, err);
    if (r < 0)
        free(d);
    return r;
}

static void remove_domain_locked(struct sim *s, hypervisor_id host, struct sim_domain *d)
{
    struct sim_host *h = find_host_locked(s, host);

    map_remove(&h->domains, &d->node);
    free(d);
}

static void replay_line(void *ctx, const struct ledger_line *line)
{
    struct sim *s = ctx;
    struct sim_domain *d = find_domain_locked(s, line->hypervisor, line->droplet);
    struct error err;

    if (d != NULL)
        remove_domain_locked(s, line->hypervisor, d);
    if (line->create && add_domain_locked(s, line, (event_id){0}, &err) < 0)
        s->broken = true;
}

static void replay_maker(void *ctx, const struct ledger_line *line, event_id event)
{
    struct sim_domain *d = find_domain_locked(ctx, line->hypervisor, line->droplet);

    if (d != NULL && d->attempt == line->attempt)
        d->event = event;
}

/* ---- operations: look, then act ---- */

static void result(struct driver_task *task, enum driver_result r, const char *reason,
                   const char *detail)
{
    task->result = r;
    snprintf(task->reason, sizeof task->reason, "%s", reason);
    snprintf(task->detail, sizeof task->detail, "%.*s", (int)sizeof task->detail - 1, detail);
}

static bool is_made_by(const struct sim_domain *d, const Harpoon__Job__V1__Job *job)
{
    return d->attempt == job->attempt && (d->event.v == job->event_id || d->event.v == 0);
}

static void create_locked(struct sim *s, struct driver_task *task)
{
    const Harpoon__Job__V1__Job *job = task->job;
    struct ledger_line line = {unix_ms(), task->hypervisor, {job->droplet_id}, job->attempt, true};
    struct sim_domain *d = find_domain_locked(s, task->hypervisor, line.droplet);
    struct error err = {0};

    if (d != NULL) {
        if (is_made_by(d, job))
            result(task, DRIVER_DONE, "", "");
        else
            result(task, DRIVER_CONFLICT, "conflict", "another attempt's domain is there");
        return;
    }
    int r = add_domain_locked(s, &line, (event_id){job->event_id}, &err);
    if (r == 0)
        r = ledger_append(s->ledger, &line, (event_id){job->event_id}, &err);
    if (r == 0) {
        result(task, DRIVER_DONE, "", "");
        return;
    }
    d = find_domain_locked(s, task->hypervisor, line.droplet);
    if (d != NULL)
        remove_domain_locked(s, task->hypervisor, d);
    result(task, DRIVER_RETRY, "driver_failed", err.message);
}

static void remove_locked(struct sim *s, struct driver_task *task)
{
    const Harpoon__Job__V1__Job *job = task->job;
    struct ledger_line line = {unix_ms(), task->hypervisor, {job->droplet_id}, 0, false};
    struct sim_domain *d = find_domain_locked(s, task->hypervisor, line.droplet);
    struct error err = {0};

    result(task, DRIVER_DONE, "", "");
    if (d == NULL || (task->action == DRIVER_UNDO && !is_made_by(d, job)))
        return;
    line.attempt = d->attempt;
    if (ledger_append(s->ledger, &line, d->event, &err) < 0)
        result(task, DRIVER_RETRY, "driver_failed", err.message);
    else
        remove_domain_locked(s, task->hypervisor, d);
}

/* A create fails as often after it made the domain as before: what is left has to be undone. */
static void act_locked(struct sim *s, struct driver_task *task)
{
    bool fails = (int)(random_u64() % 1000) < s->fail_permille;

    if (fails && (task->action != DRIVER_CREATE || random_u64() % 2)) {
        result(task, DRIVER_FAILED, "driver_failed", "simulated, nothing was done");
        return;
    }
    if (task->action == DRIVER_CREATE)
        create_locked(s, task);
    else
        remove_locked(s, task);
    if (fails && task->result == DRIVER_DONE)
        result(task, DRIVER_FAILED, "driver_failed", "simulated, after it was done");
}

/* ---- what is due ---- */

static bool is_before(const struct sim_due *a, const struct sim_due *b)
{
    return a->at_mono_ms != b->at_mono_ms ? a->at_mono_ms < b->at_mono_ms : a->turn < b->turn;
}

static void push_locked(struct sim *s, struct sim_due item)
{
    size_t at = s->count++;

    for (; at > 0 && is_before(&item, &s->due[(at - 1) / 2]); at = (at - 1) / 2)
        s->due[at] = s->due[(at - 1) / 2];
    s->due[at] = item;
}

static struct driver_task *pop_locked(struct sim *s)
{
    struct driver_task *task = s->due[0].task;
    struct sim_due last = s->due[--s->count];
    size_t at = 0;

    for (size_t child; (child = at * 2 + 1) < s->count; at = child) {
        if (child + 1 < s->count && is_before(&s->due[child + 1], &s->due[child]))
            child++;
        if (!is_before(&s->due[child], &last))
            break;
        s->due[at] = s->due[child];
    }
    s->due[at] = last;
    return task;
}

static void wait_locked(struct sim *s)
{
    if (s->count == 0) {
        pthread_cond_wait(&s->wake, &s->lock);
        return;
    }
    int64_t at = s->due[0].at_mono_ms;
    struct timespec until = {.tv_sec = at / 1000, .tv_nsec = (at % 1000) * 1000000L};
    pthread_cond_timedwait(&s->wake, &s->lock, &until);
}

/* NULL: stopped, and nothing is left. */
static struct driver_task *take(struct sim *s)
{
    LOCK_SCOPE(&s->lock);
    for (;;) {
        if (s->count > 0 && (s->stopping || s->due[0].at_mono_ms <= mono_ms()))
            break;
        if (s->stopping)
            return NULL;
        wait_locked(s);
    }
    struct driver_task *task = pop_locked(s);
    if (s->stopping) /* as if the process had been killed before it acted */
        result(task, DRIVER_RETRY, "stopping", "");
    else
        act_locked(s, task);
    return task;
}

static void *run(void *arg)
{
    for (struct driver_task *task; (task = take(arg)) != NULL;)
        task->done(task);
    return NULL;
}

/* ---- the table ---- */

static void host_free(struct sim_host *h)
{
    struct map_cursor c = {0};

    for (struct map_node *n; (n = map_next(&h->domains, &c)) != NULL;)
        free(OWNER_OF(n, struct sim_domain, node));
    map_fini(&h->domains);
    free(h);
}

static void sim_close(void *self)
{
    struct sim *s = self;
    struct map_cursor c = {0};

    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    for (struct map_node *n; (n = map_next(&s->hosts, &c)) != NULL;)
        host_free(OWNER_OF(n, struct sim_host, node));
    map_fini(&s->hosts);
    ledger_close(s->ledger);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s->due);
    free(s);
}

static int start(struct sim *s, const struct driver_config *config, struct error *err)
{
    struct ledger_reader reader = {replay_line, replay_maker, s};

    s->limit = config->max_parallel > 0 ? (size_t)config->max_parallel : 1;
    s->due = calloc(s->limit, sizeof *s->due);
    if (s->due == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    int r = ledger_open(config->sim_ledger, &reader, &s->ledger, err);
    if (r == 0 && s->broken)
        r = error_set(err, ERR_INTERNAL, "out of memory");
    if (r == 0 && pthread_create(&s->thread, NULL, run, s) != 0)
        r = error_set(err, ERR_INTERNAL, "no thread");
    s->has_thread = r == 0;
    return r;
}

static int sim_open(const struct driver_config *config, void **ret, struct error *err)
{
    struct sim *s = calloc(1, sizeof *s);
    pthread_condattr_t attr;

    if (s == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    s->shape = config->sim_shape;
    s->latency_ms = config->sim_latency_ms;
    s->fail_permille = config->sim_fail_permille;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    int r = start(s, config, err);
    if (r < 0) {
        sim_close(s);
        return r;
    }
    pthread_setname_np(s->thread, "sim");
    *ret = s;
    return 0;
}

static int sim_begin(void *self, struct driver_task *task, struct error *err)
{
    struct sim *s = self;
    int64_t at = mono_ms() + jitter_ms(s->latency_ms, 50);

    LOCK_SCOPE(&s->lock);
    if (s->count == s->limit || s->stopping)
        return error_set(err, ERR_BUSY, "%zu operations are under way", s->count);
    push_locked(s, (struct sim_due){at, s->turns++, task});
    if (s->due[0].task == task)
        pthread_cond_signal(&s->wake);
    return 0;
}

static int sim_list(void *self, hypervisor_id hypervisor,
                    void (*each)(void *ctx, const struct driver_domain *d), void *ctx,
                    struct error *err)
{
    struct sim *s = self;
    struct map_cursor c = {0};

    UNUSED(err);
    LOCK_SCOPE(&s->lock);
    struct sim_host *h = find_host_locked(s, hypervisor);
    if (h == NULL)
        return 0;
    for (struct map_node *n; (n = map_next(&h->domains, &c)) != NULL;) {
        const struct sim_domain *d = OWNER_OF(n, struct sim_domain, node);
        struct driver_domain domain = {
            .hypervisor = hypervisor,
            .droplet = {d->node.key},
            .event = d->event,
            .attempt = d->attempt,
            .running = true,
        };
        each(ctx, &domain);
    }
    return 0;
}

static int sim_capacity(void *self, hypervisor_id hypervisor, struct driver_capacity *ret,
                        struct error *err)
{
    const struct sim *s = self;

    UNUSED(hypervisor);
    UNUSED(err);
    *ret = s->shape;
    return 0;
}

/* A load that grows with the domains, a little different each time. */
static int sim_sample(void *self, hypervisor_id hypervisor, struct driver_sample *ret,
                      struct error *err)
{
    struct sim *s = self;

    UNUSED(err);
    LOCK_SCOPE(&s->lock);
    const struct sim_host *h = find_host_locked(s, hypervisor);
    size_t domains = h != NULL ? h->domains.count : 0;
    size_t vcpus = s->shape.vcpus > 0 ? s->shape.vcpus : 1;
    size_t cpu = 10 + domains * 600 / vcpus + random_u64() % 20;
    *ret = (struct driver_sample){
        .cpu_permille = cpu < 950 ? (uint32_t)cpu : 950,
        .memory_pressure_permille = (uint32_t)(random_u64() % 5),
        .network_bytes_per_s = domains * 20000,
    };
    return 0;
}

const struct driver driver_sim = {
    .name = "sim",
    .open = sim_open,
    .close = sim_close,
    .begin = sim_begin,
    .list = sim_list,
    .capacity = sim_capacity,
    .sample = sim_sample,
};
