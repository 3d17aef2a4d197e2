#include "harpoon/config.h"

#include "lib/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef HARPOON_SCHEMA
#define HARPOON_SCHEMA "harpoon/schema"
#endif

#define SECRET_MAX 1024

#define STRING(option, field, value, what, text)                                                   \
    {                                                                                              \
        .name = (option), .type = OPTION_STRING, .offset = offsetof(struct harpoon_config, field), \
        .default_value = (value), .metavar = (what), .help = (text)                                \
    }
#define INTEGER(option, field, value, least, most, what, text)                                     \
    {                                                                                              \
        .name = (option), .type = OPTION_INT, .offset = offsetof(struct harpoon_config, field),    \
        .default_value = (value), .min = (least), .max = (most), .metavar = (what), .help = (text) \
    }
#define YES_NO(option, field, value, text)                                                         \
    {                                                                                              \
        .name = (option), .type = OPTION_BOOL, .offset = offsetof(struct harpoon_config, field),   \
        .default_value = (value), .help = (text)                                                   \
    }

static const struct option_def options[] = {
    {.name = "log-level",
     .type = OPTION_STRING,
     .offset = offsetof(struct harpoon_config, log_level),
     .default_value = "info",
     .choices = "debug|info|warn|error",
     .metavar = "LEVEL",
     .help = "Lines below this level are not written."},
    STRING("admin-listen", admin_listen, NULL, "ADDRESS",
           "Where /metrics, /livez and /readyz are served; without it, nowhere."),
    STRING("listen", listen, NULL, "ADDRESS", "Where RPC is served; without it, nowhere."),
    STRING("tls-ca", tls_ca, NULL, "FILE", "Certificates of the authority that peers must have."),
    STRING("tls-certificate", tls_certificate, NULL, "FILE", "Our certificate (PEM)."),
    STRING("tls-key", tls_key, NULL, "FILE", "Its private key (PEM)."),
    STRING("regions", regions, NULL, "LIST",
           "Slugs of regions, comma separated: those a worker serves, those seed makes."),

    STRING("mysql-socket", mysql_socket, NULL, "PATH", "Socket of MariaDB; wins over the host."),
    STRING("mysql-host", mysql_host, "127.0.0.1", "HOST", "Host of MariaDB."),
    INTEGER("mysql-port", mysql_port, "3306", 1, 65535, "PORT", "Port of MariaDB."),
    STRING("mysql-user", mysql_user, NULL, "NAME",
           "User of MariaDB; without it harpoon_api, harpoon_worker or harpoon_migrate."),
    STRING("mysql-password-file", mysql_password_file, NULL, "FILE",
           "Its first line is the password; without it, none."),
    STRING("mysql-database", mysql_database, "harpoon", "NAME", "Database of Harpoon."),

    STRING("amqp-host", amqp_host, "127.0.0.1", "HOST", "Host of RabbitMQ."),
    INTEGER("amqp-port", amqp_port, "5672", 1, 65535, "PORT", "Port of RabbitMQ."),
    STRING("amqp-user", amqp_user, NULL, "NAME",
           "User of RabbitMQ; without it harpoon (api) or worker."),
    STRING("amqp-password-file", amqp_password_file, NULL, "FILE",
           "Its first line is the password; without it, none."),
    STRING("amqp-vhost", amqp_vhost, "/", "NAME", "Virtual host of RabbitMQ."),
    INTEGER("queue-max-length", queue_max_length, "200000", 1, 10000000, "N",
            "api: messages a region's queue holds before it refuses more."),
    INTEGER("queue-max-mib", queue_max_mib, "1024", 1, 65536, "MIB",
            "api: bytes a region's queue holds before it refuses more."),

    STRING("http-listen", http_listen, "127.0.0.1:8080", "ADDRESS",
           "api: where the public API is served."),
    INTEGER("http-threads", http_threads, "2", 1, 64, "N", "api: threads that serve it."),
    INTEGER("http-connections", http_connections, "4096", 16, 65536, "N",
            "api: connections at a time; more are refused."),
    INTEGER("create-deadline-s", create_deadline_s, "900", 5, 86400, "SECONDS",
            "api: when a create that has not ended fails."),
    INTEGER("accept-queue", accept_queue, "4096", 16, 1000000, "N",
            "api: changes that wait for their commit; more are refused."),
    INTEGER("read-queue", read_queue, "2048", 16, 1000000, "N",
            "api: reads that wait for the database; more are refused."),
    INTEGER("rate-limit-hour", rate_limit_hour, "5000", 1, 1000000000, "N",
            "api: requests an hour for each token of a limited account."),
    INTEGER("rate-limit-minute", rate_limit_minute, "250", 1, 1000000000, "N",
            "api: requests a minute for each token of a limited account."),

    STRING("schedulers", schedulers, NULL, "LIST",
           "api, worker: addresses of the scheduler's replicas, comma separated."),
    STRING("routers", routers, NULL, "LIST",
           "worker: each region's event routers, REGION=ADDRESS|ADDRESS, comma separated."),
    INTEGER("pipelines", pipelines, "4", 1, 64, "N",
            "worker: threads that place and deliver, a batch at a time."),
    INTEGER("prefetch", prefetch, "1000", 1, 10000, "N",
            "worker: messages of a region's queue taken and not acknowledged."),

    STRING("schema", schema, HARPOON_SCHEMA, "FOLDER", "migrate: the files to apply."),

    STRING("image", images, NULL, "LIST",
           "seed: where agents fetch images, SLUG=URL,SHA256; several are separated by spaces."),

    INTEGER("account", account, "0", 0, 9007199254740991, "ID", "token: the account's number."),
    STRING("email", email, NULL, "EMAIL", "token, account: the account's address."),
    STRING("name", name, NULL, "NAME", "token, account: a name that people recognise."),
    YES_NO("read-only", read_only, "no", "token: may look, may not change anything."),
    INTEGER("expires-days", expires_days, "0", 0, 36500, "DAYS",
            "token: it ends after so many days; 0 is never."),
    INTEGER("droplet-limit", droplet_limit, "25", 0, 4294967295, "N",
            "account: droplets it may have at a time; 0 is no limit."),
    YES_NO("rate-limited", rate_limited, "yes", "account: the rate limits hold for its tokens."),
};

static const struct config_program program = {
    .name = "harpoon",
    .summary = "The control plane's API, its workers, and what sets them up.",
    .usage = "api|worker|migrate|seed|account create|token create [options]",
    .options = options,
    .option_count = ARRAY_LEN(options),
};

int harpoon_config_load(int argc, char **argv, struct harpoon_config *into, const char **words,
                        size_t *word_count, struct error *err)
{
    return config_load(&program, argc, argv, into, words, word_count, err);
}

void harpoon_config_free(struct harpoon_config *c)
{
    config_free(&program, c);
}

char *harpoon_config_format_markdown(void)
{
    return config_format_markdown(&program);
}

int config_read_secret(const char *path, char **ret, struct error *err)
{
    char line[SECRET_MAX];

    if (path == NULL) {
        *ret = strdup("");
        return *ret != NULL ? 0 : error_set(err, ERR_INTERNAL, "out of memory");
    }
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    bool got = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    size_t len = got ? strcspn(line, "\r\n") : 0;
    if (len == 0 || len == sizeof line - 1)
        return error_set(err, ERR_INVALID, "%s: the first line is empty or longer than %d", path,
                         SECRET_MAX - 2);
    line[len] = 0;
    *ret = strdup(line);
    explicit_bzero(line, sizeof line);
    return *ret != NULL ? 0 : error_set(err, ERR_INTERNAL, "out of memory");
}
