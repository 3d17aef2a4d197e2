/* lib/sql/internal.h: what the files of this folder share. */
#pragma once

#include "lib/backoff.h"
#include "lib/sql/sql.h"

#include <mysql.h>
#include <stdatomic.h>

struct sql_statement;

struct sql {
    struct sql_options options; /* the strings are ours */
    int timeout_s;              /* of the connection; migrations raise it */
    MYSQL *mysql;               /* NULL: not connected */
    atomic_bool connected;      /* the same for other threads */
    struct backoff backoff;
    int64_t retry_at_mono_ms;
    char last_error[256];
    bool pinned;  /* in a transaction or migration: no other connection may take its place */
    bool in_rows; /* handing on the rows of a query */
    int doomed;   /* the code that ended this transaction: no statement may follow */
    struct sql_statement **statements;
    size_t statement_count;
    void *scratch; /* the arrays of sql_exec_array, kept for the next call */
    size_t scratch_size;
};

/* ---- error.c ---- */
/* The code for a client or server error number. *ret_lost: the connection is of no further use. */
int sql_error_code(unsigned number, bool *ret_lost);
/* Fills *err from the numbers; drops the connection when it is lost and dooms the transaction when
 * the server has ended it. Returns the code. */
int sql_failed(struct sql *db, unsigned number, const char *text, struct error *err);

/* ---- connection.c ---- */
/* Before each statement: a usable connection, or the reason why not. */
int sql_ensure(struct sql *db, struct error *err) MUST_CHECK;
void sql_drop(struct sql *db);
/* One statement in text form; its result, if any, is read and thrown away. */
int sql_run_text(struct sql *db, const char *text, size_t size, struct error *err) MUST_CHECK;

/* ---- statement.c ---- */
/* The prepared form of `text`, made when first asked for on this connection. */
int sql_statement_find(struct sql *db, const char *text, struct sql_statement **ret,
                       struct error *err) MUST_CHECK;
MYSQL_STMT *sql_statement_handle(struct sql_statement *s);
/* Checks the number of values against the placeholders. */
int sql_statement_check(const struct sql_statement *s, size_t count, struct error *err) MUST_CHECK;
/* Runs what is bound; returns the rows matched or returned. */
int64_t sql_statement_run(struct sql *db, struct sql_statement *s, struct error *err) MUST_CHECK;
void sql_statements_close(struct sql *db);

/* ---- script.c ---- */
/* The next statement of a migration at *cursor, without comments, as text the caller frees; NULL at
 * the end, or when out of memory. A statement ends at a ';' that nothing but a comment follows in
 * its line. */
char *sql_script_next(const char **cursor);
