/* harpoon/config.h: the options of every word of the binary `harpoon`, in one table.
 * Threads: filled once in main(), then only read. */
#pragma once

#include "lib/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct harpoon_config {
    /* every word */
    char *log_level;
    char *admin_listen; /* /metrics, /livez, /readyz; NULL: none */
    char *listen;       /* RPC; NULL: none */
    char *tls_ca, *tls_certificate, *tls_key;
    char *regions; /* slugs, comma separated */

    char *mysql_socket, *mysql_host;
    int64_t mysql_port;
    char *mysql_user; /* NULL: harpoon_WORD */
    char *mysql_password_file, *mysql_database;

    char *amqp_host;
    int64_t amqp_port;
    char *amqp_user; /* NULL: the word's own */
    char *amqp_password_file, *amqp_vhost;
    int64_t queue_max_length, queue_max_mib;

    /* api */
    char *http_listen;
    int64_t http_threads, http_connections;
    int64_t create_deadline_s;
    int64_t accept_queue, read_queue;
    int64_t rate_limit_hour, rate_limit_minute;

    /* api, worker */
    char *schedulers; /* addresses, comma separated */

    /* worker */
    char *routers; /* nyc3=ADDRESS|ADDRESS,ams3=… */
    int64_t pipelines, prefetch;

    /* migrate */
    char *schema;

    /* seed */
    char *images; /* SLUG=URL,SHA256, several separated by spaces */

    /* token, account */
    int64_t account;
    char *email, *name;
    bool read_only;
    int64_t expires_days;
    int64_t droplet_limit;
    bool rate_limited;
};

/* Fills *into from the command line and --config; the words are left in `words`, *word_count of
 * them at most. --help prints and exits. */
int harpoon_config_load(int argc, char **argv, struct harpoon_config *into, const char **words,
                        size_t *word_count, struct error *err) MUST_CHECK;
void harpoon_config_free(struct harpoon_config *c);
/* The options as a Markdown table, which the caller frees. */
char *harpoon_config_format_markdown(void);

/* The first line of `path` without its end, which the caller frees; of a NULL path an empty text.
 * ERR_INVALID: cannot be read, is empty or too long. */
int config_read_secret(const char *path, char **ret, struct error *err) MUST_CHECK;
