#include "scheduler/metrics.h"

#include "lib/clock.h"
#include "scheduler/flush.h"
#include "scheduler/region.h"

static const double decision_buckets[] = {0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003,
                                          0.01,    0.03,    0.1,    0.3,    1,     0};

static const struct metric_def defs[] = {
    [M_DECISIONS] = {"scheduler_decisions_total",
                     METRIC_COUNTER,
                     "Droplets asked to be placed, by what was decided.",
                     {"region", "outcome"}},
    [M_DECISION_SECONDS] = {"scheduler_decision_duration_seconds",
                            METRIC_HISTOGRAM,
                            "Time to decide on one request's droplets, without the commit.",
                            {"region"},
                            decision_buckets},
    [M_RELEASED] = {"scheduler_released_total",
                    METRIC_COUNTER,
                    "Claims released, by who asked for it.",
                    {"region", "by"}},
    [M_FLUSHES] = {"scheduler_commits_total",
                   METRIC_COUNTER,
                   "Transactions that made decisions true.",
                   {"outcome"}},
    [M_FLUSH_SECONDS] = {"scheduler_commit_duration_seconds", METRIC_HISTOGRAM,
                         "Time of such a transaction."},
    [M_STORED] = {"scheduler_stored_rows_total",
                  METRIC_COUNTER,
                  "Rows written: claims taken and released, hypervisors.",
                  {"region", "what"}},
    [M_QUEUE] = {"scheduler_queue_changes", METRIC_GAUGE, "Changes decided and not yet committed."},
    [M_QUEUE_LIMIT] = {"scheduler_queue_limit_changes", METRIC_GAUGE,
                       "Above this many, requests are refused."},
    [M_QUEUE_OLDEST] = {"scheduler_queue_oldest_seconds", METRIC_GAUGE,
                        "Age of the oldest request that waits for its commit."},
    [M_QUEUE_REFUSED] = {"scheduler_queue_refused_total", METRIC_COUNTER,
                         "Requests refused because too many changes waited."},
    [M_LEADING] = {"scheduler_leading",
                   METRIC_GAUGE,
                   "1: this replica leads the region.",
                   {"region"}},
    [M_EPOCH] = {"scheduler_lease_epoch", METRIC_GAUGE, "Epoch of the region's lease.", {"region"}},
    [M_LEASE_CHANGES] = {"scheduler_lease_changes_total",
                         METRIC_COUNTER,
                         "Leases taken, lost, and fleets dropped after a failed commit.",
                         {"region", "what"}},
    [M_LOAD_SECONDS] = {"scheduler_load_duration_seconds",
                        METRIC_HISTOGRAM,
                        "Time to read a region's hypervisors and claims.",
                        {"region"}},
    [M_HYPERVISORS] = {"scheduler_hypervisors",
                       METRIC_GAUGE,
                       "Hypervisors of a region that is led here, by status.",
                       {"region", "status"}},
    [M_CONNECTED] = {"scheduler_hypervisors_connected",
                     METRIC_GAUGE,
                     "Hypervisors with a session, as the routers say.",
                     {"region"}},
    [M_DARK] = {"scheduler_hypervisors_dark",
                METRIC_GAUGE,
                "Approved hypervisors without a session, where the region is led here.",
                {"region"}},
    [M_OVER_CLAIMED] = {"scheduler_hypervisors_over_claimed",
                        METRIC_GAUGE,
                        "Hypervisors whose capacity was lowered below what is claimed.",
                        {"region"}},
    [M_CLAIMS] = {"scheduler_claims",
                  METRIC_GAUGE,
                  "Claims of a region that is led here.",
                  {"region"}},
    [M_SIGHTINGS] = {"scheduler_sightings_total",
                     METRIC_COUNTER,
                     "What routers said of hypervisors, by what became of it.",
                     {"region", "outcome"}},
    [M_RECONCILED] = {"scheduler_reconciled_total",
                      METRIC_COUNTER,
                      "Old claims asked about: wanted, released, or not answered.",
                      {"region", "outcome"}},
    [M_DENIED] = {"scheduler_denied_total", METRIC_COUNTER, "Calls by peers that may not."},
};

static const char *const status_names[] = {
    [HYPERVISOR_NEW] = "new",
    [HYPERVISOR_UP] = "up",
    [HYPERVISOR_DRAINED] = "drained",
    [HYPERVISOR_FENCED] = "fenced",
};

static void set_region_gauges(struct region *r)
{
    struct fleet_counts counts = {0};

    pthread_mutex_lock(&r->lock);
    bool leads = region_leads_locked(r, mono_ms());
    uint64_t epoch = r->epoch;
    size_t connected = liveness_connected(r->liveness);
    if (leads)
        fleet_counts_get(r->fleet, &counts);
    pthread_mutex_unlock(&r->lock);

    metric_set(M_LEADING, leads, r->name, NULL);
    metric_set(M_EPOCH, (double)epoch, r->name, NULL);
    metric_set(M_CONNECTED, (double)connected, r->name, NULL);
    metric_set(M_DARK, (double)counts.up_dark, r->name, NULL);
    metric_set(M_OVER_CLAIMED, (double)counts.over_claimed, r->name, NULL);
    metric_set(M_CLAIMS, (double)counts.claims, r->name, NULL);
    for (int s = HYPERVISOR_NEW; s <= HYPERVISOR_FENCED; s++)
        metric_set(M_HYPERVISORS, (double)counts.by_status[s], r->name, status_names[s], NULL);
}

static void on_scrape(void *ctx)
{
    static uint64_t refused; /* scrapes come one at a time */
    struct scheduler_gauges *g = ctx;
    struct flusher_stats stats;

    flusher_stats_get(g->flusher, &stats);
    metric_set(M_QUEUE, (double)stats.cost, NULL);
    metric_set(M_QUEUE_LIMIT, (double)stats.max_cost, NULL);
    metric_set(M_QUEUE_OLDEST, (double)stats.batches.oldest_ms / 1000.0, NULL);
    metric_add(M_QUEUE_REFUSED, (double)(stats.refused - refused), NULL);
    refused = stats.refused;
    for (size_t i = 0; i < g->regions->count; i++)
        set_region_gauges(&g->regions->list[i]);
}

void scheduler_metrics_init(void)
{
    metrics_init(defs, ARRAY_LEN(defs));
}

void scheduler_gauges_init(struct scheduler_gauges *gauges)
{
    metrics_on_scrape(on_scrape, gauges);
}
