/* lib/sql/sql.h: one connection to MariaDB, used by one thread at a time. Only this folder knows
 * the client library. It connects when first used and again after it was lost (backing off, never
 * inside a transaction), sets READ COMMITTED, idle_transaction_timeout=2,
 * innodb_lock_wait_timeout=3, strict SQL mode, UTC, and prepares each statement once (by the
 * address of its text, so pass constants). Blocks: never from a loop thread. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql;
struct sql_row;

struct sql_options {
    const char *socket; /* NULL: host and port */
    const char *host;
    int port;
    const char *user;
    const char *password;
    const char *database;
    int timeout_ms; /* connect, read, write; 0: 5,000 */
};

enum sql_type { SQL_NULL, SQL_I64, SQL_U64, SQL_BYTES };
struct sql_value {
    enum sql_type type;
    int64_t i64;
    uint64_t u64;
    const void *bytes; /* borrowed for the call */
    size_t size;
};
#define SQL_N       ((struct sql_value){.type = SQL_NULL})
#define SQL_I(v)    ((struct sql_value){.type = SQL_I64, .i64 = (v)})
#define SQL_U(v)    ((struct sql_value){.type = SQL_U64, .u64 = (v)})
#define SQL_B(p, n) ((struct sql_value){.type = SQL_BYTES, .bytes = (p), .size = (n)})
struct sql_value sql_text(const char *text); /* NULL gives SQL_N */
#define SQL_T(s) sql_text(s)

/* Once per process before threads, and per thread that uses the module. */
void sql_library_init(void);
void sql_thread_end(void);

/* Options are copied; does not connect yet. NULL only when out of memory. */
struct sql *sql_new(const struct sql_options *options);
struct sql *sql_free(struct sql *db); /* NULL is fine; gives NULL */
AUTO_DEFINE(sql_free, struct sql *)

/* Connects if there is no connection. ERR_UNAVAILABLE. */
int sql_connect(struct sql *db, struct error *err) MUST_CHECK;
bool sql_is_connected(const struct sql *db); /* any thread: for readiness */

/* Runs one statement. Returns the rows matched (not only those changed) or a negative code:
 * ERR_UNAVAILABLE (lost, read-only, full), ERR_CONFLICT (duplicate key), ERR_BUSY (deadlock or lock
 * wait: repeat the transaction; sql_transact does), ERR_DEADLINE, ERR_INTERNAL (our statement is
 * wrong). */
int64_t sql_exec(struct sql *db, const char *statement, const struct sql_value *values,
                 size_t count, struct error *err) MUST_CHECK;
/* The same statement for `rows` rows in one round trip (array binding): `values` holds rows *
 * columns values, row by row; a column has one type in all rows, or NULL. Returns the rows matched
 * in all. rows = 0 does nothing. Only inside sql_transact is it all rows or none: by itself an
 * UPDATE or DELETE that fails at its third row has changed two. */
int64_t sql_exec_array(struct sql *db, const char *statement, const struct sql_value *values,
                       size_t columns, size_t rows, struct error *err) MUST_CHECK;

/* Called for each row; return 0 to go on, a negative code to stop (with *err set). All rows have
 * been read by then; `db` must not be used from inside. */
typedef int (*sql_row_fn)(void *ctx, const struct sql_row *row, struct error *err);
/* Returns the number of rows. */
int64_t sql_query(struct sql *db, const char *statement, const struct sql_value *values,
                  size_t count, sql_row_fn on_row, void *ctx, struct error *err) MUST_CHECK;
/* `statement` holds one %s, which becomes the ids (1..10,000, not prepared): "… WHERE id IN (%s)
 * FOR UPDATE". Write FORCE INDEX (PRIMARY) in it: a long list must never become a scan. */
int64_t sql_query_ids(struct sql *db, const char *statement, const uint64_t *ids, size_t count,
                      sql_row_fn on_row, void *ctx, struct error *err) MUST_CHECK;

bool sql_row_is_null(const struct sql_row *row, size_t column);
int64_t sql_row_i64(const struct sql_row *row, size_t column);  /* 0 when NULL */
uint64_t sql_row_u64(const struct sql_row *row, size_t column); /* 0 when NULL */
/* NUL-terminated, valid until the callback returns; "" when NULL. */
const char *sql_row_text(const struct sql_row *row, size_t column);
const void *sql_row_bytes(const struct sql_row *row, size_t column, size_t *ret_size);

/* Runs `body` between BEGIN and COMMIT; whatever it returns below 0 rolls back. A deadlock or lock
 * wait in it or in the COMMIT runs it again, up to 5 times with jitter, so it must be able to.
 * ERR_UNAVAILABLE after a COMMIT was sent leaves the outcome unknown: read before acting on it.
 * Returns what body returned. */
typedef int (*sql_body_fn)(struct sql *db, void *ctx, struct error *err);
int sql_transact(struct sql *db, sql_body_fn body, void *ctx, struct error *err) MUST_CHECK;

/* Applies the files 0001_*.sql, 0002_*.sql … of `folder` that `schema_migrations` does not list, in
 * order, each statement by itself (ended by a ';' at a line's end). `on_applied` may be NULL.
 * Returns how many were applied. */
int sql_migrate(struct sql *db, const char *folder, void (*on_applied)(const char *file),
                struct error *err) MUST_CHECK;
