#include "hypervisor-agent/driver/seed.h"

#include "hypervisor-agent/driver/files.h"
#include "hypervisor-agent/driver/program.h"
#include "hypervisor-agent/driver/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct program_limits LIMITS = {.timeout_ms = 60000,
                                             .cpu_s = 30,
                                             .memory_bytes = 1 << 30,
                                             .output_bytes = 4 << 10};
static const char NO_USER_DATA[] = "#cloud-config\n{}\n";

char *seed_format_meta_data(const struct droplet *droplet,
                            const Harpoon__Job__V1__DropletSpec *spec)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return NULL;
    /* A guest with the id it has seen before does nothing anew: the same for the droplet's life. */
    fprintf(out, "instance-id: ");
    text_write_quoted(out, droplet->uuid);
    fprintf(out, "\nlocal-hostname: ");
    text_write_quoted(out, spec->name);
    fprintf(out, "\npublic-keys:%s\n", spec->n_ssh_keys == 0 ? " []" : "");
    for (size_t i = 0; i < spec->n_ssh_keys; i++) {
        fprintf(out, "  - ");
        text_write_quoted(out, spec->ssh_keys[i]);
        fputc('\n', out);
    }
    return fclose(out) == 0 ? text : NULL;
}

static void write_routes(FILE *out, const Harpoon__Job__V1__DropletSpec *spec)
{
    bool v4 = false, v6 = false;

    for (size_t i = 0; i < spec->n_addresses; i++) {
        const Harpoon__Job__V1__Address *a = spec->addresses[i];
        bool six = strchr(a->address, ':') != NULL;
        if (a->gateway[0] == 0 || a->type != HARPOON__JOB__V1__ADDRESS__TYPE__TYPE_PUBLIC)
            continue;
        if (six ? v6 : v4) /* one way out is enough */
            continue;
        if (!v4 && !v6)
            fprintf(out, "    routes:\n");
        fprintf(out, "      - to: \"%s\"\n        via: \"%s\"\n", six ? "::/0" : "0.0.0.0/0",
                a->gateway);
        v4 = v4 || !six;
        v6 = v6 || six;
    }
}

char *seed_format_network_config(const struct droplet *droplet,
                                 const Harpoon__Job__V1__DropletSpec *spec)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return NULL;
    fprintf(out,
            "version: 2\nethernets:\n  eth0:\n    match:\n      macaddress: \"%s\"\n"
            "    set-name: \"eth0\"\n    dhcp4: %s\n",
            droplet->mac, spec->n_addresses == 0 ? "true" : "false");
    if (spec->n_addresses > 0)
        fprintf(out, "    addresses:\n");
    for (size_t i = 0; i < spec->n_addresses; i++)
        fprintf(out, "      - \"%s/%u\"\n", spec->addresses[i]->address,
                (unsigned)spec->addresses[i]->prefix_length);
    write_routes(out, spec);
    return fclose(out) == 0 ? text : NULL;
}

static int write_text(const char *folder, const char *name, char *text, struct error *err)
{
    char path[PATH_MAX];
    int r = files_path(path, err, "%s/%s", folder, name);

    if (r == 0 && text == NULL)
        r = error_set(err, ERR_UNAVAILABLE, "out of memory");
    if (r == 0)
        r = files_write(path, 0600, text, strlen(text), err);
    free(text);
    return r;
}

static int write_user_data(const char *folder, const ProtobufCBinaryData *data, struct error *err)
{
    char path[PATH_MAX];
    int r = files_path(path, err, "%s/user-data", folder);

    if (r < 0)
        return r;
    if (data->len == 0)
        return files_write(path, 0600, NO_USER_DATA, strlen(NO_USER_DATA), err);
    return files_write(path, 0600, data->data, data->len, err);
}

static int remove_sources(const char *folder, struct error *err)
{
    static const char *const names[] = {"meta-data",     "user-data",     "network-config",
                                        "meta-data.new", "user-data.new", "network-config.new"};
    char path[PATH_MAX];
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(names) && r == 0; i++) {
        r = files_path(path, err, "%s/%s", folder, names[i]);
        if (r == 0)
            r = files_remove(path, err);
    }
    return r < 0 ? r : files_remove_folder(folder, err);
}

static int write_sources(const char *folder, const struct droplet *droplet,
                         const Harpoon__Job__V1__DropletSpec *spec, struct error *err)
{
    int r = remove_sources(folder, err);

    if (r == 0)
        r = files_make_folder(folder, 0700, err);
    if (r == 0)
        r = write_text(folder, "meta-data", seed_format_meta_data(droplet, spec), err);
    if (r == 0)
        r = write_text(folder, "network-config", seed_format_network_config(droplet, spec), err);
    if (r == 0)
        r = write_user_data(folder, &spec->user_data, err);
    return r;
}

static int write_iso(const char *folder, const char *unfinished, struct error *err)
{
    const char *const argv[] = {"xorriso", "-as", "mkisofs", "-quiet",   "-V",   "cidata",
                                "-J",      "-r",  "-o",      unfinished, folder, NULL};

    /* Made here with its mode; xorriso writes into it. */
    int r = files_write(unfinished, 0600, "", 0, err);
    if (r < 0)
        return r;
    r = program_run(argv, &LIMITS, NULL, err);
    if (r == ERR_INVALID && files_is_full(unfinished))
        return error_set(err, ERR_NO_CAPACITY, "no room for a seed");
    return r;
}

int seed_make(const char *path, const struct droplet *droplet,
              const Harpoon__Job__V1__DropletSpec *spec, struct error *err)
{
    char folder[PATH_MAX], unfinished[PATH_MAX];
    struct error second;

    int r = files_path(folder, err, "%s.d", path);
    if (r == 0)
        r = files_path(unfinished, err, "%s.new", path);
    if (r < 0)
        return r;
    r = write_sources(folder, droplet, spec, err);
    if (r == 0)
        r = write_iso(folder, unfinished, err);
    if (r == 0)
        r = files_settle(unfinished, path, 0600, err);
    if (remove_sources(folder, &second) < 0 && r == 0) {
        *err = second;
        r = second.code;
    }
    if (r < 0) {
        (void)!files_remove(unfinished, &second);
        return error_in(err, "seed");
    }
    return 0;
}
