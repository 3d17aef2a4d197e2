#include "hypervisor-agent/driver/text.h"

#include "tests/unit/hypervisor-agent/driver/support.h"

#include <stdlib.h>
#include <string.h>

static char *quoted(const char *text)
{
    char *ret = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&ret, &len);

    assert_non_null(out);
    text_write_quoted(out, text);
    assert_int_equal(fclose(out), 0);
    return ret;
}

static void quoting_leaves_no_way_out_of_the_quotes(void **state)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"", "\"\""},
        {"web-1", "\"web-1\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"a\nkey: b\r\t", "\"a\\u000Akey: b\\u000D\\u0009\""},
        {"\x7f\x1b", "\"\\u007F\\u001B\""},
        {"\xc3\xa9\xe2\x80\xa8\xf0\x9f\x90\x9f", "\"\\u00E9\\u2028\\U0001F41F\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *got = quoted(cases[i].text);
        assert_string_equal(got, cases[i].wanted);
        free(got);
    }
}

static void bytes_that_are_no_utf8_become_replacements(void **state)
{
    static const char *const bad[] = {
        "\x80",             /* a tail without a lead */
        "\xc3",             /* cut off by the end */
        "\xe2\x80",         /* longer, cut off */
        "\xc0\xaf",         /* overlong */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* beyond Unicode */
        "\xff",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *at = bad[i], *end = at + strlen(at);
        while (at < end)
            assert_int_equal(text_next(&at), 0xFFFD);
        assert_ptr_equal(at, end);
        assert_int_equal(text_next(&at), 0);
    }
}

static void characters_xml_forbids_are_replaced(void **state)
{
    char copy[64];

    (void)state;
    text_copy_for_xml("a\x01\xff<\xc3\xa9\xef\xbf\xbf\xf0\x9f\x90\x9f", copy, sizeof(copy));
    assert_string_equal(copy, "a\xef\xbf\xbd\xef\xbf\xbd<\xc3\xa9\xef\xbf\xbd\xf0\x9f\x90\x9f");
}

static void a_copy_is_cut_between_characters(void **state)
{
    char copy[5];

    (void)state;
    text_copy_for_xml("ab\xf0\x9f\x90\x9f", copy, sizeof(copy));
    assert_string_equal(copy, "ab");
    text_copy_for_xml("ab\xc3\xa9z", copy, sizeof(copy));
    assert_string_equal(copy, "ab\xc3\xa9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoting_leaves_no_way_out_of_the_quotes),
        cmocka_unit_test(bytes_that_are_no_utf8_become_replacements),
        cmocka_unit_test(characters_xml_forbids_are_replaced),
        cmocka_unit_test(a_copy_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
