/* The libvirt driver: one host's domains, through any URI (qemu:///system, qemu:///session,
 * qemu:///embed?root=FOLDER, test:///default). Its threads: the event loop and the keeper of
 * libvirt_connection.h, the workers of task_pool.h, and a housekeeper of its own. The process must
 * ignore SIGPIPE, as daemon_block_signals() sees to: libvirt writes to sockets a daemon has left.
 */
#include "hypervisor-agent/driver/driver.h"

#include "hypervisor-agent/driver/droplet_files.h"
#include "hypervisor-agent/driver/files.h"
#include "hypervisor-agent/driver/host.h"
#include "hypervisor-agent/driver/image.h"
#include "hypervisor-agent/driver/libvirt_connection.h"
#include "hypervisor-agent/driver/libvirt_errors.h"
#include "hypervisor-agent/driver/libvirt_steps.h"
#include "hypervisor-agent/driver/task_pool.h"
#include "lib/clock.h"
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_PARALLEL = 4,
    RESERVED_WORKERS = 2,
    MAX_WAITING = 1024,
    HOUSEKEEPING_MS = 60000,
    CONSOLE_MAX_BYTES = 4 << 20,
    CONSOLE_KEEP_BYTES = 256 << 10,
};
static const int64_t IMAGE_UNUSED_MS = 24 * 3600 * 1000LL;

struct libvirt_driver {
    struct libvirt_connection *connection;
    struct image_cache *images;
    struct task_pool *pool;
    struct libvirt_site site;
    char *domain_type, *bridge;
    char state_dir[PATH_MAX], droplets[PATH_MAX], image_folder[PATH_MAX], agent_sockets[PATH_MAX];
    int lock_fd;
    pthread_t housekeeper;
    bool has_housekeeper;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the housekeeper's; monotonic clock */

    /* guarded by lock */
    char installation[ORIGIN_INSTALLATION]; /* empty: any */
    struct host_counters last;
    bool stopping;
};

/* Images that disks lean on. */
struct used_images {
    char (*sha256)[65];
    size_t count, size;
    bool incomplete;
};

static void run_task(void *ctx, struct driver_task *task)
{
    struct libvirt_driver *d = ctx;
    virConnectPtr conn = NULL;
    struct error err;

    if (libvirt_connection_take(d->connection, &conn, &err) < 0) {
        task->result = DRIVER_RETRY;
        snprintf(task->reason, sizeof(task->reason), "libvirt_away");
        snprintf(task->detail, sizeof(task->detail), "%.*s", (int)sizeof(task->detail) - 1,
                 err.message);
        return;
    }
    if (libvirt_steps_run(&d->site, conn, task))
        libvirt_connection_suspect(d->connection, conn);
    libvirt_connection_give(conn);
}

static void note_image(void *ctx, const struct droplet_files *files,
                       const struct droplet_owner *owner)
{
    struct used_images *used = ctx;

    UNUSED(files);
    if (used->count == used->size) {
        size_t size = used->size == 0 ? 64 : used->size * 2;
        void *bigger = realloc(used->sha256, size * sizeof(*used->sha256));
        if (bigger == NULL) {
            used->incomplete = true;
            return;
        }
        used->sha256 = bigger;
        used->size = size;
    }
    memcpy(used->sha256[used->count++], owner->image_sha256, sizeof(*used->sha256));
}

static bool is_image_used(void *ctx, const char *sha256)
{
    const struct used_images *used = ctx;

    for (size_t i = 0; i < used->count; i++)
        if (strcmp(used->sha256[i], sha256) == 0)
            return true;
    return false;
}

static void collect_images(struct libvirt_driver *d)
{
    struct used_images used = {0};
    struct error err;

    int r = droplet_files_each(d->droplets, note_image, &used, &err);
    if (r == 0 && !used.incomplete)
        r = image_cache_collect(d->images, unix_ms() - IMAGE_UNUSED_MS, is_image_used, &used, &err);
    if (r < 0)
        log_warn("images not collected", F_ERROR(&err));
    else if (r > 0)
        log_info("images nobody uses removed", F_I64("count", r));
    free(used.sha256);
}

static void trim_console(void *ctx, const struct droplet_files *files,
                         const struct droplet_owner *owner)
{
    struct error err;

    UNUSED(ctx);
    if (droplet_files_trim_console(files, CONSOLE_MAX_BYTES, CONSOLE_KEEP_BYTES, &err) < 0)
        log_warn("console not shortened", F_DROPLET(owner->origin.droplet.v), F_ERROR(&err));
}

