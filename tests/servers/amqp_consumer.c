/* The consumer of lib/amqp against a real broker. */
#include "tests/servers/amqp_support.h"

#include "lib/clock.h"
#include "lib/macros.h"
#include "tests/servers/servers.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void what_is_rejected_becomes_a_dead_letter(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    struct receiver *r = receiver_open(create_queue, 1, false);
    UNUSED(state);
    r->reject = true;
    send_all(s, CREATE, 20);
    want(r, 20);
    struct receiver *dead = receiver_open(dead_queues, 1, false);
    want(dead, 20);
    wait_until(is_idle, dead, "dead letters acknowledged");
    assert_int_equal(consumer_stats(r).rejected, 20);
    receiver_close(dead);
    receiver_close(r);
    sender_close(s);
}

static void a_paused_consumer_takes_nothing_but_may_acknowledge(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    struct receiver *r = receiver_open(create_queue, 1, true);
    UNUSED(state);
    send_all(s, CREATE, 10);
    want(r, 10);
    amqp_consumer_pause(r->consumer);
    amqp_consumer_pause(r->consumer);
    wait_until(is_not_consuming, r, "paused");
    send_all(s, CREATE, 10);
    wait_until(is_all_answered, s, "confirmed");
    assert_int_equal(consumer_stats(r).unacknowledged, 10);
    assert_int_equal(amqp_consumer_idle_since(r->consumer, 0), 0);
    for (int i = 0; i < 10; i++)
        amqp_consumer_ack(r->consumer, r->tags[i]);
    pthread_mutex_lock(&r->lock);
    r->hold = false;
    pthread_mutex_unlock(&r->lock);
    amqp_consumer_resume(r->consumer);
    want(r, 20);
    wait_until(is_idle, r, "all acknowledged");
    assert_int_equal(r->total, 20);
    receiver_close(r);
    sender_close(s);
}

struct acker {
    pthread_t thread;
    struct receiver *receiver;
    int first, step;
};

static void *acknowledge_some(void *arg)
{
    struct acker *a = arg;
    for (int i = a->first; i < 2000; i += a->step) {
        uint64_t tag;
        pthread_mutex_lock(&a->receiver->lock);
        bool there = (uint64_t)i < a->receiver->total;
        tag = a->receiver->tags[i];
        pthread_mutex_unlock(&a->receiver->lock);
        if (!there) {
            clock_pause_ms(1);
            i -= a->step;
            continue;
        }
        amqp_consumer_ack(a->receiver->consumer, tag);
        amqp_consumer_ack(a->receiver->consumer, tag); /* a second time is nothing */
    }
    return NULL;
}

static void acknowledgements_from_many_threads_arrive(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    struct receiver *r = receiver_open(create_queue, 1, true);
    struct acker ackers[4];
    UNUSED(state);
    send_all(s, CREATE, 2000); /* ten times the prefetch */
    for (int i = 0; i < 4; i++) {
        ackers[i] = (struct acker){.receiver = r, .first = i, .step = 4};
        assert_int_equal(pthread_create(&ackers[i].thread, NULL, acknowledge_some, &ackers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(ackers[i].thread, NULL);
    wait_until(is_idle, r, "all acknowledged");
    assert_int_equal(r->total, 2000);
    assert_int_equal(consumer_stats(r).acknowledged, 2000);
    receiver_close(r);
    drain(create_queue, 1);
    sender_close(s);
}

static void a_queue_that_comes_later_is_served_then(void **state)
{
    static const char *const names[] = {LATER, CREATE};
    static const struct amqp_queue_def later = {.name = LATER, .binding_key = LATER};
    static const struct amqp_topology topology = {.exchange = "events",
                                                  .exchange_type = "topic",
                                                  .queues = &later,
                                                  .queue_count = 1};
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    struct receiver *r = receiver_open(names, 2, false);
    UNUSED(state);
    send_all(s, CREATE, 5);
    want(r, 5);
    assert_false(consumer_stats(r).consuming);
    assert_int_equal(amqp_consumer_idle_since(r->consumer, 0), 0);
    struct sender *maker = sender_open(&topology, 1);
    wait_until(is_consuming, r, "both served");
    send_all(s, LATER, 5);
    want(r, 10);
    server_do("api", "DELETE", "queues/%2F/" LATER, NULL); /* basic.cancel */
    wait_until(is_not_consuming, r, "the queue is gone");
    send_all(s, CREATE, 5);
    want(r, 15);
    assert_int_equal(consumer_stats(r).reconnects, 0);
    sender_close(maker);
    maker = sender_open(&topology, 1);
    wait_until(is_consuming, r, "both served again");
    sender_close(maker);
    receiver_close(r);
    server_do("api", "DELETE", "queues/%2F/" LATER, NULL);
    sender_close(s);
}

int consumer_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_rejected_becomes_a_dead_letter),
        cmocka_unit_test(a_paused_consumer_takes_nothing_but_may_acknowledge),
        cmocka_unit_test(acknowledgements_from_many_threads_arrive),
        cmocka_unit_test(a_queue_that_comes_later_is_served_then),
    };
    return cmocka_run_group_tests_name("consumer", tests, NULL, NULL);
}
