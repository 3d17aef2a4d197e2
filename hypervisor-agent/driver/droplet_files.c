#include "hypervisor-agent/driver/droplet_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OWNER_BYTES = 512, NESTING = 2 };

/* Others may pass through: the user QEMU runs as opens what libvirt has given to it. */
static const mode_t FOLDER_MODE = 0711;
static const char OWNER_NAME[] = "owner";

int droplet_files_at(const char *root, const char *uuid, struct droplet_files *ret,
                     struct error *err)
{
    int r = files_path(ret->folder, err, "%s/%s", root, uuid);

    if (r == 0)
        r = files_path(ret->owner, err, "%s/%s", ret->folder, OWNER_NAME);
    if (r == 0)
        r = files_path(ret->disk, err, "%s/disk.qcow2", ret->folder);
    if (r == 0)
        r = files_path(ret->seed, err, "%s/seed.iso", ret->folder);
    if (r == 0)
        r = files_path(ret->console, err, "%s/console.log", ret->folder);
    return r;
}

int droplet_files_owner(const struct droplet_files *files, struct droplet_owner *ret,
                        struct error *err)
{
    struct droplet_owner owner = {0};
    struct origin *o = &owner.origin;
    char text[OWNER_BYTES];
    int end = 0;

    int r = files_read(files->owner, text, sizeof(text), err);
    if (r <= 0)
        return r;
    int n = sscanf(text,
                   "installation %63s\nhypervisor %" SCNu64 "\ndroplet %" SCNu64 "\nevent %" SCNu64
                   "\nattempt %" SCNu32 "\nimage %64s%n",
                   o->installation, &o->hypervisor.v, &o->droplet.v, &o->event.v, &o->attempt,
                   owner.image_sha256, &end);
    if (n != 6 || strcmp(text + end, "\n") != 0)
        return error_set(err, ERR_CONFLICT, "%s is not ours", files->owner);
    *ret = owner;
    return 1;
}

int droplet_files_claim(const struct droplet_files *files, const struct droplet_owner *owner,
                        struct error *err)
{
    const struct origin *o = &owner->origin;
    char text[OWNER_BYTES];

    int len = snprintf(text, sizeof(text),
                       "installation %s\nhypervisor %" PRIu64 "\ndroplet %" PRIu64
                       "\nevent %" PRIu64 "\nattempt %" PRIu32 "\nimage %s\n",
                       o->installation, o->hypervisor.v, o->droplet.v, o->event.v, o->attempt,
                       owner->image_sha256);
    if (len >= (int)sizeof(text))
        return error_set(err, ERR_INVALID, "the owner's names are too long");
    int r = droplet_files_remove(files, err); /* a folder without an owner */
    if (r == 0)
        r = files_make_folder(files->folder, FOLDER_MODE, err);
    if (r == 0)
        r = files_write(files->owner, 0600, text, (size_t)len, err);
    return r;
}

/* Removes all there is in a folder but `keep`. */
static int empty_folder(const char *path, const char *keep, int nesting, struct error *err)
{
    char inner[PATH_MAX];
    struct dirent *entry;
    struct stat st;
    DIR *dir = opendir(path);
    int r = 0;

    if (dir == NULL)
        return errno == ENOENT ? 0 : files_error(err, errno, "open", path);
    while (r == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            (keep != NULL && strcmp(entry->d_name, keep) == 0))
            continue;
        r = files_path(inner, err, "%s/%s", path, entry->d_name);
        if (r == 0 && lstat(inner, &st) == 0 && S_ISDIR(st.st_mode) && nesting > 1) {
            r = empty_folder(inner, NULL, nesting - 1, err);
            if (r == 0)
                r = files_remove_folder(inner, err);
        } else if (r == 0) {
            r = files_remove(inner, err);
        }
    }
    closedir(dir);
    return r;
}

int droplet_files_remove(const struct droplet_files *files, struct error *err)
{
    int r = empty_folder(files->folder, OWNER_NAME, NESTING, err);

    if (r == 0 && files_exists(files->folder))
        r = files_sync_folder(files->folder, err);
    if (r == 0)
        r = files_remove(files->owner, err);
    return r < 0 ? r : files_remove_folder(files->folder, err);
}

static int copy_tail(int from, off_t size, uint64_t keep_bytes, const char *path, struct error *err)
{
    uint64_t len = (uint64_t)size < keep_bytes ? (uint64_t)size : keep_bytes;
    char *tail = malloc(len);

    if (tail == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    ssize_t n = pread(from, tail, len, size - (off_t)len);
    int r = n < 0 ? files_error(err, errno, "read", path)
                  : files_write(path, 0600, tail, (size_t)n, err);
    free(tail);
    return r;
}

int droplet_files_trim_console(const struct droplet_files *files, uint64_t max_bytes,
                               uint64_t keep_bytes, struct error *err)
{
    char old[PATH_MAX];
    struct stat st;

    int r = files_path(old, err, "%s.old", files->console);
    if (r < 0)
        return r;
    int fd = open(files->console, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : files_error(err, errno, "open", files->console);
    if (fstat(fd, &st) == 0 && (uint64_t)st.st_size > max_bytes) {
        r = copy_tail(fd, st.st_size, keep_bytes, old, err);
        if (ftruncate(fd, 0) < 0 && r == 0) /* also when the tail found no room */
            r = files_error(err, errno, "shorten", files->console);
    }
    close(fd);
    return r;
}

/* 0 or less is what droplet_files_owner() says. */
static int visit(const char *root, const char *name,
                 void (*each)(void *ctx, const struct droplet_files *files,
                              const struct droplet_owner *owner),
                 void *ctx, struct error *err)
{
    struct droplet_owner owner;
    struct droplet_files files;

    int r = droplet_files_at(root, name, &files, err);
    if (r == 0)
        r = droplet_files_owner(&files, &owner, err);
    if (r > 0)
        each(ctx, &files, &owner);
    return r;
}

int droplet_files_each(const char *root,
                       void (*each)(void *ctx, const struct droplet_files *files,
                                    const struct droplet_owner *owner),
                       void *ctx, struct error *err)
{
    struct error other;
    struct dirent *entry;
    DIR *dir = opendir(root);
    int r = 0;

    if (dir == NULL)
        return files_error(err, errno, "open", root);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && visit(root, entry->d_name, each, ctx, &other) < 0 &&
            r == 0) {
            *err = other;
            r = other.code;
        }
    closedir(dir);
    return r;
}

static uint64_t folder_bytes(const char *path, int nesting)
{
    char inner[PATH_MAX];
    struct error ignored;
    struct dirent *entry;
    struct stat st;
    uint64_t sum = 0;
    DIR *dir = opendir(path);

    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            files_path(inner, &ignored, "%s/%s", path, entry->d_name) < 0 || lstat(inner, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            sum += nesting > 0 ? folder_bytes(inner, nesting - 1) : 0;
        else
            sum += (uint64_t)st.st_blocks * 512;
    }
    closedir(dir);
    return sum;
}

uint64_t droplet_files_bytes(const char *root)
{
    return folder_bytes(root, NESTING);
}