static bool wait_for_housekeeping(struct libvirt_driver *d)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += HOUSEKEEPING_MS / 1000;
    LOCK_SCOPE(&d->lock);
    while (!d->stopping && pthread_cond_timedwait(&d->wake, &d->lock, &until) == 0)
        ;
    return !d->stopping;
}

static void *keep_house(void *arg)
{
    struct libvirt_driver *d = arg;
    struct error err;

    while (wait_for_housekeeping(d)) {
        if (droplet_files_each(d->droplets, trim_console, NULL, &err) < 0)
            log_warn("consoles not all looked at", F_ERROR(&err));
        collect_images(d);
    }
    return NULL;
}

static void set_installation(void *self, const char *installation_id)
{
    struct libvirt_driver *d = self;

    LOCK_SCOPE(&d->lock);
    snprintf(d->installation, sizeof(d->installation), "%s",
             installation_id != NULL ? installation_id : "");
}

/* Two processes in one folder would not know of each other's work. */
static int lock_folder(struct libvirt_driver *d, struct error *err)
{
    char path[PATH_MAX];
    int r = files_path(path, err, "%s/libvirt.lock", d->state_dir);

    if (r < 0)
        return r;
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return files_error(err, errno, "open", path);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, ERR_CONFLICT, "another process works in %s", d->state_dir);
    return 0;
}

static int open_folders(struct libvirt_driver *d, struct error *err)
{
    int r = files_path(d->droplets, err, "%s/droplets", d->state_dir);

    if (r == 0)
        r = files_path(d->image_folder, err, "%s/images", d->state_dir);
    if (r == 0)
        r = files_make_folder(d->droplets, 0711, err);
    if (r == 0)
        r = files_make_folder(d->image_folder, 0711, err);
    if (r == 0)
        r = lock_folder(d, err);
    if (r == 0)
        r = image_cache_open(d->image_folder, &d->images, err);
    d->site.images = d->images;
    return r;
}

static int open_agent_sockets(struct libvirt_driver *d, const char *uri, struct error *err)
{
    char root[PATH_MAX];

    if (!d->site.kind->embedded)
        return 0;
    /* Where libvirt would put them their names were too long for a socket. */
    int r = libvirt_embed_root(uri, root, err);
    if (r == 0)
        r = files_path(d->agent_sockets, err, "%s/agent", root);
    if (r == 0)
        r = files_make_folder(d->agent_sockets, 0700, err);
    d->site.agent_sockets = d->agent_sockets;
    return r;
}

static int configure(struct libvirt_driver *d, const struct driver_config *config,
                     struct error *err)
{
    const char *type = config->libvirt_virt_type != NULL ? config->libvirt_virt_type : "qemu";
    const struct libvirt_kind *kind =
        config->libvirt_uri != NULL ? libvirt_kind_of(config->libvirt_uri) : NULL;

    if (kind == NULL)
        return error_set(err, ERR_INVALID, "%s is not a libvirt URI this driver knows",
                         config->libvirt_uri != NULL ? config->libvirt_uri : "nothing");
    if (strcmp(type, "qemu") != 0 && strcmp(type, "kvm") != 0)
        return error_set(err, ERR_INVALID, "virt type %s is neither qemu nor kvm", type);
    if (config->state_dir == NULL || config->state_dir[0] != '/')
        return error_set(err, ERR_INVALID, "the state folder must be an absolute path");
    d->domain_type = strdup(kind->domain_type != NULL ? kind->domain_type : type);
    if (config->libvirt_bridge != NULL && config->libvirt_bridge[0] != 0)
        d->bridge = strdup(config->libvirt_bridge);
    if (d->domain_type == NULL ||
        (config->libvirt_bridge != NULL && config->libvirt_bridge[0] != 0 && d->bridge == NULL))
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    d->site = (struct libvirt_site){.kind = kind,
                                    .domain_type = d->domain_type,
                                    .bridge = d->bridge,
                                    .droplets = d->droplets};
    set_installation(d, config->installation_id);
    return files_path(d->state_dir, err, "%s", config->state_dir);
}

static int start_threads(struct libvirt_driver *d, const struct driver_config *config,
                         struct error *err)
{
    struct task_pool_options options = {
        .name = "libvirt-worker",
        .parallel_creates = config->max_parallel > 0 ? config->max_parallel : DEFAULT_PARALLEL,
        .reserved = RESERVED_WORKERS,
        .max_waiting = MAX_WAITING,
        .run = run_task,
        .ctx = d,
    };
    int r = task_pool_start(&options, &d->pool, err);

    if (r < 0)
        return r;
    int failed = pthread_create(&d->housekeeper, NULL, keep_house, d);
    if (failed != 0)
        return error_set(err, ERR_UNAVAILABLE, "no thread: %s", strerror(failed));
    d->has_housekeeper = true;
    pthread_setname_np(d->housekeeper, "libvirt-house");
    return 0;
}

