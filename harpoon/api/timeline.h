/* harpoon/api/timeline.h: what happened to events, put in order from their rows and logs, as the
 * messages of admin.proto. */
#pragma once

#include "harpoon/store/admin.h"
#include "lib/error.h"
#include "proto/admin.pb-c.h"

#include <stddef.h>

/* Everything that a reply points to; the lists are for its fields. */
struct timeline {
    Harpoon__Admin__V1__EventInfo **events;
    size_t event_count;
    Harpoon__Admin__V1__TimelineEntry **entries;
    size_t entry_count;
    char (*journals)[UUID_TEXT]; /* [event] */
};

/* `events` and `logs` are borrowed for its life. */
int timeline_new(const struct admin_event *events, size_t event_count, const struct admin_log *logs,
                 size_t log_count, struct timeline *ret, struct error *err) MUST_CHECK;
void timeline_free(struct timeline *t);
