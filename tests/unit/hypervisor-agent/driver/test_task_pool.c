#include "hypervisor-agent/driver/task_pool.h"

#include "tests/unit/hypervisor-agent/driver/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { TASKS = 8 };

/* Tasks that stay under way until they are let go. */
struct fixture {
    struct task_pool *pool;
    struct driver_task tasks[TASKS];
    struct test_job jobs[TASKS];
    pthread_mutex_t lock;
    pthread_cond_t changed;

    /* guarded by lock */
    bool begun[TASKS], may_end[TASKS], done[TASKS];
};

static void run(void *ctx, struct driver_task *task)
{
    struct fixture *f = ctx;
    size_t i = (size_t)(task - f->tasks);

    LOCK_SCOPE(&f->lock);
    f->begun[i] = true;
    pthread_cond_broadcast(&f->changed);
    while (!f->may_end[i])
        pthread_cond_wait(&f->changed, &f->lock);
    task->result = DRIVER_DONE;
}

static void on_done(struct driver_task *task)
{
    struct fixture *f = task->ctx;

    LOCK_SCOPE(&f->lock);
    f->done[task - f->tasks] = true;
    pthread_cond_broadcast(&f->changed);
}

static void setup(struct fixture *f, int parallel, int reserved, size_t max_waiting)
{
    struct task_pool_options options = {.name = "test",
                                        .parallel_creates = parallel,
                                        .reserved = reserved,
                                        .max_waiting = max_waiting,
                                        .run = run,
                                        .ctx = f};
    struct error err;

    memset(f, 0, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    assert_int_equal(task_pool_start(&options, &f->pool, &err), 0);
}

static int push(struct fixture *f, size_t i, enum driver_action action, uint64_t droplet)
{
    struct error err;

    test_job_init(&f->jobs[i], droplet, i + 1, 1);
    f->tasks[i] =
        (struct driver_task){.action = action, .job = &f->jobs[i].job, .done = on_done, .ctx = f};
    return task_pool_push(f->pool, &f->tasks[i], &err);
}

static void wait_for(struct fixture *f, const bool *what)
{
    LOCK_SCOPE(&f->lock);
    while (!*what)
        pthread_cond_wait(&f->changed, &f->lock);
}

static void let_end(struct fixture *f, size_t i)
{
    LOCK_SCOPE(&f->lock);
    f->may_end[i] = true;
    pthread_cond_broadcast(&f->changed);
}

static bool has_begun(struct fixture *f, size_t i)
{
    LOCK_SCOPE(&f->lock);
    return f->begun[i];
}

static void teardown(struct fixture *f)
{
    for (size_t i = 0; i < TASKS; i++)
        let_end(f, i);
    f->pool = task_pool_stop(f->pool);
    assert_null(f->pool);
}

static void tasks_of_a_droplet_run_one_after_the_other(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 4, 0, 8);
    assert_int_equal(push(&f, 0, DRIVER_CREATE, 17), 0);
    assert_int_equal(push(&f, 1, DRIVER_DESTROY, 17), 0);
    assert_int_equal(push(&f, 2, DRIVER_CREATE, 17), 0);
    assert_int_equal(push(&f, 3, DRIVER_CREATE, 18), 0);
    wait_for(&f, &f.begun[0]);
    wait_for(&f, &f.begun[3]); /* another droplet's overtakes */
    assert_false(has_begun(&f, 1));
    let_end(&f, 0);
    wait_for(&f, &f.begun[1]);
    assert_true(f.done[0]);
    assert_false(has_begun(&f, 2));
    let_end(&f, 1);
    wait_for(&f, &f.begun[2]);
    teardown(&f);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(f.tasks[i].result, DRIVER_DONE);
}

static void creates_leave_threads_for_removals(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1, 1, 8);
    assert_int_equal(push(&f, 0, DRIVER_CREATE, 1), 0);
    assert_int_equal(push(&f, 1, DRIVER_CREATE, 2), 0);
    assert_int_equal(push(&f, 2, DRIVER_DESTROY, 3), 0);
    wait_for(&f, &f.begun[0]);
    wait_for(&f, &f.begun[2]);
    assert_false(has_begun(&f, 1)); /* both threads are busy, neither with it */
    let_end(&f, 2);
    wait_for(&f, &f.done[2]);
    assert_int_equal(push(&f, 3, DRIVER_UNDO, 4), 0);
    wait_for(&f, &f.begun[3]); /* once more past the create that waits */
    assert_false(has_begun(&f, 1));
    let_end(&f, 0);
    wait_for(&f, &f.begun[1]);
    teardown(&f);
}

static void a_full_pool_refuses(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 1, 0, 2);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(push(&f, i, DRIVER_CREATE, i + 1), 0);
    assert_int_equal(push(&f, 3, DRIVER_CREATE, 9), ERR_BUSY);
    let_end(&f, 0);
    wait_for(&f, &f.begun[1]); /* the first one's place is free */
    assert_int_equal(push(&f, 3, DRIVER_CREATE, 9), 0);
    teardown(&f);
}

static void *stop(void *arg)
{
    struct fixture *f = arg;

    f->pool = task_pool_stop(f->pool);
    return NULL;
}

static void stopping_ends_what_waits_and_waits_for_what_runs(void **state)
{
    struct fixture f;
    struct error err;
    pthread_t stopper;

    (void)state;
    setup(&f, 1, 0, 1);
    assert_int_equal(push(&f, 0, DRIVER_CREATE, 1), 0);
    assert_int_equal(push(&f, 1, DRIVER_CREATE, 1), 0);
    wait_for(&f, &f.begun[0]);
    struct task_pool *pool = f.pool;
    assert_int_equal(pthread_create(&stopper, NULL, stop, &f), 0);
    do { /* no place is free: refused now, and in other words once the pool is stopping */
        assert_int_equal(task_pool_push(pool, &f.tasks[2], &err), ERR_BUSY);
        sched_yield();
    } while (strstr(err.message, "stopping") == NULL);
    let_end(&f, 0);
    pthread_join(stopper, NULL);
    assert_null(f.pool);
    assert_true(f.done[0]);
    assert_true(f.done[1]);
    assert_false(f.begun[1]);
    assert_int_equal(f.tasks[0].result, DRIVER_DONE);
    assert_int_equal(f.tasks[1].result, DRIVER_RETRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_of_a_droplet_run_one_after_the_other),
        cmocka_unit_test(creates_leave_threads_for_removals),
        cmocka_unit_test(a_full_pool_refuses),
        cmocka_unit_test(stopping_ends_what_waits_and_waits_for_what_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
