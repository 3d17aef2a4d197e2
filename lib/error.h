/* lib/error.h: what went wrong, in a code a caller can act on and a sentence a person can read.
 * 0 or more is an answer; negative is one of these codes, and *err tells the story. `err` is never
 * NULL. */
#pragma once

#include "lib/macros.h"

#include <stdbool.h>

enum {
    ERR_INVALID = -1, /* asking again will not help */
    ERR_NOT_FOUND = -2,
    ERR_CONFLICT = -3, /* it moved on */
    ERR_NO_CAPACITY = -4,
    ERR_BUSY = -5,        /* shed: later */
    ERR_UNAVAILABLE = -6, /* a dependency is gone */
    ERR_DEADLINE = -7,
    ERR_INTERNAL = -8,        /* our bug */
    ERR_UNAUTHENTICATED = -9, /* who are you */
    ERR_FORBIDDEN = -10,      /* you may not */
    ERR_TOO_LARGE = -11,
};

struct error {
    int code;
    char message[320];
};

struct error_info {
    int code;
    const char *name; /* metric label, lower case: "no_capacity" */
    int http_status;
    const char *api_id; /* "id" of the public API's error body */
    int grpc_status;
    bool retryable;
};

/* Fills *err and returns `code`. */
int error_set(struct error *err, int code, const char *format, ...) PRINTF(3, 4);
/* Puts words in front of the message that is there ("claim on hypervisor 7: connection lost");
 * returns err->code. */
int error_in(struct error *err, const char *format, ...) PRINTF(2, 3);
/* The row of `code`; of an unknown code the row of ERR_INTERNAL. */
const struct error_info *error_info_get(int code);
/* The code for a gRPC status other than OK. */
int error_code_from_grpc(int grpc_status);
