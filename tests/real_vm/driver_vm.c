/* The driver's table on QEMU itself: a guest boots, proves which droplet it is, and goes without a
 * trace. Run by run_driver_vm.py.
 *
 *     driver_vm story  IMAGE SHA256 STATE ROOT    the whole life of a droplet
 *     driver_vm create IMAGE SHA256 STATE ROOT    a create alone, to be killed in the middle
 *     driver_vm mend   IMAGE SHA256 STATE ROOT    after that: one domain, then none
 *     driver_vm daemon IMAGE SHA256 STATE -       with a libvirtd (qemu:///session) that dies; asks
 * for what it needs on standard output, line by line, and waits for a line on standard input each
 * time */
#include "hypervisor-agent/driver/driver.h"
#include "lib/clock.h"
#include "tests/unit/hypervisor-agent/driver/support.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BOOT_WITHIN_MS = 180000, STOP_WITHIN_MS = 60000, DROPLET = 1234567890 };

static const char KEY[] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample \"quoted\" operator@laptop";
static const char USER_DATA[] = "#!/bin/sh\necho 'not run here'\n";

static struct {
    const char *image, *sha256, *state, *root;
    char uri[PATH_MAX], console[PATH_MAX];
} place;

static void open_driver(void **ret)
{
    struct driver_config config = {.state_dir = place.state,
                                   .installation_id = TEST_INSTALLATION,
                                   .libvirt_uri = place.uri,
                                   .libvirt_virt_type = "qemu",
                                   .max_parallel = 1};
    struct error err;

    int r = driver_libvirt.open(&config, ret, &err);
    if (r < 0)
        print_error("%s\n", err.message);
    assert_int_equal(r, 0);
}

static void job_init(struct test_job *t)
{
    static char key[sizeof(KEY)], other_key[] = "ssh-rsa AAAAB3 other@laptop";

    test_job_init(t, DROPLET, 42, 3);
    memcpy(key, KEY, sizeof(key));
    snprintf(t->url, sizeof(t->url), "file://%s", place.image);
    t->image.sha256 = (char *)(uintptr_t)place.sha256;
    t->ssh_keys[0] = key;
    t->ssh_keys[1] = other_key;
    t->spec.n_ssh_keys = 2;
    t->spec.user_data.data = (uint8_t *)(uintptr_t)USER_DATA;
    t->spec.user_data.len = sizeof(USER_DATA) - 1;
    assert_true(snprintf(place.console, sizeof(place.console), "%s/droplets/%s/console.log",
                         place.state, t->uuid) < (int)sizeof(place.console));
}

