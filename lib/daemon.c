#include "lib/daemon.h"

#include "lib/address.h"
#include "lib/metrics.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CONNECTIONS = 64, TIMEOUT_S = 10 };

struct daemon {
    struct MHD_Daemon *http;
    struct daemon_check *checks;
    size_t check_count;
    _Atomic bool stopping;
};

struct answer {
    unsigned status;
    char *text; /* owned */
};

void daemon_block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

int daemon_wait(void)
{
    sigset_t set;
    int which = 0;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    while (sigwait(&set, &which) != 0)
        ;
    return which;
}

/* "ready\n" or "not ready\n", then a line each check that failed, or each when `verbose`. */
static struct answer answer_ready(struct daemon *d, bool verbose)
{
    struct answer a = {.status = MHD_HTTP_OK};
    char *lines = NULL;
    size_t lines_size = 0, size = 0;
    bool stopping = atomic_load(&d->stopping);
    FILE *out = open_memstream(&lines, &lines_size);

    if (out == NULL)
        return (struct answer){.status = MHD_HTTP_SERVICE_UNAVAILABLE};
    for (size_t i = 0; i < d->check_count; i++) {
        char why[200] = "";
        bool fine = d->checks[i].ready(d->checks[i].ctx, why, sizeof why);
        if (!fine)
            a.status = MHD_HTTP_SERVICE_UNAVAILABLE;
        if (!fine || verbose)
            fprintf(out, "%s %s%s%s\n", fine ? "[+]" : "[-]", d->checks[i].name,
                    fine ? " ok" : " failed: ", fine ? "" : why);
    }
    if (stopping) {
        a.status = MHD_HTTP_SERVICE_UNAVAILABLE;
        fputs("[-] stopping\n", out);
    }
    fclose(out);
    out = open_memstream(&a.text, &size);
    if (out != NULL) {
        fprintf(out, "%s%s\n", lines, a.status == MHD_HTTP_OK ? "ready" : "not ready");
        fclose(out);
    }
    free(lines);
    return a;
}

static struct answer answer_path(struct daemon *d, struct MHD_Connection *c, const char *path)
{
    if (strcmp(path, "/livez") == 0)
        return (struct answer){MHD_HTTP_OK, strdup("alive\n")};
    if (strcmp(path, "/metrics") == 0)
        return (struct answer){MHD_HTTP_OK, metrics_format()};
    if (strcmp(path, "/readyz") == 0) {
        const char *value = NULL;
        size_t size = 0;
        bool verbose = MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND, "verbose", 7, &value,
                                                     &size) == MHD_YES;
        return answer_ready(d, verbose);
    }
    return (struct answer){MHD_HTTP_NOT_FOUND, strdup("not found: /metrics, /livez, /readyz\n")};
}

static enum MHD_Result reply(struct MHD_Connection *c, struct answer a, const char *path)
{
    const char *type = strcmp(path, "/metrics") == 0 ? "text/plain; version=0.0.4; charset=utf-8"
                                                     : "text/plain; charset=utf-8";
    if (a.text == NULL)
        return MHD_NO;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(a.text), a.text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(a.text);
        return MHD_NO;
    }
    (void)MHD_add_response_header(r, "Content-Type", type);
    (void)MHD_add_response_header(r, "Cache-Control", "no-store");
    if (a.status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(r, "Allow", "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(c, a.status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    static int seen;

    UNUSED(version);
    UNUSED(data);
    if (*state == NULL) { /* the headers: the answer comes when the request is whole */
        *state = &seen;
        return MHD_YES;
    }
    if (*size > 0) { /* a body nobody asked for */
        *size = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return reply(c, (struct answer){MHD_HTTP_METHOD_NOT_ALLOWED, strdup("only GET and HEAD\n")},
                     path);
    return reply(c, answer_path(ctx, c, path), path);
}

int daemon_start(const char *address, const struct daemon_check *checks, size_t count,
                 struct daemon **ret, struct error *err)
{
    struct sockaddr_storage at;
    socklen_t at_size;
    int r = address_parse(address, &at, &at_size, err);
    if (r < 0)
        return error_in(err, "admin port");
    struct daemon *d = calloc(1, sizeof *d);
    if (d == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    d->checks = calloc(count + 1, sizeof *checks);
    if (d->checks == NULL) {
        free(d);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    if (count > 0)
        memcpy(d->checks, checks, count * sizeof *checks);
    d->check_count = count;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | (at.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0u);
    d->http = MHD_start_daemon(flags, 0, NULL, NULL, on_request, d, MHD_OPTION_SOCK_ADDR,
                               (struct sockaddr *)&at, MHD_OPTION_CONNECTION_LIMIT,
                               (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
                               (unsigned)TIMEOUT_S, MHD_OPTION_END);
    if (d->http == NULL) {
        (void)daemon_stop(d);
        return error_set(err, ERR_UNAVAILABLE, "admin port: cannot listen on %s", address);
    }
    *ret = d;
    return 0;
}

void daemon_set_stopping(struct daemon *d)
{
    atomic_store(&d->stopping, true);
}

struct daemon *daemon_stop(struct daemon *d)
{
    if (d == NULL)
        return NULL;
    if (d->http != NULL)
        MHD_stop_daemon(d->http);
    free(d->checks);
    free(d);
    return NULL;
}
