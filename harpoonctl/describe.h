/* harpoonctl/describe.h: what answers say, as JSON and as lines. The names in the JSON are a
 * promise to scripts: they are never changed. Out of memory ends the program. */
#pragma once

#include "proto/admin.pb-c.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* null for 0, "" and NULL. */
json_t *describe_id(uint64_t id);
json_t *describe_text(const char *text);
json_t *describe_time(int64_t at_unix_ms); /* RFC 3339 with milliseconds */

json_t *describe_event(const Harpoon__Admin__V1__EventInfo *e);
json_t *describe_events(Harpoon__Admin__V1__EventInfo *const *events, size_t count);
json_t *describe_timeline(Harpoon__Admin__V1__TimelineEntry *const *entries, size_t count);

/* Takes the object over. Indented, a final newline. */
void describe_print(json_t *object);
void describe_print_events(Harpoon__Admin__V1__EventInfo *const *events, size_t count,
                           int64_t now_ms);
/* The lines of one event, indented by two. */
void describe_print_event(const Harpoon__Admin__V1__EventInfo *e, int64_t now_ms);
void describe_print_timeline(Harpoon__Admin__V1__TimelineEntry *const *entries, size_t count);
