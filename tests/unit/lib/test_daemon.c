#include "lib/daemon.h"

#include "lib/metrics.h"
#include "tests/unit/lib/support.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic bool database_is_there = true;
static struct daemon *running;
static int port;

static bool database_ready(void *ctx, char *why, size_t why_size)
{
    (void)snprintf(why, why_size, "%s", (const char *)ctx);
    return database_is_there;
}

static void expect(const char *method, const char *path, const char *status, const char *part)
{
    char *answer = support_request(port, method, path, "", NULL);

    assert_has(answer, status);
    assert_has(answer, part);
    free(answer);
}

static void a_living_process_says_so(void **state)
{
    UNUSED(state);
    expect("GET", "/livez", "HTTP/1.1 200", "\r\n\r\nalive\n");
    expect("HEAD", "/livez", "HTTP/1.1 200", "text/plain");
}

static void metrics_are_served_as_text(void **state)
{
    UNUSED(state);
    expect("GET", "/metrics", "text/plain; version=0.0.4", "\nprocess_open_fds ");
}

static void readiness_follows_the_checks(void **state)
{
    UNUSED(state);
    expect("GET", "/readyz", "HTTP/1.1 200", "\r\n\r\nready\n");
    expect("GET", "/readyz?verbose", "HTTP/1.1 200", "[+] mysql ok\nready\n");
    database_is_there = false;
    expect("GET", "/readyz", "HTTP/1.1 503", "[-] mysql failed: no answer\nnot ready\n");
    database_is_there = true;
    expect("GET", "/readyz", "HTTP/1.1 200", "ready\n");
}

static void other_paths_and_methods_are_refused(void **state)
{
    UNUSED(state);
    expect("GET", "/", "HTTP/1.1 404", "/readyz");
    expect("POST", "/metrics", "HTTP/1.1 405", "Allow: GET, HEAD");
    char *answer = support_request(port, "POST", "/livez", "", "body");
    assert_has(answer, "HTTP/1.1 405");
    free(answer);
}

static void an_address_in_use_is_an_error(void **state)
{
    struct daemon *second = NULL;
    struct error err;
    char address[32];

    UNUSED(state);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", port);
    assert_int_equal(daemon_start(address, NULL, 0, &second, &err), ERR_UNAVAILABLE);
    assert_has(err.message, address);
    assert_int_equal(daemon_start("nonsense", NULL, 0, &second, &err), ERR_INVALID);
    assert_null(second);
}

static void a_stopping_daemon_is_not_ready(void **state)
{
    UNUSED(state);
    daemon_set_stopping(running);
    expect("GET", "/readyz", "HTTP/1.1 503", "[-] stopping\nnot ready\n");
    expect("GET", "/livez", "HTTP/1.1 200", "alive\n");
}

static void a_signal_is_waited_for(void **state)
{
    UNUSED(state);
    assert_int_equal(kill(getpid(), SIGTERM), 0); /* blocked: pending until waited for */
    assert_int_equal(daemon_wait(), SIGTERM);
    assert_int_equal(kill(getpid(), SIGINT), 0);
    assert_int_equal(daemon_wait(), SIGINT);
    assert_int_equal(kill(getpid(), SIGPIPE), 0); /* ignored */
}

static int start(void **state)
{
    static const struct daemon_check checks[] = {{"mysql", database_ready, "no answer"}};
    struct error err;
    char address[32];

    UNUSED(state);
    daemon_block_signals();
    metrics_init(NULL, 0);
    support_free_address(address, &port);
    return daemon_start(address, checks, ARRAY_LEN(checks), &running, &err);
}

static int stop(void **state)
{
    UNUSED(state);
    running = daemon_stop(running);
    return running == NULL ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_living_process_says_so),
        cmocka_unit_test(metrics_are_served_as_text),
        cmocka_unit_test(readiness_follows_the_checks),
        cmocka_unit_test(other_paths_and_methods_are_refused),
        cmocka_unit_test(an_address_in_use_is_an_error),
        cmocka_unit_test(a_stopping_daemon_is_not_ready),
        cmocka_unit_test(a_signal_is_waited_for),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
