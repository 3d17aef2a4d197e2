#include "scheduler/config.h"

#include "tests/unit/scheduler/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void serve_names_the_option_that_is_missing(void **state)
{
    struct scheduler_config c = {.listen = "127.0.0.1:1", .regions = "nyc3", .tls_ca = "ca"};
    struct error err;

    (void)state;
    assert_int_equal(scheduler_config_check_serve(&c, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "--tls-certificate"));
    c.tls_certificate = "certificate";
    c.tls_key = "key";
    assert_int_equal(scheduler_config_check_serve(&c, &err), 0);
}

static void user_is_that_of_the_word_unless_named(void **state)
{
    struct scheduler_config c = {.mysql_database = "scheduler"};
    struct sql_options sql;

    (void)state;
    scheduler_config_sql(&c, "scheduler_migrate", "", &sql);
    assert_string_equal(sql.user, "scheduler_migrate");
    c.mysql_user = "somebody";
    scheduler_config_sql(&c, "scheduler_migrate", "", &sql);
    assert_string_equal(sql.user, "somebody");
}

static void password_of_file(const char *content, int expected, const char *password)
{
    char path[] = "/tmp/harpoon-config-XXXXXX";
    int fd = mkstemp(path);
    struct scheduler_config c = {.mysql_password_file = path};
    struct error err;
    char *got = NULL;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    assert_int_equal(scheduler_config_read_password(&c, &got, &err), expected);
    if (expected == 0)
        assert_string_equal(got, password);
    free(got);
    unlink(path);
}

static void password_is_the_first_line_of_its_file(void **state)
{
    (void)state;
    password_of_file("secret\nmore\n", 0, "secret");
    password_of_file("secret", 0, "secret");
    password_of_file("", ERR_INVALID, NULL);
    password_of_file("\nsecret\n", ERR_INVALID, NULL);
}

static void no_password_file_is_no_password(void **state)
{
    struct scheduler_config c = {0};
    struct error err;
    char *got;

    (void)state;
    assert_int_equal(scheduler_config_read_password(&c, &got, &err), 0);
    assert_string_equal(got, "");
    free(got);
    c.mysql_password_file = "/nowhere/at/all";
    assert_int_equal(scheduler_config_read_password(&c, &got, &err), ERR_INVALID);
}

static void options_have_their_defaults(void **state)
{
    char *argv[] = {"scheduler", "serve", "--regions", "nyc3,ams3"};
    struct scheduler_config c = {0};
    const char *words[2];
    size_t count = 2;
    struct error err;

    (void)state;
    assert_int_equal(scheduler_config_load(4, argv, &c, words, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(words[0], "serve");
    assert_string_equal(c.regions, "nyc3,ams3");
    assert_int_equal(c.max_creates, 8);
    assert_int_equal(c.reconcile_after_ms, 60000);
    assert_string_equal(c.mysql_database, "scheduler");
    scheduler_config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serve_names_the_option_that_is_missing),
        cmocka_unit_test(user_is_that_of_the_word_unless_named),
        cmocka_unit_test(password_is_the_first_line_of_its_file),
        cmocka_unit_test(no_password_file_is_no_password),
        cmocka_unit_test(options_have_their_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
