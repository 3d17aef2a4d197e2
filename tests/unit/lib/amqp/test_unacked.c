#include "lib/amqp/unacked.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What was sent, as text: "a3" acknowledges 3, "A3" all up to 3, "r3" rejects 3. */
struct wire {
    char text[200];
    int fail_at; /* the n-th request fails, 0: none */
    int sent;
};

static int send(void *ctx, uint64_t tag, enum unacked_state how, bool multiple)
{
    struct wire *w = ctx;
    size_t n = strlen(w->text);
    if (++w->sent == w->fail_at)
        return -6;
    snprintf(w->text + n, sizeof w->text - n, "%s%c%d", n ? " " : "",
             how == UNACKED_REJECT ? 'r'
             : multiple            ? 'A'
                                   : 'a',
             (int)tag);
    return 0;
}

static struct unacked with(int count)
{
    struct unacked u = {0};
    for (int i = 1; i <= count; i++)
        assert_true(unacked_add(&u, (uint64_t)i));
    return u;
}

static void mark(struct unacked *u, enum unacked_state how, uint64_t first, uint64_t last)
{
    for (uint64_t tag = first; tag <= last; tag++)
        assert_true(unacked_mark(u, tag, how));
}

static void contiguous_acknowledgements_become_one(void **state)
{
    struct unacked u = with(200);
    struct wire w = {0};
    UNUSED(state);
    mark(&u, UNACKED_ACK, 1, 150);
    assert_int_equal(unacked_flush(&u, send, &w), 0);
    assert_string_equal(w.text, "A150");
    assert_int_equal(u.count, 50);
    unacked_fini(&u);
}

static void an_open_delivery_is_never_covered(void **state)
{
    struct unacked u = with(7);
    struct wire w = {0};
    UNUSED(state);
    mark(&u, UNACKED_ACK, 1, 2);
    mark(&u, UNACKED_ACK, 4, 5);
    mark(&u, UNACKED_ACK, 7, 7);
    unacked_flush(&u, send, &w);
    assert_string_equal(w.text, "A2 a4 a5 a7");
    assert_int_equal(u.count, 2);
    mark(&u, UNACKED_ACK, 3, 3);
    unacked_flush(&u, send, &w);
    assert_string_equal(w.text, "A2 a4 a5 a7 a3");
    unacked_fini(&u);
}

static void a_rejection_goes_before_the_acknowledgement_that_would_cover_it(void **state)
{
    struct unacked u = with(5);
    struct wire w = {0};
    UNUSED(state);
    mark(&u, UNACKED_ACK, 1, 1);
    mark(&u, UNACKED_REJECT, 2, 2);
    mark(&u, UNACKED_ACK, 3, 3);
    mark(&u, UNACKED_REJECT, 4, 4);
    unacked_flush(&u, send, &w);
    assert_string_equal(w.text, "r2 r4 A3");
    assert_int_equal(u.count, 1);
    unacked_fini(&u);
}

static void rejections_alone_need_no_acknowledgement(void **state)
{
    struct unacked u = with(2);
    struct wire w = {0};
    UNUSED(state);
    mark(&u, UNACKED_REJECT, 1, 2);
    unacked_flush(&u, send, &w);
    assert_string_equal(w.text, "r1 r2");
    assert_int_equal(u.count, 0);
    unacked_flush(&u, send, &w);
    assert_int_equal(w.sent, 2);
    unacked_fini(&u);
}

static void unknown_and_settled_tags_are_ignored(void **state)
{
    struct unacked u = with(3);
    struct wire w = {0};
    UNUSED(state);
    assert_false(unacked_mark(&u, 9, UNACKED_ACK));
    assert_true(unacked_mark(&u, 1, UNACKED_ACK));
    assert_false(unacked_mark(&u, 1, UNACKED_REJECT)); /* the first word counts */
    unacked_flush(&u, send, &w);
    assert_false(unacked_mark(&u, 1, UNACKED_ACK));
    assert_string_equal(w.text, "a1");
    unacked_clear(&u);
    assert_false(unacked_mark(&u, 2, UNACKED_ACK));
    unacked_fini(&u);
}

static void a_failed_request_is_reported(void **state)
{
    struct unacked u = with(4);
    struct wire w = {.fail_at = 2};
    UNUSED(state);
    mark(&u, UNACKED_ACK, 1, 1);
    mark(&u, UNACKED_REJECT, 3, 3);
    assert_int_equal(unacked_flush(&u, send, &w), -6);
    assert_string_equal(w.text, "r3");
    unacked_fini(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contiguous_acknowledgements_become_one),
        cmocka_unit_test(an_open_delivery_is_never_covered),
        cmocka_unit_test(a_rejection_goes_before_the_acknowledgement_that_would_cover_it),
        cmocka_unit_test(rejections_alone_need_no_acknowledgement),
        cmocka_unit_test(unknown_and_settled_tags_are_ignored),
        cmocka_unit_test(a_failed_request_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
