#include "hypervisor-agent/driver/image.h"

#include "hypervisor-agent/driver/files.h"
#include "lib/clock.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SHA256_TEXT = 65,
    CONNECT_TIMEOUT_MS = 10000,
    STALLED_S = 30, /* without STALLED_BYTES_PER_S: give up */
    STALLED_BYTES_PER_S = 1024,
    MAX_REDIRECTS = 5,
};

/* A fetch under way. Whoever starts it lists it; it lives until the last who waits has read it. */
struct fetch {
    char sha256[SHA256_TEXT];
    int waiting;
    bool ended;
    int result;
    struct error error;
    struct fetch *next;
};

struct image_cache {
    char folder[PATH_MAX];
    pthread_mutex_t lock;
    pthread_cond_t ended;

    /* guarded by lock */
    struct fetch *fetches;
    bool stopping;
};

/* A file as it comes in. */
struct download {
    struct image_cache *cache;
    const struct image_source *source;
    int fd;
    EVP_MD_CTX *digest;
    uint64_t bytes;
    struct error error; /* why a callback broke off; code 0: it did not */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool is_image_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == SHA256_TEXT - 1 && strcmp(name + 64, ".qcow2") == 0;
}

static int remove_unfinished(const char *folder, struct error *err)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *dir = opendir(folder);
    int r = 0;

    if (dir == NULL)
        return files_error(err, errno, "open", folder);
    while (r == 0 && (entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".part") != 0)
            continue;
        r = files_path(path, err, "%s/%s", folder, entry->d_name);
        if (r == 0)
            r = files_remove(path, err);
    }
    closedir(dir);
    return r;
}

int image_cache_open(const char *folder, struct image_cache **ret, struct error *err)
{
    struct image_cache *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    pthread_once(&curl_once, start_curl);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->ended, NULL);
    int r = files_path(c->folder, err, "%s", folder);
    if (r == 0)
        r = remove_unfinished(folder, err);
    if (r < 0) {
        image_cache_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void image_cache_stop(struct image_cache *c)
{
    LOCK_SCOPE(&c->lock);
    c->stopping = true;
}

struct image_cache *image_cache_close(struct image_cache *c)
{
    if (c == NULL)
        return NULL;
    pthread_cond_destroy(&c->ended);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct download *d = arg;
    size_t len = size * count;

    if (len > d->source->max_bytes - d->bytes) {
        error_set(&d->error, ERR_INVALID, "it is larger than its disk may be");
        return 0;
    }
    EVP_DigestUpdate(d->digest, data, len);
    d->bytes += len;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(d->fd, data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            files_error(&d->error, errno, "write to", d->cache->folder);
            return 0;
        }
        done += (size_t)n;
    }
    return len;
}

/* Not 0: break off. */
static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total,
                       curl_off_t ul_now)
{
    struct download *d = arg;
    int64_t deadline = d->source->deadline_unix_ms;

    UNUSED(dl_total), UNUSED(dl_now), UNUSED(ul_total), UNUSED(ul_now);
    if (deadline > 0 && unix_ms() >= deadline)
        return error_set(&d->error, ERR_DEADLINE, "the time was up");
    LOCK_SCOPE(&d->cache->lock);
    if (d->cache->stopping)
        return error_set(&d->error, ERR_UNAVAILABLE, "the driver is stopping");
    return 0;
}

