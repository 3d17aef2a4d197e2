#include "hypervisor-agent/driver/libvirt_connection.h"

#include "hypervisor-agent/driver/files.h"
#include "hypervisor-agent/driver/libvirt_errors.h"
#include "lib/backoff.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <errno.h>
#include <grp.h>
#include <libvirt/virterror.h>
#include <libxml/uri.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    KEEPALIVE_S = 5,
    KEEPALIVE_MISSES = 3,
    CHECK_MS = 10000, /* the keeper looks whether the connection lives */
    RETRY_MS = 200,
    RETRY_CAP_MS = 10000,
    /* sun_path holds 108 bytes; behind the root come up to 57, "/lib/qemu/domain-…/monitor.sock" */
    EMBED_ROOT_MAX = 50,
};

static const struct libvirt_kind kinds[] = {
    {.prefix = "qemu:///embed",
     .embedded = true,
     .has_files = true,
     .define_flags = VIR_DOMAIN_DEFINE_VALIDATE,
     .undefine_flags = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                       VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM},
    {.prefix = "qemu:///",
     .remote = true,
     .has_files = true,
     .define_flags = VIR_DOMAIN_DEFINE_VALIDATE,
     .undefine_flags = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                       VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM},
    /* The test driver refuses the flags it does not know. */
    {.prefix = "test://",
     .domain_type = "test",
     .undefine_flags = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA},
};

/* Nothing that wants cgroups, namespaces, a service manager or another daemon. */
static const char EMBED_CONFIGURATION[] = "security_driver = \"none\"\n"
                                          "namespaces = [ ]\n"
                                          "cgroup_controllers = [ ]\n"
                                          "stdio_handler = \"file\"\n"
                                          "max_core = 0\n";
/* Of root's besides: guests run as root, and files keep their owner. */
static const char EMBED_ROOT_CONFIGURATION[] = "user = \"root\"\n"
                                               "group = \"root\"\n"
                                               "dynamic_ownership = 0\n"
                                               "remember_owner = 0\n";

struct libvirt_connection {
    char *uri;
    const struct libvirt_kind *kind;
    pthread_t keeper;
    pthread_mutex_t lock;
    pthread_cond_t wake;  /* the keeper's; monotonic clock */
    int lifecycle_events; /* the keeper's: the callback's number */

    /* guarded by lock */
    virConnectPtr conn; /* NULL: none */
    bool suspect;
    bool stopping;
};

/* The default event loop is the process's, not a connection's: its thread runs for good. */
static struct {
    pthread_once_t once;
    int error_number;
} loop = {.once = PTHREAD_ONCE_INIT};

static void be_quiet(void *ctx, virErrorPtr e) /* errors are taken where the call is */
{
    UNUSED(ctx), UNUSED(e);
}

static void *run_loop(void *arg)
{
    UNUSED(arg);
    for (;;) {
        if (virEventRunDefaultImpl() < 0) {
            virResetLastError();
            clock_pause_ms(100); /* not a busy loop, whatever is wrong */
        }
    }
    return NULL;
}

static void start_loop(void)
{
    pthread_t thread;

    virSetErrorFunc(NULL, be_quiet);
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
        loop.error_number = EIO;
        return;
    }
    loop.error_number = pthread_create(&thread, NULL, run_loop, NULL);
    if (loop.error_number == 0) {
        pthread_setname_np(thread, "libvirt-events");
        pthread_detach(thread);
    }
}

const struct libvirt_kind *libvirt_kind_of(const char *uri)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strncmp(uri, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return &kinds[i];
    return NULL;
}

int libvirt_embed_root(const char *uri, char ret[PATH_MAX], struct error *err)
{
    xmlURIPtr parsed = xmlParseURI(uri);
    const char *query = parsed != NULL ? parsed->query_raw : NULL;
    char root[PATH_MAX] = "";

    for (const char *at = query; at != NULL; at = strchr(at, '&')) {
        at += *at == '&';
        size_t len = strcspn(at, "&");
        if (strncmp(at, "root=", 5) == 0 && len - 5 < sizeof(root) && len > 5)
            xmlURIUnescapeString(at + 5, (int)len - 5, root);
    }
    xmlFreeURI(parsed);
    if (root[0] != '/')
        return error_set(err, ERR_INVALID, "%s lacks ?root= with an absolute path", uri);
    if (strlen(root) > EMBED_ROOT_MAX)
        return error_set(err, ERR_INVALID,
                         "the root in %s is longer than %d characters: QEMU's sockets in it would "
                         "have no room for their names",
                         uri, EMBED_ROOT_MAX);
    memcpy(ret, root, sizeof(root));
    return 0;
}

