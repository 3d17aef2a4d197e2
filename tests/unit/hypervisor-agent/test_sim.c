#include "hypervisor-agent/driver/driver.h"
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct fixture {
    char folder[FOLDER_BYTES], ledger[FOLDER_BYTES * 2];
    struct driver_config config;
    void *sim;
};

static void open_sim(struct fixture *f)
{
    struct error err;

    assert_ok(driver_sim.open(&f->config, &f->sim, &err), &err);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    folder_make(f->folder);
    snprintf(f->ledger, sizeof f->ledger, "%s", folder_path(f->folder, "ledger.log"));
    f->config = (struct driver_config){.sim_ledger = f->ledger,
                                       .sim_shape = {64, 1024, 500},
                                       .max_parallel = 4};
    open_sim(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    driver_sim.close(f->sim);
    folder_remove(f->folder);
    free(f);
    return 0;
}

struct one {
    struct driver_task task;
    Harpoon__Job__V1__Job job;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
};

static void on_done(struct driver_task *task)
{
    struct one *o = task->ctx;

    LOCK_SCOPE(&o->lock);
    o->done = true;
    pthread_cond_signal(&o->wake);
}

static int begin(struct fixture *f, struct one *o, enum driver_action action, uint64_t hypervisor,
                 uint64_t droplet, uint64_t event, uint32_t attempt)
{
    struct error err;

    *o = (struct one){.job = HARPOON__JOB__V1__JOB__INIT};
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->wake, NULL);
    o->job.droplet_id = droplet;
    o->job.event_id = event;
    o->job.attempt = attempt;
    o->task = (struct driver_task){
        .action = action, .hypervisor = {hypervisor}, .job = &o->job, .done = on_done, .ctx = o};
    return driver_sim.begin(f->sim, &o->task, &err);
}

static enum driver_result wait_for(struct one *o)
{
    LOCK_SCOPE(&o->lock);
    while (!o->done)
        pthread_cond_wait(&o->wake, &o->lock);
    return o->task.result;
}

static enum driver_result run(struct fixture *f, enum driver_action action, uint64_t hypervisor,
                              uint64_t droplet, uint64_t event, uint32_t attempt)
{
    struct one o;

    assert_int_equal(begin(f, &o, action, hypervisor, droplet, event, attempt), 0);
    return wait_for(&o);
}

struct listed {
    size_t count;
    struct driver_domain last;
};

static void on_domain(void *ctx, const struct driver_domain *d)
{
    struct listed *l = ctx;

    l->count++;
    l->last = *d;
}

static struct listed list(struct fixture *f, uint64_t hypervisor)
{
    struct listed l = {0};
    struct error err;

    assert_ok(driver_sim.list(f->sim, (hypervisor_id){hypervisor}, on_domain, &l, &err), &err);
    return l;
}

static void reopen(struct fixture *f)
{
    driver_sim.close(f->sim);
    open_sim(f);
}

static void a_create_done_twice_writes_one_line(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 1), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 1), DRIVER_DONE);
    reopen(f);
    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 1), DRIVER_DONE);
    assert_int_equal(file_count_lines(f->ledger, " 1 10 1 create"), 1);
    assert_int_equal(file_count_lines(f->ledger, ""), 1);
}

static void a_destroy_of_what_is_not_there_writes_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, DRIVER_DESTROY, 1, 10, 101, 1), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 2), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_DESTROY, 1, 10, 101, 1), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_DESTROY, 1, 10, 101, 1), DRIVER_DONE);
    assert_int_equal(file_count_lines(f->ledger, " 1 10 2 destroy"), 1);
    assert_int_equal(file_count_lines(f->ledger, "destroy"), 1);
    assert_int_equal(list(f, 1).count, 0);
}

static void another_attempts_domain_is_a_conflict(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 1), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 2), DRIVER_CONFLICT);
    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 200, 1), DRIVER_CONFLICT);
    assert_int_equal(run(f, DRIVER_CREATE, 2, 10, 100, 2), DRIVER_DONE); /* another hypervisor */
    assert_int_equal(list(f, 1).last.attempt, 1);
}

static void undo_removes_only_what_this_attempt_made(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 1), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_UNDO, 1, 10, 100, 2), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_UNDO, 1, 10, 200, 1), DRIVER_DONE);
    assert_int_equal(list(f, 1).count, 1);
    assert_int_equal(run(f, DRIVER_UNDO, 1, 10, 100, 1), DRIVER_DONE);
    assert_int_equal(list(f, 1).count, 0);
    assert_int_equal(file_count_lines(f->ledger, "destroy"), 1);
}

static void the_ledger_says_which_domains_there_are(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 1), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_CREATE, 1, 11, 101, 3), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_CREATE, 2, 12, 102, 1), DRIVER_DONE);
    assert_int_equal(run(f, DRIVER_DESTROY, 1, 10, 103, 1), DRIVER_DONE);
    reopen(f);
    struct listed l = list(f, 1);
    assert_int_equal(l.count, 1);
    assert_int_equal(l.last.droplet.v, 11);
    assert_int_equal(l.last.attempt, 3);
    assert_int_equal(l.last.event.v, 101); /* as a domain's metadata would say */
    assert_true(l.last.running);
    assert_int_equal(list(f, 2).count, 1);
    assert_int_equal(list(f, 3).count, 0);
}

