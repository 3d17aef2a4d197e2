#include "lib/metrics.h"

#include "tests/unit/lib/support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M_EVENTS, M_DEPTH, M_SECONDS, M_MANY, M_PLAIN, M_ODD, M_THREADS };

static const double bounds[] = {0.1, 1, 10, 0};
static const struct metric_def defs[] = {
    [M_EVENTS] = {"test_events_total", METRIC_COUNTER, "Events.", {"region", "outcome"}},
    [M_DEPTH] = {"test_depth", METRIC_GAUGE, "Waiting \\ now.\nTwo lines.", {"queue"}},
    [M_SECONDS] = {"test_seconds", METRIC_HISTOGRAM, "Took.", {"what"}, bounds},
    [M_MANY] = {"test_many_total", METRIC_COUNTER, "Many.", {"id"}},
    [M_PLAIN] = {"test_plain_total", METRIC_COUNTER, "Without labels.", {NULL}},
    [M_ODD] = {"test_odd", METRIC_GAUGE, "Odd values.", {"text"}},
    [M_THREADS] = {"test_threads_total", METRIC_COUNTER, "From threads.", {"n"}},
};

static void counters_add_up_per_series(void **state)
{
    UNUSED(state);
    metric_add(M_EVENTS, 1, "nyc3", "succeeded", NULL);
    metric_add(M_EVENTS, 2, "nyc3", "succeeded", NULL);
    metric_add(M_EVENTS, 1, "ams3", "failed", NULL);
    char *text = metrics_format();
    assert_has(text, "# HELP test_events_total Events.\n# TYPE test_events_total counter\n");
    assert_has(text, "\ntest_events_total{region=\"nyc3\",outcome=\"succeeded\"} 3\n");
    assert_has(text, "\ntest_events_total{region=\"ams3\",outcome=\"failed\"} 1\n");
    free(text);
}

static void a_counter_without_labels_is_there_from_the_start(void **state)
{
    UNUSED(state);
    char *text = metrics_format();
    assert_has(text, "\ntest_plain_total 0\n");
    free(text);
}

static void gauges_are_set_and_help_is_escaped(void **state)
{
    UNUSED(state);
    metric_set(M_DEPTH, 5, "a", NULL);
    metric_set(M_DEPTH, 0.1, "a", NULL);
    metric_set(M_DEPTH, 1e15 + 1, "b", NULL);
    char *text = metrics_format();
    assert_has(text, "# HELP test_depth Waiting \\\\ now.\\nTwo lines.\n# TYPE test_depth gauge\n");
    assert_has(text, "\ntest_depth{queue=\"a\"} 0.1\n");
    assert_has(text, "\ntest_depth{queue=\"b\"} 1000000000000001\n");
    free(text);
}

static void histograms_cumulate(void **state)
{
    UNUSED(state);
    metric_observe(M_SECONDS, 0.1, "x", NULL); /* a bound belongs to its bucket */
    metric_observe(M_SECONDS, 0.5, "x", NULL);
    metric_observe(M_SECONDS, 100, "x", NULL);
    char *text = metrics_format();
    assert_has(text, "# TYPE test_seconds histogram\n"
                     "test_seconds_bucket{what=\"x\",le=\"0.1\"} 1\n"
                     "test_seconds_bucket{what=\"x\",le=\"1\"} 2\n"
                     "test_seconds_bucket{what=\"x\",le=\"10\"} 2\n"
                     "test_seconds_bucket{what=\"x\",le=\"+Inf\"} 3\n"
                     "test_seconds_sum{what=\"x\"} 100.6\n"
                     "test_seconds_count{what=\"x\"} 3\n");
    free(text);
}

static void label_values_are_escaped(void **state)
{
    UNUSED(state);
    metric_set(M_ODD, 1, "a\"b\\c\nd", NULL);
    metric_set(M_ODD, 1.0 / 0.0, "infinite", NULL);
    char *text = metrics_format();
    assert_has(text, "\ntest_odd{text=\"a\\\"b\\\\c\\nd\"} 1\n");
    assert_has(text, "\ntest_odd{text=\"infinite\"} +Inf\n");
    free(text);
}

static void series_beyond_the_limit_are_counted_not_kept(void **state)
{
    char id[20];
    size_t lines = 0;

    UNUSED(state);
    for (int i = 0; i < 1005; i++) {
        (void)snprintf(id, sizeof id, "%d", i);
        metric_add(M_MANY, 1, id, NULL);
    }
    metric_add(M_MANY, 1, "7", NULL); /* a known one goes on */
    char *text = metrics_format();
    for (const char *p = strstr(text, "\ntest_many_total{"); p != NULL;
         p = strstr(p + 1, "\ntest_many_total{"))
        lines++;
    assert_int_equal(lines, 1000);
    assert_has(text, "\ntest_many_total{id=\"7\"} 2\n");
    assert_has(text, "\nharpoon_metrics_dropped_total 5\n");
    free(text);
}

static void *add_many(void *ctx)
{
    UNUSED(ctx);
    for (int i = 0; i < 1000; i++)
        metric_add(M_THREADS, 1, i % 2 != 0 ? "odd" : "even", NULL);
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    pthread_t threads[4];

    UNUSED(state);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    free(metrics_format());
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *text = metrics_format();
    assert_has(text, "\ntest_threads_total{n=\"odd\"} 2000\n");
    assert_has(text, "\ntest_threads_total{n=\"even\"} 2000\n");
    free(text);
}

static void set_depth(void *ctx)
{
    metric_set(M_DEPTH, ++*(int *)ctx, "scraped", NULL);
}

static void gauges_are_set_before_each_scrape(void **state)
{
    static int scrapes;

    UNUSED(state);
    metrics_on_scrape(set_depth, &scrapes);
    free(metrics_format());
    char *text = metrics_format();
    assert_has(text, "\ntest_depth{queue=\"scraped\"} 2\n");
    free(text);
}

static void the_process_is_described(void **state)
{
    static const char *const names[] = {"\nprocess_cpu_seconds_total ",
                                        "\nprocess_resident_memory_bytes ", "\nprocess_open_fds ",
                                        "\nprocess_max_fds "};

    UNUSED(state);
    char *text = metrics_format();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_has(text, names[i]);
        assert_true(strtod(strstr(text, names[i]) + strlen(names[i]), NULL) > 0);
    }
    free(text);
}

static int init(void **state)
{
    UNUSED(state);
    metrics_init(defs, ARRAY_LEN(defs));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_add_up_per_series),
        cmocka_unit_test(a_counter_without_labels_is_there_from_the_start),
        cmocka_unit_test(gauges_are_set_and_help_is_escaped),
        cmocka_unit_test(histograms_cumulate),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(series_beyond_the_limit_are_counted_not_kept),
        cmocka_unit_test(threads_lose_nothing),
        cmocka_unit_test(gauges_are_set_before_each_scrape),
        cmocka_unit_test(the_process_is_described),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
