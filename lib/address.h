/* lib/address.h: "HOST:PORT" as text and as the kernel wants it. Numeric hosts only, so that
 * nothing waits for a name server. */
#pragma once

#include "lib/error.h"

#include <sys/socket.h>

/* "127.0.0.1:8080", "[::1]:8080". ERR_INVALID names what is expected. */
int address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size,
                  struct error *err) MUST_CHECK;
