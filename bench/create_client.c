/* Posts creates through the public API on keep-alive connections and tells when each was accepted.
 * One thread. create_client --address HOST:PORT --token-file FILE --region SLUG --count N
 * --concurrency C
 *                 [--rate PER_S] [--samples FILE]
 * With a rate the clock starts when a request is due, not when a connection was free for it.
 * Whoever is refused with 429 or 503 pauses and asks again; other answers count as failed.
 * `samples`: one line for each create, `droplet sent_unix_ms accepted_us`. Prints one JSON object.
 */
#include "lib/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_BYTES = 16384,
    REQUEST_BYTES = 2048,
    PAUSE_US = 20000, /* after a refusal */
    FAILURES_MAX = 1000,
};

enum connection_state { CLOSED, IDLE, WAITING, PAUSED };

struct connection {
    int fd;
    enum connection_state state;
    size_t number; /* of the create it works on */
    int64_t due_us, sent_us, until_us;
    int64_t sent_unix_ms;
    size_t got;
    char answer[ANSWER_BYTES];
};

struct sample {
    uint64_t droplet; /* 0: not accepted */
    int64_t sent_unix_ms, accepted_us;
};

struct bench {
    const char *region;
    char token[512];
    struct sockaddr_in to;
    size_t count, concurrency;
    double rate;
    FILE *samples_to;

    struct connection *connections;
    struct sample *samples;
    int epoll;
    int64_t began_us, ended_us;
    size_t handed_out, accepted, failed, refused;
    int64_t *refused_us; /* a ring of the last ones, as many as creates */
    char first_failure[256];
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
    fprintf(stderr, "create_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- a connection ---- */
static void connect_to(struct bench *b, struct connection *c)
{
    int on = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&b->to, sizeof b->to) != 0)
        die("connecting");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
        die("epoll");
    c->state = IDLE;
}

static void disconnect(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
}

static void send_create(struct bench *b, struct connection *c)
{
    char body[512], request[REQUEST_BYTES];
    int size = snprintf(body, sizeof body,
                        "{\"name\":\"bench-%zu\",\"region\":\"%s\",\"size\":\"s-1vcpu-1gb\","
                        "\"image\":\"debian-12-x64\"}",
                        c->number, b->region);
    int n = snprintf(request, sizeof request,
                     "POST /v2/droplets HTTP/1.1\r\nHost: harpoon\r\nAuthorization: Bearer %s\r\n"
                     "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                     b->token, size, body);

    if (c->state == CLOSED)
        connect_to(b, c);
    c->got = 0;
    c->sent_us = now_us();
    c->sent_unix_ms = unix_ms();
    if (write(c->fd, request, (size_t)n) != n)
        die("sending");
    c->state = WAITING;
}

/* The connection's next create, if one is due. */
static void hand_out(struct bench *b, struct connection *c, int64_t now)
{
    if (b->handed_out == b->count)
        return;
    int64_t due =
        b->rate > 0 ? b->began_us + (int64_t)((double)b->handed_out * 1e6 / b->rate) : now;
    if (due > now)
        return;
    c->number = b->handed_out++;
    c->due_us = due;
    send_create(b, c);
    if (b->rate > 0)
        c->sent_unix_ms -= (c->sent_us - due) / 1000;
}

/* ---- answers ---- */
static uint64_t find_droplet(const char *body)
{
    const char *at = strstr(body, "\"droplet\":");

    at = at != NULL ? strstr(at, "\"id\":") : NULL;
    return at != NULL ? strtoull(at + 5, NULL, 10) : 0;
}

static void take_answer(struct bench *b, struct connection *c, const char *body)
{
    int status = atoi(c->answer + sizeof "HTTP/1.1");
    int64_t now = now_us();
    struct sample *s = &b->samples[c->number];

    c->state = IDLE;
    if (status == 202 && (s->droplet = find_droplet(body)) != 0) {
        s->sent_unix_ms = c->sent_unix_ms;
        s->accepted_us = now - c->due_us;
        b->accepted++;
        b->ended_us = now;
        return;
    }
    if (status == 429 || status == 503) {
        b->refused_us[b->refused++ % b->count] = now - c->sent_us;
        c->state = PAUSED;
        c->until_us = now + PAUSE_US;
        return;
    }
    if (b->failed++ == 0)
        snprintf(b->first_failure, sizeof b->first_failure, "%.200s", c->answer);
    if (b->failed > FAILURES_MAX)
        die("too many failures");
}

/* Whether the whole answer is there; its body is then *ret. */
static bool is_whole(struct connection *c, char **ret)
{
    c->answer[c->got] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    char *length = end != NULL ? strcasestr(c->answer, "\r\ncontent-length:") : NULL;

    if (length == NULL || length > end)
        return false;
    *ret = end + 4;
    return c->got >= (size_t)(*ret - c->answer) + strtoul(length + 17, NULL, 10);
}

static void on_readable(struct bench *b, struct connection *c)
{
    char *body = NULL;
    ssize_t n = read(c->fd, c->answer + c->got, sizeof c->answer - 1 - c->got);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        bool was_waiting = c->state == WAITING;
        disconnect(c);
        if (was_waiting && b->failed++ == 0)
            snprintf(b->first_failure, sizeof b->first_failure, "the connection was closed");
        return;
    }
    c->got += (size_t)n;
    if (c->state == WAITING && is_whole(c, &body))
        take_answer(b, c, body);
}

