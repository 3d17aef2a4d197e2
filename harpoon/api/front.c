/* From the socket to the handler: token, rate, route, body. */
#include "harpoon/api/internal.h"
#include "harpoon/api/json.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <string.h>

#define LOOKUPS_MAX 256 /* tokens looked up at a time: who guesses must not fill the queue */

/* ---- the token ---- */
static void refuse_token(struct call *c)
{
    call_refuse(c, 401, "unauthorized", "Unable to authenticate you");
}

static void look_up(struct call *c);

static void go_on(struct call *c)
{
    if (c->rate.refused) {
        call_refuse(c, 429, "too_many_requests", "API rate limit exceeded.");
        return;
    }
    front_dispatch(c);
}

static void check_token(struct call *c)
{
    struct api *api = c->api;
    const char *text = token_from_header(http_header(c->http, "authorization"));
    uint8_t hash[TOKEN_HASH];

    if (text == NULL || strncmp(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0 ||
        strlen(text) != TOKEN_TEXT - 1) {
        refuse_token(c);
        return;
    }
    token_hash(text, hash);
    switch (token_cache_check(api->tokens, hash, api->database_down, mono_ms(), unix_ms(),
                              &api->limits, &c->token, &c->rate)) {
    case TOKEN_KNOWN:
        c->known = true;
        go_on(c);
        return;
    case TOKEN_UNKNOWN:
        refuse_token(c);
        return;
    case TOKEN_ASK:
        break;
    }
    if (c->db != NULL || atomic_fetch_add(&api->lookups, 1) >= LOOKUPS_MAX) {
        struct error err;
        if (c->db == NULL)
            atomic_fetch_sub(&api->lookups, 1);
        (void)error_set(&err, ERR_BUSY, "too many tokens are being looked up");
        call_fail(c, &err);
        return;
    }
    c->counted = true;
    reader_run(c, look_up);
}

/* On the reader's thread. */
static void look_up(struct call *c)
{
    struct api *api = c->api;
    struct error err;
    struct token token;
    uint8_t hash[TOKEN_HASH];

    c->counted = false;
    atomic_fetch_sub(&api->lookups, 1);
    token_hash(token_from_header(http_header(c->http, "authorization")), hash);
    int r = tokens_find(c->db, hash, unix_ms(), &token, &err);
    reader_note(api, r, c->db);
    if (r >= 0) {
        token_cache_put(api->tokens, &token, mono_ms());
    } else if (r == ERR_NOT_FOUND) {
        token_cache_put_unknown(api->tokens, hash, mono_ms());
        refuse_token(c);
        return;
    } else {
        call_fail(c, &err);
        return;
    }
    check_token(c); /* known now, and counted */
}

/* ---- the route ---- */
static bool read_body(struct call *c)
{
    struct error err;
    size_t size = 0;
    const void *body = http_body(c->http, &size);

    if (json_parse_object(body, size, &c->body, &err) >= 0)
        return true;
    call_refuse(c, 400, "bad_request", "%s", err.message);
    return false;
}

void front_dispatch(struct call *c)
{
    switch (route_find(routes, route_count, http_method(c->http), http_path(c->http),
                       c->path_buffer, &c->match)) {
    case ROUTE_NO_PATH:
        call_not_found(c);
        return;
    case ROUTE_NO_METHOD:
        http_reply_header(c->http, "allow", c->match.allow);
        call_refuse(c, 405, "not_found", "This method is not there; there is %s.", c->match.allow);
        return;
    case ROUTE_FOUND:
        break;
    }
    const struct route *route = c->match.route;
    if ((route->flags & ROUTE_WRITES) != 0 && c->token.read_only) {
        call_refuse(c, 403, "forbidden", "You are not authorized to perform this operation");
        return;
    }
    once_begin(c);
}

void front_run(struct call *c)
{
    const struct route *route = c->match.route;

    if ((route->flags & ROUTE_BODY) != 0 && !read_body(c))
        return;
    if ((route->flags & ROUTE_READS) != 0)
        reader_run(c, route->handler);
    else
        route->handler(c);
}

/* ---- the socket ---- */
static struct call *begin(struct api *api, struct http_request *r)
{
    struct call *c = call_new(api, r);

    if (c == NULL) { /* no memory, not even for a body */
        http_reply(r, 503, NULL, 0);
        return NULL;
    }
    return c;
}

static void on_request(void *ctx, struct http_request *r)
{
    struct call *c = begin(ctx, r);

    if (c != NULL)
        check_token(c);
}

static void on_refused(void *ctx, struct http_request *r, int status, const char *why)
{
    struct call *c = begin(ctx, r);

    if (c == NULL)
        return;
    if (status == 413)
        call_refuse(c, status, error_info_get(ERR_TOO_LARGE)->api_id,
                    "The request body may have at most %u bytes (256 KiB).", API_BODY_MAX);
    else
        call_refuse(c, status, "bad_request", "The request is not well formed: %s.", why);
}

int front_start(struct api *api, struct error *err)
{
    struct http_options options = {
        .address = api->config->http_listen,
        .threads = (int)api->config->http_threads,
        .max_connections = (unsigned)api->config->http_connections,
        .max_body = API_BODY_MAX,
        .on_request = on_request,
        .on_refused = on_refused,
        .ctx = api,
    };

    return http_server_start(&options, &api->http, err);
}
