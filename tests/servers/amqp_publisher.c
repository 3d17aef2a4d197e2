/* The publisher of lib/amqp against a real broker. */
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

static void every_message_is_confirmed_and_received_once(void **state)
{
    enum { COUNT = 5000 };
    int64_t before_ms = unix_ms();
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    struct receiver *r = receiver_open(create_queue, 1, false);
    UNUSED(state);
    send_all(s, CREATE, COUNT);
    wait_until(is_all_answered, s, "all confirmed");
    assert_int_equal(count_of(s, AMQP_CONFIRMED), COUNT);
    want(r, COUNT);
    wait_until(is_idle, r, "all acknowledged");
    assert_int_equal(r->total, COUNT);
    assert_int_equal(consumer_stats(r).acknowledged, COUNT);
    assert_int_equal(stats_of(s).topology_errors, 0); /* as load_definitions made it */
    assert_true(r->oldest_ms >= before_ms && r->newest_ms <= unix_ms());
    receiver_close(r);
    struct receiver *again = receiver_open(create_queue, 1, false);
    wait_until(is_idle, again, "nothing is left");
    assert_int_equal(again->total, 0);
    receiver_close(again);
    sender_close(s);
}

static void a_message_without_a_queue_is_returned(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    UNUSED(state);
    for (int i = 0; i < 300; i++)
        assert_int_equal(send_to(s, i % 3 ? CREATE : "events.nowhere"), 0);
    wait_until(is_all_answered, s, "all answered");
    for (int i = 0; i < 300; i++)
        assert_int_equal(s->outcomes[i], i % 3 ? AMQP_CONFIRMED : AMQP_RETURNED);
    sender_close(s);
    drain(create_queue, 1);
}

static void a_full_queue_rejects(void **state)
{
    static const char *const small[] = {SMALL};
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    UNUSED(state);
    send_all(s, SMALL, 500);
    wait_until(is_all_answered, s, "all answered");
    assert_true(count_of(s, AMQP_REJECTED) > 0);
    assert_true(count_of(s, AMQP_CONFIRMED) >= 3);
    assert_int_equal(count_of(s, AMQP_REJECTED) + count_of(s, AMQP_CONFIRMED), 500);
    struct receiver *r = receiver_open(small, 1, false);
    want(r, count_of(s, AMQP_CONFIRMED));
    wait_until(is_idle, r, "drained");
    for (uint64_t i = 0; i < s->sent; i++) /* what was refused is not there */
        assert_int_equal(r->seen[i], s->outcomes[i] == AMQP_CONFIRMED);
    receiver_close(r);
    sender_close(s);
}

static bool is_confirmed_again(void *ctx)
{
    struct sender *s = ctx;
    assert_int_equal(send_to(s, ACTION), 0);
    wait_until(is_all_answered, s, "answered");
    return count_of(s, AMQP_CONFIRMED) > 0;
}

static void a_deleted_queue_comes_back_by_itself(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    UNUSED(state);
    server_do("api", "DELETE", "queues/%2F/" ACTION, NULL);
    assert_int_equal(send_to(s, ACTION), 0);
    wait_until(is_all_answered, s, "answered");
    assert_int_equal(s->outcomes[0], AMQP_RETURNED);
    wait_until(is_confirmed_again, s, "confirmed again");
    sender_close(s);
}

static void a_refused_declaration_hurts_nobody_else(void **state)
{
    static const struct amqp_queue_def odd[] = {
        {.name = CREATE, .binding_key = CREATE, .max_length = 5}, /* not as it is */
        {.name = "elsewhere", .binding_key = "elsewhere"},        /* not ours to make */
        {.name = LATER, .binding_key = LATER},
    };
    static const struct amqp_topology topology = {.exchange = "events",
                                                  .exchange_type = "topic",
                                                  .queues = odd,
                                                  .queue_count = 3};
    static const char *const later[] = {LATER};
    struct sender *s = sender_open(&topology, 1);
    UNUSED(state);
    assert_true(stats_of(s).topology_errors >= 2);
    assert_non_null(strstr(s->problem, "403"));
    send_all(s, LATER, 10);
    wait_until(is_all_answered, s, "all answered");
    assert_int_equal(count_of(s, AMQP_CONFIRMED), 10);
    sender_close(s);
    drain(later, 1);
    server_do("api", "DELETE", "queues/%2F/" LATER, NULL);
}

static void an_unconnected_publisher_keeps_nothing(void **state)
{
    struct sender *s = calloc(1, sizeof *s);
    struct amqp_publisher_options options = {.connection = options_of("harpoon"),
                                             .on_outcome = on_outcome,
                                             .ctx = s};
    UNUSED(state);
    pthread_mutex_init(&s->lock, NULL);
    options.connection.password = "wrong";
    assert_int_equal(amqp_publisher_start(&options, &s->publisher, &err), 0);
    assert_int_equal(send_to(s, CREATE), ERR_UNAVAILABLE);
    sender_close(s);
}

static void a_message_beyond_the_limit_is_refused(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    char *body = calloc(1, AMQP_BODY_MAX + 1);
    struct amqp_message m = {.exchange = "events",
                             .routing_key = CREATE,
                             .body = body,
                             .size = AMQP_BODY_MAX + 1};
    UNUSED(state);
    assert_int_equal(amqp_publisher_publish(s->publisher, &m, &err), ERR_TOO_LARGE);
    free(body);
    sender_close(s);
}

static void a_full_inbox_is_busy(void **state)
{
    struct sender *s = calloc(1, sizeof *s);
    struct amqp_publisher_options options = {
        .connection = options_of("harpoon"),
        .topologies = topologies,
        .topology_count = ARRAY_LEN(topologies),
        .window = 2,
        .max_queued = 5,
        .on_outcome = on_outcome,
        .ctx = s,
    };
    int busy = 0;
    UNUSED(state);
    pthread_mutex_init(&s->lock, NULL);
    assert_int_equal(amqp_publisher_start(&options, &s->publisher, &err), 0);
    wait_until(is_sender_connected, s, "connected");
    for (int i = 0; i < 2000; i++) {
        int r = send_to(s, CREATE);
        assert_true(r == 0 || r == ERR_BUSY);
        busy += r == ERR_BUSY;
    }
    assert_true(busy > 0);
    sender_close(s);
    drain(create_queue, 1);
}

static void stopping_answers_everything(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    UNUSED(state);
    send_all(s, CREATE, 3000);
    s->publisher = amqp_publisher_stop(s->publisher, 0);
    assert_int_equal(s->answered, 3000);
    sender_close(s);
    s = sender_open(topologies, ARRAY_LEN(topologies));
    send_all(s, CREATE, 1000);
    s->publisher = amqp_publisher_stop(s->publisher, 30000);
    assert_int_equal(s->counts[AMQP_CONFIRMED], 1000);
    sender_close(s);
    drain(create_queue, 1);
}

int publisher_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_is_confirmed_and_received_once),
        cmocka_unit_test(a_message_without_a_queue_is_returned),
        cmocka_unit_test(a_full_queue_rejects),
        cmocka_unit_test(a_deleted_queue_comes_back_by_itself),
        cmocka_unit_test(a_refused_declaration_hurts_nobody_else),
        cmocka_unit_test(an_unconnected_publisher_keeps_nothing),
        cmocka_unit_test(a_message_beyond_the_limit_is_refused),
        cmocka_unit_test(a_full_inbox_is_busy),
        cmocka_unit_test(stopping_answers_everything),
    };
    return cmocka_run_group_tests_name("publisher", tests, NULL, NULL);
}
