#include "lib/http/http.h"

#include "lib/address.h"
#include "lib/clock.h"
#include "lib/http/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Threads: the library's loop threads call the on_… functions below; the janitor ends connections
 * that take too long, which the library's own timeout does not see when a byte comes now and then.
 * Locks: server->lock, then request->lock. */
struct http_server {
    struct http_options options;
    struct MHD_Daemon *mhd;
    pthread_t janitor;
    _Atomic uint64_t requests, refused;

    pthread_mutex_t lock;
    pthread_cond_t changed;      /* something was answered */
    pthread_cond_t janitor_wake; /* the janitor ends: answers do not wake it */
    /* guarded by lock */
    struct http_connection *connections;
    unsigned connection_count;
    unsigned waiting;   /* handed over, not answered */
    unsigned in_answer; /* handed over, not yet sent to the end */
    bool stopping;      /* answers close their connection */
    bool cutting;       /* nothing is handed over any more */
    bool janitor_ends;
};

/* ---- connections ---- */
static void add_connection(struct http_server *s, struct MHD_Connection *c, void **socket_context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_connection *con = calloc(1, sizeof *con);

    *socket_context = con;
    if (con == NULL || info == NULL)
        return;
    con->fd = info->connect_fd;
    con->since_ms = mono_ms();
    LOCK_SCOPE(&s->lock);
    con->next = s->connections;
    if (con->next != NULL)
        con->next->previous = con;
    s->connections = con;
    s->connection_count++;
}

