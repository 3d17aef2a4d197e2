#include "lib/config.h"

#include "lib/config_help.h"
#include "tests/unit/lib/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
    char *listen, *level, *user;
    int64_t threads, offset;
    bool dry;
};

static const struct option_def defs[] = {
    {.name = "listen",
     .type = OPTION_STRING,
     .offset = offsetof(struct options, listen),
     .default_value = "127.0.0.1:1",
     .metavar = "ADDRESS",
     .help = "Where the door is."},
    {.name = "log-level",
     .type = OPTION_STRING,
     .offset = offsetof(struct options, level),
     .default_value = "info",
     .choices = "debug|info|warn|error",
     .help = "The least level written."},
    {.name = "user",
     .type = OPTION_STRING,
     .offset = offsetof(struct options, user),
     .help = "Whose name to use, told in a sentence so long that it must go on in a second line."},
    {.name = "threads",
     .type = OPTION_INT,
     .offset = offsetof(struct options, threads),
     .default_value = "2",
     .min = 1,
     .max = 64,
     .help = "How many."},
    {.name = "offset",
     .type = OPTION_INT,
     .offset = offsetof(struct options, offset),
     .min = INT64_MIN,
     .max = INT64_MAX,
     .help = "Any number."},
    {.name = "dry",
     .type = OPTION_BOOL,
     .offset = offsetof(struct options, dry),
     .help = "Changes nothing."},
};
static const struct config_program program = {.name = "tester",
                                              .summary = "tries options.",
                                              .usage = "serve|migrate [options]",
                                              .options = defs,
                                              .option_count = ARRAY_LEN(defs)};
static const struct option_def needed[] = {{.name = "key",
                                            .type = OPTION_STRING,
                                            .offset = offsetof(struct options, user),
                                            .required = true,
                                            .metavar = "PATH",
                                            .help = "The private key."}};
static const struct config_program needing = {.name = "needing",
                                              .summary = "needs one.",
                                              .options = needed,
                                              .option_count = 1};

static char file_path[] = "/tmp/test-config-XXXXXX";

