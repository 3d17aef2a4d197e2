/* lib/metrics.h: a daemon's metrics as one table, in Prometheus' text format. Threads: any. */
#pragma once

#include "lib/macros.h"

#include <stddef.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_def {
    const char *name; /* base units, _total on counters */
    enum metric_type type;
    const char *help;
    const char *labels[4]; /* names, NULL after the last; values come from closed sets */
    const double
        *buckets; /* histogram: ascending upper bounds, 0 after the last; NULL: 1 ms … 60 s */
};

/* The table must outlive the process; call once, before any other. */
void metrics_init(const struct metric_def *defs, size_t count);
/* `metric` is its index in the table; label values follow, as many as the row names, ended by NULL:
 *     metric_add(M_EVENTS, 1, "nyc3", "succeeded", NULL);
 * At most 1,000 series a metric: further ones are counted in harpoon_metrics_dropped_total. */
void metric_add(size_t metric, double value, ...) __attribute__((sentinel)); /* counter or gauge */
void metric_set(size_t metric, double value, ...) __attribute__((sentinel)); /* gauge */
void metric_observe(size_t metric, double value, ...) __attribute__((sentinel)); /* histogram */
/* Called before each scrape, to set gauges; at most 16 of them. */
void metrics_on_scrape(void (*callback)(void *ctx), void *ctx);
/* All series, and process_* ones, as text the caller frees. */
char *metrics_format(void);
