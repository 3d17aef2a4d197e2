#include "lib/sql/internal.h"

#include <errmsg.h>
#include <mysqld_error.h>

static const struct error_row {
    unsigned number;
    int code;
    bool lost;
} rows[] = {
    {ER_LOCK_DEADLOCK, ERR_BUSY, false},
    {ER_LOCK_WAIT_TIMEOUT, ERR_BUSY, false},
    {ER_CHECKREAD, ERR_BUSY, false},
    {ER_NEED_REPREPARE, ERR_BUSY, false},
    {ER_DUP_ENTRY, ERR_CONFLICT, false},
    {ER_DUP_ENTRY_WITH_KEY_NAME, ERR_CONFLICT, false},
    {ER_STATEMENT_TIMEOUT, ERR_DEADLINE, false},
    {3024, ERR_DEADLINE, false}, /* MySQL's own statement timeout */
    {ER_DISK_FULL, ERR_UNAVAILABLE, false},
    {ER_RECORD_FILE_FULL, ERR_UNAVAILABLE, false},
    {ER_QUERY_INTERRUPTED, ERR_UNAVAILABLE, false},
    {ER_CON_COUNT_ERROR, ERR_UNAVAILABLE, true},
    {ER_TOO_MANY_USER_CONNECTIONS, ERR_UNAVAILABLE, true},
    {ER_USER_LIMIT_REACHED, ERR_UNAVAILABLE, true},
    {ER_UNKNOWN_COM_ERROR, ERR_UNAVAILABLE, true}, /* a Galera node outside the majority */
    {ER_SERVER_SHUTDOWN, ERR_UNAVAILABLE, true},
    {ER_NORMAL_SHUTDOWN, ERR_UNAVAILABLE, true},
    {ER_CONNECTION_KILLED, ERR_UNAVAILABLE, true},
    {ER_NEW_ABORTING_CONNECTION, ERR_UNAVAILABLE, true},
    {ER_UNKNOWN_STMT_HANDLER, ERR_UNAVAILABLE, true},
    /* Read-only: a demoted primary. Another address may be behind the name by now. */
    {ER_OPTION_PREVENTS_STATEMENT, ERR_UNAVAILABLE, true},
    {ER_READ_ONLY_MODE, ERR_UNAVAILABLE, true},
    /* The client library's own. */
    {CR_COMMANDS_OUT_OF_SYNC, ERR_INTERNAL, true},
    {CR_OUT_OF_MEMORY, ERR_INTERNAL, true},
    {CR_NO_PREPARE_STMT, ERR_INTERNAL, false},
    {CR_PARAMS_NOT_BOUND, ERR_INTERNAL, false},
    {CR_INVALID_PARAMETER_NO, ERR_INTERNAL, false},
    {CR_UNSUPPORTED_PARAM_TYPE, ERR_INTERNAL, false},
};

int sql_error_code(unsigned number, bool *ret_lost)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].number == number) {
            *ret_lost = rows[i].lost;
            return rows[i].code;
        }
    }
    /* Whatever else the client library complains about is about the connection. */
    *ret_lost = number >= CR_MIN_ERROR && number <= CR_MAX_ERROR;
    return *ret_lost ? ERR_UNAVAILABLE : ERR_INTERNAL;
}

int sql_failed(struct sql *db, unsigned number, const char *text, struct error *err)
{
    bool lost;
    int code = sql_error_code(number, &lost);
    error_set(err, code, "database: %s (%u)", text, number);
    if (db->pinned && (lost || code == ERR_BUSY || code == ERR_UNAVAILABLE))
        db->doomed = code;
    if (lost)
        sql_drop(db);
    return code;
}
