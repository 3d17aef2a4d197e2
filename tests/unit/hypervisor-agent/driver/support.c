#include "tests/unit/hypervisor-agent/driver/support.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void scratch_make(char ret[PATH_MAX])
{
    const char *base = getenv("TMPDIR");

    snprintf(ret, PATH_MAX, "%s/driver-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(ret));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

void scratch_remove(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static _Thread_local int counted;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path, (void)st, (void)kind;
    counted += where->level > 0;
    return 0;
}

int scratch_count(const char *path)
{
    counted = 0;
    assert_int_equal(nftw(path, count_one, 16, FTW_PHYS), 0);
    return counted;
}

void scratch_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

char *scratch_read(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t len = 0;

    if (f == NULL)
        return NULL;
    for (size_t n = 1; n > 0;) {
        text = realloc(text, len + 65536 + 1);
        assert_non_null(text);
        n = fread(text + len, 1, 65536, f);
        len += n;
    }
    assert_int_equal(fclose(f), 0);
    text[len] = 0;
    if (ret_len != NULL)
        *ret_len = len;
    return text;
}

void test_job_init(struct test_job *t, uint64_t droplet, uint64_t event, uint32_t attempt)
{
    static char public[] = "203.0.113.7", gateway[] = "203.0.113.1", private[] = "10.0.0.7";
    static char name[] = "web-1", slug[] = "tiny", installation[] = TEST_INSTALLATION;
    static char sha256[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static char key[] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst someone@example.com";

    memset(t, 0, sizeof(*t));
    harpoon__job__v1__job__init(&t->job);
    harpoon__job__v1__droplet_spec__init(&t->spec);
    harpoon__job__v1__image__init(&t->image);
    for (size_t i = 0; i < 2; i++) {
        harpoon__job__v1__address__init(&t->addresses[i]);
        t->address_list[i] = &t->addresses[i];
    }
    snprintf(t->uuid, sizeof(t->uuid), "7f3b1c52-4a55-5d0e-9a11-%012x", (unsigned)droplet);
    snprintf(t->url, sizeof(t->url), "file:///nowhere");
    t->addresses[0].type = HARPOON__JOB__V1__ADDRESS__TYPE__TYPE_PUBLIC;
    t->addresses[0].address = public;
    t->addresses[0].prefix_length = 24;
    t->addresses[0].gateway = gateway;
    t->addresses[1].type = HARPOON__JOB__V1__ADDRESS__TYPE__TYPE_PRIVATE;
    t->addresses[1].address = private;
    t->addresses[1].prefix_length = 16;
    t->image.slug = slug;
    t->image.url = t->url;
    t->image.sha256 = sha256;
    t->ssh_keys[0] = key;
    t->spec.name = name;
    t->spec.vcpus = 1;
    t->spec.memory_mib = 96;
    t->spec.disk_gib = 1;
    t->spec.image = &t->image;
    t->spec.ssh_keys = t->ssh_keys;
    t->spec.n_ssh_keys = 1;
    t->spec.addresses = t->address_list;
    t->spec.n_addresses = 2;
    t->job.kind = HARPOON__JOB__V1__KIND__KIND_CREATE;
    t->job.installation_id = installation;
    t->job.droplet_id = droplet;
    t->job.droplet_uuid = t->uuid;
    t->job.event_id = event;
    t->job.attempt = attempt;
    t->job.spec = &t->spec;
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done; /* guarded by lock */
};

static void on_done(struct driver_task *task)
{
    struct waiting *w = task->ctx;

    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

struct outcome run_operation(const struct driver *driver, void *self, enum driver_action action,
                             const Harpoon__Job__V1__Job *job)
{
    struct waiting w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    struct driver_task task = {
        .action = action, .hypervisor = {7}, .job = job, .done = on_done, .ctx = &w};
    struct outcome outcome;
    struct error err;

    assert_int_equal(driver->begin(self, &task, &err), 0);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    outcome.result = task.result;
    memcpy(outcome.reason, task.reason, sizeof(outcome.reason));
    memcpy(outcome.detail, task.detail, sizeof(outcome.detail));
    return outcome;
}
