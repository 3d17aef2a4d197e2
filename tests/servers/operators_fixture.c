#include "tests/servers/operators_fixture.h"

#include "harpoon/api/admin.h"
#include "harpoon/store/seed.h"
#include "lib/rpc/rpc.h"
#include "tests/servers/operators_scheduler.h"
#include "tests/servers/servers.h"
#include "tests/support/certificates.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct sql *db;
static struct sql *other_db;
static struct sql_options mysql;
static struct catalog *catalog;
static struct accept_env accept_env;
static struct events_env env;
static const struct uuid journal = {.b = {1, 2, 3}};
static struct certificates *certificates;
static struct admin *admin;
static struct rpc_server *server;
static char folder[] = "/tmp/operators-XXXXXX";
static char operator_file[64], scheduler_file[64], nobody_file[64], silence_file[64];
const char *const ctl_as_scheduler = scheduler_file, *const ctl_to_nobody = nobody_file,
                  *const ctl_to_silence = silence_file;
static int silent_socket = -1;

/* ---- harpoonctl ---- */
static void write_config(char path[64], const char *name, const char *address, const char *role)
{
    const struct rpc_tls *tls = certificates_role(certificates, role);

    (void)snprintf(path, 64, "%s/%s", folder, name);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    fprintf(out, "api = %s\ntls-ca = %s\ntls-certificate = %s\ntls-key = %s\n", address, tls->ca,
            tls->certificate, tls->key);
    fclose(out);
}

/* What it prints, which the caller frees, and what it ends with. */
static char *run_ctl(const char *config, const char *words, const char *tail, int *ret_code)
{
    char command[4096], *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    (void)snprintf(command, sizeof command, "HARPOON_CTL_CONFIG=%s %s %s %s", config,
                   server_setting("HARPOON_TEST_CTL"), words, tail);
    fflush(NULL);
    FILE *in = popen(command, "re");
    assert_true(out != NULL && in != NULL);
    for (int c = getc(in); c != EOF; c = getc(in))
        putc(c, out);
    int status = pclose(in);
    fclose(out);
    *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return text;
}

int ctl_code(const char *words)
{
    int code;

    free(run_ctl(operator_file, words, "2>&1", &code));
    return code;
}

static char *expect_ctl(const char *config, const char *words, const char *tail, int code)
{
    int got;
    char *text = run_ctl(config, words, tail, &got);

    if (got != code)
        fail_msg("%s: ended with %d, %d is expected: %s", words, got, code, text);
    return text;
}

char *ctl_with(const char *config, int code, const char *format, ...)
{
    char words[2048];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return expect_ctl(config, words, "2>&1", code);
}

char *ctl(int code, const char *format, ...)
{
    char words[2048];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return expect_ctl(operator_file, words, "2>&1", code);
}

json_t *ctl_json(int code, const char *format, ...)
{
    char words[2048];
    json_error_t why;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(words, sizeof words, format, args);
    va_end(args);
    char *text = expect_ctl(operator_file, words, "--output json", code);
    json_t *object = json_loads(text, 0, &why);
    if (object == NULL)
        fail_msg("%s: %s: %s", words, why.text, text);
    free(text);
    return object;
}

json_t *at(json_t *object, const char *path)
{
    char copy[200], *rest = copy;
    json_t *value = object;

    (void)snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strsep(&rest, "."); part != NULL && value != NULL; part = strsep(&rest, "."))
        value = json_is_array(value) ? json_array_get(value, strtoul(part, NULL, 10))
                                     : json_object_get(value, part);
    if (value == NULL)
        fail_msg("no %s in %s", path, json_dumps(object, 0));
    return value;
}

const char *text_at(json_t *object, const char *path)
{
    const char *text = json_string_value(at(object, path));

    if (text == NULL)
        fail_msg("%s is no text in %s", path, json_dumps(object, 0));
    return text;
}

int64_t number_at(json_t *object, const char *path)
{
    json_t *value = at(object, path);

    if (!json_is_integer(value))
        fail_msg("%s is no number in %s", path, json_dumps(object, 0));
    return json_integer_value(value);
}

