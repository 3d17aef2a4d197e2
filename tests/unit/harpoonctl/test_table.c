#include "harpoonctl/table.h"

#include "harpoonctl/command.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ages_are_short_and_never_negative(void **state)
{
    static const struct {
        int64_t ago_ms;
        const char *text;
    } cases[] = {
        {0, "0s"},
        {-5000, "0s"},
        {59999, "59s"},
        {60000, "1m00s"},
        {3599999, "59m59s"},
        {3600000, "1h00m"},
        {86399999, "23h59m"},
        {86400000, "1d00h"},
        {86400000LL * 400, "400d00h"},
    };
    char text[24];

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(table_format_age(1600000000000 - cases[i].ago_ms, 1600000000000, text),
                            cases[i].text);
    assert_string_equal(table_format_age(0, 1600000000000, text), "-");
    assert_string_equal(table_format_time(0, text), "-");
    assert_string_equal(table_format_time(1600000000000, text), "2020-09-13T12:26:40Z");
}

static void columns_are_aligned_and_control_characters_taken_out(void **state)
{
    static const char *const headers[] = {"NAME", ">COUNT", "LAST", NULL};
    struct table *t = table_new(headers);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    UNUSED(state);
    table_add(t, "gr\xC3\xBC\xC3\x9F"
                 "e"); /* counted as characters */
    table_add_count(t, 0);
    table_add(t, "\x1B[31mred");
    table_add(t, "");
    table_add_u64(t, 0);
    table_end_row(t);
    table_add(t, "x");
    table_add_u64(t, 1234567);
    table_add(t, "end");
    table_print(t, out);
    fclose(out);
    assert_string_equal(text, "NAME     COUNT  LAST\n"
                              "gr\xC3\xBC\xC3\x9F"
                              "e        0  ?[31mred\n"
                              "-            -  -\n"
                              "x      1234567  end\n");
    free(text);
    table_free(t);
    table_free(NULL);
}

static void ids_are_numbers_of_ours(void **state)
{
    static const char *const bad[] = {
        "", "0", "-1", "+1", "1.5", "1x", " 1", "9007199254740992", "18446744073709551617"};
    struct error err;
    uint64_t id = 7;

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(command_parse_id(bad[i], "an event", &id, &err), ERR_INVALID);
    assert_int_equal(id, 7);
    assert_int_equal(command_parse_id("9007199254740991", "an event", &id, &err), 0);
    assert_true(id == UINT64_C(9007199254740991));
}

static void each_error_ends_with_the_code_that_scripts_know(void **state)
{
    static const struct {
        int code, exit;
    } cases[] = {
        {ERR_INVALID, 2},         {ERR_NOT_FOUND, 3},   {ERR_CONFLICT, 4},  {ERR_FORBIDDEN, 5},
        {ERR_UNAUTHENTICATED, 5}, {ERR_UNAVAILABLE, 7}, {ERR_BUSY, 7},      {ERR_DEADLINE, 124},
        {ERR_INTERNAL, 1},        {ERR_NO_CAPACITY, 1}, {ERR_TOO_LARGE, 1},
    };
    struct error err = {.message = "said on purpose"};

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        err.code = cases[i].code;
        assert_int_equal(command_fail(&err), cases[i].exit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ages_are_short_and_never_negative),
        cmocka_unit_test(columns_are_aligned_and_control_characters_taken_out),
        cmocka_unit_test(ids_are_numbers_of_ours),
        cmocka_unit_test(each_error_ends_with_the_code_that_scripts_know),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
