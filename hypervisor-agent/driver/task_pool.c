#include "hypervisor-agent/driver/task_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A place for a task: in the list of those that wait, under way, or free. */
struct slot {
    struct driver_task *task;
    uint64_t droplet;
    bool is_create;
    struct slot *next;
};

struct task_pool {
    struct task_pool_options options;
    pthread_t *threads;
    size_t thread_count;
    struct slot *slots;
    pthread_mutex_t lock;
    pthread_cond_t wake;

    /* guarded by lock */
    struct slot *waiting, **waiting_end; /* in the order they came */
    struct slot *under_way;
    struct slot *unused;
    int creates;
    bool stopping;
};

static bool is_under_way_locked(const struct task_pool *pool, uint64_t droplet)
{
    const struct slot *s = pool->under_way;

    while (s != NULL && s->droplet != droplet)
        s = s->next;
    return s != NULL;
}

/* Whether an earlier task of the droplet still waits: it goes first. */
static bool is_overtaking_locked(const struct task_pool *pool, const struct slot *of)
{
    for (const struct slot *s = pool->waiting; s != of; s = s->next)
        if (s->droplet == of->droplet)
            return true;
    return false;
}

/* Where the first task that may begin hangs; NULL: none. */
static struct slot **find_ready_locked(struct task_pool *pool)
{
    bool creates_full = pool->creates >= pool->options.parallel_creates;

    for (struct slot **at = &pool->waiting; *at != NULL; at = &(*at)->next)
        if (!(creates_full && (*at)->is_create) && !is_under_way_locked(pool, (*at)->droplet) &&
            !is_overtaking_locked(pool, *at))
            return at;
    return NULL;
}

static void unlink_waiting_locked(struct task_pool *pool, struct slot **at)
{
    struct slot *s = *at;

    *at = s->next;
    if (*at == NULL)
        pool->waiting_end = at;
}

/* NULL: the pool is stopping. */
static struct slot *take_locked(struct task_pool *pool)
{
    struct slot **at = NULL;

    while (!pool->stopping && (at = find_ready_locked(pool)) == NULL)
        pthread_cond_wait(&pool->wake, &pool->lock);
    if (pool->stopping)
        return NULL;
    struct slot *s = *at;
    unlink_waiting_locked(pool, at);
    s->next = pool->under_way;
    pool->under_way = s;
    pool->creates += s->is_create;
    return s;
}

static void put_back_locked(struct task_pool *pool, struct slot *s)
{
    struct slot **at = &pool->under_way;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    pool->creates -= s->is_create;
    s->task = NULL;
    s->next = pool->unused;
    pool->unused = s;
    pthread_cond_broadcast(&pool->wake);
}

static void *work(void *arg)
{
    struct task_pool *pool = arg;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct slot *s = take_locked(pool);
        if (s == NULL)
            break;
        struct driver_task *task = s->task;
        pthread_mutex_unlock(&pool->lock);
        pool->options.run(pool->options.ctx, task);
        task->done(task); /* it may be gone now; the droplet's next one has not begun */
        pthread_mutex_lock(&pool->lock);
        put_back_locked(pool, s);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int task_pool_start(const struct task_pool_options *options, struct task_pool **ret,
                    struct error *err)
{
    size_t threads = (size_t)(options->parallel_creates + options->reserved);
    size_t slots = options->max_waiting + threads;
    struct task_pool *pool = calloc(1, sizeof(*pool));
    int r = 0;

    if (pool == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    pool->options = *options;
    pool->threads = calloc(threads, sizeof(*pool->threads));
    pool->slots = calloc(slots, sizeof(*pool->slots));
    pool->waiting_end = &pool->waiting;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    if (pool->threads == NULL || pool->slots == NULL)
        r = error_set(err, ERR_UNAVAILABLE, "out of memory");
    for (size_t i = 0; r == 0 && i < slots; i++) {
        pool->slots[i].next = pool->unused;
        pool->unused = &pool->slots[i];
    }
    while (r == 0 && pool->thread_count < threads) {
        int failed = pthread_create(&pool->threads[pool->thread_count], NULL, work, pool);
        if (failed != 0)
            r = error_set(err, ERR_UNAVAILABLE, "no thread: %s", strerror(failed));
        else
            pthread_setname_np(pool->threads[pool->thread_count++], options->name);
    }
    if (r < 0) {
        task_pool_stop(pool);
        return r;
    }
    *ret = pool;
    return 0;
}

static void refuse_waiting(struct task_pool *pool)
{
    while (pool->waiting != NULL) {
        struct driver_task *task = pool->waiting->task;
        pool->waiting = pool->waiting->next;
        task->result = DRIVER_RETRY;
        snprintf(task->reason, sizeof(task->reason), "stopping");
        snprintf(task->detail, sizeof(task->detail), "the driver is stopping");
        task->done(task);
    }
}

struct task_pool *task_pool_stop(struct task_pool *pool)
{
    if (pool == NULL)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    refuse_waiting(pool); /* nobody else is left who could touch the list */
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->slots);
    free(pool->threads);
    free(pool);
    return NULL;
}

int task_pool_push(struct task_pool *pool, struct driver_task *task, struct error *err)
{
    LOCK_SCOPE(&pool->lock);
    struct slot *s = pool->unused;
    if (pool->stopping)
        return error_set(err, ERR_BUSY, "the driver is stopping");
    if (s == NULL)
        return error_set(err, ERR_BUSY, "%zu operations wait already", pool->options.max_waiting);
    pool->unused = s->next;
    *s = (struct slot){.task = task,
                       .droplet = task->job->droplet_id,
                       .is_create = task->action == DRIVER_CREATE};
    *pool->waiting_end = s;
    pool->waiting_end = &s->next;
    pthread_cond_signal(&pool->wake);
    return 0;
}