static void sha256_of(const char *text, char ret[65])
{
    unsigned char digest[32];

    assert_int_equal(EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

/* Waits for the `nth` whole line on the console that begins with `start`; the caller frees it. */
static char *wait_for_line(const char *start, int nth, int within_ms)
{
    int64_t until_ms = mono_ms() + within_ms;

    for (;;) {
        char *text = scratch_read(place.console, NULL), *save = NULL;
        int seen = 0;
        char *end = text != NULL ? strrchr(text, '\n') : NULL;
        if (end != NULL)
            *end = 0; /* what follows may be half a line */
        for (char *line = end != NULL ? strtok_r(text, "\r\n", &save) : NULL; line != NULL;
             line = strtok_r(NULL, "\r\n", &save))
            if (strncmp(line, start, strlen(start)) == 0 && ++seen == nth) {
                char *ret = strdup(line);
                free(text);
                print_message("%s\n", ret);
                return ret;
            }
        if (mono_ms() >= until_ms)
            fail_msg("no line %d \"%s\" within %d ms; the console: %s", nth, start, within_ms,
                     text != NULL ? text : "(none)");
        free(text);
        clock_pause_ms(100);
    }
}

static void assert_field(const char *line, const char *field, const char *wanted)
{
    char key[64], got[512] = "";

    snprintf(key, sizeof(key), " %s=", field);
    const char *at = strstr(line, key);
    if (at == NULL)
        fail_msg("no %s in \"%s\"", field, line);
    snprintf(got, sizeof(got), "%.*s", (int)strcspn(at + strlen(key), " "), at + strlen(key));
    assert_string_equal(got, wanted);
}

static void assert_identity(const char *line, const struct test_job *t, const char *boots)
{
    char sha256[65];

    assert_field(line, "uuid", t->uuid);
    assert_field(line, "serial", "1234567890");
    assert_field(line, "instance-id", t->uuid);
    assert_field(line, "hostname", "web-1");
    assert_field(line, "boots", boots);
    assert_field(line, "disk_bytes", "1073741824");
    assert_field(line, "vcpus", "1");
    assert_field(line, "ssh_keys", "2");
    sha256_of(KEY, sha256);
    assert_field(line, "ssh_key_sha256", sha256);
    sha256_of(USER_DATA, sha256);
    assert_field(line, "user_data_sha256", sha256);
    assert_field(line, "addresses", "203.0.113.7/24,10.0.0.7/16");
}

struct listing {
    int count;
    struct driver_domain last;
};

static void note(void *ctx, const struct driver_domain *d)
{
    struct listing *l = ctx;

    l->count++;
    l->last = *d;
}

static struct listing list(void *driver)
{
    struct listing l = {0};
    struct error err;

    assert_int_equal(driver_libvirt.list(driver, (hypervisor_id){7}, note, &l, &err), 0);
    return l;
}

/* The guest's processes, by the uuid on their command line; the last one's id. */
static int count_guests(const char *uuid, int *ret_pid)
{
    char path[64], command[16384];
    struct dirent *entry;
    int count = 0;
    DIR *proc = opendir("/proc");

    assert_non_null(proc);
    while ((entry = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(path, sizeof(path), "/proc/%.20s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, command, sizeof(command)) : -1;
        if (fd >= 0)
            close(fd);
        if (n > 4 && memmem(command, (size_t)n, "qemu-system", 11) != NULL &&
            memmem(command, (size_t)n, uuid, strlen(uuid)) != NULL) {
            count++;
            *ret_pid = atoi(entry->d_name);
        }
    }
    closedir(proc);
    return count;
}

static void assert_nothing_left(void *driver, const struct test_job *t)
{
    char path[PATH_MAX];
    int pid = 0;

    assert_int_equal(list(driver).count, 0);
    assert_int_equal(count_guests(t->uuid, &pid), 0);
    snprintf(path, sizeof(path), "%s/droplets", place.state);
    assert_int_equal(scratch_count(path), 0);
    snprintf(path, sizeof(path), "%s/agent", place.root);
    assert_int_equal(scratch_count(path), 0);
}

static void press_power_button(void)
{
    virConnectPtr conn = virConnectOpen(place.uri);

    assert_non_null(conn);
    virDomainPtr domain = virDomainLookupByName(conn, "droplet-1234567890");
    assert_non_null(domain);
    assert_int_equal(virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN), 0);
    virDomainFree(domain);
    virConnectClose(conn);
}

static void a_droplet_boots_proves_who_it_is_and_goes_without_a_trace(void **state)
{
    struct test_job t;
    int first = 0, again = 0;
    void *driver = NULL;

    (void)state;
    job_init(&t);
    open_driver(&driver);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_DONE);
    char *line = wait_for_line("GUEST READY ", 1, BOOT_WITHIN_MS);
    assert_identity(line, &t, "1");
    free(line);
    assert_int_equal(list(driver).count, 1);
    assert_true(list(driver).last.running);
    assert_int_equal(count_guests(t.uuid, &first), 1);

    /* Done twice, it is the same guest; nor does an older attempt's undo reach it. */
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_DONE);
    t.job.attempt = 2;
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_UNDO, &t.job), DRIVER_DONE);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_CONFLICT);
    t.job.attempt = 3;
    assert_int_equal(count_guests(t.uuid, &again), 1);
    assert_int_equal(again, first);

    /* The process may end; the guest runs on and is found again. */
    driver_libvirt.close(driver);
    assert_int_equal(count_guests(t.uuid, &again), 1);
    open_driver(&driver);
    assert_int_equal(list(driver).count, 1);
    assert_true(list(driver).last.running);
    assert_int_equal(list(driver).last.attempt, 3);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_DONE);
    assert_int_equal(count_guests(t.uuid, &again), 1);
    assert_int_equal(again, first);

    /* A guest that was switched off comes back with its disk. */
    press_power_button();
    free(wait_for_line("GUEST STOPPING power button", 1, STOP_WITHIN_MS));
    for (int64_t until_ms = mono_ms() + STOP_WITHIN_MS; list(driver).last.running;) {
        assert_true(mono_ms() < until_ms);
        clock_pause_ms(100);
    }
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_DONE);
    line = wait_for_line("GUEST READY ", 2, BOOT_WITHIN_MS);
    assert_identity(line, &t, "2");
    free(line);

    t.job.spec = NULL;
    t.job.event_id = 77;
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_DESTROY, &t.job), DRIVER_DONE);
    assert_nothing_left(driver, &t);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_DESTROY, &t.job), DRIVER_DONE);
    driver_libvirt.close(driver);
}

