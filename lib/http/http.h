/* lib/http/http.h: an HTTP/1.1 server on libmicrohttpd (epoll, suspended connections): a request is
 * handed over whole and answered once, from any thread. Only this folder and lib/daemon.c see the
 * library. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_request;

struct http_options {
    const char *address;      /* "127.0.0.1:8080" */
    int threads;              /* 0: 2 */
    unsigned max_connections; /* 0: 4,096 */
    size_t max_body;          /* bytes; beyond it on_refused is asked for the answer. 0: 256 KiB */
    int timeout_s;            /* of an idle connection or an unfinished request; 0: 15 */
    /* Called on a loop thread with a whole request: must not block, and must see to it that
     * http_reply is called exactly once, now or later, from any thread. */
    void (*on_request)(void *ctx, struct http_request *r);
    /* Makes the answer for a request refused before it was whole: 413 (body) or 431 (headers) or
     * 400. Loop thread; calls http_reply. */
    void (*on_refused)(void *ctx, struct http_request *r, int status, const char *why);
    void *ctx;
};
struct http_stats {
    unsigned connections, limit;
    uint64_t requests, refused;
    unsigned waiting; /* requests handed over and not yet answered */
};

int http_server_start(const struct http_options *options, struct http_server **ret,
                      struct error *err) MUST_CHECK;
void http_server_stats_get(struct http_server *s, struct http_stats *ret);
/* Stops accepting, waits up to `grace_ms` for answers in progress, cuts the rest. NULL is fine;
 * gives NULL. */
struct http_server *http_server_stop(struct http_server *s, int grace_ms);

const char *http_method(const struct http_request *r);
const char *http_path(const struct http_request *r); /* as sent, still encoded, without the query */
const char *http_header(const struct http_request *r, const char *name); /* NULL: not there */
const char *http_query(const struct http_request *r,
                       const char *name); /* decoded; the first; NULL: not there */
/* Each query parameter in order. */
void http_query_each(const struct http_request *r,
                     void (*fn)(void *ctx, const char *name, const char *value), void *ctx);
const void *http_body(const struct http_request *r, size_t *ret_size);
void http_set_user(struct http_request *r, void *user);
void *http_user(const struct http_request *r);
int64_t http_arrived_mono_ms(const struct http_request *r);

/* A header of the answer; before http_reply. Copied. */
void http_reply_header(struct http_request *r, const char *name, const char *value);
/* Answers; `body` (may be NULL) is malloc'ed and taken over. The request is gone afterwards. Any
 * thread. */
void http_reply(struct http_request *r, int status, char *body, size_t size);