static void drop_connection(struct http_server *s, struct http_connection *con)
{
    if (con == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    if (con->next != NULL)
        con->next->previous = con->previous;
    if (con->previous != NULL)
        con->previous->next = con->next;
    else
        s->connections = con->next;
    s->connection_count--;
    pthread_mutex_unlock(&s->lock);
    free(con);
}

/* The library calls it before it closes the descriptor. */
static void on_connection(void *ctx, struct MHD_Connection *c, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        add_connection(ctx, c, socket_context);
    else
        drop_connection(ctx, *socket_context);
}

static void set_phase_locked(struct http_connection *con, int phase)
{
    con->phase = phase;
    con->since_ms = mono_ms();
}

/* Well-behaved clients finish within the timeout after at most a timeout of idleness. */
static void end_slow_ones_locked(struct http_server *s)
{
    int64_t oldest = mono_ms() - 2 * (int64_t)s->options.timeout_s * 1000;

    for (struct http_connection *con = s->connections; con != NULL; con = con->next)
        if (con->phase != HTTP_WAITING && con->since_ms < oldest)
            (void)shutdown(con->fd, SHUT_RDWR);
}

static void *janitor(void *ctx)
{
    struct http_server *s = ctx;

    pthread_mutex_lock(&s->lock);
    while (!s->janitor_ends) {
        int64_t at_ms = mono_ms() + 1000;
        struct timespec at = {.tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000L};
        (void)pthread_cond_timedwait(&s->janitor_wake, &s->lock, &at);
        end_slow_ones_locked(s);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- requests ---- */
/* First of all, with the target as it was sent. Its result is the request's context. */
static void *on_target(void *ctx, const char *target, struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_request *r = http_request_new(target);

    if (r == NULL)
        return NULL;
    r->server = ctx;
    r->mhd = c;
    r->connection = info != NULL ? info->socket_context : NULL;
    return r;
}

static enum MHD_Result send_answer(struct http_server *s, struct http_request *r)
{
    if (r->response == NULL) /* out of memory */
        return MHD_NO;
    pthread_mutex_lock(&s->lock);
    bool close_it = s->stopping || r->refused_at_once;
    s->waiting--;
    r->connection->waiting = NULL;
    set_phase_locked(r->connection, HTTP_SENDING);
    pthread_mutex_unlock(&s->lock);
    if (close_it)
        (void)MHD_add_response_header(r->response, "Connection", "close");
    return MHD_queue_response(r->mhd, (unsigned)r->status, r->response);
}

/* Sends the answer that is there, or suspends the connection until it is. */
static enum MHD_Result answer_or_wait(struct http_server *s, struct http_request *r)
{
    pthread_mutex_lock(&r->lock);
    bool answered = r->answered, cut = r->cut;
    if (!answered && !cut) {
        r->suspended = true;
        MHD_suspend_connection(r->mhd);
    }
    pthread_mutex_unlock(&r->lock);
    if (cut)
        return MHD_NO;
    return answered ? send_answer(s, r) : MHD_YES;
}

static bool register_waiting(struct http_server *s, struct http_request *r)
{
    LOCK_SCOPE(&s->lock);
    if (s->cutting)
        return false;
    s->waiting++;
    s->in_answer++;
    r->connection->waiting = r;
    set_phase_locked(r->connection, HTTP_WAITING);
    return true;
}

static enum MHD_Result hand_over(struct http_server *s, struct http_request *r)
{
    if (!register_waiting(s, r))
        return MHD_NO;
    r->handed = true;
    r->holders++; /* the handler's; nobody else has seen it yet */
    if (r->refused_status != 0) {
        atomic_fetch_add(&s->refused, 1);
        s->options.on_refused(s->options.ctx, r, r->refused_status, r->refused_why);
    } else {
        atomic_fetch_add(&s->requests, 1);
        s->options.on_request(s->options.ctx, r);
    }
    return answer_or_wait(s, r);
}

static enum MHD_Result begin(struct http_server *s, struct http_request *r, const char *method,
                             const char *version)
{
    r->begun = true;
    if (http_request_read_head(r, method, version, s->options.max_body) < 0)
        return MHD_NO;
    return r->refused_at_once ? hand_over(s, r) : MHD_YES;
}

/* The library: once with the head, then with each piece of the body, then at its end; and again
 * after each resume. */
static enum MHD_Result on_step(void *ctx, struct MHD_Connection *c, const char *path,
                               const char *method, const char *version, const char *data,
                               size_t *size, void **request_context)
{
    struct http_server *s = ctx;
    struct http_request *r = *request_context;

    UNUSED(c);
    UNUSED(path);
    if (r == NULL || r->connection == NULL)
        return MHD_NO; /* out of memory */
    if (r->handed)
        return answer_or_wait(s, r);
    if (!r->begun)
        return begin(s, r, method, version);
    if (*size == 0)
        return hand_over(s, r);
    if (http_request_add_body(r, data, *size, s->options.max_body) < 0)
        return MHD_NO;
    *size = 0;
    return MHD_YES;
}

/* The answer was sent, or the connection is lost. */
static void on_completed(void *ctx, struct MHD_Connection *c, void **request_context,
                         enum MHD_RequestTerminationCode code)
{
    struct http_server *s = ctx;
    struct http_request *r = *request_context;

    UNUSED(c);
    UNUSED(code);
    *request_context = NULL;
    if (r == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    if (r->handed) {
        s->in_answer--;
        if (r->connection->waiting == r) { /* never sent */
            r->connection->waiting = NULL;
            s->waiting--;
        }
        pthread_cond_broadcast(&s->changed);
    }
    if (r->connection != NULL)
        set_phase_locked(r->connection, HTTP_RECEIVING);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&r->lock);
    r->cut = true; /* an answer that still comes has nowhere to go */
    pthread_mutex_unlock(&r->lock);
    http_request_release(r);
}

/* ---- start and stop ---- */
static void set_options(struct http_server *s, const struct http_options *o)
{
    s->options = *o;
    if (o->threads <= 0)
        s->options.threads = 2;
    if (o->max_connections == 0)
        s->options.max_connections = 4096;
    if (o->max_body == 0)
        s->options.max_body = (size_t)256 << 10;
    if (o->timeout_s <= 0)
        s->options.timeout_s = 15;
}

static struct http_server *server_new(const struct http_options *options)
{
    struct http_server *s = calloc(1, sizeof *s);
    pthread_condattr_t attr;

    if (s == NULL)
        return NULL;
    set_options(s, options);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_cond_init(&s->janitor_wake, &attr);
    pthread_condattr_destroy(&attr);
    return s;
}

static void server_free(struct http_server *s)
{
    pthread_cond_destroy(&s->changed);
    pthread_cond_destroy(&s->janitor_wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct MHD_Daemon *start_library(struct http_server *s, const struct sockaddr_storage *at)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     (at->ss_family == AF_INET6 ? MHD_USE_IPv6 : 0u);
    unsigned threads = (unsigned)s->options.threads;

    /* A pool of one is refused. */
    return MHD_start_daemon(flags, 0, NULL, NULL, on_step, s, MHD_OPTION_SOCK_ADDR,
                            (const struct sockaddr *)at, MHD_OPTION_THREAD_POOL_SIZE,
                            threads > 1 ? threads : 0u, MHD_OPTION_URI_LOG_CALLBACK, on_target, s,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
                            MHD_OPTION_CONNECTION_LIMIT, s->options.max_connections,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->options.timeout_s,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONNECTION_MEMORY,
                            MHD_OPTION_LISTEN_BACKLOG_SIZE, 4096u, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                            MHD_OPTION_END);
}

int http_server_start(const struct http_options *options, struct http_server **ret,
                      struct error *err)
{
    struct sockaddr_storage at;
    socklen_t at_size;
    int r = address_parse(options->address, &at, &at_size, err);
    if (r < 0)
        return r;
    struct http_server *s = server_new(options);
    if (s == NULL)
        return error_set(err, ERR_INTERNAL, "out of memory");
    s->mhd = start_library(s, &at);
    if (s->mhd == NULL) {
        server_free(s);
        return error_set(err, ERR_UNAVAILABLE, "cannot listen on %s", options->address);
    }
    if (pthread_create(&s->janitor, NULL, janitor, s) != 0) {
        MHD_stop_daemon(s->mhd);
        server_free(s);
        return error_set(err, ERR_INTERNAL, "no thread");
    }
    pthread_setname_np(s->janitor, "http-janitor");
    s->options.address = NULL; /* the caller's */
    *ret = s;
    return 0;
}

void http_server_stats_get(struct http_server *s, struct http_stats *ret)
{
    LOCK_SCOPE(&s->lock);
    *ret = (struct http_stats){
        .connections = s->connection_count,
        .limit = s->options.max_connections,
        .requests = atomic_load(&s->requests),
        .refused = atomic_load(&s->refused),
        .waiting = s->waiting,
    };
}

static void wait_for_answers(struct http_server *s, int grace_ms)
{
    int64_t at_ms = mono_ms() + grace_ms;
    struct timespec at = {.tv_sec = at_ms / 1000, .tv_nsec = (at_ms % 1000) * 1000000L};

    LOCK_SCOPE(&s->lock);
    s->stopping = true;
    while (s->in_answer > 0 && mono_ms() < at_ms)
        (void)pthread_cond_timedwait(&s->changed, &s->lock, &at);
}

/* The library insists on none being suspended when it stops. */
static void cut_waiting(struct http_server *s)
{
    LOCK_SCOPE(&s->lock);
    s->cutting = true;
    s->janitor_ends = true;
    pthread_cond_signal(&s->janitor_wake);
    for (struct http_connection *con = s->connections; con != NULL; con = con->next) {
        struct http_request *r = con->waiting;
        if (r == NULL)
            continue;
        pthread_mutex_lock(&r->lock);
        bool resume = r->suspended;
        r->cut = true;
        r->suspended = false;
        if (resume)
            MHD_resume_connection(r->mhd);
        pthread_mutex_unlock(&r->lock);
    }
}

struct http_server *http_server_stop(struct http_server *s, int grace_ms)
{
    if (s == NULL)
        return NULL;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_LISTEN_FD);

    /* Who connects now is refused, not left waiting. Not by MHD_quiesce_daemon: it and a thread of
     * the library may both take the socket out of epoll, and the second one aborts the process. */
    if (info != NULL && info->listen_fd >= 0)
        (void)shutdown(info->listen_fd, SHUT_RD);
    wait_for_answers(s, grace_ms);
    cut_waiting(s);
    pthread_join(s->janitor, NULL);
    MHD_stop_daemon(s->mhd);
    server_free(s);
    return NULL;
}