static void configure(CURL *curl, struct download *d)
{
    curl_easy_setopt(curl, CURLOPT_URL, d->source->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,file");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)STALLED_BYTES_PER_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALLED_S);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "harpoon-hypervisor-agent/" HARPOON_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, d);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, d);
}

/* Whether asking the source again later cannot help. */
static bool is_final(CURLcode code, long status)
{
    if (code == CURLE_HTTP_RETURNED_ERROR)
        return status >= 400 && status < 500 && status != 408 && status != 425 && status != 429;
    return code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT ||
           code == CURLE_FILE_COULDNT_READ_FILE || code == CURLE_TOO_MANY_REDIRECTS;
}

static int transfer(struct download *d, struct error *err)
{
    CURL *curl = curl_easy_init();
    long status = 0;

    if (curl == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    configure(curl, d);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (d->error.code != 0) {
        *err = d->error;
        return err->code;
    }
    if (code == CURLE_OK)
        return 0;
    int r = is_final(code, status) ? ERR_INVALID : ERR_UNAVAILABLE;
    if (code == CURLE_HTTP_RETURNED_ERROR)
        return error_set(err, r, "the source answered %ld", status);
    return error_set(err, r, "%s", curl_easy_strerror(code));
}

static int check_digest(struct download *d, struct error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[SHA256_TEXT];
    unsigned len = 0;

    if (EVP_DigestFinal_ex(d->digest, digest, &len) != 1 || len != 32)
        return error_set(err, ERR_INTERNAL, "SHA-256 failed");
    for (unsigned i = 0; i < len; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", digest[i]);
    if (strcmp(text, d->source->sha256) != 0)
        return error_set(err, ERR_INVALID, "its SHA-256 is %s, %s was asked for", text,
                         d->source->sha256);
    return 0;
}

static int download_to(struct image_cache *c, const struct image_source *source, const char *part,
                       struct error *err)
{
    struct download d = {.cache = c, .source = source, .fd = -1};

    d.fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d.fd < 0)
        return files_error(err, errno, "make", part);
    d.digest = EVP_MD_CTX_new();
    int r = d.digest == NULL || EVP_DigestInit_ex(d.digest, EVP_sha256(), NULL) != 1
                ? error_set(err, ERR_UNAVAILABLE, "out of memory")
                : 0;
    if (r == 0)
        r = transfer(&d, err);
    if (r == 0)
        r = check_digest(&d, err);
    EVP_MD_CTX_free(d.digest);
    close(d.fd);
    return r;
}

static int fetch_image(struct image_cache *c, const struct image_source *source, const char *path,
                       struct error *err)
{
    char part[PATH_MAX];
    int r = files_path(part, err, "%s/%s.part", c->folder, source->sha256);

    if (r == 0)
        r = files_remove(part, err);
    if (r == 0)
        r = download_to(c, source, part, err);
    if (r == 0)
        r = files_settle(part, path, 0444, err);
    if (r < 0) {
        struct error ignored;
        (void)!files_remove(part, &ignored);
        return error_in(err, "image");
    }
    return 0;
}

static struct fetch *find_fetch_locked(struct image_cache *c, const char *sha256)
{
    struct fetch *f = c->fetches;

    while (f != NULL && strcmp(f->sha256, sha256) != 0)
        f = f->next;
    return f;
}

static void unlist_locked(struct image_cache *c, struct fetch *f)
{
    struct fetch **at = &c->fetches;

    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
}

/* Waits for a fetch another started; its answer is ours, too, but for its deadline. */
static int wait_locked(struct image_cache *c, struct fetch *f, struct error *err)
{
    f->waiting++;
    while (!f->ended)
        pthread_cond_wait(&c->ended, &c->lock);
    int r = f->result;
    *err = f->error;
    if (--f->waiting == 0)
        free(f);
    return r == ERR_DEADLINE ? error_set(err, ERR_UNAVAILABLE, "image: the fetch was given up") : r;
}

/* Called and returns locked, not in between. */
static int lead_locked(struct image_cache *c, const struct image_source *source, const char *path,
                       struct error *err)
{
    struct fetch *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return error_set(err, ERR_UNAVAILABLE, "out of memory");
    snprintf(f->sha256, sizeof(f->sha256), "%s", source->sha256);
    f->next = c->fetches;
    c->fetches = f;
    pthread_mutex_unlock(&c->lock);
    int r = fetch_image(c, source, path, err);
    pthread_mutex_lock(&c->lock);
    unlist_locked(c, f);
    f->ended = true;
    f->result = r;
    if (r < 0)
        f->error = *err;
    if (f->waiting == 0)
        free(f);
    else
        pthread_cond_broadcast(&c->ended);
    return r;
}

int image_cache_get(struct image_cache *c, const struct image_source *source, char ret[PATH_MAX],
                    struct error *err)
{
    int r = files_path(ret, err, "%s/%s.qcow2", c->folder, source->sha256);

    if (r < 0)
        return r;
    LOCK_SCOPE(&c->lock);
    if (c->stopping)
        return error_set(err, ERR_UNAVAILABLE, "the driver is stopping");
    struct fetch *f = find_fetch_locked(c, source->sha256);
    if (f != NULL)
        return wait_locked(c, f, err);
    /* The time of use; under the lock, so that image_cache_collect() sees it or we see no file. */
    if (utimensat(AT_FDCWD, ret, NULL, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    return lead_locked(c, source, ret, err);
}

/* 1: removed. 0: it stays. */
static int collect_one(struct image_cache *c, const char *name, int64_t before_unix_ms,
                       bool (*is_used)(void *ctx, const char *sha256), void *ctx, struct error *err)
{
    char path[PATH_MAX], sha256[SHA256_TEXT];
    struct stat st;

    if (!is_image_name(name))
        return 0;
    snprintf(sha256, sizeof(sha256), "%.64s", name);
    int r = files_path(path, err, "%s/%s", c->folder, name);
    if (r < 0)
        return r;
    LOCK_SCOPE(&c->lock);
    if (lstat(path, &st) < 0 || (int64_t)st.st_mtim.tv_sec * 1000 >= before_unix_ms ||
        is_used(ctx, sha256))
        return 0;
    r = files_remove(path, err);
    return r < 0 ? r : 1;
}

int image_cache_collect(struct image_cache *c, int64_t before_unix_ms,
                        bool (*is_used)(void *ctx, const char *sha256), void *ctx,
                        struct error *err)
{
    struct dirent *entry;
    int r = 0, removed = 0;
    DIR *dir = opendir(c->folder);

    if (dir == NULL)
        return files_error(err, errno, "open", c->folder);
    while (r >= 0 && (entry = readdir(dir)) != NULL) {
        r = collect_one(c, entry->d_name, before_unix_ms, is_used, ctx, err);
        removed += r > 0;
    }
    closedir(dir);
    return r < 0 ? r : removed;
}
