/* scheduler/config.h: the options of `scheduler serve` and `scheduler migrate`, in one table.
 * Threads: filled once in main(), then only read. */
#pragma once

#include "lib/error.h"
#include "lib/rpc/rpc.h"
#include "lib/sql/sql.h"

#include <stdint.h>

struct scheduler_config {
    char *log_level;
    char *admin_listen; /* NULL: none */

    char *mysql_socket, *mysql_host;
    int64_t mysql_port;
    char *mysql_user; /* NULL: scheduler, or scheduler_migrate */
    char *mysql_password_file, *mysql_database;

    /* serve */
    char *listen;
    char *advertise; /* NULL: as listen */
    char *regions;
    char *harpoon; /* NULL: claims are not reconciled */
    char *tls_ca, *tls_certificate, *tls_key;
    int64_t rpc_threads;
    int64_t max_creates, max_queued, commit_spacing_ms, reconcile_after_ms;

    /* migrate */
    char *schema;
};

/* Fills *into from the command line and --config; the words are left in `words`, *word_count of
 * them at most. --help prints and exits. */
int scheduler_config_load(int argc, char **argv, struct scheduler_config *into, const char **words,
                          size_t *word_count, struct error *err) MUST_CHECK;
void scheduler_config_free(struct scheduler_config *c);

/* ERR_INVALID: names an option that `serve` cannot do without. */
int scheduler_config_check_serve(const struct scheduler_config *c, struct error *err) MUST_CHECK;
/* How to reach the database; `password` (see scheduler_config_read_password) is borrowed. */
void scheduler_config_sql(const struct scheduler_config *c, const char *default_user,
                          const char *password, struct sql_options *ret);
/* The first line of the password file, which the caller frees; empty when there is no such option.
 * ERR_INVALID: it cannot be read or is empty. */
int scheduler_config_read_password(const struct scheduler_config *c, char **ret,
                                   struct error *err) MUST_CHECK;
struct rpc_tls scheduler_config_tls(const struct scheduler_config *c);
