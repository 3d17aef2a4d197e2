#include "harpoonctl/describe.h"

#include "harpoonctl/table.h"
#include "lib/clock.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* RFC 3339 with milliseconds, in 32 bytes. */
static const char *format_exact(int64_t at_unix_ms, char ret[32])
{
    char seconds[21];

    clock_format_rfc3339(at_unix_ms, seconds);
    (void)snprintf(ret, 32, "%.19s.%03dZ", seconds, (int)(at_unix_ms % 1000));
    return ret;
}

json_t *describe_id(uint64_t id)
{
    return id != 0 ? json_integer((json_int_t)id) : json_null();
}

json_t *describe_text(const char *text)
{
    json_t *value = text != NULL && text[0] != 0 ? json_string(text) : json_null();

    return value != NULL ? value : json_null(); /* not UTF-8 */
}

json_t *describe_time(int64_t at_unix_ms)
{
    char text[32];

    return at_unix_ms != 0 ? json_string(format_exact(at_unix_ms, text)) : json_null();
}

json_t *describe_event(const Harpoon__Admin__V1__EventInfo *e)
{
    json_t *o = json_object();

    json_object_set_new(o, "id", describe_id(e->id));
    json_object_set_new(o, "droplet_id", describe_id(e->droplet_id));
    json_object_set_new(o, "account_id", describe_id(e->account_id));
    json_object_set_new(o, "type", describe_text(e->type));
    json_object_set_new(o, "state", describe_text(e->state));
    json_object_set_new(o, "attempt", json_integer(e->attempt));
    json_object_set_new(o, "region", describe_text(e->region));
    json_object_set_new(o, "hypervisor_id", describe_id(e->hypervisor_id));
    json_object_set_new(o, "journal_id", describe_text(e->journal_id));
    json_object_set_new(o, "reason", describe_text(e->reason));
    json_object_set_new(o, "created_at", describe_time(e->created_unix_ms));
    json_object_set_new(o, "placed_at", describe_time(e->placed_unix_ms));
    json_object_set_new(o, "dispatched_at", describe_time(e->dispatched_unix_ms));
    json_object_set_new(o, "running_at", describe_time(e->running_unix_ms));
    json_object_set_new(o, "done_at", describe_time(e->done_unix_ms));
    json_object_set_new(o, "check_at", describe_time(e->check_at_unix_ms));
    json_object_set_new(o, "deadline_at", describe_time(e->deadline_unix_ms));
    json_object_set_new(o, "replay_of", describe_id(e->replay_of));
    return o;
}

json_t *describe_events(Harpoon__Admin__V1__EventInfo *const *events, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, describe_event(events[i]));
    return list;
}

json_t *describe_timeline(Harpoon__Admin__V1__TimelineEntry *const *entries, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "at", describe_time(entries[i]->at_unix_ms));
        json_object_set_new(o, "event_id", describe_id(entries[i]->event_id));
        json_object_set_new(o, "what", describe_text(entries[i]->what));
        json_object_set_new(o, "attempt", describe_id(entries[i]->attempt));
        json_object_set_new(o, "hypervisor_id", describe_id(entries[i]->hypervisor_id));
        json_object_set_new(o, "actor", describe_text(entries[i]->actor));
        json_object_set_new(o, "detail", describe_text(entries[i]->detail));
        json_array_append_new(list, o);
    }
    return list;
}

void describe_print(json_t *object)
{
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_ENSURE_ASCII);

    if (text == NULL) {
        fputs("harpoonctl: out of memory\n", stderr);
        exit(1);
    }
    puts(text);
    free(text);
    json_decref(object);
}

void describe_print_events(Harpoon__Admin__V1__EventInfo *const *events, size_t count,
                           int64_t now_ms)
{
    static const char *const headers[] = {">EVENT",   "TYPE",    "STATE",       ">ATTEMPT",
                                          ">DROPLET", "REGION",  ">HYPERVISOR", "REASON",
                                          ">AGE",     "CREATED", NULL};
    struct table *t = table_new(headers);
    char age[24], time[24];

    for (size_t i = 0; i < count; i++) {
        const Harpoon__Admin__V1__EventInfo *e = events[i];
        table_add_u64(t, e->id);
        table_add(t, e->type);
        table_add(t, e->state);
        table_add_u64(t, e->attempt);
        table_add_u64(t, e->droplet_id);
        table_add(t, e->region);
        table_add_u64(t, e->hypervisor_id);
        table_add(t, e->reason);
        table_add(t, table_format_age(e->created_unix_ms, now_ms, age));
        table_add(t, table_format_time(e->created_unix_ms, time));
    }
    table_print(t, stdout);
    table_free(t);
}

static void print_line(const char *name, const char *value)
{
    printf("  %-11s  %s\n", name, value != NULL && value[0] != 0 ? value : "-");
}

static void print_number(const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    print_line(name, value != 0 ? text : NULL);
}

static void print_moment(const char *name, int64_t at_ms, int64_t now_ms)
{
    char time[24], age[24], text[64];
    bool ahead = at_ms > now_ms;

    table_format_age(ahead ? now_ms : at_ms, ahead ? at_ms : now_ms, age);
    (void)snprintf(text, sizeof text, "%s (%s%s%s)", table_format_time(at_ms, time),
                   ahead ? "in " : "", age, ahead ? "" : " ago");
    print_line(name, at_ms != 0 ? text : NULL);
}

void describe_print_event(const Harpoon__Admin__V1__EventInfo *e, int64_t now_ms)
{
    print_line("type", e->type);
    print_line("state", e->state);
    print_number("attempt", e->attempt);
    print_number("droplet", e->droplet_id);
    print_number("account", e->account_id);
    print_line("region", e->region);
    print_number("hypervisor", e->hypervisor_id);
    print_line("journal", e->journal_id);
    print_line("reason", e->reason);
    print_moment("created", e->created_unix_ms, now_ms);
    print_moment("ended", e->done_unix_ms, now_ms);
    print_moment("next check", e->check_at_unix_ms, now_ms);
    print_moment("deadline", e->deadline_unix_ms, now_ms);
    print_number("replay of", e->replay_of);
}

static const char *format_after(int64_t ms, char ret[24])
{
    (void)snprintf(ret, 24, "+%" PRId64 ".%03ds", ms / 1000, (int)(ms % 1000));
    return ret;
}

void describe_print_timeline(Harpoon__Admin__V1__TimelineEntry *const *entries, size_t count)
{
    static const char *const headers[] = {"AT",          ">AFTER", ">EVENT", "WHAT", ">ATTEMPT",
                                          ">HYPERVISOR", "ACTOR",  "DETAIL", NULL};
    struct table *t = table_new(headers);
    char at[32], after[24];

    for (size_t i = 0; i < count; i++) {
        const Harpoon__Admin__V1__TimelineEntry *e = entries[i];
        int64_t ms = e->at_unix_ms - entries[0]->at_unix_ms;
        table_add(t, format_exact(e->at_unix_ms, at));
        table_add(t, format_after(ms > 0 ? ms : 0, after));
        table_add_u64(t, e->event_id);
        table_add(t, e->what);
        table_add_u64(t, e->attempt);
        table_add_u64(t, e->hypervisor_id);
        table_add(t, e->actor);
        table_add(t, e->detail);
    }
    table_print(t, stdout);
    table_free(t);
}
