#include "lib/amqp/flight.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define TOKEN(i) (1000 + (i))

struct book {
    int answers[64];
    enum amqp_outcome outcomes[64];
};

static void note(void *ctx, uint64_t token, enum amqp_outcome outcome)
{
    struct book *b = ctx;
    b->answers[token - 1000]++;
    b->outcomes[token - 1000] = outcome;
}

static void fill(struct flight *f, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(flight_add(f, TOKEN(i), 100 + i), (uint64_t)i + 1);
}

static int answered(const struct book *b, enum amqp_outcome outcome)
{
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(b->answers); i++) {
        assert_in_range(b->answers[i], 0, 1); /* never twice */
        n += b->answers[i] && b->outcomes[i] == outcome;
    }
    return n;
}

static void a_multiple_ack_settles_all_up_to_its_tag(void **state)
{
    struct flight f;
    struct book b = {0};
    UNUSED(state);
    assert_true(flight_init(&f, 8));
    fill(&f, 8);
    flight_settle(&f, 3, false, true, note, &b);
    flight_settle(&f, 5, true, true, note, &b);
    assert_int_equal(answered(&b, AMQP_CONFIRMED), 5);
    assert_int_equal(f.open, 3);
    assert_int_equal(flight_oldest_mono_ms(&f), 105);
    flight_settle(&f, 0, true, false, note, &b); /* tag 0: all there are */
    assert_int_equal(answered(&b, AMQP_REJECTED), 3);
    assert_int_equal(flight_oldest_mono_ms(&f), 0);
    flight_fini(&f);
}

static void a_returned_message_is_not_confirmed_by_its_ack(void **state)
{
    struct flight f;
    struct book b = {0};
    UNUSED(state);
    assert_true(flight_init(&f, 8));
    fill(&f, 4);
    flight_return(&f, 2);
    flight_return(&f, 3);
    flight_return(&f, 77); /* never given */
    flight_settle(&f, 2, true, true, note, &b);
    flight_settle(&f, 3, false, false, note, &b); /* nack says more than return */
    flight_settle(&f, 4, false, true, note, &b);
    assert_int_equal(b.outcomes[0], AMQP_CONFIRMED);
    assert_int_equal(b.outcomes[1], AMQP_RETURNED);
    assert_int_equal(b.outcomes[2], AMQP_REJECTED);
    assert_int_equal(b.outcomes[3], AMQP_CONFIRMED);
    flight_fini(&f);
}

static void repeated_and_unknown_tags_change_nothing(void **state)
{
    struct flight f;
    struct book b = {0};
    UNUSED(state);
    assert_true(flight_init(&f, 4));
    fill(&f, 2);
    flight_settle(&f, 1, false, true, note, &b);
    flight_settle(&f, 1, false, true, note, &b);
    flight_settle(&f, 1, true, false, note, &b);
    flight_settle(&f, 9, false, true, note, &b);
    assert_int_equal(answered(&b, AMQP_CONFIRMED), 1);
    assert_int_equal(f.open, 1);
    flight_lose(&f, note, &b);
    flight_fini(&f);
}

static void a_window_is_full_also_when_only_its_oldest_is_open(void **state)
{
    struct flight f;
    struct book b = {0};
    UNUSED(state);
    assert_true(flight_init(&f, 4));
    fill(&f, 4);
    assert_false(flight_has_room(&f));
    for (uint64_t i = 2; i <= 4; i++)
        flight_settle(&f, i, false, true, note, &b);
    while (flight_has_room(&f)) {
        uint64_t tag = flight_add(&f, TOKEN(f.next - 1), 200);
        flight_settle(&f, tag, false, true, note, &b);
    }
    assert_int_equal(f.open, 1); /* the first, and no slot of it may be used again */
    assert_int_equal(f.next - f.first, f.size);
    flight_settle(&f, 1, false, true, note, &b);
    assert_true(flight_has_room(&f));
    assert_int_equal(f.open, 0);
    assert_int_equal(answered(&b, AMQP_CONFIRMED), (int)f.size);
    flight_fini(&f);
}

static void losing_the_connection_answers_the_rest_and_counts_anew(void **state)
{
    struct flight f;
    struct book b = {0};
    UNUSED(state);
    assert_true(flight_init(&f, 8));
    fill(&f, 6);
    flight_settle(&f, 4, false, true, note, &b);
    flight_return(&f, 5);
    flight_lose(&f, note, &b);
    assert_int_equal(answered(&b, AMQP_LOST), 5);
    assert_int_equal(answered(&b, AMQP_CONFIRMED), 1);
    assert_int_equal(flight_add(&f, TOKEN(10), 1), 1);
    flight_settle(&f, 1, false, true, note, &b);
    assert_int_equal(b.outcomes[10], AMQP_CONFIRMED);
    flight_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_multiple_ack_settles_all_up_to_its_tag),
        cmocka_unit_test(a_returned_message_is_not_confirmed_by_its_ack),
        cmocka_unit_test(repeated_and_unknown_tags_change_nothing),
        cmocka_unit_test(a_window_is_full_also_when_only_its_oldest_is_open),
        cmocka_unit_test(losing_the_connection_answers_the_rest_and_counts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
