#include "harpoon/api/flights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
    struct error err;
    struct flights *f = NULL;

    assert_int_equal(flights_new(&f, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    flights_free(*state);
    return 0;
}

static struct flight flight_of(uint64_t account, const char *name, const char *body)
{
    struct flight f = {.key = {.account.v = account, .name = name}};

    idempotency_hash("POST", "/v2/droplets", body, strlen(body), f.key.hash);
    return f;
}

static void key_is_in_flight_until_it_ends(void **state)
{
    struct flight first = flight_of(1, "k", "{}"), second = flight_of(1, "k", "{}");

    assert_int_equal(flights_begin(*state, &first), FLIGHT_BEGUN);
    assert_int_equal(flights_begin(*state, &second), FLIGHT_SAME);
    flights_end(*state, &first);
    assert_int_equal(flights_begin(*state, &second), FLIGHT_BEGUN);
    flights_end(*state, &second);
}

static void another_request_under_the_key_is_told_apart(void **state)
{
    struct flight first = flight_of(1, "k", "{}"), second = flight_of(1, "k", "{ }");

    assert_int_equal(flights_begin(*state, &first), FLIGHT_BEGUN);
    assert_int_equal(flights_begin(*state, &second), FLIGHT_OTHER);
    flights_end(*state, &first);
}

static void accounts_do_not_see_each_others_keys(void **state)
{
    struct flight mine = flight_of(1, "k", "{}"), theirs = flight_of(2, "k", "{}");

    assert_int_equal(flights_begin(*state, &mine), FLIGHT_BEGUN);
    assert_int_equal(flights_begin(*state, &theirs), FLIGHT_BEGUN);
    flights_end(*state, &theirs);
    flights_end(*state, &mine);
}

static void many_keys_end_in_any_order(void **state)
{
    enum { MANY = 5000 };
    static struct flight flights[MANY];
    static char names[MANY][8];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "k%d", i);
        flights[i] = flight_of(1, names[i], "{}");
        assert_int_equal(flights_begin(*state, &flights[i]), FLIGHT_BEGUN);
    }
    for (int i = 0; i < MANY; i++) { /* 7 and 5000 have no divisor in common */
        struct flight *ends = &flights[i * 7 % MANY], again = *ends;
        assert_int_equal(flights_begin(*state, &again), FLIGHT_SAME);
        flights_end(*state, ends);
    }
}

static void key_is_printable_ascii_of_bounded_length(void **state)
{
    char text[257];

    (void)state;
    memset(text, 'x', sizeof text);
    text[255] = 0;
    assert_true(idempotency_is_name(text));
    text[255] = 'x';
    text[256] = 0;
    assert_false(idempotency_is_name(text));
    assert_true(idempotency_is_name("k"));
    assert_true(idempotency_is_name("\"8e03978e-40d5\" ~"));
    assert_false(idempotency_is_name(""));
    assert_false(idempotency_is_name("a\tb"));
    assert_false(idempotency_is_name("\x7f"));
    assert_false(idempotency_is_name("schl\xc3\xbcssel"));
}

static void hash_tells_methods_paths_and_bodies_apart(void **state)
{
    static const struct {
        const char *method, *path, *body;
        bool same;
    } cases[] = {
        {"POST", "/v2/droplets", "{}", true},  {"POST", "/v2/droplets/", "{}", true},
        {"PUT", "/v2/droplets", "{}", false},  {"POST", "/v2/droplets", "{ }", false},
        {"POST", "/v2/droplet", "s{}", false}, {"POST", "/v2/droplets", "", false},
    };
    uint8_t first[DIGEST_SHA256], other[DIGEST_SHA256];

    (void)state;
    idempotency_hash("POST", "/v2/droplets", "{}", 2, first);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        idempotency_hash(cases[i].method, cases[i].path, cases[i].body, strlen(cases[i].body),
                         other);
        assert_int_equal(memcmp(first, other, sizeof first) == 0, cases[i].same);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(key_is_in_flight_until_it_ends),
        TEST(another_request_under_the_key_is_told_apart),
        TEST(accounts_do_not_see_each_others_keys),
        TEST(many_keys_end_in_any_order),
        TEST(key_is_printable_ascii_of_bounded_length),
        TEST(hash_tells_methods_paths_and_bodies_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
