/* harpoon/api/api.h: the role `api`: serves the public API, accepts changes, publishes events.
 * Three connections to the database: the flusher's, the reader's, the sweeper's. */
#pragma once

#include "harpoon/config.h"
#include "lib/daemon.h"
#include "lib/error.h"
#include "lib/metrics.h"

#include <stddef.h>

struct api;

/* Connects in the background: returns when its threads run and it listens. `config` is borrowed
 * until api_stop. The metrics table must be api_metrics (metrics_init before this). */
int api_start(const struct harpoon_config *config, struct api **ret, struct error *err) MUST_CHECK;
/* Takes no more requests, finishes those it has (bounded). NULL is fine; gives NULL. */
struct api *api_stop(struct api *api);

/* The rows of /readyz (mysql, amqp), valid until api_stop; returns how many there are. */
#define API_CHECKS 2
size_t api_checks(struct api *api, struct daemon_check ret[API_CHECKS]);

extern const struct metric_def api_metrics[];
extern const size_t api_metrics_count;
