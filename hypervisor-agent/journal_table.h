/* hypervisor-agent/journal_table.h: the journal's tables and statements. Used by journal.c. */
#pragma once

#include "hypervisor-agent/journal.h"

#include <sqlite3.h>

#define JOURNAL_APPLICATION 0x48415247 /* "HARG" */
#define JOURNAL_VERSION     1

extern const char journal_schema[];

struct journal_statements { /* indexed by enum journal_change_kind */
    sqlite3_stmt *change[JOURNAL_PUT_HYPERVISOR + 1];
};
int journal_statements_prepare(sqlite3 *db, struct journal_statements *ret,
                               struct error *err) MUST_CHECK;
void journal_statements_fini(struct journal_statements *s);

/* Within the caller's transaction. */
int journal_apply(sqlite3 *db, struct journal_statements *s, const struct journal_change *change,
                  struct error *err) MUST_CHECK;
/* Every row through `reader`, checksums verified. */
int journal_table_read(sqlite3 *db, const struct journal_reader *reader,
                       struct error *err) MUST_CHECK;
/* Puts SQLite's own words into *err: ERR_UNAVAILABLE, or ERR_INTERNAL when the file is damaged. */
int journal_error(sqlite3 *db, const char *what, struct error *err);
