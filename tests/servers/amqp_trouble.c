/* Both of them when the broker is blocked, frozen, killed or wiped. */
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

static bool is_blocked(void *ctx)
{
    struct sender *s = ctx;
    if (stats_of(s).blocked)
        return true;
    (void)!send_to(s, CREATE); /* the broker tells only those who publish */
    return false;
}

static bool is_sendable(void *ctx)
{
    return send_to(ctx, CREATE) == 0;
}

static void a_blocked_broker_is_unavailable_until_it_is_not(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    UNUSED(state);
    server_do("ctl", "set_vm_memory_high_watermark", "absolute", "1MB");
    wait_until(is_blocked, s, "blocked");
    assert_int_equal(send_to(s, CREATE), ERR_UNAVAILABLE);
    assert_true(stats_of(s).connected);
    server_do("ctl", "set_vm_memory_high_watermark", "absolute", "1GB");
    wait_until(is_sendable, s, "unblocked");
    wait_until(is_all_answered, s, "all answered");
    assert_int_equal(stats_of(s).reconnects, 0);
    sender_close(s);
    drain(create_queue, 1);
}

static void a_frozen_broker_is_given_up(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    struct receiver *r = receiver_open(create_queue, 1, false);
    UNUSED(state);
    wait_until(is_consuming, r, "consuming");
    server_do("freeze", NULL, NULL, NULL);
    send_all(s, CREATE, 10);
    wait_until(is_sender_disconnected, s, "publisher gave up");
    wait_until(is_receiver_disconnected, r, "consumer gave up");
    wait_until(is_all_answered, s, "all answered");
    assert_int_equal(count_of(s, AMQP_LOST), 10);
    server_do("thaw", NULL, NULL, NULL);
    wait_until(is_sender_connected, s, "publisher is back");
    wait_until(is_consuming, r, "consumer is back");
    receiver_close(r);
    sender_close(s);
    drain(create_queue, 1);
}

struct crash {
    struct sender *s;
    pthread_t thread;
    bool stop;
};

static void *send_without_end(void *arg)
{
    struct crash *c = arg;
    struct sender *s = c->s;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        bool stop = c->stop || s->sent == TOKENS_MAX - 1;
        pthread_mutex_unlock(&s->lock);
        if (stop)
            return NULL;
        struct error e;
        char id[24];
        struct amqp_message m = {.exchange = "events", .routing_key = CREATE, .message_id = id};
        pthread_mutex_lock(&s->lock);
        uint64_t token = s->sent++;
        pthread_mutex_unlock(&s->lock);
        snprintf(id, sizeof id, "%" PRIu64, token);
        m.body = &token;
        m.size = sizeof token;
        m.token = token;
        if (amqp_publisher_publish(s->publisher, &m, &e) < 0) {
            on_outcome(s, token, AMQP_LOST); /* refused at the door: counts as answered */
            clock_pause_ms(10);
        } else {
            clock_pause_ms(token % 4 == 0);
        }
    }
}

static void *stop_sending(struct crash *c)
{
    pthread_mutex_lock(&c->s->lock);
    c->stop = true;
    pthread_mutex_unlock(&c->s->lock);
    pthread_join(c->thread, NULL);
    return NULL;
}

static bool has_confirmed_some(void *ctx)
{
    return count_of(ctx, AMQP_CONFIRMED) >= 500;
}

/* What was confirmed is delivered, though the broker died; what is lost was said to be. A delivery
 * held over the crash comes again, and its old tag can settle nothing. */
static void nothing_confirmed_is_lost_when_the_broker_dies(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    struct receiver *r = receiver_open(create_queue, 1, true);
    struct crash c = {.s = s};
    UNUSED(state);
    assert_int_equal(pthread_create(&c.thread, NULL, send_without_end, &c), 0);
    wait_until(has_confirmed_some, s, "under way");
    want(r, 200); /* a full prefetch, not acknowledged */
    server_do("kill", NULL, NULL, NULL);
    wait_until(is_receiver_disconnected, r, "connection lost");
    server_do("start", NULL, NULL, NULL);
    wait_until(is_sender_connected, s, "publisher is back");
    stop_sending(&c);
    wait_until(is_all_answered, s, "all answered");
    wait_until(is_consuming, r, "consumer is back");
    for (int i = 0; i < 200; i++)
        amqp_consumer_ack(r->consumer, r->tags[i]); /* of the lost connection */
    assert_true(stats_of(s).reconnects >= 1);
    assert_true(consumer_stats(r).reconnects >= 1);
    receiver_close(r);
    struct receiver *all = receiver_open(create_queue, 1, false);
    wait_until(is_idle, all, "everything received");
    for (uint64_t i = 0; i < s->sent; i++) {
        if (s->outcomes[i] == AMQP_CONFIRMED && !all->seen[i])
            fail_msg("message %" PRIu64 " was confirmed and is gone", i);
    }
    receiver_close(all);
    sender_close(s);
}

static void a_wiped_broker_is_set_up_again(void **state)
{
    struct sender *s = sender_open(topologies, ARRAY_LEN(topologies));
    struct receiver *r = receiver_open(create_queue, 1, false);
    UNUSED(state);
    wait_until(is_consuming, r, "consuming");
    server_do("wipe-data", NULL, NULL, NULL);
    server_do("start", NULL, NULL, NULL);
    wait_until(is_sender_connected, s, "publisher is back");
    send_all(s, ACTION, 10); /* no definition made this one */
    send_all(s, CREATE, 10);
    wait_until(is_all_answered, s, "all answered");
    assert_int_equal(count_of(s, AMQP_CONFIRMED), 20);
    want(r, 10);
    receiver_close(r);
    sender_close(s);
}

int trouble_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blocked_broker_is_unavailable_until_it_is_not),
        cmocka_unit_test(a_frozen_broker_is_given_up),
        cmocka_unit_test(nothing_confirmed_is_lost_when_the_broker_dies),
        cmocka_unit_test(a_wiped_broker_is_set_up_again),
    };
    return cmocka_run_group_tests_name("trouble", tests, NULL, NULL);
}
