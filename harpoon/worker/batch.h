/* harpoon/worker/batch.h: what one pipeline does with the works it took: the steps of an event's
 * road, for all of them together. One thread at a time. */
#pragma once

#include "harpoon/worker/pipeline.h"
#include "harpoon/worker/work.h"
#include "lib/error.h"

#include <stddef.h>

#define BATCH_MAX 256

struct batch;

/* `options` is borrowed for its life. */
int batch_new(const struct pipelines_options *options, struct batch **ret,
              struct error *err) MUST_CHECK;
struct batch *batch_free(struct batch *b); /* NULL is fine; gives NULL */
/* Takes works of one region from place to start, and gives each back to the intake. Blocks for the
 * calls it makes. */
void batch_run(struct batch *b, struct work **works, size_t count);
