#include "harpoon/config.h"
#include "lib/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int load(int argc, const char **argv, struct harpoon_config *c, const char **words,
                size_t *count, struct error *err)
{
    return harpoon_config_load(argc, (char **)(uintptr_t)argv, c, words, count, err);
}

static void words_come_apart_from_the_options(void **state)
{
    const char *argv[] = {"harpoon", "token", "create", "--account", "7", "--read-only", NULL};
    const char *words[2];
    size_t count = 2;
    struct harpoon_config c;
    struct error err;

    UNUSED(state);
    assert_int_equal(load(6, argv, &c, words, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_string_equal(words[0], "token");
    assert_string_equal(words[1], "create");
    assert_int_equal(c.account, 7);
    assert_true(c.read_only);
    assert_string_equal(c.mysql_database, "harpoon");
    assert_int_equal(c.create_deadline_s, 900);
    harpoon_config_free(&c);
}

static void third_word_and_values_out_of_range_are_refused(void **state)
{
    static const char *const bad[][4] = {
        {"harpoon", "token", "create", "more"},         {"harpoon", "api", "--mysql-port", "65536"},
        {"harpoon", "api", "--create-deadline-s", "0"}, {"harpoon", "api", "--log-level", "loud"},
        {"harpoon", "api", "--no-such", "x"},
    };

    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *argv[] = {bad[i][0], bad[i][1], bad[i][2], bad[i][3], NULL}, *words[2];
        size_t count = 2;
        struct harpoon_config c;
        struct error err;
        if (load(4, argv, &c, words, &count, &err) != ERR_INVALID)
            fail_msg("%s %s %s", bad[i][1], bad[i][2], bad[i][3]);
    }
}

static char *secret_file(const char *text)
{
    char *path = strdup("/tmp/harpoon-secret-XXXXXX");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static void assert_secret(const char *text, int result, const char *expected)
{
    char *path = secret_file(text), *secret = NULL;
    struct error err;

    assert_int_equal(config_read_secret(path, &secret, &err), result);
    if (result == 0)
        assert_string_equal(secret, expected);
    free(secret);
    unlink(path);
    free(path);
}

static void secret_is_the_first_line_of_its_file(void **state)
{
    char *secret = NULL;
    struct error err;

    UNUSED(state);
    assert_secret("abc", 0, "abc");
    assert_secret("abc\nmore\n", 0, "abc");
    assert_secret("a b \r\n", 0, "a b ");
    assert_secret("", ERR_INVALID, NULL);
    assert_secret("\nabc\n", ERR_INVALID, NULL);
    assert_int_equal(config_read_secret("/nonexistent/file", &secret, &err), ERR_INVALID);
    assert_int_equal(config_read_secret(NULL, &secret, &err), 0);
    assert_string_equal(secret, "");
    free(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_come_apart_from_the_options),
        cmocka_unit_test(third_word_and_values_out_of_range_are_refused),
        cmocka_unit_test(secret_is_the_first_line_of_its_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
