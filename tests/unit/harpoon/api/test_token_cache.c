#include "harpoon/api/token_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#define UNIX INT64_C(1700000000000)

static const struct rate_limits limits = {.hour = 100, .minute = 50};

/* `set` chooses the place in the cache, `way` makes it another token. */
static struct token token_of(uint32_t set, uint8_t way)
{
    struct token t = {.id = set * 100 + way + 1, .account.id.v = 7};

    memcpy(t.hash, &set, sizeof set);
    t.hash[31] = way;
    return t;
}

static enum token_verdict check(struct token_cache *c, const struct token *t, bool down,
                                int64_t mono_ms)
{
    struct token found = {0};
    struct rate_verdict rate;
    enum token_verdict v =
        token_cache_check(c, t->hash, down, mono_ms, UNIX, &limits, &found, &rate);

    if (v == TOKEN_KNOWN)
        assert_int_equal(found.id, t->id);
    return v;
}

static int setup(void **state)
{
    struct error err;
    struct token_cache *c = NULL;

    assert_int_equal(token_cache_new(&c, &err), 0);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    token_cache_free(*state);
    return 0;
}

static void token_that_nobody_checked_is_asked_about(void **state)
{
    struct token t = token_of(1, 1);

    assert_int_equal(check(*state, &t, false, 1000), TOKEN_ASK);
    token_cache_put(*state, &t, 1000);
    assert_int_equal(check(*state, &t, false, 1000), TOKEN_KNOWN);
}

static void token_counts_for_a_minute_or_while_the_database_is_gone(void **state)
{
    struct token t = token_of(2, 1);

    token_cache_put(*state, &t, 1000);
    assert_int_equal(check(*state, &t, false, 61000), TOKEN_KNOWN);
    assert_int_equal(check(*state, &t, false, 61001), TOKEN_ASK);
    assert_int_equal(check(*state, &t, true, 3600000), TOKEN_KNOWN);
}

static void unknown_token_is_refused_from_memory_for_two_seconds(void **state)
{
    struct token t = token_of(3, 1);

    token_cache_put_unknown(*state, t.hash, 1000);
    assert_int_equal(check(*state, &t, false, 2999), TOKEN_UNKNOWN);
    assert_int_equal(check(*state, &t, false, 3000), TOKEN_ASK);
    assert_int_equal(check(*state, &t, true, 9000), TOKEN_UNKNOWN);
}

static void token_past_its_end_is_refused(void **state)
{
    struct token t = token_of(4, 1);

    t.expires_at_ms = UNIX;
    token_cache_put(*state, &t, 1000);
    assert_int_equal(check(*state, &t, false, 1000), TOKEN_UNKNOWN);
    t.expires_at_ms = UNIX + 1;
    token_cache_put(*state, &t, 1000);
    assert_int_equal(check(*state, &t, false, 1000), TOKEN_KNOWN);
}

static void guesses_never_displace_a_known_token(void **state)
{
    for (uint8_t way = 0; way < 4; way++) {
        struct token t = token_of(5, way);
        token_cache_put(*state, &t, 1000);
    }
    for (uint8_t guess = 10; guess < 200; guess++) {
        struct token t = token_of(5, guess);
        token_cache_put_unknown(*state, t.hash, 1000);
    }
    for (uint8_t way = 0; way < 4; way++) {
        struct token t = token_of(5, way);
        assert_int_equal(check(*state, &t, false, 1000), TOKEN_KNOWN);
    }
}

static void full_place_gives_up_what_was_used_longest_ago(void **state)
{
    struct token first = token_of(6, 0), fifth = token_of(6, 4);

    for (uint8_t way = 0; way < 4; way++) {
        struct token t = token_of(6, way);
        token_cache_put(*state, &t, 1000 + way);
    }
    assert_int_equal(check(*state, &first, false, 2000), TOKEN_KNOWN);
    token_cache_put(*state, &fifth, 3000);
    struct token second = token_of(6, 1);
    assert_int_equal(check(*state, &first, false, 3000), TOKEN_KNOWN);
    assert_int_equal(check(*state, &second, false, 3000), TOKEN_ASK);
}

static void requests_of_a_limited_account_are_counted(void **state)
{
    struct token t = token_of(7, 1), found;
    struct rate_verdict rate;

    t.account.rate_limited = true;
    token_cache_put(*state, &t, 1000);
    for (uint32_t i = 0; i < limits.minute; i++) {
        token_cache_check(*state, t.hash, false, 1000, UNIX, &limits, &found, &rate);
        assert_false(rate.refused);
        token_cache_put(*state, &t, 1000); /* read again: the count stays */
    }
    token_cache_check(*state, t.hash, false, 1000, UNIX, &limits, &found, &rate);
    assert_true(rate.refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_that_nobody_checked_is_asked_about),
        cmocka_unit_test(token_counts_for_a_minute_or_while_the_database_is_gone),
        cmocka_unit_test(unknown_token_is_refused_from_memory_for_two_seconds),
        cmocka_unit_test(token_past_its_end_is_refused),
        cmocka_unit_test(guesses_never_displace_a_known_token),
        cmocka_unit_test(full_place_gives_up_what_was_used_longest_ago),
        cmocka_unit_test(requests_of_a_limited_account_are_counted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
