/* tests/unit/lib/support.h: what the tests of lib/ share. Includes cmocka with what it needs. */
#pragma once

#include "lib/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Fails with the error's own words when `r` is negative. */
#define assert_ok(r, err)                                                                          \
    do {                                                                                           \
        if ((r) < 0)                                                                               \
            fail_msg("%s", (err)->message);                                                        \
    } while (0)
#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL)                                                        \
            fail_msg("\"%s\" is not in: %s", (part), (text));                                      \
    } while (0)

/* "127.0.0.1:PORT" with a port that was free a moment ago; `ret` holds 32 bytes. */
void support_free_address(char ret[32], int *ret_port);
/* Connects, or fails the test. Reading gives up after 20 s. */
int support_connect(int port);
void support_send(int fd, const char *bytes, size_t size);
/* Reads until the peer closes; the caller frees. Closes `fd`. */
char *support_read_all(int fd);
/* One HTTP/1.1 request of its own connection: the answer with its head, which the caller frees. */
char *support_request(int port, const char *method, const char *path, const char *headers,
                      const char *body);
