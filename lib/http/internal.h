/* lib/http/internal.h: what the files of this folder share. */
#pragma once

#include "lib/http/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    HTTP_MAX_FIELDS = 100,         /* headers, and query parameters, of one request */
    HTTP_MAX_HEAD_BYTES = 16384,   /* request line and headers */
    HTTP_MAX_REPLY_HEADERS = 24,   /* of one answer */
    HTTP_CONNECTION_MEMORY = 65536 /* the library's, per connection; it answers 431 beyond */
};

struct http_pair {
    const char *name, *value; /* inside the request's own text */
};

struct http_pairs {
    struct http_pair *items; /* owned */
    size_t count;
    char *text; /* owned: what names and values point into */
};

/* A TCP connection; server->lock guards all but fd. */
struct http_connection {
    int fd;
    struct http_connection *next, *previous;
    struct http_request *waiting; /* handed over and not answered, counted */
    enum { HTTP_RECEIVING, HTTP_WAITING, HTTP_SENDING } phase;
    int64_t since_ms; /* mono: when the phase began */
};

/* Everything a handler may read is the request's own copy, so that it stays valid on any thread
 * until http_reply, even when the connection or the server is gone by then. Held once by the
 * connection and once by the handler. */
struct http_request {
    struct http_server *server;
    struct http_connection *connection;
    struct MHD_Connection *mhd;
    char method[16];
    char *path; /* owned: the target as sent, cut at '?' */
    struct http_pairs query, headers;
    char *body; /* owned */
    size_t body_size, body_room, body_seen;
    int64_t arrived_ms;
    void *user;
    int refused_status; /* 0: not refused */
    const char *refused_why;
    bool refused_at_once; /* its framing cannot be trusted: nothing more is read */
    bool begun, handed;   /* loop thread only */

    struct http_pair
        reply_headers[HTTP_MAX_REPLY_HEADERS]; /* owned; the handler's until answered */
    size_t reply_header_count;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct MHD_Response *response; /* owned */
    int status;
    bool answered, suspended, cut;
    int holders;
};

/* Splits "a=1&b=%20" into decoded pairs. ERR_INVALID: too many, or a zero byte. */
int http_query_parse(const char *text, struct http_pairs *ret, struct error *err) MUST_CHECK;
void http_pairs_fini(struct http_pairs *p);

/* `target` as in the request line. NULL: out of memory. */
struct http_request *http_request_new(const char *target);
void http_request_release(struct http_request *r);
/* Copies method and headers and looks for what must be refused (r->refused_…). -1: out of memory.
 */
int http_request_read_head(struct http_request *r, const char *method, const char *version,
                           size_t body_limit);
/* Keeps a piece of the body; beyond the limit it is read and dropped. -1: end the connection. */
int http_request_add_body(struct http_request *r, const char *data, size_t size, size_t limit);
