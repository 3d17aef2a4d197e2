#include "hypervisor-agent/driver/program.h"

#include "tests/unit/hypervisor-agent/driver/support.h"

#include <stdlib.h>
#include <string.h>

static const struct program_limits LIMITS = {.timeout_ms = 30000,
                                             .cpu_s = 10,
                                             .memory_bytes = 1 << 30,
                                             .output_bytes = 4096};

static void output_of_a_program_is_what_it_wrote(void **state)
{
    const char *const argv[] = {"printf", "%s\\n", "a b", "$HOME; rm -rf \"x\" `id` *", NULL};
    struct error err;
    char *output = NULL;

    (void)state;
    assert_int_equal(program_run(argv, &LIMITS, &output, &err), 0);
    assert_string_equal(output, "a b\n$HOME; rm -rf \"x\" `id` *\n");
    free(output);
}

static void a_failure_carries_the_last_complaint(void **state)
{
    const char *const argv[] = {"sh", "-c", "seq 1 1000 >&2; printf 'no\\033way\\n' >&2; exit 3",
                                NULL};
    struct error err;
    char *output = NULL;

    (void)state;
    assert_int_equal(program_run(argv, &LIMITS, &output, &err), ERR_INVALID);
    assert_null(output);
    assert_non_null(strstr(err.message, "sh: exit status 3: "));
    assert_non_null(strstr(err.message, "1000 no way"));
}

static void a_program_that_is_not_there_is_unavailable(void **state)
{
    const char *const argv[] = {"no-such-program-anywhere", NULL};
    struct error err;

    (void)state;
    assert_int_equal(program_run(argv, &LIMITS, NULL, &err), ERR_UNAVAILABLE);
}

static void a_program_that_does_not_end_is_killed(void **state)
{
    const char *const argv[] = {"sleep", "1000", NULL};
    struct program_limits limits = LIMITS;
    struct error err;

    (void)state;
    limits.timeout_ms = 20;
    assert_int_equal(program_run(argv, &limits, NULL, &err), ERR_DEADLINE);
}

static void more_output_than_asked_for_is_an_error(void **state)
{
    const char *const exactly[] = {"printf", "%4096s", "x", NULL};
    const char *const more[] = {"printf", "%4097s", "x", NULL};
    struct error err;
    char *output = NULL;

    (void)state;
    assert_int_equal(program_run(exactly, &LIMITS, &output, &err), 0);
    assert_int_equal(strlen(output), 4096);
    free(output);
    assert_int_equal(program_run(more, &LIMITS, NULL, &err), ERR_TOO_LARGE);
}

static void processor_and_memory_are_limited(void **state)
{
    const char *const spin[] = {"sh", "-c", "while :; do :; done", NULL};
    const char *const show[] = {"sh", "-c", "ulimit -v; ulimit -c; ulimit -t", NULL};
    struct program_limits limits = LIMITS;
    struct error err;
    char *output = NULL;

    (void)state;
    assert_int_equal(program_run(show, &limits, &output, &err), 0);
    assert_string_equal(output, "1048576\n0\n10\n");
    free(output);
    limits.cpu_s = 1;
    assert_int_equal(program_run(spin, &limits, NULL, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "signal"));
}

static void a_program_inherits_nothing_but_its_three_files(void **state)
{
    const char *const argv[] = {"sh", "-c", "cat; env | sort | cut -d= -f1; ls /proc/self/fd",
                                NULL};
    struct error err;
    char *output = NULL;

    (void)state;
    setenv("SECRET", "token", 1);
    assert_int_equal(program_run(argv, &LIMITS, &output, &err), 0);
    assert_null(strstr(output, "SECRET"));
    assert_non_null(strstr(output, "LC_ALL"));
    assert_non_null(strstr(output, "\n0\n1\n2\n3\n")); /* 3: ls reads the folder */
    assert_null(strstr(output, "\n4\n"));
    free(output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_of_a_program_is_what_it_wrote),
        cmocka_unit_test(a_failure_carries_the_last_complaint),
        cmocka_unit_test(a_program_that_is_not_there_is_unavailable),
        cmocka_unit_test(a_program_that_does_not_end_is_killed),
        cmocka_unit_test(more_output_than_asked_for_is_an_error),
        cmocka_unit_test(processor_and_memory_are_limited),
        cmocka_unit_test(a_program_inherits_nothing_but_its_three_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
