/* harpoon/api/flights.h: requests with an Idempotency-Key that this process is working on, so that
 * a second one with the same key is told to wait. Pure but for the lock. Threads: any; nothing
 * blocks. */
#pragma once

#include "harpoon/store/idempotency.h"
#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>

struct flights;

/* Embedded by who asks; what `key` borrows lives until flights_end(). */
struct flight {
    struct idempotency_key key;
    struct flight *next; /* of the registry */
};

int flights_new(struct flights **ret, struct error *err) MUST_CHECK;
struct flights *flights_free(struct flights *f); /* NULL is fine; gives NULL */

enum flight_verdict {
    FLIGHT_BEGUN, /* end it with flights_end() */
    FLIGHT_SAME,  /* the same request is being worked on */
    FLIGHT_OTHER, /* another one is, under this key */
};
enum flight_verdict flights_begin(struct flights *f, struct flight *flight);
void flights_end(struct flights *f, struct flight *flight);

/* 1..255 printable ASCII characters. */
bool idempotency_is_name(const char *text);
/* What is asked: a slash at the end of `path` does not matter, each byte of `body` does. */
void idempotency_hash(const char *method, const char *path, const void *body, size_t size,
                      uint8_t ret[DIGEST_SHA256]);
