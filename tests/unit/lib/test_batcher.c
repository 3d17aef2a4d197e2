#include "lib/batcher.h"

#include "tests/unit/lib/support.h"

#include <pthread.h>
#include <semaphore.h>

enum { MAX_ITEMS = 4096 };

/* Records what is flushed; waits for `gate` before each batch. */
struct recorder {
    sem_t gate, entered, flushed;
    pthread_mutex_t lock;
    uintptr_t items[MAX_ITEMS];
    size_t count, sizes[MAX_ITEMS], batches;
    int started, ended;
};

static void record(void *ctx, void **items, size_t count)
{
    struct recorder *r = ctx;

    sem_post(&r->entered);
    sem_wait(&r->gate);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < count; i++)
        r->items[r->count++] = (uintptr_t)items[i];
    r->sizes[r->batches++] = count;
    pthread_mutex_unlock(&r->lock);
    sem_post(&r->flushed);
}

static void on_start(void *ctx)
{
    ((struct recorder *)ctx)->started++;
}

static void on_end(void *ctx)
{
    ((struct recorder *)ctx)->ended++;
}

static struct batcher *start(struct recorder *r, size_t max_batch, size_t max_queued,
                             int spacing_ms)
{
    struct batcher_options o = {.name = "test",
                                .max_batch = max_batch,
                                .max_queued = max_queued,
                                .spacing_ms = spacing_ms,
                                .flush = record,
                                .thread_start = on_start,
                                .thread_end = on_end,
                                .ctx = r};
    struct batcher *b = NULL;
    struct error err;

    *r = (struct recorder){.count = 0};
    sem_init(&r->gate, 0, 0);
    sem_init(&r->entered, 0, 0);
    sem_init(&r->flushed, 0, 0);
    pthread_mutex_init(&r->lock, NULL);
    assert_ok(batcher_start(&o, &b, &err), &err);
    return b;
}

static void submit(struct batcher *b, uintptr_t first, uintptr_t last)
{
    struct error err;

    for (uintptr_t i = first; i <= last; i++)
        assert_ok(batcher_submit(b, (void *)i, &err), &err);
}

static void open_gate(struct recorder *r, int times)
{
    for (int i = 0; i < times; i++)
        sem_post(&r->gate);
}

static void what_gathers_during_a_flush_goes_in_one(void **state)
{
    struct recorder r;
    struct batcher *b = start(&r, 100, 1000, 0);

    UNUSED(state);
    submit(b, 1, 1);
    sem_wait(&r.entered); /* the first is on its way alone */
    submit(b, 2, 51);
    open_gate(&r, 2);
    sem_wait(&r.flushed);
    sem_wait(&r.flushed);
    batcher_stop(b);
    assert_int_equal(r.batches, 2);
    assert_int_equal(r.sizes[0], 1);
    assert_int_equal(r.sizes[1], 50);
    for (size_t i = 0; i < r.count; i++)
        assert_int_equal(r.items[i], i + 1);
    assert_int_equal(r.started, 1);
    assert_int_equal(r.ended, 1);
}

static void a_full_queue_refuses_and_the_caller_keeps_the_item(void **state)
{
    struct recorder r;
    struct batcher *b = start(&r, 2, 3, 0);
    struct batcher_stats stats;
    struct error err;

    UNUSED(state);
    submit(b, 1, 1);
    sem_wait(&r.entered);
    submit(b, 2, 4);
    assert_int_equal(batcher_submit(b, (void *)5, &err), ERR_BUSY);
    batcher_stats_get(b, &stats);
    assert_int_equal(stats.queued, 3);
    assert_int_equal(stats.limit, 3);
    assert_int_equal(stats.refused, 1);
    open_gate(&r, 10);
    batcher_stop(b);
    assert_int_equal(r.count, 4);
    for (size_t i = 0; i < r.batches; i++)
        assert_true(r.sizes[i] <= 2);
}

static void a_busy_batcher_waits_for_its_spacing_unless_a_batch_is_full(void **state)
{
    struct recorder r;
    struct batcher *b = start(&r, 4, 100, 3600 * 1000); /* an hour: the test would not end */

    UNUSED(state);
    open_gate(&r, 10);
    submit(b, 1, 1);
    sem_wait(&r.flushed); /* idle: at once */
    submit(b, 2, 5);
    sem_wait(&r.flushed); /* full: at once */
    submit(b, 6, 7);
    batcher_stop(b); /* stopping: at once */
    assert_int_equal(r.batches, 3);
    assert_int_equal(r.sizes[0], 1);
    assert_int_equal(r.sizes[1], 4);
    assert_int_equal(r.sizes[2], 2);
}

static void stop_flushes_what_is_queued(void **state)
{
    struct recorder r;
    struct batcher *b = start(&r, 10, 1000, 0);

    UNUSED(state);
    submit(b, 1, 1);
    sem_wait(&r.entered);
    submit(b, 2, 500);
    open_gate(&r, 1000);
    batcher_stop(b);
    assert_int_equal(r.count, 500);
    assert_int_equal(r.ended, 1);
}

struct sender {
    struct batcher *b;
    uintptr_t first, sent;
};

static void *send_many(void *ctx)
{
    struct sender *s = ctx;
    struct error err;

    for (uintptr_t i = 0; i < 500; i++)
        s->sent += batcher_submit(s->b, (void *)(s->first + i), &err) == 0;
    return NULL;
}

static void many_threads_lose_nothing(void **state)
{
    struct recorder r;
    struct batcher *b = start(&r, 64, MAX_ITEMS, 0);
    struct sender senders[4];
    pthread_t threads[4];
    uintptr_t sent = 0;
    static bool seen[4 * 1000];

    UNUSED(state);
    open_gate(&r, MAX_ITEMS);
    for (size_t i = 0; i < 4; i++) {
        senders[i] = (struct sender){.b = b, .first = 1 + i * 1000};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        sent += senders[i].sent;
    }
    batcher_stop(b);
    assert_int_equal(sent, 2000);
    assert_int_equal(r.count, sent);
    for (size_t i = 0; i < r.count; i++) {
        assert_false(seen[r.items[i] - 1]);
        seen[r.items[i] - 1] = true;
    }
}

static void impossible_options_are_refused(void **state)
{
    struct batcher_options o = {.name = "test", .max_batch = 0, .max_queued = 1, .flush = record};
    struct batcher *b = NULL;
    struct error err;

    UNUSED(state);
    assert_int_equal(batcher_start(&o, &b, &err), ERR_INVALID);
    assert_null(b);
    assert_null(batcher_stop(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_gathers_during_a_flush_goes_in_one),
        cmocka_unit_test(a_full_queue_refuses_and_the_caller_keeps_the_item),
        cmocka_unit_test(a_busy_batcher_waits_for_its_spacing_unless_a_batch_is_full),
        cmocka_unit_test(stop_flushes_what_is_queued),
        cmocka_unit_test(many_threads_lose_nothing),
        cmocka_unit_test(impossible_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
