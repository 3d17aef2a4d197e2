#include "hypervisor-agent/driver/image.h"

#include "hypervisor-agent/driver/files.h"
#include "lib/clock.h"
#include "tests/unit/hypervisor-agent/driver/support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CALLERS = 8 };

/* The SHA-256 of "an image\n". */
static const char BODY[] = "an image\n";
static const char SHA256[] = "1fa553188056d54b221eeddbddd7aa7fcd53b44fa8b8e419e452ebf3b4ef35d8";

struct fixture {
    char folder[PATH_MAX], path[PATH_MAX];
    struct image_cache *cache;

    /* a source: answers every request with `answer`, after `callers_wanted` have called */
    int listener;
    char url[64];
    const char *answer;
    pthread_t server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int callers_wanted;
    int callers, requests; /* guarded by lock */
};

static void answer_one(struct fixture *f, int fd)
{
    char request[2048];
    size_t len = 0;

    while (len < sizeof(request) - 1) {
        ssize_t n = read(fd, request + len, sizeof(request) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        request[len] = 0;
        if (strstr(request, "\r\n\r\n") != NULL)
            break;
    }
    pthread_mutex_lock(&f->lock);
    f->requests++;
    pthread_cond_broadcast(&f->changed);
    while (f->callers < f->callers_wanted)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
    (void)!write(fd, f->answer, strlen(f->answer));
    if (f->answer[0] == 0) /* no answer at all, until the other side hangs up */
        (void)!read(fd, request, sizeof(request));
}

static void *serve(void *arg)
{
    struct fixture *f = arg;

    for (;;) {
        int fd = accept(f->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        answer_one(f, fd);
        close(fd);
    }
}

static void setup(struct fixture *f, const char *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    struct error err;

    memset(f, 0, sizeof(*f));
    f->answer = answer;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    scratch_make(f->folder);
    assert_int_equal(image_cache_open(f->folder, &f->cache, &err), 0);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(f->listener, 16), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&address, &len), 0);
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/image", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&f->server, NULL, serve, f), 0);
}

static void teardown(struct fixture *f)
{
    shutdown(f->listener, SHUT_RDWR);
    pthread_join(f->server, NULL);
    close(f->listener);
    image_cache_close(f->cache);
    scratch_remove(f->folder);
}

static int get(struct fixture *f, struct error *err)
{
    struct image_source source = {.url = f->url, .sha256 = SHA256, .max_bytes = 1000};

    return image_cache_get(f->cache, &source, f->path, err);
}

static void an_image_is_fetched_checked_and_kept(void **state)
{
    struct fixture f;
    struct error err;
    struct stat st;

    (void)state;
    setup(&f, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nan image\n");
    assert_int_equal(get(&f, &err), 0);
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    char *text = scratch_read(f.path, NULL);
    assert_string_equal(text, BODY);
    free(text);
    assert_int_equal(scratch_count(f.folder), 1);
    assert_int_equal(get(&f, &err), 0);
    assert_int_equal(f.requests, 1);
    teardown(&f);
}

static void what_is_not_the_image_is_refused_and_leaves_nothing(void **state)
{
    static const struct {
        const char *answer;
        int wanted;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nan imagE\n",
         ERR_INVALID},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", ERR_INVALID},
        {"HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", ERR_UNAVAILABLE},
        {"HTTP/1.1 429 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", ERR_UNAVAILABLE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 90\r\nConnection: close\r\n\r\nan image\n",
         ERR_UNAVAILABLE}, /* cut off */
        {"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n"
         "Connection: close\r\n\r\n",
         ERR_INVALID},
    };
    struct fixture f;
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        setup(&f, cases[i].answer);
        int r = get(&f, &err);
        if (r != cases[i].wanted)
            print_error("case %zu: %s\n", i, r < 0 ? err.message : "no error");
        assert_int_equal(r, cases[i].wanted);
        assert_int_equal(scratch_count(f.folder), 0);
        teardown(&f);
    }
}

