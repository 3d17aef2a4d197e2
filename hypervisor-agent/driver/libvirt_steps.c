#include "hypervisor-agent/driver/libvirt_steps.h"

#include "hypervisor-agent/driver/disk.h"
#include "hypervisor-agent/driver/droplet_files.h"
#include "hypervisor-agent/driver/libvirt_domain.h"
#include "hypervisor-agent/driver/libvirt_errors.h"
#include "hypervisor-agent/driver/seed.h"
#include "lib/clock.h"

#include <inttypes.h>
#include <libvirt/virterror.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_LOOKS = 3,          /* in an operation, before it is left for later */
    GONE_WITHIN_MS = 30000, /* QEMU, once it was killed: it may hang on its storage */
    GONE_POLL_MS = 50,
};

struct operation {
    const struct libvirt_site *site;
    virConnectPtr conn;
    struct driver_task *task;
    struct droplet droplet;
    struct droplet_files files;
    char agent_socket[PATH_MAX];
    bool broken; /* the connection */
};

/* What was found under the droplet's uuid. */
struct found {
    virDomainPtr domain; /* NULL: nothing */
    bool ours;
    struct origin origin; /* of ours */
};

static void auto_virDomainFree(virDomainPtr *v)
{
    if (*v != NULL)
        (void)virDomainFree(*v);
}

static void say(struct operation *op, const char *reason, const char *format, ...) PRINTF(3, 4);

/* What the task will answer, unless a later look finds otherwise. */
static void say(struct operation *op, const char *reason, const char *format, ...)
{
    va_list args;

    snprintf(op->task->reason, sizeof(op->task->reason), "%s", reason);
    va_start(args, format);
    vsnprintf(op->task->detail, sizeof(op->task->detail), format, args);
    va_end(args);
}

/* The call of `step` has just failed in this thread. */
static enum libvirt_verdict call_failed(struct operation *op, enum libvirt_step step)
{
    struct libvirt_failure failure;

    libvirt_failure_take(&failure);
    enum libvirt_verdict verdict = libvirt_verdict_of(step, &failure);
    const char *reason = libvirt_failure_reason(&failure);
    if (libvirt_failure_is_connection(&failure)) {
        op->broken = true;
        reason = "libvirt_away";
    } else if (verdict == VERDICT_CONFLICT) {
        reason = "not_ours";
    }
    say(op, reason, "%s: libvirt error %d of %d: %s", libvirt_step_name(step), failure.code,
        failure.domain, failure.message);
    return verdict;
}

/* Something beside libvirt failed; `reason` is the word for it when it will not work here. */
static enum libvirt_verdict host_failed(struct operation *op, const char *reason,
                                        const struct error *err)
{
    switch (err->code) {
    case ERR_NO_CAPACITY:
        say(op, "host_disk_full", "%s", err->message);
        return VERDICT_FATAL;
    case ERR_INVALID:
        say(op, reason, "%s", err->message);
        return VERDICT_FATAL;
    case ERR_CONFLICT:
        say(op, "not_ours", "%s", err->message);
        return VERDICT_CONFLICT;
    default:
        say(op, reason, "%s", err->message);
        return VERDICT_RETRY;
    }
}

int libvirt_steps_origin(virDomainPtr domain, struct origin *ret, struct error *err)
{
    struct libvirt_failure failure;
    char *xml = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, LIBVIRT_DOMAIN_NAMESPACE,
                                     VIR_DOMAIN_AFFECT_CONFIG);

    if (xml != NULL) {
        int r = libvirt_domain_parse_origin(xml, ret);
        free(xml);
        return r;
    }
    libvirt_failure_take(&failure);
    switch (failure.code) {
    case VIR_ERR_NO_DOMAIN_METADATA:
    case VIR_ERR_NO_DOMAIN:         /* gone meanwhile */
    case VIR_ERR_OPERATION_INVALID: /* transient: ours are not */
        return 0;
    default:
        return error_set(err, ERR_UNAVAILABLE, "libvirt error %d of %d: %s", failure.code,
                         failure.domain, failure.message);
    }
}

/* Looks under the uuid. VERDICT_DONE: *ret is what is there; its domain is the caller's to free. */
static enum libvirt_verdict find(struct operation *op, struct found *ret)
{
    struct error err;

    memset(ret, 0, sizeof(*ret));
    ret->domain = virDomainLookupByUUIDString(op->conn, op->droplet.uuid);
    if (ret->domain == NULL)
        return call_failed(op, LIBVIRT_LOOKUP);
    int r = libvirt_steps_origin(ret->domain, &ret->origin, &err);
    if (r < 0) {
        say(op, "hypervisor_error", "%s", err.message);
        return VERDICT_RETRY;
    }
    ret->ours = r == 1;
    return VERDICT_DONE;
}

