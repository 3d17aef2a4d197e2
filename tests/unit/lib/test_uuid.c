#include "lib/uuid.h"

#include "tests/unit/lib/support.h"

#include <string.h>

static void a_named_uuid_is_the_one_of_rfc4122(void **state)
{
    struct error err;
    struct uuid dns, named;
    char text[UUID_TEXT];

    UNUSED(state);
    assert_int_equal(uuid_parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8", &dns, &err), 0);
    uuid_make_named(&dns, "www.example.com", strlen("www.example.com"), &named);
    uuid_format(&named, text);
    assert_string_equal(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

static void a_random_uuid_says_its_version_and_differs(void **state)
{
    struct uuid a, b;

    UNUSED(state);
    uuid_make_random(&a);
    uuid_make_random(&b);
    assert_int_equal(a.b[6] >> 4, 4);
    assert_int_equal(a.b[8] >> 6, 2);
    assert_false(uuid_equal(&a, &b));
    assert_false(uuid_is_zero(&a));
}

static void text_goes_there_and_back(void **state)
{
    struct error err;
    struct uuid a, b, zero = {{0}};
    char text[UUID_TEXT];

    UNUSED(state);
    uuid_make_random(&a);
    uuid_format(&a, text);
    assert_int_equal(uuid_parse(text, &b, &err), 0);
    assert_true(uuid_equal(&a, &b));
    uuid_format(&zero, text);
    assert_string_equal(text, "00000000-0000-0000-0000-000000000000");
    assert_int_equal(uuid_parse("6BA7B810-9DAD-11D1-80B4-00C04FD430C8", &b, &err), 0);
    assert_int_equal(b.b[0], 0x6B);
}

static void what_is_no_uuid_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "6ba7b810",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c88",
        "6ba7b81009dad-11d1-80b4-00c04fd430c8",
        "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
        "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
    };
    struct error err;
    struct uuid u = {{9}};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(uuid_parse(bad[i], &u, &err), ERR_INVALID);
    assert_int_equal(u.b[0], 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_named_uuid_is_the_one_of_rfc4122),
        cmocka_unit_test(a_random_uuid_says_its_version_and_differs),
        cmocka_unit_test(text_goes_there_and_back),
        cmocka_unit_test(what_is_no_uuid_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