/* ---- the run ---- */
static void start_due(struct bench *b)
{
    int64_t now = now_us();

    for (size_t i = 0; i < b->concurrency; i++) {
        struct connection *c = &b->connections[i];
        if (c->state == PAUSED && c->until_us <= now)
            send_create(b, c); /* the same create again */
        else if (c->state == IDLE || c->state == CLOSED)
            hand_out(b, c, now);
    }
}

static void run(struct bench *b)
{
    struct epoll_event events[256];

    b->began_us = b->ended_us = now_us();
    while (b->accepted + b->failed < b->count) {
        start_due(b);
        int n = epoll_wait(b->epoll, events, 256, b->rate > 0 ? 1 : 5);
        for (int i = 0; i < n; i++)
            on_readable(b, events[i].data.ptr);
    }
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile_ms(const int64_t *sorted, size_t count, double p)
{
    return count > 0 ? (double)sorted[(size_t)((double)(count - 1) * p)] / 1000 : 0;
}

static void report(struct bench *b)
{
    int64_t *us = calloc(b->count, sizeof *us);
    size_t n = 0, refused = b->refused < b->count ? b->refused : b->count;
    double seconds = (double)(b->ended_us - b->began_us) / 1e6;

    if (us == NULL)
        die("memory");
    for (size_t i = 0; i < b->count; i++) {
        const struct sample *s = &b->samples[i];
        if (s->droplet == 0)
            continue;
        us[n++] = s->accepted_us;
        if (b->samples_to != NULL)
            fprintf(b->samples_to, "%" PRIu64 " %" PRIi64 " %" PRIi64 "\n", s->droplet,
                    s->sent_unix_ms, s->accepted_us);
    }
    qsort(us, n, sizeof *us, compare_i64);
    qsort(b->refused_us, refused, sizeof *us, compare_i64);
    printf("{\"accepted\": %zu, \"not_accepted\": %zu, \"refused\": %zu, \"accept_s\": %.3f, "
           "\"accepted_per_s\": %.1f, \"latency_accepted_p50_ms\": %.2f, "
           "\"latency_accepted_p95_ms\": %.2f, \"latency_accepted_p99_ms\": %.2f, "
           "\"latency_accepted_max_ms\": %.2f, \"latency_refused_p99_ms\": %.2f}\n",
           b->accepted, b->failed, b->refused, seconds, (double)b->accepted / seconds,
           percentile_ms(us, n, 0.5), percentile_ms(us, n, 0.95), percentile_ms(us, n, 0.99),
           percentile_ms(us, n, 1), percentile_ms(b->refused_us, refused, 0.99));
    if (b->failed > 0)
        fprintf(stderr, "create_client: the first failure: %s\n", b->first_failure);
    free(us);
}

static void read_token(struct bench *b, const char *path)
{
    FILE *f = fopen(path, "re");

    if (f == NULL || fgets(b->token, sizeof b->token, f) == NULL)
        die(path);
    b->token[strcspn(b->token, "\r\n")] = 0;
    fclose(f);
}

static void read_address(struct bench *b, char *text)
{
    char *port = strchr(text, ':');

    if (port == NULL)
        die("--address HOST:PORT");
    *port++ = 0;
    b->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, text, &b->to.sin_addr) != 1)
        die("--address");
}

static void read_options(struct bench *b, int argc, char **argv)
{
    static const struct option options[] = {
        {"address", 1, NULL, 'a'},     {"token-file", 1, NULL, 't'},
        {"region", 1, NULL, 'r'},      {"count", 1, NULL, 'n'},
        {"concurrency", 1, NULL, 'c'}, {"rate", 1, NULL, 'R'},
        {"samples", 1, NULL, 's'},     {NULL, 0, NULL, 0},
    };
    int o;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (o) {
        case 'a':
            read_address(b, optarg);
            break;
        case 't':
            read_token(b, optarg);
            break;
        case 'r':
            b->region = optarg;
            break;
        case 'n':
            b->count = strtoul(optarg, NULL, 10);
            break;
        case 'c':
            b->concurrency = strtoul(optarg, NULL, 10);
            break;
        case 'R':
            b->rate = strtod(optarg, NULL);
            break;
        case 's':
            b->samples_to = fopen(optarg, "we");
            if (b->samples_to == NULL)
                die(optarg);
            break;
        default:
            exit(2);
        }
    }
    if (b->token[0] == 0 || b->to.sin_port == 0 || b->count == 0 || b->concurrency == 0)
        die("--address, --token-file, --count and --concurrency are needed");
}

int main(int argc, char **argv)
{
    struct bench b = {.region = "nyc3", .epoll = epoll_create1(EPOLL_CLOEXEC)};

    read_options(&b, argc, argv);
    b.connections = calloc(b.concurrency, sizeof *b.connections);
    b.samples = calloc(b.count, sizeof *b.samples);
    b.refused_us = calloc(b.count, sizeof *b.refused_us);
    if (b.connections == NULL || b.samples == NULL || b.refused_us == NULL)
        die("memory");
    for (size_t i = 0; i < b.concurrency; i++)
        connect_to(&b, &b.connections[i]);
    run(&b);
    report(&b);
    if (b.samples_to != NULL && fclose(b.samples_to) != 0)
        die("samples");
    free(b.connections);
    free(b.samples);
    free(b.refused_us);
    return b.failed > 0 ? 1 : 0;
}