/* libvirt looks them up before it reads its configuration. */
static int check_users(struct error *err)
{
    struct passwd user, *found_user = NULL;
    struct group group, *found_group = NULL;
    char buffer[16384];

    if (getpwnam_r("libvirt-qemu", &user, buffer, sizeof(buffer), &found_user) == 0 &&
        found_user != NULL &&
        getgrnam_r("libvirt-qemu", &group, buffer, sizeof(buffer), &found_group) == 0 &&
        found_group != NULL)
        return 0;
    return error_set(
        err, ERR_INVALID,
        "libvirt run by root needs the system user and group libvirt-qemu (groupadd -r "
        "libvirt-qemu; useradd -r -g libvirt-qemu -d /var/lib/libvirt -s "
        "/usr/sbin/nologin libvirt-qemu), or start as an ordinary user");
}

int libvirt_embed_prepare(const char *root, struct error *err)
{
    char folder[PATH_MAX], file[PATH_MAX],
        text[sizeof(EMBED_CONFIGURATION) + sizeof(EMBED_ROOT_CONFIGURATION)];
    bool root_user = geteuid() == 0;
    int r = root_user ? check_users(err) : 0;

    if (r == 0)
        r = files_make_folder(root, 0700, err);
    if (r == 0)
        r = files_path(folder, err, "%s/etc", root);
    if (r == 0)
        r = files_make_folder(folder, 0700, err);
    if (r == 0)
        r = files_path(file, err, "%s/qemu.conf", folder);
    if (r < 0 || files_exists(file))
        return r;
    int len = snprintf(text, sizeof(text), "%s%s", EMBED_CONFIGURATION,
                       root_user ? EMBED_ROOT_CONFIGURATION : "");
    return files_write(file, 0600, text, (size_t)len, err);
}

/* Called by the event loop. */
static void on_closed(virConnectPtr conn, int reason, void *ctx)
{
    struct libvirt_connection *c = ctx;

    UNUSED(reason);
    libvirt_connection_suspect(c, conn);
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr domain, int event, int detail, void *ctx)
{
    UNUSED(conn), UNUSED(ctx);
    if (event == VIR_DOMAIN_EVENT_STOPPED && detail == VIR_DOMAIN_EVENT_STOPPED_FAILED)
        log_warn("domain died", F_STR("domain", virDomainGetName(domain)));
    else
        log_debug("domain event", F_STR("domain", virDomainGetName(domain)), F_I64("event", event),
                  F_I64("detail", detail));
    return 0;
}

/* Closes a connection of the keeper's: callbacks hold references, too. */
static void drop(struct libvirt_connection *c, virConnectPtr conn)
{
    if (conn == NULL)
        return;
    if (c->lifecycle_events >= 0)
        (void)virConnectDomainEventDeregisterAny(conn, c->lifecycle_events);
    (void)virConnectUnregisterCloseCallback(conn, on_closed);
    (void)virConnectClose(conn);
    virResetLastError();
}

/* NULL: *failure says why. */
static virConnectPtr connect_once(struct libvirt_connection *c, struct libvirt_failure *failure)
{
    virConnectPtr conn = virConnectOpen(c->uri);

    c->lifecycle_events = -1;
    if (conn == NULL) {
        libvirt_failure_take(failure);
        return NULL;
    }
    if ((!c->kind->remote || virConnectSetKeepAlive(conn, KEEPALIVE_S, KEEPALIVE_MISSES) == 0) &&
        virConnectRegisterCloseCallback(conn, on_closed, c, NULL) == 0)
        c->lifecycle_events =
            virConnectDomainEventRegisterAny(conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                             VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), NULL, NULL);
    if (c->lifecycle_events >= 0)
        return conn;
    libvirt_failure_take(failure);
    drop(c, conn);
    return NULL;
}

/* Waits until the connection may be dead, or it is time to look, or to end. */
static bool wait_for_work(struct libvirt_connection *c, int ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    LOCK_SCOPE(&c->lock);
    while (!c->stopping && !(c->suspect && c->conn != NULL) &&
           pthread_cond_timedwait(&c->wake, &c->lock, &until) == 0)
        ;
    c->suspect = false;
    return !c->stopping;
}

/* The connection if it lives; closes it otherwise. Only the keeper sets c->conn. */
static bool check_connection(struct libvirt_connection *c)
{
    virConnectPtr conn = c->conn;

    if (conn == NULL)
        return false;
    bool alive = virConnectIsAlive(conn) == 1;
    virResetLastError();
    if (alive)
        return true;
    log_warn("libvirt's connection is lost", F_STR("uri", c->uri));
    pthread_mutex_lock(&c->lock);
    c->conn = NULL;
    pthread_mutex_unlock(&c->lock);
    drop(c, conn);
    return false;
}

