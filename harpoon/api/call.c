/* One request: made, answered, measured. */
#include "harpoon/api/internal.h"
#include "harpoon/api/json.h"
#include "harpoon/api/pages.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_AFTER_S 2
#define RELOAD_MS     2000 /* the catalogue is not read again sooner */

struct call *call_new(struct api *api, struct http_request *http)
{
    struct call *c = calloc(1, sizeof *c);
    const char *path = http_path(http);
    struct uuid id;

    if (c == NULL)
        return NULL;
    c->path_buffer = malloc(strlen(path) + 1);
    if (c->path_buffer == NULL) {
        free(c);
        return NULL;
    }
    c->api = api;
    c->http = http;
    uuid_make_random(&id);
    uuid_format(&id, c->request_id);
    c->view = catalog_cache_get(api->catalog);
    return c;
}

static void call_free(struct call *c)
{
    if (c->counted)
        atomic_fetch_sub(&c->api->lookups, 1);
    if (c->state_free != NULL)
        c->state_free(c->state);
    json_decref(c->body);
    view_unref(c->view);
    free(c->path_buffer);
    free(c);
}

account_id call_account(const struct call *c)
{
    return c->token.account.id;
}

static void header_number(struct call *c, const char *name, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, value);
    http_reply_header(c->http, name, text);
}

static void add_headers(struct call *c, int status)
{
    int64_t now_ms = unix_ms();
    uint32_t limit = c->known ? c->rate.limit : c->api->limits.hour;

    header_number(c, "ratelimit-limit", limit);
    header_number(c, "ratelimit-remaining", c->known ? c->rate.remaining : limit);
    header_number(c, "ratelimit-reset", c->known ? c->rate.reset_s : now_ms / 1000 + 3600);
    http_reply_header(c->http, "x-request-id", c->request_id);
    if (status == 429 || status == 503)
        header_number(c, "retry-after", c->rate.refused ? c->rate.retry_after_s : RETRY_AFTER_S);
}

/* Labels come from closed sets; a client may send any word. */
static const char *known_method(const char *method)
{
    static const char *const known[] = {"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i], method) == 0)
            return known[i];
    return "other";
}

static void measure(const struct call *c, int status)
{
    const char *route = c->match.route != NULL ? c->match.route->pattern : "none";
    int64_t took_ms = mono_ms() - http_arrived_mono_ms(c->http);
    char text[8];

    (void)snprintf(text, sizeof text, "%d", status);
    metric_add(M_HTTP_REQUESTS, 1, route, known_method(http_method(c->http)), text, NULL);
    metric_observe(M_HTTP_DURATION, (double)took_ms / 1000, route, NULL);
    log_write(status >= 500 && status != 503 ? LOG_WARN : LOG_DEBUG, "request answered",
              (const struct log_field[]){F_STR("request_id", c->request_id),
                                         F_STR("method", http_method(c->http)),
                                         F_STR("route", route),
                                         F_I64("status", status),
                                         F_MS("took_ms", took_ms),
                                         {.kind = LOG_END}});
}

char *call_format(json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(12));

    json_decref(body);
    return text;
}

void call_reply(struct call *c, int status, json_t *body)
{
    call_reply_text(c, status, body != NULL ? call_format(body) : NULL);
}

void call_reply_text(struct call *c, int status, char *text)
{
    if (text == NULL && status != 204) { /* no memory: better a bare answer than none */
        status = 500;
        text = strdup("{\"id\":\"server_error\",\"message\":\"out of memory\"}");
    }
    if (text != NULL)
        http_reply_header(c->http, "content-type", "application/json; charset=utf-8");
    add_headers(c, status);
    measure(c, status);
    once_end(c);
    http_reply(c->http, status, text, text != NULL ? strlen(text) : 0);
    call_free(c);
}

static void reply_error(struct call *c, int status, const char *id, const char *message)
{
    call_reply(c, status,
               json_pack("{s:s, s:o, s:s}", "id", id, "message", view_text(message), "request_id",
                         c->request_id));
}

void call_refuse(struct call *c, int status, const char *id, const char *format, ...)
{
    char message[400];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    reply_error(c, status, id, message);
}

void call_not_found(struct call *c)
{
    reply_error(c, 404, "not_found", "The resource you were accessing could not be found.");
}

