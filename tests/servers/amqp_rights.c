/* Only Harpoon publishes: what the broker allows to whom, tried without lib/amqp's own manners. */
#include "tests/servers/amqp_support.h"

#include "lib/amqp/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define CHANNEL 1

enum attempt {
    PUBLISH,
    DECLARE_QUEUE,
    DECLARE_EXCHANGE,
    DELETE_QUEUE,
    BIND,
    CONSUME,
};

static const struct right {
    const char *user;
    enum attempt attempt;
    const char *target; /* exchange or queue */
    bool allowed;
} rights[] = {
    {"worker", PUBLISH, "events", false},
    {"worker", PUBLISH, "events.dead", false},
    {"worker", PUBLISH, "", false}, /* the default exchange */
    {"worker", PUBLISH, "amq.topic", false},
    {"worker", DECLARE_QUEUE, "events.nyc3.other", false},
    {"worker", DECLARE_QUEUE, "mine", false},
    {"worker", DECLARE_EXCHANGE, "events.other", false},
    {"worker", DELETE_QUEUE, CREATE, false},
    {"worker", BIND, CREATE, false},
    {"worker", CONSUME, CREATE, true},
    {"harpoon", PUBLISH, "events", true},
    {"harpoon", PUBLISH, "", false},
    {"harpoon", PUBLISH, "amq.topic", false},
    {"harpoon", DECLARE_QUEUE, "mine", false},
};

static int try_publish(struct amqp_link *l, const char *exchange)
{
    amqp_frame_t frame;
    int r;
    amqp_confirm_select(l->state, CHANNEL);
    assert_int_equal(amqp_link_reply(l, CHANNEL, &err), 0);
    assert_int_equal(amqp_basic_publish(l->state, CHANNEL, amqp_cstring_bytes(exchange),
                                        amqp_cstring_bytes("events.nowhere"), 0, 0, NULL,
                                        amqp_cstring_bytes("x")),
                     AMQP_STATUS_OK);
    while ((r = amqp_link_next(l, &frame, &err)) == 0)
        amqp_link_wait(l, -1, false, 1000);
    assert_int_equal(r, 1);
    if (frame.payload.method.id == AMQP_BASIC_ACK_METHOD)
        return 0;
    assert_int_equal(frame.payload.method.id, AMQP_CHANNEL_CLOSE_METHOD);
    amqp_link_channel_closed(l, &frame, &err);
    return err.code;
}

static int attempt(struct amqp_link *l, const struct right *right)
{
    amqp_bytes_t target = amqp_cstring_bytes(right->target);
    switch (right->attempt) {
    case PUBLISH:
        return try_publish(l, right->target);
    case DECLARE_QUEUE:
        amqp_queue_declare(l->state, CHANNEL, target, 0, 1, 0, 0, amqp_empty_table);
        break;
    case DECLARE_EXCHANGE:
        amqp_exchange_declare(l->state, CHANNEL, target, amqp_cstring_bytes("topic"), 0, 1, 0, 0,
                              amqp_empty_table);
        break;
    case DELETE_QUEUE:
        amqp_queue_delete(l->state, CHANNEL, target, 0, 0);
        break;
    case BIND:
        amqp_queue_bind(l->state, CHANNEL, target, amqp_cstring_bytes("events"),
                        amqp_cstring_bytes("#"), amqp_empty_table);
        break;
    case CONSUME:
        amqp_basic_consume(l->state, CHANNEL, target, amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
        break;
    }
    return amqp_link_reply(l, CHANNEL, &err);
}

static void each_user_may_do_what_the_table_says(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
        struct amqp_options options = options_of(rights[i].user);
        struct amqp_link l;
        amqp_link_init(&l);
        options.vhost = "/";
        assert_int_equal(amqp_link_open(&l, &options, "rights", &err), 0);
        assert_int_equal(amqp_link_open_channel(&l, CHANNEL, &err), 0);
        int r = attempt(&l, &rights[i]);
        if (r != (rights[i].allowed ? 0 : ERR_INVALID))
            fail_msg("row %zu: %d %s", i, r, err.message);
        if (!rights[i].allowed)
            assert_memory_equal(err.message, "403 ", 4);
        amqp_link_close(&l, true);
    }
}

static void strangers_may_not_log_in(void **state)
{
    static const char *const strangers[][2] = {{"guest", "guest"},
                                               {"", ""},
                                               {"worker", "wrong"},
                                               {"nobody", "secret"}};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        struct amqp_options options = options_of(strangers[i][0]);
        struct amqp_link l;
        amqp_link_init(&l);
        options.vhost = "/";
        options.password = strangers[i][1];
        assert_int_equal(amqp_link_open(&l, &options, "stranger", &err), ERR_UNAVAILABLE);
        assert_non_null(strstr(err.message, "403"));
    }
}

int rights_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_user_may_do_what_the_table_says),
        cmocka_unit_test(strangers_may_not_log_in),
    };
    return cmocka_run_group_tests_name("rights", tests, NULL, NULL);
}
