#include "lib/metrics.h"

#include "lib/process.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum { MAX_LABELS = 4, MAX_SERIES = 1000, MAX_SCRAPE_CALLBACKS = 16, MAX_KEY = 512 };

static const double usual_buckets[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                       0.5,   1,      2.5,   5,    10,    30,   60,  0};

struct series {
    UT_hash_handle hh;
    char *key; /* `region="nyc3",outcome="succeeded"`, escaped: what is printed */
    double value;
    uint64_t count;     /* histogram: observations */
    uint64_t buckets[]; /* histogram: observations per bucket, not cumulated */
};

struct metric {
    const struct metric_def *def;
    size_t label_count, bucket_count;
    const double *bounds;
    pthread_mutex_t lock;
    struct series *series; /* guarded by lock; by key */
};

static struct metric *metrics;
static size_t metrics_count;
static _Atomic uint64_t dropped;
static pthread_mutex_t callbacks_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void (*fn)(void *ctx);
    void *ctx;
} callbacks[MAX_SCRAPE_CALLBACKS]; /* guarded by callbacks_lock */
static size_t callback_count;      /* guarded by callbacks_lock */

void metrics_init(const struct metric_def *defs, size_t count)
{
    assert(metrics == NULL);
    metrics = calloc(count > 0 ? count : 1, sizeof *metrics);
    if (metrics == NULL)
        abort();
    for (size_t i = 0; i < count; i++) {
        struct metric *m = &metrics[i];
        m->def = &defs[i];
        while (m->label_count < MAX_LABELS && defs[i].labels[m->label_count] != NULL)
            m->label_count++;
        pthread_mutex_init(&m->lock, NULL);
        if (defs[i].type != METRIC_HISTOGRAM)
            continue;
        m->bounds = defs[i].buckets != NULL ? defs[i].buckets : usual_buckets;
        while (m->bounds[m->bucket_count] != 0)
            m->bucket_count++;
    }
    metrics_count = count;
}

static size_t put_text(char *key, size_t len, const char *text)
{
    while (*text != 0 && len < MAX_KEY - 1)
        key[len++] = *text++;
    return len;
}

static size_t put_value(char *key, size_t len, const char *value)
{
    for (; *value != 0 && len < MAX_KEY - 8; value++) {
        char one[2] = {*value, 0};
        len = put_text(key, len,
                       *value == '"'    ? "\\\""
                       : *value == '\\' ? "\\\\"
                       : *value == '\n' ? "\\n"
                                        : one);
    }
    return len;
}

static void format_key(const struct metric *m, va_list values, char key[MAX_KEY])
{
    size_t len = 0;

    for (size_t i = 0; i < m->label_count; i++) {
        const char *value = va_arg(values, const char *);
        assert(value != NULL); /* fewer values than the row has labels */
        len = put_text(key, len, i > 0 ? "," : "");
        len = put_text(key, len, m->def->labels[i]);
        len = put_text(key, len, "=\"");
        len = put_value(key, len, value);
        len = put_text(key, len, "\"");
    }
    const char *end = va_arg(values, const char *);
    assert(end == NULL); /* more values than the row has labels */
    UNUSED(end);
    key[len] = 0;
}

static struct series *find_or_make_locked(struct metric *m, const char *key)
{
    struct series *s = NULL;

    HASH_FIND_STR(m->series, key, s);
    if (s != NULL)
        return s;
    if (HASH_COUNT(m->series) >= MAX_SERIES) {
        dropped++;
        return NULL;
    }
    s = calloc(1, sizeof *s + (m->bucket_count + 1) * sizeof s->buckets[0]);
    if (s == NULL || (s->key = strdup(key)) == NULL) {
        free(s);
        dropped++;
        return NULL;
    }
    HASH_ADD_KEYPTR(hh, m->series, s->key, strlen(s->key), s);
    return s;
}

static struct metric *metric_get(size_t metric, bool histogram)
{
    assert(metric < metrics_count);
    assert((metrics[metric].def->type == METRIC_HISTOGRAM) == histogram);
    UNUSED(histogram);
    return &metrics[metric];
}

void metric_add(size_t metric, double value, ...)
{
    struct metric *m = metric_get(metric, false);
    char key[MAX_KEY];
    va_list values;

    va_start(values, value);
    format_key(m, values, key);
    va_end(values);
    LOCK_SCOPE(&m->lock);
    struct series *s = find_or_make_locked(m, key);
    if (s != NULL)
        s->value += value;
}

void metric_set(size_t metric, double value, ...)
{
    struct metric *m = metric_get(metric, false);
    char key[MAX_KEY];
    va_list values;

    va_start(values, value);
    format_key(m, values, key);
    va_end(values);
    LOCK_SCOPE(&m->lock);
    struct series *s = find_or_make_locked(m, key);
    if (s != NULL)
        s->value = value;
}

