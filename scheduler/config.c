#include "scheduler/config.h"

#include "lib/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef SCHEDULER_SCHEMA
#define SCHEDULER_SCHEMA "scheduler/schema"
#endif

#define SECRET_MAX 1024

#define STRING(option, field, value, what, text)                                                   \
    {                                                                                              \
        .name = (option), .type = OPTION_STRING,                                                   \
        .offset = offsetof(struct scheduler_config, field), .default_value = (value),              \
        .metavar = (what), .help = (text)                                                          \
    }
#define INTEGER(option, field, value, least, most, what, text)                                     \
    {                                                                                              \
        .name = (option), .type = OPTION_INT, .offset = offsetof(struct scheduler_config, field),  \
        .default_value = (value), .min = (least), .max = (most), .metavar = (what), .help = (text) \
    }

static const struct option_def options[] = {
    {.name = "log-level",
     .type = OPTION_STRING,
     .offset = offsetof(struct scheduler_config, log_level),
     .default_value = "info",
     .choices = "debug|info|warn|error",
     .metavar = "LEVEL",
     .help = "Lines below this level are not written."},
    STRING("admin-listen", admin_listen, NULL, "ADDRESS",
           "Where /metrics, /livez and /readyz are served; without it, nowhere."),

    STRING("mysql-socket", mysql_socket, NULL, "PATH", "Socket of MariaDB; wins over the host."),
    STRING("mysql-host", mysql_host, "127.0.0.1", "HOST", "Host of MariaDB."),
    INTEGER("mysql-port", mysql_port, "3306", 1, 65535, "PORT", "Port of MariaDB."),
    STRING("mysql-user", mysql_user, NULL, "NAME",
           "User of MariaDB; without it scheduler or scheduler_migrate."),
    STRING("mysql-password-file", mysql_password_file, NULL, "FILE",
           "Its first line is the password; without it, none."),
    STRING("mysql-database", mysql_database, "scheduler", "NAME", "Database of the scheduler."),

    STRING("listen", listen, NULL, "ADDRESS", "serve: where RPC is served."),
    STRING("advertise", advertise, NULL, "ADDRESS",
           "serve: the address that others are told; without it that of --listen."),
    STRING("regions", regions, NULL, "LIST",
           "serve: slugs of the regions to lead or follow, comma separated."),
    STRING("harpoon", harpoon, NULL, "LIST",
           "serve: addresses of Harpoon's workers, asked about old claims; without it none are "
           "released."),
    STRING("tls-ca", tls_ca, NULL, "FILE", "serve: authority that peers' certificates must have."),
    STRING("tls-certificate", tls_certificate, NULL, "FILE", "serve: our certificate (PEM)."),
    STRING("tls-key", tls_key, NULL, "FILE", "serve: its private key (PEM)."),
    INTEGER("rpc-threads", rpc_threads, "2", 1, 64, "N", "serve: threads that serve RPC."),
    INTEGER("max-creates-in-flight", max_creates, "8", 0, 65535, "N",
            "serve: a hypervisor with so many creates in flight is given no more; 0 is no limit."),
    INTEGER("max-queued", max_queued, "32768", 1000, 10000000, "N",
            "serve: changes that wait for their commit; more are refused."),
    INTEGER("commit-spacing-ms", commit_spacing_ms, "5", 0, 1000, "MS",
            "serve: a busy replica starts commits no closer than this, unless a batch is full."),
    INTEGER("reconcile-after-ms", reconcile_after_ms, "60000", 1000, 86400000, "MS",
            "serve: claims older than this are asked about."),

    STRING("schema", schema, SCHEDULER_SCHEMA, "FOLDER", "migrate: the files to apply."),
};

static const struct config_program program = {
    .name = "scheduler",
    .summary = "Places droplets on hypervisors: claims capacity, once, and releases it.",
    .usage = "serve|migrate [options]",
    .options = options,
    .option_count = ARRAY_LEN(options),
};

int scheduler_config_load(int argc, char **argv, struct scheduler_config *into, const char **words,
                          size_t *word_count, struct error *err)
{
    return config_load(&program, argc, argv, into, words, word_count, err);
}

void scheduler_config_free(struct scheduler_config *c)
{
    config_free(&program, c);
}

int scheduler_config_check_serve(const struct scheduler_config *c, struct error *err)
{
    const struct {
        const char *option, *value;
    } needed[] = {
        {"listen", c->listen},   {"regions", c->regions},
        {"tls-ca", c->tls_ca},   {"tls-certificate", c->tls_certificate},
        {"tls-key", c->tls_key},
    };

    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!needed[i].value)
            return error_set(err, ERR_INVALID, "serve: --%s is missing", needed[i].option);
    return 0;
}

void scheduler_config_sql(const struct scheduler_config *c, const char *default_user,
                          const char *password, struct sql_options *ret)
{
    *ret = (struct sql_options){
        .socket = c->mysql_socket,
        .host = c->mysql_host,
        .port = (int)c->mysql_port,
        .user = c->mysql_user ? c->mysql_user : default_user,
        .password = password,
        .database = c->mysql_database,
    };
}

int scheduler_config_read_password(const struct scheduler_config *c, char **ret, struct error *err)
{
    char line[SECRET_MAX] = "";
    const char *path = c->mysql_password_file;

    if (path) {
        FILE *f = fopen(path, "re");
        if (!f)
            return error_set(err, ERR_INVALID, "mysql-password-file: %s: %s", path,
                             strerror(errno));
        bool got = fgets(line, sizeof(line), f) != NULL;
        fclose(f);
        line[strcspn(line, "\r\n")] = '\0';
        if (!got || line[0] == '\0')
            return error_set(err, ERR_INVALID, "mysql-password-file: %s: the first line is empty",
                             path);
    }
    *ret = strdup(line);
    explicit_bzero(line, sizeof(line));
    return *ret ? 0 : error_set(err, ERR_INTERNAL, "out of memory");
}

struct rpc_tls scheduler_config_tls(const struct scheduler_config *c)
{
    return (struct rpc_tls){.ca = c->tls_ca, .certificate = c->tls_certificate, .key = c->tls_key};
}
