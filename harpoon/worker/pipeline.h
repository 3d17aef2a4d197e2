/* harpoon/worker/pipeline.h: threads that take works a batch at a time, place them, deliver them,
 * have stored what became of them, and start them. All that is decided is decided by the row. */
#pragma once

#include "harpoon/worker/courier.h"
#include "harpoon/worker/facts.h"
#include "harpoon/worker/intake.h"
#include "harpoon/worker/placer.h"
#include "harpoon/worker/transitions.h"
#include "lib/error.h"

#include <stddef.h>

struct pipelines;

struct pipelines_options { /* all borrowed for their life; placers and couriers in the order of the
                              intake's regions */
    struct intake *intake;
    struct transitions *transitions;
    struct facts *facts;
    struct placer *const *placers;
    struct courier *const *couriers;
    const struct region_list *regions;
    size_t threads;
};
int pipelines_start(const struct pipelines_options *options, struct pipelines **ret,
                    struct error *err) MUST_CHECK;
/* After intake_close: waits until the batches in hand are done. NULL is fine; gives NULL. */
struct pipelines *pipelines_stop(struct pipelines *p);