static int reconnect(struct libvirt_connection *c, struct error *err)
{
    struct libvirt_failure failure;
    virConnectPtr conn = connect_once(c, &failure);

    if (conn == NULL)
        return error_set(err, ERR_UNAVAILABLE, "%s: libvirt error %d of %d: %s", c->uri,
                         failure.code, failure.domain, failure.message);
    pthread_mutex_lock(&c->lock);
    c->conn = conn;
    pthread_mutex_unlock(&c->lock);
    log_info("libvirt connected", F_STR("uri", c->uri));
    return 0;
}

static void *keep(void *arg)
{
    struct libvirt_connection *c = arg;
    struct backoff pause;
    struct error err;

    backoff_init(&pause, RETRY_MS, RETRY_CAP_MS, 0);
    for (;;) {
        bool connected = check_connection(c) || reconnect(c, &err) == 0;
        if (connected)
            backoff_reset(&pause);
        else
            log_warn("libvirt cannot be reached", F_ERROR(&err));
        if (!wait_for_work(c, connected ? CHECK_MS : backoff_next_ms(&pause)))
            return NULL;
    }
}

static int prepare(struct libvirt_connection *c, struct error *err)
{
    char root[PATH_MAX], outputs[PATH_MAX + 32];

    if (!c->kind->embedded)
        return 0;
    int r = libvirt_embed_root(c->uri, root, err);
    if (r == 0)
        r = libvirt_embed_prepare(root, err);
    if (r < 0)
        return r;
    /* Otherwise what the embedded driver has to say mixes with our log. Early: before the process
     * has other threads that read the environment. */
    snprintf(outputs, sizeof(outputs), "3:file:%s/libvirt.log", root);
    if (setenv("LIBVIRT_LOG_OUTPUTS", outputs, 0) < 0)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    return 0;
}

static int start_keeper(struct libvirt_connection *c, struct error *err)
{
    if (reconnect(c, err) < 0) {
        if (c->kind->embedded) /* what failed to start in this process never will */
            return err->code;
        log_warn("libvirt cannot be reached", F_ERROR(err));
    }
    int r = pthread_create(&c->keeper, NULL, keep, c);
    if (r != 0) {
        drop(c, c->conn);
        return error_set(err, ERR_UNAVAILABLE, "no thread: %s", strerror(r));
    }
    pthread_setname_np(c->keeper, "libvirt-keeper");
    return 0;
}

static void free_connection(struct libvirt_connection *c)
{
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c->uri);
    free(c);
}

int libvirt_connection_open(const char *uri, struct libvirt_connection **ret, struct error *err)
{
    const struct libvirt_kind *kind = libvirt_kind_of(uri);
    struct libvirt_connection *c = calloc(1, sizeof(*c));
    pthread_condattr_t monotonic;

    if (c == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&c->lock, NULL);
    c->uri = strdup(uri);
    c->kind = kind;
    int r = 0;
    if (kind == NULL)
        r = error_set(err, ERR_INVALID, "%s is not a libvirt URI this driver knows", uri);
    else if (c->uri == NULL)
        r = error_set(err, ERR_UNAVAILABLE, "out of memory");
    if (r == 0)
        r = prepare(c, err);
    if (r == 0) {
        pthread_once(&loop.once, start_loop);
        if (loop.error_number != 0)
            r = error_set(err, ERR_UNAVAILABLE, "libvirt's event loop does not start");
    }
    if (r == 0)
        r = start_keeper(c, err);
    if (r < 0) {
        free_connection(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct libvirt_connection *libvirt_connection_close(struct libvirt_connection *c)
{
    if (c == NULL)
        return NULL;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->keeper, NULL);
    drop(c, c->conn);
    free_connection(c);
    return NULL;
}

int libvirt_connection_take(struct libvirt_connection *c, virConnectPtr *ret, struct error *err)
{
    LOCK_SCOPE(&c->lock);
    if (c->conn == NULL || virConnectRef(c->conn) < 0)
        return error_set(err, ERR_UNAVAILABLE, "no connection to %s", c->uri);
    *ret = c->conn;
    return 0;
}

void libvirt_connection_give(virConnectPtr conn)
{
    if (conn != NULL)
        (void)virConnectClose(conn);
}

void libvirt_connection_suspect(struct libvirt_connection *c, virConnectPtr conn)
{
    LOCK_SCOPE(&c->lock);
    if (c->conn != conn)
        return; /* another has taken its place */
    c->suspect = true;
    pthread_cond_signal(&c->wake);
}
