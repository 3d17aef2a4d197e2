#include "hypervisor-agent/probe.h"

#include "hypervisor-agent/owner.h"

#include <pthread.h>
#include <stdlib.h>

struct probe {
    const struct driver *driver;
    void *driver_self;
    struct loop *loop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct probing *first, **last; /* guarded by lock */
    bool stopping;                 /* guarded by lock */
};

struct listing {
    struct probing *to;
    size_t limit;
    bool failed; /* no memory */
};

static void on_domain(void *ctx, const struct driver_domain *d)
{
    struct listing *l = ctx;

    if (l->to->domain_count == l->limit) {
        size_t limit = l->limit ? l->limit * 2 : 16;
        struct driver_domain *grown = realloc(l->to->domains, limit * sizeof *grown);
        if (grown == NULL) {
            l->failed = true;
            return;
        }
        l->to->domains = grown;
        l->limit = limit;
    }
    l->to->domains[l->to->domain_count++] = *d;
}

static int list(struct probe *p, struct probing *one, hypervisor_id id)
{
    struct listing l = {.to = one};
    int r = p->driver->list(p->driver_self, id, on_domain, &l, &one->error);

    if (r == 0 && l.failed)
        r = error_set(&one->error, ERR_INTERNAL, "out of memory");
    return r;
}

static void answer(struct probe *p, struct probing *one)
{
    hypervisor_id id = one->id;
    int r = p->driver->capacity(p->driver_self, id, &one->capacity, &one->error);

    if (r == 0 && (one->asked & PROBE_DOMAINS))
        r = list(p, one, id);
    if (r == 0 && (one->asked & PROBE_SAMPLE))
        r = p->driver->sample(p->driver_self, id, &one->sample, &one->error);
    if (r == 0)
        one->error.code = 0;
}

static struct probing *take(struct probe *p)
{
    LOCK_SCOPE(&p->lock);
    while (p->first == NULL && !p->stopping)
        pthread_cond_wait(&p->wake, &p->lock);
    struct probing *one = p->first;
    if (one != NULL) {
        p->first = one->next;
        if (p->first == NULL)
            p->last = &p->first;
    }
    return one;
}

static void *run(void *arg)
{
    struct probe *p = arg;

    for (struct probing *one; (one = take(p)) != NULL;) {
        answer(p, one);
        loop_post(p->loop, &one->event);
    }
    return NULL;
}

static void on_answered(struct loop_event *e)
{
    struct probing *one = OWNER_OF(e, struct probing, event);

    one->busy = false;
    one->done(one->hv, one);
}

bool probe_ask(struct probe *p, struct hypervisor *hv, struct probing *probing, hypervisor_id id,
               unsigned asked, void (*done)(struct hypervisor *hv, struct probing *p))
{
    if (probing->busy)
        return false;
    free(probing->domains);
    *probing = (struct probing){.event = {.run = on_answered},
                                .hv = hv,
                                .id = id,
                                .asked = asked,
                                .busy = true,
                                .done = done};
    LOCK_SCOPE(&p->lock);
    *p->last = probing;
    p->last = &probing->next;
    pthread_cond_signal(&p->wake);
    return true;
}

int probe_start(const struct driver *driver, void *driver_self, struct loop *loop,
                struct probe **ret, struct error *err)
{
    struct probe *p = calloc(1, sizeof *p);

    if (p == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    p->driver = driver;
    p->driver_self = driver_self;
    p->loop = loop;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        pthread_cond_destroy(&p->wake);
        pthread_mutex_destroy(&p->lock);
        free(p);
        return error_set(err, ERR_INTERNAL, "probing the driver: no thread");
    }
    pthread_setname_np(p->thread, "probe");
    *ret = p;
    return 0;
}

struct probe *probe_stop(struct probe *p)
{
    if (p == NULL)
        return NULL;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}
