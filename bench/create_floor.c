/* The raw cost of creates on the servers that run, by themselves: rows in array-bound transactions,
 * messages with confirms, journal commits. The tables are copies that the caller made and removes.
 *   create_floor throughput|latency --mysql-socket PATH --mysql-user NAME --mysql-password-file
 * FILE --mysql-database NAME
 *                --amqp-port N --amqp-user NAME --amqp-password-file FILE --journal FILE --count N
 *                [--batch N] [--threads N] [--params-bytes N] [--body-bytes N] [--journal-commits
 * N] `throughput` does all at once, `latency` one step after another, one create at a time. Prints
 * one JSON object. */
#include "bench/floor.h"

#include "lib/clock.h"
#include "lib/sql/sql.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 16 };

struct part {
    const struct floor_options *options;
    size_t first, count;
    int64_t result;
};

void floor_die(const char *what, const char *why)
{
    fprintf(stderr, "create_floor: %s: %s\n", what, why);
    exit(1);
}

void floor_times_add(struct floor_times *t, int64_t us)
{
    t->us[t->count++] = us;
}

/* ---- all at once ---- */
static void *run_rows(void *arg)
{
    struct part *p = arg;

    floor_rows_run(p->options, p->first, p->count, NULL);
    return NULL;
}

static void *run_journal(void *arg)
{
    struct part *p = arg;
    struct floor_journal *j = floor_journal_open(p->options);

    p->result = floor_journal_run(j);
    floor_journal_close(j);
    return NULL;
}

static pthread_t start(void *(*run)(void *), struct part *p)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, p) != 0)
        floor_die("a thread", strerror(errno));
    return thread;
}

static void run_throughput(const struct floor_options *o)
{
    struct part rows[THREADS_MAX], journal = {o, 0, o->count, 0};
    pthread_t threads[THREADS_MAX];
    struct floor_broker *broker = floor_broker_open(o);
    int64_t began = mono_us();

    for (size_t i = 0; i < o->threads; i++) {
        size_t first = o->count * i / o->threads;
        rows[i] = (struct part){o, first, o->count * (i + 1) / o->threads - first, 0};
        threads[i] = start(run_rows, &rows[i]);
    }
    pthread_t journaled = start(run_journal, &journal);
    floor_broker_run(broker);
    for (size_t i = 0; i < o->threads; i++)
        pthread_join(threads[i], NULL);
    pthread_join(journaled, NULL);
    double seconds = (double)(mono_us() - began) / 1e6;
    floor_broker_close(broker);
    printf("{\"count\": %zu, \"seconds\": %.3f, \"journal_cpu_us\": %" PRIi64 "}\n", o->count,
           seconds, journal.result);
}

/* ---- one at a time ---- */
static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void print_times(const char *name, struct floor_times *t, const char *after)
{
    qsort(t->us, t->count, sizeof *t->us, compare_i64);
    printf("\"%s_p50_ms\": %.3f, \"%s_p99_ms\": %.3f%s", name, (double)t->us[t->count / 2] / 1000,
           name, (double)t->us[(size_t)((double)(t->count - 1) * 0.99)] / 1000, after);
}

static void run_latency(const struct floor_options *o)
{
    enum { MESSAGE = FLOOR_STEPS, JOURNAL, PARTS };
    static const char *const names[PARTS] = {"accept", "claim",   "dispatched",
                                             "final",  "message", "journal"};
    struct floor_times times[PARTS];
    struct floor_broker *broker = floor_broker_open(o);
    struct floor_journal *journal = floor_journal_open(o);

    for (int i = 0; i < PARTS; i++) {
        times[i] = (struct floor_times){calloc(o->count, sizeof(int64_t)), 0};
        if (times[i].us == NULL)
            floor_die("times", "out of memory");
    }
    floor_rows_run(o, 0, o->count, times);
    for (size_t i = 0; i < o->count; i++)
        floor_times_add(&times[MESSAGE], floor_broker_one(broker));
    for (size_t i = 0; i < o->count; i++)
        floor_times_add(&times[JOURNAL], floor_journal_one(journal, i + 1));
    floor_broker_close(broker);
    floor_journal_close(journal);
    printf("{");
    for (int i = 0; i < PARTS; i++) {
        print_times(names[i], &times[i], i + 1 < PARTS ? ", " : "}\n");
        free(times[i].us);
    }
}

/* ---- options ---- */
static char *read_secret(const char *path)
{
    char line[512] = "";
    FILE *f = fopen(path, "re");

    if (f == NULL || fgets(line, sizeof line, f) == NULL)
        floor_die(path, "cannot be read");
    fclose(f);
    line[strcspn(line, "\r\n")] = 0;
    return strdup(line);
}

static void set_option(struct floor_options *o, int option, const char *value)
{
    size_t number = strtoul(value, NULL, 10);

    switch (option) {
    case 's':
        o->mysql_socket = value;
        break;
    case 'u':
        o->mysql_user = value;
        break;
    case 'w':
        o->mysql_password = read_secret(value);
        break;
    case 'd':
        o->mysql_database = value;
        break;
    case 'p':
        o->amqp_port = (int)number;
        break;
    case 'U':
        o->amqp_user = value;
        break;
    case 'W':
        o->amqp_password = read_secret(value);
        break;
    case 'j':
        o->journal = value;
        break;
    case 'n':
        o->count = number;
        break;
    case 'b':
        o->batch = number;
        break;
    case 't':
        o->threads = number;
        break;
    case 'P':
        o->params_bytes = number;
        break;
    case 'B':
        o->body_bytes = number;
        break;
    case 'c':
        o->journal_commits = number;
        break;
    default:
        exit(2);
    }
}

static void read_options(struct floor_options *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"mysql-socket", 1, NULL, 's'},
        {"mysql-user", 1, NULL, 'u'},
        {"mysql-password-file", 1, NULL, 'w'},
        {"mysql-database", 1, NULL, 'd'},
        {"amqp-port", 1, NULL, 'p'},
        {"amqp-user", 1, NULL, 'U'},
        {"amqp-password-file", 1, NULL, 'W'},
        {"journal", 1, NULL, 'j'},
        {"count", 1, NULL, 'n'},
        {"batch", 1, NULL, 'b'},
        {"threads", 1, NULL, 't'},
        {"params-bytes", 1, NULL, 'P'},
        {"body-bytes", 1, NULL, 'B'},
        {"journal-commits", 1, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        set_option(o, option, optarg);
    if (o->mysql_socket == NULL || o->amqp_port == 0 || o->journal == NULL || o->count == 0 ||
        o->batch == 0 || o->threads == 0 || o->threads > THREADS_MAX || optind != argc - 1)
        floor_die("options", "see the top of bench/create_floor.c");
}

int main(int argc, char **argv)
{
    struct floor_options o = {.batch = 32, .threads = 2, .params_bytes = 256, .body_bytes = 128};

    read_options(&o, argc, argv);
    sql_library_init();
    if (strcmp(argv[optind], "latency") == 0) {
        o.batch = 1;
        run_latency(&o);
    } else {
        run_throughput(&o);
    }
    free(o.mysql_password);
    free(o.amqp_password);
    return 0;
}
