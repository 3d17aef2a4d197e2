#include "hypervisor-agent/driver/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { FULL_BYTES = 16 << 20 }; /* less than this is left: full */

int files_error(struct error *err, int error_number, const char *what, const char *path)
{
    bool full = error_number == ENOSPC || error_number == EDQUOT;

    return error_set(err, full ? ERR_NO_CAPACITY : ERR_UNAVAILABLE, "%s %s: %s", what, path,
                     strerror(error_number));
}

int files_path(char ret[PATH_MAX], struct error *err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(ret, PATH_MAX, format, args);
    va_end(args);
    if (n < 0 || n >= PATH_MAX)
        return error_set(err, ERR_INVALID, "a path is longer than %d bytes", PATH_MAX - 1);
    return 0;
}

static int sync_parent(const char *path, struct error *err)
{
    char parent[PATH_MAX];
    int r = files_path(parent, err, "%s", path);
    char *slash = r == 0 ? strrchr(parent, '/') : NULL;

    if (r < 0)
        return r;
    if (slash == NULL)
        return files_sync_folder(".", err);
    slash[slash == parent ? 1 : 0] = 0;
    return files_sync_folder(parent, err);
}

int files_sync_folder(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return files_error(err, errno, "open", path);
    int r = fsync(fd) < 0 ? files_error(err, errno, "sync", path) : 0;
    close(fd);
    return r;
}

int files_make_folder(const char *path, mode_t mode, struct error *err)
{
    if (mkdir(path, mode) < 0) {
        if (errno == EEXIST)
            return 0;
        return files_error(err, errno, "make folder", path);
    }
    if (chmod(path, mode) < 0) /* whatever the umask is */
        return files_error(err, errno, "change mode of", path);
    return sync_parent(path, err);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int files_write(const char *path, mode_t mode, const void *data, size_t len, struct error *err)
{
    char unfinished[PATH_MAX];
    int r = files_path(unfinished, err, "%s.new", path);

    if (r == 0)
        r = files_remove(unfinished, err);
    if (r < 0)
        return r;
    int fd = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return files_error(err, errno, "make", unfinished);
    r = write_all(fd, data, len) < 0 ? files_error(err, errno, "write", unfinished) : 0;
    close(fd);
    if (r == 0)
        r = files_settle(unfinished, path, mode, err);
    if (r < 0)
        unlink(unfinished);
    return r;
}

int files_read(const char *path, char *ret, size_t size, struct error *err)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : files_error(err, errno, "open", path);
    while (len < size - 1 && n > 0) {
        n = read(fd, ret + len, size - 1 - len);
        if (n > 0)
            len += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    int r = n < 0 ? files_error(err, errno, "read", path) : 1;
    close(fd);
    ret[len] = 0;
    return r;
}

int files_settle(const char *unfinished, const char *path, mode_t mode, struct error *err)
{
    int fd = open(unfinished, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int r = 0;

    if (fd < 0)
        return files_error(err, errno, "open", unfinished);
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
        r = files_error(err, errno, "sync", unfinished);
    close(fd);
    if (r == 0 && rename(unfinished, path) < 0)
        r = files_error(err, errno, "rename", unfinished);
    return r < 0 ? r : sync_parent(path, err);
}

int files_remove(const char *path, struct error *err)
{
    if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
        return files_error(err, errno, "remove", path);
    return 0;
}

int files_remove_folder(const char *path, struct error *err)
{
    if (rmdir(path) < 0) {
        if (errno == ENOENT)
            return 0;
        return files_error(err, errno, "remove folder", path);
    }
    return sync_parent(path, err);
}

bool files_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

bool files_is_full(const char *path)
{
    char folder[PATH_MAX];
    struct statvfs fs;
    struct error ignored;

    if (files_path(folder, &ignored, "%s", path) < 0)
        return false;
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder ? 1 : 0] = 0;
    if (statvfs(slash != NULL ? folder : ".", &fs) < 0)
        return false;
    return (uint64_t)fs.f_bavail * fs.f_frsize < FULL_BYTES || (fs.f_files > 0 && fs.f_favail == 0);
}
