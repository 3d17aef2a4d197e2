#include "harpoon/api/timeline.h"

#include "lib/macros.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES_A_ROW = 5 }; /* accepted, placed, dispatched, running, its end */

/* protobuf-c wants pointers that are not const, but only reads. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void fill_event(const struct admin_event *from, char journal[UUID_TEXT],
                       Harpoon__Admin__V1__EventInfo *ret)
{
    const struct event *e = &from->row;

    *ret = (Harpoon__Admin__V1__EventInfo)HARPOON__ADMIN__V1__EVENT_INFO__INIT;
    ret->id = e->id.v;
    ret->droplet_id = e->droplet.v;
    ret->account_id = e->account.v;
    ret->type = text(event_type_name(e->type));
    ret->state = text(event_state_name(e->state));
    ret->attempt = e->attempt;
    ret->region = text(e->region);
    ret->hypervisor_id = e->hypervisor.v;
    if (!uuid_is_zero(&e->journal)) {
        uuid_format(&e->journal, journal);
        ret->journal_id = journal;
    }
    ret->reason = text(event_reason_name(e->reason));
    ret->created_unix_ms = e->created_ms;
    ret->placed_unix_ms = e->placed_ms;
    ret->dispatched_unix_ms = e->dispatched_ms;
    ret->running_unix_ms = e->running_ms;
    ret->done_unix_ms = e->done_ms;
    ret->check_at_unix_ms = e->check_at_ms;
    ret->deadline_unix_ms = e->deadline_ms;
    ret->replay_of = from->replay_of;
}

static void add(struct timeline *t, const struct event *e, int64_t at_ms, const char *what,
                const char *actor)
{
    Harpoon__Admin__V1__TimelineEntry *entry = t->entries[t->entry_count];

    if (at_ms == 0)
        return;
    entry->at_unix_ms = at_ms;
    entry->what = text(what);
    entry->attempt = e->attempt;
    entry->hypervisor_id = e->hypervisor.v;
    entry->actor = text(actor);
    entry->event_id = e->id.v;
    t->entry_count++;
}

static bool is_told(const struct event *e, const char *what, const struct admin_log *logs,
                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (logs[i].event.v == e->id.v && strcmp(logs[i].what, what) == 0)
            return true;
    return false;
}

static const char *who_accepted(const struct admin_event *from)
{
    if (from->replay_of != 0)
        return "operator";
    return from->row.type == EVENT_CLEANUP ? "harpoon" : "customer";
}

/* The times in the row are those of its last attempt; what was before is in the logs. */
static void add_row(struct timeline *t, const struct admin_event *from,
                    const struct admin_log *logs, size_t log_count)
{
    const struct event *e = &from->row;
    const char *state = event_state_name(e->state);
    struct event first = *e;

    first.attempt = 0;
    if (event_policy_get(e->type) != NULL && event_policy_get(e->type)->placed)
        first.hypervisor.v = 0;
    add(t, &first, e->created_ms, "accepted", who_accepted(from));
    add(t, e, e->placed_ms, "placed", "scheduler");
    add(t, e, e->dispatched_ms, "dispatched", "worker");
    add(t, e, e->running_ms, "running", "agent");
    if (!event_is_final(e->state) || is_told(e, state, logs, log_count))
        return;
    add(t, e, e->done_ms, state, e->state == EVENT_SUCCEEDED ? "agent" : "harpoon");
    t->entries[t->entry_count - 1]->detail = text(event_reason_name(e->reason));
}

static void add_log(struct timeline *t, const struct admin_log *l)
{
    Harpoon__Admin__V1__TimelineEntry *entry = t->entries[t->entry_count++];

    entry->at_unix_ms = l->at_ms;
    entry->what = text(l->what);
    entry->attempt = l->attempt;
    entry->hypervisor_id = l->hypervisor.v;
    entry->detail = text(l->detail);
    entry->actor = text(l->actor);
    entry->event_id = l->event.v;
}

static bool is_after(const Harpoon__Admin__V1__TimelineEntry *a,
                     const Harpoon__Admin__V1__TimelineEntry *b)
{
    if (a->at_unix_ms != b->at_unix_ms)
        return a->at_unix_ms > b->at_unix_ms;
    return a->event_id == b->event_id && a->attempt > b->attempt;
}

/* By time, within a millisecond by attempt; else they stay as they were added. */
static void sort(struct timeline *t)
{
    for (size_t i = 1; i < t->entry_count; i++) {
        Harpoon__Admin__V1__TimelineEntry *entry = t->entries[i];
        size_t k = i;
        for (; k > 0 && is_after(t->entries[k - 1], entry); k--)
            t->entries[k] = t->entries[k - 1];
        t->entries[k] = entry;
    }
}

/* One block of memory for `count` messages behind their pointers. */
static void **list_new(size_t count, size_t size)
{
    char *block = calloc(1, (count + 1) * (sizeof(void *) + size));
    void **list = (void **)(void *)block;

    for (size_t i = 0; block != NULL && i < count; i++)
        list[i] = block + (count + 1) * sizeof(void *) + i * size;
    return list;
}

int timeline_new(const struct admin_event *events, size_t event_count, const struct admin_log *logs,
                 size_t log_count, struct timeline *ret, struct error *err)
{
    size_t most = ENTRIES_A_ROW * event_count + log_count;
    struct timeline t = {0};

    t.events = (Harpoon__Admin__V1__EventInfo **)list_new(event_count, sizeof **t.events);
    t.entries = (Harpoon__Admin__V1__TimelineEntry **)list_new(most, sizeof **t.entries);
    t.journals = calloc(event_count + 1, sizeof *t.journals);
    if (t.events == NULL || t.entries == NULL || t.journals == NULL) {
        timeline_free(&t);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }
    for (size_t i = 0; i < most; i++)
        harpoon__admin__v1__timeline_entry__init(t.entries[i]);
    for (size_t i = 0; i < event_count; i++) {
        fill_event(&events[i], t.journals[i], t.events[i]);
        t.event_count++;
        add_row(&t, &events[i], logs, log_count);
    }
    for (size_t i = 0; i < log_count; i++)
        add_log(&t, &logs[i]);
    sort(&t);
    *ret = t;
    return 0;
}

void timeline_free(struct timeline *t)
{
    free(t->events);
    free(t->entries);
    free(t->journals);
    *t = (struct timeline){0};
}
