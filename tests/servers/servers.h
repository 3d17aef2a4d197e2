/* tests/servers/servers.h: what a test can do to the server that run.py started beside it. */
#pragma once

#include <stdbool.h>

/* Runs a verb of run.py with up to three arguments (NULL: none); the test fails if it does. */
void server_do(const char *verb, const char *a, const char *b, const char *c);
const char *server_setting(const char *name); /* from the environment; the test fails without it */
/* Asks until `condition` holds; the test fails, naming `what`, when it does not within a minute. */
void wait_until(bool (*condition)(void *ctx), void *ctx, const char *what);