static void a_create_that_fails_is_undone_by_its_own_attempt_only(void **state)
{
    static char wrong[] = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
    struct test_job t;
    void *driver = NULL;

    (void)state;
    job_init(&t);
    open_driver(&driver);
    t.image.sha256 = wrong;
    struct outcome o = run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job);
    assert_result(o, DRIVER_FAILED);
    assert_string_equal(o.reason, "image_invalid");

    /* Attempt 3 left its files: no other attempt builds on them. */
    t.image.sha256 = (char *)(uintptr_t)place.sha256;
    t.job.attempt = 4;
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_CONFLICT);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_UNDO, &t.job), DRIVER_DONE);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_CONFLICT);
    t.job.attempt = 3;
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_UNDO, &t.job), DRIVER_DONE);
    assert_nothing_left(driver, &t);
    driver_libvirt.close(driver);
}

static void a_create_that_was_cut_off_is_finished_by_the_next_one(void **state)
{
    struct test_job t;
    void *driver = NULL;
    int pid = 0;

    (void)state;
    job_init(&t);
    open_driver(&driver);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_DONE);
    assert_int_equal(list(driver).count, 1);
    assert_true(list(driver).last.running);
    assert_int_equal(count_guests(t.uuid, &pid), 1);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_UNDO, &t.job), DRIVER_DONE);
    assert_nothing_left(driver, &t);
    driver_libvirt.close(driver);
}

/* Tells when it begins, so that whoever kills it may count from there. */
static void a_create_alone(void **state)
{
    struct test_job t;
    void *driver = NULL;

    (void)state;
    job_init(&t);
    open_driver(&driver);
    fputs("begun\n", stdout);
    fflush(stdout);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_DONE);
    driver_libvirt.close(driver);
}

/* Has something done by whoever runs this. */
static void ask(const char *what)
{
    char answer[16];

    printf("%s\n", what);
    fflush(stdout);
    assert_non_null(fgets(answer, sizeof(answer), stdin));
}

/* Repeats an operation for as long as it says "later". */
static void insist(void *driver, enum driver_action action, const Harpoon__Job__V1__Job *job)
{
    struct outcome o = {.result = DRIVER_RETRY};

    for (int64_t until_ms = mono_ms() + BOOT_WITHIN_MS; o.result == DRIVER_RETRY;) {
        assert_true(mono_ms() < until_ms);
        clock_pause_ms(100);
        o = run_operation(&driver_libvirt, driver, action, job);
    }
    assert_result(o, DRIVER_DONE);
}