/* Looks under the name, which must not be another domain's; `foreign_too`: nor a stranger's. */
static enum libvirt_verdict check_name(struct operation *op, bool foreign_too)
{
    AUTO(virDomainFree) virDomainPtr domain = virDomainLookupByName(op->conn, op->droplet.name);
    char uuid[VIR_UUID_STRING_BUFLEN];
    struct origin origin;
    struct error err;

    if (domain == NULL)
        return call_failed(op, LIBVIRT_LOOKUP);
    if (virDomainGetUUIDString(domain, uuid) < 0)
        return call_failed(op, LIBVIRT_LOOKUP);
    if (strcmp(uuid, op->droplet.uuid) == 0)
        return VERDICT_DONE;
    int r = foreign_too ? 0 : libvirt_steps_origin(domain, &origin, &err);
    if (r < 0) {
        say(op, "hypervisor_error", "%s", err.message);
        return VERDICT_RETRY;
    }
    if (!foreign_too && (r == 0 || !origin_is_same_droplet(&origin, &op->droplet.origin)))
        return VERDICT_DONE; /* a stranger's name is no concern of ours */
    say(op, "not_ours", "domain %s has another uuid: %s", op->droplet.name, uuid);
    return VERDICT_CONFLICT;
}

/* Who owns the files. 1: *ret. 0: there are none. Negative: *verdict says what it means. */
static int find_owner(struct operation *op, struct droplet_owner *ret,
                      enum libvirt_verdict *verdict)
{
    struct error err;
    int r = op->site->kind->has_files ? droplet_files_owner(&op->files, ret, &err) : 0;

    if (r < 0)
        *verdict = host_failed(op, "host_error", &err);
    return r;
}

static enum libvirt_verdict ensure_claimed(struct operation *op)
{
    const Harpoon__Job__V1__Image *image = op->task->job->spec->image;
    struct droplet_owner owner = {.origin = op->droplet.origin}, found;
    enum libvirt_verdict verdict = VERDICT_DONE;
    struct error err;

    int r = find_owner(op, &found, &verdict);
    if (r < 0)
        return verdict;
    if (r > 0 && !origin_is_same_attempt(&found.origin, &op->droplet.origin)) {
        say(op, "not_ours", "%s was made by event %" PRIu64 ", attempt %" PRIu32, op->files.folder,
            found.origin.event.v, found.origin.attempt);
        return VERDICT_CONFLICT;
    }
    snprintf(owner.image_sha256, sizeof(owner.image_sha256), "%s", image->sha256);
    if (r == 0 && droplet_files_claim(&op->files, &owner, &err) < 0)
        return host_failed(op, "host_error", &err);
    return VERDICT_DONE;
}

static enum libvirt_verdict ensure_image(struct operation *op, char path[PATH_MAX])
{
    const Harpoon__Job__V1__DropletSpec *spec = op->task->job->spec;
    uint64_t disk_bytes = (uint64_t)spec->disk_gib << 30;
    /* A full qcow2 file is a little larger than its disk. */
    struct image_source source = {.url = spec->image->url,
                                  .sha256 = spec->image->sha256,
                                  .max_bytes = disk_bytes + (disk_bytes >> 6) + (1 << 20),
                                  .deadline_unix_ms = op->task->job->deadline_unix_ms};
    struct disk_facts facts;
    struct error err;

    int r = image_cache_get(op->site->images, &source, path, &err);
    if (r == ERR_DEADLINE) {
        say(op, "deadline", "%s", err.message);
        return VERDICT_FATAL;
    }
    if (r < 0)
        return host_failed(op, r == ERR_INVALID ? "image_invalid" : "image_unavailable", &err);
    if (disk_inspect(path, &facts, &err) < 0) {
        (void)error_in(&err, "image");
        return host_failed(op, "image_invalid", &err);
    }
    if (facts.virtual_bytes > disk_bytes) {
        say(op, "image_too_large", "the image wants %" PRIu64 " bytes, the disk has %" PRIu64,
            facts.virtual_bytes, disk_bytes);
        return VERDICT_FATAL;
    }
    return VERDICT_DONE;
}

static enum libvirt_verdict ensure_files(struct operation *op)
{
    const Harpoon__Job__V1__DropletSpec *spec = op->task->job->spec;
    char base[PATH_MAX];
    struct error err;

