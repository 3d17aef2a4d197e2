#include "eventrouter/metrics.h"

#include "eventrouter/delivery.h"
#include "eventrouter/forward.h"
#include "eventrouter/router.h"

static const struct metric_def defs[] = {
    [M_SESSIONS] = {"eventrouter_sessions",
                    METRIC_GAUGE,
                    "Streams of agents, by what Harpoon said of them.",
                    {"state"}},
    [M_ATTACHES] = {"eventrouter_attaches_total",
                    METRIC_COUNTER,
                    "Attaches by how they were answered, and streams refused.",
                    {"outcome"}},
    [M_DETACHED] = {"eventrouter_detached_total",
                    METRIC_COUNTER,
                    "Streams that ended, by why.",
                    {"reason"}},
    [M_DENIED] = {"eventrouter_denied_total", METRIC_COUNTER,
                  "Calls refused because of who called."},
    [M_LAGGING] = {"eventrouter_lagging_total", METRIC_COUNTER,
                   "Messages not sent because an agent's queue was full."},
    [M_DELIVERED] = {"eventrouter_delivered_total",
                     METRIC_COUNTER,
                     "Jobs asked to be delivered, by outcome.",
                     {"outcome"}},
    [M_DELIVER_SECONDS] = {"eventrouter_deliver_duration_seconds", METRIC_HISTOGRAM,
                           "Time of one Deliver, until its agents had answered."},
    [M_DELIVER_WAITING] = {"eventrouter_deliver_waiting", METRIC_GAUGE,
                           "Jobs sent that their agents have not answered."},
    [M_REFS] = {"eventrouter_refs_total",
                METRIC_COUNTER,
                "Starts and drops by whether they went to a session.",
                {"kind", "sent"}},
    [M_FORWARDED] = {"eventrouter_forwarded_total",
                     METRIC_COUNTER,
                     "What agents asked of Harpoon, by what became of it.",
                     {"kind", "outcome"}},
    [M_FORWARD_SECONDS] = {"eventrouter_forward_duration_seconds",
                           METRIC_HISTOGRAM,
                           "Time of one call to Harpoon.",
                           {"kind"}},
    [M_FORWARD_QUEUE] = {"eventrouter_forward_queue",
                         METRIC_GAUGE,
                         "Items that wait for a call to Harpoon.",
                         {"kind"}},
    [M_FORWARD_OLDEST] = {"eventrouter_forward_oldest_seconds",
                          METRIC_GAUGE,
                          "Age of the oldest of them.",
                          {"kind"}},
    [M_SAMPLES] = {"eventrouter_samples_total", METRIC_COUNTER, "Samples that agents sent."},
    [M_OBSERVES] = {"eventrouter_observes_total",
                    METRIC_COUNTER,
                    "Batches to scheduler replicas.",
                    {"outcome"}},
};

static void on_scrape(void *ctx)
{
    struct router *r = ctx;
    size_t counts[SESSION_STATES];

    sessions_count(r->sessions, counts);
    for (int state = 0; state < SESSION_ENDED; state++)
        metric_set(M_SESSIONS, (double)counts[state], session_state_name((enum session_state)state),
                   NULL);
    metric_set(M_DELIVER_WAITING, (double)deliveries_waiting(r->deliveries), NULL);
    for (int kind = 0; kind < FORWARD_KINDS; kind++) {
        struct batcher_stats stats;
        const char *name = forward_kind_name((enum forward_kind)kind);
        forward_stats_get(r->forward, (enum forward_kind)kind, &stats);
        metric_set(M_FORWARD_QUEUE, (double)stats.queued, name, NULL);
        metric_set(M_FORWARD_OLDEST, (double)stats.oldest_ms / 1000, name, NULL);
    }
}

void eventrouter_metrics_init(struct router *r)
{
    metrics_init(defs, ARRAY_LEN(defs));
    metrics_on_scrape(on_scrape, r);
}
