#include "hypervisor-agent/driver/disk.h"

#include "hypervisor-agent/driver/files.h"
#include "hypervisor-agent/driver/program.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct program_limits INSPECT_LIMITS = {.timeout_ms = 60000,
                                                     .cpu_s = 30,
                                                     .memory_bytes = 1 << 30,
                                                     .output_bytes = 64 << 10};
static const struct program_limits MAKE_LIMITS = {.timeout_ms = 120000,
                                                  .cpu_s = 60,
                                                  .memory_bytes = 1 << 30,
                                                  .output_bytes = 4 << 10};

static void auto_json_decref(json_t **v)
{
    json_decref(*v);
}

static int check_facts(const json_t *info, struct error *err)
{
    static const char *const leaning[] = {"backing-filename", "full-backing-filename",
                                          "backing-filename-format"};
    const json_t *specific = json_object_get(info, "format-specific");
    const json_t *data = json_object_get(specific, "data");
    const char *format = json_string_value(json_object_get(info, "format"));

    if (format == NULL || strcmp(format, "qcow2") != 0)
        return error_set(err, ERR_INVALID, "it is not a qcow2 image");
    for (size_t i = 0; i < ARRAY_LEN(leaning); i++)
        if (json_object_get(info, leaning[i]) != NULL)
            return error_set(err, ERR_INVALID, "it has a backing file");
    if (json_object_get(data, "data-file") != NULL)
        return error_set(err, ERR_INVALID, "it has a data file");
    if (json_object_get(data, "encrypt") != NULL ||
        json_is_true(json_object_get(info, "encrypted")))
        return error_set(err, ERR_INVALID, "it is encrypted");
    if (json_is_true(json_object_get(data, "corrupt")) ||
        json_is_true(json_object_get(info, "dirty-flag")))
        return error_set(err, ERR_INVALID, "it is damaged");
    return 0;
}

int disk_parse_facts(const char *json, struct disk_facts *ret, struct error *err)
{
    AUTO(json_decref) json_t *info = json_loads(json, 0, NULL);

    if (!json_is_object(info))
        return error_set(err, ERR_INVALID, "qemu-img printed no JSON object");
    int r = check_facts(info, err);
    if (r < 0)
        return r;
    json_int_t size = json_integer_value(json_object_get(info, "virtual-size"));
    if (size <= 0)
        return error_set(err, ERR_INVALID, "it has no size");
    ret->virtual_bytes = (uint64_t)size;
    return 0;
}

int disk_inspect(const char *path, struct disk_facts *ret, struct error *err)
{
    const char *const argv[] = {"qemu-img", "info", "--force-share", "-f", "qcow2", "--output=json",
                                path,       NULL};
    char *json = NULL;

    int r = program_run(argv, &INSPECT_LIMITS, &json, err);
    if (r == ERR_TOO_LARGE)
        return error_set(err, ERR_INVALID, "qemu-img has too much to say about it");
    if (r == 0)
        r = disk_parse_facts(json, ret, err);
    free(json);
    return r;
}

static int run_create(const char *base, const char *path, uint32_t disk_gib, struct error *err)
{
    char size[24];
    const char *const argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", "-F",
                                "qcow2",    "-b",     base, path, size,    NULL};

    snprintf(size, sizeof(size), "%" PRIu32 "G", disk_gib);
    int r = program_run(argv, &MAKE_LIMITS, NULL, err);
    if (r == ERR_INVALID && files_is_full(path))
        return error_set(err, ERR_NO_CAPACITY, "no room for a disk");
    return r;
}

int disk_make_overlay(const char *base, const char *path, uint32_t disk_gib, struct error *err)
{
    char unfinished[PATH_MAX];
    int r = files_path(unfinished, err, "%s.new", path);

    if (r == 0)
        r = files_remove(unfinished, err);
    if (r == 0)
        r = run_create(base, unfinished, disk_gib, err);
    if (r == 0)
        r = files_settle(unfinished, path, 0600, err);
    if (r < 0) {
        struct error ignored;
        (void)!files_remove(unfinished, &ignored);
        return error_in(err, "disk");
    }
    return 0;
}