/* ---- the database ---- */
static struct sql *connect_database(void)
{
    struct error err;
    struct sql *ret = sql_new(&mysql);

    assert_non_null(ret);
    if (sql_connect(ret, &err) < 0)
        fail_msg("%s", err.message);
    return ret;
}

static size_t holes(const char *statement)
{
    return strchr(statement, '?') != NULL ? 1 : 0;
}

void run(const char *statement, uint64_t id)
{
    struct error err;

    if (sql_exec(db, statement, &SQL_U(id), holes(statement), &err) < 0)
        fail_msg("%s: %s", statement, err.message);
}

static int on_number(void *ctx, const struct sql_row *row, struct error *err)
{
    UNUSED(err);
    *(int64_t *)ctx = sql_row_is_null(row, 0) ? -1 : sql_row_i64(row, 0);
    return 0;
}

int64_t number(const char *statement, uint64_t id)
{
    struct error err;
    int64_t ret = -2;

    if (sql_query(db, statement, &SQL_U(id), holes(statement), on_number, &ret, &err) < 0)
        fail_msg("%s: %s", statement, err.message);
    return ret;
}

struct created create_droplet(void)
{
    struct accept_request r = {
        .account = {1},
        .region = catalog_find_region(catalog, "nyc3"),
        .size = catalog_find_size(catalog, "s-1vcpu-1gb"),
        .image = catalog_find_image_slug(catalog, (account_id){1}, "debian-12-x64"),
        .body = "{\"features\":[]}",
        .trace_id = "trace",
        .count = 1,
        .droplets = {{.name = "web"}},
    };
    struct accept_request *list[] = {&r};

    accept_creates(db, &accept_env, list, 1);
    if (r.result < 0)
        fail_msg("%s", r.err.message);
    accept_request_clear(&r);
    return (struct created){r.droplets[0].id.v, r.droplets[0].event.v};
}

void bring_attempt(uint64_t event, enum event_input_kind kind, uint64_t hypervisor,
                   unsigned attempt)
{
    struct error err;
    struct event_item item = {
        .id = {event},
        .in = {.kind = kind,
               .attempt = attempt,
               .hypervisor = {hypervisor},
               .journal = journal,
               .reason = kind == IN_CLOSED          ? REASON_HOST_DISK_FULL
                         : kind == IN_NO_ROOM       ? REASON_NO_ROOM
                         : kind == IN_NOT_CONNECTED ? REASON_NOT_CONNECTED
                                                    : REASON_NONE,
               .actor = "test"},
    };

    for (int i = 0; i < 2; i++) {
        if (events_apply(db, &env, &item, 1, &err) < 0)
            fail_msg("%s", err.message);
        if (item.outcome != OUTCOME_RELEASE_FIRST)
            break;
        item.in.released = true;
    }
    assert_int_equal(item.outcome, OUTCOME_MOVED);
}

void bring(uint64_t event, enum event_input_kind kind, uint64_t hypervisor)
{
    bring_attempt(event, kind, hypervisor, 1);
}

struct created create_failed(void)
{
    struct created c = create_droplet();
    unsigned most = event_policy_get(EVENT_CREATE)->max_attempts;

    for (unsigned attempt = 1; attempt <= most; attempt++) {
        bring_attempt(c.event, IN_DELIVERED, 10 + attempt, attempt);
        bring_attempt(c.event, IN_CLOSED, 10 + attempt, attempt);
    }
    assert_int_equal(number("SELECT state FROM events WHERE id = ?", c.event), EVENT_FAILED);
    return c;
}

struct created create_living(uint64_t hypervisor)
{
    struct created c = create_droplet();

    bring(c.event, IN_DELIVERED, hypervisor);
    bring(c.event, IN_SUCCEEDED, hypervisor);
    return c;
}

uint64_t delete_droplet(uint64_t droplet)
{
    struct droplet_delete d = {.droplet = {droplet}, .account = {1}, .actor = "customer"};
    struct error err;

    if (events_delete(db, &env, &d, 1, &err) < 0)
        fail_msg("%s", err.message);
    assert_true(d.found);
    return d.event.id.v;
}