static void write_file(const char *text, size_t size)
{
    FILE *out = fopen(file_path, "we");

    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

#define ARGS(...) ((const char *[]){"tester", __VA_ARGS__, NULL})

static int load(const struct config_program *p, const char **args, struct options *ret,
                const char **words, size_t *word_count, struct error *err)
{
    int count = 0;

    while (args[count] != NULL)
        count++;
    return config_load(p, count, (char **)args, ret, words, word_count, err);
}

/* Loads with a file of this text and expects an error that has `part`. */
static void expect_file_error(const char *text, size_t size, const char *part)
{
    struct options o;
    struct error err;

    write_file(text, size);
    assert_int_equal(load(&program, ARGS("--config", file_path), &o, NULL, NULL, &err),
                     ERR_INVALID);
    assert_has(err.message, part);
    assert_has(err.message, file_path);
    assert_null(o.listen);
}

static void expect_error(const char **args, const char *part)
{
    struct options o;
    struct error err;

    assert_int_equal(load(&program, args, &o, NULL, NULL, &err), ERR_INVALID);
    assert_has(err.message, part);
    assert_null(o.listen);
}

static void defaults_fill_what_nobody_says(void **state)
{
    struct options o;
    struct error err;

    UNUSED(state);
    memset(&o, 0x5A, sizeof o);
    assert_ok(load(&program, ARGS("--dry"), &o, NULL, NULL, &err), &err);
    assert_string_equal(o.listen, "127.0.0.1:1");
    assert_string_equal(o.level, "info");
    assert_null(o.user);
    assert_int_equal(o.threads, 2);
    assert_int_equal(o.offset, 0);
    assert_true(o.dry);
    config_free(&program, &o);
    assert_null(o.listen);
}

static void the_command_line_wins_over_the_file_and_the_file_over_the_default(void **state)
{
    static const char text[] = "# a comment\n[section]\n  threads = 7\nuser = from ; file # all\n"
                               "dry=yes\r\n\nlog-level: warn\noffset = -9\nlisten = ";
    struct options o;
    struct error err;

    UNUSED(state);
    write_file(text, strlen(text));
    assert_ok(load(&program, ARGS("--threads=9", "--config", file_path, "--dry=no"), &o, NULL, NULL,
                   &err),
              &err);
    assert_int_equal(o.threads, 9);
    assert_false(o.dry);
    assert_string_equal(o.user, "from ; file # all");
    assert_string_equal(o.level, "warn");
    assert_string_equal(o.listen, "");
    assert_int_equal(o.offset, -9);
    config_free(&program, &o);
}

static void words_are_handed_on_in_order(void **state)
{
    const char *words[2];
    size_t count = 2;
    struct options o;
    struct error err;

    UNUSED(state);
    assert_ok(load(&program, ARGS("serve", "--threads", "3", "--", "--dry"), &o, words, &count,
                   &err),
              &err);
    assert_int_equal(count, 2);
    assert_string_equal(words[0], "serve");
    assert_string_equal(words[1], "--dry");
    assert_false(o.dry);
    config_free(&program, &o);
    assert_int_equal(load(&program, ARGS("a", "b", "c"), &o, words, &count, &err), ERR_INVALID);
    assert_has(err.message, "\"c\"");
}

static void a_bad_value_names_the_option_and_what_is_expected(void **state)
{
    UNUSED(state);
    expect_error(ARGS("--threads", "0"), "threads is \"0\": a number from 1 to 64 is expected");
    expect_error(ARGS("--threads", "65"), "a number from 1 to 64");
    expect_error(ARGS("--threads", "3x"), "\"3x\"");
    expect_error(ARGS("--threads", ""), "threads is \"\"");
    expect_error(ARGS("--threads", " 3"), "threads is \" 3\"");
    expect_error(ARGS("--offset", "9223372036854775808"), "offset");
    expect_error(ARGS("--dry=maybe"), "dry is \"maybe\": yes or no is expected");
    expect_error(ARGS("--log-level", "inf"), "one of debug, info, warn, error is expected");
    expect_error(ARGS("--threads"), "--threads needs a value");
    expect_error(ARGS("--config"), "--config needs a value");
    expect_error(ARGS("-t"), "\"-t\" is no option");
    expect_error(ARGS("serve"), "\"serve\" is not expected");
}

static void an_unknown_option_is_told_its_nearest(void **state)
{
    UNUSED(state);
    expect_error(ARGS("--thread", "3"), "no option is named --thread; the nearest is --threads");
    expect_error(ARGS("--lsiten", "x"), "the nearest is --listen");
    expect_error(ARGS("--loglevel=x"), "the nearest is --log-level");
}

static void a_file_error_names_file_and_line(void **state)
{
    static const char unknown[] = "threads = 3\n\nlog-leval = info\n";
    static const char range[] = "\n\nthreads = 99\n";
    static const char twice[] = "threads = 3\nthreads = 4\n";
    static const char nothing[] = "dry = no\nwhat is this\n";
    static const char zero[] = "dry = no\nuser = a\0b\n";

    UNUSED(state);
    expect_file_error(unknown, sizeof unknown - 1, ":3: no option is named log-leval; the nearest");
    expect_file_error(range, sizeof range - 1, ":3: threads is \"99\": a number from 1 to 64");
    expect_file_error(twice, sizeof twice - 1, ":2: threads is given twice, first in line 1");
    expect_file_error(nothing, sizeof nothing - 1, ":2: name = value is expected");
    expect_file_error(zero, sizeof zero - 1, ":2: a zero byte");
}

static void a_line_longer_than_the_limit_is_an_error_not_a_cut_value(void **state)
{
    struct options o;
    struct error err;
    char *text = malloc(10000);

    UNUSED(state);
    assert_non_null(text);
    memset(text, 'x', 9999);
    memcpy(text, "\nuser = ", 8);
    expect_file_error(text, 9999, ":2: the line is longer than");
    write_file(text, 4000);
    assert_ok(load(&program, ARGS("--config", file_path), &o, NULL, NULL, &err), &err);
    assert_int_equal(strlen(o.user), 4000 - 8);
    config_free(&program, &o);
    free(text);
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
    UNUSED(state);
    expect_error(ARGS("--config", "/nonexistent/x.ini"), "/nonexistent/x.ini: No such file");
    expect_error(ARGS("--config", "/"), "/");
}

static void a_required_option_is_asked_for(void **state)
{
    struct options o = {0};
    struct error err;

    UNUSED(state);
    assert_int_equal(load(&needing, ARGS("--config", "/dev/null"), &o, NULL, NULL, &err),
                     ERR_INVALID);
    assert_has(err.message, "--key is required");
    write_file("key = k\n", 8);
    assert_ok(load(&needing, ARGS("--config", file_path), &o, NULL, NULL, &err), &err);
    assert_string_equal(o.user, "k");
    config_free(&needing, &o);
}

static void help_shows_type_range_and_default_in_a_column(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    UNUSED(state);
    config_print_help(out, &program);
    fclose(out);
    assert_has(text, "tester: tries options.\n\nUsage: tester serve|migrate [options]\n");
    assert_has(text, "  --listen ADDRESS ");
    assert_has(text, "[text; default 127.0.0.1:1]");
    assert_has(text, "  --threads N ");
    assert_has(text, "[number 1..64; default 2]");
    assert_has(text, "[debug, info, warn, error; default info]");
    assert_has(text, "  --config FILE ");
    size_t column = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 100);
        if (strncmp(line, "  --threads", 11) == 0)
            column = (size_t)(strstr(line, "How many") - line);
        if (strncmp(line, "  --dry", 7) == 0)
            assert_int_equal(strstr(line, "Changes") - line, column);
    }
    assert_true(column > 0);
    free(text);
}

