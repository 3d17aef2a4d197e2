#include "hypervisor-agent/driver/droplet.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_VCPUS = 1024,
    MAX_MEMORY_MIB = 64 << 20,
    MAX_DISK_GIB = 1 << 20,
    MAX_SSH_KEYS = 256,
    MAX_SSH_KEY_BYTES = 16 << 10,
    MAX_USER_DATA_BYTES = 256 << 10,
    MAX_ADDRESSES = 32,
    MAX_URL_BYTES = 4096,
};

bool origin_is_same_droplet(const struct origin *a, const struct origin *b)
{
    return a->droplet.v == b->droplet.v && strcmp(a->installation, b->installation) == 0;
}

bool origin_is_same_attempt(const struct origin *a, const struct origin *b)
{
    return origin_is_same_droplet(a, b) && a->event.v == b->event.v && a->attempt == b->attempt;
}

static bool is_installation(const char *text)
{
    size_t len = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");

    return len > 0 && len < ORIGIN_INSTALLATION && text[len] == 0;
}

int droplet_from_job(const Harpoon__Job__V1__Job *job, hypervisor_id hypervisor,
                     struct droplet *ret, struct error *err)
{
    struct droplet d = {.origin = {.hypervisor = hypervisor,
                                   .droplet = {job->droplet_id},
                                   .event = {job->event_id},
                                   .attempt = job->attempt}};
    struct uuid uuid;

    if (job->droplet_id == 0)
        return error_set(err, ERR_INVALID, "the job names no droplet");
    if (!is_installation(job->installation_id))
        return error_set(err, ERR_INVALID, "the job names no installation");
    int r = uuid_parse(job->droplet_uuid, &uuid, err);
    if (r < 0 || uuid_is_zero(&uuid))
        return error_set(err, ERR_INVALID, "the job has no droplet uuid");
    snprintf(d.origin.installation, sizeof(d.origin.installation), "%s", job->installation_id);
    uuid_format(&uuid, d.uuid);
    snprintf(d.name, sizeof(d.name), "droplet-%" PRIu64, job->droplet_id);
    snprintf(d.mac, sizeof(d.mac), "02:%02x:%02x:%02x:%02x:%02x", uuid.b[11], uuid.b[12],
             uuid.b[13], uuid.b[14], uuid.b[15]);
    *ret = d;
    return 0;
}

static int check_image(const Harpoon__Job__V1__Image *image, struct error *err)
{
    if (image == NULL || image->url[0] == 0 || strlen(image->url) > MAX_URL_BYTES)
        return error_set(err, ERR_INVALID, "the job has no image");
    if (strlen(image->sha256) != 64 || strspn(image->sha256, "0123456789abcdef") != 64)
        return error_set(err, ERR_INVALID, "the image has no SHA-256");
    return 0;
}

static int check_address(const Harpoon__Job__V1__Address *a, struct error *err)
{
    uint8_t bytes[16];
    bool v4 = inet_pton(AF_INET, a->address, bytes) == 1;
    bool v6 = !v4 && inet_pton(AF_INET6, a->address, bytes) == 1;

    if ((!v4 && !v6) || a->prefix_length > (v4 ? 32u : 128u))
        return error_set(err, ERR_INVALID, "the job has an address that is none");
    if (a->gateway[0] != 0 && inet_pton(v4 ? AF_INET : AF_INET6, a->gateway, bytes) != 1)
        return error_set(err, ERR_INVALID, "the job has a gateway that is none");
    return 0;
}

int droplet_check_spec(const Harpoon__Job__V1__DropletSpec *spec, struct error *err)
{
    int r = 0;

    if (spec == NULL)
        return error_set(err, ERR_INVALID, "the job says nothing about the droplet");
    if (spec->vcpus < 1 || spec->vcpus > MAX_VCPUS || spec->memory_mib < 1 ||
        spec->memory_mib > MAX_MEMORY_MIB || spec->disk_gib < 1 || spec->disk_gib > MAX_DISK_GIB)
        return error_set(err, ERR_INVALID,
                         "no droplet has %" PRIu32 " vCPUs, %" PRIu32 " MiB and %" PRIu32 " GiB",
                         spec->vcpus, spec->memory_mib, spec->disk_gib);
    if (spec->n_ssh_keys > MAX_SSH_KEYS || spec->n_addresses > MAX_ADDRESSES ||
        spec->user_data.len > MAX_USER_DATA_BYTES)
        return error_set(err, ERR_INVALID, "too many keys or addresses, or too much user data");
    for (size_t i = 0; i < spec->n_ssh_keys; i++)
        if (strlen(spec->ssh_keys[i]) > MAX_SSH_KEY_BYTES)
            return error_set(err, ERR_INVALID, "an SSH key is too long");
    for (size_t i = 0; i < spec->n_addresses && r == 0; i++)
        r = check_address(spec->addresses[i], err);
    return r < 0 ? r : check_image(spec->image, err);
}