/* ---- life ---- */
static void make_schema(void)
{
    char path[4096];
    struct error err;

    (void)snprintf(path, sizeof path, "%s/harpoon/schema", server_setting("HARPOON_TEST_SOURCE"));
    if (sql_migrate(db, path, NULL, &err) < 0 || seed_installation(db, &err) < 0 ||
        seed_catalog(db, "nyc3,ams3", &err) < 0 || catalog_load(db, &catalog, &err) < 0 ||
        ids_new("droplet", 100, &accept_env.droplet_ids, &err) < 0 ||
        ids_new("event", 100, &accept_env.event_ids, &err) < 0 ||
        addresses_new(64, &accept_env.addresses, &err) < 0)
        fail_msg("%s", err.message);
    accept_env.installation = catalog->installation;
    accept_env.create_deadline_ms = 900000;
    env = (struct events_env){&catalog->installation, accept_env.event_ids};
}

static void start_admin(void)
{
    const struct rpc_tls *tls = certificates_role(certificates, "harpoon");
    const struct admin_options options = {
        .mysql = &mysql,
        .event_ids = accept_env.event_ids,
        .addresses = accept_env.addresses,
        .create_deadline_ms = 900000,
        .schedulers = scheduler_address(),
        .tls = tls,
    };
    struct error err;

    if (admin_start(&options, &admin, &err) < 0)
        fail_msg("%s", err.message);
    const struct rpc_server_options serve = {
        .address = "127.0.0.1:0",
        .tls = *tls,
        .services = admin_service(admin),
        .service_count = 1,
    };
    if (rpc_server_start(&serve, &server, &err) < 0)
        fail_msg("%s", err.message);
}

/* A socket that connects and then says nothing. */
static int listen_silently(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof to;

    silent_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent_socket, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(listen(silent_socket, 16), 0);
    assert_int_equal(getsockname(silent_socket, (struct sockaddr *)&to, &size), 0);
    return ntohs(to.sin_port);
}

static void write_configs(void)
{
    char address[32];

    assert_non_null(mkdtemp(folder));
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", rpc_server_port(server));
    write_config(operator_file, "operator.conf", address, "operator");
    write_config(scheduler_file, "scheduler.conf", address, "scheduler");
    write_config(nobody_file, "nobody.conf", "127.0.0.1:1", "operator");
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", listen_silently());
    write_config(silence_file, "silence.conf", address, "operator");
}

void operators_begin(void)
{
    mysql = (struct sql_options){
        .socket = server_setting("HARPOON_TEST_SOCKET"),
        .user = "tester",
        .password = server_setting("HARPOON_TEST_PASSWORD"),
        .database = "test",
    };
    sql_library_init();
    rpc_library_init();
    db = connect_database();
    other_db = connect_database();
    certificates = certificates_new();
    make_schema();
    scheduler_begin(certificates_role(certificates, "scheduler"), other_db);
    start_admin();
    write_configs();
}

void operators_end(void)
{
    const char *const files[] = {operator_file, scheduler_file, nobody_file, silence_file};

    admin_set_stopping(admin);
    rpc_server_stop(server, 1000);
    admin_stop(admin);
    scheduler_stop();
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    rmdir(folder);
    close(silent_socket);
    certificates_free(certificates);
    ids_free(accept_env.droplet_ids);
    ids_free(accept_env.event_ids);
    addresses_free(accept_env.addresses);
    catalog_unref(catalog);
    sql_free(db);
    sql_free(other_db);
    rpc_library_fini();
}

void operators_reset(void)
{
    static const char *const statements[] = {
        "DELETE FROM droplets",
        "DELETE FROM events",
        "DELETE FROM event_log",
        "DELETE FROM address_free",
        "DELETE FROM queues",
        "DELETE FROM fences",
        "UPDATE accounts SET droplets = 0",
    };

    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        run(statements[i], 0);
    scheduler_forget();
}