static int status_of(const char *argument)
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        struct options o;
        struct error err;
        if (freopen("/dev/null", "w", stdout) == NULL)
            _exit(9);
        (void)!load(&program, ARGS(argument), &o, NULL, NULL, &err);
        _exit(8); /* config_load should have ended the program */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void help_and_version_end_well(void **state)
{
    UNUSED(state);
    assert_int_equal(status_of("--help"), 0);
    assert_int_equal(status_of("-h"), 0);
    assert_int_equal(status_of("--version"), 0);
    assert_int_equal(status_of("--versions"), 8);
}

static void markdown_has_a_row_an_option(void **state)
{
    UNUSED(state);
    char *text = config_format_markdown(&program);
    assert_has(text, "| `--threads` | number 1..64 | 2 | How many. |\n");
    assert_has(text, "| `--dry` | yes or no | no | Changes nothing. |\n");
    free(text);
}

static int make_file(void **state)
{
    UNUSED(state);
    int fd = mkstemp(file_path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    UNUSED(state);
    return unlink(file_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_nobody_says),
        cmocka_unit_test(the_command_line_wins_over_the_file_and_the_file_over_the_default),
        cmocka_unit_test(words_are_handed_on_in_order),
        cmocka_unit_test(a_bad_value_names_the_option_and_what_is_expected),
        cmocka_unit_test(an_unknown_option_is_told_its_nearest),
        cmocka_unit_test(a_file_error_names_file_and_line),
        cmocka_unit_test(a_line_longer_than_the_limit_is_an_error_not_a_cut_value),
        cmocka_unit_test(a_file_that_is_not_there_is_an_error),
        cmocka_unit_test(a_required_option_is_asked_for),
        cmocka_unit_test(help_shows_type_range_and_default_in_a_column),
        cmocka_unit_test(help_and_version_end_well),
        cmocka_unit_test(markdown_has_a_row_an_option),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