/* Of our own troubles customers learn no more than that they may try again. */
static const char *public_message(const struct error *err, const struct error_info *info)
{
    if (err->code == ERR_BUSY)
        return "The service is busy at the moment. Try again soon.";
    if (info->http_status < 500)
        return err->message;
    return info->retryable ? "The service is not available at the moment. Try again soon."
                           : "Server was unable to give you a response.";
}

void call_fail(struct call *c, const struct error *err)
{
    const struct error_info *info = error_info_get(err->code);

    if (err->code == ERR_NOT_FOUND) {
        call_not_found(c);
        return;
    }
    if (info->http_status >= 500 || err->code == ERR_BUSY)
        log_write(info->retryable ? LOG_DEBUG : LOG_ERROR, "request failed",
                  (const struct log_field[]){F_STR("request_id", c->request_id),
                                             F_ERROR(err),
                                             {.kind = LOG_END}});
    reply_error(c, info->http_status, info->api_id, public_message(err, info));
}

/* ---- pages ---- */
struct page call_page(const struct call *c)
{
    return page_parse(http_query(c->http, "page"), http_query(c->http, "per_page"));
}

static void add_parameter(void *ctx, const char *name, const char *value)
{
    FILE *out = ctx;
    char *n, *v;

    if (strcmp(name, "page") == 0)
        return;
    n = page_encode(name);
    v = page_encode(value);
    if (n != NULL && v != NULL)
        (void)fprintf(out, "%s%s=%s", ftell(out) > 0 ? "&" : "", n, v);
    free(n);
    free(v);
}

/* Characters that a Host may have; any other would end up in a link that nobody should follow. */
static bool is_host(const char *text)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:[]_";
    return text != NULL && *text != 0 && strspn(text, allowed) == strlen(text);
}

char *call_url(const struct call *c, const char *path)
{
    const char *scheme = http_header(c->http, "x-forwarded-proto");
    const char *host = http_header(c->http, "host");
    char *url = NULL;

    scheme = scheme != NULL && strcmp(scheme, "https") == 0 ? "https" : "http";
    if (!is_host(host))
        host = c->api->config->http_listen;
    return asprintf(&url, "%s://%s%s", scheme, host, path) < 0 ? NULL : url;
}

void call_reply_page(struct call *c, const struct page *page, const char *key, json_t *items,
                     uint64_t total)
{
    char *query = NULL, *base = call_url(c, http_path(c->http));
    size_t size = 0;
    FILE *out = open_memstream(&query, &size);

    if (out != NULL) {
        http_query_each(c->http, add_parameter, out);
        (void)fclose(out);
    }
    json_t *links = base != NULL && query != NULL ? page_links(page, total, base, query) : NULL;
    free(query);
    free(base);
    call_reply(c, 200,
               json_pack("{s:o, s:o, s:{s:I}}", key, items, "links",
                         links != NULL ? links : json_object(), "meta", "total",
                         (json_int_t)total));
}

bool call_id(struct call *c, size_t i, uint64_t *ret)
{
    if (json_parse_id(c->match.arguments[i], ret))
        return true;
    call_not_found(c);
    return false;
}

/* ---- the catalogue ---- */
bool call_has_catalog(struct call *c)
{
    struct error err;

    if (c->view != NULL)
        return true;
    (void)error_set(&err, ERR_UNAVAILABLE, "the catalogue was not loaded yet");
    call_fail(c, &err);
    return false;
}

static void reload(struct call *c)
{
    struct error err;

    /* Another call may have done it while this one waited. */
    if (catalog_cache_age_ms(c->api->catalog, mono_ms()) >= RELOAD_MS &&
        reader_reload(c->api, c->db, &err) < 0)
        log_debug("catalogue not reloaded", F_ERROR(&err)); /* then the old one answers */
    view_unref(c->view);
    c->view = catalog_cache_get(c->api->catalog);
    c->again(c);
}

bool call_again(struct call *c, void (*handler)(struct call *c))
{
    if (c->reloaded || c->api->database_down ||
        catalog_cache_age_ms(c->api->catalog, mono_ms()) < RELOAD_MS)
        return false;
    c->reloaded = true;
    c->again = handler;
    reader_run(c, reload);
    return true;
}