static void a_guest_outlives_the_daemon_and_is_found_again(void **state)
{
    struct test_job t;
    struct listing l = {0};
    struct error err;
    int first = 0, again = 0;
    void *driver = NULL;

    (void)state;
    job_init(&t);
    open_driver(&driver);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_DONE);
    assert_int_equal(count_guests(t.uuid, &first), 1);
    ask("kill");
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job), DRIVER_RETRY);
    assert_result(run_operation(&driver_libvirt, driver, DRIVER_DESTROY, &t.job), DRIVER_RETRY);
    assert_int_equal(driver_libvirt.list(driver, (hypervisor_id){7}, note, &l, &err),
                     ERR_UNAVAILABLE);
    assert_int_equal(count_guests(t.uuid, &again), 1);
    ask("start");
    insist(driver, DRIVER_CREATE, &t.job);
    assert_int_equal(count_guests(t.uuid, &again), 1);
    assert_int_equal(again, first);
    insist(driver, DRIVER_DESTROY, &t.job);
    assert_int_equal(list(driver).count, 0);
    assert_int_equal(count_guests(t.uuid, &again), 0);
    driver_libvirt.close(driver);
}

static void a_daemon_that_dies_under_a_create_makes_it_neither_fail_nor_double(void **state)
{
    struct test_job t;
    void *driver = NULL;
    int pid = 0;

    (void)state;
    job_init(&t);
    open_driver(&driver);
    ask("kill soon");
    struct outcome o = run_operation(&driver_libvirt, driver, DRIVER_CREATE, &t.job);
    if (o.result != DRIVER_DONE)
        assert_result(o, DRIVER_RETRY);
    ask("start");
    insist(driver, DRIVER_CREATE, &t.job);
    assert_int_equal(list(driver).count, 1);
    assert_true(list(driver).last.running);
    assert_int_equal(count_guests(t.uuid, &pid), 1);
    insist(driver, DRIVER_DESTROY, &t.job);
    assert_int_equal(list(driver).count, 0);
    assert_int_equal(count_guests(t.uuid, &pid), 0);
    driver_libvirt.close(driver);
}

/* Runs the tests behind a word of the command line. */
static int run_word(const char *word)
{
    const struct CMUnitTest story[] = {
        cmocka_unit_test(a_droplet_boots_proves_who_it_is_and_goes_without_a_trace),
        cmocka_unit_test(a_create_that_fails_is_undone_by_its_own_attempt_only),
    };
    const struct CMUnitTest create[] = {cmocka_unit_test(a_create_alone)};
    const struct CMUnitTest mend[] = {
        cmocka_unit_test(a_create_that_was_cut_off_is_finished_by_the_next_one)};
    const struct CMUnitTest daemon[] = {
        cmocka_unit_test(a_guest_outlives_the_daemon_and_is_found_again),
        cmocka_unit_test(a_daemon_that_dies_under_a_create_makes_it_neither_fail_nor_double),
    };

    if (strcmp(word, "story") == 0)
        return cmocka_run_group_tests(story, NULL, NULL);
    if (strcmp(word, "create") == 0)
        return cmocka_run_group_tests(create, NULL, NULL);
    if (strcmp(word, "mend") == 0)
        return cmocka_run_group_tests(mend, NULL, NULL);
    if (strcmp(word, "daemon") == 0)
        return cmocka_run_group_tests(daemon, NULL, NULL);
    return 2;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE,
           SIG_IGN); /* as every daemon does: libvirt writes to sockets that may be closed */
    if (argc != 6) {
        fprintf(stderr, "driver_vm story|create|mend|daemon IMAGE SHA256 STATE ROOT\n");
        return 2;
    }
    place.image = argv[2];
    place.sha256 = argv[3];
    place.state = argv[4];
    place.root = argv[5];
    if (strcmp(argv[1], "daemon") == 0)
        snprintf(place.uri, sizeof(place.uri), "qemu:///session");
    else
        snprintf(place.uri, sizeof(place.uri), "qemu:///embed?root=%s", place.root);
    return run_word(argv[1]);
}
