#include "lib/clock.h"

#include "tests/unit/lib/support.h"

static void times_are_written_as_rfc3339(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},         {1595356664999, "2020-07-21T18:37:44Z"},
        {-1, "1969-12-31T23:59:59Z"},        {951782400000, "2000-02-29T00:00:00Z"},
        {INT64_MAX, "9999-12-31T23:59:59Z"}, {INT64_MIN, "0001-01-01T00:00:00Z"},
    };
    char text[21];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        clock_format_rfc3339(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void mono_never_goes_back(void **state)
{
    int64_t last = mono_ms();

    UNUSED(state);
    for (int i = 0; i < 1000; i++) {
        int64_t now = mono_ms();
        assert_true(now >= last);
        last = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_written_as_rfc3339),
        cmocka_unit_test(mono_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
