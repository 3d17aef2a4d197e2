#include "tests/servers/servers.h"

#include "lib/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 60000
#define PAUSE_MS    10

void server_do(const char *verb, const char *a, const char *b, const char *c)
{
    int status = -1;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exec $HARPOON_TEST_DO \"$@\"", "sh", verb, a, b, c, NULL);
        _exit(127);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        fail_msg("%s %s: status %d", verb, a ? a : "", status);
}

const char *server_setting(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        fail_msg("%s is not set: run by tests/servers/run.py", name);
    return value;
}

void wait_until(bool (*condition)(void *ctx), void *ctx, const char *what)
{
    int64_t end = mono_ms() + PATIENCE_MS;
    while (!condition(ctx)) {
        if (mono_ms() > end)
            fail_msg("not within %d s: %s", PATIENCE_MS / 1000, what);
        clock_pause_ms(PAUSE_MS);
    }
}