    if (!op->site->kind->has_files)
        return VERDICT_DONE;
    enum libvirt_verdict verdict = ensure_claimed(op);
    if (verdict == VERDICT_DONE && !files_exists(op->files.disk)) {
        verdict = ensure_image(op, base);
        if (verdict == VERDICT_DONE &&
            disk_make_overlay(base, op->files.disk, spec->disk_gib, &err) < 0)
            verdict = host_failed(op, "disk_failed", &err);
    }
    if (verdict == VERDICT_DONE && !files_exists(op->files.seed) &&
        seed_make(op->files.seed, &op->droplet, spec, &err) < 0)
        verdict = host_failed(op, "seed_failed", &err);
    return verdict;
}

static enum libvirt_verdict define(struct operation *op, virDomainPtr *ret)
{
    const struct libvirt_site *site = op->site;
    struct libvirt_plan plan = {
        .type = site->domain_type,
        .droplet = &op->droplet,
        .spec = op->task->job->spec,
        .files = site->kind->has_files ? &op->files : NULL,
        .bridge = site->bridge,
        .agent_socket = site->agent_sockets != NULL ? op->agent_socket : NULL,
    };
    struct error err;
    char *xml = NULL;

    if (libvirt_domain_format(&plan, &xml, &err) < 0)
        return host_failed(op, "host_error", &err);
    *ret = virDomainDefineXMLFlags(op->conn, xml, site->kind->define_flags);
    free(xml);
    return *ret != NULL ? VERDICT_DONE : call_failed(op, LIBVIRT_DEFINE);
}

static enum libvirt_verdict ensure_running(struct operation *op, virDomainPtr domain)
{
    int active = virDomainIsActive(domain);

    if (active < 0)
        return call_failed(op, LIBVIRT_START);
    if (active == 1 || virDomainCreate(domain) == 0)
        return VERDICT_DONE;
    return call_failed(op, LIBVIRT_START);
}

static enum libvirt_verdict create(struct operation *op)
{
    struct found found;
    enum libvirt_verdict verdict = find(op, &found);
    AUTO(virDomainFree) virDomainPtr domain = found.domain;

    if (verdict == VERDICT_DONE && domain != NULL &&
        !(found.ours && origin_is_same_attempt(&found.origin, &op->droplet.origin))) {
        say(op, "not_ours", "domain %s was made by another", op->droplet.uuid);
        return VERDICT_CONFLICT;
    }
    if (verdict == VERDICT_DONE && domain == NULL)
        verdict = check_name(op, true);
    if (verdict == VERDICT_DONE && domain != NULL && virDomainIsActive(domain) == 1)
        return VERDICT_DONE;
    if (verdict == VERDICT_DONE)
        verdict = ensure_files(op);
    if (verdict == VERDICT_DONE && domain == NULL)
        verdict = define(op, &domain);
    if (verdict == VERDICT_DONE)
        verdict = ensure_running(op, domain);
    return verdict;
}

static enum libvirt_verdict wait_until_gone(struct operation *op, virDomainPtr domain)
{
    int64_t until_ms = mono_ms() + GONE_WITHIN_MS;

    for (;;) {
        int active = virDomainIsActive(domain);
        if (active == 0)
            return VERDICT_DONE;
        if (active < 0)
            return call_failed(op, LIBVIRT_DESTROY); /* no such domain: done */
        if (mono_ms() >= until_ms)
            break;
        clock_pause_ms(GONE_POLL_MS);
    }
    say(op, "hypervisor_error", "the domain still runs %d s after it was killed",
        GONE_WITHIN_MS / 1000);
    return VERDICT_RETRY;
}

static enum libvirt_verdict remove_domain(struct operation *op, virDomainPtr domain)
{
    enum libvirt_verdict verdict = VERDICT_DONE;

    if (virDomainDestroy(domain) < 0)
        verdict = call_failed(op, LIBVIRT_DESTROY);
    if (verdict == VERDICT_DONE)
        verdict = wait_until_gone(op, domain);
    if (verdict == VERDICT_DONE &&
        virDomainUndefineFlags(domain, op->site->kind->undefine_flags) < 0)
        verdict = call_failed(op, LIBVIRT_UNDEFINE);
    return verdict;
}

static enum libvirt_verdict remove_files(struct operation *op)
{
    struct error err;
    int r = 0;

    if (op->site->agent_sockets != NULL)
        r = files_remove(op->agent_socket, &err);
    if (r == 0)
        r = droplet_files_remove(&op->files, &err);
    if (r == 0)
        return VERDICT_DONE;
    say(op, "host_error", "%s", err.message);
    return VERDICT_RETRY; /* whatever it is: a removal is never given up */
}

