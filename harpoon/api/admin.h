/* harpoon/api/admin.h: the operators' service of admin.proto, for lib/rpc. Calls wait in a bounded
 * queue for the service's one thread, which alone asks the database and the schedulers; it keeps no
 * connection to the database while nobody asks. */
#pragma once

#include "harpoon/store/addresses.h"
#include "harpoon/store/ids.h"
#include "lib/error.h"
#include "lib/rpc/rpc.h"
#include "lib/sql/sql.h"

#include <stdint.h>

struct admin;

struct admin_options {
    const struct sql_options *mysql; /* copied by each connection: borrowed for its life */
    struct ids *event_ids;           /* shared with others */
    struct addresses *addresses;     /* shared with others */
    int64_t create_deadline_ms;      /* of replayed creates */
    const char *schedulers;          /* addresses, comma separated */
    const struct rpc_tls *tls;       /* as a client of the schedulers; copied */
    /* Some event is to be published at once; any thread, must not block; may be NULL. */
    void (*wake)(void *ctx);
    /* Each call that was answered: "ListEvents", and "ok" or an error's name. May be NULL. */
    void (*on_call)(void *ctx, const char *method, const char *outcome);
    void *ctx;
};

int admin_start(const struct admin_options *options, struct admin **ret,
                struct error *err) MUST_CHECK;
/* To be served until admin_stop. */
const struct rpc_service *admin_service(struct admin *a);
/* From now on calls are answered with ERR_UNAVAILABLE; the one at work ends soon. Any thread. */
void admin_set_stopping(struct admin *a);
/* After the server that serves it has stopped. NULL is fine; gives NULL. */
struct admin *admin_stop(struct admin *a);