static void driver_close(void *self)
{
    struct libvirt_driver *d = self;

    if (d->images != NULL)
        image_cache_stop(d->images);
    d->pool = task_pool_stop(d->pool);
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (d->has_housekeeper)
        pthread_join(d->housekeeper, NULL);
    d->connection = libvirt_connection_close(d->connection);
    d->images = image_cache_close(d->images);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    free(d->domain_type);
    free(d->bridge);
    free(d);
}

static int driver_open(const struct driver_config *config, void **ret, struct error *err)
{
    struct libvirt_driver *d = calloc(1, sizeof(*d));
    pthread_condattr_t monotonic;

    if (d == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    d->lock_fd = -1;
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int r = configure(d, config, err);
    if (r == 0)
        r = open_folders(d, err);
    if (r == 0)
        r = libvirt_connection_open(config->libvirt_uri, &d->connection, err);
    if (r == 0)
        r = open_agent_sockets(d, config->libvirt_uri, err);
    if (r == 0)
        r = start_threads(d, config, err);
    if (r < 0) {
        driver_close(d);
        return r;
    }
    *ret = d;
    return 0;
}

static int driver_begin(void *self, struct driver_task *task, struct error *err)
{
    struct libvirt_driver *d = self;

    return task_pool_push(d->pool, task, err);
}

/* Tells `each` of a domain if it is one of ours. */
static int tell(virDomainPtr domain, const char *installation,
                void (*each)(void *ctx, const struct driver_domain *d), void *ctx,
                struct error *err)
{
    struct origin origin;
    int r = libvirt_steps_origin(domain, &origin, err);

    if (r <= 0 || (installation[0] != 0 && strcmp(installation, origin.installation) != 0))
        return r < 0 ? r : 0;
    struct driver_domain found = {.hypervisor = origin.hypervisor,
                                  .droplet = origin.droplet,
                                  .event = origin.event,
                                  .attempt = origin.attempt,
                                  .running = virDomainIsActive(domain) == 1};
    each(ctx, &found);
    return 0;
}

/* libvirt's host is one hypervisor: what is ours on it is listed whatever number it was made for.
 */
static int driver_list(void *self, hypervisor_id hypervisor,
                       void (*each)(void *ctx, const struct driver_domain *d), void *ctx,
                       struct error *err)
{
    struct libvirt_driver *d = self;
    char installation[ORIGIN_INSTALLATION];
    struct libvirt_failure failure;
    virDomainPtr *domains = NULL;
    virConnectPtr conn = NULL;

    UNUSED(hypervisor);
    pthread_mutex_lock(&d->lock);
    memcpy(installation, d->installation, sizeof(installation));
    pthread_mutex_unlock(&d->lock);
    int r = libvirt_connection_take(d->connection, &conn, err);
    if (r < 0)
        return r;
    int count = virConnectListAllDomains(conn, &domains, 0);
    if (count < 0) {
        libvirt_failure_take(&failure);
        if (libvirt_failure_is_connection(&failure))
            libvirt_connection_suspect(d->connection, conn);
        r = error_set(err, ERR_UNAVAILABLE, "list: libvirt error %d of %d: %s", failure.code,
                      failure.domain, failure.message);
    }
    for (int i = 0; i < count; i++) {
        if (r == 0)
            r = tell(domains[i], installation, each, ctx, err);
        (void)virDomainFree(domains[i]);
    }
    free(domains);
    libvirt_connection_give(conn);
    return r;
}

static int driver_capacity(void *self, hypervisor_id hypervisor, struct driver_capacity *ret,
                           struct error *err)
{
    struct libvirt_driver *d = self;

    UNUSED(hypervisor);
    return host_read_capacity(d->state_dir, droplet_files_bytes(d->droplets), ret, err);
}

static int driver_sample(void *self, hypervisor_id hypervisor, struct driver_sample *ret,
                         struct error *err)
{
    struct libvirt_driver *d = self;
    struct host_counters now;
    int r = host_read_counters(&now, err);

    UNUSED(hypervisor);
    if (r < 0)
        return r;
    LOCK_SCOPE(&d->lock);
    if (d->last.at_mono_ms == 0) /* the first: since boot, of the network nothing */
        d->last.network_bytes = now.network_bytes;
    host_compare(&d->last, &now, ret);
    d->last = now;
    return 0;
}

const struct driver driver_libvirt = {
    .name = "libvirt",
    .open = driver_open,
    .close = driver_close,
    .begin = driver_begin,
    .list = driver_list,
    .capacity = driver_capacity,
    .sample = driver_sample,
    .set_installation = set_installation,
};