void metric_observe(size_t metric, double value, ...)
{
    struct metric *m = metric_get(metric, true);
    char key[MAX_KEY];
    va_list values;
    size_t bucket = 0;

    va_start(values, value);
    format_key(m, values, key);
    va_end(values);
    while (bucket < m->bucket_count && value > m->bounds[bucket])
        bucket++;
    LOCK_SCOPE(&m->lock);
    struct series *s = find_or_make_locked(m, key);
    if (s == NULL)
        return;
    s->value += value;
    s->count++;
    s->buckets[bucket]++;
}

void metrics_on_scrape(void (*callback)(void *ctx), void *ctx)
{
    LOCK_SCOPE(&callbacks_lock);
    assert(callback_count < MAX_SCRAPE_CALLBACKS);
    callbacks[callback_count].fn = callback;
    callbacks[callback_count++].ctx = ctx;
}

static void run_callbacks(void)
{
    for (size_t i = 0;; i++) {
        pthread_mutex_lock(&callbacks_lock);
        bool more = i < callback_count;
        void (*fn)(void *ctx) = more ? callbacks[i].fn : NULL;
        void *ctx = more ? callbacks[i].ctx : NULL;
        pthread_mutex_unlock(&callbacks_lock);
        if (!more)
            return;
        fn(ctx);
    }
}

/* ---- text ---- */
static void print_number(FILE *out, double v)
{
    char text[40];

    (void)snprintf(text, sizeof text, "%.15g", v);
    if (strtod(text, NULL) != v) /* 0.1 stays 0.1, and nothing is lost */
        (void)snprintf(text, sizeof text, "%.17g", v);
    fputs(isnan(v) ? "NaN" : isinf(v) ? (v > 0 ? "+Inf" : "-Inf") : text, out);
}

static void print_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s ", name);
    for (const char *p = help != NULL ? help : ""; *p != 0; p++) {
        if (*p == '\\' || *p == '\n')
            fputs(*p == '\\' ? "\\\\" : "\\n", out);
        else
            fputc(*p, out);
    }
    fprintf(out, "\n# TYPE %s %s\n", name, type);
}

static void print_plain(FILE *out, const char *name, const char *key, double value)
{
    fputs(name, out);
    if (key[0] != 0)
        fprintf(out, "{%s}", key);
    fputc(' ', out);
    print_number(out, value);
    fputc('\n', out);
}

static void print_histogram(FILE *out, const struct metric *m, const struct series *s)
{
    const char *comma = s->key[0] != 0 ? "," : "";
    const char *open = s->key[0] != 0 ? "{" : "", *close = s->key[0] != 0 ? "}" : "";
    uint64_t sum = 0;

    for (size_t i = 0; i < m->bucket_count; i++) {
        sum += s->buckets[i];
        fprintf(out, "%s_bucket{%s%sle=\"", m->def->name, s->key, comma);
        print_number(out, m->bounds[i]);
        fprintf(out, "\"} %llu\n", (unsigned long long)sum);
    }
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", m->def->name, s->key, comma,
            (unsigned long long)s->count);
    fprintf(out, "%s_sum%s%s%s ", m->def->name, open, s->key, close);
    print_number(out, s->value);
    fprintf(out, "\n%s_count%s%s%s %llu\n", m->def->name, open, s->key, close,
            (unsigned long long)s->count);
}

static void print_metric(FILE *out, struct metric *m)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    struct series *s, *next;

    LOCK_SCOPE(&m->lock);
    /* A series without labels is there from the start, so that a rate() has its zero. */
    if (m->label_count == 0 && m->series == NULL && m->def->type != METRIC_GAUGE)
        (void)find_or_make_locked(m, "");
    print_head(out, m->def->name, types[m->def->type], m->def->help);
    HASH_ITER(hh, m->series, s, next)
    {
        if (m->def->type == METRIC_HISTOGRAM)
            print_histogram(out, m, s);
        else
            print_plain(out, m->def->name, s->key, s->value);
    }
}

static void print_process(FILE *out)
{
    struct process_usage u;

    process_usage_get(&u);
    print_head(out, "process_cpu_seconds_total", "counter", "User and system CPU time spent.");
    print_plain(out, "process_cpu_seconds_total", "", u.cpu_s);
    print_head(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
    print_plain(out, "process_resident_memory_bytes", "", u.resident_bytes);
    print_head(out, "process_open_fds", "gauge", "Open file descriptors.");
    print_plain(out, "process_open_fds", "", u.open_fds);
    print_head(out, "process_max_fds", "gauge", "How many file descriptors may be open.");
    print_plain(out, "process_max_fds", "", u.max_fds);
    print_head(out, "harpoon_metrics_dropped_total", "counter",
               "Changes of series beyond the limit of a metric.");
    print_plain(out, "harpoon_metrics_dropped_total", "", (double)dropped);
    print_head(out, "harpoon_build_info", "gauge", "1, with the version running.");
    print_plain(out, "harpoon_build_info", "version=\"" HARPOON_VERSION "\"", 1);
}

char *metrics_format(void)
{
    char *text = NULL;
    size_t size = 0;

    run_callbacks();
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return strdup("");
    for (size_t i = 0; i < metrics_count; i++)
        print_metric(out, &metrics[i]);
    print_process(out);
    fclose(out);
    return text;
}
