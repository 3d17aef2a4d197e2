#include "lib/http/http.h"

#include "tests/unit/lib/support.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MAX_BODY = 1000, MAX_HELD = 64 };

/* The handler under test answers at once with what it saw; what is under /held it keeps until the
 * test answers. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct http_request *held[MAX_HELD]; /* guarded by lock */
static size_t held_count;                   /* guarded by lock */
static _Atomic int seen;
static struct http_server *server;
static int port;

static void add_query(void *ctx, const char *name, const char *value)
{
    fprintf(ctx, "[%s=%s]", name, value);
}

static void answer_with_what_was_seen(struct http_request *r)
{
    char *text = NULL;
    size_t size = 0, body_size;
    FILE *out = open_memstream(&text, &size);
    const char *body = http_body(r, &body_size), *header = http_header(r, "x-TEST");

    fprintf(out, "%s %s ", http_method(r), http_path(r));
    http_query_each(r, add_query, out);
    fprintf(out, " header=%s body=%zu:%.*s.", header != NULL ? header : "-", body_size,
            body_size > 20 ? 20 : (int)body_size, body);
    fclose(out);
    http_reply_header(r, "X-Answer", "yes");
    http_reply(r, 200, text, size);
}

static void on_request(void *ctx, struct http_request *r)
{
    UNUSED(ctx);
    seen++;
    if (strcmp(http_path(r), "/empty") == 0) {
        http_reply(r, 204, NULL, 0);
        return;
    }
    if (strncmp(http_path(r), "/held", 5) != 0) {
        answer_with_what_was_seen(r);
        return;
    }
    pthread_mutex_lock(&lock);
    assert(held_count < MAX_HELD);
    held[held_count++] = r;
    pthread_cond_broadcast(&arrived);
    pthread_mutex_unlock(&lock);
}

static void on_refused(void *ctx, struct http_request *r, int status, const char *why)
{
    char *text = NULL;

    UNUSED(ctx);
    int size = asprintf(&text, "{\"refused\":\"%s\"}", why);
    http_reply(r, status, text, (size_t)size);
}

static struct http_server *start_server(int *ret_port, int timeout_s)
{
    char address[32];
    struct http_server *s = NULL;
    struct error err;
    struct http_options o = {.address = address,
                             .max_body = MAX_BODY,
                             .timeout_s = timeout_s,
                             .on_request = on_request,
                             .on_refused = on_refused};

    support_free_address(address, ret_port);
    assert_ok(http_server_start(&o, &s, &err), &err);
    return s;
}

/* Waits until `count` requests are held and takes them. */
static void take_held(size_t count, struct http_request **ret)
{
    pthread_mutex_lock(&lock);
    while (held_count < count)
        pthread_cond_wait(&arrived, &lock);
    memcpy(ret, held, count * sizeof *ret);
    held_count = 0;
    pthread_mutex_unlock(&lock);
}

static void expect(const char *bytes, size_t size, const char *const *parts)
{
    int fd = support_connect(port);

    support_send(fd, bytes, size);
    char *answer = support_read_all(fd);
    for (; *parts != NULL; parts++)
        assert_has(answer, *parts);
    free(answer);
}

#define EXPECT(bytes, ...)                                                                         \
    expect((bytes), sizeof(bytes) - 1, (const char *const[]){__VA_ARGS__, NULL})
#define END "Connection: close\r\n\r\n"

static void a_request_arrives_whole(void **state)
{
    UNUSED(state);
    EXPECT("POST /v2/a%20b/?q=x%20y+z&empty&q=%zz&%41=1 HTTP/1.1\r\nHost: a\r\nX-Test: v \r\n"
           "Content-Length: 3\r\n" END "abc",
           "HTTP/1.1 200", "X-Answer: yes",
           "POST /v2/a%20b/ [q=x y z][empty=][q=%zz][A=1] header=v body=3:abc.");
    EXPECT("GET http://host/path?a=b HTTP/1.1\r\nHost: a\r\n" END, "GET /path [a=b]");
    EXPECT("GET /old HTTP/1.0\r\n\r\n", "HTTP/1.1 200", "GET /old");
}

static void any_method_may_have_a_body(void **state)
{
    UNUSED(state);
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n" END "abc", "GET /", "body=3:abc.");
    EXPECT("DELETE /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" END
           "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
           "DELETE /x", "body=3:abc.");
}

static void a_head_is_answered_without_a_body(void **state)
{
    UNUSED(state);
    char *answer = support_request(port, "HEAD", "/x", "", NULL);
    assert_has(answer, "HTTP/1.1 200");
    assert_has(answer, "Content-Length: ");
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    free(answer);
}

