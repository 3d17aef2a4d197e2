#include "harpoon/setup.h"

#include "harpoon/store/seed.h"
#include "harpoon/store/tokens.h"
#include "lib/clock.h"
#include "lib/sql/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS     INT64_C(86400000)
#define TIMEOUT_MS 60000 /* a migration may take its time */

typedef int (*work_fn)(struct sql *db, const struct harpoon_config *config, struct error *err);

/* Runs `work` on a connection of its own. */
static int run(const struct harpoon_config *config, const char *user, work_fn work)
{
    struct error err;
    char *password = NULL;
    struct sql *db = NULL;

    int r = config_read_secret(config->mysql_password_file, &password, &err);
    if (r >= 0) {
        sql_library_init();
        db = sql_new(&(struct sql_options){
            .socket = config->mysql_socket,
            .host = config->mysql_host,
            .port = (int)config->mysql_port,
            .user = config->mysql_user != NULL ? config->mysql_user : user,
            .password = password,
            .database = config->mysql_database,
            .timeout_ms = TIMEOUT_MS,
        });
        r = db != NULL ? work(db, config, &err) : error_set(&err, ERR_INTERNAL, "out of memory");
        sql_free(db);
    }
    free(password);
    if (r < 0)
        (void)fprintf(stderr, "harpoon: %s\n", err.message);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void on_applied(const char *file)
{
    printf("applied %s\n", file);
}

static int migrate(struct sql *db, const struct harpoon_config *config, struct error *err)
{
    int applied = sql_migrate(db, config->schema, on_applied, err);

    if (applied < 0)
        return applied;
    int r = seed_installation(db, err);
    if (r >= 0)
        printf("schema is up to date: %d applied%s\n", applied, r > 0 ? ", installation made" : "");
    return r;
}

static int seed(struct sql *db, const struct harpoon_config *config, struct error *err)
{
    char *copy = config->images != NULL ? strdup(config->images) : NULL, *rest = copy;
    int made = 0, r = 0;

    if (config->regions != NULL)
        r = made = seed_catalog(db, config->regions, err);
    for (char *one = strsep(&rest, " "); one != NULL && r >= 0; one = strsep(&rest, " "))
        if (*one != 0)
            r = seed_image(db, one, err);
    free(copy);
    if (r >= 0)
        printf("catalogue is there: %d regions are new\n", made);
    return r;
}

static int create_account(struct sql *db, const struct harpoon_config *config, struct error *err)
{
    struct account account = {
        .droplet_limit = (uint32_t)config->droplet_limit,
        .rate_limited = config->rate_limited,
    };

    if (config->email == NULL)
        return error_set(err, ERR_INVALID, "--email is missing");
    (void)snprintf(account.email, sizeof account.email, "%s", config->email);
    (void)snprintf(account.name, sizeof account.name, "%s",
                   config->name != NULL ? config->name : config->email);
    int r = accounts_create(db, &account, err);
    if (r >= 0)
        printf("%" PRIu64 "\n", account.id.v);
    return r;
}

static int create_token(struct sql *db, const struct harpoon_config *config, struct error *err)
{
    struct token_order order = {
        .account.v = (uint64_t)config->account,
        .email = config->email,
        .name = config->name != NULL ? config->name : "",
        .read_only = config->read_only,
        .expires_at_ms = config->expires_days > 0 ? unix_ms() + config->expires_days * DAY_MS : 0,
    };
    char text[TOKEN_TEXT];

    if (config->account == 0 && config->email == NULL)
        return error_set(err, ERR_INVALID, "--account or --email is missing");
    int r = tokens_create(db, &order, text, err);
    if (r >= 0)
        printf("%s\n", text);
    explicit_bzero(text, sizeof text);
    return r;
}

int setup_migrate(const struct harpoon_config *config)
{
    return run(config, "harpoon_migrate", migrate);
}

int setup_seed(const struct harpoon_config *config)
{
    return run(config, "harpoon_api", seed);
}

int setup_account_create(const struct harpoon_config *config)
{
    return run(config, "harpoon_api", create_account);
}

int setup_token_create(const struct harpoon_config *config)
{
    return run(config, "harpoon_api", create_token);
}
