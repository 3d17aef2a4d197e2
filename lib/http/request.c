#include "lib/http/internal.h"

#include "lib/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A body that is too large is still read, up to this much, so that the client gets the answer and
 * not a reset connection. */
static const size_t drain_max = (size_t)16 << 20;

struct http_request *http_request_new(const char *target)
{
    struct http_request *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->path = strdup(target);
    if (r->path == NULL) {
        free(r);
        return NULL;
    }
    r->arrived_ms = mono_ms();
    r->holders = 1;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void http_request_release(struct http_request *r)
{
    pthread_mutex_lock(&r->lock);
    int left = --r->holders;
    pthread_mutex_unlock(&r->lock);
    if (left > 0)
        return;
    for (size_t i = 0; i < r->reply_header_count; i++) {
        free((char *)r->reply_headers[i].name);
        free((char *)r->reply_headers[i].value);
    }
    if (r->response != NULL)
        MHD_destroy_response(r->response);
    pthread_mutex_destroy(&r->lock);
    http_pairs_fini(&r->query);
    http_pairs_fini(&r->headers);
    free(r->path);
    free(r->body);
    free(r);
}

/* ---- the head ---- */
static void refuse(struct http_request *r, int status, const char *why, bool at_once)
{
    if (r->refused_status == 0) {
        r->refused_status = status;
        r->refused_why = why;
    }
    r->refused_at_once |= at_once;
}

struct copying {
    struct http_request *request;
    size_t bytes, text_room, content_lengths, transfer_encodings, hosts;
    bool chunked;
};

static bool is_token(const char *text, size_t size)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && (c == 0 || strchr(others, c) == NULL))
            return false;
    }
    return size > 0;
}

static bool is_field_value(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            return false;
    }
    return true;
}

/* The library glues a folded line to the header's name, which would hide how long a body is. */
static bool is_folded(const char *name, size_t size, const char *hidden)
{
    size_t len = strlen(hidden);

    return size > len && strncasecmp(name, hidden, len) == 0;
}

static enum MHD_Result measure_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                      size_t name_size, const char *value, size_t value_size)
{
    struct copying *c = ctx;

    UNUSED(kind);
    if (value == NULL)
        value_size = 0;
    c->bytes += name_size + value_size + 4; /* ": " and the line's end */
    c->text_room += name_size + value_size + 2;
    c->request->headers.count++;
    if (!is_token(name, name_size))
        refuse(c->request, 400, "a header's name has a character that is not allowed there", true);
    if (!is_field_value(value, value_size))
        refuse(c->request, 400, "a header's value has a control character", true);
    if (is_folded(name, name_size, "Transfer-Encoding") ||
        is_folded(name, name_size, "Content-Length"))
        refuse(c->request, 400, "a header is folded over two lines", true);
    c->content_lengths += name_size == 14 && strncasecmp(name, "content-length", 14) == 0;
    c->hosts += name_size == 4 && strncasecmp(name, "host", 4) == 0;
    if (name_size == 17 && strncasecmp(name, "transfer-encoding", 17) == 0) {
        c->transfer_encodings++;
        c->chunked = value_size == 7 && strncasecmp(value, "chunked", 7) == 0;
    }
    return MHD_YES;
}

static enum MHD_Result copy_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                   size_t name_size, const char *value, size_t value_size)
{
    struct http_pairs *to = &((struct copying *)ctx)->request->headers;
    char *p = to->text + ((struct copying *)ctx)->bytes;

    UNUSED(kind);
    if (value == NULL)
        value_size = 0;
    while (value_size > 0 && (value[value_size - 1] == ' ' || value[value_size - 1] == '\t'))
        value_size--; /* not a part of it; what is before it the library takes away */
    to->items[to->count++] = (struct http_pair){p, p + name_size + 1};
    memcpy(p, name, name_size);
    if (value_size > 0)
        memcpy(p + name_size + 1, value, value_size);
    ((struct copying *)ctx)->bytes += name_size + value_size + 2;
    return MHD_YES;
}

static void check_framing(const struct copying *c, const char *version)
{
    struct http_request *r = c->request;

    if (c->content_lengths > 0 && c->transfer_encodings > 0)
        refuse(r, 400, "both Content-Length and Transfer-Encoding", true);
    if (c->content_lengths > 1)
        refuse(r, 400, "more than one Content-Length", true);
    if (c->transfer_encodings > 1 || (c->transfer_encodings == 1 && !c->chunked))
        refuse(r, 400, "a Transfer-Encoding other than chunked", true);
    if (c->hosts > 1 || (c->hosts == 0 && strcmp(version, "HTTP/1.0") != 0))
        refuse(r, 400, "one Host header is expected", true);
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        refuse(r, 400, "only HTTP/1.1 and HTTP/1.0 are spoken here", true);
    if (c->bytes + strlen(r->path) > HTTP_MAX_HEAD_BYTES)
        refuse(r, 431, "the request line and headers are longer than 16384 bytes", false);
    if (r->headers.count > HTTP_MAX_FIELDS)
        refuse(r, 431, "more than 100 headers", false);
}

