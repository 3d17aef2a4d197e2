#include "hypervisor-agent/packed.h"

#include "lib/uuid.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ID (UINT64_C(1) << 53)

static bool is_id(uint64_t v)
{
    return v > 0 && v < MAX_ID;
}

static bool is_uuid(const char *text)
{
    struct uuid u;
    struct error err;

    return uuid_parse(text, &u, &err) == 0;
}

bool packed_is_valid(const Harpoon__Job__V1__Job *job)
{
    bool create = job->kind == HARPOON__JOB__V1__KIND__KIND_CREATE;

    if (!create && job->kind != HARPOON__JOB__V1__KIND__KIND_DESTROY)
        return false;
    if (!is_id(job->event_id) || !is_id(job->droplet_id) || job->attempt == 0)
        return false;
    if (!is_uuid(job->droplet_uuid) || !is_uuid(job->installation_id))
        return false;
    if (create && (job->spec == NULL || job->spec->vcpus == 0 || job->spec->memory_mib == 0))
        return false;
    return harpoon__job__v1__job__get_packed_size(job) <= PACKED_MAX_JOB;
}

enum job_kind packed_kind(const Harpoon__Job__V1__Job *job)
{
    return job->kind == HARPOON__JOB__V1__KIND__KIND_DESTROY ? JOB_DESTROY : JOB_CREATE;
}

uint8_t *packed_job(const Harpoon__Job__V1__Job *job, size_t *ret_size)
{
    size_t size = harpoon__job__v1__job__get_packed_size(job);
    uint8_t *bytes = malloc(size ? size : 1);

    if (bytes == NULL)
        abort();
    *ret_size = harpoon__job__v1__job__pack(job, bytes);
    return bytes;
}

Harpoon__Job__V1__Job *packed_open(const uint8_t *bytes, size_t size)
{
    return harpoon__job__v1__job__unpack(NULL, size, bytes);
}

bool packed_strip(const uint8_t *bytes, size_t size, uint8_t **ret, size_t *ret_size)
{
    Harpoon__Job__V1__Job *job = packed_open(bytes, size);

    if (job == NULL)
        return false;
    Harpoon__Job__V1__DropletSpec *spec = job->spec;
    job->spec = NULL;
    if (spec != NULL)
        *ret = packed_job(job, ret_size);
    job->spec = spec;
    harpoon__job__v1__job__free_unpacked(job, NULL);
    return spec != NULL;
}

Harpoon__Job__V1__Job *packed_removal(const char *installation, droplet_id droplet, event_id event,
                                      uint32_t attempt)
{
    Harpoon__Job__V1__Job job = HARPOON__JOB__V1__JOB__INIT;
    struct uuid space, named;
    struct error err;
    char number[24], text[UUID_TEXT];
    size_t size;

    if (uuid_parse(installation, &space, &err) < 0)
        return NULL;
    int length = snprintf(number, sizeof number, "%" PRIu64, droplet.v);
    uuid_make_named(&space, number, (size_t)length, &named);
    uuid_format(&named, text);
    job.installation_id = (char *)(uintptr_t)installation;
    job.droplet_uuid = text;
    job.droplet_id = droplet.v;
    job.event_id = event.v;
    job.attempt = attempt;
    job.kind = HARPOON__JOB__V1__KIND__KIND_DESTROY;
    uint8_t *bytes = packed_job(&job, &size);
    Harpoon__Job__V1__Job *ret = packed_open(bytes, size);
    free(bytes);
    return ret;
}
