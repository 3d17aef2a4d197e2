/* hypervisor-agent/driver/task_pool.h: a fixed number of threads that carry out a driver's tasks:
 * one at a time for a droplet, in the order they came; creates, which may take minutes, leave
 * threads free for what removes. */
#pragma once

#include "hypervisor-agent/driver/driver.h"

#include <stddef.h>

struct task_pool;

struct task_pool_options {
    const char *name;     /* of the threads, at most 15 characters */
    int parallel_creates; /* at a time */
    int reserved;         /* threads that no create takes */
    size_t max_waiting;   /* tasks not begun yet; more are refused */
    /* Fills task->result, reason and detail; on a thread of the pool, may block. */
    void (*run)(void *ctx, struct driver_task *task);
    void *ctx;
};

/* The caller owns *ret; end it with task_pool_stop(). ERR_UNAVAILABLE: no memory or threads. */
int task_pool_start(const struct task_pool_options *options, struct task_pool **ret,
                    struct error *err) MUST_CHECK;
/* Waits for the tasks under way; those not begun end with DRIVER_RETRY. NULL is fine; gives NULL.
 */
struct task_pool *task_pool_stop(struct task_pool *pool);
/* task->done comes later, on another thread. Never blocks. ERR_BUSY: too many wait, or the pool is
 * stopping; `done` will not come. */
int task_pool_push(struct task_pool *pool, struct driver_task *task, struct error *err) MUST_CHECK;
