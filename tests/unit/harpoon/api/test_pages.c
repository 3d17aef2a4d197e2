#include "harpoon/api/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define BASE "http://h:1/v2/droplets"

static struct page page_of(const char *number, const char *per_page)
{
    return page_parse(number, per_page);
}

static void assert_links(struct page p, uint64_t total, const char *expected)
{
    json_t *links = page_links(&p, total, BASE, "tag_name=a%26b&per_page=2");
    char *text = json_dumps(links, JSON_COMPACT | JSON_SORT_KEYS);

    assert_string_equal(text, expected);
    free(text);
    json_decref(links);
}

#define LINK(key, n) "\"" key "\":\"" BASE "?tag_name=a%26b&per_page=2&page=" n "\""

static void one_page_has_no_links(void **state)
{
    UNUSED(state);
    assert_links(page_of("1", "2"), 0, "{}");
    assert_links(page_of("1", "2"), 1, "{}");
    assert_links(page_of("1", "2"), 2, "{}");
}

static void first_page_links_to_next_and_last(void **state)
{
    UNUSED(state);
    assert_links(page_of("1", "2"), 5, "{\"pages\":{" LINK("last", "3") "," LINK("next", "2") "}}");
}

static void middle_page_links_everywhere(void **state)
{
    UNUSED(state);
    assert_links(page_of("2", "2"), 5,
                 "{\"pages\":{" LINK("first", "1") "," LINK("last", "3") "," LINK(
                     "next", "3") "," LINK("prev", "1") "}}");
}

static void last_page_links_back(void **state)
{
    UNUSED(state);
    assert_links(page_of("3", "2"), 5,
                 "{\"pages\":{" LINK("first", "1") "," LINK("prev", "2") "}}");
}

static void page_beyond_the_end_is_empty_and_links_back_to_the_last(void **state)
{
    struct page p = page_of("9", "2");

    UNUSED(state);
    assert_int_equal(page_length(&p, 5), 0);
    assert_links(p, 5, "{\"pages\":{" LINK("first", "1") "," LINK("prev", "3") "}}");
}

static void numbers_out_of_range_are_moved_into_it(void **state)
{
    static const struct {
        const char *number, *per_page;
        struct page expected;
    } cases[] = {
        {NULL, NULL, {1, 20}},
        {"", "", {1, 20}},
        {"0", "0", {1, 1}},
        {"-3", "-1", {1, 1}},
        {"2", "200", {2, 200}},
        {"2", "201", {2, 200}},
        {"x", "1x", {1, 20}},
        {"1.5", " 5", {1, 20}},
        {"-", "+5", {1, 20}},
        {"99999999999999999999999", "99999999999999999999999", {PAGES_PAGE_MAX, 200}},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct page p = page_of(cases[i].number, cases[i].per_page);
        assert_int_equal(p.number, cases[i].expected.number);
        assert_int_equal(p.per_page, cases[i].expected.per_page);
    }
}

static void deepest_page_does_not_overflow(void **state)
{
    struct page p = {PAGES_PAGE_MAX, PAGES_PER_PAGE_MAX};

    UNUSED(state);
    assert_true(page_offset(&p) == (uint64_t)(PAGES_PAGE_MAX - 1) * PAGES_PER_PAGE_MAX);
    assert_int_equal(page_length(&p, UINT64_MAX), PAGES_PER_PAGE_MAX);
}

static void last_page_may_be_short(void **state)
{
    struct page p = page_of("3", "2");

    UNUSED(state);
    assert_int_equal(page_length(&p, 5), 1);
    assert_int_equal(page_length(&p, 6), 2);
}

static void parameters_are_encoded(void **state)
{
    char *text = page_encode("a b&c=d/\xc3\xa9~");

    UNUSED(state);
    assert_string_equal(text, "a%20b%26c%3Dd%2F%C3%A9~");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_page_has_no_links),
        cmocka_unit_test(first_page_links_to_next_and_last),
        cmocka_unit_test(middle_page_links_everywhere),
        cmocka_unit_test(last_page_links_back),
        cmocka_unit_test(page_beyond_the_end_is_empty_and_links_back_to_the_last),
        cmocka_unit_test(numbers_out_of_range_are_moved_into_it),
        cmocka_unit_test(deepest_page_does_not_overflow),
        cmocka_unit_test(last_page_may_be_short),
        cmocka_unit_test(parameters_are_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
