/* harpoon/worker/worker.h: takes the events of its regions from their queues, has them placed,
 * delivers them, stores what became of them, and answers what routers and schedulers ask. Two
 * database connections in all. */
#pragma once

#include "harpoon/config.h"
#include "lib/daemon.h"
#include "lib/error.h"
#include "lib/metrics.h"

#include <stddef.h>

struct worker;

/* Connects in the background: returns when its threads run and it listens. `config` is borrowed
 * until worker_stop. Before it: metrics_init with worker_metrics, sql_library_init and
 * rpc_library_init. */
int worker_start(const struct harpoon_config *config, struct worker **ret,
                 struct error *err) MUST_CHECK;
/* Stops taking, finishes what it holds (bounded), answers what was asked. NULL is fine; gives NULL.
 */
struct worker *worker_stop(struct worker *w);

int worker_port(const struct worker *w); /* it listens on: of use when `listen` ends in ":0" */

/* The rows of /readyz (mysql, amqp, schedulers, routers), valid until worker_stop; returns how many
 * were put into `ret` (at most WORKER_CHECKS). */
#define WORKER_CHECKS 4
size_t worker_checks(struct worker *w, struct daemon_check ret[WORKER_CHECKS]);

/* The worker's metrics: pass to metrics_init in the role `worker`. */
extern const struct metric_def worker_metrics[];
extern const size_t worker_metrics_count;