static void an_answer_may_be_empty(void **state)
{
    UNUSED(state);
    char *answer = support_request(port, "DELETE", "/empty", "", NULL);
    assert_has(answer, "HTTP/1.1 204");
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    free(answer);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    UNUSED(state);
    int fd = support_connect(port);
    static const char both[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\n"
                               "Content-Length: 1\r\n\r\nxGET /3 HTTP/1.1\r\nHost: a\r\n" END;
    support_send(fd, both, sizeof both - 1);
    char *answer = support_read_all(fd);
    const char *one = strstr(answer, "GET /1"), *two = strstr(answer, "POST /2");
    const char *three = strstr(answer, "GET /3");
    assert_true(one != NULL && two != NULL && three != NULL && one < two && two < three);
    free(answer);
}

static void a_client_that_asks_first_is_told_to_go_on(void **state)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                               "Expect: 100-continue\r\n" END;
    char interim[64] = "";

    UNUSED(state);
    int fd = support_connect(port);
    support_send(fd, head, sizeof head - 1);
    for (size_t n = 0; strstr(interim, "\r\n\r\n") == NULL;) {
        ssize_t got = read(fd, interim + n, 1);
        assert_true(got == 1 && n + 2 < sizeof interim);
        n++;
    }
    assert_has(interim, "HTTP/1.1 100");
    support_send(fd, "abc", 3);
    char *answer = support_read_all(fd);
    assert_has(answer, "HTTP/1.1 200");
    assert_has(answer, "body=3:abc.");
    free(answer);
}

static void a_client_that_asks_first_with_too_much_is_not_told_to_go_on(void **state)
{
    UNUSED(state);
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n",
           "HTTP/1.1 413", "{\"refused\":\"the body is too large\"}");
}

static char *post_of(size_t size, bool chunked)
{
    int fd = support_connect(port);
    char head[200], *body = calloc(1, size + 1);

    assert_non_null(body);
    memset(body, 'x', size);
    int n = chunked ? snprintf(head, sizeof head,
                               "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" END
                               "%zx\r\n",
                               size)
                    : snprintf(head, sizeof head,
                               "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n" END, size);
    support_send(fd, head, (size_t)n);
    support_send(fd, body, size);
    if (chunked)
        support_send(fd, "\r\n0\r\n\r\n", 7);
    free(body);
    return support_read_all(fd);
}

static void the_largest_body_passes_and_one_byte_more_is_refused(void **state)
{
    UNUSED(state);
    for (int chunked = 0; chunked < 2; chunked++) {
        char *answer = post_of(MAX_BODY, chunked != 0);
        assert_has(answer, "HTTP/1.1 200");
        assert_has(answer, "body=1000:");
        free(answer);
        int before = seen;
        answer = post_of(MAX_BODY + 1, chunked != 0);
        assert_has(answer, "HTTP/1.1 413");
        free(answer);
        answer = post_of(3000000, chunked != 0); /* read to its end, so that the answer arrives */
        assert_has(answer, "HTTP/1.1 413");
        free(answer);
        assert_int_equal(seen, before);
    }
}

static void framing_that_can_be_read_in_two_ways_is_refused(void **state)
{
    int before = seen;

    UNUSED(state);
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
           "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
           "HTTP/1.1 400", "both Content-Length and Transfer-Encoding", "Connection: close");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
           "HTTP/1.1 400", "more than one Content-Length");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
           "HTTP/1.1 400");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\tchunked\r\n"
           "Content-Length: 1\r\n\r\nx",
           "HTTP/1.1 400", "folded");
    EXPECT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400");
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400");
    assert_int_equal(seen, before);
}