static void a_ledger_without_its_events_lists_without_them(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 1), DRIVER_DONE);
    file_write(folder_path(f->folder, "ledger.log.events"), "", 0);
    reopen(f);
    assert_int_equal(list(f, 1).last.event.v, 0);
    assert_int_equal(run(f, DRIVER_CREATE, 1, 10, 100, 1), DRIVER_DONE);
    assert_int_equal(file_count_lines(f->ledger, "create"), 1);
}

static void a_torn_last_line_is_taken_away(void **state)
{
    static const char text[] = "1 1 10 1 create\n2 1 11 1 create\n3 1 11 1 dest";
    struct fixture *f = *state;

    driver_sim.close(f->sim);
    file_write(f->ledger, text, sizeof text - 1);
    open_sim(f);
    assert_int_equal(list(f, 1).count, 2);
    assert_int_equal(run(f, DRIVER_DESTROY, 1, 11, 5, 1), DRIVER_DONE);
    assert_int_equal(file_count_lines(f->ledger, ""), 3);
    assert_int_equal(file_count_lines(f->ledger, " 1 11 1 destroy"), 1);
}

static void a_senseless_line_is_refused(void **state)
{
    static const char *const bad[] = {
        "hello\n", "1 1 10 1 made\n", "1 1 10 create\n", "1 1 10 1 create \n", "1 1 10 1 create2\n",
        "\n"};
    struct fixture *f = *state;
    struct error err;
    void *sim;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        file_write(f->ledger, bad[i], strlen(bad[i]));
        assert_int_equal(driver_sim.open(&f->config, &sim, &err), ERR_INTERNAL);
    }
}

static void what_fails_leaves_what_the_ledger_says(void **state)
{
    struct fixture *f = *state;
    size_t failed = 0, made = 0;

    driver_sim.close(f->sim);
    f->config.sim_fail_permille = 1000;
    open_sim(f);
    for (uint64_t i = 1; i <= 200; i++) {
        failed += run(f, DRIVER_CREATE, 1, i, i, 1) == DRIVER_FAILED;
        assert_int_equal(run(f, DRIVER_UNDO, 1, i, i, 1), DRIVER_FAILED);
    }
    assert_int_equal(failed, 200);
    made = file_count_lines(f->ledger, "create");
    assert_int_equal(list(f, 1).count, made);
    assert_in_range(made, 40, 160); /* some failed after they were made */
    assert_int_equal(file_count_lines(f->ledger, "destroy"), 0);
    driver_sim.close(f->sim);
    f->config.sim_fail_permille = 0;
    open_sim(f);
    for (uint64_t i = 1; i <= 200; i++)
        assert_int_equal(run(f, DRIVER_UNDO, 1, i, i, 1), DRIVER_DONE);
    assert_int_equal(file_count_lines(f->ledger, "destroy"), made);
}

static void more_than_it_takes_is_refused_and_a_stop_leaves_nothing_half_done(void **state)
{
    struct fixture *f = *state;
    struct one o[5];

    driver_sim.close(f->sim);
    f->config.sim_latency_ms = 3600000;
    open_sim(f);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(begin(f, &o[i], DRIVER_CREATE, 1, i + 1, i + 1, 1), i < 4 ? 0 : ERR_BUSY);
    driver_sim.close(f->sim);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(wait_for(&o[i]), DRIVER_RETRY);
    f->config.sim_latency_ms = 0;
    open_sim(f);
    assert_int_equal(file_count_lines(f->ledger, ""), 0);
}

static void processes_share_a_ledger(void **state)
{
    struct fixture *f = *state, other = *f;

    open_sim(&other);
    for (uint64_t i = 1; i <= 50; i++) {
        assert_int_equal(run(f, DRIVER_CREATE, 1, i, i, 1), DRIVER_DONE);
        assert_int_equal(run(&other, DRIVER_CREATE, 2, i + 100, i + 100, 1), DRIVER_DONE);
    }
    driver_sim.close(other.sim);
    assert_int_equal(file_count_lines(f->ledger, "create"), 100);
    reopen(f);
    assert_int_equal(list(f, 1).count, 50);
    assert_int_equal(list(f, 2).count, 50);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_create_done_twice_writes_one_line),
        TEST(a_destroy_of_what_is_not_there_writes_nothing),
        TEST(another_attempts_domain_is_a_conflict),
        TEST(undo_removes_only_what_this_attempt_made),
        TEST(the_ledger_says_which_domains_there_are),
        TEST(a_ledger_without_its_events_lists_without_them),
        TEST(a_torn_last_line_is_taken_away),
        TEST(a_senseless_line_is_refused),
        TEST(what_fails_leaves_what_the_ledger_says),
        TEST(more_than_it_takes_is_refused_and_a_stop_leaves_nothing_half_done),
        TEST(processes_share_a_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
