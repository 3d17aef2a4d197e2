#include "lib/clock.h"
#include "lib/sql/internal.h"

#include <assert.h>

#define TRIES         5
#define RETRY_BASE_MS 4
#define RETRY_CAP_MS  100

static int begin(struct sql *db, struct error *err)
{
    static const char text[] = "START TRANSACTION";
    db->doomed = 0;
    int r = sql_connect(db, err);
    if (r < 0)
        return r;
    r = sql_run_text(db, text, sizeof text - 1, err);
    if (r < 0)
        return r;
    db->pinned = true;
    return 0;
}

/* Leaves no transaction behind: a connection that cannot roll back is closed, which rolls back. */
static void roll_back(struct sql *db)
{
    static const char text[] = "ROLLBACK";
    struct error ignored;
    db->pinned = false;
    if (db->mysql && sql_run_text(db, text, sizeof text - 1, &ignored) < 0)
        sql_drop(db);
}

/* Only a deadlock says for certain that nothing was stored; after any other failure the connection
 * goes and the caller has to look. */
static int commit(struct sql *db, struct error *err)
{
    static const char text[] = "COMMIT";
    int r = sql_run_text(db, text, sizeof text - 1, err);
    db->pinned = false;
    if (r == 0 || r == ERR_BUSY)
        return r;
    sql_drop(db);
    err->code = ERR_UNAVAILABLE;
    return error_in(err, "commit, outcome unknown");
}

static int transact_once(struct sql *db, sql_body_fn body, void *ctx, struct error *err)
{
    int r = begin(db, err);
    if (r < 0)
        return r;
    int answer = body(db, ctx, err);
    if (answer < 0) {
        roll_back(db);
        return answer;
    }
    if (db->doomed) { /* the body overlooked it; half of its work is gone */
        r = error_set(err, db->doomed, "database: the transaction had ended before its end");
        roll_back(db);
        return r;
    }
    r = commit(db, err);
    return r < 0 ? r : answer;
}

int sql_transact(struct sql *db, sql_body_fn body, void *ctx, struct error *err)
{
    struct backoff pause;
    assert(!db->pinned);
    backoff_init(&pause, RETRY_BASE_MS, RETRY_CAP_MS, 0);
    for (int i = 1;; i++) {
        int r = transact_once(db, body, ctx, err);
        bool conflicted = r == ERR_BUSY && db->doomed == ERR_BUSY; /* not the body's own "busy" */
        if (!conflicted || i == TRIES)
            return r;
        clock_pause_ms(backoff_next_ms(&pause));
    }
}