static void foreign_characters_in_the_head_are_refused(void **state)
{
    int before = seen;

    UNUSED(state);
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nX\001y: 1\r\n\r\n", "HTTP/1.1 400", "header's name");
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nXy : 1\r\n\r\n", "HTTP/1.1 400", "header's name");
    EXPECT("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "HTTP/1.1 400");
    EXPECT("GET /\001 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400", "request line");
    EXPECT("GET /?a=%00 HTTP/1.1\r\nHost: a\r\n" END, "HTTP/1.1 400", "zero byte");
    assert_int_equal(seen, before);
}

static void a_head_too_long_or_with_too_many_fields_is_refused(void **state)
{
    char *text = NULL;
    size_t size = 0;

    UNUSED(state);
    FILE *out = open_memstream(&text, &size);
    fprintf(out, "X: %020000d\r\n", 1);
    fflush(out);
    char *answer = support_request(port, "GET", "/", text, NULL);
    assert_has(answer, "HTTP/1.1 431");
    assert_has(answer, "{\"refused\":");
    free(answer);
    rewind(out);
    for (int i = 0; i < 101; i++)
        fprintf(out, "X-%d: 1\r\n", i);
    fclose(out);
    text[size] = 0;
    answer = support_request(port, "GET", "/", text, NULL);
    assert_has(answer, "HTTP/1.1 431");
    free(answer);
    free(text);
}

static void an_answer_may_come_later_from_another_thread(void **state)
{
    enum { N = 20 };
    struct http_request *waiting[N];
    struct http_stats stats;
    int fds[N];

    UNUSED(state);
    for (int i = 0; i < N; i++) {
        static const char text[] =
            "POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" END "hi";
        fds[i] = support_connect(port);
        support_send(fds[i], text, sizeof text - 1);
    }
    take_held(N, waiting);
    http_server_stats_get(server, &stats);
    assert_int_equal(stats.waiting, N);
    for (int i = N - 1; i >= 0; i--)
        answer_with_what_was_seen(waiting[i]);
    for (int i = 0; i < N; i++) {
        char *answer = support_read_all(fds[i]);
        assert_has(answer, "POST /held  header=- body=2:hi.");
        free(answer);
    }
    http_server_stats_get(server, &stats);
    assert_int_equal(stats.waiting, 0);
}

static void an_answer_to_a_client_that_left_is_dropped(void **state)
{
    struct http_request *waiting[1];

    UNUSED(state);
    int fd = support_connect(port);
    support_send(fd, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n", 31);
    take_held(1, waiting);
    close(fd);
    answer_with_what_was_seen(waiting[0]);
    char *answer = support_request(port, "GET", "/after", "", NULL);
    assert_has(answer, "GET /after");
    free(answer);
}

static void *answer_thread(void *ctx)
{
    answer_with_what_was_seen(ctx);
    return NULL;
}

static void stop_waits_for_answers_in_progress(void **state)
{
    struct http_request *waiting[1];
    int at;
    struct http_server *s = start_server(&at, 0);
    int fd = support_connect(at);
    pthread_t thread;

    UNUSED(state);
    support_send(fd, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n", 31);
    take_held(1, waiting);
    assert_int_equal(pthread_create(&thread, NULL, answer_thread, waiting[0]), 0);
    assert_null(http_server_stop(s, 60000));
    pthread_join(thread, NULL);
    char *answer = support_read_all(fd);
    assert_has(answer, "GET /held");
    free(answer);
}

static void stop_cuts_who_is_never_answered_and_a_late_answer_does_no_harm(void **state)
{
    struct http_request *waiting[3];
    int at;
    struct http_server *s = start_server(&at, 0);
    int fds[3];
    size_t size;

    UNUSED(state);
    for (int i = 0; i < 3; i++) {
        fds[i] = support_connect(at);
        support_send(fds[i], "GET /held HTTP/1.1\r\nHost: a\r\n\r\n", 31);
    }
    take_held(3, waiting);
    assert_null(http_server_stop(s, 0));
    for (int i = 0; i < 3; i++) {
        char *answer = support_read_all(fds[i]);
        assert_string_equal(answer, "");
        free(answer);
        assert_string_equal(http_path(waiting[i]), "/held");
        assert_null(http_header(waiting[i], "X-Test"));
        (void)http_body(waiting[i], &size);
        answer_with_what_was_seen(waiting[i]);
    }
}

/* A byte now and then is activity to the library; the whole request has a limit all the same. */
static void a_request_that_drips_is_ended(void **state)
{
    int at;
    struct http_server *s = start_server(&at, 1);
    int fd = support_connect(at), sent = 0;
    char byte;

    UNUSED(state);
    support_send(fd, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    struct timeval tick = {.tv_usec = 200000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick), 0);
    ssize_t n = -1;
    while (n < 0 && sent++ < 100) { /* each read waits for a tick */
        support_send(fd, "x", 1);
        n = recv(fd, &byte, 1, 0);
        if (n < 0 && errno != EAGAIN)
            n = 0; /* reset: ended as well */
    }
    assert_int_equal(n, 0);
    close(fd);
    assert_null(http_server_stop(s, 1000));
}

static int start(void **state)
{
    UNUSED(state);
    server = start_server(&port, 0);
    return 0;
}

static int stop(void **state)
{
    UNUSED(state);
    return http_server_stop(server, 1000) == NULL ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_arrives_whole),
        cmocka_unit_test(any_method_may_have_a_body),
        cmocka_unit_test(a_head_is_answered_without_a_body),
        cmocka_unit_test(an_answer_may_be_empty),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_client_that_asks_first_is_told_to_go_on),
        cmocka_unit_test(a_client_that_asks_first_with_too_much_is_not_told_to_go_on),
        cmocka_unit_test(the_largest_body_passes_and_one_byte_more_is_refused),
        cmocka_unit_test(framing_that_can_be_read_in_two_ways_is_refused),
        cmocka_unit_test(foreign_characters_in_the_head_are_refused),
        cmocka_unit_test(a_head_too_long_or_with_too_many_fields_is_refused),
        cmocka_unit_test(an_answer_may_come_later_from_another_thread),
        cmocka_unit_test(an_answer_to_a_client_that_left_is_dropped),
        cmocka_unit_test(stop_waits_for_answers_in_progress),
        cmocka_unit_test(stop_cuts_who_is_never_answered_and_a_late_answer_does_no_harm),
        cmocka_unit_test(a_request_that_drips_is_ended),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