static void more_than_a_disk_can_hold_is_not_taken(void **state)
{
    struct image_source source = {.sha256 = SHA256, .max_bytes = 8};
    struct fixture f;
    struct error err;

    (void)state;
    setup(&f, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nan image\n");
    source.url = f.url;
    assert_int_equal(image_cache_get(f.cache, &source, f.path, &err), ERR_INVALID);
    assert_int_equal(scratch_count(f.folder), 0);
    teardown(&f);
}

static void a_file_is_a_source_too(void **state)
{
    struct image_source source = {.sha256 = SHA256, .max_bytes = 1000};
    char original[PATH_MAX], url[PATH_MAX + 8], elsewhere[PATH_MAX];
    struct fixture f;
    struct error err;

    (void)state;
    setup(&f, "");
    scratch_make(elsewhere);
    assert_int_equal(files_path(original, &err, "%s/image", elsewhere), 0);
    scratch_write(original, BODY);
    snprintf(url, sizeof(url), "file://%s", original);
    source.url = url;
    assert_int_equal(image_cache_get(f.cache, &source, f.path, &err), 0);
    assert_true(files_exists(f.path));
    teardown(&f);

    setup(&f, "");
    assert_int_equal(files_remove(original, &err), 0);
    assert_int_equal(image_cache_get(f.cache, &source, f.path, &err), ERR_INVALID);
    source.url = "gopher://127.0.0.1/";
    assert_int_equal(image_cache_get(f.cache, &source, f.path, &err), ERR_INVALID);
    teardown(&f);
    scratch_remove(elsewhere);
}

static void *call(void *arg)
{
    struct fixture *f = arg;
    struct image_source source = {.url = f->url, .sha256 = SHA256, .max_bytes = 1000};
    char path[PATH_MAX];
    struct error err;

    pthread_mutex_lock(&f->lock);
    f->callers++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return (void *)(intptr_t)image_cache_get(f->cache, &source, path, &err);
}

static void many_callers_make_one_download(void **state)
{
    pthread_t threads[CALLERS];
    struct fixture f;
    void *r;

    (void)state;
    setup(&f, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nan image\n");
    f.callers_wanted = CALLERS;
    for (size_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call, &f), 0);
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], &r);
        assert_null(r);
    }
    assert_int_equal(f.requests, 1);
    assert_int_equal(scratch_count(f.folder), 1);
    teardown(&f);
}

static void a_stop_ends_a_download_under_way(void **state)
{
    pthread_t thread;
    struct fixture f;
    struct error err;
    void *r;

    (void)state;
    setup(&f, ""); /* it never answers */
    assert_int_equal(pthread_create(&thread, NULL, call, &f), 0);
    pthread_mutex_lock(&f.lock);
    while (f.requests == 0)
        pthread_cond_wait(&f.changed, &f.lock);
    pthread_mutex_unlock(&f.lock);
    image_cache_stop(f.cache);
    pthread_join(thread, &r);
    assert_int_equal((intptr_t)r, ERR_UNAVAILABLE);
    assert_int_equal(get(&f, &err), ERR_UNAVAILABLE);
    assert_int_equal(scratch_count(f.folder), 0);
    teardown(&f);
}

static void a_deadline_that_has_passed_ends_the_download(void **state)
{
    struct image_source source = {.sha256 = SHA256, .max_bytes = 1000, .deadline_unix_ms = 1};
    struct fixture f;
    struct error err;

    (void)state;
    setup(&f, "");
    source.url = f.url;
    assert_int_equal(image_cache_get(f.cache, &source, f.path, &err), ERR_DEADLINE);
    assert_int_equal(scratch_count(f.folder), 0);
    teardown(&f);
}

static void unfinished_downloads_of_a_crash_are_removed(void **state)
{
    struct fixture f;
    struct error err;
    char part[PATH_MAX];

    (void)state;
    setup(&f, "");
    assert_int_equal(files_path(part, &err, "%s/%s.part", f.folder, SHA256), 0);
    scratch_write(part, "half an im");
    image_cache_close(f.cache);
    assert_int_equal(image_cache_open(f.folder, &f.cache, &err), 0);
    assert_int_equal(scratch_count(f.folder), 0);
    teardown(&f);
}

static bool is_this_one(void *ctx, const char *sha256)
{
    return strcmp(ctx, sha256) == 0;
}

static void only_old_images_nobody_uses_are_collected(void **state)
{
    char used[] = "1fa553188056d54b221eeddbddd7aa7fcd53b44fa8b8e419e452ebf3b4ef35d8", none[] = "";
    struct fixture f;
    struct error err;
    char image[PATH_MAX], other[PATH_MAX];

    (void)state;
    setup(&f, "");
    assert_int_equal(files_path(image, &err, "%s/%s.qcow2", f.folder, SHA256), 0);
    assert_int_equal(files_path(other, &err, "%s/notes.txt", f.folder), 0);
    scratch_write(image, "image");
    scratch_write(other, "not an image");
    int64_t later = unix_ms() + 60000;
    assert_int_equal(image_cache_collect(f.cache, 1000, is_this_one, none, &err), 0);
    assert_int_equal(image_cache_collect(f.cache, later, is_this_one, used, &err), 0);
    assert_true(files_exists(image));
    assert_int_equal(image_cache_collect(f.cache, later, is_this_one, none, &err), 1);
    assert_false(files_exists(image));
    assert_true(files_exists(other));
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_fetched_checked_and_kept),
        cmocka_unit_test(what_is_not_the_image_is_refused_and_leaves_nothing),
        cmocka_unit_test(more_than_a_disk_can_hold_is_not_taken),
        cmocka_unit_test(a_file_is_a_source_too),
        cmocka_unit_test(many_callers_make_one_download),
        cmocka_unit_test(a_stop_ends_a_download_under_way),
        cmocka_unit_test(a_deadline_that_has_passed_ends_the_download),
        cmocka_unit_test(unfinished_downloads_of_a_crash_are_removed),
        cmocka_unit_test(only_old_images_nobody_uses_are_collected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
