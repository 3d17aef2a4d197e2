/* lib/rpc/tls.h: credentials from PEM files, and who a peer is. Internal to lib/rpc. */
#pragma once

#include "lib/rpc/rpc.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

/* Credentials that ask for, and verify, the other side's certificate. ERR_INVALID: a file cannot be
 * read or is not what it should be; the message names it. */
int rpc_tls_server(const struct rpc_tls *tls, grpc_server_credentials **ret,
                   struct error *err) MUST_CHECK;
int rpc_tls_client(const struct rpc_tls *tls, grpc_channel_credentials **ret,
                   struct error *err) MUST_CHECK;
/* The peer of a call. ERR_UNAUTHENTICATED: no certificate, not exactly one URI of ours in it, or it
 * has ended: a resumed TLS session is not verified again, so that is looked at here. */
int rpc_tls_peer(grpc_call *call, struct rpc_peer *ret, struct error *err) MUST_CHECK;