static int copy_headers(struct http_request *r, const char *version)
{
    struct copying c = {.request = r};

    (void)MHD_get_connection_values_n(r->mhd, MHD_HEADER_KIND, measure_header, &c);
    check_framing(&c, version);
    r->headers.items = calloc(r->headers.count + 1, sizeof *r->headers.items);
    r->headers.text = calloc(1, c.text_room + 1);
    if (r->headers.items == NULL || r->headers.text == NULL)
        return -1;
    r->headers.count = 0;
    c.bytes = 0;
    (void)MHD_get_connection_values_n(r->mhd, MHD_HEADER_KIND, copy_header, &c);
    return 0;
}

/* "http://host/path" is as good as "/path". */
static void drop_authority(char *target)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    if (scheme == 0)
        return;
    const char *path = target + scheme + strcspn(target + scheme, "/?");
    if (*path == '/')
        memmove(target, path, strlen(path) + 1);
    else {
        target[0] = '/';
        memmove(target + 1, path, strlen(path) + 1);
    }
}

static int split_target(struct http_request *r)
{
    struct error err;

    for (const unsigned char *p = (const unsigned char *)r->path; *p != 0; p++)
        if (*p <= 0x20 || *p == 0x7F)
            refuse(r, 400, "the request line has a character that is not allowed there", true);
    drop_authority(r->path);
    r->path[strcspn(r->path, "#")] = 0;
    char *query = strchr(r->path, '?');
    if (query == NULL)
        return 0;
    *query++ = 0;
    int result = http_query_parse(query, &r->query, &err);
    if (result == ERR_INVALID)
        refuse(r, 400, "the query has a zero byte or more than 100 parameters", false);
    return result == ERR_INVALID ? 0 : result;
}

/* A client that announces too much need not send it first. */
static void check_announced(struct http_request *r, size_t limit)
{
    const char *length = http_header(r, "Content-Length");
    unsigned long long announced = length != NULL ? strtoull(length, NULL, 10) : 0;

    if (announced > limit)
        refuse(r, 413, "the body is too large",
               announced > drain_max || http_header(r, "Expect") != NULL);
}

int http_request_read_head(struct http_request *r, const char *method, const char *version,
                           size_t body_limit)
{
    (void)snprintf(r->method, sizeof r->method, "%s", method);
    if (strlen(method) >= sizeof r->method || !is_token(method, strlen(method)))
        refuse(r, 400, "the method is none that is known", true);
    if (copy_headers(r, version) < 0)
        return -1;
    check_announced(r, body_limit);
    return split_target(r) < 0 ? -1 : 0;
}

/* ---- the body ---- */
static int make_room(struct http_request *r, size_t size)
{
    size_t want = r->body_size + size + 1; /* a zero byte follows the body */

    if (want <= r->body_room)
        return 0;
    size_t room = r->body_room * 2 > want ? r->body_room * 2 : want;
    char *body = realloc(r->body, room);
    if (body == NULL)
        return -1;
    r->body = body;
    r->body_room = room;
    return 0;
}

int http_request_add_body(struct http_request *r, const char *data, size_t size, size_t limit)
{
    r->body_seen += size;
    if (r->body_seen > drain_max)
        return -1;
    if (r->body_seen > limit)
        refuse(r, 413, "the body is too large", false);
    if (r->refused_status != 0)
        return 0;
    if (make_room(r, size) < 0)
        return -1;
    memcpy(r->body + r->body_size, data, size);
    r->body_size += size;
    r->body[r->body_size] = 0;
    return 0;
}

/* ---- what handlers ask ---- */
const char *http_method(const struct http_request *r)
{
    return r->method;
}

const char *http_path(const struct http_request *r)
{
    return r->path;
}

const char *http_header(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->headers.count; i++)
        if (strcasecmp(r->headers.items[i].name, name) == 0)
            return r->headers.items[i].value;
    return NULL;
}

const void *http_body(const struct http_request *r, size_t *ret_size)
{
    *ret_size = r->body_size;
    return r->body != NULL ? r->body : "";
}

void http_set_user(struct http_request *r, void *user)
{
    r->user = user;
}

void *http_user(const struct http_request *r)
{
    return r->user;
}

int64_t http_arrived_mono_ms(const struct http_request *r)
{
    return r->arrived_ms;
}

/* ---- the answer ---- */
void http_reply_header(struct http_request *r, const char *name, const char *value)
{
    if (r->reply_header_count == HTTP_MAX_REPLY_HEADERS)
        return;
    char *name_copy = strdup(name), *value_copy = strdup(value);
    if (name_copy == NULL || value_copy == NULL) {
        free(name_copy);
        free(value_copy);
        return;
    }
    r->reply_headers[r->reply_header_count++] = (struct http_pair){name_copy, value_copy};
}

static struct MHD_Response *make_response(const struct http_request *r, char *body, size_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, size > 0 ? body : "",
                                        size > 0 ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);

    if (size == 0 || response == NULL)
        free(body);
    if (response == NULL)
        return NULL;
    for (size_t i = 0; i < r->reply_header_count; i++)
        (void)MHD_add_response_header(response, r->reply_headers[i].name,
                                      r->reply_headers[i].value);
    return response;
}

void http_reply(struct http_request *r, int status, char *body, size_t size)
{
    struct MHD_Response *response = make_response(r, body, size);

    pthread_mutex_lock(&r->lock);
    r->response = response;
    r->status = status;
    r->answered = true;
    /* A connection that was cut is not there to be resumed. */
    if (r->suspended && !r->cut) {
        r->suspended = false;
        MHD_resume_connection(r->mhd);
    }
    pthread_mutex_unlock(&r->lock);
    http_request_release(r);
}
