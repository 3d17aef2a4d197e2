/* Idempotency-Key: a request that is repeated with its key is answered as it was the first time.
 * Only what was done is stored, with what it did; a refused request took nothing, and is asked
 * anew. */
#include "harpoon/api/internal.h"

#include <stdlib.h>
#include <string.h>

static void refuse_other(struct call *c)
{
    call_refuse(c, 422, "unprocessable_entity",
                "Idempotency-Key: it was used before, for another request.");
}

static bool begin(struct call *c, const char *name)
{
    size_t size = 0;
    const void *body = http_body(c->http, &size);

    c->flight.key = (struct idempotency_key){.account = call_account(c), .name = name};
    idempotency_hash(http_method(c->http), http_path(c->http), body, size, c->flight.key.hash);
    switch (flights_begin(c->api->flights, &c->flight)) {
    case FLIGHT_BEGUN:
        c->flying = true;
        return true;
    case FLIGHT_SAME:
        call_refuse(c, 409, "conflict",
                    "Idempotency-Key: the first request with it is still being worked on.");
        return false;
    case FLIGHT_OTHER:
        break;
    }
    refuse_other(c);
    return false;
}

/* On the reader's thread. True: the call was answered as the first one was, or refused. */
static bool replay(struct call *c)
{
    struct idempotency_answer answer;
    struct error err;
    int r = idempotency_find(c->db, &c->flight.key, &answer, &err);

    reader_note(c->api, r, c->db);
    if (r == ERR_NOT_FOUND)
        return false;
    if (r < 0) {
        call_fail(c, &err);
    } else if (memcmp(answer.hash, c->flight.key.hash, sizeof answer.hash) != 0) {
        free(answer.text);
        refuse_other(c);
    } else {
        http_reply_header(c->http, "idempotent-replayed", "true");
        call_reply_text(c, answer.status, answer.text);
    }
    return true;
}

static void look_up(struct call *c)
{
    if (!replay(c))
        front_run(c);
}

void once_begin(struct call *c)
{
    const char *name = http_header(c->http, "idempotency-key");

    if (name == NULL || strcmp(http_method(c->http), "POST") != 0)
        front_run(c);
    else if (!idempotency_is_name(name))
        call_refuse(c, 422, "unprocessable_entity",
                    "Idempotency-Key must have 1 to 255 printable ASCII characters.");
    else if (begin(c, name))
        reader_run(c, look_up);
}

void once_end(struct call *c)
{
    if (c->flying)
        flights_end(c->api->flights, &c->flight);
    c->flying = false;
}

const struct idempotency_key *once_key(const struct call *c)
{
    return c->flying ? &c->flight.key : NULL;
}

static void fail_unless_stored(struct call *c)
{
    if (replay(c))
        return;
    if (c->once_error.code == ERR_CONFLICT)
        (void)error_set(&c->once_error, ERR_BUSY, "the answer of a key was removed meanwhile");
    call_fail(c, &c->once_error);
}

void once_fail(struct call *c, const struct error *err)
{
    if (!c->flying || err->code == ERR_UNAVAILABLE) {
        call_fail(c, err);
        return;
    }
    c->once_error = *err;
    c->db = NULL; /* it may be the flusher's thread that fails */
    reader_run(c, fail_unless_stored);
}
