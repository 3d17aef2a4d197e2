#include "lib/sql/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_next(const char **cursor, const char *want)
{
    char *text = sql_script_next(cursor);
    if (want) {
        assert_non_null(text);
        assert_string_equal(text, want);
    } else {
        assert_null(text);
        assert_int_equal(**cursor, '\0');
    }
    free(text);
}

static void statements_end_with_a_semicolon_at_a_lines_end(void **state)
{
    const char *script = "CREATE TABLE a (x INT);\n\nINSERT INTO a\nVALUES (1); \r\nSELECT 1";
    UNUSED(state);
    expect_next(&script, "CREATE TABLE a (x INT)");
    expect_next(&script, "INSERT INTO a\nVALUES (1)");
    expect_next(&script, "SELECT 1");
    expect_next(&script, NULL);
}

static void a_semicolon_inside_a_line_ends_nothing(void **state)
{
    const char *script = "CREATE TRIGGER t BEGIN SET x = 1; SET y = 2; END;\n";
    UNUSED(state);
    expect_next(&script, "CREATE TRIGGER t BEGIN SET x = 1; SET y = 2; END");
    expect_next(&script, NULL);
}

static void comments_are_left_out_and_may_hold_anything(void **state)
{
    const char *script = "-- it's; a table;\n# and \"this;\nCREATE TABLE a (\n"
                         "  x INT, -- x; of course;\n  y INT  -- don't\n); -- done;\n--\n";
    UNUSED(state);
    expect_next(&script, "CREATE TABLE a (\n  x INT, \n  y INT  \n)");
    expect_next(&script, NULL);
}

static void quoted_text_is_kept_as_it_is(void **state)
{
    const char *script = "INSERT INTO a VALUES ('-- no;\n comment', \"it''s\\\";\n\", `q;\n`);\n"
                         "SELECT 'a''b;\n', '\\\\';\nSELECT 2--1;\n";
    UNUSED(state);
    expect_next(&script, "INSERT INTO a VALUES ('-- no;\n comment', \"it''s\\\";\n\", `q;\n`)");
    expect_next(&script, "SELECT 'a''b;\n', '\\\\'");
    expect_next(&script, "SELECT 2--1");
    expect_next(&script, NULL);
}

static void an_open_quote_ends_with_the_file(void **state)
{
    const char *script = "SELECT 'never closed;\n";
    UNUSED(state);
    expect_next(&script, "SELECT 'never closed;");
    expect_next(&script, NULL);
}

static void an_empty_script_has_no_statement(void **state)
{
    const char *empty = "", *comments = "\n  -- nothing\n#\n";
    UNUSED(state);
    expect_next(&empty, NULL);
    expect_next(&comments, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_end_with_a_semicolon_at_a_lines_end),
        cmocka_unit_test(a_semicolon_inside_a_line_ends_nothing),
        cmocka_unit_test(comments_are_left_out_and_may_hold_anything),
        cmocka_unit_test(quoted_text_is_kept_as_it_is),
        cmocka_unit_test(an_open_quote_ends_with_the_file),
        cmocka_unit_test(an_empty_script_has_no_statement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
