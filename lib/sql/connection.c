#include "lib/clock.h"
#include "lib/sql/internal.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TIMEOUT_DEFAULT_MS 5000
#define LOCK_WAIT_S        3
#define RETRY_BASE_MS      50
#define RETRY_CAP_MS       1000

void sql_library_init(void)
{
    (void)mysql_library_init(0, NULL, NULL);
}

void sql_thread_end(void)
{
    mysql_thread_end();
}

static char *copy_text(const char *text, bool *ok)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        *ok = false;
    return copy;
}

struct sql *sql_new(const struct sql_options *options)
{
    bool ok = true;
    struct sql *db = calloc(1, sizeof *db);
    if (!db)
        return NULL;
    db->options = (struct sql_options){
        .socket = copy_text(options->socket, &ok),
        .host = copy_text(options->host, &ok),
        .port = options->port,
        .user = copy_text(options->user, &ok),
        .password = copy_text(options->password, &ok),
        .database = copy_text(options->database, &ok),
        .timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_DEFAULT_MS,
    };
    db->timeout_s = (db->options.timeout_ms + 999) / 1000;
    backoff_init(&db->backoff, RETRY_BASE_MS, RETRY_CAP_MS, 0);
    return ok ? db : sql_free(db);
}

struct sql *sql_free(struct sql *db)
{
    if (!db)
        return NULL;
    assert(!db->pinned);
    sql_drop(db);
    free((char *)db->options.socket);
    free((char *)db->options.host);
    free((char *)db->options.user);
    free((char *)db->options.password);
    free((char *)db->options.database);
    free(db->statements);
    free(db->scratch);
    free(db);
    return NULL;
}

bool sql_is_connected(const struct sql *db)
{
    return atomic_load(&db->connected);
}

/* The goodbye in it is never answered, so nothing is waited for. */
void sql_drop(struct sql *db)
{
    if (!db->mysql)
        return;
    atomic_store(&db->connected, false);
    sql_statements_close(db);
    mysql_close(db->mysql);
    db->mysql = NULL;
}

/* Outside an exchange the server has nothing to say: a readable socket is its end, or a farewell
 * such as "connection was killed". */
static bool is_stale(struct sql *db)
{
    struct pollfd p = {.fd = mysql_get_socket(db->mysql), .events = POLLIN | POLLRDHUP};
    return poll(&p, 1, 0) != 0;
}

static void set_options(struct sql *db, MYSQL *mysql)
{
    unsigned seconds = (unsigned)db->timeout_s;
    unsigned connect_seconds = (unsigned)(db->options.timeout_ms + 999) / 1000;
    unsigned off = 0;
    my_bool no = 0;
    mysql_optionsv(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_seconds);
    mysql_optionsv(mysql, MYSQL_OPT_READ_TIMEOUT, &seconds);
    mysql_optionsv(mysql, MYSQL_OPT_WRITE_TIMEOUT, &seconds);
    mysql_optionsv(mysql, MYSQL_OPT_RECONNECT, &no);
    mysql_optionsv(mysql, MYSQL_OPT_LOCAL_INFILE, &off);
    mysql_optionsv(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
}

/* The server gives up a little before we do, so that a slow statement costs an answer and not the
 * connection. */
static int set_session(struct sql *db, struct error *err)
{
    char text[400];
    int lock_wait_s = db->timeout_s > LOCK_WAIT_S ? LOCK_WAIT_S : 1;
    int n = snprintf(text, sizeof text,
                     "SET SESSION tx_isolation='READ-COMMITTED', autocommit=1, "
                     "sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,"
                     "NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO', time_zone='+00:00', "
                     "idle_transaction_timeout=2, innodb_lock_wait_timeout=%d, "
                     "max_statement_time=%.1f",
                     lock_wait_s, db->timeout_s * 0.9);
    return sql_run_text(db, text, (size_t)n, err);
}

static int open_connection(struct sql *db, struct error *err)
{
    const struct sql_options *o = &db->options;
    MYSQL *mysql = mysql_init(NULL);
    if (!mysql)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    set_options(db, mysql);
    if (!mysql_real_connect(mysql, o->socket ? NULL : o->host, o->user, o->password, o->database,
                            (unsigned)o->port, o->socket, CLIENT_FOUND_ROWS)) {
        error_set(err, ERR_UNAVAILABLE, "%s (%u)", mysql_error(mysql), mysql_errno(mysql));
        mysql_close(mysql);
        return ERR_UNAVAILABLE;
    }
    db->mysql = mysql;
    if (set_session(db, err) < 0) {
        sql_drop(db);
        err->code = ERR_UNAVAILABLE;
        return ERR_UNAVAILABLE;
    }
    return 0;
}

int sql_connect(struct sql *db, struct error *err)
{
    assert(!db->pinned);
    if (db->mysql && !is_stale(db))
        return 0;
    sql_drop(db);
    int64_t now = mono_ms();
    if (now < db->retry_at_mono_ms)
        return error_set(err, ERR_UNAVAILABLE, "database: %s; next try in %d ms", db->last_error,
                         (int)(db->retry_at_mono_ms - now));
    if (open_connection(db, err) < 0) {
        db->retry_at_mono_ms = mono_ms() + backoff_next_ms(&db->backoff);
        snprintf(db->last_error, sizeof db->last_error, "%.255s", err->message);
        return error_in(err, "database");
    }
    backoff_reset(&db->backoff);
    db->retry_at_mono_ms = 0;
    atomic_store(&db->connected, true);
    return 0;
}

int sql_ensure(struct sql *db, struct error *err)
{
    assert(!db->in_rows);
    if (!db->pinned)
        return sql_connect(db, err);
    if (db->doomed)
        return error_set(err, db->doomed, "database: this transaction has ended already");
    assert(db->mysql);
    return 0;
}

int sql_run_text(struct sql *db, const char *text, size_t size, struct error *err)
{
    MYSQL *mysql = db->mysql;
    MYSQL_RES *result;
    if (mysql_real_query(mysql, text, size))
        return sql_failed(db, mysql_errno(mysql), mysql_error(mysql), err);
    result = mysql_store_result(mysql);
    if (!result && mysql_errno(mysql)) /* an error may come with the rows only */
        return sql_failed(db, mysql_errno(mysql), mysql_error(mysql), err);
    mysql_free_result(result);
    return 0;
}
