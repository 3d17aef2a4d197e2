/* tests/support/certificates.h: a private authority in a temporary folder, for tests that speak
 * over TLS. Threads: one. */
#pragma once

#include "lib/rpc/rpc.h"

struct certificates;

/* Fails the test if it cannot be made. */
struct certificates *certificates_new(void);
struct certificates *certificates_free(struct certificates *c); /* removes the folder */
/* Issued at the first asking; good until certificates_free(). */
const struct rpc_tls *certificates_role(struct certificates *c, const char *role);
const struct rpc_tls *certificates_hypervisor(struct certificates *c, const char *region,
                                              uint64_t number);