static enum libvirt_verdict remove_all(struct operation *op, virDomainPtr domain)
{
    struct found found;
    enum libvirt_verdict verdict = domain != NULL ? remove_domain(op, domain) : VERDICT_DONE;

    if (verdict == VERDICT_DONE && domain != NULL) {
        verdict = find(op, &found);
        if (verdict == VERDICT_DONE && found.domain != NULL)
            verdict = VERDICT_LOOK; /* defined anew under our hands */
        auto_virDomainFree(&found.domain);
    }
    if (verdict == VERDICT_DONE && op->site->kind->has_files)
        verdict = remove_files(op);
    return verdict;
}

static enum libvirt_verdict destroy(struct operation *op)
{
    struct found found;
    struct droplet_owner owner;
    enum libvirt_verdict verdict = find(op, &found);
    AUTO(virDomainFree) virDomainPtr domain = found.domain;

    if (verdict == VERDICT_DONE)
        verdict = check_name(op, false);
    if (verdict != VERDICT_DONE)
        return verdict;
    int owned = find_owner(op, &owner, &verdict);
    if (owned < 0)
        return verdict;
    if ((domain != NULL &&
         !(found.ours && origin_is_same_droplet(&found.origin, &op->droplet.origin))) ||
        (owned > 0 && !origin_is_same_droplet(&owner.origin, &op->droplet.origin))) {
        say(op, "not_ours", "what is under %s belongs to another", op->droplet.uuid);
        return VERDICT_CONFLICT;
    }
    return remove_all(op, domain);
}

static enum libvirt_verdict undo(struct operation *op)
{
    struct found found;
    struct droplet_owner owner;
    enum libvirt_verdict verdict = find(op, &found);
    AUTO(virDomainFree) virDomainPtr domain = found.domain;

    if (verdict != VERDICT_DONE)
        return verdict;
    bool made_domain = found.ours && origin_is_same_attempt(&found.origin, &op->droplet.origin);
    if (domain != NULL && !made_domain)
        return VERDICT_DONE; /* another's: so are the files */
    int owned = find_owner(op, &owner, &verdict);
    if (owned < 0)
        return verdict == VERDICT_CONFLICT ? VERDICT_DONE : verdict;
    bool made_files = owned == 0 || origin_is_same_attempt(&owner.origin, &op->droplet.origin);
    if (!made_files)
        return domain != NULL ? remove_domain(op, domain) : VERDICT_DONE;
    return remove_all(op, domain);
}

static enum libvirt_verdict run_once(struct operation *op)
{
    switch (op->task->action) {
    case DRIVER_CREATE:
        return create(op);
    case DRIVER_DESTROY:
        return destroy(op);
    case DRIVER_UNDO:
        return undo(op);
    }
    return VERDICT_FATAL;
}

static enum driver_result result_of(enum libvirt_verdict verdict)
{
    switch (verdict) {
    case VERDICT_DONE:
        return DRIVER_DONE;
    case VERDICT_LOOK:
    case VERDICT_RETRY:
        return DRIVER_RETRY;
    case VERDICT_CONFLICT:
        return DRIVER_CONFLICT;
    case VERDICT_FATAL:
        return DRIVER_FAILED;
    }
    return DRIVER_FAILED;
}

static int prepare(struct operation *op, struct error *err)
{
    const Harpoon__Job__V1__Job *job = op->task->job;
    int r = droplet_from_job(job, op->task->hypervisor, &op->droplet, err);

    if (r == 0 && op->task->action == DRIVER_CREATE)
        r = droplet_check_spec(job->spec, err);
    if (r == 0 && op->site->kind->has_files)
        r = droplet_files_at(op->site->droplets, op->droplet.uuid, &op->files, err);
    if (r == 0 && op->site->agent_sockets != NULL)
        r = files_path(op->agent_socket, err, "%s/%" PRIu64, op->site->agent_sockets,
                       job->droplet_id);
    return r;
}

bool libvirt_steps_run(const struct libvirt_site *site, virConnectPtr conn,
                       struct driver_task *task)
{
    struct operation op = {.site = site, .conn = conn, .task = task};
    enum libvirt_verdict verdict = VERDICT_LOOK;
    struct error err;

    if (prepare(&op, &err) < 0) {
        say(&op, "bad_job", "%s", err.message);
        task->result = DRIVER_FAILED;
        return false;
    }
    for (int looks = 0; looks < MAX_LOOKS && verdict == VERDICT_LOOK; looks++)
        verdict = run_once(&op);
    task->result = result_of(verdict);
    if (task->result == DRIVER_DONE)
        task->reason[0] = task->detail[0] = 0;
    return op.broken;
}
