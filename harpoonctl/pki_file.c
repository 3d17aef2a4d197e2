#include "harpoonctl/pki_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_for_reading(const char *path, FILE **ret, struct error *err)
{
    *ret = fopen(path, "re");
    if (*ret)
        return 0;
    return error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_INVALID, "%s: %s", path,
                     strerror(errno));
}

int pki_file_load_certificate(const char *path, X509 **ret, struct error *err)
{
    FILE *file;
    int r = open_for_reading(path, &file, err);
    if (r < 0)
        return r;
    *ret = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    return *ret ? 0 : error_set(err, ERR_INVALID, "%s is not a PEM certificate", path);
}

int pki_file_load_key(const char *path, EVP_PKEY **ret, struct error *err)
{
    FILE *file;
    int r = open_for_reading(path, &file, err);
    if (r < 0)
        return r;
    *ret = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    return *ret ? 0 : error_set(err, ERR_INVALID, "%s is not a PEM private key", path);
}

/* Exactly one of `certificate` and `key` is written, beside `path` first. */
static int save(const char *path, mode_t mode, X509 *certificate, EVP_PKEY *key, struct error *err)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof(beside), "%s.new", path) >= (int)sizeof(beside))
        return error_set(err, ERR_INVALID, "the path %.100s… is too long", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file)
        return error_set(err, ERR_UNAVAILABLE, "%s: %s", beside, strerror(errno));
    int written = fchmod(fd, mode) == 0;
    if (written && certificate)
        written = PEM_write_X509(file, certificate);
    if (written && key)
        written = PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    if (fclose(file) != 0 || !written || rename(beside, path) != 0) {
        unlink(beside);
        return error_set(err, ERR_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
    }
    return 0;
}

int pki_file_save_certificate(const char *path, X509 *certificate, struct error *err)
{
    return save(path, 0644, certificate, NULL, err);
}

int pki_file_save_key(const char *path, EVP_PKEY *key, struct error *err)
{
    return save(path, 0600, NULL, key, err);
}

int pki_file_make_folder(const char *path, struct error *err)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
        return error_set(err, ERR_INVALID, "the path %.100s… is too long", path);
    for (char *slash = part;; slash++) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return error_set(err, ERR_UNAVAILABLE, "%s: %s", part, strerror(errno));
        if (!slash)
            return 0;
        *slash = '/';
    }
}
