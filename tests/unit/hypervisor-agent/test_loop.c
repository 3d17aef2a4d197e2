#include "hypervisor-agent/loop.h"
#include "hypervisor-agent/owner.h"
#include "lib/clock.h"
#include "support.h"

#include <stdlib.h>

enum { TIMERS = 200 };

struct seen {
    struct loop *loop;
    struct loop_timer timers[TIMERS];
    int64_t fired[TIMERS];
    size_t count, turns;
    int64_t base_ms;
};
static struct seen seen;

static void on_fire(struct loop_timer *t)
{
    seen.fired[seen.count++] = t->at_mono_ms;
}

static void on_turn_end(void *ctx)
{
    struct seen *s = ctx;

    s->turns++;
}

/* All are long due, so that one turn fires them. */
static void set_timers(void *ctx)
{
    UNUSED(ctx);
    seen.base_ms = loop_now_ms(seen.loop) - 100000;
    for (size_t i = 0; i < TIMERS; i++) {
        seen.timers[i].fire = on_fire;
        loop_timer_set(seen.loop, &seen.timers[i], seen.base_ms + (int64_t)(i * 7919 % TIMERS));
    }
    for (size_t i = 0; i < TIMERS; i += 4)
        loop_timer_clear(seen.loop, &seen.timers[i]);
    for (size_t i = 1; i < TIMERS; i += 4)
        loop_timer_set(seen.loop, &seen.timers[i], seen.base_ms + 1000 + (int64_t)i);
    for (size_t i = 2; i < TIMERS; i += 4) {
        loop_timer_set_by(seen.loop, &seen.timers[i], seen.base_ms - (int64_t)i);
        loop_timer_set_by(seen.loop, &seen.timers[i], seen.base_ms + 5000); /* no later */
    }
}

static void nothing(void *ctx)
{
    UNUSED(ctx);
}

static void timers_fire_in_their_order(void **state)
{
    struct error err;

    UNUSED(state);
    seen = (struct seen){0};
    assert_ok(loop_start(on_turn_end, &seen, &seen.loop, &err), &err);
    loop_call(seen.loop, set_timers, NULL);
    loop_call(seen.loop, nothing, NULL); /* a turn later */
    seen.loop = loop_stop(seen.loop);
    assert_int_equal(seen.count, TIMERS * 3 / 4);
    for (size_t i = 1; i < seen.count; i++)
        assert_true(seen.fired[i - 1] <= seen.fired[i]);
    assert_true(seen.fired[0] < seen.base_ms);
    assert_true(seen.turns >= 1);
}

struct numbered {
    struct loop_event event;
    int number;
};
static int expected, wrong;

static void on_numbered(struct loop_event *e)
{
    struct numbered *n = OWNER_OF(e, struct numbered, event);

    wrong += n->number != expected++;
    free(n);
}

static void what_is_posted_runs_in_order_before_a_stop(void **state)
{
    struct loop *loop = NULL;
    struct error err;

    UNUSED(state);
    expected = wrong = 0;
    assert_ok(loop_start(NULL, NULL, &loop, &err), &err);
    for (int i = 0; i < 10000; i++) {
        struct numbered *n = malloc(sizeof *n);
        *n = (struct numbered){.event = {.run = on_numbered}, .number = i};
        loop_post(loop, &n->event);
    }
    loop_stop(loop);
    assert_int_equal(expected, 10000);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_their_order),
        cmocka_unit_test(what_is_posted_runs_in_order_before_a_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
